package mu

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// clock is a time that a test moves, in milliseconds after the start of chains.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMilli(unitstest.ChainStart + c.ms.Load()) }

// virtual is the clock of a bubble, moved to the time of chains.
func virtual() func() time.Time {
	began := time.Now()
	return func() time.Time { return time.UnixMilli(unitstest.ChainStart).Add(time.Since(began)) }
}

// ticking is a process that ticks every second.
func (w *town) ticking(name string) ao.ID {
	return w.spawn(name, ao.Tag{Name: "Cron-Interval", Value: "1-second"})
}

// tick has the computer know one more tick of a process, in that second, with an outbox.
func (w *town) tick(process ao.ID, second int, slot ao.Slot, outbox string) {
	w.t.Helper()
	r, err := ao.ParseResponse([]byte(outbox))
	if err != nil {
		w.t.Fatal(err)
	}
	at := units.CronCursor{Tick: ao.Tick{Timestamp: unitstest.ChainStart + int64(second)*1000}, Slot: slot}
	w.set(func() {
		w.ticks[process] = append(w.ticks[process], units.CronResult{Cursor: at, Every: "1-second", Result: r})
	})
}

// numbered is a draft that no other is a copy of.
func numbered(target ao.ID, n int, data string) map[string]any {
	d := draft(target, data)
	d["Anchor"] = fmt.Sprintf("%032d", n)
	return d
}

func (w *town) request(signer string, process ao.ID) ao.Request {
	w.t.Helper()
	r, err := ao.SignRequest(unitstest.Signer(signer), process)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *town) monitor(u *Unit, process ao.ID) {
	w.t.Helper()
	if err := u.Monitor(w.t.Context(), w.request("asks", process)); err != nil {
		w.t.Fatal(err)
	}
}

// texts is the data of the messages in a process's log.
func (w *town) texts(process ao.ID) (out []string) {
	for _, m := range w.log(w.su, process) {
		out = append(out, string(m.Data()))
	}
	return out
}

func TestTicksArePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		p, b := w.ticking("p"), w.spawn("b")
		now := virtual()
		st := memory(t)
		u := w.unit(st, func(c *Config) { c.Now = now })
		stop := run(t, u)
		w.tick(p, 0, 0, send(numbered(b, 0, "before it was asked for")))
		time.Sleep(500 * time.Millisecond)
		w.monitor(u, p)
		w.tick(p, 1, 0, send(numbered(b, 1, send(numbered(p, 100, "back")))))
		w.tick(p, 2, 3, outboxOf(map[string]any{"Error": "nothing"}))
		w.tick(p, 3, 3, send(numbered(b, 3, "three"), numbered(b, 4, "four")))
		time.Sleep(time.Minute)
		first := w.log(w.su, b)
		if got := w.texts(b); len(got) != 3 || got[1] != "three" || got[2] != "four" {
			t.Fatalf("pushed %q", got)
		}
		if got := w.texts(p); !slices.Equal(got, []string{"back"}) {
			t.Errorf("sent back %q", got)
		}
		for i, want := range []string{"0 0 ", "3 0 ", "3 1 "} {
			tags := first[i].Tags()
			if got := tags.Get("From-Slot") + " " + tags.Get("From-Index") + " " + tags.Get("Pushed-For"); got != want || first[i].From() != p.String() {
				t.Errorf("message %d from %s has the origin %q, want %q", i, first[i].From(), got, want)
			}
		}
		digest := ao.ID(attest.ResultDigest(w.ticks[p][1].Result)).String()
		if got := first[0].Tags().Get("From-Result"); got != digest {
			t.Errorf("it cites the result %s, want %s", got, digest)
		}
		if got := w.log(w.su, p)[0].Tags().Get("Pushed-For"); got != first[0].ID().String() {
			t.Errorf("what follows is pushed for %s, want %s", got, first[0].ID())
		}
		if got := words(hopsOf(t, u, first[0].ID())); !slices.Equal(got, []string{"schedule", "compute", "schedule", "compute", "done"}) {
			t.Errorf("the hops are %v", got)
		}
		if n := u.Status().Monitored; n != 1 {
			t.Errorf("%d are monitored", n)
		}
		_ = stop()

		u = w.unit(st, func(c *Config) { c.Now = now }) // and again: what was pushed is not pushed twice
		stop = run(t, u)
		w.tick(p, 4, 3, send(numbered(b, 5, "five")))
		time.Sleep(time.Hour)
		if got := w.texts(b); len(got) != 4 || got[3] != "five" {
			t.Errorf("after the restart pushed %q", got)
		}
		if err := u.Unmonitor(t.Context(), w.request("asks", p)); err != nil {
			t.Error(err)
		}
		w.tick(p, 5, 3, send(numbered(b, 6, "six")))
		asked := w.count("cron")
		time.Sleep(time.Hour)
		if got := w.texts(b); len(got) != 4 || w.count("cron") != asked {
			t.Errorf("after the end pushed %q, asked %d times", got, w.count("cron")-asked)
		}
		_ = stop()
		if u = w.unit(st); u.Status().Monitored != 0 {
			t.Error("the end is not durable")
		}
	})
}

