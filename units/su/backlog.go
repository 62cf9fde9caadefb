package su

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// backlog is what the archive has not taken yet. On disk a log has one mark, how many of its slots are settled; what lies
// between the mark and the log's end is found again at start. So scheduling writes nothing for the sake of settling.
type backlog struct {
	most int // assignments in a tail

	lock    sync.Mutex
	tails   map[ao.ID]*tail
	order   []ao.ID        // every process in tails once, those that waited longest in front
	doubts  map[ao.ID]bool // a write of theirs failed, and may have been written all the same
	entries int64
	bytes   int64 // of their items
	settled uint64
}

// maxTail is how many slots of a log are found by their assignments through memory. Those behind them, which only an archive that
// is away for long leaves, the store finds from the beginning.
const maxTail = 4096

// tail is the unsettled end of a log. The store finds a slot by its assignment only once it is settled; until then the tail does.
type tail struct {
	settled, end ao.Slot
	assignments  []ao.ID // of the first of those slots; they are never changed in place
}

// short says that the tail does not hold another slot's assignment.
func (t *tail) short(most int) bool {
	return len(t.assignments) >= most || len(t.assignments) < int(t.end-t.settled)
}

// unsettled is a slot that became durable.
type unsettled struct {
	assignment ao.ID
	size       int // of its items
}

func newBacklog() *backlog {
	return &backlog{most: maxTail, tails: make(map[ao.ID]*tail), doubts: make(map[ao.ID]bool)}
}

// add takes note of a slot that became durable, unless it is in doubt what is before it; then it is found with that.
func (b *backlog) add(at place, e unsettled) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if !b.doubts[at.process] {
		b.append(at, e)
	}
}

// doubt says that it is unknown where a log ends, until clear.
func (b *backlog) doubt(process ao.ID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.doubts[process] = true
}

func (b *backlog) doubtful() (list []ao.ID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	for p := range b.doubts {
		list = append(list, p)
	}
	return list
}

// endOf is the end of a process's tail, if it has one.
func (b *backlog) endOf(process ao.ID) (ao.Slot, bool) {
	b.lock.Lock()
	defer b.lock.Unlock()
	t := b.tails[process]
	if t == nil {
		return 0, false
	}
	return t.end, true
}

// clear adds the slots that were found from a place on and ends the doubt.
func (b *backlog) clear(at place, found []unsettled) {
	b.lock.Lock()
	defer b.lock.Unlock()
	delete(b.doubts, at.process)
	for _, e := range found {
		b.append(at, e)
		at.slot++
	}
}

// short says whether a process's next slot has to be found by its assignment without the backlog: the key goes to the store with
// the slot. The caller is the only one who schedules on the process; settling meanwhile makes a tail less short, no more.
func (b *backlog) short(process ao.ID) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	t := b.tails[process]
	return b.doubts[process] || t != nil && t.short(b.most)
}

// append needs the lock.
func (b *backlog) append(at place, e unsettled) {
	t := b.tails[at.process]
	switch {
	case t == nil:
		t = &tail{settled: at.slot, end: at.slot}
		b.tails[at.process] = t
		b.order = append(b.order, at.process)
	case at.slot != t.end: // somebody else wrote to the log in between
		b.doubts[at.process] = true
		return
	}
	if !t.short(b.most) {
		t.assignments = append(t.assignments, e.assignment)
	}
	t.end = at.slot + 1
	b.entries++
	b.bytes += int64(e.size)
}

// find is the slot of an assignment that is not settled.
func (b *backlog) find(process, assignment ao.ID) (ao.Slot, bool) {
	b.lock.Lock()
	t := b.tails[process]
	if t == nil {
		b.lock.Unlock()
		return 0, false
	}
	from, assignments := t.settled, t.assignments
	b.lock.Unlock()
	i := slices.Index(assignments, assignment)
	return from + ao.Slot(max(i, 0)), i >= 0
}

