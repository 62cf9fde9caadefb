package unitstest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// MessengerFixture is a messenger and a live process that it can reach.
type MessengerFixture struct {
	Messenger units.Messenger
	Log       units.Log // of the process
	Process   ao.ID
	// Message makes a signed message to Process whose push ends; different names make different messages.
	Message func(t *testing.T, name string) ao.Message
	// Elsewhere makes a message that another log holds, where the messenger finds it.
	Elsewhere func(t *testing.T, name string) ao.Message
	// Stall makes the process's scheduler unreachable for the messenger until resume is called. Nil if the fixture cannot.
	Stall func(t *testing.T) (resume func())
	// Ticking is a process with the tags of TickingTags.
	Ticking ao.ID
}

// TestMessenger holds a messenger to its contract.
func TestMessenger(t *testing.T, newFixture func(t *testing.T) MessengerFixture) {
	for _, c := range []struct {
		name   string
		stalls bool
		test   func(*testing.T, MessengerFixture)
	}{
		{"a push is answered with its slot", false, testPush},
		{"pushing again is harmless", false, testPushAgain},
		{"pushing at once is harmless", false, testPushTogether},
		{"an existing message is assigned", false, testAssigned},
		{"what cannot be assigned is refused", false, testNotAssigned},
		{"the hops are told and end", false, testHops},
		{"the hops end with their visitor", false, testHopsFail},
		{"the hops end with their context", false, testHopsEnded},
		{"past the deadline a push is queued", true, testQueued},
		{"monitoring begins and ends, for whom it may", false, testMonitor},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if c.stalls && f.Stall == nil {
				t.Skip("this fixture cannot stall")
			}
			c.test(t, f)
		})
	}
}

func (f MessengerFixture) push(t *testing.T, m ao.Message) ao.Assignment {
	t.Helper()
	a, err := f.Messenger.Push(Context(t), m)
	if err != nil {
		t.Fatalf("push: %v", err)
	}
	if a.Message() != m.ID() || a.Process() != f.Process {
		t.Fatalf("the assignment is of %s in the log of %s, want %s in %s", a.Message(), a.Process(), m.ID(), f.Process)
	}
	return a
}

// inOneSlot fails the test unless the process's log holds the message in that slot and nowhere else.
func (f MessengerFixture) inOneSlot(t *testing.T, m ao.Message, want ao.Slot) {
	t.Helper()
	var slots []ao.Slot
	for _, e := range readAll(t, f.Log, f.Process) {
		if e.Message.ID() == m.ID() {
			slots = append(slots, e.Assignment.Nonce())
		}
	}
	if len(slots) != 1 || slots[0] != want {
		t.Errorf("the message holds the slots %v, want [%d]", slots, want)
	}
}

func testPush(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "pushed")
	f.inOneSlot(t, m, f.push(t, m).Nonce())
}

func testPushAgain(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "pushed twice")
	a := f.push(t, m)
	if b := f.push(t, m); b.ID() != a.ID() {
		t.Errorf("pushed again it got slot %d, first %d", b.Nonce(), a.Nonce())
	}
	f.inOneSlot(t, m, a.Nonce())
}

func testPushTogether(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "pushed at once")
	got := make([]ao.Assignment, 6)
	together(t, len(got), func(ctx context.Context, i int) (err error) {
		got[i], err = f.Messenger.Push(ctx, m)
		return err
	})
	for _, a := range got {
		if a.ID() != got[0].ID() {
			t.Errorf("callers got the slots %d and %d", a.Nonce(), got[0].Nonce())
		}
	}
	f.inOneSlot(t, m, got[0].Nonce())
}

func testAssigned(t *testing.T, f MessengerFixture) {
	m := f.Elsewhere(t, "at home elsewhere")
	how := ao.AssignOptions{Exclude: []string{"Data"}}
	a, err := f.Messenger.Assign(Context(t), f.Process, m.ID(), how)
	if err != nil {
		t.Fatalf("assign: %v", err)
	}
	if got := a.Fields(); got.Process != f.Process || got.Message != m.ID() || !slices.Equal(got.Exclude, how.Exclude) {
		t.Errorf("the assignment says %+v", got)
	}
	if b, err := f.Messenger.Assign(Context(t), f.Process, m.ID(), how); err != nil || b.ID() != a.ID() {
		t.Errorf("assigned again: %v", err)
	}
	f.inOneSlot(t, m, a.Nonce())
	scheduled, computed := false, false
	for _, h := range f.hops(t, m.ID()) {
		mine := h.Message == m.ID() && h.Process == f.Process && h.Slot == a.Nonce()
		scheduled, computed = scheduled || mine && h.Word == "schedule", computed || mine && h.Word == "compute"
	}
	if !scheduled || !computed {
		t.Errorf("scheduled %t, computed %t", scheduled, computed)
	}
}

