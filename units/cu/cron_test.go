package cu_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// spawnTicking is a process with the given tags.
func (w *world) spawnTicking(t testing.TB, name string, tags ...ao.Tag) ao.Message {
	t.Helper()
	m, err := ao.SignProcess(w.owner, w.module.ID(), unitstest.Address(w.scheduler), append(ao.Tags{{Name: "Name", Value: name}}, tags...), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ticking is the log of a process that ticks, not yet served.
func (w *world) ticking(t testing.TB, name string) *unitstest.Chain {
	t.Helper()
	return unitstest.MakeTicking(t, w.scheduler, w.spawnTicking(t, name, unitstest.TickingTags()...))
}

// clock is a time that a test moves, in milliseconds after the start of chains.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time {
	return time.UnixMilli(unitstest.ChainStart + c.ms.Load()).Add(units.CronMargin)
}

func (c *clock) is(cfg *cu.Config) { cfg.Now = c.now }

// told is what ticks came to, in short.
func told(t testing.TB, u units.Computer, p ao.ID) (out []string) {
	t.Helper()
	var from units.CronCursor
	for {
		page, err := u.Cron(unitstest.Context(t), p, from, 1000)
		if err != nil {
			t.Fatalf("ticks after %+v: %v", from, err)
		}
		if len(page) == 0 {
			return out
		}
		for _, r := range page {
			from = r.Cursor
			out = append(out, fmt.Sprintf("%d:%s%s", r.Cursor.Slot, r.Result.Output, r.Result.Error))
		}
	}
}

func wantTold(t testing.TB, u units.Computer, p ao.ID, want ...string) {
	t.Helper()
	if got := told(t, u, p); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the ticks are\n%q, want\n%q", got, want)
	}
}

// inLog is what the ticks of a log of MakeTicking come to.
func inLog() []string {
	return []string{
		`0:"2 at 1000"`, `0:"3 at 2000"`, `0:"4 at 2000"`, `2:"7 at 3000"`, `2:"8 at 4000"`, `2:"9 at 4000"`,
	}
}

// TestTicksBetweenSlots: what a log implies is in its slots' results and in the state, however the unit comes to them.
func TestTicksBetweenSlots(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	w.directory.put(c.Entries())
	p := c.Process()
	for name, change := range map[string]func(*cu.Config){
		"in one go":              func(*cu.Config) {},
		"again, from what is on": func(c *cu.Config) { c.CheckpointEvery = 1 },
		"with every checkpoint":  func(c *cu.Config) { c.Store, c.CheckpointEvery = memory(t), 1 },
		"entry by entry":         func(c *cu.Config) { c.Store, c.PageSize = memory(t), 1 },
	} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{}
			clock.ms.Store(4503)
			u := w.run(t, w.settling, clock.is, change)
			for slot, want := range []string{`"1 after  "`, `"5 after message"`, `"6 after message"`, `"10 after message"`} {
				if a := compute(t, u, p, ao.Slot(slot)); string(a.Result.Output) != want {
					t.Errorf("slot %d came to %s, want %s", slot, a.Result.Output, want)
				}
				if slot == 1 {
					if err := u.Rewind(unitstest.Context(t), p, 1); err != nil {
						t.Error(err)
					}
				}
			}
			root := stateOf(t, u, p).Root
			wantTold(t, u, p, inLog()...)
			if r := verify(t, w.verification(p)); !r.OK || r.Slots != 4 || r.StateDigest != hex.EncodeToString(root[:]) {
				t.Errorf("verified as %+v, the unit has %x", r, root)
			}
		})
	}
}

