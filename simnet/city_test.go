package simnet

import (
	"testing"
	"time"
)

// knows says whether a peer's roster holds so many units.
func knows(units int) func(*Peer) bool {
	return func(p *Peer) bool { return len(p.in.Mesh.Roster.With("")) == units }
}

// sees says whether a peer is connected to another.
func sees(p, other *Peer) bool {
	for _, n := range p.in.P2P.Peers() {
		if n.ID == other.id {
			return true
		}
	}
	return false
}

// TestCityFindsItself: twenty peers that were told of one another's doorsteps at most come to know every unit; a newcomer
// within two seconds; and what happened on the other side of a partition is known soon after its end.
func TestCityFindsItself(t *testing.T) {
	Run(t, 1, func(c *City) {
		t := c.T
		for _, name := range []string{"su1", "su2", "cu1", "cu2", "mu1", "mu2"} {
			c.Peer(name).Does(name[:2]).Start()
		}
		guests := 14
		if testing.Short() {
			guests = 4
		}
		c.Peers("guest", guests)
		took := c.Await("everybody knows six units", time.Minute, func() bool { return c.All(knows(6)) })
		t.Logf("all peers know 6 units after %v", took)

		late := c.Peer("late").Start()
		took = c.Await("the newcomer knows six units", 5*time.Second, func() bool { return knows(6)(late) })
		t.Logf("a newcomer knows them after %v", took)
		if took > 2*time.Second {
			t.Errorf("a newcomer knows the mesh after %v only", took)
		}

		here, there := c.Named("su", "cu1", "mu1", "guest1"), c.Named("cu2", "mu2", "late", "guest2")
		c.Part(here, there)
		c.Pass(time.Minute)
		for _, p := range here {
			for _, o := range there {
				if sees(p, o) {
					t.Errorf("%s still sees %s after a minute of partition", p.name, o.name)
				}
			}
		}
		fresh := c.Peer("cu3").Does("cu").Through(here...).Start()
		c.Part(append(here, fresh), there)
		c.Await("its side knows the new unit", 10*time.Second, func() bool { return knows(7)(here[0]) })
		if knows(7)(there[0]) {
			t.Error("word of a unit has crossed a partition")
		}
		c.Heal()
		took = c.Await("both sides know seven units", time.Minute, func() bool { return c.All(knows(7)) })
		t.Logf("both sides know of the other's new unit %v after the partition", took)
	})
}

// TestWhoLeavesIsForgotten: the announcement of a unit that has left runs out after five minutes, at every peer.
func TestWhoLeavesIsForgotten(t *testing.T) {
	Run(t, 2, func(c *City) {
		t := c.T
		gone := c.Peer("cu").Does("cu").Start()
		c.Peer("su").Does("su").Start()
		c.Peers("guest", 2)
		c.Await("all know two units", time.Minute, func() bool { return c.All(knows(2)) })
		gone.Stop()
		took := c.Await("everybody has forgotten who left", 10*time.Minute, func() bool { return c.All(knows(1)) })
		t.Logf("who left is forgotten after %v", took)
		if took < 4*time.Minute || took > 6*time.Minute {
			t.Errorf("who left is forgotten after %v, and had announced itself for five minutes", took)
		}
	})
}
