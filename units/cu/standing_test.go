package cu_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestStanding: what a slot would cost is told without evaluating anything, hot, stored, cold with a checkpoint, and unknown.
func TestStanding(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 6)
	u := w.run(t, func(c *cu.Config) { c.CheckpointEvery = 3 })
	standing := func(u *running, want units.Standing, behind map[ao.Slot]uint64) {
		t.Helper()
		before := w.machine.applied.Load()
		at, err := u.Standing(p)
		if err != nil || at != want {
			t.Errorf("%+v, %v, want %+v", at, err, want)
		}
		for slot, n := range behind {
			if at.Behind(slot) != n {
				t.Errorf("slot %d is %d behind, want %d", slot, at.Behind(slot), n)
			}
		}
		if w.machine.applied.Load() != before {
			t.Error("it was evaluated")
		}
	}
	standing(u, units.Standing{}, map[ao.Slot]uint64{0: 0, 5: 5})
	compute(t, u, p, 4)
	standing(u, units.Standing{Recorded: 5, Next: 5, Hot: true}, map[ao.Slot]uint64{0: 0, 4: 0, 5: 0, 7: 2})
	if at, err := u.Standing(unitstest.ID("unknown")); err != nil || at != (units.Standing{}) {
		t.Errorf("of an unknown process %+v, %v", at, err)
	}
	u.stop()
	again := w.run(t, func(c *cu.Config) { c.CheckpointEvery = 3 })
	at, err := again.Standing(p)
	if err != nil || at.Hot || at.Recorded != 5 || at.Next == 0 || at.Next > 5 {
		t.Errorf("cold %+v, %v", at, err)
	}
	if at.Behind(3) != 0 || at.Behind(6) != uint64(6-at.Next) {
		t.Errorf("cold, slot 3 is %d behind, slot 6 %d", at.Behind(3), at.Behind(6))
	}
}

// TestWaitIsBounded: who asks for a slot that takes long hears how far the unit is, however patient; the evaluation goes on.
func TestWaitIsBounded(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 7)
	u := w.run(t)
	compute(t, u, p, 3)
	u.stop()
	gate := make(chan struct{})
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 5 {
			<-gate
		}
		return nil
	}, nil)
	u = w.run(t, func(c *cu.Config) { c.MaxWait = 20 * time.Millisecond })
	_, err := u.Compute(context.Background(), p, 6)
	unitstest.WantRefusal(t, err, ao.Deadline)
	if !strings.Contains(err.Error(), "slot 6 of "+p.String()+": slots below ") {
		t.Errorf("refused with %v, which does not say how far it is", err)
	}
	close(gate)
	await(t, "the slot is there", func() bool {
		at, err := u.Standing(p)
		return err == nil && at.Recorded == 7
	})
	compute(t, u, p, 6)
}
