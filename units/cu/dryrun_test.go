package cu_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// wantDryRun asks x of a process at its head.
func wantDryRun(t *testing.T, u *running, p ao.ID, want string) {
	t.Helper()
	if r, err := u.DryRun(unitstest.Context(t), p, ao.Query{Data: []byte("x")}); err != nil || string(r.Output) != want {
		t.Errorf("dry-run gave %s, %v, want %s", r.Output, err, want)
	}
}

// TestDryRunBesideSlots: while a dry-run lasts, slots of the same process are evaluated and answered.
func TestDryRunBesideSlots(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	p := c.Process()
	u := w.run(t, func(c *cu.Config) { c.Workers = 1 })
	compute(t, u, p, 3)
	running, gate := make(chan struct{}), make(chan struct{})
	w.machine.lock.Lock()
	w.machine.dryRun = func() { running <- struct{}{}; <-gate }
	w.machine.lock.Unlock()
	var all sync.WaitGroup
	all.Go(func() { wantDryRun(t, u, p, `"4 x at 3"`) })
	<-running
	for i := range 3 {
		w.add(t, c, fmt.Sprintf("more %d", i))
	}
	w.directory.put(c.Entries())
	compute(t, u, p, 6)
	close(gate)
	all.Wait()
	w.machine.lock.Lock()
	w.machine.dryRun = nil
	w.machine.lock.Unlock()
	before := w.machine.begun.Load()
	for range 5 { // on one new copy, since the process has moved on
		if r, err := u.DryRun(unitstest.Context(t), p, ao.Query{Data: []byte("y")}); err != nil || string(r.Output) != `"7 y at 6"` {
			t.Errorf("dry-run gave %s, %v", r.Output, err)
		}
	}
	if n := w.machine.begun.Load() - before; n != 1 {
		t.Errorf("%d copies were made for 5 dry-runs of one state", n)
	}
}

// TestHeadIsAskedBesideDryRun: a copy that nobody uses does not wait for the log to say where it ends, and what it answers counts
// only if it stands there.
func TestHeadIsAskedBesideDryRun(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	p := c.Process()
	u := w.run(t)
	wantDryRun(t, u, p, `"4 x at 3"`)
	await(t, "the copy is tidied and given back", func() bool { return u.Borrowed() == 0 })
	evaluated, asked := make(chan struct{}), make(chan struct{})
	w.machine.lock.Lock()
	w.machine.dryRun = func() { <-asked; evaluated <- struct{}{} } // once the head is asked for
	w.machine.lock.Unlock()
	w.directory.lock.Lock()
	w.directory.asked = func() { asked <- struct{}{}; <-evaluated } // answered once the copy has evaluated
	w.directory.lock.Unlock()
	wantDryRun(t, u, p, `"4 x at 3"`)
	w.add(t, c, "more")
	w.directory.put(c.Entries())
	w.directory.lock.Lock()
	w.directory.asked = nil
	w.directory.lock.Unlock()
	w.machine.lock.Lock()
	w.machine.dryRun = nil
	w.machine.lock.Unlock()
	wantDryRun(t, u, p, `"5 x at 4"`)
	w.directory.lock.Lock()
	delete(w.directory.logs, p)
	w.directory.lock.Unlock()
	_, err := u.DryRun(unitstest.Context(t), p, ao.Query{})
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
}

// TestTidyingIsNotWaitedFor: a result and a dry-run are there before the state is tidied, and who comes next waits for that.
func TestTidyingIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 3)
	w.directory.put(c.Entries())
	p := c.Process()
	u := w.run(t)
	gate := make(chan struct{})
	var tidying atomic.Bool
	w.machine.lock.Lock()
	w.machine.tidies = func() {
		tidying.Store(true)
		<-gate
		tidying.Store(false)
	}
	w.machine.before = func(ao.Entry) error {
		if tidying.Load() {
			t.Error("an entry is applied to a state that is being tidied")
		}
		return nil
	}
	w.machine.lock.Unlock()
	compute(t, u, p, 2)
	w.add(t, c, "more")
	w.directory.put(c.Entries())
	var all sync.WaitGroup
	all.Go(func() { compute(t, u, p, 3) })
	gate <- struct{}{}
	all.Wait()
	gate <- struct{}{}
	for range 2 {
		if _, err := u.DryRun(unitstest.Context(t), p, ao.Query{}); err != nil {
			t.Error(err)
		}
		gate <- struct{}{}
	}
	close(gate)
}

// TestCopyInUseIsNotMadeAgain: who comes while a copy is in use waits for it, and does not have the state copied for nothing.
func TestCopyInUseIsNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 4)
	u := w.run(t)
	ask := func() { wantDryRun(t, u, p, `"4 x at 3"`) }
	ask()
	await(t, "the copy is given back", func() bool { return u.Borrowed() == 0 })
	gate := make(chan struct{})
	w.machine.lock.Lock()
	w.machine.tidies = func() { <-gate }
	w.machine.lock.Unlock()
	ask()
	before := w.machine.images.Load()
	var all sync.WaitGroup
	for range 3 {
		all.Go(ask)
	}
	await(t, "three wait for the copy", func() bool { return u.Borrowed() == 4 })
	close(gate)
	all.Wait()
	if n := w.machine.images.Load() - before; n != 0 {
		t.Errorf("the state was copied %d times", n)
	}
}