// TestAskedWhenDue: a computer is asked when a tick is due, not more often than it is told to, and ever less often in vain.
func TestAskedWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		hourly := w.spawn("hourly", ao.Tag{Name: "Cron-Interval", Value: "1-hour"})
		now := virtual()
		u := w.started(func(c *Config) { c.Now = now })
		w.monitor(u, hourly)
		w.tick(hourly, 3600, 0, send())
		w.tick(hourly, 7200, 0, send())
		time.Sleep(time.Hour + units.CronMargin - time.Minute)
		if n := w.count("cron"); n != 0 {
			t.Errorf("asked %d times before anything was due", n)
		}
		time.Sleep(2 * time.Hour)
		if n := w.count("cron"); n != 1 { // it was told of both at once, and a computer is believed
			t.Errorf("asked %d times for what it was told at once", n)
		}
		if err := u.Unmonitor(t.Context(), w.request("asks", hourly)); err != nil {
			t.Error(err)
		}

		busy := w.ticking("busy")
		w.set(func() { w.fail = refuseAll("cron", ao.Unreachable) })
		before := w.count("cron")
		w.monitor(u, busy)
		time.Sleep(5 * time.Hour)
		if n := w.count("cron") - before; n < 20 || n > 40 { // every ten minutes in the end
			t.Errorf("asked %d times in vain in five hours", n)
		}
		for i := range 120 { // more than a page
			w.tick(busy, i+1+5*3600, 0, send())
		}
		w.set(func() { w.fail = nil })
		time.Sleep(5*time.Hour + time.Hour)
		var m monitor
		if err := json.Unmarshal(get(t, u, keyMonitor+busy.String()), &m); err != nil || m.Cursor.Timestamp != unitstest.ChainStart+(5*3600+120)*1000 {
			t.Errorf("it stands at %+v, %v", m.Cursor, err)
		}
	})
}

// TestAskedWhenTheLogMoves: of blocks the next slot tells, so that a computer is asked after each that is new, and not before.
func TestAskedWhenTheLogMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		p, b := w.spawn("p", ao.Tag{Name: "Cron-Interval", Value: "5-blocks"}), w.spawn("b")
		now := virtual()
		u := w.started(func(c *Config) { c.Now = now })
		w.monitor(u, p)
		wantAsked := func(n int, pushed ...string) {
			t.Helper()
			time.Sleep(time.Hour)
			if got := w.count("cron"); got != n {
				t.Errorf("asked %d times, want %d", got, n)
			}
			if got := w.texts(b); !slices.Equal(got, pushed) {
				t.Errorf("pushed %q, want %q", got, pushed)
			}
		}
		wantAsked(1)
		if _, err := u.Push(t.Context(), w.message(p, "no block came")); err != nil {
			t.Fatal(err)
		}
		wantAsked(2)
		w.tick(p, 7300, 1, send(numbered(b, 1, "a block")))
		if _, err := u.Push(t.Context(), w.message(p, "a block came")); err != nil {
			t.Fatal(err)
		}
		wantAsked(3, "a block")
	})
}

