package cu

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
)

// worker is one process in the unit. At any moment at most one goroutine works on it and owns its state: while there
// are tasks it is the worker's own, and an idle state may be taken by whoever needs its place.
type worker struct {
	unit *Unit
	id   ao.ID

	// Under the unit's lock.
	tasks     []*task
	busy      bool
	taken     chan struct{} // closed when a process whose state was taken while it waited may go on
	place     *list.Element // in the unit's list of idle or of packed processes
	memory    uint64        // what the state takes, or may take while it is evaluated
	claimed   bool          // the latter
	idleSince uint64        // the round of saving that found it idle first

	// The working goroutine's.
	replay    *replayer     // nil while not hot
	tidying   chan struct{} // closed when its state may be used again; nil while it may be
	rest      *resting      // nil while not packed
	most      uint64        // the most memory that the state takes
	pace      time.Duration // the slowest of its latest entries
	tried     int           // entries evaluated
	seen      *seenInStore
	profile   string
	recorded  ao.Slot       // slots before it have an answer
	saved     ao.Slot       // what the newest checkpoint's cursor stands before
	spent     time.Duration // on evaluation since then
	at        *stateAt
	log       units.Log
	ahead     *ahead // the next page of a long replay
	chunk     chunk
	chunkFrom time.Time
}

// stateAt is the root after a slot.
type stateAt struct {
	slot   ao.Slot
	root   attest.Hash
	memory uint64
}

// visitor is called between two slots; life is the unit's.
type visitor func(life context.Context, p *worker) error

// task is something that a caller waits for: that a slot is evaluated and, if visit is set, that it is called then.
type task struct {
	slot    ao.Slot
	entry   *ao.Entry // of the slot, if the caller has handed it over; not checked
	visit   visitor
	rest    bool // call visit as the process is, hot or cold
	checked bool // the slot is known to be in the log
	gone    bool // the caller left; under the unit's lock
	found   *outcome
	err     error
	done    chan struct{}
}

// do hands a task to the process's goroutine and waits, for a while: who leaves stops nothing, and may ask again.
func (u *Unit) do(ctx context.Context, id ao.ID, t *task) error {
	ctx, cancel := context.WithTimeout(ctx, u.cfg.MaxWait)
	defer cancel()
	t.done = make(chan struct{})
	if err := u.awaitStart(ctx); err != nil {
		return err
	}
	if err := u.enlist(id, t); err != nil {
		return err
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		u.lock.Lock()
		defer u.lock.Unlock()
		select {
		case <-t.done: // both at once: the answer wins
			return t.err
		default:
		}
		t.gone = true
		return fmt.Errorf("wait for slot %d: %w", t.slot, ctx.Err())
	}
}

func (u *Unit) awaitStart(ctx context.Context) error {
	select {
	case <-u.started:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the unit to start: %w", ctx.Err())
	}
}

func (u *Unit) enlist(id ao.ID, t *task) error {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.stopped || u.life.Err() != nil {
		return u.closed()
	}
	if p := u.processes[id]; u.waiting >= u.cfg.MaxWaiting || p != nil && len(p.tasks) >= u.cfg.MaxWaitingEach {
		return errCrowd
	}
	if mark, ok := u.bad[id]; ok && !t.rest {
		if u.cfg.Now().After(mark.until) {
			delete(u.bad, id)
		} else if t.slot >= mark.slot {
			return mark.err
		}
	}
	p := u.processes[id]
	if p == nil {
		p = &worker{unit: u, id: id}
		u.processes[id] = p
	}
	p.tasks = append(p.tasks, t)
	u.waiting++
	if !p.busy {
		u.start(p)
	}
	return nil
}

// start gives the process a goroutine. The lock is held.
func (u *Unit) start(p *worker) {
	p.busy, p.idleSince = true, 0
	if p.place != nil {
		u.seize(p)
	}
	life := u.life
	u.all.Go(func() { p.run(life) })
}

// run works until no task is left.
func (p *worker) run(life context.Context) {
	for {
		tasks := p.pending()
		if tasks == nil {
			return
		}
		var err error
		if life.Err() == nil {
			err = p.turn(life, tasks)
		}
		p.unit.checkStore(err)
		if life.Err() != nil {
			err = p.unit.closed()
		}
		if err != nil {
			p.finish(tasks, err)
		}
	}
}

