package market

import (
	"math"
	"math/bits"
	"slices"
)

// Strategy is how a buyer weighs price, latency and success.
type Strategy uint8

// The strategies. Cheapest and Fastest look at all offers and take the best one: all who do so call at one door, which
// collapses under load, so they are for those who know why. Balanced and Weighted take the best of four drawn by chance.
const (
	Balanced Strategy = iota // (price + λ·latency·(1 + ½·in-flight)) / success⁴
	Cheapest
	Fastest
	Weighted // as Balanced, with the buyer's weights
	strategies
)

// String is the name that a user gives.
func (s Strategy) String() string {
	switch s {
	case Balanced:
		return "balanced"
	case Cheapest:
		return "cheapest"
	case Fastest:
		return "fastest"
	case Weighted:
		return "weighted"
	}
	return "unknown"
}

// ParseStrategy reads the name. Errors: BadShape.
func ParseStrategy(name string) (Strategy, error) {
	for s := range strategies {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, refuse(BadShape, "strategy %.20q: balanced, cheapest, fastest or weighted", name)
}

// Weights are what a user of Weighted gives: price and latency in percent of what Balanced makes of them, and the power
// of success.
type Weights struct {
	Price, Latency uint32
	Success        uint32
}

// NoCap is a price cap that stops nothing.
const NoCap = math.MaxUint64

// Taste is what a buyer prefers; it tells nobody.
type Taste struct {
	Strategy   Strategy
	MaxPrice   uint64 // hard; 0 takes only what is free
	MaxLatency uint64 // µs, 0 for any
	Second     uint64 // λ: what a second is worth; 0 for five times the average price of those compared
	Explore    uint32 // millionths of decisions in which somebody little known is tried beside the first choice
	Fresh      bool   // the slot is new: nobody could look its result up, so trying is worth something
	Weights    Weights
	Avoid      []Peer
	Only       []Peer // if there are any, nobody else is bought from
}

// DefaultTaste is balanced, pays at most that much, and tries strangers in 3 % of decisions.
func DefaultTaste(most uint64) Taste {
	return Taste{Strategy: Balanced, MaxPrice: most, Explore: 30_000, Weights: Weights{100, 100, 4}}
}

// Choice is an offer in its place.
type Choice struct {
	Offer   Offer
	Price   uint64 // of the need, at the offer's prices; a quote may be lower
	Latency uint64 // µs
	Success uint64 // of 65536, what may be expected
	Try     bool   // to be asked beside the first choice, and compared with it: it is tried, not trusted

	slowness uint64
}

// handSize is the four of "power of four choices".
const handSize = 4

// maxDraws bounds how often chance is tried before every offer is looked at.
const maxDraws = 256

// query is a need and a taste, prepared.
type query struct {
	need  *Need
	taste *Taste
	now   int64
	mask  uint64
	// The weights in force: percent of price and latency, and whether success counts by its own power.
	price, latency uint64
	power          uint32
	compared       *[]held // where an explanation notes the hand that the first choice was picked from
}

// held is a candidate in hand.
type held struct {
	e     *entry
	price uint64
}

// Rank fills the room of into (its capacity) with the offers to ask, the first choice first, then those that take over
// if it does not answer; one marked Try may stand second. It allocates nothing, and the order in which offers came does
// not matter: need, taste, what is known, and the source's seed decide alone.
func (b *Book) Rank(n *Need, t *Taste, now int64, r *Rand, into []Choice) []Choice {
	into = into[:0]
	if n.Role >= roles || n.Network != b.cfg.Network || cap(into) == 0 {
		return into
	}
	q := newQuery(n, t, now)
	return q.rank(&b.shelves[n.Role], r, into)
}

func (q *query) rank(sh *shelf, r *Rand, into []Choice) []Choice {
	pool := sh.pools[q.need.Format]
	if len(pool) == 0 {
		return into
	}
	if q.taste.Strategy == Cheapest || q.taste.Strategy == Fastest {
		into = q.best(pool, &sh.index, into)
	} else {
		into = q.drawAll(pool, &sh.index, r, into)
	}
	return q.explore(pool, r, into)
}

func newQuery(n *Need, t *Taste, now int64) query {
	q := query{need: n, taste: t, now: now, mask: n.mask(), price: 100, latency: 100, power: 4}
	if t.Strategy == Weighted {
		q.price, q.latency, q.power = uint64(min(t.Weights.Price, 1000)), uint64(min(t.Weights.Latency, 1000)), min(t.Weights.Success, 8)
	}
	return q
}

// judge is the filters: the price of the need, and the first reason against this offer, "" if there is none.
func (q *query) judge(e *entry) (uint64, Reason) {
	switch {
	case e.expires <= q.now:
		return 0, Expired
	case e.shunned:
		return 0, Shunned
	case q.taste.MaxLatency != 0 && e.latency > q.taste.MaxLatency:
		return 0, Slow
	}
	price := cost(q.need.Role, &e.prices, &q.need.Counts)
	if price > q.taste.MaxPrice {
		return price, Dear
	}
	if r := q.need.suits(e.offer.terms); r != "" {
		return price, r
	}
	if slices.Contains(q.taste.Avoid, e.offer.peer) || len(q.taste.Only) > 0 && !slices.Contains(q.taste.Only, e.offer.peer) {
		return price, Shunned
	}
	return price, ""
}

// weight is the ranking number of 128 bits, in two-millionths of a price unit in percent: the lowest is the best.
type weight struct{ hi, lo uint64 }

func (w weight) less(x weight) bool { return w.hi < x.hi || w.hi == x.hi && w.lo < x.lo }

// weigh chains the rankers: the price, and to it what the latency is worth with the jobs in flight, and all of it
// through what may be expected of the unit.
func (q *query) weigh(e *entry, price, second uint64) weight {
	w := weightOf(price, 2_000_000*q.price)
	late := weightOf(second, e.slowness()*q.latency)
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, late.lo, 0)
	if w.hi, carry = bits.Add64(w.hi, late.hi, carry); carry != 0 {
		return weight{math.MaxUint64, math.MaxUint64}
	}
	p := e.penalty
	if q.power != 4 {
		p = penalty(e.success, q.power)
	}
	return w.times(p)
}

