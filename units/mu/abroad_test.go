package mu

import (
	"errors"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// spawnAway starts a process at the scheduler that is none of the mesh.
func (w *town) spawnAway(name string) ao.ID {
	w.t.Helper()
	p := unitstest.Spawn(w.t, w.user, w.other.Address(), name)
	if _, err := w.other.Schedule(w.t.Context(), p.ID(), p); err != nil {
		w.t.Fatal(err)
	}
	return p.ID()
}

// TestAbroad: what the messenger makes for a scheduler elsewhere is signed by the other key, once; what a user signed, and
// what goes to schedulers of the mesh, is not.
func TestAbroad(t *testing.T) {
	w := newTown(t)
	by := unitstest.Wallet("messenger")
	here, there := w.spawn("p"), w.spawnAway("q")
	u := w.started(func(c *Config) { c.Abroad = by })
	first := w.message(here, send(draft(there, send(draft(here, "back")))))
	if _, hops := push(t, u, first); words(hops)[len(hops)-1] != "done" {
		t.Fatalf("hops %v", words(hops))
	}
	sent := w.log(w.other, there)
	if len(sent) != 1 || sent[0].Owner() != unitstest.Address(by) || sent[0].From() != here.String() || sent[0].Tags().Get("From-Slot") != "" {
		t.Fatalf("%d messages went there: %v", len(sent), sent[0].Tags())
	}
	back := w.log(w.su, here)
	if len(back) != 2 || back[1].Owner() != unitstest.Address(w.mu) || back[1].Tags().Get("From-Slot") == "" {
		t.Errorf("%d messages came back", len(back))
	}
	own := w.message(there, "a user's")
	if _, hops := push(t, u, own); words(hops)[len(hops)-1] != "done" {
		t.Fatalf("hops %v", words(hops))
	}
	if sent = w.log(w.other, there); len(sent) != 2 || sent[1].ID() != own.ID() {
		t.Errorf("%d messages went there", len(sent))
	}
}

// TestAbroadSurvivesRestart: whatever write fails on the way, the message arrives once.
func TestAbroadSurvivesRestart(t *testing.T) {
	for at := 1; at <= 5; at++ {
		w := newTown(t)
		by := unitstest.Wallet("messenger")
		here, there := w.spawn("p"), w.spawnAway("q")
		disk := store.NewCrashable()
		c := &count{at: at, err: store.ErrBroken}
		u := w.unit(&store.Faulty{Store: disk, After: c.next}, func(c *Config) { c.Abroad, c.Workers = by, 1 })
		ended := make(chan error, 1)
		go func() { ended <- u.Run(t.Context()) }()
		first := w.message(here, send(draft(there, "x")))
		_, _ = u.Push(unitstest.Context(t), first) // refused or not, it goes on
		if err := <-ended; !errors.Is(err, store.ErrBroken) {
			t.Fatalf("run ended with %v", err)
		}
		after, err := disk.Crash(0, uint64(at))
		if err != nil {
			t.Fatal(err)
		}
		u = w.unit(after, func(c *Config) { c.Abroad = by })
		stop := run(t, u)
		if _, err := u.Push(unitstest.Context(t), first); err != nil {
			t.Fatal(err)
		}
		var hops []units.Hop
		_ = u.Hops(t.Context(), first.ID(), func(h units.Hop) error { hops = append(hops, h); return nil })
		if got := w.log(w.other, there); len(got) != 1 || got[0].Owner() != unitstest.Address(by) {
			t.Errorf("commit %d: %d messages arrived, hops %v", at, len(got), words(hops))
		}
		_ = stop()
		_ = after.Close()
	}
}