// upTo is the assignments of the first unsettled slots of a log, below a mark, as far as the store does not find them.
func (b *backlog) upTo(process ao.ID, mark ao.Slot) (from ao.Slot, assignments []ao.ID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	t := b.tails[process]
	return t.settled, t.assignments[:min(int(mark-t.settled), len(t.assignments))]
}

// next is the process that waited longest, behind which it stands again; after as many calls as there are processes
// everyone has had its turn.
func (b *backlog) next() (p ao.ID, t tail, ok bool) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if len(b.order) == 0 {
		return ao.ID{}, tail{}, false
	}
	p = b.order[0]
	b.order = append(b.order[1:], p)
	return p, *b.tails[p], true
}

// count is how many processes have a tail.
func (b *backlog) count() int {
	b.lock.Lock()
	defer b.lock.Unlock()
	return len(b.order)
}

// settle moves the marks of some processes.
func (b *backlog) settle(marks map[ao.ID]ao.Slot, bytes int64) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.bytes -= bytes
	gone := false
	for p, mark := range marks {
		t := b.tails[p]
		b.entries -= int64(mark - t.settled)
		b.settled += uint64(mark - t.settled)
		t.assignments = t.assignments[min(int(mark-t.settled), len(t.assignments)):]
		if t.settled = mark; t.settled == t.end {
			delete(b.tails, p)
			gone = true
		}
	}
	if !gone {
		return
	}
	order := b.order[:0]
	for _, p := range b.order {
		if b.tails[p] != nil {
			order = append(order, p)
		}
	}
	b.order = order
}

func (b *backlog) size() (entries, bytes int64) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.entries, b.bytes
}

// done is how many entries the archive has taken since the start.
func (b *backlog) done() uint64 {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.settled
}

// markOf is how many slots of a log are settled, from the store.
func (u *Unit) markOf(process ao.ID) (ao.Slot, error) {
	b, err := u.cfg.Store.Get(settledKey(process))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return decodeSlot(b)
}

// loadTail finds what of a log is not settled and not in the backlog yet. Nobody schedules on the log meanwhile.
func (u *Unit) loadTail(process ao.ID) error {
	length, err := u.cfg.Store.Len(logName(process))
	if err != nil {
		return err
	}
	from, known := u.backlog.endOf(process)
	if !known {
		if from, err = u.markOf(process); err != nil {
			return err
		}
	}
	if uint64(from) > length {
		return fmt.Errorf("%d slots of %s are settled and %d are there: %w", from, process, length, errRecord)
	}
	var found []unsettled
	for at := uint64(from); at < length; at = uint64(from) + uint64(len(found)) {
		records, err := u.cfg.Store.Range(logName(process), at, settleEntries)
		if err != nil {
			return err
		}
		if len(records) == 0 {
			return fmt.Errorf("slot %d of %s is missing: %w", at, process, errRecord)
		}
		for _, r := range records {
			found = append(found, unsettled{assignmentOf(r), itemBytes(r)})
		}
	}
	u.backlog.clear(place{process, from}, found)
	return nil
}

// resolve finds out what became of writes that failed.
func (u *Unit) resolve(ctx context.Context) error {
	for _, process := range u.backlog.doubtful() {
		leave, err := u.lines.enter(ctx, process)
		if err != nil {
			continue // busy; it is looked at again after what it is busy with
		}
		err = u.loadTail(process)
		leave()
		if err != nil {
			u.judge(err)
			return fmt.Errorf("find what is not settled: %w", err)
		}
	}
	return nil
}

// markSettled writes down that the archive has what lies before the marks, and where it is found by its assignments.
func (u *Unit) markSettled(marks map[ao.ID]ao.Slot, bytes int64) error {
	if len(marks) == 0 {
		return nil
	}
	var b store.Batch
	for p, mark := range marks {
		b.Put(settledKey(p), encodeSlot(mark))
		from, assignments := u.backlog.upTo(p, mark)
		for i, id := range assignments {
			b.Put(messageKey(p, id), encodeSlot(from+ao.Slot(i)))
		}
	}
	if err := u.write(&b); err != nil {
		return fmt.Errorf("mark as settled: %w", err)
	}
	u.backlog.settle(marks, bytes)
	return nil
}
