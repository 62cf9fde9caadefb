package simnet

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/remote"
)

// keyOf is the name on the market of whoever signs so.
func keyOf(s ans104.Signer) market.Peer { return market.PeerOf(s.Owner()) }

// isHonest says whether a unit is one of the fair's computers.
func (f *fair) isHonest(id string) bool {
	return slices.ContainsFunc(f.computers, func(p *Peer) bool { return p.id.String() == id })
}

// pushes sends a message and says how long the push took until it was done, and who computed. It must come to its end.
func (f *fair) pushes(t *testing.T, at *Peer, process ao.ID, data string) (took time.Duration, computer string) {
	t.Helper()
	begin := f.Time()
	id, err := f.Send(at, f.mu, process, data)
	if err != nil {
		t.Fatal(err)
	}
	done := false
	for _, h := range f.Hops(at, f.mu, id) {
		if h.Word == "compute" {
			computer = h.Peer
		}
		done = done || h.Word == "done"
	}
	if !done {
		t.Errorf("the push of %q has not come to its end", data)
	}
	return f.Time() - begin, computer
}

// TestForgersGainNothing: offers that are forged, of another network, out of date or out of the future enter no book; and of
// a swarm of keys in one block of addresses no more than the book allows it, beside which all honest offers stay. Messages
// are pushed all the while.
func TestForgersGainNothing(t *testing.T) {
	swarm := 300
	if *hosts > 0 {
		swarm = 10_000
	}
	Run(t, 6, func(c *City) {
		t := c.T
		c.Sparse()
		f := newFair(c, 12)
		c.Await("every peer knows every computer's offer", time.Minute, func() bool { return c.All(knowsOffers(len(f.computers))) })
		guest := c.Named("guest")[0]
		process := f.Spawn(guest, f.mu, f.su, "actor")

		var topic *p2p.Topic
		forger := c.Stranger(func(s *Stranger) { topic = s.joins(market.Computer) })
		c.Await("the forger has met somebody", time.Minute, func() bool { return len(topic.Peers()) > 0 })
		say := func(raw []byte) {
			if err := topic.Publish(context.Background(), raw); err != nil {
				t.Error(err)
			}
		}
		good := forger.offer(forger.Signer, forger.addr, 1)
		bad := slices.Clone(good)
		bad[10]++ // of the signature
		now := time.Now().UnixMilli()
		say(bad)
		say([]byte("no offer at all"))
		say(forger.signs(func(t *market.Terms) { t.Network = "elsewhere" }))
		say(forger.signs(func(t *market.Terms) { t.Sequence, t.Expires = now-market.MaxOfferLife, now-1 }))
		say(forger.signs(func(t *market.Terms) {
			t.Sequence = now + market.MaxAhead + 60_000
			t.Expires = t.Sequence + 1000
		}))
		c.Pass(5 * time.Second)
		for _, p := range c.Running() {
			if _, ok := p.in.Market.Offer(keyOf(forger.Signer), market.Computer); ok {
				t.Errorf("%s believes a forger", p.name)
			}
		}
		refused := map[market.Reason]uint64{}
		for _, p := range c.Running() {
			for why, n := range p.in.Market.Status().Refused {
				refused[why] += n
			}
		}
		t.Logf("refused: %v", refused)
		for _, why := range []market.Reason{market.BadShape, market.BadSignature, market.OtherNetwork, market.Expired, market.FromFuture} {
			if refused[why] == 0 {
				t.Errorf("nobody refused %s", why)
			}
		}

		crowd := c.Stranger(func(s *Stranger) { topic = s.joins(market.Computer) })
		c.Await("the swarm has met somebody", time.Minute, func() bool { return len(topic.Peers()) > 0 })
		for i := range swarm {
			if say(crowd.offer(newSigner(t), "/ip4/45.1.2."+strconv.Itoa(i%250)+"/tcp/1", 1)); i%50 == 49 {
				c.Pass(time.Second)
			}
		}
		c.Pass(10 * time.Second)
		most, allowed := 0, market.DefaultConfig(nameOfNetwork, 1).PerBlock
		for _, p := range c.Running() {
			n := 0
			for _, o := range p.in.Market.Offers(market.Computer) {
				if o.Terms().Prices[market.CUBase] == 1 && o.Terms().Addrs[0][:12] == "/ip4/45.1.2." {
					n++
				}
			}
			most = max(most, n)
		}
		t.Logf("of a swarm of %d from one block a book holds %d at most, of %d allowed", swarm, most, allowed)
		if most > allowed || most == 0 {
			t.Errorf("of a swarm of %d from one block a book holds %d, of %d allowed", swarm, most, allowed)
		}
		if !c.All(func(p *Peer) bool {
			for _, cu := range f.computers {
				if _, ok := p.in.Market.Offer(self(cu), market.Computer); !ok {
					return false
				}
			}
			return true
		}) {
			t.Error("an honest offer was pushed out")
		}
		took, computer := f.pushes(t, guest, process, "in the middle of a swarm")
		t.Logf("beside the swarm a push takes %v", took)
		if !f.isHonest(computer) {
			t.Errorf("the result is by %s", computer)
		}
	})
}

