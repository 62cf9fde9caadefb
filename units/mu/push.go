package mu

import (
	"context"
	"errors"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// Push queues the message, waits until it is scheduled and returns the assignment. See units.Messenger.
func (u *Unit) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	t := &task{Root: m.ID(), Process: m.Target(), Message: m.ID(), Raw: m.Raw(), Stage: stageSchedule, message: m}
	if a, err := u.finished(t.key()); err != nil || !a.IsZero() {
		return a, err
	}
	wait, err := u.accept(t)
	if err != nil {
		return ao.Assignment{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, u.cfg.Patience)
		defer cancel()
	}
	select {
	case e := <-wait:
		return e.assignment, e.err
	case <-ctx.Done():
		return ao.Assignment{}, ao.Refuse("push", ao.Queued, "message %s is safe and will be scheduled", m.ID())
	}
}

// finished is the assignment of a push that has come to its end, if there is one.
func (u *Unit) finished(key string) (ao.Assignment, error) {
	raw, err := u.cfg.Store.Get(keyDone + key)
	if isNotFound(err) || (err == nil && len(raw) == 0) {
		return ao.Assignment{}, nil
	}
	if err != nil {
		return ao.Assignment{}, ao.Refuse("push", ao.StoreTrouble, "%v", err)
	}
	a, err := ao.ParseAssignment(raw)
	if err != nil {
		return ao.Assignment{}, ao.Refuse("push", ao.StoreTrouble, "%v", err)
	}
	return a, nil
}

