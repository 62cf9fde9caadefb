package cu

import (
	"context"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// ahead is the page of a log behind the one that is being evaluated. It is fetched, parsed and its signatures are checked
// meanwhile, on another core.
type ahead struct {
	from    ao.Slot
	done    chan struct{}
	entries []ao.Entry // once done; none if there was any trouble
}

// readAhead begins to read from a slot on.
func (p *worker) readAhead(life context.Context, log units.Log, from ao.Slot, limit int) {
	a := &ahead{from: from, done: make(chan struct{})}
	p.ahead = a
	p.unit.all.Go(func() {
		defer close(a.done)
		if entries, err := log.Range(life, p.id, from, limit); err == nil {
			a.entries = entries
		}
	})
}

// caughtUp is the page that was read ahead, if it begins at that slot. Of what went wrong with it nothing is known: the log is
// asked again.
func (p *worker) caughtUp(ctx context.Context, from ao.Slot, limit int) []ao.Entry {
	a := p.ahead
	p.ahead = nil
	if a == nil || a.from != from {
		return nil
	}
	select {
	case <-a.done:
		return a.entries[:min(len(a.entries), limit)]
	case <-ctx.Done():
		return nil
	}
}
