package market

import (
	"bytes"
	"slices"
)

// dims are what the index cuts offers by: the price components and the slowness.
const dims = maxParts + 1

// row is what a look at many offers needs of each, side by side in memory.
type row struct {
	prices   Parts
	slowness uint64
	mask     uint64
	e        *entry
}

// cell holds offers that are alike in all dimensions, and the least of each, so that a whole cell can be passed over.
// In a large cell the least may be lower than that of those who are still there, never higher.
type cell struct {
	rows     []row
	prices   Parts
	slowness uint64
	gone     int // rows that had the least of something and have left since it was worked out
}

// index finds the cheapest and the nearest of many offers without looking at each: every dimension is cut at its median
// or quartiles, and every combination is a cell.
type index struct {
	cuts  [dims][]uint64 // ascending; how many a value exceeds is its part of the cell's number
	cells []cell
	n     int // offers held
	built int // offers held when it was cut
}

func (r *row) value(dim int) uint64 {
	if dim < maxParts {
		return r.prices[dim]
	}
	return r.slowness
}

func (x *index) cellOf(r *row) int {
	at := 0
	for d := range dims {
		part := 0
		v := r.value(d)
		for _, cut := range x.cuts[d] {
			if v > cut {
				part++
			}
		}
		at = at*(len(x.cuts[d])+1) + part
	}
	return at
}

func rowOf(e *entry) row {
	return row{prices: e.prices, slowness: e.slowness(), mask: e.mask, e: e}
}

func (x *index) add(e *entry) {
	if len(x.cells) == 0 {
		x.cut(nil)
	}
	x.put(rowOf(e))
	if x.n++; x.n > 2*x.built+256 {
		x.cut(x.all())
	}
}

func (x *index) put(r row) {
	at := x.cellOf(&r)
	c := &x.cells[at]
	if len(c.rows) == 0 {
		c.prices, c.slowness, c.gone = r.prices, r.slowness, 0
	}
	c.lower(&r)
	r.e.cell, r.e.at = at, len(c.rows)
	c.rows = append(c.rows, r)
}

func (c *cell) lower(r *row) {
	for d := range c.prices {
		c.prices[d] = min(c.prices[d], r.prices[d])
	}
	c.slowness = min(c.slowness, r.slowness)
}

// leave notes that a row has gone: if it had the least of something, the least is worked out anew, in a large cell not
// every time.
func (c *cell) leave(r *row) {
	if len(c.rows) == 0 || !c.hasLeast(r) {
		return
	}
	const large = 256
	if c.gone++; len(c.rows) > large && c.gone < len(c.rows)/16 {
		return
	}
	c.prices, c.slowness, c.gone = c.rows[0].prices, c.rows[0].slowness, 0
	for i := range c.rows {
		c.lower(&c.rows[i])
	}
}

func (c *cell) hasLeast(r *row) bool {
	for d := range c.prices {
		if r.prices[d] == c.prices[d] && r.prices[d] != 0 { // nothing is less than 0
			return true
		}
	}
	return r.slowness == c.slowness
}

func (x *index) take(e *entry) {
	c := &x.cells[e.cell]
	last := len(c.rows) - 1
	r := c.rows[e.at]
	c.rows[e.at] = c.rows[last]
	c.rows[e.at].e.at = e.at
	c.rows[last] = row{}
	c.rows = c.rows[:last]
	c.leave(&r)
}

func (x *index) remove(e *entry) {
	x.take(e)
	x.n--
}

// touch puts an entry that has changed where it belongs now.
func (x *index) touch(e *entry) {
	x.take(e)
	x.put(rowOf(e))
}

func (x *index) all() []row {
	out := make([]row, 0, x.n)
	for i := range x.cells {
		out = append(out, x.cells[i].rows...)
	}
	return out
}

// cut makes the cells anew, as many as there are offers for, and fills them.
func (x *index) cut(rows []row) {
	x.built = len(rows)
	share := 1
	switch {
	case len(rows) >= 4096:
		share = 4
	case len(rows) >= 512:
		share = 2
	}
	cells := 1
	for d := range dims {
		x.cuts[d] = nil
		if share == 1 {
			continue
		}
		var sample []uint64
		for i := 0; i < len(rows); i += 1 + len(rows)/1024 {
			sample = append(sample, rows[i].value(d))
		}
		slices.Sort(sample)
		for k := 1; k < share; k++ {
			x.cuts[d] = append(x.cuts[d], sample[k*len(sample)/share])
		}
		x.cuts[d] = slices.Compact(x.cuts[d])
		if x.cuts[d][0] == sample[len(sample)-1] {
			x.cuts[d] = nil // all alike
		}
		cells *= len(x.cuts[d]) + 1
	}
	x.cells = make([]cell, cells)
	for _, r := range rows {
		x.put(r)
	}
}

// fewOffers is how many of a format are looked at one by one instead of in the index of all formats.
const fewOffers = 1024