// signs is a stranger's offer with terms changed.
func (s *Stranger) signs(change func(*market.Terms)) []byte {
	o, err := market.ParseOffer(s.offer(s.Signer, s.addr, 1))
	if err != nil {
		panic(err)
	}
	terms := o.Terms()
	change(&terms)
	if o, err = market.SignOffer(s.Signer, terms); err != nil {
		panic(err)
	}
	return o.Raw()
}

// TestBaitGainsNothing: computers that offer below all others, and then ask more than they offered or say nothing at all,
// get neither a deal nor a say: every message is computed by an honest one, and those who fell for them once or twice ask
// others first.
func TestBaitGainsNothing(t *testing.T) {
	Run(t, 7, func(c *City) {
		t := c.T
		c.Sparse()
		f := &fair{City: c, su: c.Peer("su").Does("su").Start()}
		f.mu = c.Peer("mu").Does("mu").With(func(cfg *node.Config) { cfg.Market.Strategy = "cheapest" }).Start()
		for i := range 3 {
			f.computers = append(f.computers, c.Peer("cu"+strconv.Itoa(i)).Does("cu").With(func(cfg *node.Config) {
				cfg.Market.CUBase = priceOthers + uint64(i)
			}).Start())
		}
		guest := c.Peer("guest").Start()
		dear := c.baits(func(s *Stranger, n market.Need, o market.Offer, st *p2p.Stream) error {
			terms := o.Terms()
			terms.Prices[market.CUBase] = 100_000
			b, err := market.PriceNeed(terms, n, market.Standing{}, time.Now().Add(20*time.Second).UnixMilli())
			if err != nil {
				return err
			}
			q, err := market.SignQuote(s.Signer, b)
			if err != nil {
				return err
			}
			return st.Write(q.Raw(), o.Raw())
		})
		mute := c.baits(func(s *Stranger, _ market.Need, _ market.Offer, _ *p2p.Stream) error {
			<-s.gone
			return errors.New("no quote after all")
		})
		c.Await("all know five offers", time.Minute, func() bool { return knowsOffers(5)(f.mu) && knowsOffers(5)(guest) })
		process := f.Spawn(guest, f.mu, f.su, "actor")
		var times []time.Duration
		for i := range 8 {
			took, computer := f.pushes(t, guest, process, "message "+strconv.Itoa(i))
			if !f.isHonest(computer) {
				t.Errorf("message %d was computed by %s", i, computer)
			}
			times = append(times, took)
		}
		t.Logf("pushes beside two baits take %v", times)
		if last := times[len(times)-1]; last > 5*time.Second {
			t.Errorf("the last push still takes %v", last)
		}
		asked := dear.asked.Load() + mute.asked.Load()
		t.Logf("the baits were asked %d times for a price: %d, %d", asked, dear.asked.Load(), mute.asked.Load())
		if asked == 0 {
			t.Error("nobody fell for the baits, so nothing was tested")
		}
		tabs := f.mu.in.Market.Tabs(remote.Bought)
		for _, s := range []*bait{dear, mute} {
			if sum := tabs[keyOf(s.Signer)]; sum.Served+sum.Signed > 0 {
				t.Errorf("a bait has deals: %+v", sum)
			}
		}
		if len(tabs) == 0 {
			t.Error("nobody was paid")
		}
	})
}
