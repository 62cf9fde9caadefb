package cu

import (
	"context"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// Bounds of looking back: each copy is a whole process, and each slot that it is taken through is evaluated once more.
const (
	maxBacks   = 4 // copies that are kept for the next question
	maxBacking = 2 // processes that are taken back at once
)

// DryRunAt implements units.States.
func (u *Unit) DryRunAt(ctx context.Context, process ao.ID, slot ao.Slot, q ao.Query) (ao.Result, error) {
	var result ao.Result
	err := u.lookBack(ctx, process, slot, func(ctx context.Context, r *replayer) (err error) {
		if err := enter(ctx, u.reading); err != nil {
			return err
		}
		defer func() { <-u.reading }()
		u.polite.run(func() {
			if result, err = u.cfg.Machine.DryRun(ctx, r.state, q, r.last); err != nil {
				return
			}
			if t, ok := r.state.(wasmvm.Tidier); ok {
				err = t.Tidy()
			}
		})
		if err != nil {
			r.close() // it may stand anywhere
		}
		return err
	})
	if err != nil {
		return ao.Result{}, refusal(err)
	}
	return result, nil
}

// lookBack calls visit with a copy of the process as it stood after the slot. The process itself is not touched.
func (u *Unit) lookBack(ctx context.Context, process ao.ID, slot ao.Slot, visit func(context.Context, *replayer) error) error {
	if err := u.awaitStart(ctx); err != nil {
		return err
	}
	r, err := u.backs.borrow(ctx, process)
	if err != nil {
		return err
	}
	defer u.backs.handBack(r)
	ctx, cancel := context.WithCancel(ctx) // the caller's patience and the unit's life
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	if err := enter(ctx, u.backing); err != nil {
		return err
	}
	defer func() { <-u.backing }()
	defer r.follow()
	if r.replay == nil || r.replay.cursor.Next != slot+1 {
		if err := u.goBack(ctx, r, slot); err != nil {
			return fmt.Errorf("look back to slot %d: %w", slot, err)
		}
	}
	return visit(ctx, r.replay)
}

// follow takes down which state the copy has now.
func (r *reader) follow() {
	if r.replay == nil {
		return
	}
	if r.state = r.replay.state; r.state == nil {
		r.replay = nil
	}
}

// goBack takes a copy to where its process stood after the slot, from the nearest state that there is: its own, the
// process's if it stands there, or that of a checkpoint. What is done when ctx ends stays done.
func (u *Unit) goBack(ctx context.Context, r *reader, slot ao.Slot) error {
	var g wasmvm.Genesis // of the visitor, as the rest is, who may come after the caller has left
	var profile string
	var here checkpoint
	err := u.do(ctx, r.process, &task{slot: slot, visit: func(_ context.Context, p *worker) (err error) {
		g, profile = p.replay.genesis, p.profile
		if p.replay.cursor.Next == slot+1 {
			here = checkpoint{cursor: p.replay.cursor, times: p.replay.times, last: p.replay.last}
			here.image, err = p.replay.state.Image()
		}
		return err
	}})
	if err != nil {
		return err
	}
	at := ao.Slot(0)
	if r.replay != nil && r.replay.cursor.Next <= slot {
		at = r.replay.cursor.Next
	} else {
		r.close()
	}
	if here.image == nil {
		if here, err = u.shelf.nearest(r.process, at, slot+1, profile); err != nil {
			return storeFault("look for checkpoints", err)
		}
	}
	if here.image != nil {
		r.close()
	}
	if r.replay == nil {
		if err := u.beginBack(ctx, r, g, here); err != nil {
			return err
		}
	}
	return u.replayTo(ctx, r, slot)
}

// beginBack makes a copy that stands at a checkpoint or, without one, before slot 0.
func (u *Unit) beginBack(ctx context.Context, r *reader, g wasmvm.Genesis, c checkpoint) error {
	seen := &seenInStore{store: u.cfg.Store, process: r.process, fresh: make(map[seenKey]ao.Slot)} // nothing of it is stored
	replay := newReplayer(u.cfg.Machine, u.cfg.Directory, g, seen)
	replay.told = u.cfg.Told
	if c.image != nil {
		var err error
		if replay.state, err = u.cfg.Machine.Begin(ctx, g, c.image); err != nil {
			return fmt.Errorf("copy state: %w", err)
		}
		replay.cursor, replay.last, replay.times = c.cursor, c.last, c.times
	}
	r.replay = replay
	return nil
}

// replayTo evaluates the copy up to the slot. Dry-runs of others, and slots of course, go in between any two.
func (u *Unit) replayTo(ctx context.Context, r *reader, slot ao.Slot) error {
	if r.replay.cursor.Next > slot {
		return nil
	}
	log, err := u.cfg.Directory.Log(ctx, r.process)
	if err != nil {
		return fmt.Errorf("find log: %w", err)
	}
	for r.replay.cursor.Next <= slot {
		from := r.replay.cursor.Next
		entries, err := log.Range(ctx, r.process, from, int(min(uint64(slot-from)+1, uint64(u.cfg.PageSize))))
		if err != nil {
			return fmt.Errorf("read log from slot %d: %w", from, err)
		}
		if len(entries) == 0 {
			return fmt.Errorf("slot %d: %w", from, errNotYet)
		}
		for _, e := range entries {
			if err := u.stepBack(ctx, r.replay, e, slot); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepBack evaluates an entry, after the slots that the log leaves out before it, but nothing behind the slot. What was
// answered for that one before must come out again.
func (u *Unit) stepBack(ctx context.Context, r *replayer, e ao.Entry, slot ao.Slot) error {
	for r.cursor.Next <= slot {
		err := ctx.Err()
		if err == nil {
			err = enter(ctx, u.reading)
		}
		if err != nil {
			return fmt.Errorf("slots below %d are evaluated: %w", r.cursor.Next, err)
		}
		out, err := r.step(ctx, e)
		<-u.reading
		if err != nil {
			return err
		}
		if out.slot == slot {
			return u.compareBack(r, out)
		}
		if out.slot == e.Assignment.Nonce() {
			return nil
		}
	}
	return nil
}

// compareBack holds the last slot of a copy against the answer that was given for it.
func (u *Unit) compareBack(r *replayer, out evaluated) error {
	process := r.cursor.Process
	old, err := u.stored(process, out.slot)
	if err == nil && old != nil {
		err = u.same(process, old, out)
	}
	if err != nil {
		r.close()
	}
	return err
}