func testNotAssigned(t *testing.T, f MessengerFixture) {
	m := f.Elsewhere(t, "not to be assigned")
	_, err := f.Messenger.Assign(Context(t), f.Process, m.ID(), ao.AssignOptions{Exclude: []string{"two words"}})
	WantRefusal(t, err, ao.BadTags)
	_, err = f.Messenger.Assign(Context(t), f.Process, ID("nothing"), ao.AssignOptions{})
	WantRefusal(t, err, ao.UnknownMessage)
}

// hops is all hops of a push that ends.
func (f MessengerFixture) hops(t *testing.T, message ao.ID) []units.Hop {
	t.Helper()
	var all []units.Hop
	err := f.Messenger.Hops(Context(t), message, func(h units.Hop) error {
		all = append(all, h)
		return nil
	})
	if err != nil {
		t.Fatalf("hops: %v", err)
	}
	return all
}

func testHops(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "followed")
	a := f.push(t, m)
	hops := f.hops(t, m.ID())
	scheduled, computed, over := false, false, false
	for _, h := range hops {
		mine := h.Message == m.ID() && h.Process == f.Process
		switch h.Word {
		case "push":
		case "schedule":
			scheduled = scheduled || mine && h.Slot == a.Nonce()
		case "compute":
			computed = computed || mine && h.Digest != ""
		case "done", "drop":
			over = true
		default:
			t.Errorf("a hop with the word %q", h.Word)
		}
	}
	if !scheduled || !computed || !over {
		t.Errorf("scheduled %t, computed %t, over %t: the hops are %+v", scheduled, computed, over, hops)
	}
	if again := f.hops(t, m.ID()); fmt.Sprint(again) != fmt.Sprint(hops) {
		t.Errorf("told again the hops are %+v, first %+v", again, hops)
	}
}

func testHopsFail(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "followed until enough")
	f.push(t, m)
	enough := errors.New("enough")
	visits := 0
	err := f.Messenger.Hops(Context(t), m.ID(), func(units.Hop) error {
		visits++
		return enough
	})
	if !errors.Is(err, enough) || visits != 1 {
		t.Errorf("hops ended with %v after %d visits, want the visitor's error after 1", err, visits)
	}
}

func testHopsEnded(t *testing.T, f MessengerFixture) {
	m := f.Message(t, "followed without time")
	f.push(t, m)
	f.hops(t, m.ID()) // the push is over
	ctx, cancel := context.WithCancel(Context(t))
	err := f.Messenger.Hops(ctx, m.ID(), func(units.Hop) error {
		cancel()
		return nil
	})
	if err != nil { // the end of the push and of the context are both an end
		ended(t, err)
	}
}

func testQueued(t *testing.T, f MessengerFixture) {
	resume := f.Stall(t)
	m := f.Message(t, "queued")
	ctx, cancel := context.WithTimeout(Context(t), 2*time.Second) // before it is over the message must have been handed over
	defer cancel()
	_, err := f.Messenger.Push(ctx, m)
	WantRefusal(t, err, ao.Queued)
	resume()
	f.hops(t, m.ID()) // it goes on by itself
	a := f.push(t, m)
	f.inOneSlot(t, m, a.Nonce())
}

func testMonitor(t *testing.T, f MessengerFixture) {
	if f.Ticking.IsZero() {
		t.Skip("this fixture does not tick")
	}
	mine, stranger := requestOf(t, "asks", f.Ticking), requestOf(t, "did not ask", f.Ticking)
	for _, step := range []struct {
		what string
		do   func(context.Context, ao.Request) error
		r    ao.Request
		code ao.Code // "" for none
	}{
		{"the end of nothing", f.Messenger.Unmonitor, stranger, ""},
		{"the beginning", f.Messenger.Monitor, mine, ""},
		{"the beginning again", f.Messenger.Monitor, mine, ""},
		{"the end by somebody else", f.Messenger.Unmonitor, stranger, ao.Untrusted},
		{"the end", f.Messenger.Unmonitor, mine, ""},
		{"the end again", f.Messenger.Unmonitor, mine, ""},
		{"the end of nothing again", f.Messenger.Unmonitor, stranger, ""},
		{"an unknown process", f.Messenger.Monitor, requestOf(t, "asks", ID("no such process")), ao.UnknownProcess},
	} {
		err := step.do(Context(t), step.r)
		if step.code != "" {
			WantRefusal(t, err, step.code)
		} else if err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
	}
}

// requestOf is somebody's request about a process.
func requestOf(t *testing.T, signer string, process ao.ID) ao.Request {
	t.Helper()
	r, err := ao.SignRequest(Signer(signer), process)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
