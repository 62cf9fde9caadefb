package cu_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// crowd serves processes that are told apart by their logs.
func (w *world) crowd(t *testing.T, n, slots int) (ids []ao.ID) {
	t.Helper()
	for i := range n {
		c := w.chain(t, fmt.Sprintf("p%d", i), slots-1)
		w.add(t, c, fmt.Sprintf("last of %d", i))
		w.directory.put(c.Entries())
		ids = append(ids, c.Process())
	}
	return ids
}

// TestPacked: processes that have no place in the machine rest in memory, nothing is written or evaluated for it, and
// they go on where they stood.
func TestPacked(t *testing.T) {
	const processes, slots = 20, 6
	w := newWorld(t)
	ids := w.crowd(t, processes, slots)
	u := w.run(t, func(c *cu.Config) { c.MaxHot, c.CheckpointEvery = 2, 1000 })
	roots := map[ao.ID][32]byte{}
	for _, id := range ids {
		compute(t, u, id, slots-2)
	}
	for range 2 {
		for i, id := range ids {
			compute(t, u, id, slots-1)
			s := stateOf(t, u, id)
			if r, ok := roots[id]; ok && r != s.Root {
				t.Errorf("process %d has another state", i)
			}
			roots[id] = s.Root
		}
	}
	s := u.Status()
	if s.Hot != 2 || s.Packed != processes-2 || s.PackedMem == 0 || s.Returns < processes || s.Checkpoints != 0 {
		t.Errorf("status %+v, want 2 hot, the rest packed, and no checkpoint", s)
	}
	if n := w.machine.applied.Load(); n != processes*slots {
		t.Errorf("%d entries were applied, want each of %d once", n, processes*slots)
	}
	distinct := map[[32]byte]bool{}
	for _, r := range roots {
		distinct[r] = true
	}
	if len(distinct) != processes {
		t.Errorf("%d states of %d processes", len(distinct), processes)
	}
	u.stop() // what is packed is saved at the end
	again := w.run(t)
	for _, id := range ids {
		if stateOf(t, again, id).Root != roots[id] {
			t.Error("another state after a restart")
		}
	}
	if n := w.machine.applied.Load(); n != processes*slots {
		t.Errorf("%d entries were applied, want none after the restart", n-processes*slots)
	}
}

// TestPackedIsBounded: what has no place in memory either goes to disk, and comes back from there.
func TestPackedIsBounded(t *testing.T) {
	const processes, slots = 8, 6
	w := newWorld(t)
	ids := w.crowd(t, processes, slots)
	u := w.run(t, func(c *cu.Config) { c.MaxHot, c.CheckpointEvery, c.MaxPacked = 1, 1000, 2000 })
	for range 2 {
		for _, id := range ids {
			compute(t, u, id, slots-2)
			stateOf(t, u, id)
			if s := u.Status(); s.PackedMem > 2000 || s.Hot > 1 {
				t.Fatalf("status %+v", s)
			}
		}
	}
	if s := u.Status(); s.Checkpoints < processes-3 || s.Packed > 3 {
		t.Errorf("status %+v, want most on disk", s)
	}
	if n := w.machine.applied.Load(); n != processes*slots {
		t.Errorf("%d entries were applied, want each of %d once", n, processes*slots)
	}
}

// TestIdleIsSaved: an idle process is checkpointed without anybody asking, hot or packed, and once.
func TestIdleIsSaved(t *testing.T) {
	w := newWorld(t)
	ids := w.crowd(t, 4, 6)
	u := w.run(t, func(c *cu.Config) { c.MaxHot, c.CheckpointEvery, c.SaveIdle = 2, 1000, time.Millisecond })
	for _, id := range ids {
		compute(t, u, id, 5)
	}
	await(t, "all are saved", func() bool { return u.Status().Checkpoints >= 4 })
	u.stop()
	if n := u.Status().Checkpoints; n != 4 {
		t.Errorf("%d checkpoints of 4 processes that have not moved", n)
	}
}

// TestCrowdOfOneProcess: those who wait for a process that does not come forward leave places for others.
func TestCrowdOfOneProcess(t *testing.T) {
	w := newWorld(t)
	slow, other := w.serve(t, "p", 4), w.serve(t, "q", 4)
	gate := make(chan struct{})
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Process() == slow {
			<-gate
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) { c.MaxWaiting, c.MaxWaitingEach, c.Workers, c.Now = 8, 3, 2, standing })
	defer close(gate)
	for range 3 {
		go func() { _, _ = u.Compute(t.Context(), slow, 3) }()
	}
	await(t, "three wait", func() bool { return u.Status().Waiting == 3 })
	_, err := u.Compute(unitstest.Context(t), slow, 3)
	unitstest.WantRefusal(t, err, ao.Busy)
	compute(t, u, other, 3)
}
