package cu_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// claims are the canonical bytes of all claims of a log, and the root after it.
func claims(t testing.TB, u units.Computer, process ao.ID, n ao.Slot) (out []string, root attest.Hash) {
	t.Helper()
	for slot := range n {
		out = append(out, string(compute(t, u, process, slot).Claim.Raw()))
	}
	return out, stateOf(t, u, process).Root
}

func equal(t testing.TB, got, want []string) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("the claim for slot %d differs", i)
		}
	}
}

func TestHotAndColdAgree(t *testing.T) {
	hot := newWorld(t)
	p := hot.serve(t, "p", 23)
	want, root := claims(t, hot.run(t), p, 23)

	cold := newWorld(t)
	cold.serve(t, "p", 23)
	other := cold.serve(t, "q", 23)
	u := cold.run(t, func(c *cu.Config) { c.MaxHot, c.CheckpointEvery = 1, 3 })
	var got []string
	for slot := range ao.Slot(23) {
		got = append(got, string(compute(t, u, p, slot).Claim.Raw()))
		compute(t, u, other, slot) // takes the only place in memory
	}
	equal(t, got, want)
	if s := stateOf(t, u, p); s.Root != root || s.Slot != 22 {
		t.Errorf("the state at slot %d is %x, hot it was %x", s.Slot, s.Root, root)
	}
	if s := u.Status(); s.Evictions < 40 || s.Hot != 1 {
		t.Errorf("status %+v, want an eviction at every turn and one state in memory", s)
	}
	if n := cold.machine.applied.Load(); n != 46 {
		t.Errorf("%d entries were applied, want each of 46 once", n)
	}
}

func TestManyWaitersOneEvaluation(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 9)
	gate := make(chan struct{})
	w.machine.hook(func(ao.Entry) error { <-gate; return nil }, nil)
	u := w.run(t)
	var all sync.WaitGroup
	answers := make([]units.Answer, 50)
	for i := range answers {
		all.Go(func() { answers[i] = compute(t, u, p, 8-ao.Slot(i%3)) })
	}
	await(t, "all wait", func() bool { return u.Status().Waiting == len(answers) })
	close(gate)
	all.Wait()
	if n := w.machine.applied.Load(); n != 9 {
		t.Errorf("%d entries were applied, want 9", n)
	}
	for i, a := range answers {
		if string(a.Claim.Raw()) != string(answers[i%3].Claim.Raw()) {
			t.Errorf("waiter %d got another claim", i)
		}
	}
}

func TestProcessesInParallel(t *testing.T) {
	w := newWorld(t)
	a, b := w.serve(t, "a", 2), w.serve(t, "b", 2)
	both := make(chan ao.ID)
	release := make(chan struct{})
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 1 {
			both <- e.Assignment.Process()
			<-release
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) { c.Workers, c.Now = 2, standing })
	var all sync.WaitGroup
	for _, p := range []ao.ID{a, b} {
		all.Go(func() { compute(t, u, p, 1) })
	}
	if x, y := <-both, <-both; x == y {
		t.Error("one process is evaluated twice at a time")
	}
	close(release)
	all.Wait()
}

func TestRestartFromCheckpoint(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 12)
	w.directory.put(c.Entries())
	first := w.run(t)
	want, root := claims(t, first, c.Process(), 12)
	first.stop()
	if n := first.Status().Checkpoints; n < 3 {
		t.Errorf("%d checkpoints, want one every 5 slots and one at the end", n)
	}
	w.add(t, c, "one more")
	w.directory.put(c.Entries())
	w.machine.applied.Store(0)
	second := w.run(t)
	if s := stateOf(t, second, c.Process()); s.Slot != 12 || s.Root == root {
		t.Errorf("state %+v, want that of slot 12", s)
	}
	if n := w.machine.applied.Load(); n != 1 {
		t.Errorf("%d entries were applied after the restart, want 1", n)
	}
	got, _ := claims(t, second, c.Process(), 12)
	equal(t, got, want)
}

