package mu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// thread is a push with everything in it: messages there and back, one of them into two logs, a spawn with its notice, an
// assignment without parts of the message, mail.
type thread struct {
	*town
	a, b   ao.ID
	wallet ao.ID
	first  ao.Message
	begin  func(context.Context, *Unit) (ao.Assignment, error)
}

// threads are the ways to begin one: with a new message, and with one that is at home in another log.
func threads() map[string]func(*testing.T) thread {
	return map[string]func(*testing.T) thread{"pushed": newThread, "assigned": newAssigned}
}

func newThread(t *testing.T) thread {
	x := startThread(t)
	x.first = x.message(x.a, x.outbox(t))
	x.begin = func(ctx context.Context, u *Unit) (ao.Assignment, error) { return u.Push(ctx, x.first) }
	return x
}

func newAssigned(t *testing.T) thread {
	x := startThread(t)
	home := x.spawn("home")
	x.first = x.message(home, x.outbox(t))
	if _, err := x.su.Schedule(t.Context(), home, x.first); err != nil {
		t.Fatal(err)
	}
	x.held[x.first.ID()] = x.first.Item()
	x.begin = func(ctx context.Context, u *Unit) (ao.Assignment, error) {
		return u.Assign(ctx, x.a, x.first.ID(), ao.AssignOptions{Exclude: []string{"Anchor"}})
	}
	return x
}

func startThread(t *testing.T) thread {
	w := newTown(t)
	return thread{town: w, a: w.spawn("a"), b: w.spawn("b"), wallet: unitstest.ID("wallet")}
}

// outbox is the data of the thread's first message.
func (x thread) outbox(t *testing.T) string {
	t.Helper()
	shared := x.message(x.a, "shared")
	if _, err := x.su.Schedule(t.Context(), x.a, shared); err != nil {
		t.Fatal(err)
	}
	twice := draft(x.b, send(draft(x.a, "back")))
	twice["Tags"] = []map[string]string{{"name": "Action", "value": "Twice"}, {"name": "Assignments", "value": `["` + x.a.String() + `"]`}}
	return outboxOf(map[string]any{
		"Messages": []any{twice, draft(x.wallet, "mail")},
		"Spawns":   []any{map[string]any{"Data": "code", "Tags": []map[string]string{{"name": "Module", "value": x.a.String()}}}},
		"Assignments": []any{
			map[string]any{"Message": shared.ID().String(), "Processes": []string{x.b.String()}, "Exclude": []string{"Data"}},
		},
	})
}

// effects is what the thread left in the world, in a fixed order.
func (x thread) effects(t *testing.T) []string {
	t.Helper()
	var out []string
	for name, p := range map[string]ao.ID{"a": x.a, "b": x.b} {
		es, err := x.su.Range(t.Context(), p, 1, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			m := e.Message
			// Not by its ID: a reply's origin names the slot that its cause happened to get.
			out = append(out, fmt.Sprintf("%s: %s %.40s from %.8s without %v", name, m.Tags().Get("Action"), m.Data(), m.From(), e.Assignment.Fields().Exclude))
			if id, err := ao.ParseID(m.Tags().Get("Process")); err == nil { // the notice of a spawn
				if _, err := x.su.Next(t.Context(), id); err != nil {
					t.Errorf("the spawned process is not there: %v", err)
				}
			}
		}
	}
	for id := range x.held {
		if id != x.first.ID() { // which was settled before
			out = append(out, "mail: "+id.String())
		}
	}
	slices.Sort(out)
	return out
}

// finish pushes the message until it is accepted, and waits for the end of the thread.
func (x thread) finish(t *testing.T, u *Unit) {
	t.Helper()
	for {
		if _, err := x.begin(unitstest.Context(t), u); err == nil {
			break
		} else if !errors.Is(err, &ao.Refusal{Code: ao.StoreTrouble}) {
			t.Fatalf("push: %v", err)
		}
	}
	for u.Status().Open > 0 {
		hopsOf(t, u, x.first.ID())
	}
}

// count is a fault at one commit.
type count struct {
	lock sync.Mutex
	n    int
	at   int // the commit to fail; 0 is none
	err  error
}

func (c *count) next(*store.Batch) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.n++; c.n == c.at {
		return c.err
	}
	return nil
}

