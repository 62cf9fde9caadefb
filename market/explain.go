package market

import (
	"cmp"
	"slices"
)

// Line is what an explanation says of one offer.
type Line struct {
	Peer    Peer
	Place   int // 1 for the first choice, 0 for none
	Reason  Reason
	Price   uint64 // of the need; 0 where it was not looked at
	Latency uint64 // µs
	Flight  uint32
	Success uint64 // of 65536
	Cost    uint64 // the ranking number: price and latency through success⁴, in units of price; 0 where it does not suit
}

// Explain is Rank with a reason for every offer of the role: it makes the same decision from the same state of the
// source, which it does not change, and its first places are those choices. The rest follows by cost.
func (b *Book) Explain(n *Need, t *Taste, now int64, r *Rand, places int) []Line {
	if n.Role >= roles || n.Network != b.cfg.Network || places <= 0 {
		return nil
	}
	chance := *r
	q := newQuery(n, t, now)
	var compared []held
	q.compared = &compared
	into := make([]Choice, 0, places)
	choices := q.rank(&b.shelves[n.Role], &chance, into)

	all := b.shelves[n.Role].pools[""]
	second := q.second(compared)
	if len(compared) == 0 {
		second = q.second(q.suitable(all))
	}
	lines := make([]Line, 0, len(all))
	for _, e := range all {
		price, reason := q.judge(e)
		l := Line{Peer: e.offer.peer, Reason: reason, Price: price, Latency: e.latency, Flight: e.flight, Success: e.success}
		if reason == "" {
			l.Cost = q.weigh(e, price, second).units()
			l.Place, l.Reason = q.verdict(e, price, second, choices, compared)
		}
		if e.demoted > now && l.Place == 0 && reason == "" {
			l.Reason = Equivocated
		}
		lines = append(lines, l)
	}
	slices.SortStableFunc(lines, func(x, y Line) int {
		return cmp.Or(
			cmp.Compare(rankOf(x), rankOf(y)),
			cmp.Compare(x.Place, y.Place), cmp.Compare(x.Cost, y.Cost),
		)
	})
	return lines
}

// rankOf puts choices before others that suit, and these before those that do not.
func rankOf(l Line) int {
	switch {
	case l.Place > 0:
		return 0
	case l.Cost > 0:
		return 1
	}
	return 2
}

func (q *query) suitable(pool []*entry) (out []held) {
	for _, e := range pool {
		if price, reason := q.judge(e); reason == "" {
			out = append(out, held{e, price})
		}
	}
	return out
}

// verdict is the place of a suitable offer, and why it has it.
func (q *query) verdict(e *entry, price, second uint64, choices []Choice, compared []held) (int, Reason) {
	for i, c := range choices {
		if c.Offer.item != e.offer.item {
			continue
		}
		switch {
		case i == 0:
			return 1, Chosen
		case c.Try:
			return i + 1, Tried
		}
		return i + 1, StandsAside
	}
	switch q.taste.Strategy {
	case Cheapest:
		if len(choices) > 0 && price == choices[0].Price {
			return 0, Slower
		}
		return 0, Dearer
	case Fastest:
		if len(choices) > 0 && e.slowness() == choices[0].slowness {
			return 0, Dearer
		}
		return 0, Slower
	}
	isCompared := slices.ContainsFunc(compared, func(h held) bool { return h.e == e })
	if !isCompared || len(choices) == 0 {
		return 0, NotDrawn
	}
	winner := compared[slices.IndexFunc(compared, func(h held) bool { return h.e.offer.item == choices[0].Offer.item })]
	return 0, q.cause(held{e, price}, winner, second)
}

// cause is what would have made the loser the winner, had it been like the winner's: of several what helps most.
func (q *query) cause(h, winner held, second uint64) Reason {
	least := q.weigh(winner.e, winner.price, second)
	out := Outweighed
	try := func(e entry, price uint64, r Reason) {
		if w := q.weigh(&e, price, second); !least.less(w) {
			least, out = w, r
		}
	}
	e := *h.e
	try(e, winner.price, Dearer)
	e.latency, e.flight = winner.e.latency, winner.e.flight
	try(e, h.price, Slower)
	e = *h.e
	e.penalty, e.success = winner.e.penalty, winner.e.success
	try(e, h.price, LessProven)
	return out
}

// units is the weight in units of price, at least 1.
func (w weight) units() uint64 {
	q, _ := divide(w.hi, w.lo, 200_000_000)
	return max(q, 1)
}

// QuoteChoice is a quote in its place.
type QuoteChoice struct {
	Quote  Quote
	Reason error // nil for one that binds
}

// RankQuotes puts quotes for one need in order: those that bind and that the taste pays for by what Rank would weigh, with
// the quote's price for the offer's, then those that do not, each with its reason.
func (b *Book) RankQuotes(n *Need, t *Taste, now int64, quotes []Quote) []QuoteChoice {
	q := newQuery(n, t, now)
	out := make([]QuoteChoice, len(quotes))
	hand := make([]held, len(quotes))
	var good []held
	for i, quote := range quotes {
		out[i].Quote = quote
		if hand[i], out[i].Reason = b.bind(&q, quote); out[i].Reason == nil {
			good = append(good, hand[i])
		}
	}
	second := q.second(good)
	order := make([]int, len(quotes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case out[i].Reason != nil || out[j].Reason != nil:
			return cmp.Compare(toInt(out[i].Reason != nil), toInt(out[j].Reason != nil))
		case t.Strategy == Cheapest:
			return cmp.Or(cmp.Compare(hand[i].price, hand[j].price), cmp.Compare(hand[i].e.slowness(), hand[j].e.slowness()))
		case t.Strategy == Fastest:
			return cmp.Or(cmp.Compare(hand[i].e.slowness(), hand[j].e.slowness()), cmp.Compare(hand[i].price, hand[j].price))
		}
		x, y := q.weigh(hand[i].e, hand[i].price, second), q.weigh(hand[j].e, hand[j].price, second)
		return toInt(y.less(x)) - toInt(x.less(y))
	})
	ranked := make([]QuoteChoice, len(quotes))
	for k, i := range order {
		ranked[k] = out[i]
	}
	return ranked
}

// bind checks a quote against need, offer, cap and filters.
func (b *Book) bind(q *query, quote Quote) (held, error) {
	e := b.entry(quote.peer, q.need.Role)
	if e == nil {
		return held{}, refuse(StaleOffer, "no offer of %s is known", quote.peer)
	}
	if err := quote.Check(*q.need, e.offer, q.now); err != nil {
		return held{}, err
	}
	price, err := smallAmount(quote.bid.Price)
	if err != nil || price > q.taste.MaxPrice {
		return held{}, refuse(Dear, "%s, not %d", quote.bid.Price, q.taste.MaxPrice)
	}
	open, uncapped := *q, *q.taste // the offer's price is an estimate, the quote's is the price
	uncapped.MaxPrice = NoCap
	open.taste = &uncapped
	if _, r := open.judge(e); r != "" {
		return held{}, refuse(r, "%s", quote.peer)
	}
	return held{e, price}, nil
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
