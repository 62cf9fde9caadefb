package remote

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestRemoteScheduler(t *testing.T) {
	server, client := pair(t)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	ServeScheduler(server, s)
	ServeLog(server, s)
	unitstest.TestScheduler(t, func(*testing.T) unitstest.SchedulerFixture {
		return unitstest.SchedulerFixture{
			Scheduler: Scheduler(client, server.ID()), Log: Log(client, server.ID()), Address: s.Address(), Bury: s.Bury,
		}
	})
}

func TestRemoteLog(t *testing.T) {
	server, client := pair(t)
	unitstest.TestLog(t, func(t *testing.T) unitstest.LogFixture {
		s := unitstest.NewMemory(unitstest.Signer("unit"))
		c := unitstest.MakeChain(t, "log", 12)
		s.Load(c)
		ServeLog(server, s)
		return unitstest.LogFixture{Log: Log(client, server.ID()), Entries: c.Entries(), Append: func(t *testing.T) ao.Entry {
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

func TestArchiveIsALog(t *testing.T) {
	unitstest.TestLog(t, func(t *testing.T) unitstest.LogFixture {
		c := unitstest.MakeChain(t, "log", 25)
		_, log := archived(t, c)
		return unitstest.LogFixture{Log: log, Entries: c.Entries()}
	})
}

func TestRemoteComputer(t *testing.T) {
	server, client := pair(t)
	unitstest.TestComputer(t, func(t *testing.T) unitstest.ComputerFixture {
		s, unit := unitstest.NewMemory(unitstest.Signer("unit")), unitstest.Signer("computer")
		c := unitstest.MakeChain(t, "log", 5)
		s.Load(c)
		ServeComputer(server, unitstest.NewEcho(network, unit, s))
		return unitstest.ComputerFixture{
			Computer: Computer(client, network, server.ID()), Network: network, Process: c.Process(), Slots: 5,
			Entries: c.Entries(), Unit: unitstest.Address(unit), Query: ao.Query{Data: []byte("echo")}, Ticking: ticking(t, s),
		}
	})
}

func TestRemoteMessenger(t *testing.T) {
	server, client := pair(t)
	unitstest.TestMessenger(t, func(t *testing.T) unitstest.MessengerFixture {
		s := unitstest.NewMemory(unitstest.Signer("unit"))
		p := unitstest.Spawn(t, unitstest.Signer("owner"), s.Address(), t.Name())
		if _, err := s.Schedule(t.Context(), p.ID(), p); err != nil {
			t.Fatal(err)
		}
		c := unitstest.NewCourier(s, unitstest.NewEcho("network", unitstest.Signer("computer"), s))
		ServeMessenger(server, c)
		return unitstest.MessengerFixture{
			Messenger: Messenger(client, server.ID()), Log: s, Process: p.ID(), Ticking: ticking(t, s),
			Message: func(t *testing.T, name string) ao.Message {
				return unitstest.Message(t, unitstest.Signer("user"), p.ID(), name)
			},
			Elsewhere: inAnotherLog(s),
			Stall:     func(*testing.T) func() { return c.Stall() },
		}
	})
}

func TestDoorsNameTheirPeer(t *testing.T) {
	server, client := pair(t)
	for name, door := range map[string]any{
		"scheduler": Scheduler(client, server.ID()), "log": Log(client, server.ID()),
		"computer": Computer(client, network, server.ID()), "messenger": Messenger(client, server.ID()),
	} {
		if units.PeerOf(door) != server.ID().String() {
			t.Errorf("the %s says that it is %q", name, units.PeerOf(door))
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	server, client := pair(b)
	s := unitstest.NewMemory(unitstest.Signer("unit"))
	ServeScheduler(server, s)
	p := unitstest.Spawn(b, unitstest.Signer("owner"), s.Address(), b.Name())
	door := Scheduler(client, server.ID())
	if _, err := door.Schedule(b.Context(), p.ID(), p); err != nil {
		b.Fatal(err)
	}
	m := unitstest.Message(b, unitstest.Signer("user"), p.ID(), "the same each time")
	for b.Loop() {
		if _, err := door.Schedule(b.Context(), p.ID(), m); err != nil {
			b.Fatal(err)
		}
	}
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
