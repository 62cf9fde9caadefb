package mu

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Push queues the message, waits until it is scheduled and returns the assignment. See units.Messenger.
func (u *Unit) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	if m.IsZero() {
		return ao.Assignment{}, ao.Refuse("push", ao.Malformed, "there is no message")
	}
	return u.queue(ctx, &task{Root: m.ID(), Process: m.Target(), Message: m.ID(), Stage: stageSchedule, message: m})
}

// queue makes a caller's task durable, sets it going and waits until it has its slot.
func (u *Unit) queue(ctx context.Context, t *task) (ao.Assignment, error) {
	if a, err := u.assigned(t.key()); err != nil || !a.IsZero() {
		return a, err
	}
	wait := make(chan end, 1)
	if err := u.accept(t, wait); err != nil {
		return ao.Assignment{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.cfg.Patience)
		defer cancel()
	}
	if u.hasStopped() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	}
	select {
	case e := <-wait:
		return e.assignment, e.err
	case <-ctx.Done():
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.waiters[t.key()] = slices.DeleteFunc(u.waiters[t.key()], func(c chan end) bool { return c == wait })
	if len(u.waiters[t.key()]) == 0 {
		delete(u.waiters, t.key())
	}
	return ao.Assignment{}, ao.Refuse("push", ao.Queued, "message %s is safe and will be scheduled", t.Message)
}

// accept makes a task durable and then sets it going, once, however many ask for it. wait, if not nil, is told when
// the task has its slot.
func (u *Unit) accept(t *task, wait chan end) error {
	key := t.key()
	u.lock.Lock()
	o, isOpen := u.open[key]
	switch {
	case isOpen && o.Stage == stageSchedule:
		u.await(key, wait)
		u.lock.Unlock()
		return nil
	case isOpen: // it has its slot, and is on its way to the result
		u.lock.Unlock()
		return u.answer(key, wait)
	case len(u.open) >= u.cfg.MaxTasks:
		u.lock.Unlock()
		return ao.Refuse("push", ao.Busy, "%d pushes under way", u.cfg.MaxTasks)
	}
	t.Since = u.cfg.Now().UnixMilli()
	u.claim(t)
	u.await(key, wait)
	u.lock.Unlock()
	// Nobody else begins the task now. Whoever finished it before has left a mark.
	if !t.Again {
		if a, err := u.assigned(key); err != nil || !a.IsZero() {
			u.lock.Lock()
			defer u.lock.Unlock()
			u.tell(key, end{assignment: a, err: err})
			u.retire(t)
			return err
		}
	}
	s := &step{root: t.Root}
	s.hop(t, units.Hop{Word: "push", Peer: u.cfg.Peer, Slot: t.Slot})
	if err := u.write(s, []*task{t}); err != nil {
		return refusal(err)
	}
	return nil
}

// await registers who waits for a task's slot. The caller holds the lock.
func (u *Unit) await(key string, wait chan end) {
	if wait != nil {
		u.waiters[key] = append(u.waiters[key], wait)
	}
}

// hasStopped says whether Run has ended, so that waiting is in vain.
func (u *Unit) hasStopped() bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	return u.stopped
}

// answer tells who would wait for a task that has its slot already.
func (u *Unit) answer(key string, wait chan end) error {
	if wait == nil {
		return nil
	}
	a, err := u.assigned(key)
	if err != nil {
		return err
	}
	wait <- end{assignment: a}
	return nil
}

// work takes the task's next step; a step that fails in passing is taken again later.
func (u *Unit) work(ctx context.Context, t *task) {
	start := u.cfg.Now()
	var err error
	switch t.Stage {
	case stageSchedule:
		err = u.schedule(ctx, t, start)
	default:
		err = u.crank(ctx, t, start)
	}
	if err != nil && ctx.Err() == nil { // shutting down, the task stays on disk as it is
		u.failed(t, err)
	}
}

// schedule is the first hop: the item gets its slot, and the slot is on disk before anything is made
// of its result.
func (u *Unit) schedule(ctx context.Context, t *task, start time.Time) error {
	if t.message.IsZero() && !t.Assign.BaseLayer {
		m, err := u.find(ctx, t)
		if err != nil && !isUnknown(err) { // else the scheduler may know more
			return err
		}
		t.message = m
	}
	door, a, err := u.slot(ctx, t)
	if err != nil && door == nil {
		return u.mail(ctx, t, err)
	}
	if errors.Is(err, errAbroad) {
		return u.sendAbroad(t)
	}
	if err != nil {
		return err
	}
	if err := u.checkSlot(ctx, t, a); err != nil {
		return err
	}
	u.ask(ctx, t, a)
	bought := units.BoughtOf(door)
	return u.scheduled(t, a, units.Hop{
		Word: "schedule", Peer: units.PeerOf(door), Slot: a.Nonce(), Took: u.cfg.Now().Sub(start),
		Price: bought.Price, Why: bought.Why, Note: u.trustNote(ctx, t, a),
	})
}

