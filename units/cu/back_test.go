package cu_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

func wantBack(t *testing.T, u units.States, p ao.ID, slot ao.Slot, want string) {
	t.Helper()
	r, err := u.DryRunAt(unitstest.Context(t), p, slot, ao.Query{Data: []byte("x")})
	if err != nil || string(r.Output) != want {
		t.Errorf("at slot %d it gave %s, %v, want %s", slot, r.Output, err, want)
	}
}

// TestLookBack: any slot's state can be asked, at the cost of the slots since the nearest state that is kept, and the
// process stays where it is.
func TestLookBack(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 24)
	u := w.run(t, func(c *cu.Config) { c.PageSize = 5 })
	compute(t, u, p, 23) // three checkpoints are kept, before 10, 15 and 20
	before := stateOf(t, u, p)
	for _, c := range []struct{ slot, cost ao.Slot }{
		{23, 0}, {22, 3}, {22, 0}, {21, 2}, {3, 4}, {3, 0}, {7, 4}, {14, 0}, {20, 1}, {0, 1}, {23, 0},
	} {
		applied := w.machine.applied.Load()
		wantBack(t, u, p, c.slot, fmt.Sprintf(`"%d x at %d"`, c.slot+1, c.slot))
		if n := w.machine.applied.Load() - applied; n != int64(c.cost) {
			t.Errorf("slot %d took %d evaluations, want %d", c.slot, n, c.cost)
		}
	}
	if after := stateOf(t, u, p); after != before {
		t.Errorf("the process went from %+v to %+v", before, after)
	}
	_, err := u.DryRunAt(unitstest.Context(t), p, 24, ao.Query{})
	unitstest.WantRefusal(t, err, ao.NotYet)
	_, err = u.DryRunAt(unitstest.Context(t), unitstest.ID("nobody"), 0, ao.Query{})
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
	w.machine.lock.Lock()
	w.machine.dryErr = io.ErrUnexpectedEOF
	w.machine.lock.Unlock()
	_, err = u.DryRunAt(unitstest.Context(t), p, 23, ao.Query{})
	unitstest.WantRefusal(t, err, ao.Internal)
	w.machine.lock.Lock()
	w.machine.dryErr = nil
	w.machine.lock.Unlock()
	wantBack(t, u, p, 22, `"23 x at 22"`) // of what it failed on nothing is used
}

// TestLookBackIsTheState: looked back at, a state is what it was when its slot was the newest, of a process that ticks too.
func TestLookBackIsTheState(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	p := c.Process()
	read := func(d units.Dump, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer d.Bytes.Close()
		raw, err := io.ReadAll(d.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return append(raw, fmt.Sprint(d.Last, d.Size)...)
	}
	var then [][]byte
	u := w.run(t, func(c *cu.Config) { c.CheckpointEvery = 3 })
	for slot := range c.Entries() {
		w.directory.put(c.Entries()[:slot+1])
		then = append(then, read(u.Memory(unitstest.Context(t), p)))
	}
	for _, slot := range []int{0, 3, 1, 2} {
		if now := read(u.MemoryAt(unitstest.Context(t), p, ao.Slot(slot))); !bytes.Equal(now, then[slot]) {
			t.Errorf("slot %d is\n%q, was\n%q", slot, now, then[slot])
		}
	}
}

// TestLookBackInParts: who cannot wait hears so, and whoever asks next goes on from there.
func TestLookBackInParts(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 12)
	u := w.run(t, func(c *cu.Config) { c.CheckpointEvery = 100 })
	compute(t, u, p, 11)
	ctx, cancel := context.WithCancel(unitstest.Context(t))
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 5 {
			cancel()
		}
		return nil
	}, nil)
	_, err := u.DryRunAt(ctx, p, 9, ao.Query{})
	unitstest.WantRefusal(t, err, ao.Deadline)
	w.machine.hook(nil, nil)
	applied := w.machine.applied.Load()
	wantBack(t, u, p, 9, `"10 x at 9"`)
	if n := w.machine.applied.Load() - applied; n != 4 {
		t.Errorf("%d slots were evaluated the second time, want those from 6 to 9", n)
	}
}

// TestLookBackIsBounded: not every process that somebody looks back at stays in memory.
func TestLookBackIsBounded(t *testing.T) {
	w := newWorld(t)
	var ids []ao.ID
	for i := range 12 {
		ids = append(ids, w.serve(t, fmt.Sprint(i), 3))
	}
	u := w.run(t, func(c *cu.Config) { c.MaxHot = 2 })
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { wantBack(t, u, id, 1, `"2 x at 1"`) })
	}
	all.Wait()
	if n := w.machine.open.Load(); n > 2+4 {
		t.Errorf("%d states are open", n)
	}
}

// TestLookBackIsTidied: what a query on a copy from the past has changed does not stay until the next one.
func TestLookBackIsTidied(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 4)
	u := w.run(t)
	compute(t, u, p, 3)
	before := w.machine.tidied.Load()
	wantBack(t, u, p, 1, `"2 x at 1"`)
	if n := w.machine.tidied.Load() - before; n != 1 {
		t.Errorf("%d states were tidied after a query, want its own", n)
	}
}

// TestLookBackAtAnotherLog: a log that was served otherwise before gives no state.
func TestLookBackAtAnotherLog(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	u := w.run(t)
	compute(t, u, c.Process(), 3)
	other := unitstest.NewChain(t, w.scheduler, c.Entries()[0].Message)
	for i := range 3 {
		w.add(t, other, fmt.Sprintf("another message %d", i))
	}
	w.directory.put(other.Entries())
	_, err := u.DryRunAt(unitstest.Context(t), c.Process(), 2, ao.Query{})
	unitstest.WantRefusal(t, err, ao.BadLog)
}