// TestTicksInBlocks: blocks tick between the slots whose heights they lie between, right before the later one, and none ahead
// of the log; by whatever way the unit and whoever verifies come there.
func TestTicksInBlocks(t *testing.T) {
	w := newWorld(t)
	c := unitstest.NewChain(t, w.scheduler, w.spawnTicking(t, "p", ao.Tag{Name: "Cron-Interval", Value: "2-blocks"},
		ao.Tag{Name: "Cron-Interval", Value: "1-block"}, ao.Tag{Name: "Cron-Interval", Value: "1-hour"}))
	for i := 1; i < 34; i++ { // the height rises by one with every tenth slot
		if i == 15 || i == 22 {
			c.Wait(time.Hour)
		}
		w.add(t, c, fmt.Sprint(i))
	}
	w.directory.put(c.Entries())
	p := c.Process()
	want := []string{
		`9:"11 at 10"`, `14:"17 at 3600000"`, `19:"23 at 3600020"`, `19:"24 at 3600020"`, `21:"27 at 7200000"`, `29:"36 at 7200030"`,
	}
	for name, change := range map[string]func(*cu.Config){
		"in one go": func(*cu.Config) {},
		"from checkpoints": func(c *cu.Config) {
			c.Store, c.MaxHot, c.MaxPacked, c.CheckpointEvery, c.PageSize = memory(t), 1, 1, 1, 1
		},
		"evicted": func(c *cu.Config) { c.Store, c.MaxHot, c.PageSize = memory(t), 1, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			clock := &clock{}
			clock.ms.Store(2 * 3600 * 1000)
			u := w.run(t, w.settling, clock.is, change)
			other := w.serve(t, "other "+name, 2)
			for slot := range c.Entries() {
				compute(t, u, p, ao.Slot(slot))
				compute(t, u, other, 1)
				if slot%10 == 3 {
					if _, err := u.DryRun(unitstest.Context(t), other, ao.Query{}); err != nil {
						t.Error(err)
					}
				}
			}
			wantTold(t, u, p, want...)
			page, err := u.Cron(unitstest.Context(t), p, units.CronCursor{}, 100)
			if err != nil || len(page) != len(want) || page[0].Height != unitstest.ChainHeight+1 || page[0].Every != "1-block" ||
				page[1].Height != unitstest.ChainHeight+1 || page[3].Height != unitstest.ChainHeight+2 || page[3].Every != "2-blocks" {
				t.Errorf("the ticks are %+v, %v", page, err)
			}
			root := stateOf(t, u, p).Root
			if r := verify(t, w.verification(p)); !r.OK || r.Slots != 34 || r.StateDigest != hex.EncodeToString(root[:]) {
				t.Errorf("verified as %+v, the unit has %x", r, root)
			}
			wantBack(t, u, p, 19, `"22 x at 19"`)
			wantBack(t, u, p, 20, `"25 x at 20"`)
		})
	}
}

func memory(t testing.TB) store.Store {
	t.Helper()
	st := store.NewMemory()
	t.Cleanup(func() { st.Close() })
	return st
}

// TestTicksWhilePacked: a process that lost its place in memory ticks on as if nothing had been.
func TestTicksWhilePacked(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	all := c.Entries()
	w.directory.put(all[:2])
	p, other := c.Process(), w.serve(t, "other", 1)
	clock := &clock{}
	clock.ms.Store(2503)
	u := w.run(t, clock.is, func(c *cu.Config) { c.MaxHot = 1 })
	compute(t, u, p, 1)
	compute(t, u, other, 0)
	if u.Status().Evictions == 0 {
		t.Fatal("nothing was packed")
	}
	w.directory.put(all)
	clock.ms.Store(4503)
	if a := compute(t, u, p, 3); string(a.Result.Output) != `"10 after message"` {
		t.Errorf("the last slot came to %s", a.Result.Output)
	}
	wantTold(t, u, p, inLog()...)
}

// TestTicksAhead: ticks that no slot has come after yet are told and leave no trace in the state; when the slot comes they
// are what they were.
func TestTicksAhead(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	all := c.Entries()
	p := c.Process()
	w.directory.put(all[:1])
	clock := &clock{}
	u := w.run(t, clock.is)
	root := stateOf(t, u, p).Root
	wantTold(t, u, p)
	clock.ms.Store(999)
	wantTold(t, u, p)
	clock.ms.Store(1000)
	wantTold(t, u, p, inLog()[:1]...)
	clock.ms.Store(2400)
	wantTold(t, u, p, inLog()[:3]...)
	wantTold(t, u, p, inLog()[:3]...)
	if n := w.machine.ticked.Load(); n != 3 {
		t.Errorf("%d ticks were evaluated to tell of 3", n)
	}
	if now := stateOf(t, u, p).Root; now != root {
		t.Errorf("the state is %x, before it was %x", now, root)
	}
	u.stop()
	w.machine.ticked.Store(0)
	u = w.run(t, clock.is) // what was told is on disk
	wantTold(t, u, p, inLog()[:3]...)
	if n := w.machine.ticked.Load(); n != 0 {
		t.Errorf("%d ticks were evaluated again", n)
	}
	w.directory.put(all[:3])
	wantTold(t, u, p, inLog()[:3]...)
	clock.ms.Store(5000)
	wantTold(t, u, p, append(inLog(), `2:"10 at 5000"`)...)
	w.directory.put(all)
	clock.ms.Store(4503)
	wantTold(t, u, p, inLog()...)
	if a := compute(t, u, p, 3); string(a.Result.Output) != `"10 after message"` {
		t.Errorf("the last slot came to %s", a.Result.Output)
	}
}