// schedulerOf is the door of who schedules the task's process.
func (u *Unit) schedulerOf(ctx context.Context, t *task) (units.Scheduler, error) {
	if t.message.IsSpawn() && t.Process == t.Message {
		return u.cfg.Directory.Scheduler(ctx, t.message.Tags().Get("Scheduler"))
	}
	host, err := u.cfg.Directory.HostAt(ctx, t.Process, 0)
	if err != nil {
		return nil, err
	}
	if len(host.Keys) == 0 {
		return nil, ao.Refuse("schedule", ao.UnknownUnit, "nobody schedules %s", t.Process)
	}
	return u.cfg.Directory.Scheduler(ctx, host.Keys[0])
}

// checkSlot holds an assignment against what was asked for. A copy of a pushed message may have the slot already.
func (u *Unit) checkSlot(ctx context.Context, t *task, a ao.Assignment) error {
	if a.IsZero() || a.Process() != t.Process {
		return ao.Refuse("schedule", ao.BadLog, "the assignment of %s is for another process", t.Message)
	}
	if a.Message() != t.Message && (t.message.IsZero() || !t.message.HasCopies()) {
		return ao.Refuse("schedule", ao.BadLog, "the assignment of %s is for another message", t.Message)
	}
	host, err := u.cfg.Directory.HostAt(ctx, t.Process, a.Nonce())
	if err != nil {
		return err
	}
	if !host.Allows(a.Owner()) {
		return ao.Refuse("schedule", ao.WrongScheduler, "the assignment of %s is signed by %s", t.Message, a.Owner())
	}
	return nil
}

// scheduled records the slot, tells who waits, and moves on: to the result, or to the end if the message is a cast.
func (u *Unit) scheduled(t *task, a ao.Assignment, h units.Hop) error {
	s := &step{root: t.Root}
	s.hop(t, h)
	var children []*task
	if len(t.Notice) > 0 {
		child, err := noticeTask(t)
		if err != nil {
			return err
		}
		children = append(children, child)
	}
	if child, ok := addressedTask(t); ok {
		children = append(children, child)
	}
	next := *t
	next.Stage, next.Slot, next.Link, next.Notice, next.Since = stageCompute, a.Nonce(), a.Link(), nil, u.cfg.Now().UnixMilli()
	isCast := t.isCast()
	if isCast {
		s.hop(t, units.Hop{Word: "done", Peer: u.cfg.Peer, Slot: a.Nonce(), Note: "cast: nobody listens for the result"})
		s.Delete(keyTask + t.key())
	} else if err := next.put(&s.Batch); err != nil {
		return err
	}
	u.putDone(&s.Batch, t.key(), a)
	if err := u.commit(s, children...); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.tell(t.key(), end{assignment: a})
	if isCast {
		u.retire(t)
		return nil
	}
	t.Stage, t.Slot, t.Link, t.Notice, t.Since, t.tries, t.lookups = next.Stage, next.Slot, next.Link, nil, next.Since, 0, 0
	u.enqueue(t)
	return nil
}

// crank is the second hop: the slot's result, whose outbox becomes tasks of their own.
func (u *Unit) crank(ctx context.Context, t *task, start time.Time) error {
	door, ans, err := u.result(ctx, t)
	if err != nil {
		return err
	}
	if err := ans.Check(u.cfg.Network, t.Process, t.Slot); err != nil {
		return err
	}
	if ao.ID(ans.Claim.Claim().Head) != t.Link {
		return ao.Refuse("push", ao.BadResult, "slot %d of %s: the claim is about another history than the assignment", t.Slot, t.Process)
	}
	s, bought := &step{root: t.Root}, units.BoughtOf(door)
	s.hop(t, units.Hop{
		Word: "compute", Peer: units.PeerOf(door), Slot: t.Slot, Digest: ao.ID(ans.Claim.Claim().Result).String(),
		Outbox: ans.Result.Outbox(), Took: u.cfg.Now().Sub(start), Price: bought.Price, Why: bought.Why, Note: errorNote(ans.Result),
	})
	children, err := u.expand(ctx, s, t, ans.Result, ans.Claim.Claim().Result)
	if err != nil {
		return err
	}
	if len(children) == 0 {
		s.hop(t, units.Hop{Word: "done", Peer: u.cfg.Peer, Slot: t.Slot})
	}
	s.Delete(keyTask + t.key())
	fresh, err := u.claimFresh(children)
	if err != nil {
		return err
	}
	u.send(ctx, fresh)
	if err := u.record(s, fresh); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.retire(t)
	return nil
}
