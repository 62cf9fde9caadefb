package remote

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestDoorsOfTheMarket holds the doors that buy to the contract of those that do not, free and for a price.
func TestDoorsOfTheMarket(t *testing.T) {
	for _, price := range []uint64{0, 3} {
		t.Run(fmt.Sprint("computer at ", price), func(t *testing.T) {
			b := newBazaar(t)
			cu := b.seller(t, "cu", market.Computer, shopOf(price))
			unitstest.TestComputer(t, func(t *testing.T) unitstest.ComputerFixture {
				s, unit := unitstest.NewMemory(unitstest.Signer("unit")), unitstest.Signer("computer")
				c := unitstest.MakeChain(t, "log", 5)
				s.Load(c)
				cu.ServeComputer(unitstest.NewEcho(network, unit, s))
				return unitstest.ComputerFixture{
					Computer: b.Computer("", nil), Network: network, Process: c.Process(), Slots: 5,
					Entries: c.Entries(), Unit: unitstest.Address(unit), Query: ao.Query{Data: []byte("echo")}, Ticking: ticking(t, s),
				}
			})
		})
		t.Run(fmt.Sprint("scheduler at ", price), func(t *testing.T) {
			b := newBazaar(t)
			su := b.seller(t, "su", market.Scheduler, Shop{
				Terms: market.Terms{Capacity: 64}, Pricing: market.Pricing{Prices: market.Parts{price}},
			})
			s := unitstest.NewMemory(unitstest.Signer("unit"))
			su.ServeScheduler(s)
			ServeLog(su.node, s)
			unitstest.TestScheduler(t, func(*testing.T) unitstest.SchedulerFixture {
				return unitstest.SchedulerFixture{
					Scheduler: b.Scheduler(su.Self(), su.node.ID()), Log: Log(b.node, su.node.ID()), Address: s.Address(), Bury: s.Bury,
				}
			})
		})
		t.Run(fmt.Sprint("messenger at ", price), func(t *testing.T) {
			b := newBazaar(t)
			mu := b.seller(t, "mu", market.Messenger, Shop{
				Terms: market.Terms{Capacity: 64}, Pricing: market.Pricing{Prices: market.Parts{price}},
			})
			unitstest.TestMessenger(t, func(t *testing.T) unitstest.MessengerFixture {
				s := unitstest.NewMemory(unitstest.Signer("unit"))
				p := unitstest.Spawn(t, unitstest.Signer("owner"), s.Address(), t.Name())
				if _, err := s.Schedule(t.Context(), p.ID(), p); err != nil {
					t.Fatal(err)
				}
				c := unitstest.NewCourier(s, unitstest.NewEcho(network, unitstest.Signer("computer"), s))
				mu.ServeMessenger(c)
				return unitstest.MessengerFixture{
					Messenger: b.Messenger(ignorant{}, nil), Log: s, Process: p.ID(), Ticking: ticking(t, s),
					Message: func(t *testing.T, name string) ao.Message {
						return unitstest.Message(t, unitstest.Signer("user"), p.ID(), name)
					},
					Elsewhere: inAnotherLog(s),
					Stall:     func(*testing.T) func() { return c.Stall() },
				}
			})
		})
	}
}

// TestBuyerSignsOnDiskFirst is the crash pair of a deal signed: a seller never sees what the buyer could not write down.
func TestBuyerSignsOnDiskFirst(t *testing.T) {
	st := &store.Faulty{Store: store.NewMemory()}
	b := newBazaar(t, func(c *MarketConfig) { c.Store = st })
	cu := b.computer(t, "cu", 5)
	door := b.Computer("", nil)
	broke := errors.New("on purpose")
	ask := func(want Sum) {
		t.Helper()
		_, err := door.Compute(unitstest.Context(t), b.chain.Process(), 1)
		unitstest.WantRefusal(t, err, ao.StoreTrouble)
		again, err := openLedger(Bought, st.Store)
		if err != nil || again.sum() != want {
			t.Errorf("after a restart %+v, %v, want %+v", again.sum(), err, want)
		}
		if s := cu.Status().Trade.Sold; s.Served != 0 {
			t.Errorf("the seller has seen %+v", s)
		}
	}
	st.Before = func(*store.Batch) error { return broke }
	ask(Sum{})
	st.Before, st.After = nil, func(*store.Batch) error { return broke }
	ask(Sum{Signed: 1, Unserved: ao.NewAmount(5)})
	st.After = nil
	b.compute(t, door, 1)
	if s := b.Status().Trade.Bought; s.Served != 1 || s != (Sum{Served: 1, Owed: ao.NewAmount(5)}) {
		t.Errorf("%+v", s)
	}
}

// BenchmarkBuy is a result as a bare client gets it, from a market that is free, and for a price.
func BenchmarkBuy(b *testing.B) {
	for _, price := range []uint64{0, 3} {
		buyer, _ := node(b, "buyer")
		seller, _ := node(b, "seller")
		connect(b, buyer, seller)
		log, chain := unitstest.NewMemory(unitstest.Signer("unit")), unitstest.MakeChain(b, "log", 3)
		log.Load(chain)
		m, cu := newMarket(b, buyer, "buyer"), newMarket(b, seller, "seller", selling(market.Computer, shopOf(price)))
		m.cfg.Buyer.Taste = market.DefaultTaste(1000)
		if err := cu.announce(b.Context(), cu.due()); err != nil {
			b.Fatal(err)
		}
		o, _ := cu.Offer(cu.Self(), market.Computer)
		if err := m.Hear(market.Computer, o.Raw()); err != nil && !errors.Is(err, market.Known) {
			b.Fatal(err)
		}
		cu.ServeComputer(unitstest.NewEcho(network, unitstest.Signer("computer"), log))
		doors := map[string]units.Computer{fmt.Sprint("at ", price): m.Computer("", nil)}
		if price == 0 {
			doors["bare"] = Computer(buyer, network, seller.ID())
		}
		for name, door := range doors {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if _, err := door.Compute(b.Context(), chain.Process(), 1); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