// clean is how many commits a thread takes and what it leaves.
func clean(t *testing.T, start func(*testing.T) thread) (commits int, effects []string) {
	t.Helper()
	x, c := start(t), &count{}
	u := x.unit(&store.Faulty{Store: memory(t), Before: c.next}, func(c *Config) { c.Workers = 1 })
	stop := run(t, u)
	x.finish(t, u)
	_ = stop()
	idle(t, u)
	effects = x.effects(t)
	if c.n < 10 || len(effects) != 9 {
		t.Fatalf("the thread took %d commits and left %d effects: %v", c.n, len(effects), effects)
	}
	return c.n, effects
}

// eachWrite runs a test for every commit of every thread, written and not.
func eachWrite(t *testing.T, test func(t *testing.T, start func(*testing.T) thread, at int, written bool, want []string)) {
	for name, start := range threads() {
		commits, want := clean(t, start)
		for at := 1; at <= commits; at++ {
			for _, written := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s: commit %d, written %t", name, at, written), func(t *testing.T) { test(t, start, at, written, want) })
			}
		}
	}
}

func TestEveryWriteFailedAndTheMachineCrashed(t *testing.T) {
	eachWrite(t, func(t *testing.T, start func(*testing.T) thread, at int, written bool, want []string) {
		x := start(t)
		disk := store.NewCrashable()
		c := &count{at: at, err: store.ErrBroken}
		fault := &store.Faulty{Store: disk}
		if written {
			fault.After = c.next
		} else {
			fault.Before = c.next
		}
		u := x.unit(fault, func(c *Config) { c.Workers = 1 })
		ended := make(chan error, 1)
		go func() { ended <- u.Run(t.Context()) }()
		accepted := true
		if _, err := x.begin(unitstest.Context(t), u); err != nil {
			accepted = false // at the first commit, or cut off while it waited
			if at == 1 {
				unitstest.WantRefusal(t, err, ao.StoreTrouble)
			}
		}
		if err := <-ended; !errors.Is(err, store.ErrBroken) {
			t.Fatalf("run ended with %v, want %v", err, store.ErrBroken)
		}
		after, err := disk.Crash(0, uint64(at))
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		u = x.unit(after)
		run(t, u)
		if accepted { // it must come to its end without being asked for again
			for u.Status().Open > 0 {
				hopsOf(t, u, x.first.ID())
			}
		}
		x.finish(t, u)
		idle(t, u)
		if got := x.effects(t); !slices.Equal(got, want) {
			t.Errorf("the effects are\n%v, want\n%v", got, want)
		}
	})
}

func TestEveryWriteFailedInPassing(t *testing.T) {
	eachWrite(t, func(t *testing.T, start func(*testing.T) thread, at int, written bool, want []string) {
		x := start(t)
		c := &count{at: at, err: errors.New("the disk hiccups")}
		fault := &store.Faulty{Store: memory(t)}
		if written {
			fault.After = c.next
		} else {
			fault.Before = c.next
		}
		u := x.unit(fault)
		run(t, u)
		x.finish(t, u)
		idle(t, u)
		if got := x.effects(t); !slices.Equal(got, want) {
			t.Errorf("the effects are\n%v, want\n%v", got, want)
		}
	})
}

func TestStageSurvivesRestart(t *testing.T) {
	x := newThread(t)
	x.set(func() { x.fail = refuseAll("compute", ao.NotYet) })
	st := memory(t)
	u := x.unit(st)
	stop := run(t, u)
	as, err := u.Push(t.Context(), x.first)
	if err != nil {
		t.Fatal(err)
	}
	_ = stop()
	schedules := x.count("schedule")
	x.set(func() { x.fail = nil })
	u = x.unit(st)
	again, err := u.Push(t.Context(), x.first) // answered before anything runs
	if err != nil || again.ID() != as.ID() {
		t.Errorf("after the restart: slot %d, %v", again.Nonce(), err)
	}
	x.set(func() { x.fail = refuseAll("schedule", ao.Busy) })
	stop = run(t, u)
	var hops []units.Hop
	_ = u.Hops(t.Context(), x.first.ID(), func(h units.Hop) error {
		if hops = append(hops, h); h.Word == "compute" {
			return errors.New("enough")
		}
		return nil
	})
	if want := []string{"push", "schedule", "compute"}; !slices.Equal(words(hops), want) {
		t.Errorf("the hops are %v, want %v: a stage was repeated", words(hops), want)
	}
	_ = stop()
	if schedules != 1 {
		t.Errorf("scheduled %d times before the restart", schedules)
	}
}
