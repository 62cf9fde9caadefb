package su

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestScheduler(t *testing.T) {
	unitstest.TestScheduler(t, func(t *testing.T) unitstest.SchedulerFixture {
		a := newFakeArchive(100)
		u := newUnit(t, memory(t), a)
		run(t, u)
		return unitstest.SchedulerFixture{Scheduler: u, Log: u, Address: u.Address(), Bury: a.bury}
	})
}

func TestLog(t *testing.T) {
	for _, c := range []struct {
		name  string
		cache int
	}{{"from memory", 0}, {"from the store", 1}} {
		t.Run(c.name, func(t *testing.T) {
			unitstest.TestLog(t, func(t *testing.T) unitstest.LogFixture {
				u := newUnit(t, memory(t), newFakeArchive(100), func(cfg *Config) { cfg.CacheBytes = c.cache })
				run(t, u)
				p := spawn(t, u, "log")
				for i := range 80 {
					schedule(t, u, p, message(t, p, fmt.Sprint(i)))
				}
				return unitstest.LogFixture{
					Log:     u,
					Entries: whole(t, u.cfg.Store, p),
					Append: func(t *testing.T) ao.Entry {
						n, err := u.Next(t.Context(), p)
						if err != nil {
							t.Fatal(err)
						}
						m := message(t, p, "new "+n.String())
						return ao.Entry{Proof: ao.ProofAssignment, Assignment: schedule(t, u, p, m), Message: m}
					},
				}
			})
		})
	}
}

func TestConfig(t *testing.T) {
	good := func() Config {
		return Config{Store: memory(t), Signer: unitKey, Archive: newFakeArchive(1)}
	}
	if c := good(); c.Validate() != nil || c.Now == nil || c.Log == nil || c.MaxMessage != ao.MaxItem {
		t.Errorf("defaults are missing: %+v", c)
	}
	for name, spoil := range map[string]func(*Config){
		"store":    func(c *Config) { c.Store = nil },
		"signer":   func(c *Config) { c.Signer = nil },
		"archive":  func(c *Config) { c.Archive = nil },
		"message":  func(c *Config) { c.MaxMessage = ao.MaxItem + 1 },
		"bound":    func(c *Config) { c.MaxWaiting = -1 },
		"interval": func(c *Config) { c.SettleDelay = -1 },
	} {
		c := good()
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("a bad %s is accepted", name)
		}
	}
}

func TestClockRunningBackwards(t *testing.T) {
	clock := int64(now)
	s := memory(t)
	u := newUnit(t, s, newFakeArchive(100), func(c *Config) {
		c.Now = func() time.Time { clock -= 1000; return time.UnixMilli(clock) }
	})
	p := spawn(t, u, "clock")
	for i := range 5 {
		schedule(t, u, p, message(t, p, fmt.Sprint(i)))
	}
	log := whole(t, s, p)
	for i := 1; i < len(log); i++ {
		was, is := log[i-1].Assignment.Fields().Timestamp, log[i].Assignment.Fields().Timestamp
		if is != was+1 {
			t.Errorf("slot %d has the timestamp %d after %d", i, is, was)
		}
	}
	clock = now + 50_000
	if ts := schedule(t, u, p, message(t, p, "later")).Fields().Timestamp; ts != now+49_000 {
		t.Errorf("the timestamp is %d, the clock says %d", ts, now+49_000)
	}
}

func TestHeightRunningBackwards(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "height")
	for _, c := range []struct{ polled, want uint64 }{{101, 101}, {90, 101}, {102, 102}} {
		a.height = c.polled
		if err := u.askHeight(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := schedule(t, u, p, message(t, p, fmt.Sprint(c.polled))).Fields().BlockHeight
		if got != c.want {
			t.Errorf("at height %d the slot says %d, want %d", c.polled, got, c.want)
		}
	}
	whole(t, s, p)
}

