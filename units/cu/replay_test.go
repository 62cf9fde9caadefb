package cu_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// badSlot is where every log of badLogs breaks.
const badSlot = 6

// badLogs are logs of nine slots that are sound up to slot 5, and what is wrong with slot 6.
func badLogs(t testing.TB, w *world) map[string][]ao.Entry {
	c := w.chain(t, "bad", 9)
	process := c.Process()
	other := w.chain(t, "other", 9).Entries()
	with := func(change func(f *ao.AssignmentFields) ans104.Signer) []ao.Entry {
		log := c.Entries()
		f := log[badSlot].Assignment.Fields()
		signer := change(&f)
		a, err := ao.SignAssignment(signer, f)
		if err != nil {
			t.Fatal(err)
		}
		log[badSlot].Assignment = a
		return log
	}
	replaced := func(e ao.Entry) []ao.Entry {
		log := c.Entries()
		log[badSlot] = e
		return log
	}
	log := c.Entries()
	tagged := func(name, value string) []ao.Entry {
		it, err := ans104.Sign(w.scheduler, ans104.Fields{
			Tags: append(ao.Tags(log[badSlot].Assignment.Item().Tags()).Without(name), ans104.Tag{Name: name, Value: value}),
		})
		if err != nil {
			t.Fatal(err)
		}
		a, err := ao.NewAssignment(it)
		if err != nil {
			t.Fatal(err)
		}
		return replaced(ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: log[badSlot].Message})
	}
	return map[string][]ao.Entry{
		"other epoch":  tagged("Epoch", "1"),
		"wrong signer": with(func(*ao.AssignmentFields) ans104.Signer { return w.owner }),
		"gap":          append(log[:badSlot:badSlot], log[badSlot+1:]...),
		"repeated":     replaced(log[badSlot-1]),
		"broken link":  with(func(f *ao.AssignmentFields) ans104.Signer { f.HashChain[0]++; return w.scheduler }),
		"time backwards": with(func(f *ao.AssignmentFields) ans104.Signer {
			f.Timestamp = unitstest.ChainStart
			return w.scheduler
		}),
		"height backwards": with(func(f *ao.AssignmentFields) ans104.Signer { f.BlockHeight = 1; return w.scheduler }),
		"other log":        replaced(other[badSlot]),
		"other message": replaced(ao.Entry{
			Proof: ao.ProofAssignment, Assignment: log[badSlot].Assignment,
			Message: unitstest.Message(t, w.owner, process, "not that one"),
		}),
		"no message":    replaced(ao.Entry{Proof: ao.ProofAssignment, Assignment: log[badSlot].Assignment}),
		"no assignment": replaced(ao.Entry{Proof: ao.ProofAssignment, Message: log[badSlot].Message}),
		"unknown proof": replaced(ao.Entry{Proof: "vow", Assignment: log[badSlot].Assignment, Message: log[badSlot].Message}),
	}
}

func TestBadLogNamesItsSlot(t *testing.T) {
	w := newWorld(t)
	for name, log := range badLogs(t, w) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.directory.put(log)
			process := log[0].Message.ID()
			clock := time.Unix(0, 0)
			tick := make(chan time.Time, 1)
			tick <- clock
			now := func() time.Time { n := <-tick; tick <- n; return n }
			u := w.run(t, func(c *cu.Config) { c.Now = now })
			check := func() {
				_, err := u.Compute(unitstest.Context(t), process, 7)
				unitstest.WantRefusal(t, err, ao.BadLog)
				if !strings.Contains(fmt.Sprint(err), "slot 6") {
					t.Errorf("%v does not name slot 6", err)
				}
				compute(t, u, process, badSlot-1) // what is sound is evaluated
			}
			check()
			reads := func() int { w.directory.lock.Lock(); defer w.directory.lock.Unlock(); return w.directory.reads }
			before := reads()
			check()
			if reads() != before {
				t.Error("the bad log is read again at once")
			}
			// Later, and mended, it is.
			w.directory.put(w.chain(t, "bad", 9).Entries())
			tick <- (<-tick).Add(time.Minute)
			compute(t, u, process, 8)
		})
	}
}

// TestForkedLog: another history of slots that were answered is the scheduler's fault, also after the state is gone.
func TestForkedLog(t *testing.T) {
	w := newWorld(t)
	a, b := w.chain(t, "p", 4), w.chain(t, "p", 4)
	w.add(t, a, "left")
	w.add(t, b, "right")
	w.directory.put(a.Entries())
	u := w.run(t)
	compute(t, u, a.Process(), 4)
	if err := u.Rewind(unitstest.Context(t), a.Process(), 2); err != nil {
		t.Fatal(err)
	}
	w.add(t, b, "more")
	w.directory.put(b.Entries())
	_, err := u.Compute(unitstest.Context(t), a.Process(), 5)
	unitstest.WantRefusal(t, err, ao.BadLog)
	if !strings.Contains(fmt.Sprint(err), "slot 4") {
		t.Errorf("%v does not name slot 4", err)
	}
}

// TestForgottenFork: what a refused entry would have done is no effect.
func TestForgottenFork(t *testing.T) {
	w := newWorld(t)
	a, b := w.chain(t, "p", 3), w.chain(t, "p", 3)
	late := unitstest.Message(t, w.owner, a.Process(), "late")
	w.add(t, a, "left")
	b.Add(t, late)
	w.directory.put(a.Entries())
	u := w.run(t, func(c *cu.Config) { c.RetryBad = time.Nanosecond })
	compute(t, u, a.Process(), 3)
	if err := u.Rewind(unitstest.Context(t), a.Process(), 0); err != nil {
		t.Fatal(err)
	}
	w.directory.put(b.Entries())
	_, err := u.State(unitstest.Context(t), a.Process())
	unitstest.WantRefusal(t, err, ao.BadLog)
	a.Add(t, late)
	w.directory.put(a.Entries())
	if r := compute(t, u, a.Process(), 4).Result; r.Decision != ao.Accepted {
		t.Error("a message that took no effect counts as a duplicate")
	}
}

func TestRefusalsOfTheModule(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		format string
		code   string
		want   ao.Code
	}{
		"format": {"wasm9-unheard-of", "x", ao.BadFormat},
		"native": {"native", "nobody@1", ao.BadFormat},
		"wasm":   {"wasm64-unknown-emscripten-draft_2024_02_15", "not wasm", ao.BadModule},
	} {
		t.Run(name, func(t *testing.T) {
			bad := newWorld(t)
			m, err := ao.SignModule(w.owner, c.format, "1-mb", "1000", []byte(c.code))
			if err != nil {
				t.Fatal(err)
			}
			bad.module, bad.directory.module = m, m
			p := bad.serve(t, "p", 3)
			_, err = bad.run(t).Compute(unitstest.Context(t), p, 1)
			unitstest.WantRefusal(t, err, c.want)
		})
	}
}

func TestDirectoryThatLies(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 3)
	other, err := ao.SignModule(w.owner, "native", "1-mb", "1000", []byte("tally@1"))
	if err != nil {
		t.Fatal(err)
	}
	w.directory.module = other
	if _, err := w.run(t).Compute(context.Background(), p, 0); err == nil {
		t.Error("a process is computed by a module that it does not name")
	}
}
