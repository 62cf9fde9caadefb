package simnet

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/wasmvm"
)

var hosts = flag.Int("hosts", 0, "peers in the city of the market, with 1000 offers; 0 is 60 with 200, or 30 with 100 in -short")

// size is how many peers the market's city has, how many offers are abroad in it, and for how long their gossip is measured.
func size() (peers, offers int, span time.Duration) {
	switch {
	case *hosts > 0:
		return *hosts, 1000, 2 * time.Minute
	case testing.Short():
		return 30, 100, 20 * time.Second
	}
	return 60, 200, 20 * time.Second
}

// Prices of computers. The first is too small for the need of need below.
const (
	priceSmall    = 1
	priceCheapest = 100
	priceOthers   = 200
)

// fair is a city with a market.
type fair struct {
	*City
	su, mu    *Peer
	computers []*Peer // the cheapest that suits is the second
}

// newFair starts so many peers, an eighth of them computers.
func newFair(c *City, n int) *fair {
	f := &fair{City: c, su: c.Peer("su").Does("su").Start(), mu: c.Peer("mu").Does("mu").Start()}
	for i := range max(4, n/8) {
		f.computers = append(f.computers, c.Peer("cu"+strconv.Itoa(i)).Does("cu").With(func(cfg *node.Config) {
			switch i {
			case 0:
				cfg.Market.CUBase, cfg.Market.Memory = priceSmall, 1<<20
			case 1:
				cfg.Market.CUBase = priceCheapest
			default:
				cfg.Market.CUBase = priceOthers + uint64(i)
			}
		}).Start())
	}
	c.Peers("guest", n-len(c.Running()))
	return f
}

// need is what a peer wants of a computer: one result of a process, which takes 16 MiB.
func need(p *Peer, process ao.ID) *market.Need {
	n := &market.Need{
		Network: nameOfNetwork, Role: market.Computer, Buyer: p.in.Market.Self(), Process: process, Format: wasmvm.FormatNative,
		Memory: 16 << 20,
	}
	n.Counts[market.CUBase] = 1
	_, _ = rand.Read(n.Nonce[:])
	return n
}

// cheapest is a taste that makes the choice a matter of what is known, and of no chance.
func cheapest() *market.Taste {
	t := market.DefaultTaste(1_000_000)
	t.Strategy, t.Explore = market.Cheapest, 0
	return &t
}

// self is a peer's name on the market.
func self(p *Peer) market.Peer { return p.in.Market.Self() }

// knowsOffers says whether a peer's book holds so many offers of computers of others.
func knowsOffers(n int) func(*Peer) bool {
	return func(p *Peer) bool {
		own := 0
		for _, r := range p.config.Roles {
			if r == "cu" {
				own = 1
			}
		}
		return p.in.Market.Status().Offers["cu"]+own >= n
	}
}

// TestMarketOfACity is the market's numbers in virtual time: how soon a newcomer buys, how soon a price is known, and what
// the gossip of many offers costs.
func TestMarketOfACity(t *testing.T) {
	peers, offers, span := size()
	Run(t, 5, func(c *City) {
		t := c.T
		c.Sparse()
		f := newFair(c, peers)
		took := c.Await("every peer knows every computer's offer", 2*time.Minute, func() bool { return c.All(knowsOffers(len(f.computers))) })
		t.Logf("%d peers know %d computers' offers %v after the last has started", peers, len(f.computers), took)
		f.newcomers(t)
		f.changesPrices(t)
		f.gossips(t, offers, span)
	})
}

// newcomers: whoever comes has a quote that binds the cheapest computer that suits, within two seconds of dialling its first
// peer.
func (f *fair) newcomers(t *testing.T) {
	guests, want := f.Named("guest"), self(f.computers[1])
	process := f.Spawn(guests[0], f.mu, f.su, "actor")
	var worst time.Duration
	for i := range 5 {
		late := f.Peer("late" + strconv.Itoa(i)).Through(guests[i]).Start()
		took := f.Await("a newcomer has a quote of the cheapest computer", 20*time.Second, func() bool {
			n := need(late, process)
			choices := late.in.Market.Rank(n, cheapest(), 3)
			if len(choices) == 0 || choices[0].Offer.Peer() != want {
				return false
			}
			quotes := late.in.Market.Quotes(t.Context(), *n, cheapest(), choices[:1])
			return len(quotes) == 1 && quotes[0].Reason == nil && quotes[0].Quote.Peer() == want
		})
		t.Logf("a newcomer has a binding quote of the cheapest of %d computers after %v", len(f.computers), took)
		worst = max(worst, took)
	}
	if worst > 2*time.Second {
		t.Errorf("a newcomer has a binding quote after %v only", worst)
	}
}

