package mu

import (
	"context"
	"runtime"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// sent is a message on its way to its scheduler while the step that brought it forth is being written down.
type sent struct {
	done chan struct{} // closed when what follows is set
	door units.Scheduler
	a    ao.Assignment
	err  error
}

// send asks the schedulers of new tasks for their slots ahead of their stage. After a crash the step that brought them
// forth is taken again and makes the same messages, which a scheduler gives the same slots; so the question need not
// wait for the disk. A message that somebody else hands us is written down first, for nobody would make it again.
func (u *Unit) send(ctx context.Context, tasks []*task) {
	for _, t := range tasks {
		if t.message.IsZero() || !u.mayAsk() {
			continue
		}
		q := &sent{done: make(chan struct{})}
		item := *t // the task itself is the worker's that takes it up
		u.asks.Go(func() {
			defer u.hasAsked()
			defer close(q.done)
			door, err := u.schedulerOf(ctx, &item)
			if err != nil { // its own stage will meet it again
				return
			}
			q.door = door
			q.a, q.err = u.askSlot(ctx, door, &item)
		})
		t.sent = q
	}
	if len(tasks) > 0 {
		runtime.Gosched() // the questions take longer than the disk, so they leave first
	}
}

// slot is the assignment that was asked for ahead, or a new one.
func (u *Unit) slot(ctx context.Context, t *task) (units.Scheduler, ao.Assignment, error) {
	if q := t.sent; q != nil {
		t.sent = nil
		select {
		case <-q.done:
			if q.door != nil {
				return q.door, q.a, q.err
			}
		case <-ctx.Done():
			return nil, ao.Assignment{}, ctx.Err()
		}
	}
	door, err := u.schedulerOf(ctx, t)
	if err != nil {
		return nil, ao.Assignment{}, err
	}
	a, err := u.askSlot(ctx, door, t)
	return door, a, err
}

// askSlot asks a scheduler for the task's slot.
func (u *Unit) askSlot(ctx context.Context, door units.Scheduler, t *task) (ao.Assignment, error) {
	if u.goesAbroad(t, door) {
		return ao.Assignment{}, errAbroad
	}
	if t.Assign == nil {
		return door.Schedule(ctx, t.Process, t.message)
	}
	if !t.message.IsZero() {
		ctx = units.HandMessage(ctx, t.message)
	}
	return door.Assign(ctx, t.Process, t.Message, *t.Assign)
}

// asked is a question for a result while its slot is being written down.
type asked struct {
	door units.Computer
	done chan struct{} // closed when what follows is set
	ans  units.Answer
	err  error
}

// ask asks for the result of a slot ahead of its stage: a question that a crash repeats does no harm, so it need not
// wait for the disk. The entry goes along, for the computer need not ask for what we have in hand.
func (u *Unit) ask(ctx context.Context, t *task, a ao.Assignment) {
	t.asked = nil
	if t.isCast() || !u.mayAsk() {
		return
	}
	door, err := u.cfg.Directory.Computer(ctx, t.Process)
	if err != nil { // its own stage will meet it again
		u.hasAsked()
		return
	}
	if !t.message.IsZero() && a.Message() == t.Message {
		ctx = units.Hand(ctx, ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: t.message})
	}
	q := &asked{door: door, done: make(chan struct{})}
	process, slot := t.Process, a.Nonce()
	u.asks.Go(func() {
		defer u.hasAsked()
		defer close(q.done)
		q.ans, q.err = door.Compute(ctx, process, slot)
	})
	t.asked = q
	runtime.Gosched() // evaluation takes longer than the disk, so the question leaves first
}

// mayAsk bounds the questions ahead as the workers are bounded, who ask the others in their turn.
func (u *Unit) mayAsk() bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.asking >= u.cfg.Workers {
		return false
	}
	u.asking++
	return true
}

func (u *Unit) hasAsked() {
	u.lock.Lock()
	defer u.lock.Unlock()
	u.asking--
}

// result is the answer to the question that was asked ahead, or to a new one.
func (u *Unit) result(ctx context.Context, t *task) (units.Computer, units.Answer, error) {
	if q := t.asked; q != nil {
		t.asked = nil
		select {
		case <-q.done:
			return q.door, q.ans, q.err
		case <-ctx.Done():
			return nil, units.Answer{}, ctx.Err()
		}
	}
	door, err := u.cfg.Directory.Computer(ctx, t.Process)
	if err != nil {
		return nil, units.Answer{}, err
	}
	ans, err := door.Compute(ctx, t.Process, t.Slot)
	return door, ans, err
}
