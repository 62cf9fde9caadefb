package market

import (
	"fmt"
	"slices"
	"testing"
)

func names(choices []Choice) (out []string) {
	for _, c := range choices {
		out = append(out, c.Offer.Peer().String()[:8])
	}
	return out
}

// The order in which offers came decides nothing, for any strategy, seed and need.
func TestRankIsPermutationInvariant(t *testing.T) {
	r := NewRand(9)
	var offers []Offer
	for i := range 60 {
		tm := terms(1 + r.Below(4))
		if r.Below(2) == 0 {
			tm.Formats = append(tm.Formats, "other")
		}
		if r.Below(4) == 0 {
			tm.Capacity = 0
		}
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i)}
		offers = append(offers, offerOf(t, name(i), tm))
	}
	build := func() *Book {
		b := newBook()
		for _, o := range offers {
			check(t, b.Add(o, start))
		}
		for i := range 60 {
			b.Observe(peerOf(name(i)), Computer, Outcome(i%4), uint64(i), uint64(1000+i%7), start)
		}
		return b
	}
	first := build()
	for range 5 {
		shuffle(r, offers)
		other := build()
		for s := range strategies {
			for seed := range uint64(40) {
				n, taste := plain(), DefaultTaste(2+seed%4)
				taste.Strategy, taste.Fresh, taste.Explore = s, true, 300_000
				if seed%2 == 0 {
					n.Format = "other"
				}
				x := first.Rank(&n, &taste, start, NewRand(seed), make([]Choice, 0, 1+seed%9))
				y := other.Rank(&n, &taste, start, NewRand(seed), make([]Choice, 0, 1+seed%9))
				if !slices.Equal(names(x), names(y)) {
					t.Fatalf("%s, seed %d: %v and %v", s, seed, names(x), names(y))
				}
			}
		}
	}
}

// Whatever is chosen is suitable and within the cap, nobody is chosen twice, and where there are enough, all places are filled.
func TestRankCapsHold(t *testing.T) {
	b := newBook()
	r := NewRand(2)
	for i := range 200 {
		tm := terms(r.Below(1000))
		tm.Prices[CUSlot], tm.Prices[CUCompute] = r.Below(1<<40), r.Below(3)<<62
		if i%5 == 0 {
			tm.Region = "us"
		}
		if i%7 == 0 {
			tm.Memory = 1000
		}
		tm.Prices[CUCompute] = min(tm.Prices[CUCompute], maxPrice)
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i)}
		check(t, b.Add(offerOf(t, name(i), tm), start))
	}
	base, offers := need("buyer"), b.Offers(Computer, start)
	avoided := []Peer{peerOf(name(1)), peerOf(name(2))}
	for seed := range uint64(400) {
		n := base
		n.Counts[CUSlot], n.Counts[CUCompute] = r.Below(3), r.Below(2)
		taste := DefaultTaste(r.Below(3000))
		taste.Strategy, taste.Fresh, taste.Explore = Strategy(seed%uint64(strategies)), true, 500_000
		taste.Second = r.Uint64() >> r.Below(64)
		if seed%9 == 0 {
			taste.Avoid = avoided
		}
		if seed%11 == 0 {
			taste.Only = []Peer{peerOf(name(2)), peerOf(name(4)), peerOf(name(5))}
		}
		isWanted := func(p Peer) bool {
			return !slices.Contains(taste.Avoid, p) && (taste.Only == nil || slices.Contains(taste.Only, p))
		}
		suitable := 0
		for _, o := range offers {
			tm := o.Terms()
			price := cost(Computer, &tm.Prices, &n.Counts)
			if n.suits(&tm) == "" && price <= taste.MaxPrice && isWanted(o.Peer()) {
				suitable++
			}
		}
		room := int(r.Below(20)) + 1
		got := b.Rank(&n, &taste, start, NewRand(seed), make([]Choice, 0, room))
		if len(got) != min(room, suitable) {
			t.Fatalf("seed %d: %d of %d places, %d suit", seed, len(got), room, suitable)
		}
		seen := map[Peer]bool{}
		for _, c := range got {
			tm := c.Offer.Terms()
			if c.Price > taste.MaxPrice || n.suits(&tm) != "" || !isWanted(c.Offer.Peer()) || seen[c.Offer.Peer()] {
				t.Fatalf("seed %d: %s at %d, cap %d", seed, c.Offer.Peer(), c.Price, taste.MaxPrice)
			}
			seen[c.Offer.Peer()] = true
		}
	}
}

