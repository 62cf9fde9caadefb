package remote

import (
	"context"
	"slices"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
)

const (
	checkers      = 4 // results that are asked for again at once
	checkPatience = 2 * time.Minute
	foldEvery     = time.Minute
	kindResults   = "results-differ"
)

// check is a result that another computer is to be asked for as well.
type check struct {
	need   market.Need
	taste  market.Taste
	entry  ao.Entry // the slot's, if it is at hand
	handed bool
	first  claimed
	tried  *lead // whom to ask; nil: whoever is next
}

// claimed is what a unit said that a slot's result is.
type claimed struct {
	unit  market.Peer
	value uint64 // what it was paid
	claim attest.SignedClaim
}

// agrees says whether two claims are about the same thing, so that they compare, and whether they are the same.
func (c claimed) agrees(d claimed) (compares, same bool) {
	x, y := c.claim.Claim(), d.claim.Claim()
	return x.Head == y.Head && x.Profile == y.Profile, x.Result == y.Result
}

// sample has some results checked later, off the caller's way, and always those for which somebody is to be tried.
func (m *Market) sample(ctx context.Context, n market.Need, t market.Taste, a units.Answer, l lead, tried *lead) {
	m.lock.Lock()
	isDrawn := m.rand.Below(1_000_000) < uint64(m.cfg.Buyer.DoubleCheck)
	m.lock.Unlock()
	if !isDrawn && tried == nil {
		return
	}
	c := check{need: n, taste: t, first: claimed{l.unit(), l.price(), a.Claim}, tried: tried}
	c.entry, c.handed = units.Handed(ctx, n.Process, n.Slot)
	select {
	case m.trade.checks <- c:
	default: // there is more to check than can be: a sample it remains
	}
}

// recheck asks for results again until ctx ends.
func (m *Market) recheck(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-m.trade.checks:
			m.check(ctx, c)
		}
	}
}

// check asks a second computer for a slot's result and, if it says otherwise than the first, a third, which decides. What
// was claimed is kept, decided or not.
func (m *Market) check(ctx context.Context, c check) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	second, err := m.askAgain(ctx, c, c.tried, c.first.unit)
	if err != nil {
		m.log.Debug("check result", "process", c.need.Process, "slot", uint64(c.need.Slot), "err", err)
		return
	}
	compares, same := c.first.agrees(second)
	if !compares {
		return
	}
	m.trade.buys(func(p *Purchases) {
		p.Checked++
		if same {
			p.Agreed++
		} else {
			p.Differed++
		}
	})
	if same {
		return
	}
	d := Dispute{
		At: m.cfg.Now(), Kind: kindResults, Role: market.Computer.String(), Process: c.need.Process, Slot: c.need.Slot,
		Units: []market.Peer{c.first.unit, second.unit}, Signed: [][]byte{c.first.claim.Raw(), second.claim.Raw()},
	}
	if third, err := m.askAgain(ctx, c, nil, d.Units...); err == nil {
		d.Units, d.Signed = append(d.Units, third.unit), append(d.Signed, third.claim.Raw())
		if wrong, ok := outvoted(c.first, second, third); ok {
			d.Guilty = wrong.unit.String()
			m.trade.buys(func(p *Purchases) { p.Decided++ })
			m.trade.leave(market.Computer, c.need.Process, wrong.unit)
			m.Begin(wrong.unit, market.Computer)
			m.End(wrong.unit, market.Computer, market.Wrong, wrong.value, 0)
		}
	}
	m.trade.keepDispute(d)
}

// outvoted is which of two that differ the third contradicts, if it agrees with the other.
func outvoted(first, second, third claimed) (wrong claimed, ok bool) {
	if compares, same := first.agrees(third); compares && same {
		return second, true
	}
	if compares, same := second.agrees(third); compares && same {
		return first, true
	}
	return claimed{}, false
}

// askAgain asks for the slot's result once more, of a unit that is none of those.
func (m *Market) askAgain(ctx context.Context, c check, whom *lead, but ...market.Peer) (claimed, error) {
	t := c.taste
	t.Avoid, t.Explore = slices.Concat(t.Avoid, but), 0
	n := m.need(market.Computer, c.need.Process, c.need.Counts)
	n.Slot, n.Format = c.need.Slot, c.need.Format
	var leads []lead
	if whom != nil {
		l := *whom
		l.quote = market.Quote{} // it was for another need
		leads = []lead{l}
	} else {
		var err error
		if leads, _, err = m.leads(ctx, &n, &t); err != nil {
			return claimed{}, err
		}
	}
	if c.handed {
		ctx = units.Hand(ctx, c.entry)
	}
	a, l, err := purchase(ctx, m, &n, &t, n.Process, leads, m.askComputer(n.Process, n.Slot))
	if err != nil {
		return claimed{}, err
	}
	return claimed{l.unit(), l.price(), a.Claim}, nil
}

// foldDeals keeps the ledgers small until ctx ends.
func (m *Market) foldDeals(ctx context.Context) {
	tick := time.NewTicker(foldEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, l := range []*ledger{m.trade.bought, m.trade.sold} {
			if err := l.fold(m.now()); err != nil {
				m.log.Warn("fold deals", "err", err)
			}
		}
	}
}
