package trial

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// key is one that everybody knows.
func key(name string) ans104.Signer {
	seed := sha256.Sum256([]byte("aopeer trial " + name))
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
}

func addressOf(s ans104.Signer) string {
	a, err := ans104.Address(s.Type(), s.Owner())
	if err != nil {
		panic("trial: " + err.Error()) // Ed25519 keys have addresses
	}
	return a
}

// Slots come a second apart, from this instant and height on: a log need not be of today, and is the same every time.
const (
	startTime   = 1_700_000_000_000
	startHeight = 1_500_000
)

// history is the log of one process: the process, and messages that evaluate a constant.
type history struct {
	process ao.Process

	lock    sync.Mutex
	cursor  ao.Cursor
	entries []ao.Entry
	find    map[ao.ID]ao.Slot
}

func newHistory(module ao.ID, name string) (*history, error) {
	owner := addressOf(key("owner"))
	tags := ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: owner}}
	spawn, err := ao.SignProcess(key("owner"), module, addressOf(key("scheduler")), tags, nil, nil)
	if err != nil {
		return nil, err
	}
	h := &history{cursor: ao.NewCursor(spawn.ID()), find: map[ao.ID]ao.Slot{}}
	if h.process, err = spawn.Process(); err != nil {
		return nil, err
	}
	return h, h.add(spawn)
}

// id is the process's.
func (h *history) id() ao.ID { return h.process.ID() }

// evaluate adds n messages that evaluate a constant.
func (h *history) evaluate(n int) error {
	for range n {
		number := h.next().String()
		tags := ao.Tags{{Name: "Action", Value: "Eval"}, {Name: "Number", Value: number}}
		m, err := ao.SignMessage(key("owner"), h.id(), tags, []byte("1+1"), nil)
		if err != nil {
			return err
		}
		if err := h.add(m); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) add(m ao.Message) error {
	h.lock.Lock()
	defer h.lock.Unlock()
	slot := h.cursor.Next
	a, err := ao.SignAssignment(key("scheduler"), ao.AssignmentFields{
		Process: h.cursor.Process, Nonce: slot, HashChain: h.cursor.Link, BlockHeight: startHeight + uint64(slot)/100,
		Timestamp: startTime + 1000*int64(slot), Message: m.ID(),
	})
	if err != nil {
		return err
	}
	e := ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}
	if err := h.cursor.Step(e); err != nil {
		return fmt.Errorf("add to the log: %w", err)
	}
	h.entries = append(h.entries, e)
	h.find[m.ID()], h.find[a.ID()] = slot, slot
	return nil
}

func (h *history) next() ao.Slot {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.cursor.Next
}

// last is the newest entry.
func (h *history) last() ao.Entry {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.entries[len(h.entries)-1]
}

// span is up to limit entries from a slot on.
func (h *history) span(from ao.Slot, limit int) []ao.Entry {
	h.lock.Lock()
	defer h.lock.Unlock()
	if from >= ao.Slot(len(h.entries)) {
		return nil
	}
	rest := h.entries[from:]
	return rest[:min(len(rest), limit):min(len(rest), limit)]
}

// logs are all histories, as the log of a scheduler.
type logs struct {
	lock sync.Mutex
	byID map[ao.ID]*history
}

func (l *logs) put(h *history) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.byID[h.id()] = h
}

func (l *logs) of(process ao.ID) (*history, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if h := l.byID[process]; h != nil {
		return h, nil
	}
	return nil, ao.Refuse("log", ao.UnknownProcess, "%s", process)
}

// Next is the first slot that is not taken. See units.Log.
func (l *logs) Next(_ context.Context, process ao.ID) (ao.Slot, error) {
	h, err := l.of(process)
	if err != nil {
		return 0, err
	}
	return h.next(), nil
}

// Range is a page of a log. See units.Log.
func (l *logs) Range(_ context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	h, err := l.of(process)
	if err != nil {
		return nil, err
	}
	return h.span(from, limit), nil
}

// Find is the slot of a message. See units.Log.
func (l *logs) Find(_ context.Context, process, message ao.ID) (ao.Slot, error) {
	h, err := l.of(process)
	if err != nil {
		return 0, err
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if slot, ok := h.find[message]; ok {
		return slot, nil
	}
	return 0, ao.Refuse("log", ao.UnknownMessage, "%s", message)
}

// Follow calls visit for what there is. See units.Log.
func (l *logs) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	h, err := l.of(process)
	if err != nil {
		return err
	}
	for _, e := range h.span(from, int(h.next())) {
		if err := visit(e); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return ctx.Err()
}

// Schedule gives no slots: a trial makes its own logs. See units.Scheduler.
func (*logs) Schedule(context.Context, ao.ID, ao.Message) (ao.Assignment, error) {
	return ao.Assignment{}, ao.Refuse("schedule", ao.Busy, "nothing is scheduled during a trial")
}

// Assign gives none either. See units.Scheduler.
func (*logs) Assign(context.Context, ao.ID, ao.ID, ao.AssignOptions) (ao.Assignment, error) {
	return ao.Assignment{}, ao.Refuse("schedule", ao.Busy, "nothing is assigned during a trial")
}
