package cu

import (
	"context"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Compute implements units.Computer. A stored answer is given as it is; otherwise the process's own goroutine replays
// the log up to the slot, for all who wait. A caller who leaves does not stop it.
func (u *Unit) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	o, err := u.stored(process, slot)
	if err != nil {
		u.checkStore(err)
		return units.Answer{}, refusal(err)
	}
	if o != nil {
		u.tally(func(c *Counters) { c.Stored++ })
	} else {
		t := &task{slot: slot}
		if e, ok := units.Handed(ctx, process, slot); ok {
			t.entry = &e
			t.checked = u.cfg.Told && e.Proof == ao.ProofTold // whoever tells of it has it in the log
		}
		if err := u.do(ctx, process, t); err != nil {
			return units.Answer{}, u.withStanding(process, slot, refusal(err))
		}
		o = t.found
	}
	a, err := u.sign(o)
	if err != nil {
		u.checkStore(err)
		u.logContradiction(process, slot, err)
		return units.Answer{}, refusal(err)
	}
	return a, nil
}

// withStanding adds how far the unit is to a refusal of somebody who could not wait, or was not let in.
func (u *Unit) withStanding(process ao.ID, slot ao.Slot, r *ao.Refusal) *ao.Refusal {
	if r.Code != ao.Busy && r.Code != ao.Deadline {
		return r
	}
	next, err := readSlot(u.cfg.Store, nextKey(process))
	if err != nil {
		return r
	}
	return ao.Refuse(hop, r.Code, "slot %d of %s: slots below %d are evaluated: %s", slot, process, next, r.Detail)
}

// State implements units.Computer: it evaluates to the log's head first.
func (u *Unit) State(ctx context.Context, process ao.ID) (units.StateInfo, error) {
	var info units.StateInfo
	err := u.atHead(ctx, process, func(life context.Context, p *worker) error {
		at, err := p.stateRoot(life)
		info = units.StateInfo{Slot: at.slot, Root: at.root, Memory: at.memory}
		return err
	})
	if err != nil {
		return units.StateInfo{}, refusal(err)
	}
	return info, nil
}

// atHead calls visit once the process is evaluated to the head that its log has now.
func (u *Unit) atHead(ctx context.Context, process ao.ID, visit visitor) error {
	next, err := u.headOf(ctx, process)
	if err != nil {
		return err
	}
	return u.do(ctx, process, &task{slot: next - 1, visit: visit, checked: true})
}

// headOf is the first slot that a log has not taken, which is at least 1.
func (u *Unit) headOf(ctx context.Context, process ao.ID) (ao.Slot, error) {
	log, err := u.cfg.Directory.Log(ctx, process)
	if err != nil {
		return 0, fmt.Errorf("find log: %w", err)
	}
	next, err := log.Next(ctx, process)
	if err != nil {
		return 0, fmt.Errorf("ask for the log's head: %w", err)
	}
	if next == 0 {
		return 0, fmt.Errorf("slot 0: %w", errNotYet)
	}
	return next, nil
}

// Rewind takes the state back to the newest checkpoint before the slot and drops those after it; whoever asks next has
// the slots since then evaluated again and compared with the stored answers, which stay.
func (u *Unit) Rewind(ctx context.Context, process ao.ID, slot ao.Slot) error {
	err := u.do(ctx, process, &task{rest: true, visit: func(_ context.Context, p *worker) error {
		return p.rewind(slot)
	}})
	if err != nil {
		return refusal(err)
	}
	return nil
}