// changesPrices: 99 % of all buyers know a new price within two seconds.
func (f *fair) changesPrices(t *testing.T) {
	var worst time.Duration
	for i, seller := range f.computers[1:4] {
		price := uint64(5000 + i)
		pricing := market.Pricing{Plan: market.Fixed}
		pricing.Prices[market.CUBase] = price
		if err := seller.in.Market.Reprice(market.Computer, pricing); err != nil {
			t.Fatal(err)
		}
		buyers := len(f.Running()) - 1
		took := f.Await("99 % of buyers know the new price", 10*time.Second, func() bool {
			return 100*f.Count(func(p *Peer) bool {
				o, ok := p.in.Market.Offer(self(seller), market.Computer)
				return p != seller && ok && o.Terms().Prices[market.CUBase] == price
			}) >= 99*buyers
		})
		worst = max(worst, took)
		f.Pass(10 * time.Second)
	}
	t.Logf("a price change reaches 99 %% of %d buyers after %v at most", len(f.Running())-1, worst)
	if worst > 2*time.Second {
		t.Errorf("a price change reaches 99 %% of buyers after %v only", worst)
	}
}

// gossips: with so many offers abroad a peer sends and receives less than 20 KiB a second, all that it does included. Renewals
// come evenly over a third of an offer's life, so that a part of that time costs as much a second as the whole.
func (f *fair) gossips(t *testing.T, offers int, span time.Duration) {
	const hawkers = 4
	for range hawkers {
		f.hawker((offers - len(f.computers)) / hawkers)
	}
	most := len(f.computers) + (offers-len(f.computers))/hawkers*hawkers
	took := f.Await("all know all offers", 5*time.Minute, func() bool { return f.All(knowsOffers(most)) })
	t.Logf("%d more offers are known to all after %v", most-len(f.computers), took)
	f.Pass(20 * time.Second)
	type bytes struct{ sent, got int64 }
	before := map[*Peer]bytes{}
	for _, p := range f.Running() {
		sent, got := p.Bytes()
		before[p] = bytes{sent, got}
	}
	f.Pass(span)
	var sent, got, worst float64
	for p, b := range before {
		s, g := p.Bytes()
		up, down := float64(s-b.sent)/span.Seconds()/1024, float64(g-b.got)/span.Seconds()/1024
		sent, got, worst = sent+up/float64(len(before)), got+down/float64(len(before)), max(worst, up, down)
	}
	t.Logf("with %d offers a peer sends %.1f and receives %.1f KiB/s on average; the busiest %.1f", most, sent, got, worst)
	if sent > 20 || got > 20 {
		t.Errorf("with %d offers a peer sends %.1f and receives %.1f KiB/s", most, sent, got)
	}
	if n := f.Count(knowsOffers(most)); n < len(f.Running()) {
		t.Errorf("only %d of %d peers still know all offers", n, len(f.Running()))
	}
}

// hawker cries the offers of so many computers, each with its own key, as often as they would themselves.
func (c *City) hawker(offers int) *Stranger {
	var topic *p2p.Topic
	s := c.Stranger(func(s *Stranger) { topic = s.joins(market.Computer) })
	c.Await("the hawker has met somebody", time.Minute, func() bool { return len(topic.Peers()) > 0 })
	life := int64(market.MaxOfferLife)
	for i := range offers {
		signer := newSigner(c.T)
		_, addr := c.plug() // in a block of its own, or books would take them for one swarm
		go func() {
			wait := time.Duration(i) * 20 * time.Millisecond
			for first := true; s.passes(wait); first = false {
				if topic.Publish(context.Background(), s.offer(signer, addr, priceOthers+uint64(i))) != nil {
					return
				}
				wait = time.Duration(life/4+mathrand.Int64N(life/3-life/4)) * time.Millisecond
				if first { // all began at once, and the renewals of a mesh that has lived for a while do not
					wait = time.Duration(mathrand.Int64N(life/3)) * time.Millisecond
				}
			}
		}()
	}
	return s
}

// joins has a stranger join the topic of a role's offers. It believes whatever it hears, and passes it on.
func (s *Stranger) joins(r market.Role) *p2p.Topic {
	s.city.T.Helper()
	topic, err := s.P2P.Topic("offers", "1/"+r.String(), nil)
	if err != nil {
		s.city.T.Fatal(err)
	}
	return topic
}

// passes lets time go by unless the stranger has gone.
func (s *Stranger) passes(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.gone:
		return false
	}
}

// offer is what a computer of that key at that address offers now.
func (s *Stranger) offer(signer ans104.Signer, addr string, price uint64) []byte {
	now := time.Now().UnixMilli()
	t := market.Terms{
		Network: nameOfNetwork, Role: market.Computer, Sequence: now, Expires: now + market.MaxOfferLife,
		Formats: []string{wasmvm.FormatDefault, wasmvm.FormatAOS, wasmvm.FormatNative}, Memory: 4 << 30, Capacity: 32, Addrs: []string{addr},
	}
	t.Prices[market.CUBase] = price
	o, err := market.SignOffer(signer, t)
	if err != nil {
		panic(fmt.Sprintf("simnet: sign an offer: %v", err))
	}
	return o.Raw()
}