// best fills into with the best of all: by price and then slowness, or the other way about. Of equals the first by peer.
func (q *query) best(pool []*entry, x *index, into []Choice) []Choice {
	room := cap(into)
	if len(pool) <= fewOffers && len(pool)*4 < x.n {
		for _, e := range pool {
			w := rowOf(e)
			into = q.take(&w, into, room)
		}
		return into
	}
	for i := range x.cells {
		c := &x.cells[i]
		if len(c.rows) == 0 || q.mayNotHold(c, into, room) {
			continue
		}
		for k := range c.rows {
			into = q.take(&c.rows[k], into, room)
		}
	}
	return into
}

// mayNotHold says whether nothing in a cell can be among the best.
func (q *query) mayNotHold(c *cell, into []Choice, room int) bool {
	bound := cost(q.need.Role, &c.prices, &q.need.Counts)
	if bound > q.taste.MaxPrice {
		return true
	}
	if len(into) < room {
		return false
	}
	worst := &into[room-1]
	if q.taste.Strategy == Cheapest {
		return bound > worst.Price || bound == worst.Price && c.slowness > worst.slowness
	}
	return c.slowness > worst.slowness || c.slowness == worst.slowness && bound > worst.Price
}

// take puts an offer into its place among the best, if it has one.
func (q *query) take(r *row, into []Choice, room int) []Choice {
	if len(into) == room && q.taste.Strategy == Fastest && r.slowness > into[room-1].slowness {
		return into
	}
	price := cost(q.need.Role, &r.prices, &q.need.Counts)
	if price > q.taste.MaxPrice || q.mask&^r.mask != 0 || len(into) == room && !q.before(r, price, &into[room-1]) {
		return into
	}
	if _, reason := q.judge(r.e); reason != "" {
		return into
	}
	if len(into) < room {
		into = append(into, Choice{})
	}
	i := len(into) - 1
	for ; i > 0 && q.before(r, price, &into[i-1]); i-- {
		into[i] = into[i-1]
	}
	into[i] = choiceOf(held{r.e, price})
	return into
}

func (q *query) before(r *row, price uint64, x *Choice) bool {
	first, second, first2, second2 := price, r.slowness, x.Price, x.slowness
	if q.taste.Strategy != Cheapest {
		first, second, first2, second2 = second, first, second2, first2
	}
	if first != first2 {
		return first < first2
	}
	if second != second2 {
		return second < second2
	}
	return bytes.Compare(r.e.offer.peer[:], x.Offer.peer[:]) < 0
}

// dealing is a hand that is filled by lot. Chance gives each offer a lot by its name, so it does not matter in which
// order they are looked at.
type dealing struct {
	seed  uint64
	cards [handSize]held // an array: nothing is allocated
	lots  [handSize]uint64
	n     int
	room  int
	left  bool // more suit than there is room for
}

// deal fills the hand from a look at every offer, each suitable one with the same chance, and says whether some are left.
func (q *query) deal(pool []*entry, x *index, r *Rand, hand []held, into []Choice) ([]held, bool) {
	d := dealing{seed: r.Uint64(), room: handSize - len(hand)}
	if len(pool) <= fewOffers && len(pool)*4 < x.n {
		for _, e := range pool {
			w := rowOf(e)
			q.offerTo(&d, &w, hand, into)
		}
		return append(hand, d.cards[:d.n]...), d.left
	}
	for i := range x.cells {
		c := &x.cells[i]
		if len(c.rows) == 0 || cost(q.need.Role, &c.prices, &q.need.Counts) > q.taste.MaxPrice {
			continue
		}
		for k := range c.rows {
			q.offerTo(&d, &c.rows[k], hand, into)
		}
	}
	return append(hand, d.cards[:d.n]...), d.left
}

// offerTo takes an offer into the hand, if it suits and its lot is low enough.
func (q *query) offerTo(d *dealing, w *row, hand []held, into []Choice) {
	price := cost(q.need.Role, &w.prices, &q.need.Counts)
	if price > q.taste.MaxPrice || q.mask&^w.mask != 0 || isTaken(w.e, hand, into) {
		return
	}
	lot := lotOf(d.seed, &w.e.offer.peer)
	full := d.n == d.room
	if full && d.left && lot >= d.lots[d.n-1] {
		return
	}
	if _, reason := q.judge(w.e); reason != "" {
		return
	}
	if full {
		d.left = true
		if lot >= d.lots[d.n-1] {
			return
		}
	} else {
		d.n++
	}
	at := d.n - 1
	for ; at > 0 && lot < d.lots[at-1]; at-- {
		d.cards[at], d.lots[at] = d.cards[at-1], d.lots[at-1]
	}
	d.cards[at], d.lots[at] = held{w.e, price}, lot
}

// lotOf is the lot of a peer, whose name is a hash.
func lotOf(seed uint64, p *Peer) uint64 {
	r := Rand{state: seed}
	for i := 0; i < len(p); i += 8 {
		r.state ^= uint64(p[i]) | uint64(p[i+1])<<8 | uint64(p[i+2])<<16 | uint64(p[i+3])<<24 |
			uint64(p[i+4])<<32 | uint64(p[i+5])<<40 | uint64(p[i+6])<<48 | uint64(p[i+7])<<56
		r.Uint64()
	}
	return r.Uint64()
}
