package simnet

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

// TestComputerBehindNAT: a computer to which nobody can connect finds that out, is reached through a peer that carries for
// it, and serves a guest that has never met it.
func TestComputerBehindNAT(t *testing.T) {
	Run(t, 3, func(c *City) {
		t := c.T
		su, mu := c.Peer("su").Does("su").Start(), c.Peer("mu").Does("mu").Start()
		c.Peers("guest", 6)
		cu := c.Peer("cu").Does("cu").BehindNAT().Start()
		relayed := func(p *Peer) bool {
			for _, a := range p.in.P2P.Addrs() {
				if strings.Contains(a, "/p2p-circuit/") {
					return true
				}
			}
			return false
		}
		took := c.Await("the computer has a relay", 3*time.Minute, func() bool { return relayed(cu) })
		t.Logf("a computer behind a NAT has a relay after %v", took)
		for _, p := range c.Running() {
			if p != cu && relayed(p) {
				t.Errorf("%s, which can be dialled, wants to be relayed", p.name)
			}
		}
		late := c.Peer("late").Through(su).Start()
		c.Await("the newcomer knows the computer", time.Minute, func() bool { return knows(3)(late) })
		if sees(late, cu) {
			t.Fatal("the newcomer has met the computer already")
		}
		process := c.Spawn(late, mu, su, "actor")
		if _, err := c.Send(late, mu, process, "hello"); err != nil {
			t.Fatal(err)
		}
		begin := c.Time()
		a, err := c.Compute(late, cu, process, 1)
		if err != nil || string(a.Result.Output) != `"2 hello"` {
			t.Fatalf("the computer behind the NAT answers %s, %v", a.Result.Output, err)
		}
		t.Logf("its first answer took %v", c.Time()-begin)
		for _, n := range late.in.P2P.Peers() {
			if n.ID == cu.id && !strings.Contains(strings.Join(n.Addrs, " "), "/p2p-circuit") {
				t.Errorf("it was reached at %v, through nobody", n.Addrs)
			}
		}
	})
}

// TestComputerBehindNATSells: a computer that can be reached through a relay alone offers that address, is the cheapest, and
// is chosen and paid by a messenger.
func TestComputerBehindNATSells(t *testing.T) {
	Run(t, 8, func(c *City) {
		t := c.T
		c.Sparse()
		su := c.Peer("su").Does("su").Start()
		price := func(p uint64) func(*node.Config) { return func(cfg *node.Config) { cfg.Market.CUBase = p } }
		c.Peer("dear").Does("cu").With(price(100_000)).Start()
		mu := c.Peer("mu").Does("mu").With(func(cfg *node.Config) { cfg.Market.Strategy = "cheapest" }).Start()
		carrier := c.Peer("guest").With(func(cfg *node.Config) { cfg.P2P.Reachable = "public" }).Start()
		cu := c.Peer("cu").Does("cu").With(price(100)).With(func(cfg *node.Config) { cfg.P2P.Reachable = "private" }).
			Through(carrier).BehindNAT().Start()
		c.Await("the computer has a relay", time.Minute, func() bool {
			return strings.Contains(strings.Join(cu.in.P2P.Addrs(), " "), "/p2p-circuit")
		})
		took := c.Await("the messenger knows the computer's relay", 5*time.Minute, func() bool {
			o, ok := mu.in.Market.Offer(self(cu), market.Computer)
			return ok && strings.Contains(strings.Join(o.Terms().Addrs, " "), "/p2p-circuit") // whoever carries for it
		})
		t.Logf("the offer of a computer behind a NAT is known to all with its relay after %v", took)
		process := c.Spawn(carrier, mu, su, "actor")
		id, err := c.Send(carrier, mu, process, "hello")
		if err != nil {
			t.Fatal(err)
		}
		sold := false
		for _, h := range c.Hops(carrier, mu, id) {
			if h.Word == "compute" {
				sold = h.Peer == cu.id.String()
				t.Logf("%s was chosen: price %s, %s", h.Peer, h.Price, h.Why)
			}
		}
		sum := cu.in.Market.Tabs(remote.Sold)[self(mu)]
		if !sold || sum.Served == 0 || sum.Owed.String() != strconv.FormatUint(100*sum.Served, 10) {
			t.Errorf("sold: %t, and owed %+v", sold, sum)
		}
	})
}

// TestRelaysAreBounded: a relay carries no more than its owner allows, and nothing where relays are off.
func TestRelaysAreBounded(t *testing.T) {
	Run(t, 4, func(c *City) {
		t := c.T
		c.Sparse() // whom the computer meets without a relay does not need one
		// The only relay, of 64 KiB a connection.
		su := c.Peer("su").Does("su").With(func(cfg *node.Config) {
			cfg.P2P.Reachable, cfg.Limits.RelayBytes = "public", 64<<10
		}).Start()
		off := func(cfg *node.Config) { cfg.P2P.Relay = "off" }
		private := func(cfg *node.Config) { cfg.P2P.Reachable = "private" }
		cu := c.Peer("cu").Does("cu").With(private).BehindNAT().Start()
		c.Await("the computer has a relay", time.Minute, func() bool {
			return strings.Contains(strings.Join(cu.in.P2P.Addrs(), " "), su.id.String()+"/p2p-circuit")
		})
		mu := c.Peer("mu").Does("mu").With(off).Through(su).Start()
		guest := c.Peer("guest").Through(su).BehindNAT().Start() // the computer would connect to one that can be dialled
		deaf := c.Peer("deaf").With(off).Through(su).Start()
		c.Await("all know three units", time.Minute, func() bool { return c.All(knows(3)) })
		process := c.Spawn(guest, mu, su, "actor")
		for _, data := range []string{"short", strings.Repeat("long", 32<<10)} {
			if _, err := c.Send(guest, mu, process, data); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Compute(guest, cu, process, 1); err != nil {
			t.Errorf("a short answer: %v", err)
		}
		if a, err := c.Compute(guest, cu, process, 2); err == nil {
			t.Errorf("an answer of %d KiB came through a relay of 64", len(a.Result.Output)>>10)
		}
		if _, err := c.Compute(deaf, cu, process, 1); err == nil {
			t.Error("a peer without relays has reached one behind a NAT")
		}
	})
}
