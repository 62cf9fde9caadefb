package unitstest_test

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

var (
	_ units.Scheduler = (*unitstest.Memory)(nil)
	_ units.Log       = (*unitstest.Memory)(nil)
	_ units.Computer  = (*unitstest.Echo)(nil)
	_ units.Messenger = (*unitstest.Courier)(nil)
)

func TestMemoryIsAScheduler(t *testing.T) {
	unitstest.TestScheduler(t, func(*testing.T) unitstest.SchedulerFixture {
		s := unitstest.NewMemory(unitstest.Signer("unit"))
		return unitstest.SchedulerFixture{Scheduler: s, Log: s, Address: s.Address(), Bury: s.Bury}
	})
}

func TestMemoryIsALog(t *testing.T) {
	unitstest.TestLog(t, func(t *testing.T) unitstest.LogFixture {
		s := unitstest.NewMemory(unitstest.Signer("unit"))
		c := unitstest.MakeChain(t, "log", 12)
		s.Load(c)
		return unitstest.LogFixture{Log: s, Entries: c.Entries(), Append: func(t *testing.T) ao.Entry {
			n, err := s.Next(t.Context(), c.Process())
			if err != nil {
				t.Fatal(err)
			}
			m := unitstest.Message(t, unitstest.Signer("user"), c.Process(), n.String())
			a, err := s.Schedule(t.Context(), c.Process(), m)
			if err != nil {
				t.Fatal(err)
			}
			return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}
		}}
	})
}

func TestChainIsTheSameOnEveryRun(t *testing.T) {
	a, b := unitstest.MakeChain(t, "seed", 5).Entries(), unitstest.MakeChain(t, "seed", 5).Entries()
	for i := range a {
		if a[i].Assignment.ID() != b[i].Assignment.ID() || a[i].Message.ID() != b[i].Message.ID() {
			t.Errorf("entry %d differs", i)
		}
	}
	unitstest.CheckLog(t, a[0].Assignment.Process(), unitstest.Address(unitstest.Signer("seed/scheduler")), a)
}

func TestEchoIsAComputer(t *testing.T) {
	unitstest.TestComputer(t, func(t *testing.T) unitstest.ComputerFixture {
		s, unit := unitstest.NewMemory(unitstest.Signer("unit")), unitstest.Signer("computer")
		c := unitstest.MakeChain(t, "log", 5)
		s.Load(c)
		ticking := ticking(t, s)
		return unitstest.ComputerFixture{
			Ticking:  ticking,
			Computer: unitstest.NewEcho("network", unit, s),
			Network:  "network",
			Process:  c.Process(),
			Slots:    5,
			Entries:  c.Entries(),
			Unit:     unitstest.Address(unit),
			Query:    ao.Query{Data: []byte("echo")},
		}
	})
}

func TestCourierIsAMessenger(t *testing.T) {
	unitstest.TestMessenger(t, func(t *testing.T) unitstest.MessengerFixture {
		s := unitstest.NewMemory(unitstest.Signer("unit"))
		p := unitstest.Spawn(t, unitstest.Signer("owner"), s.Address(), t.Name())
		if _, err := s.Schedule(t.Context(), p.ID(), p); err != nil {
			t.Fatal(err)
		}
		c := unitstest.NewCourier(s, unitstest.NewEcho("network", unitstest.Signer("computer"), s))
		return unitstest.MessengerFixture{
			Ticking:   ticking(t, s),
			Messenger: c,
			Log:       s,
			Process:   p.ID(),
			Message: func(t *testing.T, name string) ao.Message {
				return unitstest.Message(t, unitstest.Signer("user"), p.ID(), name)
			},
			Elsewhere: inAnotherLog(s),
			Stall:     func(*testing.T) func() { return c.Stall() },
		}
	})
}

// ticking puts the log of a process that ticks into a scheduler.
func ticking(t *testing.T, s *unitstest.Memory) ao.ID {
	t.Helper()
	spawn := unitstest.Spawn(t, unitstest.Signer("owner"), s.Address(), "ticking", unitstest.TickingTags()...)
	c := unitstest.MakeTicking(t, unitstest.Signer("unit"), spawn)
	s.Load(c)
	return c.Process()
}

// inAnotherLog makes messages that another log of a scheduler holds.
func inAnotherLog(s *unitstest.Memory) func(*testing.T, string) ao.Message {
	return func(t *testing.T, name string) ao.Message {
		p := unitstest.Spawn(t, unitstest.Signer("owner"), s.Address(), t.Name()+" elsewhere")
		m := unitstest.Message(t, unitstest.Signer("user"), p.ID(), name)
		for _, m := range []ao.Message{p, m} {
			if _, err := s.Schedule(t.Context(), p.ID(), m); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
}