// damage flips one byte in the middle of a file.
func damage(t *testing.T, s store.Store, name string) {
	t.Helper()
	f, err := s.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := s.PutFile(name, bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedCheckpointFallsBack(t *testing.T) {
	for _, broken := range []int{1, 3} { // the newest; all
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			w := newWorld(t)
			p := w.serve(t, "p", 12)
			u := w.run(t, func(c *cu.Config) { c.PageSize = 1 })
			want, root := claims(t, u, p, 12)
			u.stop()
			nexts := []ao.Slot{12, 10, 5}
			for _, next := range nexts[:broken] {
				damage(t, w.store, cu.CheckpointName(p, next))
			}
			w.machine.applied.Store(0)
			u = w.run(t)
			if s := stateOf(t, u, p); s.Root != root {
				t.Errorf("root %x, want %x", s.Root, root)
			}
			wantApplied := int64(2) // slots 10 and 11
			if broken == 3 {
				wantApplied = 12
			}
			if n := w.machine.applied.Load(); n != wantApplied {
				t.Errorf("%d entries were applied, want %d", n, wantApplied)
			}
			got, _ := claims(t, u, p, 12)
			equal(t, got, want)
		})
	}
}

func TestCheckpointOfAnotherProcess(t *testing.T) {
	w := newWorld(t)
	p, q := w.serve(t, "p", 7), w.serve(t, "q", 7)
	u := w.run(t)
	_, root := claims(t, u, p, 7)
	claims(t, u, q, 7)
	u.stop()
	f, err := w.store.OpenFile(cu.CheckpointName(q, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := w.store.PutFile(cu.CheckpointName(p, 7), f); err != nil {
		t.Fatal(err)
	}
	if s := stateOf(t, w.run(t), p); s.Root != root {
		t.Errorf("root %x, want %x", s.Root, root)
	}
}

func TestKeepCheckpoints(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 40)
	u := w.run(t, func(c *cu.Config) { c.CheckpointEvery, c.KeepCheckpoints, c.PageSize = 4, 2, 1 })
	claims(t, u, p, 40)
	u.stop()
	files, err := w.store.ListFiles("cu/")
	if err != nil || len(files) != 2 {
		t.Errorf("%d checkpoints are kept, %v; want 2", len(files), err)
	}
}

func TestRewind(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 12)
	u := w.run(t, func(c *cu.Config) { c.PageSize = 1 })
	want, root := claims(t, u, p, 12)
	w.machine.applied.Store(0)
	if err := u.Rewind(unitstest.Context(t), p, 7); err != nil {
		t.Fatal(err)
	}
	if s := stateOf(t, u, p); s.Root != root {
		t.Errorf("root %x after a rewind, want %x", s.Root, root)
	}
	if n := w.machine.applied.Load(); n != 7 { // from the checkpoint before slot 5
		t.Errorf("%d entries were applied, want 7", n)
	}
	got, _ := claims(t, u, p, 12)
	equal(t, got, want)
}

// TestLostAnswer: an answer that is gone or damaged is made again, and its claim is the same.
func TestLostAnswer(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 12)
	u := w.run(t)
	want, _ := claims(t, u, p, 12)
	var b store.Batch
	b.Delete(cu.AnswerKey(p, 3))
	b.Put(cu.AnswerKey(p, 4), []byte("nonsense"))
	if err := w.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	got, _ := claims(t, u, p, 12)
	equal(t, got, want)
}

func TestContradiction(t *testing.T) {
	lie := func(e ao.Entry, r ao.Result) ao.Result {
		if e.Assignment.Nonce() == 3 {
			r.Output = []byte(`"another"`)
		}
		return r
	}
	for _, keep := range []bool{true, false} { // found in the answers, in the journal
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			w := newWorld(t)
			p := w.serve(t, "p", 6)
			u := w.run(t, func(c *cu.Config) { c.RetryBad = time.Nanosecond })
			honest := compute(t, u, p, 3).Claim.Raw()
			if !keep {
				var b store.Batch
				b.Delete(cu.AnswerKey(p, 3))
				if err := w.store.Commit(&b); err != nil {
					t.Fatal(err)
				}
			}
			w.machine.hook(nil, lie)
			if err := u.Rewind(unitstest.Context(t), p, 0); err != nil {
				t.Fatal(err)
			}
			_, err := u.Compute(unitstest.Context(t), p, 5)
			unitstest.WantRefusal(t, err, ao.Contradiction)
			if u.Status().Contradictions == 0 {
				t.Error("the contradiction is not counted")
			}
			compute(t, u, p, 2) // stands as it did
			w.machine.hook(nil, nil)
			compute(t, u, p, 5)
			if got := compute(t, u, p, 3).Claim.Raw(); string(got) != string(honest) {
				t.Error("slot 3 has another claim than before")
			}
		})
	}
}

