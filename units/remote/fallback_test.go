package remote

import (
	"errors"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestLogOfASchedulerThatIsAway: its announcement outlives it, and what is settled can be read all the same.
func TestLogOfASchedulerThatIsAway(t *testing.T) {
	d := newPlace(t)
	signer := ans104.NewEd25519Signer(keyOf("su"))
	c := unitstest.NewChain(t, signer, unitstest.Spawn(t, unitstest.Signer("owner"), unitstest.Address(signer), "p"))
	for i := range 4 {
		c.Add(t, unitstest.Message(t, unitstest.Signer("owner"), c.Process(), string(rune('a'+i))))
	}
	all := c.Entries()
	for _, e := range all[:3] {
		d.archive.settle(e, 1)
	}
	d.announce(t, "su", RoleScheduler)
	log, err := d.Log(t.Context(), c.Process())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := log.Next(t.Context(), c.Process()); err != nil || n != 3 {
		t.Errorf("next: %d, %v", n, err)
	}
	if es, err := log.Range(t.Context(), c.Process(), 1, 10); err != nil || len(es) != 2 || es[1].Message.ID() != all[2].Message.ID() {
		t.Errorf("range: %d entries, %v", len(es), err)
	}
	if n, err := log.Find(t.Context(), c.Process(), all[2].Message.ID()); err != nil || n != 2 {
		t.Errorf("find: %d, %v", n, err)
	}
	_, err = log.Find(t.Context(), c.Process(), all[4].Message.ID())
	unitstest.WantRefusal(t, err, ao.Unreachable)
	enough := errors.New("enough")
	var seen []ao.Slot
	follow := func(to int) {
		t.Helper()
		seen = nil
		if err := log.Follow(t.Context(), c.Process(), 0, func(e ao.Entry) error {
			if seen = append(seen, e.Assignment.Nonce()); len(seen) == to {
				return enough
			}
			return nil
		}); !errors.Is(err, enough) {
			t.Errorf("follow ended with %v after %v", err, seen)
		}
	}
	follow(3)
	d.archive.set(func() { d.archive.fail = arweave.ErrUnavailable })
	_, err = log.Next(t.Context(), c.Process())
	unitstest.WantRefusal(t, err, ao.Unreachable)

	// It comes back, with what is not settled.
	su, _ := node(t, "su")
	s := unitstest.NewMemory(signer)
	s.Load(c)
	ServeLog(su, s)
	connect(t, d.node, su)
	if n, err := log.Next(t.Context(), c.Process()); err != nil || n != 5 {
		t.Errorf("next of the scheduler: %d, %v", n, err)
	}
	follow(5)
}

// TestFollowerOfASchedulerThatComesBack: the settled log goes before and the scheduler's goes on from there.
func TestFollowerOfASchedulerThatComesBack(t *testing.T) {
	d := newPlace(t)
	signer := ans104.NewEd25519Signer(keyOf("su"))
	c := unitstest.NewChain(t, signer, unitstest.Spawn(t, unitstest.Signer("owner"), unitstest.Address(signer), "p"))
	for i := range 4 {
		c.Add(t, unitstest.Message(t, unitstest.Signer("owner"), c.Process(), string(rune('a'+i))))
	}
	for _, e := range c.Entries()[:3] {
		d.archive.settle(e, 1)
	}
	d.announce(t, "su", RoleScheduler)
	log, err := d.Log(t.Context(), c.Process())
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	visited := make(chan ao.Slot, 8)
	ended := make(chan error, 1)
	go func() {
		defer close(visited)
		ended <- log.Follow(t.Context(), c.Process(), 0, func(e ao.Entry) error {
			visited <- e.Assignment.Nonce()
			if e.Assignment.Nonce() == 4 {
				return enough
			}
			return nil
		})
	}()
	for want := range ao.Slot(5) {
		if want == 3 {
			su, _ := node(t, "su")
			s := unitstest.NewMemory(signer)
			s.Load(c)
			ServeLog(su, s)
			connect(t, d.node, su)
		}
		if got, ok := <-visited; !ok || got != want {
			t.Fatalf("visited %d, %t, want %d", got, ok, want)
		}
	}
	if err := <-ended; !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
}
