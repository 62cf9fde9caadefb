package su

import (
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// head is where a log ends, with what the process says about its scheduler and whom it trusts. The cursor is the one
// that readers use, so that what this unit would not accept from another it cannot write itself.
type head struct {
	cursor  ao.Cursor
	process ao.Process
	known   *known // which messages the log may hold; nil if that is not known
}

func (h head) cost() int { return len(h.process.Message().Raw()) + h.known.bytes() + 512 }

// loadHead is the head of a process that has a log, from memory or read back from the log's last record. The caller
// stands in the process's line.
func (u *Unit) loadHead(process ao.ID) (h head, ok bool, err error) {
	if h, ok = u.heads.get(process); ok {
		return h, true, nil
	}
	n, err := u.cfg.Store.Len(logName(process))
	if err != nil || n == 0 {
		return head{}, false, err
	}
	first, err := u.entry(place{process, 0})
	if err != nil {
		return head{}, false, err
	}
	last, err := u.entry(place{process, ao.Slot(n - 1)})
	if err != nil {
		return head{}, false, err
	}
	if h.process, err = first.Message.Process(); err != nil {
		return head{}, false, fmt.Errorf("read slot 0: %w", err)
	}
	if h.known, err = u.loadKnown(process, n); err != nil {
		return head{}, false, fmt.Errorf("read index: %w", err)
	}
	f := last.Assignment.Fields()
	h.cursor = ao.Cursor{
		Process:   process,
		Next:      ao.Slot(n),
		Link:      last.Assignment.Link(),
		Timestamp: f.Timestamp,
		Height:    f.BlockHeight,
	}
	u.heads.put(process, h, h.cost())
	return h, true, nil
}
