package mu

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

// bubble runs a test in virtual time, with a messenger at work in it.
func bubble(t *testing.T, change func(*Config), test func(t *testing.T, w *town, u *Unit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		st := store.NewMemory()
		defer st.Close()
		u := w.unit(st, func(c *Config) { c.Retry, c.RetryMax = time.Second, time.Minute }, change)
		stop := run(t, u)
		test(t, w, u)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
	})
}

func TestPauseDoublesByStage(t *testing.T) {
	bubble(t, func(*Config) {}, func(t *testing.T, w *town, u *Unit) {
		a := w.spawn("a")
		var at []time.Duration
		start := time.Now()
		w.set(func() {
			w.fail = func(call string, n int) error {
				if call == "host" {
					return nil
				}
				at = append(at, time.Since(start))
				if call == "schedule" && n <= 9 || call == "compute" && n <= 3 {
					return ao.Refuse(call, ao.Unreachable, "try %d", n)
				}
				return nil
			}
		})
		m := w.message(a, "hello")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := u.Push(ctx, m)
		unitstest.WantRefusal(t, err, ao.Queued)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("queued after %s", d)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		as, err := u.Push(ctx, m)
		if err != nil || as.Nonce() != 1 {
			t.Fatalf("slot %v, %v", as, err)
		}
		hopsOf(t, u, m.ID())
		var pauses []time.Duration
		for i := 1; i < len(at); i++ {
			pauses = append(pauses, (at[i]-at[i-1])/time.Second)
		}
		// Nine pauses before the slot, capped at a minute; then the result's stage begins anew.
		if want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60, 0, 1, 2, 4}; !slices.Equal(pauses, want) {
			t.Errorf("the pauses are %v, want %v", pauses, want)
		}
		idle(t, u)
	})
}

func TestPushWaitsAsLongAsConfigured(t *testing.T) {
	bubble(t, func(c *Config) { c.Patience = 7 * time.Second }, func(t *testing.T, w *town, u *Unit) {
		a := w.spawn("a")
		w.set(func() { w.fail = refuseAll("schedule", ao.Unreachable) })
		start := time.Now()
		for range 3 {
			_, err := u.Push(t.Context(), w.message(a, "hello"))
			unitstest.WantRefusal(t, err, ao.Queued)
		}
		if d := time.Since(start); d != 21*time.Second {
			t.Errorf("three pushes waited %s, want 21s", d)
		}
		u.lock.Lock()
		defer u.lock.Unlock()
		if len(u.waiters) != 0 {
			t.Errorf("%d are still waiting", len(u.waiters))
		}
	})
}

func TestGivingUp(t *testing.T) {
	bubble(t, func(c *Config) { c.GiveUp = time.Hour }, func(t *testing.T, w *town, u *Unit) {
		a := w.spawn("a")
		w.set(func() { w.fail = refuseAll("compute", ao.UnknownModule) })
		m := w.message(a, "hello")
		start := time.Now()
		_, hops := push(t, u, m)
		if d := time.Since(start); d < time.Hour || d > time.Hour+time.Minute {
			t.Errorf("given up after %s", d)
		}
		h := noted(t, hops, "drop")
		if h.Note == "" || h.Slot != 1 {
			t.Errorf("dropped with %+v", h)
		}
		idle(t, u)
		// Whoever wants it can have it pushed on once the cause is gone.
		w.set(func() { w.fail = nil })
		if _, err := u.Repush(t.Context(), a, 1); err != nil {
			t.Fatal(err)
		}
		noted(t, hopsOf(t, u, m.ID()), "compute")
	})
}

func TestOutageIsNotALookup(t *testing.T) {
	bubble(t, func(*Config) {}, func(t *testing.T, w *town, u *Unit) {
		a := w.spawn("a")
		// The archive is away for long, then the target is not found for a moment: still no reason to settle it as mail.
		w.set(func() {
			w.fail = func(call string, n int) error {
				switch {
				case call == "host" && n > 1 && n <= 30:
					return ao.Refuse("schedule", ao.ArchiveDown, "away")
				case call == "host" && n == 31:
					return ao.Refuse("schedule", ao.UnknownProcess, "not indexed yet")
				}
				return nil
			}
		})
		b := w.spawn("b")
		_, hops := push(t, u, w.message(a, send(draft(b, "patience"))))
		if len(w.log(w.su, b)) != 1 || len(w.held) != 0 {
			t.Errorf("b has %d messages, the archive %d; hops %v", len(w.log(w.su, b)), len(w.held), words(hops))
		}
	})
}