func TestNothingIsScheduledWithoutAHeight(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	a.down = errors.New("gateway is down")
	u := newUnit(t, s, a)
	m := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), "early")
	_, err := u.Schedule(t.Context(), m.ID(), m)
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	select {
	case <-u.Ready():
		t.Error("ready without a height")
	default:
	}

	stop := run(t, u)
	a.change(func() { a.down = nil })
	<-u.Ready()
	first := schedule(t, u, m.ID(), m)
	a.change(func() { a.down, a.height = errors.New("down again"), 0 })
	if st := u.Status(); !st.HeightKnown || st.Height != 100 {
		t.Errorf("status %+v, want height 100", st)
	}

	// After a restart the last height stands.
	stop()
	b := newFakeArchive(0)
	b.down = errors.New("down")
	u = newUnit(t, s, b)
	<-u.Ready()
	if got := schedule(t, u, m.ID(), m); got.ID() != first.ID() {
		t.Error("the slot was lost")
	}
	if got := schedule(t, u, m.ID(), message(t, m.ID(), "more")).Fields().BlockHeight; got != 100 {
		t.Errorf("the height is %d, want 100", got)
	}
}

func TestAbsurdHeightIsIgnored(t *testing.T) {
	a := newFakeArchive(100)
	u := newUnit(t, memory(t), a)
	a.height = 1 << 62
	if err := u.askHeight(t.Context()); err == nil {
		t.Error("a height of 2^62 is believed")
	}
	if h, _, _ := u.height.get(); h != 100 {
		t.Errorf("the height is %d, want 100", h)
	}
}

func TestRefusalsOfBadMessages(t *testing.T) {
	u := newUnit(t, memory(t), newFakeArchive(100), func(c *Config) { c.MaxMessage = 2000 })
	p := spawn(t, u, "small")
	_, err := u.Schedule(t.Context(), p, ao.Message{})
	unitstest.WantRefusal(t, err, ao.Malformed)
	_, err = u.Schedule(t.Context(), p, message(t, p, string(make([]byte, 2000))))
	unitstest.WantRefusal(t, err, ao.TooLarge)
	if n, err := u.Next(t.Context(), p); n != 1 || err != nil {
		t.Errorf("next is %d, %v; want 1", n, err)
	}
}

func TestRestartContinuesTheChain(t *testing.T) {
	disk := store.NewCrashable()
	var s store.Store = disk
	var p ao.ID
	var acked []ao.Assignment
	for round := range 4 {
		u := newUnit(t, s, newFakeArchive(100))
		if round == 0 {
			p = spawn(t, u, "crash")
		}
		for i := range 5 {
			acked = append(acked, schedule(t, u, p, message(t, p, fmt.Sprint(round, i))))
		}
		if st := u.Status(); st.Processes != 1 || st.Unsettled != int64(len(acked)+1) {
			t.Errorf("round %d: status %+v", round, st)
		}
		after, err := disk.Crash(50, uint64(round))
		if err != nil {
			t.Fatal(err)
		}
		disk, s = after, after
	}
	t.Cleanup(func() { _ = s.Close() })
	log := whole(t, s, p)
	if len(log) != len(acked)+1 {
		t.Fatalf("the log has %d slots, want %d", len(log), len(acked)+1)
	}
	for i, a := range acked {
		if log[i+1].Assignment.ID() != a.ID() {
			t.Errorf("slot %d is not what was answered", i+1)
		}
	}
}

func TestAnotherKeyMayNotGoOn(t *testing.T) {
	s := memory(t)
	p := spawn(t, newUnit(t, s, newFakeArchive(100)), "moved")
	u := newUnit(t, s, newFakeArchive(100), func(c *Config) { c.Signer = unitstest.Signer("new key") })
	_, err := u.Schedule(t.Context(), p, message(t, p, "with another key"))
	unitstest.WantRefusal(t, err, ao.WrongScheduler)
}

func TestRunOnce(t *testing.T) {
	u := newUnit(t, memory(t), newFakeArchive(100))
	stop := run(t, u)
	stop()
	if err := u.Run(t.Context()); err == nil {
		t.Error("it ran twice")
	}
}