// TestSlowScheduler: a slot that comes before ticks that were told takes their place. What is told then is what the log says.
func TestSlowScheduler(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	p := c.Process()
	w.directory.put(c.Entries()[:1])
	clock := &clock{}
	clock.ms.Store(4000) // the next slot bears 2501
	u := w.run(t, clock.is)
	wantTold(t, u, p, append(inLog()[:3], `0:"5 at 3000"`, `0:"6 at 4000"`, `0:"7 at 4000"`)...)
	w.directory.put(c.Entries()[:3])
	wantTold(t, u, p, inLog()...)
	if a := compute(t, u, p, 2); string(a.Result.Output) != `"6 after message"` {
		t.Errorf("slot 2 came to %s", a.Result.Output)
	}
}

// TestPatienceAhead: who leaves while a process goes ahead leaves it where it is, and slots go on beside it.
func TestPatienceAhead(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	p := c.Process()
	w.directory.put(c.Entries())
	clock := &clock{}
	clock.ms.Store(14_503)
	u := w.run(t, clock.is, func(c *cu.Config) { c.Workers = 1 })
	compute(t, u, p, 3)
	ctx, cancel := context.WithCancel(unitstest.Context(t))
	w.machine.lock.Lock()
	w.machine.ticking = func(m ao.CronMessage) error {
		if m.Timestamp == unitstest.ChainStart+7000 {
			compute(t, u, p, 3)
			cancel()
		}
		return nil
	}
	w.machine.lock.Unlock()
	if _, err := u.Cron(ctx, p, units.CronCursor{}, 1000); !errors.Is(err, &ao.Refusal{Code: ao.Deadline}) {
		t.Errorf("cut off with %v, want a deadline", err)
	}
	before := w.machine.ticked.Load()
	if n := len(told(t, u, p)); n != 6+15 { // the seconds 5 to 14, every other one twice
		t.Errorf("%d ticks, want 21", n)
	}
	if n := w.machine.ticked.Load() - before; n >= 15 {
		t.Errorf("%d ticks were evaluated by the second caller: nothing was kept of the first's", n)
	}
}

// TestStopBetweenTicks: a unit that stops in the middle of a gap has done none of it.
func TestStopBetweenTicks(t *testing.T) {
	w := newWorld(t)
	c := w.ticking(t, "p")
	w.directory.put(c.Entries())
	p := c.Process()
	ctx, stop := context.WithCancel(context.Background())
	u, err := cu.New(w.config())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- u.Run(ctx) }()
	w.machine.lock.Lock()
	w.machine.ticking = func(m ao.CronMessage) error {
		if m.Timestamp == unitstest.ChainStart+3000 {
			stop()
		}
		return nil
	}
	w.machine.lock.Unlock()
	_, err = u.Compute(unitstest.Context(t), p, 3)
	unitstest.WantRefusal(t, err, ao.Busy)
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if n := w.machine.ticked.Load(); n != 4 {
		t.Errorf("%d ticks were evaluated, want it to stop after 4", n)
	}
	clock := &clock{}
	clock.ms.Store(4503)
	again := w.run(t, clock.is)
	if a := compute(t, again, p, 3); string(a.Result.Output) != `"10 after message"` {
		t.Errorf("the last slot came to %s", a.Result.Output)
	}
	wantTold(t, again, p, inLog()...)
}

// TestTicksAreBounded: a process whose slots are a year apart rests after so many ticks, so much fuel or so many bytes.
func TestTicksAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		fuel uint64
		size int
		want int
	}{
		"ticks": {0, 0, 100_000},
		"fuel":  {300_000_000_000, 0, 4},
		"bytes": {0, 20 << 20, 4},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want > 1000 && testing.Short() {
				t.Skip("a hundred thousand ticks")
			}
			w := newWorld(t)
			w.machine.fuel, w.machine.size = c.fuel, c.size
			log := unitstest.NewChain(t, w.scheduler, w.spawnTicking(t, name, ao.Tag{Name: "Cron-Interval", Value: "1-second"}))
			log.Wait(365 * 24 * time.Hour)
			w.add(t, log, "a year later")
			w.directory.put(log.Entries())
			p := log.Process()
			u := w.run(t, w.settling, func(c *cu.Config) { c.Now = func() time.Time { return time.UnixMilli(unitstest.ChainStart) } })
			if a, want := compute(t, u, p, 1), fmt.Sprintf(`"%d after a year later"`, c.want+2); string(a.Result.Output) != want {
				t.Errorf("the slot came to %s, want %s", a.Result.Output, want)
			}
			last := units.CronCursor{Tick: ao.Tick{Timestamp: unitstest.ChainStart + int64(c.want-1)*1000}}
			page, err := u.Cron(unitstest.Context(t), p, last, 1000)
			if err != nil || len(page) != 1 || page[0].Cursor.Timestamp != last.Timestamp+1000 {
				t.Errorf("after the last but one %d ticks, %v", len(page), err)
			}
		})
	}
}