func TestDuplicates(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 2)
	from := unitstest.ID("another process")
	stranger := unitstest.Signer("stranger")
	push := func(s string) ao.Message {
		switch s {
		case "stranger":
			return unitstest.Pushed(t, stranger, from, c.Process(), "hi")
		case "again": // another item, the same push
			d := ao.Draft{Target: c.Process().String(), Data: []byte("hi"), Tags: ao.Tags{{Name: "Action", Value: "Test"}}}
			m, err := d.Sign(w.messenger, ao.Origin{Process: from, Module: unitstest.ID("module").String(), PushedFor: unitstest.ID("second").String(), Slot: 7}, ao.ID{})
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		return unitstest.Pushed(t, w.messenger, from, c.Process(), "hi")
	}
	same := unitstest.Message(t, w.owner, c.Process(), "same")
	onArweave, err := ao.NewTransaction(unitstest.Transaction(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []ao.Decision{ao.Accepted, ao.Accepted}
	for _, step := range []struct {
		m ao.Message
		d ao.Decision
	}{
		{same, ao.Accepted},
		{same, ao.Duplicate},
		{push("stranger"), ao.Accepted},
		{push("trusted"), ao.Accepted},
		{push("again"), ao.Duplicate},
		{push("stranger"), ao.Duplicate},
		{push("trusted"), ao.Duplicate},
		{onArweave, ao.Accepted},
		{onArweave, ao.Duplicate},
		{unitstest.Message(t, w.owner, c.Process(), "other"), ao.Accepted},
	} {
		c.Add(t, step.m)
		want = append(want, step.d)
	}
	w.directory.put(c.Entries())
	check := func(u units.Computer) {
		for slot, d := range want {
			a := compute(t, u, c.Process(), ao.Slot(slot))
			if a.Result.Decision != d {
				t.Errorf("slot %d is decided %d, want %d", slot, a.Result.Decision, d)
			}
			if d == ao.Duplicate && (a.Result.Output != nil || a.Result.Outbox() != 0) {
				t.Errorf("duplicate in slot %d has a result", slot)
			}
		}
	}
	u := w.run(t)
	check(u)
	if n := w.machine.applied.Load(); n != 7 {
		t.Errorf("%d entries were applied, want 7", n)
	}
	root := stateOf(t, u, c.Process()).Root
	if err := u.Rewind(unitstest.Context(t), c.Process(), 3); err != nil {
		t.Fatal(err)
	}
	if got := stateOf(t, u, c.Process()).Root; got != root {
		t.Errorf("root %x after a rewind, want %x", got, root)
	}
	u.stop()
	check(w.run(t))
}

func TestDryRunOnAnError(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 7)
	u := w.run(t)
	root := stateOf(t, u, p).Root
	w.machine.lock.Lock()
	w.machine.dryErr = errors.New("broken")
	w.machine.lock.Unlock()
	_, err := u.DryRun(unitstest.Context(t), p, ao.Query{})
	unitstest.WantRefusal(t, err, ao.Internal)
	w.machine.lock.Lock()
	w.machine.dryErr = nil
	w.machine.lock.Unlock()
	r, err := u.DryRun(unitstest.Context(t), p, ao.Query{Data: []byte("x")})
	if err != nil || string(r.Output) != `"7 x at 6"` {
		t.Errorf("dry-run gave %s, %v", r.Output, err)
	}
	if got := stateOf(t, u, p).Root; got != root {
		t.Errorf("root %x, want %x", got, root)
	}
}

func TestResults(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 1)
	for _, data := range []string{"fail", "reply", "big", "last"} {
		w.add(t, c, data)
	}
	w.directory.put(c.Entries())
	u := w.run(t)
	hot := make([]units.Answer, 5)
	for i := range hot {
		hot[i] = compute(t, u, c.Process(), ao.Slot(i))
	}
	u.stop()
	u = w.run(t)
	for i := range hot {
		cold := compute(t, u, c.Process(), ao.Slot(i))
		if string(cold.Claim.Raw()) != string(hot[i].Claim.Raw()) || string(cold.Result.Encode()) != string(hot[i].Result.Encode()) {
			t.Errorf("slot %d differs when it is read back", i)
		}
	}
	if r := hot[1].Result; string(r.Error) != `"asked to fail"` {
		t.Errorf("error %s", r.Error)
	}
	if r := hot[2].Result; len(r.Messages) != 1 || len(r.Spawns) != 1 || len(r.Assignments) != 1 || r.Messages[0].Tags.Get("N") != "1" {
		t.Errorf("outbox %+v", r)
	}
	if len(hot[3].Result.Output) < 6<<20 {
		t.Error("the large result is cut")
	}
	if string(hot[4].Result.Output) != `"4 after last"` {
		t.Errorf("output %s, want that of the fourth message that did not fail", hot[4].Result.Output)
	}
	damage(t, w.store, cu.ResultName(c.Process(), 3)) // and a damaged one is made again
	if a := compute(t, u, c.Process(), 3); string(a.Claim.Raw()) != string(hot[3].Claim.Raw()) {
		t.Error("slot 3 differs")
	}
}