// accept makes the task durable, then runnable, and registers who waits for its slot.
func (u *Unit) accept(t *task) (<-chan end, error) {
	wait := make(chan end, 1)
	u.lock.Lock()
	if o, ok := u.open[t.key()]; ok && o.Stage == stageSchedule {
		u.waiters[t.key()] = append(u.waiters[t.key()], wait)
		u.lock.Unlock()
		return wait, nil
	}
	full := len(u.open) >= u.cfg.MaxTasks
	u.lock.Unlock()
	if full {
		return nil, ao.Refuse("push", ao.Busy, "%d pushes under way", u.cfg.MaxTasks)
	}
	var b store.Batch
	if err := t.put(&b); err != nil {
		return nil, ao.Refuse("push", ao.Internal, "%v", err)
	}
	u.hop(&b, t, units.Hop{Word: "push", Peer: u.cfg.Peer})
	if err := u.cfg.Store.Commit(&b); err != nil {
		return nil, ao.Refuse("push", ao.StoreTrouble, "%v", err)
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.waiters[t.key()] = append(u.waiters[t.key()], wait)
	u.admit(t)
	return wait, nil
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
	switch {
	case err == nil:
	case ctx.Err() != nil: // shutting down: the task stays on disk as it is
	case passing(t, err):
		u.later(t, err)
	default:
		u.drop(t, err)
	}
}

// schedule is the first hop: the item gets its slot, and the slot is on disk before its result is asked for.
func (u *Unit) schedule(ctx context.Context, t *task, start time.Time) error {
	if t.message.IsZero() {
		m, err := u.find(ctx, t)
		if err != nil {
			return err
		}
		t.message, t.Raw = m, m.Raw()
	}
	address := t.message.Tags().Get("Scheduler")
	if !t.message.IsSpawn() || t.Process != t.Message {
		host, err := u.cfg.Directory.HostAt(ctx, t.Process, 0)
		if err != nil {
			return u.mail(ctx, t, err)
		}
		address = host.Keys[0]
	}
	door, err := u.cfg.Directory.Scheduler(ctx, address)
	if err != nil {
		return err
	}
	a, err := door.Schedule(ctx, t.Process, t.message)
	if err != nil {
		return err
	}
	host, err := u.cfg.Directory.HostAt(ctx, t.Process, a.Nonce())
	if err != nil {
		return err
	}
	if a.Process() != t.Process || !host.Allows(a.Owner()) {
		return ao.Refuse("schedule", ao.WrongScheduler, "the assignment of %s is signed by %s", t.Message, a.Owner())
	}
	return u.scheduled(ctx, t, a, units.Hop{
		Word: "schedule", Peer: units.PeerOf(door), Slot: a.Nonce(), Took: u.cfg.Now().Sub(start),
		Note: u.trustNote(ctx, t, a),
	})
}

// scheduled records the slot, tells who waits, and moves on: to the result, or to the end if the message is a cast.
func (u *Unit) scheduled(ctx context.Context, t *task, a ao.Assignment, h units.Hop) error {
	var b store.Batch
	u.hop(&b, t, h)
	var children []*task
	if len(t.Notice) > 0 {
		child, err := u.spawned(t, a.Process())
		if err != nil {
			return err
		}
		children = append(children, child)
	}
	next := *t
	next.Stage, next.Slot, next.Notice = stageCompute, a.Nonce(), nil
	if t.message.IsCast() {
		u.hop(&b, t, units.Hop{Word: "done", Peer: u.cfg.Peer, Slot: a.Nonce(), Note: "cast: nobody listens for the result"})
		u.finish(&b, t, a.Raw())
	} else if err := next.put(&b); err != nil {
		return err
	}
	b.Put(keyDone+t.key(), a.Raw())
	if err := u.commit(&b, children); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.tell(t.key(), end{assignment: a})
	if t.message.IsCast() {
		u.retire(t)
		return nil
	}
	t.Stage, t.Slot, t.Notice, t.tries = next.Stage, next.Slot, nil, 0
	u.enqueue(t)
	u.roots[t.Root].notify()
	return nil
}

// crank is the second hop: the slot's result, whose outbox becomes tasks of their own.
func (u *Unit) crank(ctx context.Context, t *task, start time.Time) error {
	door, err := u.cfg.Directory.Computer(ctx, t.Process)
	if err != nil {
		return err
	}
	ans, err := door.Compute(ctx, t.Process, t.Slot)
	if err != nil {
		return err
	}
	if err := ans.Check(u.cfg.Network, t.Process, t.Slot); err != nil {
		return err
	}
	var b store.Batch
	digest := ao.ID(ans.Claim.Claim().Result)
	u.hop(&b, t, units.Hop{
		Word: "compute", Peer: units.PeerOf(door), Slot: t.Slot, Digest: digest.String(),
		Outbox: ans.Result.Outbox(), Took: u.cfg.Now().Sub(start), Note: errorNote(ans.Result),
	})
	children, err := u.expand(ctx, &b, t, ans)
	if err != nil {
		return err
	}
	u.finish(&b, t, nil)
	if err := u.commit(&b, children); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.retire(t)
	return nil
}

// finish removes the task in a batch; the done mark, which holds its assignment, stays.
func (u *Unit) finish(b *store.Batch, t *task, assignment []byte) {
	b.Delete(keyTask + t.key())
	if assignment != nil {
		b.Put(keyDone+t.key(), assignment)
	}
}

// commit records a step together with the tasks that it brought forth, then makes these runnable.
func (u *Unit) commit(b *store.Batch, children []*task) error {
	fresh := children[:0]
	for _, c := range children {
		known, err := u.known(c.key())
		if err != nil {
			return err
		}
		if known {
			continue
		}
		if err := c.put(b); err != nil {
			return err
		}
		fresh = append(fresh, c)
	}
	if err := u.cfg.Store.Commit(b); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, c := range fresh {
		u.admit(c)
	}
	return nil
}

// later sets a task aside after a failure that may pass, twice as long each time.
func (u *Unit) later(t *task, err error) {
	t.tries++
	pause := u.cfg.RetryMax
	if t.tries < 20 {
		pause = min(u.cfg.Retry<<(t.tries-1), u.cfg.RetryMax)
	}
	u.cfg.Log.Debug(t.Stage, "message", t.Message, "process", t.Process, "try", t.tries, "again_in", pause, "err", err)
	time.AfterFunc(pause, func() {
		u.lock.Lock()
		defer u.lock.Unlock()
		if !u.stopped {
			u.enqueue(t)
		}
	})
}

// drop ends a task that cannot succeed, and says why to whoever waits or looks.
func (u *Unit) drop(t *task, err error) {
	u.cfg.Log.Info("push dropped", "message", t.Message, "process", t.Process, "stage", t.Stage, "err", err)
	var b store.Batch
	u.hop(&b, t, units.Hop{Word: "drop", Peer: u.cfg.Peer, Slot: t.Slot, Note: err.Error()})
	b.Delete(keyTask + t.key())
	if cerr := u.cfg.Store.Commit(&b); cerr != nil {
		u.later(t, cerr)
		return
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.tell(t.key(), end{err: err})
	u.retire(t)
}

// tell answers the pushes that wait for a task. The caller holds the lock.
func (u *Unit) tell(key string, e end) {
	for _, w := range u.waiters[key] {
		w <- e
	}
	delete(u.waiters, key)
}

// maxLookups is how often a target that nobody knows is looked for before it is taken to be no process.
const maxLookups = 6

// passing says whether a failed step may succeed later. A refusal for what the message is will not.
func passing(t *task, err error) bool {
	var r *ao.Refusal
	if !errors.As(err, &r) {
		return true
	}
	switch r.Code {
	case ao.Malformed, ao.BadSignature, ao.NotAO, ao.WrongType, ao.BadTags, ao.NoTarget, ao.TooLarge, ao.BadDraft,
		ao.WrongScheduler, ao.BadFormat, ao.BadModule, ao.OtherNetwork, ao.Unsupported:
		return false
	case ao.UnknownProcess, ao.UnknownMessage:
		return t.tries < maxLookups
	}
	return true
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
