package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

const verbQuote = "quote"

const (
	// quoteLife is for how many milliseconds our quotes bind.
	quoteLife = 30_000
	// quoteGrace is how long others may take after the first quote, at least: then that one is enough.
	quoteGrace = 25 * time.Millisecond
	// quoteSpare is what must be left of a quote's life for a deal to be made on it.
	quoteSpare = 2_000
)

// serveQuotes answers who asks for a price: header, the need; answer: the quote, and the offer whose prices it uses.
func (m *Market) serveQuotes() {
	serveFrom(m.node, verbQuote, func(_ context.Context, from p2p.Peer, _ struct{}, st *p2p.Stream) error {
		raw, err := st.Read(market.MaxNeed)
		if err != nil {
			return err
		}
		n, err := market.ParseNeed(raw)
		if err != nil {
			return err
		}
		q, o, err := m.quote(from, n)
		if err != nil {
			m.trade.lose(n.Role, err)
			return err
		}
		m.trade.count(n.Role, func(s *Sales) { s.Quoted++ })
		return st.Write(q.Raw(), o.Raw())
	})
}

// quote is what a need would really cost here. Errors: the reason for which it is not served.
func (m *Market) quote(from p2p.Peer, n market.Need) (market.Quote, market.Offer, error) {
	shop, sells := m.cfg.Shops[n.Role]
	switch {
	case n.Network != m.cfg.Network:
		return market.Quote{}, market.Offer{}, fmt.Errorf("%w: %s", market.OtherNetwork, n.Network)
	case n.Buyer != market.PeerOf(from.PublicKey):
		return market.Quote{}, market.Offer{}, fmt.Errorf("%w: %s", market.OtherBuyer, n.Buyer)
	case !sells:
		return market.Quote{}, market.Offer{}, fmt.Errorf("%w: no %s here", market.WrongRole, n.Role)
	}
	o, ok := m.Offer(m.self, n.Role)
	if !ok {
		return market.Quote{}, market.Offer{}, fmt.Errorf("%w: nothing is offered yet", market.NoCapacity)
	}
	var at market.Standing
	if shop.Standing != nil {
		var err error
		if at, err = shop.Standing(n); err != nil {
			return market.Quote{}, market.Offer{}, err
		}
	}
	at.Backlog += m.trade.tills[n.Role].waiting()
	b, err := market.PriceNeed(o.Terms(), n, at, m.now()+quoteLife)
	if err != nil {
		return market.Quote{}, market.Offer{}, err
	}
	q, err := market.SignQuote(m.cfg.Signer, b)
	return q, o, err
}

// bid is what came back from a unit that was asked for a quote.
type bid struct {
	from  market.Choice
	quote market.Quote
	err   error
	took  time.Duration
}

// Quotes asks units for what a need would really cost there, all at once, and waits until the slower ones are not worth
// waiting for. The quotes come in the order in which the taste prefers them, those that do not bind last, each with its
// reason; who did not answer is missing.
func (m *Market) Quotes(ctx context.Context, n market.Need, t *market.Taste, asked []market.Choice) []market.QuoteChoice {
	out, _ := m.quotes(ctx, n, t, asked)
	return out
}

// quotes also gives the last reason for which a unit gave no quote.
func (m *Market) quotes(ctx context.Context, n market.Need, t *market.Taste, asked []market.Choice) ([]market.QuoteChoice, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Buyer.Patience)
	defer cancel()
	bids := make(chan bid, len(asked))
	for _, c := range asked {
		go func() { bids <- m.askQuote(ctx, n, c) }()
	}
	var quotes []market.Quote
	var failed error
	var enough <-chan time.Time
	for range asked {
		var b bid
		select {
		case b = <-bids:
		case <-enough:
			cancel()
			enough = nil
			b = <-bids // all end now
		}
		switch {
		case b.err == nil:
			if quotes = append(quotes, b.quote); enough == nil && ctx.Err() == nil && m.rankQuotes(&n, t, b.quote)[0].Reason == nil {
				enough = time.After(max(m.trade.grace, 2*b.took))
			}
		case ctx.Err() == nil || failed == nil:
			failed = b.err
		}
	}
	m.trade.buys(func(p *Purchases) { p.Asked, p.Answered = p.Asked+uint64(len(asked)), p.Answered+uint64(len(quotes)) })
	ranked := m.rankQuotes(&n, t, quotes...)
	for _, q := range ranked {
		if q.Reason != nil {
			failed = q.Reason
			m.broken(n, q)
		}
	}
	return ranked, failed
}