func TestStrategies(t *testing.T) {
	b := newBook()
	for i, c := range []struct{ price, ms uint64 }{{10, 90}, {12, 20}, {30, 5}, {11, 400}} {
		tm := terms(c.price)
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i)}
		check(t, b.Add(offerOf(t, name(i), tm), start))
		for range 20 {
			b.Observe(peerOf(name(i)), Computer, Served, 10, c.ms*1000, start)
		}
	}
	order := func(taste Taste) (out []int) {
		n := plain()
		for _, c := range b.Rank(&n, &taste, start, NewRand(1), make([]Choice, 0, 4)) {
			for i := range 4 {
				if c.Offer.Peer() == peerOf(name(i)) {
					out = append(out, i)
				}
			}
		}
		return out
	}
	want := func(taste Taste, order2 ...int) {
		t.Helper()
		if got := order(taste); !slices.Equal(got, order2) {
			t.Errorf("%s: %v, want %v", taste.Strategy, got, order2)
		}
	}
	taste := DefaultTaste(NoCap)
	taste.Second = 100 // a tenth of a unit for each ms
	want(taste, 1, 0, 2, 3)
	taste.Strategy = Cheapest
	want(taste, 0, 3, 1, 2)
	taste.Strategy = Fastest
	want(taste, 2, 1, 0, 3)
	taste.Strategy, taste.Weights = Weighted, Weights{Price: 0, Latency: 100, Success: 4}
	want(taste, 2, 1, 0, 3)
	taste.Weights = Weights{Price: 100, Latency: 0}
	want(taste, 0, 3, 1, 2)
	taste.MaxLatency = 50_000
	want(taste, 1, 2)
	taste.MaxLatency, taste.MaxPrice = 0, 11
	want(taste, 0, 3)

	// Work in flight counts as latency.
	taste = DefaultTaste(NoCap)
	taste.Second = 100
	for range 40 {
		b.Begin(peerOf(name(1)), Computer)
	}
	want(taste, 0, 2, 3, 1)
	for range 40 {
		b.End(peerOf(name(1)), Computer, Served, 10, 20_000, start)
	}
	want(taste, 1, 0, 2, 3)
	// So do failures; a wrong result shuts out.
	for range 20 {
		b.Observe(peerOf(name(1)), Computer, Failed, 10, 0, start)
	}
	b.Observe(peerOf(name(0)), Computer, Wrong, 10, 0, start)
	want(taste, 2, 1, 3)
	for s := range strategies {
		got, err := ParseStrategy(s.String())
		if err != nil || got != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if _, err := ParseStrategy("best"); ReasonOf(err) != BadShape {
		t.Error(err)
	}
}

// Trying happens as often as asked, for fresh slots alone, and never in the first place.
func TestRankExplores(t *testing.T) {
	b := newBook()
	for i := range 100 {
		tm := terms(10)
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i)}
		check(t, b.Add(offerOf(t, name(i), tm), start))
		if i < 50 {
			for range 20 {
				b.Observe(peerOf(name(i)), Computer, Served, 10, 50_000, start)
			}
		}
	}
	r := NewRand(4)
	for _, fresh := range []bool{true, false} {
		n, taste := plain(), DefaultTaste(NoCap)
		taste.Fresh = fresh
		tried := 0
		for range 20_000 {
			got := b.Rank(&n, &taste, start, r, make([]Choice, 0, 3))
			if len(got) != 3 || got[0].Try || got[2].Try {
				t.Fatalf("%v", got)
			}
			if got[1].Try {
				tried++
				if b.entry(got[1].Offer.Peer(), Computer).weight >= proven {
					t.Fatal("one that is known well is tried")
				}
			}
		}
		if fresh && (tried < 500 || tried > 700) || !fresh && tried != 0 {
			t.Errorf("fresh %v: %d of 20 000 tried", fresh, tried)
		}
	}
}

func TestRankAllocatesNothing(t *testing.T) {
	b := market(t, 1000)
	n, r := plain(), NewRand(1)
	into := make([]Choice, 0, 3)
	for s := range strategies {
		taste := DefaultTaste(NoCap)
		taste.Strategy, taste.Fresh = s, true
		if allocs := testing.AllocsPerRun(200, func() { into = b.Rank(&n, &taste, start, r, into) }); allocs != 0 {
			t.Errorf("%s: %v allocations", s, allocs)
		}
	}
}

func BenchmarkRank(b *testing.B) {
	for _, size := range []int{1000, 100_000} {
		book := market(b, size)
		pool := book.shelves[Computer].pools[""]
		b.Run(fmt.Sprintf("pass/%d", size), func(b *testing.B) { // the primitive: one pass over the prices
			n := need("buyer")
			prices := make([]Parts, len(pool))
			for i, e := range pool {
				prices[i] = e.prices
			}
			b.ReportAllocs()
			for b.Loop() {
				least := uint64(NoCap)
				for i := range prices {
					least = min(least, cost(Computer, &prices[i], &n.Counts))
				}
				if least == 0 {
					b.Fatal("free")
				}
			}
		})
		for s := range strategies {
			b.Run(fmt.Sprintf("%s/%d", s, size), func(b *testing.B) {
				n, taste, r := need("buyer"), DefaultTaste(NoCap), NewRand(1)
				taste.Strategy = s
				into := make([]Choice, 0, 3)
				b.ReportAllocs()
				for b.Loop() {
					if into = book.Rank(&n, &taste, start, r, into); len(into) != 3 {
						b.Fatal(len(into))
					}
				}
			})
		}
		b.Run(fmt.Sprintf("rare/%d", size), func(b *testing.B) { // a cap that three of a thousand are below
			n, taste, r := need("buyer"), DefaultTaste(0), NewRand(1)
			var all []uint64
			for _, e := range pool {
				all = append(all, cost(Computer, &e.prices, &n.Counts))
			}
			slices.Sort(all)
			taste.MaxPrice = all[size*3/1000]
			into := make([]Choice, 0, 3)
			b.ReportAllocs()
			for b.Loop() {
				if into = book.Rank(&n, &taste, start, r, into); len(into) != 3 {
					b.Fatal(len(into))
				}
			}
		})
	}
}