// pending is a copy of the tasks; nil means that the goroutine has given the process up.
func (p *worker) pending() []*task {
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	live := p.tasks[:0]
	for _, t := range p.tasks {
		if t.gone && t.visit != nil { // nobody is there to be called for
			u.waiting--
			close(t.done)
			continue
		}
		live = append(live, t)
	}
	clear(p.tasks[len(live):])
	p.tasks = live
	if len(live) > 0 {
		return append([]*task(nil), live...)
	}
	p.tasks, p.chunk, p.ahead = nil, chunk{committed: true}, nil
	u.park(p)
	return nil
}

// park ends the goroutine's ownership. The lock is held.
func (u *Unit) park(p *worker) {
	p.busy = false
	switch {
	case p.replay != nil:
		p.place = u.idle.PushBack(p)
	case p.rest != nil:
		p.place = u.packed.PushBack(p)
	default:
		delete(u.processes, p.id)
	}
	u.makeRoom()
}

// makeRoom wakes those who wait for a state's place in memory. The lock is held.
func (u *Unit) makeRoom() {
	close(u.room)
	u.room = make(chan struct{})
}

// finish ends tasks with err, nil if they are served.
func (p *worker) finish(tasks []*task, err error) {
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, t := range tasks {
		for i, mine := range p.tasks {
			if mine == t {
				p.tasks = append(p.tasks[:i], p.tasks[i+1:]...)
				u.waiting--
				t.err = err
				close(t.done)
				break
			}
		}
	}
}

// turn does one round: open the state, read a page of the log, evaluate it, serve. An error ends the given tasks.
func (p *worker) turn(life context.Context, tasks []*task) error {
	if p.serveRest(life) {
		return nil
	}
	if p.replay == nil {
		if err := p.open(life); err != nil {
			p.unit.markBad(p.id, 0, err)
			return err
		}
	}
	if err := p.serve(life); err != nil || p.replay == nil {
		return err
	}
	from := p.replay.cursor.Next
	own := p.handed(life, tasks, from)
	p.offer(p.unit.stalled) // a log may let us wait
	entries, err := p.next(life, tasks, from, own)
	if !p.retake() || err != nil || len(entries) == 0 {
		return err
	}
	if err := p.evaluate(life, entries); err != nil {
		p.unit.markBad(p.id, p.faultSlot(from, err), err)
		return err
	}
	return nil
}

// handed is the next entry, if a caller has handed it over. One that does not fit says nothing about the log, which is
// read instead.
func (p *worker) handed(life context.Context, tasks []*task, from ao.Slot) []ao.Entry {
	for _, t := range tasks {
		if t.slot != from || t.entry == nil {
			continue
		}
		if _, err := p.replay.check(life, *t.entry); err == nil {
			return []ao.Entry{*t.entry}
		}
	}
	return nil
}

// next reads the entries from a slot on that the tasks need, at most a page of them, or takes the caller's own if no other
// is needed. It touches nothing of the state.
func (p *worker) next(ctx context.Context, tasks []*task, from ao.Slot, own []ao.Entry) ([]ao.Entry, error) {
	goal, some, err := p.goal(ctx, tasks, from)
	if err != nil || !some || from > goal {
		return nil, err
	}
	limit := p.unit.cfg.PageSize
	if left := uint64(goal-from) + 1; left < uint64(limit) {
		limit = int(left)
	}
	if limit == 1 && own != nil {
		return own, nil
	}
	entries := p.caughtUp(ctx, from, limit)
	if len(entries) == 0 {
		if entries, err = p.read(ctx, from, limit); err != nil {
			return nil, fmt.Errorf("read log from slot %d: %w", from, err)
		}
	}
	if len(entries) == 0 {
		p.finish(tasks, fmt.Errorf("slot %d: %w", from, errNotYet))
		return nil, nil
	}
	if last := entries[len(entries)-1].Assignment; !last.IsZero() && last.Nonce() < goal && p.log != nil {
		p.readAhead(ctx, p.log, last.Nonce()+1, p.unit.cfg.PageSize)
	}
	return entries, nil
}

// goal is the last slot that a task needs and the log has, as far as is known; some says whether there is one.
func (p *worker) goal(ctx context.Context, tasks []*task, next ao.Slot) (goal ao.Slot, some bool, err error) {
	var head ao.Slot
	for _, t := range tasks {
		if t.rest || t.slot < next {
			continue
		}
		// A slot far beyond the log must not cost its evaluation.
		if !t.checked && t.slot > next {
			if head == 0 {
				log, err := p.findLog(ctx)
				if err != nil {
					return 0, false, err
				}
				if head, err = log.Next(ctx, p.id); err != nil {
					p.log = nil
					return 0, false, fmt.Errorf("ask for the log's head: %w", err)
				}
			}
			if t.slot >= head {
				p.finish([]*task{t}, fmt.Errorf("slot %d: %w", t.slot, errNotYet))
				continue
			}
			t.checked = true
		}
		goal, some = max(goal, t.slot), true
	}
	return goal, some, nil
}

