package market

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
)

// What the index finds is what sorting all offers finds, after whatever happened to them; and a look by lot gives
// everybody who suits the same chance.
func TestIndexAgainstSorting(t *testing.T) {
	for _, size := range []int{20, 700, 5000} {
		b := market(t, size)
		sh := &b.shelves[Computer]
		r := NewRand(5)
		for _, e := range slices.Clone(sh.pools[""]) {
			if r.Below(10) == 0 { // a rarer format has a way of its own
				sh.remove(e)
				e.offer.terms.Formats = []string{"rare", format}
				e.mask = e.offer.terms.mask()
				sh.insert(e)
			}
		}
		for round := range 60 {
			for range size / 50 {
				e := sh.pools[""][r.Below(uint64(len(sh.pools[""])))]
				switch r.Below(4) {
				case 0:
					sh.remove(e)
					e.prices[CUBase], e.offer.terms.Prices[CUBase] = r.Below(1000), 0
					sh.insert(e)
				case 1:
					b.Begin(e.offer.peer, Computer)
				case 2:
					b.End(e.offer.peer, Computer, Served, 100, 1+r.Below(300_000), start)
				case 3:
					e.prices[CUBase] = r.Below(5) * 100 // many alike
					sh.index.touch(e)
				}
			}
			n, taste := need("buyer"), DefaultTaste(r.Below(2000))
			taste.Strategy = Cheapest + Strategy(round%2)
			if round%5 == 0 {
				n.Format = "rare"
			}
			q := newQuery(&n, &taste, start)
			var all []Choice
			for _, e := range sh.pools[""] {
				if price, reason := q.judge(e); reason == "" {
					all = append(all, choiceOf(held{e, price}))
				}
			}
			slices.SortFunc(all, func(x, y Choice) int {
				byPrice, bySlowness := cmp.Compare(x.Price, y.Price), cmp.Compare(x.slowness, y.slowness)
				if taste.Strategy == Fastest {
					byPrice, bySlowness = bySlowness, byPrice
				}
				return cmp.Or(byPrice, bySlowness, slices.Compare(x.Offer.peer[:], y.Offer.peer[:]))
			})
			room := 1 + int(r.Below(6))
			got := b.Rank(&n, &taste, start, r, make([]Choice, 0, room))
			if want := all[:min(room, len(all))]; !slices.Equal(names(got), names(want)) {
				t.Fatalf("%d offers, %s: %v, want %v", size, taste.Strategy, names(got), names(want))
			}
		}
		if sh.index.n != len(sh.pools[""]) {
			t.Errorf("%d in the index, %d in all", sh.index.n, len(sh.pools[""]))
		}
	}
}

func TestDealIsEven(t *testing.T) {
	b := market(t, 1000)
	sh := &b.shelves[Computer]
	n, taste := plain(), DefaultTaste(0)
	var prices []uint64
	for _, e := range sh.pools[""] {
		prices = append(prices, e.prices[CUBase])
	}
	slices.Sort(prices)
	taste.MaxPrice = prices[19]
	q := newQuery(&n, &taste, start)
	suit := len(q.suitable(sh.pools[""]))
	count := map[Peer]int{}
	r := NewRand(1)
	const deals = 10_000
	for range deals {
		var cards [handSize]held
		hand, left := q.deal(sh.pools[format], &sh.index, r, cards[:0], nil)
		if len(hand) != handSize || !left {
			t.Fatalf("%d in hand, left %v", len(hand), left)
		}
		for _, h := range hand {
			count[h.e.offer.peer]++
		}
	}
	if len(count) != suit {
		t.Errorf("%d of %d were dealt", len(count), suit)
	}
	for p, n := range count {
		if want := deals * handSize / suit; n < want*9/10 || n > want*11/10 {
			t.Errorf("%s: %d times, want about %d", p, n, want)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, size := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { // what a renewed offer costs beside verifying its signature
			book := market(b, size)
			offers := book.Offers(Computer, start)
			next := make([]Terms, len(offers))
			for i := range offers {
				next[i] = *offers[i].terms
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				o := offers[i%size]
				tm := &next[i%size]
				tm.Sequence++
				o.terms = tm
				old := *tm
				old.Sequence--
				if e := book.entry(o.peer, Computer); e != nil {
					e.offer.terms = &old
				}
				if err := book.Add(o, start); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// However many offers there are, few are looked at: what the index is for, told without a clock.
func TestIndexPassesOver(t *testing.T) {
	b := market(t, 20_000)
	x := &b.shelves[Computer].index
	r := NewRand(8)
	for range 20_000 { // what was seen since must not blur it
		i := r.Below(uint64(len(b.shelves[Computer].pools[""])))
		b.Observe(b.shelves[Computer].pools[""][i].offer.peer, Computer, Served, 100, 20_000+r.Below(130_000), start)
	}
	for _, s := range []Strategy{Cheapest, Fastest} {
		n, taste := need("buyer"), DefaultTaste(NoCap)
		taste.Strategy = s
		q := newQuery(&n, &taste, start)
		into := make([]Choice, 0, 3)
		looked := 0
		for i := range x.cells {
			c := &x.cells[i]
			if len(c.rows) == 0 || q.mayNotHold(c, into, 3) {
				continue
			}
			looked += len(c.rows)
			for k := range c.rows {
				into = q.take(&c.rows[k], into, 3)
			}
		}
		if len(x.cells) < 500 || looked > 1500 {
			t.Errorf("%s: %d of 20 000 offers in %d cells are looked at", s, looked, len(x.cells))
		}
	}
}
