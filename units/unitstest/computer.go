package unitstest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// ComputerFixture is a computer and a process whose log it can read.
type ComputerFixture struct {
	Computer units.Computer
	Network  string     // the network's ID, which claims name
	Process  ao.ID      // evaluates without a contradiction
	Slots    ao.Slot    // how many slots its log has, at least 3; it does not grow
	Entries  []ao.Entry // the log itself, if known: claims are held against it
	Unit     string     // the address that signs the claims, if known
	Query    ao.Query   // a dry-run that the process answers without an Error
	Ticking  ao.ID      // a process whose log is that of MakeTicking, at whose head the clock stands; zero if there is none
}

// TestComputer holds a computer to its contract. Every call of newFixture returns a fixture whose process nobody has
// evaluated, or the same one again: the tests mind neither.
func TestComputer(t *testing.T, newFixture func(t *testing.T) ComputerFixture) {
	for _, c := range []struct {
		name string
		test func(*testing.T, ComputerFixture)
	}{
		{"every slot has an answer", testCompute},
		{"asking again gives the same claim", testComputeAgain},
		{"asking at once gives the same claim", testComputeTogether},
		{"slots are answered in any order", testComputeBackwards},
		{"a slot that is not there yet is refused", testComputeNotYet},
		{"an unknown process is refused", testComputeUnknown},
		{"the state follows the slots", testState},
		{"a dry-run leaves no trace", testDryRun},
		{"an ended context is refused", testComputeEnded},
		{"ticks are told in order", testCron},
		{"what never ticks has no ticks", testCronNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			if strings.Contains(c.name, "ticks") && f.Ticking.IsZero() {
				t.Skip("this fixture does not tick")
			}
			if f.Slots < 3 || (f.Entries != nil && ao.Slot(len(f.Entries)) != f.Slots) {
				t.Fatalf("the fixture has %d slots and %d entries, want at least 3 and as many", f.Slots, len(f.Entries))
			}
			c.test(t, f)
		})
	}
}

// compute asks for a slot and checks the answer as far as a stranger can.
func (f ComputerFixture) compute(t *testing.T, slot ao.Slot) units.Answer {
	t.Helper()
	a, err := f.Computer.Compute(Context(t), f.Process, slot)
	if err != nil {
		t.Fatalf("compute slot %d: %v", slot, err)
	}
	f.check(t, a, slot)
	return a
}

func (f ComputerFixture) check(t *testing.T, a units.Answer, slot ao.Slot) {
	t.Helper()
	if err := a.Check(f.Network, f.Process, slot); err != nil {
		t.Fatalf("answer for slot %d: %v", slot, err)
	}
	if f.Unit != "" && a.Claim.Unit() != f.Unit {
		t.Errorf("the claim for slot %d is signed by %s, not by %s", slot, a.Claim.Unit(), f.Unit)
	}
	c := a.Claim.Claim()
	if c.Profile == "" {
		t.Errorf("the claim for slot %d names no execution profile", slot)
	}
	if f.Entries == nil {
		return
	}
	if e := f.Entries[slot]; c.Message != e.Message.ID() || c.Head != e.Assignment.Link() {
		t.Errorf("the claim for slot %d is about another message or head", slot)
	}
}

func testCompute(t *testing.T, f ComputerFixture) {
	for slot := range f.Slots {
		f.compute(t, slot)
	}
}

func testComputeAgain(t *testing.T, f ComputerFixture) {
	last := f.Slots - 1
	a, b := f.compute(t, last), f.compute(t, last)
	if string(a.Claim.Raw()) != string(b.Claim.Raw()) {
		t.Errorf("two claims for slot %d: %s and %s", last, a.Claim.Item().ID(), b.Claim.Item().ID())
	}
}

func testComputeTogether(t *testing.T, f ComputerFixture) {
	last := f.Slots - 1
	answers := make([]units.Answer, 8)
	together(t, len(answers), func(ctx context.Context, i int) (err error) {
		answers[i], err = f.Computer.Compute(ctx, f.Process, last-ao.Slot(i%2))
		return err
	})
	for i, a := range answers {
		f.check(t, a, last-ao.Slot(i%2))
		if string(a.Claim.Raw()) != string(answers[i%2].Claim.Raw()) {
			t.Errorf("callers got different claims for slot %d", a.Slot)
		}
	}
}

func testComputeBackwards(t *testing.T, f ComputerFixture) {
	for slot := f.Slots; slot > 0; slot-- {
		f.compute(t, slot-1)
	}
}

func testComputeNotYet(t *testing.T, f ComputerFixture) {
	for _, slot := range []ao.Slot{f.Slots, 1<<64 - 1} {
		_, err := f.Computer.Compute(Context(t), f.Process, slot)
		WantRefusal(t, err, ao.NotYet)
	}
}

func testComputeUnknown(t *testing.T, f ComputerFixture) {
	p := ID("no such process")
	_, err := f.Computer.Compute(Context(t), p, 0)
	WantRefusal(t, err, ao.UnknownProcess)
	_, err = f.Computer.State(Context(t), p)
	WantRefusal(t, err, ao.UnknownProcess)
	_, err = f.Computer.DryRun(Context(t), p, f.Query)
	WantRefusal(t, err, ao.UnknownProcess)
}

