package mu

import (
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// slowStore holds commits back until they are let through.
type slowStore struct {
	store.Store
	turns chan struct{}
}

func (s slowStore) Commit(b *store.Batch) error {
	if b.Len() > 0 {
		<-s.turns
	}
	return s.Store.Commit(b)
}

// TestResultIsAskedForAhead: while the slot is being written down, its result is asked for, once, with the entry in hand;
// nothing is made of it before.
func TestResultIsAskedForAhead(t *testing.T) {
	w := newTown(t)
	target := w.spawn("p")
	slow := slowStore{memory(t), make(chan struct{}, 8)}
	u := w.unit(slow)
	run(t, u)
	m := w.message(target, send())
	slow.turns <- struct{}{} // the message is queued
	assigned := make(chan error, 1)
	go func() {
		_, err := u.Push(t.Context(), m)
		assigned <- err
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.count("compute") == 0 {
		<-tick.C
	}
	select {
	case err := <-assigned:
		t.Fatalf("the push was answered before its slot was written: %v", err)
	default:
	}
	w.set(func() {
		if e, ok := w.given[m.ID()]; !ok || e.Message.ID() != m.ID() {
			t.Error("the entry was not handed over")
		}
	})
	slow.turns <- struct{}{}
	if err := <-assigned; err != nil {
		t.Fatal(err)
	}
	slow.turns <- struct{}{}
	if hops := words(hopsOf(t, u, m.ID())); len(hops) < 3 || hops[len(hops)-1] != "done" {
		t.Errorf("hops %v", hops)
	}
	if n := w.count("compute"); n != 1 {
		t.Errorf("the result was asked for %d times", n)
	}
}

// TestSlotIsAskedForAhead: while a result is being written down, the messages in its outbox are on their way to their
// schedulers, once each; the next step waits for the disk.
func TestSlotIsAskedForAhead(t *testing.T) {
	w := newTown(t)
	target, other := w.spawn("p"), w.spawn("q")
	slow := slowStore{memory(t), make(chan struct{}, 8)}
	u := w.unit(slow)
	run(t, u)
	for range 2 { // the message is queued, and its slot written down
		slow.turns <- struct{}{}
	}
	m := w.message(target, send(draft(other, send())))
	if _, err := u.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(w.log(w.su, other)) == 0 {
		<-tick.C
	}
	if n := w.count("compute"); n != 1 {
		t.Errorf("%d results were asked for before the first was written down", n)
	}
	for range 3 { // the result, the slot of what it sent, and that one's result
		slow.turns <- struct{}{}
	}
	if hops := words(hopsOf(t, u, m.ID())); len(hops) < 5 || hops[len(hops)-1] != "done" {
		t.Errorf("hops %v", hops)
	}
	if n := w.count("schedule"); n != 2 {
		t.Errorf("slots were asked for %d times", n)
	}
}

// TestSlotAskedForAheadInVain: a question ahead that fails is a failed step, tried again like any other.
func TestSlotAskedForAheadInVain(t *testing.T) {
	w := newTown(t)
	target, other := w.spawn("p"), w.spawn("q")
	u := w.unit(memory(t))
	w.set(func() {
		w.fail = func(call string, n int) error {
			if call == "schedule" && n == 2 {
				return ao.Refuse("schedule", ao.Unreachable, "not now")
			}
			return nil
		}
	})
	run(t, u)
	m := w.message(target, send(draft(other, send())))
	if _, err := u.Push(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if hops := words(hopsOf(t, u, m.ID())); hops[len(hops)-1] != "done" {
		t.Errorf("hops %v", hops)
	}
	if got := w.log(w.su, other); len(got) != 1 || w.count("schedule") != 3 {
		t.Errorf("%d messages in the log after %d questions", len(got), w.count("schedule"))
	}
}

// TestQuestionsAheadAreBounded: they are no more than the workers, and the rest is asked for in turn.
func TestQuestionsAheadAreBounded(t *testing.T) {
	w := newTown(t)
	u := w.unit(memory(t), func(c *Config) { c.Workers = 3 })
	for range 3 {
		if !u.mayAsk() {
			t.Fatal("not even so many may be asked")
		}
	}
	if u.mayAsk() {
		t.Error("more are asked ahead than there are workers")
	}
	u.hasAsked()
	if !u.mayAsk() {
		t.Error("a place that is free again is not used")
	}
}