func (m *Market) rankQuotes(n *market.Need, t *market.Taste, quotes ...market.Quote) []market.QuoteChoice {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.book.RankQuotes(n, t, m.now(), quotes)
}

// askQuote asks one unit. What it answers is parsed and its own; whether it binds is for RankQuotes to say.
func (m *Market) askQuote(ctx context.Context, n market.Need, c market.Choice) bid {
	start := time.Now()
	seller := c.Offer.Peer()
	m.Begin(seller, n.Role)
	q, err := m.fetchQuote(ctx, n, c.Offer)
	b := bid{from: c, quote: q, err: err, took: time.Since(start)}
	outcome, took := market.Measured, uint64(b.took.Microseconds())
	switch {
	case err == nil || errors.Is(ctx.Err(), context.Canceled):
	case errors.Is(err, &ao.Refusal{Code: ao.NoDeal}), errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}):
	default:
		outcome, took = market.Failed, 0
	}
	m.End(seller, n.Role, outcome, 1, took)
	return b
}

func (m *Market) fetchQuote(ctx context.Context, n market.Need, known market.Offer) (market.Quote, error) {
	to, err := m.reach(known)
	if err != nil {
		return market.Quote{}, err
	}
	call, err := client{node: m.node, to: to}.open(ctx, verbQuote, struct{}{}, n.Bytes())
	if err != nil {
		return market.Quote{}, err
	}
	defer call.close()
	raw, err := call.read(market.MaxQuote)
	if err != nil {
		return market.Quote{}, short(verbQuote, err)
	}
	offer, err := call.read(market.MaxOffer)
	if err != nil {
		return market.Quote{}, short(verbQuote, err)
	}
	q, err := market.ParseQuote(raw)
	if err != nil {
		return market.Quote{}, Refusal(verbQuote, err)
	}
	if q.Peer() != known.Peer() {
		return market.Quote{}, Refusal(verbQuote, fmt.Errorf("%w: %s", market.OtherSeller, q.Peer()))
	}
	if q.Bid().Sequence != known.Terms().Sequence {
		m.newer(offer, q.Peer())
	}
	return q, nil
}

// newer takes over the offer that a quote rests on, if gossip has not brought it yet. One that is not taken leaves the
// quote without an offer, which is then its reason.
func (m *Market) newer(raw []byte, from market.Peer) {
	o, err := market.ParseOffer(raw)
	if err != nil || o.Peer() != from {
		return
	}
	if err := m.add(o); err != nil {
		m.refuse(err)
	}
}

// broken notes a quote that does not bind. Asking more than the own offer allows is cheating, and what the seller signed
// is kept; the rest may be a clock that is wrong, or an offer that came late.
func (m *Market) broken(n market.Need, q market.QuoteChoice) {
	reason := market.ReasonOf(q.Reason)
	m.trade.lostBid(reason)
	switch reason {
	case market.OverOffer, market.FarBehind:
	default:
		return
	}
	seller := q.Quote.Peer()
	m.Begin(seller, n.Role)
	m.End(seller, n.Role, market.Dishonoured, 1, 0)
	o, _ := m.Offer(seller, n.Role)
	m.trade.keepDispute(Dispute{
		At: m.cfg.Now(), Kind: string(reason), Role: n.Role.String(), Process: n.Process, Slot: n.Slot,
		Units: []market.Peer{seller}, Guilty: seller.String(), Signed: [][]byte{n.Bytes(), q.Quote.Raw(), rawOf(o)},
	})
}

// rawOf is an offer's bytes, nil for none.
func rawOf(o market.Offer) []byte {
	if o.IsZero() {
		return nil
	}
	return o.Raw()
}