func TestMachineFault(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 9)
	broken := errors.New("broken")
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 6 {
			return broken
		}
		return nil
	}, nil)
	u := w.run(t)
	_, err := u.Compute(unitstest.Context(t), p, 8)
	unitstest.WantRefusal(t, err, ao.Internal)
	compute(t, u, p, 5) // what came before it stands
	w.machine.hook(nil, nil)
	if a := compute(t, u, p, 8); string(a.Result.Output) != `"9 after message 8"` {
		t.Errorf("output %s", a.Result.Output)
	}
}

func TestLeavingWaiter(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 4)
	gate := make(chan struct{})
	w.machine.hook(func(ao.Entry) error { <-gate; return nil }, nil)
	u := w.run(t)
	ctx, leave := context.WithCancel(context.Background())
	left, stayed := make(chan error, 1), make(chan error, 1)
	go func() { _, err := u.Compute(ctx, p, 3); left <- err }()
	go func() { _, err := u.Compute(unitstest.Context(t), p, 3); stayed <- err }()
	await(t, "both wait", func() bool { return u.Status().Waiting == 2 })
	leave()
	err := <-left
	unitstest.WantRefusal(t, err, ao.Deadline)
	close(gate)
	if err := <-stayed; err != nil {
		t.Errorf("who stayed got %v", err)
	}
}

func TestStopWhileEvaluating(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 200)
	reached := make(chan struct{})
	gate := make(chan struct{})
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 100 {
			close(reached)
			<-gate
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) { c.PageSize = 64; c.CheckpointEvery = 1000 })
	got := make(chan error, 1)
	go func() { _, err := u.Compute(unitstest.Context(t), p, 199); got <- err }()
	<-reached
	go func() { close(gate) }()
	u.stop()
	if err := <-got; err != nil {
		unitstest.WantRefusal(t, err, ao.Busy)
	}
	w.machine.hook(nil, nil)
	n := w.machine.applied.Load()
	compute(t, w.run(t), p, 199)
	if again := w.machine.applied.Load(); again != 200 || n < 101 {
		t.Errorf("%d entries were applied before the stop and %d in all, want 200", n, again)
	}
	_, err := u.Compute(unitstest.Context(t), unitstest.ID("x"), 0)
	unitstest.WantRefusal(t, err, ao.Busy)
}

func TestBusy(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 4)
	gate := make(chan struct{})
	w.machine.hook(func(ao.Entry) error { <-gate; return nil }, nil)
	u := w.run(t, func(c *cu.Config) { c.MaxWaiting = 3 })
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { compute(t, u, p, 3) })
	}
	await(t, "three wait", func() bool { return u.Status().Waiting == 3 })
	_, err := u.Compute(unitstest.Context(t), p, 2)
	unitstest.WantRefusal(t, err, ao.Busy)
	close(gate)
	all.Wait()
}

func TestFarSlotCostsNothing(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 50)
	u := w.run(t)
	_, err := u.Compute(unitstest.Context(t), p, 50)
	unitstest.WantRefusal(t, err, ao.NotYet)
	if !strings.Contains(err.Error(), "slot 50") {
		t.Errorf("%v names no slot", err)
	}
	if n := w.machine.applied.Load(); n != 0 {
		t.Errorf("%d entries were applied for a slot that is not there", n)
	}
}

// TestPowerCut: what was answered is answered alike after the power was cut, whatever of the rest reached the disk.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(6) {
		w := newWorld(t)
		disk := store.NewCrashable()
		w.store = disk
		p := w.serve(t, "p", 30)
		u := w.run(t)
		want := map[ao.Slot]string{}
		for _, slot := range []ao.Slot{3, 4, 17, 20} {
			want[slot] = string(compute(t, u, p, slot).Claim.Raw())
		}
		after, err := disk.Crash(int(seed*20), seed)
		if err != nil {
			t.Fatal(err)
		}
		u.stop()
		w.store = after
		again := w.run(t)
		for slot, claim := range want {
			if string(compute(t, again, p, slot).Claim.Raw()) != claim {
				t.Errorf("seed %d: slot %d has another claim", seed, slot)
			}
		}
		n := w.machine.applied.Load()
		if compute(t, again, p, 29); w.machine.applied.Load()-n > 30 {
			t.Errorf("seed %d: slots were evaluated twice in one replay", seed)
		}
		again.stop()
		after.Close()
	}
}