// TestTicksAheadAreBounded: the same ticks that a later slot would find.
func TestTicksAheadAreBounded(t *testing.T) {
	w := newWorld(t)
	w.machine.fuel = 300_000_000_000
	log := unitstest.NewChain(t, w.scheduler, w.spawnTicking(t, "p", ao.Tag{Name: "Cron-Interval", Value: "1-second"}))
	w.directory.put(log.Entries())
	clock := &clock{}
	clock.ms.Store(1 << 40)
	u := w.run(t, clock.is)
	if n := len(told(t, u, log.Process())); n != 4 {
		t.Errorf("%d ticks, want 4", n)
	}
	log.Wait(time.Hour)
	w.add(t, log, "later")
	w.directory.put(log.Entries())
	clock.ms.Store(3600 * 1000)
	if n := len(told(t, u, log.Process())); n != 4 {
		t.Errorf("%d ticks after the slot, want 4", n)
	}
}

// TestTicksOfNonsense: tags that make no sense imply nothing, and whoever asks is told so.
func TestTicksOfNonsense(t *testing.T) {
	w := newWorld(t)
	u := w.run(t)
	for value, code := range map[string]ao.Code{"0-blocks": ao.BadTags, "soon": ao.BadTags} {
		c := unitstest.MakeTicking(t, w.scheduler, w.spawnTicking(t, value,
			ao.Tag{Name: "Cron-Interval", Value: "1-second"}, ao.Tag{Name: "Cron-Interval", Value: value}))
		w.directory.put(c.Entries())
		_, err := u.Cron(unitstest.Context(t), c.Process(), units.CronCursor{}, 10)
		unitstest.WantRefusal(t, err, code)
		if a := compute(t, u, c.Process(), 3); string(a.Result.Output) != `"4 after message"` {
			t.Errorf("the last slot came to %s", a.Result.Output)
		}
	}
}

// TestFailingTick: a tick that fails changes nothing and is told like any other.
func TestFailingTick(t *testing.T) {
	w := newWorld(t)
	c := unitstest.MakeTicking(t, w.scheduler, w.spawnTicking(t, "p",
		ao.Tag{Name: "Cron-Interval", Value: "2-seconds"}, ao.Tag{Name: "Cron-Tag-Action", Value: "Fail"}))
	w.directory.put(c.Entries())
	clock := &clock{}
	u := w.run(t, clock.is)
	wantTold(t, u, c.Process(), `0:"asked to fail"`, `2:"asked to fail"`)
	if a := compute(t, u, c.Process(), 3); string(a.Result.Output) != `"4 after message"` {
		t.Errorf("the last slot came to %s", a.Result.Output)
	}
}

// TestEveryWriteOfTicksFails: wherever a unit stops, what it told of ticks stands, and the slots come out the same.
func TestEveryWriteOfTicksFails(t *testing.T) {
	base := newWorld(t)
	c := base.ticking(t, "p")
	p := c.Process()
	base.directory.put(c.Entries())
	for n := 1; ; n++ {
		reached := false
		for _, written := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%t", n, written), func(t *testing.T) {
				w := *base
				w.store = store.NewMemory()
				defer w.store.Close()
				disk := &failing{Store: w.store, left: n, written: written}
				all := c.Entries()
				clock := &clock{}
				u := w.run(t, clock.is, func(c *cu.Config) { c.Store, c.CheckpointEvery, c.PageSize = disk, 1, 1 })
				var last []units.CronResult
				for i, ms := range []int64{0, 1000, 2400, 2502, 3000, 4503, 7000} {
					slots := []int{1, 1, 1, 3, 3, 4, 4}[i]
					w.directory.put(all[:slots])
					clock.ms.Store(ms)
					page, err := u.Cron(unitstest.Context(t), p, units.CronCursor{}, 1000)
					if err != nil {
						unitstest.WantRefusal(t, err, ao.StoreTrouble)
						continue
					}
					last = page
				}
				reached = reached || disk.isDown()
				u.stop()
				clock.ms.Store(7000)
				u = w.run(t, clock.is)
				wantTold(t, u, p, append(inLog(), `3:"11 at 5000"`, `3:"12 at 6000"`, `3:"13 at 6000"`, `3:"14 at 7000"`)...)
				page, err := u.Cron(unitstest.Context(t), p, units.CronCursor{}, 1000)
				for i, r := range last {
					if err != nil || page[i].Cursor != r.Cursor || string(page[i].Result.Output) != string(r.Result.Output) {
						t.Errorf("tick %d is %+v, %v, before it was %+v", i, page[i], err, r)
					}
				}
				u.stop()
			})
		}
		if !reached {
			if n < 10 {
				t.Errorf("only %d writes were failed", n-1)
			}
			return
		}
	}
}