func (p *worker) findLog(ctx context.Context) (units.Log, error) {
	if p.log == nil {
		log, err := p.unit.cfg.Directory.Log(ctx, p.id)
		if err != nil {
			return nil, fmt.Errorf("find log: %w", err)
		}
		p.log = log
	}
	return p.log, nil
}

// read asks for a page; a log that was found earlier may have moved, so it is looked up again once.
func (p *worker) read(ctx context.Context, from ao.Slot, limit int) ([]ao.Entry, error) {
	for again := p.log != nil; ; again = false {
		log, err := p.findLog(ctx)
		if err != nil {
			return nil, err
		}
		entries, err := log.Range(ctx, p.id, from, limit)
		if err == nil {
			return entries[:min(len(entries), limit)], nil
		}
		p.log = nil
		if !again || ctx.Err() != nil {
			return nil, err
		}
	}
}

// serveRest calls the visits that take the process as it is; true if there were any.
func (p *worker) serveRest(life context.Context) bool {
	u := p.unit
	u.lock.Lock()
	var due []*task
	for _, t := range p.tasks {
		if t.rest && !t.gone {
			due = append(due, t)
		}
	}
	u.lock.Unlock()
	for _, t := range due {
		p.finish([]*task{t}, t.visit(life, p))
	}
	return len(due) > 0
}

// serve ends the tasks whose slot is evaluated and durable. The chunk is empty.
func (p *worker) serve(life context.Context) error {
	next := p.replay.cursor.Next
	u := p.unit
	u.lock.Lock()
	var due []*task
	for _, t := range p.tasks {
		if !t.rest && t.slot < next && !(t.gone && t.visit != nil) {
			due = append(due, t)
		}
	}
	u.lock.Unlock()
	for _, t := range due {
		if t.visit != nil {
			p.tidied()
			p.finish([]*task{t}, t.visit(life, p))
			if p.replay == nil { // the visit found the state unfit
				return nil
			}
			continue
		}
		var err error
		if t.found = p.chunk.find(t.slot); t.found == nil {
			if t.found, err = u.stored(p.id, t.slot); err != nil {
				return err
			}
		}
		if t.found == nil { // lost or damaged: make it again
			p.tidied()
			return p.rewind(t.slot)
		}
		p.finish([]*task{t}, nil)
	}
	return nil
}

// wanted says whether a task waits for the slot, or for the process to come to rest.
func (p *worker) wanted(slot ao.Slot) bool {
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, t := range p.tasks {
		if t.rest || t.slot <= slot {
			return true
		}
	}
	return false
}

// faultSlot is from where on an error stands in the way.
func (p *worker) faultSlot(from ao.Slot, err error) ao.Slot {
	if b, ok := errors.AsType[*badSlot](err); ok {
		return b.slot
	}
	if p.replay != nil {
		return p.replay.cursor.Next
	}
	return from
}

// markBad remembers what will not be better at once: a bad log or module, a contradiction.
func (u *Unit) markBad(id ao.ID, slot ao.Slot, err error) {
	r := refusal(err)
	switch r.Code {
	case ao.BadLog, ao.BadModule, ao.BadFormat, ao.BadTags, ao.TooLarge, ao.Contradiction:
	default:
		return
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	if r.Code == ao.BadLog {
		u.count.BadLogs++
		u.cfg.Log.Warn("log is bad", "process", id, "slot", uint64(slot), "reason", r.Detail)
	}
	if len(u.bad) >= maxBad {
		for other := range u.bad {
			delete(u.bad, other)
			break
		}
	}
	u.bad[id] = badMark{slot: slot, err: r, until: u.cfg.Now().Add(u.cfg.RetryBad)}
}

// stateRoot is the root as the process stands, remembered until it moves.
func (p *worker) stateRoot(ctx context.Context) (stateAt, error) {
	last := p.replay.cursor.Next - 1
	if p.at != nil && p.at.slot == last {
		return *p.at, nil
	}
	if err := p.unit.enterWork(ctx); err != nil {
		return stateAt{}, err
	}
	defer p.unit.leaveWork()
	if err := p.findRoot(); err != nil {
		return stateAt{}, err
	}
	return *p.at, nil
}

// findRoot remembers the root of the state as it stands.
func (p *worker) findRoot() error {
	root, memory, err := p.replay.root()
	if err != nil {
		return err
	}
	p.at = &stateAt{slot: p.replay.cursor.Next - 1, root: root, memory: memory}
	return nil
}