// TestWhoLeavesLeavesTheCopy: a caller who goes away before the evaluation does not cost the next one a new copy.
func TestWhoLeavesLeavesTheCopy(t *testing.T) {
	w := newWorld(t)
	p, other := w.serve(t, "p", 4), w.serve(t, "other", 2)
	u := w.run(t)
	ask := func(ctx context.Context) error {
		_, err := u.DryRun(ctx, p, ao.Query{Data: []byte("x")})
		return err
	}
	if err := ask(unitstest.Context(t)); err != nil {
		t.Fatal(err)
	}
	await(t, "the copy is given back", func() bool { return u.Borrowed() == 0 })
	begun := w.machine.begun.Load()
	working, gate := make(chan struct{}), make(chan struct{})
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Process() == other && e.Assignment.Nonce() == 1 {
			close(working)
			<-gate
		}
		return nil
	}, nil)
	var all sync.WaitGroup
	all.Go(func() { compute(t, u, other, 1) })
	<-working // so that a dry-run gives way for a while
	ctx, cancel := context.WithCancel(unitstest.Context(t))
	var left atomic.Bool // of itself, if this goroutine is slow
	all.Go(func() { _ = ask(ctx); left.Store(true) })
	await(t, "a caller waits", func() bool { return u.Borrowed() == 1 || left.Load() })
	cancel()
	await(t, "the caller has left", func() bool { return u.Borrowed() == 0 })
	close(gate)
	all.Wait()
	if err := ask(unitstest.Context(t)); err != nil {
		t.Error(err)
	}
	if n := w.machine.begun.Load() - begun; n > 1 { // other's
		t.Errorf("%d states were begun", n)
	}
}

// TestOldCopyIsNotAsked: when the unit itself has gone on, nothing is evaluated where its copy stands.
func TestOldCopyIsNotAsked(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	p := c.Process()
	u := w.run(t)
	for slot := ao.Slot(3); slot < 6; slot++ {
		compute(t, u, p, slot)
		before := w.machine.dry.Load()
		wantDryRun(t, u, p, fmt.Sprintf(`"%d x at %d"`, slot+1, slot))
		if n := w.machine.dry.Load() - before; n != 1 {
			t.Errorf("a dry-run was evaluated %d times", n)
		}
		await(t, "the copy is given back", func() bool { return u.Borrowed() == 0 })
		w.add(t, c, fmt.Sprint("after ", slot))
		w.directory.put(c.Entries())
	}
}

// TestCopiesAreBounded: dry-runs of many processes do not keep a copy of each.
func TestCopiesAreBounded(t *testing.T) {
	w := newWorld(t)
	var ids []ao.ID
	for i := range 30 {
		ids = append(ids, w.serve(t, fmt.Sprint(i), 2))
	}
	u := w.run(t, func(c *cu.Config) { c.MaxHot = 2 })
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() {
			if _, err := u.DryRun(unitstest.Context(t), id, ao.Query{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	await(t, "the copies are bounded once the last is tidied", func() bool { return w.machine.open.Load() <= 2+16 })
}

// TestSlowModule: who waits for a compilation is sent away after a while, others are served meanwhile.
func TestSlowModule(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 2)
	w.machine.making = func(ctx context.Context) { <-ctx.Done() }
	u := w.run(t, func(c *cu.Config) { c.CompileWait = time.Millisecond })
	_, err := u.Compute(unitstest.Context(t), p, 1)
	unitstest.WantRefusal(t, err, ao.Busy)
	w.machine.lock.Lock()
	w.machine.making = nil
	w.machine.lock.Unlock()
	compute(t, u, p, 1)
}

// TestHeavyProcesses: processes whose entries take long leave a place for those whose do not.
func TestHeavyProcesses(t *testing.T) {
	w := newWorld(t)
	const heavies = 4
	ids := w.crowd(t, heavies+1, 4)
	light := ids[heavies]
	gate := make(chan struct{})
	clock := time.Unix(1_000_000, 0)
	var lock sync.Mutex
	now := func() time.Time { lock.Lock(); defer lock.Unlock(); return clock }
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Process() == light {
			return nil
		}
		if e.Assignment.Nonce() == 3 {
			<-gate
			return nil
		}
		lock.Lock()
		defer lock.Unlock()
		clock = clock.Add(time.Second)
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) { c.Workers, c.Now = 3, now })
	compute(t, u, light, 1) // it is known to be quick
	for _, id := range ids[:heavies] {
		compute(t, u, id, 2)
	}
	var all sync.WaitGroup
	for _, id := range ids[:heavies] {
		all.Go(func() { compute(t, u, id, 3) })
	}
	await(t, "all work", func() bool { return u.Status().Working == heavies })
	compute(t, u, light, 3)
	close(gate)
	all.Wait()
}