func TestWhatIsFinal(t *testing.T) {
	for _, c := range []struct {
		stage   string
		err     error
		lookups int
		final   bool
	}{
		{stageSchedule, ao.Refuse("schedule", ao.BadSignature, ""), 0, true},
		{stageSchedule, ao.Refuse("schedule", ao.WrongScheduler, ""), 0, true},
		{stageSchedule, ao.Refuse("schedule", ao.Busy, ""), 0, false},
		{stageSchedule, ao.Refuse("schedule", ao.StoreTrouble, ""), 0, false},
		{stageSchedule, ao.Refuse("schedule", ao.BadLog, ""), 0, false},
		{stageSchedule, ao.Refuse("schedule", ao.UnknownProcess, ""), maxLookups - 1, false},
		{stageSchedule, ao.Refuse("schedule", ao.UnknownProcess, ""), maxLookups, true},
		{stageSchedule, errors.New("anything else"), 100, false},
		{stageCompute, ao.Refuse("compute", ao.BadModule, ""), 0, true},
		{stageCompute, ao.Refuse("compute", ao.BadFormat, ""), 0, true},
		{stageCompute, ao.Refuse("compute", ao.Malformed, "a computer's word alone"), 0, false},
		{stageCompute, ao.Refuse("compute", ao.WrongScheduler, ""), 0, false},
		{stageCompute, ao.Refuse("compute", ao.NotYet, ""), 100, false},
	} {
		if got := isFinal(&task{Stage: c.stage, lookups: c.lookups}, c.err); got != c.final {
			t.Errorf("%s after %d lookups, %v: final %t", c.stage, c.lookups, c.err, got)
		}
	}
}

func TestStopDuringAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		st := store.NewMemory()
		defer st.Close()
		a := w.spawn("a")
		w.set(func() { w.fail = refuseAll("schedule", ao.Unreachable) })
		u := w.unit(st)
		stop := run(t, u)
		soon, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := u.Push(soon, w.message(a, "hello"))
		unitstest.WantRefusal(t, err, ao.Queued)
		_ = stop()
		tries := w.count("schedule")
		time.Sleep(time.Hour) // in virtual time
		if w.count("schedule") != tries || u.Status().Ready != 0 {
			t.Errorf("%d more tries after the end, %d ready", w.count("schedule")-tries, u.Status().Ready)
		}
		// What is accepted now is safe, and waits for the next start.
		soon, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = u.Push(soon, w.message(a, "late"))
		unitstest.WantRefusal(t, err, ao.Queued)
		w.set(func() { w.fail = nil })
		u = w.unit(st)
		stop = run(t, u)
		hopsOf(t, u, w.message(a, "hello").ID())
		hopsOf(t, u, w.message(a, "late").ID())
		_ = stop()
		if n := len(w.log(w.su, a)); n != 2 {
			t.Errorf("%d slots, want 2", n)
		}
	})
}

func TestSweep(t *testing.T) {
	bubble(t, func(c *Config) { c.Keep, c.GiveUp = 8*time.Hour, 1000*time.Hour }, func(t *testing.T, w *town, u *Unit) {
		a := w.spawn("a")
		done := w.message(a, "done")
		as, _ := push(t, u, done)
		w.set(func() { w.fail = refuseAll("compute", ao.NotYet) })
		open := w.message(a, "open")
		if _, err := u.Push(t.Context(), open); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Hour)
		hopsOf(t, u, done.ID())
		time.Sleep(3 * time.Hour)
		ctx := t.Context()
		unitstest.WantRefusal(t, u.Hops(ctx, done.ID(), nil), ao.UnknownMessage)
		for prefix, want := range map[string]int{keyHop: 2, keyDone: 1, keyTask: 1} {
			if pairs, err := u.cfg.Store.Scan(prefix, "", 100); err != nil || len(pairs) != want {
				t.Errorf("%d records under %s, want %d (%v)", len(pairs), prefix, want, err)
			}
		}
		// Repeated after that, it is what it was.
		w.set(func() { w.fail = nil })
		if again, _ := push(t, u, done); again.ID() != as.ID() {
			t.Errorf("slot %d, first slot %d", again.Nonce(), as.Nonce())
		}
		noted(t, hopsOf(t, u, open.ID()), "compute")
		idle(t, u)
	})
}