func get(t testing.TB, u *Unit, key string) []byte {
	t.Helper()
	raw, err := u.cfg.Store.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestWhoMonitors: who may begin and end it, and what is not monitored at all.
func TestWhoMonitors(t *testing.T) {
	w := newTown(t)
	u := w.unit(memory(t), func(c *Config) { c.MaxMonitors = 2 })
	p, still := w.ticking("p"), w.spawn("still")
	blocks := w.spawn("blocks", ao.Tag{Name: "Cron-Interval", Value: "10-blocks"})
	nonsense := w.spawn("nonsense", ao.Tag{Name: "Cron-Interval", Value: "soon"})
	for _, step := range []struct {
		what      string
		monitor   bool
		who       string
		process   ao.ID
		code      ao.Code // "" for none
		monitored int     // afterwards
	}{
		{"one that never ticks", true, "x", still, ao.BadTags, 0},
		{"one that ticks in blocks", true, "x", blocks, "", 1},
		{"its end", false, "x", blocks, "", 0},
		{"one whose interval is none", true, "x", nonsense, ao.BadTags, 0},
		{"nobody's", true, "x", unitstest.ID("none"), ao.UnknownProcess, 0},
		{"by one", true, "one", p, "", 1},
		{"by another", true, "another", p, "", 1},
		{"by a stranger", false, "stranger", p, ao.Untrusted, 1},
		{"the end for one", false, "one", p, "", 1},
		{"no more by that one", false, "one", p, ao.Untrusted, 1},
		{"the end for both", false, "another", p, "", 0},
		{"by one again", true, "one", p, "", 1},
		{"by the owner", false, "user", p, "", 0},
		{"one", true, "one", w.ticking("1"), "", 1},
		{"two", true, "one", w.ticking("2"), "", 2},
		{"too many", true, "one", w.ticking("3"), ao.Busy, 2},
	} {
		do := u.Unmonitor
		if step.monitor {
			do = u.Monitor
		}
		if err := do(t.Context(), w.request(step.who, step.process)); step.code != "" {
			unitstest.WantRefusal(t, err, step.code)
		} else if err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		if n := u.Status().Monitored; n != step.monitored {
			t.Errorf("%s: %d are monitored, want %d", step.what, n, step.monitored)
		}
	}
	unitstest.WantRefusal(t, u.Monitor(t.Context(), ao.Request{}), ao.Malformed)
	unitstest.WantRefusal(t, u.Unmonitor(t.Context(), ao.Request{}), ao.Malformed)
	for i := range maxAskers + 3 {
		if err := u.Monitor(t.Context(), w.request(fmt.Sprint(i), w.mustMonitored(u))); err != nil {
			t.Error(err)
		}
	}
	if n := len(u.monitors[w.mustMonitored(u)].By); n != maxAskers {
		t.Errorf("%d askers are remembered, want %d", n, maxAskers)
	}
}

// mustMonitored is the same one of what is monitored each time.
func (w *town) mustMonitored(u *Unit) (first ao.ID) {
	for p := range u.monitors {
		if first.IsZero() || strings.Compare(p.String(), first.String()) < 0 {
			first = p
		}
	}
	return first
}

// TestDamagedMonitor: what cannot be read stops the unit instead of being forgotten.
func TestDamagedMonitor(t *testing.T) {
	w := newTown(t)
	st := memory(t)
	var b store.Batch
	b.Put(keyMonitor+unitstest.ID("p").String(), []byte("{"))
	if err := st.Commit(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Store: st, Signer: w.mu, Network: network, Directory: w, Archive: archive{town: w}}); !errors.Is(err, errMonitor) {
		t.Errorf("opened with %v", err)
	}
}

// TestLyingTicks: a computer that tells of ticks out of order, or of none that there is, moves nothing.
func TestLyingTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		p, b := w.ticking("p"), w.spawn("b")
		now := virtual()
		u := w.started(func(c *Config) { c.Now = now })
		w.monitor(u, p)
		w.tick(p, 2, 0, send(numbered(b, 1, "one")))
		w.tick(p, 1, 0, send(numbered(b, 2, "two")))
		time.Sleep(time.Hour)
		w.set(func() { w.ticks[p] = nil })
		w.tick(p, 1, 0, send(numbered(b, 3, "three")))
		w.set(func() { w.ticks[p][0].Cursor.Interval = 7 })
		time.Sleep(time.Hour)
		if got := w.texts(b); len(got) != 0 {
			t.Errorf("pushed %q", got)
		}
	})
}

