package remote

import (
	"context"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// quoting serves the verb quote by hand.
func quoting(n *p2p.Node, answer func(n market.Need, s *p2p.Stream) error) {
	serve(n, verbQuote, func(_ context.Context, _ struct{}, s *p2p.Stream) error {
		raw, err := s.Read(market.MaxNeed)
		if err != nil {
			return err
		}
		need, err := market.ParseNeed(raw)
		if err != nil {
			return err
		}
		return answer(need, s)
	})
}

// TestHostileQuotes asks a seller that lies and one that does not: what the first says does not bind, has its reason, and
// is not bought.
func TestHostileQuotes(t *testing.T) {
	key := ans104.NewEd25519Signer(keyOf("liar"))
	sign := func(s ans104.Signer, b market.Bid) market.Quote {
		q, err := market.SignQuote(s, b)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for name, c := range map[string]struct {
		change func(*market.Bid)
		signer ans104.Signer
		reason market.Reason // "" for one that is not even a quote of the seller's
	}{
		"for another need":     {func(b *market.Bid) { b.Need = unitstest.ID("another") }, key, market.OtherNeed},
		"expired":              {func(b *market.Bid) { b.Expires -= 2 * quoteLife }, key, market.Expired},
		"for ever":             {func(b *market.Bid) { b.Expires += 10 * quoteLife }, key, market.TooLongLived},
		"above the offer":      {func(b *market.Bid) { b.Price, b.Parts[0] = ao.NewAmount(6), ao.NewAmount(6) }, key, market.OverOffer},
		"behind the log":       {func(b *market.Bid) { b.Behind = 1000 }, key, market.FarBehind},
		"on another offer":     {func(b *market.Bid) { b.Sequence-- }, key, market.StaleOffer},
		"of another network":   {func(b *market.Bid) { b.Network = "elsewhere" }, key, market.OtherNetwork},
		"signed by another":    {func(*market.Bid) {}, ans104.NewEd25519Signer(keyOf("another")), ""},
		"signed and not heard": {nil, key, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBazaar(t)
			liar := b.computer(t, "liar", 5)
			good := b.computer(t, "good", 8)
			quoting(liar.node, func(n market.Need, s *p2p.Stream) error {
				o, _ := liar.Offer(liar.Self(), market.Computer)
				bid, err := market.PriceNeed(o.Terms(), n, market.Standing{}, liar.now()+quoteLife)
				if err != nil || c.change == nil {
					return s.Write([]byte("no quote"), o.Raw())
				}
				c.change(&bid)
				return s.Write(sign(c.signer, bid).Raw(), o.Raw())
			})
			door := b.Computer("", nil)
			b.compute(t, door, 2)
			if units.PeerOf(door) != good.node.ID().String() || units.BoughtOf(door).Price != "8" {
				t.Errorf("bought of %s for %q", units.PeerOf(door), units.BoughtOf(door).Price)
			}
			if s := b.Status().Trade; c.reason != "" && s.Purchases.Lost[c.reason] != 1 {
				t.Errorf("counted %v", s.Purchases.Lost)
			}
			if s := liar.Status().Trade.Sold; s.Served != 0 {
				t.Errorf("the liar counts %+v", s)
			}
			disputes := b.Disputes()
			isCheat := c.reason == market.OverOffer || c.reason == market.FarBehind
			if isCheat != (len(disputes) == 1) || isCheat && (disputes[0].Guilty != liar.Self().String() || len(disputes[0].Signed) != 3) {
				t.Errorf("disputes %+v", disputes)
			}
		})
	}
}

func TestStalledQuoteIsNotWaitedFor(t *testing.T) {
	b := newBazaar(t)
	b.trade.grace = time.Millisecond
	stalled, good := b.computer(t, "stalled", 1), b.computer(t, "good", 8)
	asked := make(chan struct{}, 1)
	hold := make(chan struct{})
	defer close(hold) // before the nodes stop, which wait for who serves
	quoting(stalled.node, func(market.Need, *p2p.Stream) error {
		asked <- struct{}{}
		<-hold
		return nil
	})
	door := b.Computer("", nil)
	b.compute(t, door, 2)
	<-asked
	if units.PeerOf(door) != good.node.ID().String() {
		t.Errorf("bought of %s", units.PeerOf(door))
	}
	// If nobody else is there, it costs the patience and no more.
	alone := newBazaar(t, func(c *MarketConfig) { c.Buyer.Patience = 50 * time.Millisecond })
	mute := alone.computer(t, "mute", 1)
	quoting(mute.node, func(market.Need, *p2p.Stream) error {
		<-hold
		return nil
	})
	_, err := alone.Computer("", nil).Compute(unitstest.Context(t), alone.chain.Process(), 2)
	unitstest.WantRefusal(t, err, ao.NoOffer)
}

// TestPriceChangesBetweenOfferAndQuote: a seller whose price has just changed answers with the offer that its quote rests
// on, which the cap still bounds.
func TestPriceChangesBetweenOfferAndQuote(t *testing.T) {
	b := newBazaar(t, func(c *MarketConfig) { c.Buyer.Taste.MaxPrice = 10 })
	c := newClock()
	cu := b.computer(t, "cu", 0, func(cfg *MarketConfig) { cfg.Now = c.now })
	reprice := func(price uint64) {
		t.Helper()
		c.add(2 * time.Second)
		if err := cu.Reprice(market.Computer, market.Pricing{Prices: market.Parts{price}}); err != nil {
			t.Fatal(err)
		}
		if err := cu.announce(t.Context(), cu.due()); err != nil {
			t.Fatal(err)
		}
	}
	door := b.Computer("", nil)
	b.compute(t, door, 1)
	reprice(7) // the buyer has not heard
	b.compute(t, door, 2)
	if got := units.BoughtOf(door); got.Price != "7" {
		t.Errorf("bought for %q", got.Price)
	}
	reprice(11)
	_, err := door.Compute(unitstest.Context(t), b.chain.Process(), 3)
	unitstest.WantRefusal(t, err, ao.OverCap)
	if s := cu.Status().Trade.Sold; s.Owed.String() != "7" {
		t.Errorf("owed %+v", s)
	}
}