// slowness is twice the latency in µs, and the half of that again for each job in flight.
func (e *entry) slowness() uint64 { return e.latency * uint64(2+e.flight) }

func weightOf(a, b uint64) weight {
	hi, lo := bits.Mul64(a, b)
	return weight{hi, lo}
}

// times multiplies by a number of 65536ths, saturating.
func (w weight) times(p uint64) weight {
	over, hi := bits.Mul64(w.hi, p)
	carried, lo := bits.Mul64(w.lo, p)
	hi, carry := bits.Add64(hi, carried, 0)
	if over += carry; over>>16 != 0 {
		return weight{math.MaxUint64, math.MaxUint64}
	}
	return weight{over<<48 | hi>>16, hi<<48 | lo>>16}
}

// second is λ for a hand.
func (q *query) second(hand []held) uint64 {
	if q.taste.Second != 0 || len(hand) == 0 {
		return q.taste.Second
	}
	var sum, carry uint64
	for _, h := range hand {
		if sum, carry = bits.Add64(sum, h.price/uint64(len(hand)), 0); carry != 0 {
			return math.MaxUint64
		}
	}
	return max(5*min(sum, math.MaxUint64/5), 1)
}

func choiceOf(h held) Choice {
	return Choice{Offer: h.e.offer, Price: h.price, Latency: h.e.latency, Success: h.e.success, slowness: h.e.slowness()}
}

// drawAll fills into by power of four choices: a hand of four drawn by chance, the best of it taken, one more drawn.
func (q *query) drawAll(pool []*entry, x *index, r *Rand, into []Choice) []Choice {
	var cards [handSize]held
	hand := cards[:0]
	lucky, dealt, left := true, false, true
	for len(into) < cap(into) {
		for len(hand) < handSize && (lucky || left) {
			var h held
			if dealt && len(hand) > 0 { // a look at every offer is dear: those in hand go first
				break
			}
			if lucky {
				if h, lucky = q.draw(pool, r, hand, into); lucky {
					hand = append(hand, h)
				}
				continue
			}
			hand, left = q.deal(pool, x, r, hand, into)
			dealt = true
		}
		if q.compared != nil && len(into) == 0 {
			*q.compared = append(*q.compared, hand...)
		}
		i := q.pick(hand)
		if i < 0 {
			return into
		}
		into = append(into, choiceOf(hand[i]))
		hand[i] = hand[len(hand)-1]
		hand = hand[:len(hand)-1]
	}
	return into
}

// draw takes one suitable offer by chance that is neither in hand nor chosen; false when luck runs out.
func (q *query) draw(pool []*entry, r *Rand, hand []held, into []Choice) (held, bool) {
	for range min(2*len(pool), maxDraws) {
		e := pool[r.Below(uint64(len(pool)))]
		if isTaken(e, hand, into) {
			continue
		}
		if price, reason := q.judge(e); reason == "" {
			return held{e, price}, true
		}
	}
	return held{}, false
}

func isTaken(e *entry, hand []held, into []Choice) bool {
	for i := range hand {
		if hand[i].e == e {
			return true
		}
	}
	for i := range into {
		if into[i].Offer.item == e.offer.item {
			return true
		}
	}
	return false
}

// pick is the place of the best in hand, -1 for an empty one. Of equals the first drawn.
func (q *query) pick(hand []held) int {
	at, least := -1, weight{}
	second := q.second(hand)
	for i, h := range hand {
		if w := q.weigh(h.e, h.price, second); at < 0 || w.less(least) {
			at, least = i, w
		}
	}
	return at
}

// explore puts somebody little known beside the first choice, now and then.
func (q *query) explore(pool []*entry, r *Rand, into []Choice) []Choice {
	if !q.taste.Fresh || len(into) == 0 || cap(into) < 2 || r.Below(1_000_000) >= uint64(q.taste.Explore) {
		return into
	}
	for range min(2*len(pool), maxDraws) {
		e := pool[r.Below(uint64(len(pool)))]
		if e.weight >= proven || into[0].Offer.item == e.offer.item {
			continue
		}
		price, reason := q.judge(e)
		if reason != "" {
			continue
		}
		i := 1
		for i < len(into) && into[i].Offer.item != e.offer.item {
			i++
		}
		if i == len(into) && i < cap(into) {
			into = append(into, Choice{})
		}
		copy(into[2:], into[1:min(i, len(into)-1)])
		into[1] = choiceOf(held{e, price})
		into[1].Try = true
		return into
	}
	return into
}