// rounds is a monitored process with three ticks, and all that can be in an outbox.
type rounds struct {
	thread
	p     ao.ID
	clock *clock
}

func newRounds(t *testing.T) rounds {
	x := rounds{thread: startThread(t), clock: &clock{}}
	x.p = x.ticking("p")
	x.first = x.message(x.a, "first")
	x.tick(x.p, 1, 0, x.outbox(t))
	x.tick(x.p, 2, 0, send(numbered(x.b, 2, "two")))
	x.tick(x.p, 3, 0, send(numbered(x.b, 3, "three")))
	return x
}

func (x rounds) change(c *Config) { c.Now, c.CronEvery, c.Workers = x.clock.now, time.Millisecond, 1 }

// finish has the process monitored until that is accepted, and waits for the end of its ticks.
func (x rounds) finish(t *testing.T, u *Unit) {
	t.Helper()
	for {
		err := u.Monitor(unitstest.Context(t), x.request("asks", x.p))
		if err == nil {
			break
		}
		if !errors.Is(err, &ao.Refusal{Code: ao.StoreTrouble}) {
			t.Fatalf("monitor: %v", err)
		}
	}
	x.clock.ms.Store(3600 * 1000)
	u.signal()
	ctx := unitstest.Context(t)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		m, err := u.take(ctx, x.p, false) // what is on disk may be ahead of it
		if err != nil {
			t.Fatal(err)
		}
		at := m.Cursor.Timestamp
		u.give(m)
		if at == unitstest.ChainStart+3000 && u.Status().Open == 0 {
			return
		}
		x.clock.ms.Add(1000) // for those that are backed off
		u.signal()
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("it stands at %+v, %+v", m.Cursor, u.Status())
		}
	}
}

func cleanRounds(t *testing.T) (commits int, effects []string) {
	t.Helper()
	x, c := newRounds(t), &count{}
	u := x.unit(&store.Faulty{Store: memory(t), Before: c.next}, x.change)
	stop := run(t, u)
	x.finish(t, u)
	_ = stop()
	idle(t, u)
	effects = x.effects(t)
	if c.n < 10 || len(effects) != 9 {
		t.Fatalf("the ticks took %d commits and left %d effects: %q", c.n, len(effects), effects)
	}
	return c.n, effects
}

// TestEveryWriteOfTicks fails every durable write of monitored ticks, in passing and for good: none is lost and none doubled.
func TestEveryWriteOfTicks(t *testing.T) {
	commits, want := cleanRounds(t)
	for at := 1; at <= commits; at++ {
		for _, written := range []bool{false, true} {
			for _, broken := range []bool{false, true} {
				t.Run(fmt.Sprintf("commit %d, written %t, for good %t", at, written, broken), func(t *testing.T) {
					x := newRounds(t)
					disk := store.NewCrashable()
					c := &count{at: at, err: errors.New("the disk hiccups")}
					if broken {
						c.err = store.ErrBroken
					}
					fault := &store.Faulty{Store: disk}
					if written {
						fault.After = c.next
					} else {
						fault.Before = c.next
					}
					u := x.unit(fault, x.change)
					if broken {
						x.crash(t, u)
						after, err := disk.Crash(0, uint64(at))
						if err != nil {
							t.Fatal(err)
						}
						defer after.Close()
						u = x.unit(after, x.change)
					} else {
						defer disk.Close()
					}
					stop := run(t, u)
					x.finish(t, u)
					_ = stop()
					idle(t, u)
					if got := x.effects(t); !slices.Equal(got, want) {
						t.Errorf("the effects are\n%q, want\n%q", got, want)
					}
				})
			}
		}
	}
}

// crash runs a unit until its store has broken.
func (x rounds) crash(t *testing.T, u *Unit) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- u.Run(t.Context()) }()
	if err := u.Monitor(unitstest.Context(t), x.request("asks", x.p)); err != nil {
		unitstest.WantRefusal(t, err, ao.StoreTrouble)
	}
	x.clock.ms.Store(3600 * 1000)
	u.signal()
	if err := <-ended; !errors.Is(err, store.ErrBroken) {
		t.Fatalf("run ended with %v, want %v", err, store.ErrBroken)
	}
	x.clock.ms.Store(0)
}