func (f ComputerFixture) state(t *testing.T) units.StateInfo {
	t.Helper()
	s, err := f.Computer.State(Context(t), f.Process)
	if err != nil {
		t.Fatalf("state: %v", err)
	}
	return s
}

func testState(t *testing.T, f ComputerFixture) {
	last := f.Slots - 1
	a := f.compute(t, last)
	s := f.state(t)
	if s.Slot != last {
		t.Errorf("the state is that of slot %d, want %d", s.Slot, last)
	}
	if s.Root == [32]byte{} {
		t.Errorf("the state has no root")
	}
	if claimed := a.Claim.Claim().State; claimed != nil && *claimed != s.Root {
		t.Errorf("the state's root is %x, the claim says %x", s.Root, *claimed)
	}
	if again := f.state(t); again != s {
		t.Errorf("the state is %+v, before it was %+v", again, s)
	}
}

func testDryRun(t *testing.T, f ComputerFixture) {
	claim := f.compute(t, f.Slots-1).Claim.Raw()
	before := f.state(t)
	var outputs [2]string
	for i := range outputs {
		r, err := f.Computer.DryRun(Context(t), f.Process, f.Query)
		if err != nil {
			t.Fatalf("dry-run: %v", err)
		}
		if r.Error != nil {
			t.Fatalf("the dry-run failed: %s", r.Error)
		}
		outputs[i] = string(r.Output)
	}
	if outputs[0] != outputs[1] {
		t.Errorf("two dry-runs gave %s and %s", outputs[0], outputs[1])
	}
	if after := f.state(t); after != before {
		t.Errorf("the state is %+v, before the dry-run it was %+v", after, before)
	}
	if string(f.compute(t, f.Slots-1).Claim.Raw()) != string(claim) {
		t.Errorf("the claim is another after the dry-run")
	}
}

func testComputeEnded(t *testing.T, f ComputerFixture) {
	_, err := f.Computer.Compute(cancelled(t), f.Process, f.Slots-1)
	if err == nil {
		t.Log("answered although the context had ended")
	} else if !errors.Is(err, &ao.Refusal{Code: ao.Busy}) {
		ended(t, err)
	}
	f.compute(t, f.Slots-1) // and the computer is none the worse
}

// ticks is all ticks of a process, page by page.
func (f ComputerFixture) ticks(t *testing.T, limit int) (all []units.CronResult) {
	t.Helper()
	var from units.CronCursor
	for {
		page, err := f.Computer.Cron(Context(t), f.Ticking, from, limit)
		if err != nil {
			t.Fatalf("ticks after %+v: %v", from, err)
		}
		if len(page) > limit {
			t.Fatalf("%d ticks, at most %d were asked for", len(page), limit)
		}
		if len(page) == 0 {
			return all
		}
		for _, r := range page {
			if r.Cursor.Compare(from.Tick) <= 0 {
				t.Fatalf("%+v does not follow %+v", r.Cursor, from)
			}
			from = r.Cursor
		}
		all = append(all, page...)
	}
}

func testCron(t *testing.T, f ComputerFixture) {
	all := f.ticks(t, units.MaxCronPage)
	if len(all) != Ticks {
		t.Fatalf("%d ticks, want %d", len(all), Ticks)
	}
	for i, want := range []units.CronCursor{
		{Tick: ao.Tick{Timestamp: ChainStart + 1000}},
		{Tick: ao.Tick{Timestamp: ChainStart + 2000}},
		{Tick: ao.Tick{Timestamp: ChainStart + 2000, Interval: 1}},
		{Tick: ao.Tick{Timestamp: ChainStart + 3000}, Slot: 2},
		{Tick: ao.Tick{Timestamp: ChainStart + 4000}, Slot: 2},
		{Tick: ao.Tick{Timestamp: ChainStart + 4000, Interval: 1}, Slot: 2},
	} {
		r := all[i]
		every := []string{"1-second", "2-seconds"}[want.Interval]
		if r.Cursor != want || r.Every != every || r.Height != ChainHeight || r.Result.Error != nil {
			t.Errorf("tick %d is %+v, want %+v of %s", i, r, want, every)
		}
	}
	for _, limit := range []int{1, 4} {
		paged := f.ticks(t, limit)
		if len(paged) != len(all) {
			t.Fatalf("%d ticks in pages of %d, want %d", len(paged), limit, len(all))
		}
		for i, r := range paged {
			if r.Cursor != all[i].Cursor || string(r.Result.Encode()) != string(all[i].Result.Encode()) {
				t.Errorf("tick %d is %+v in pages of %d, before it was %+v", i, r, limit, all[i])
			}
		}
	}
}

func testCronNone(t *testing.T, f ComputerFixture) {
	page, err := f.Computer.Cron(Context(t), f.Process, units.CronCursor{}, 10)
	if err != nil || len(page) != 0 {
		t.Errorf("%d ticks of a process that never ticks, %v", len(page), err)
	}
	_, err = f.Computer.Cron(Context(t), ID("no such process"), units.CronCursor{}, 10)
	WantRefusal(t, err, ao.UnknownProcess)
}
