package market

import (
	"fmt"
	"testing"
)

func TestBookKeepsTheNewest(t *testing.T) {
	b := newBook()
	tm := terms(5)
	first := offerOf(t, "unit", tm)
	check(t, b.Add(first, start))
	wantErr(t, b.Add(first, start), Known)
	tm.Sequence, tm.Prices[CUBase] = start+1, 6
	second := offerOf(t, "unit", tm)
	check(t, b.Add(second, start+1))
	wantErr(t, b.Add(first, start+2), RolledBack)
	got, ok := b.Get(second.Peer(), Computer, start+3)
	if !ok || got.ID() != second.ID() || b.Len(Computer) != 1 {
		t.Errorf("offer %v, %d offers", got.Terms(), b.Len(Computer))
	}
	if _, ok := b.Get(second.Peer(), Messenger, start); ok {
		t.Error("an offer for a role nobody offered")
	}
	tm.Role, tm.Prices = Messenger, Parts{MUPush: 1}
	check(t, b.Add(offerOf(t, "unit", tm), start))
	if b.Len(Messenger) != 1 || b.Len(Computer) != 1 {
		t.Error("one role's offer is in the place of another's")
	}
	wantErr(t, b.Add(second, tm.Expires), Expired)
	wantErr(t, b.Add(Offer{}, start), BadShape)
	tm.Network = "other"
	wantErr(t, b.Add(offerOf(t, "unit", tm), start), OtherNetwork)
}

// An offer that was replaced by one of a shorter life stays refused for as long as it could be replayed.
func TestBookRefusesReplayAfterExpiry(t *testing.T) {
	b := newBook()
	long, short := terms(5), terms(6)
	long.Expires = start + MaxOfferLife
	short.Sequence, short.Expires = start+1, start+1000
	check(t, b.Add(offerOf(t, "unit", short), start))
	b.Observe(peerOf("unit"), Computer, Served, 1, 0, start)
	for now := start + 1001; now < long.Expires; now += 60_000 {
		b.Sweep(now)
		wantErr(t, b.Add(offerOf(t, "unit", long), now), RolledBack)
	}
	if _, ok := b.Get(peerOf("unit"), Computer, start+2000); ok {
		t.Error("an expired offer is offered")
	}
	if got := b.Offers(Computer, start+2000); len(got) != 0 {
		t.Errorf("%d expired offers", len(got))
	}
	b.Sweep(long.Expires + 1)
	if b.Len(Computer) != 0 {
		t.Error("kept for ever")
	}
}

func TestBookEquivocation(t *testing.T) {
	b := newBook()
	one, two := terms(5), terms(6)
	first, second := offerOf(t, "unit", one), offerOf(t, "unit", two)
	check(t, b.Add(offerOf(t, "other", terms(7)), start))
	check(t, b.Add(first, start))
	wantErr(t, b.Add(second, start), Equivocated)
	wantErr(t, b.Add(second, start), Equivocated)
	ev := b.Evidence()
	if len(ev) != 1 || ev[0].First.ID() != first.ID() || ev[0].Second.ID() != second.ID() {
		t.Fatalf("evidence %v", ev)
	}
	if got, _ := b.Get(peerOf("unit"), Computer, start); got.ID() != first.ID() {
		t.Error("the second offer took the first one's place")
	}
	n, taste := plain(), DefaultTaste(NoCap)
	for seed := range uint64(50) {
		got := b.Rank(&n, &taste, start, NewRand(seed), make([]Choice, 0, 2))
		if len(got) != 2 || got[0].Offer.Peer() != peerOf("other") {
			t.Fatal("a unit that contradicts itself is the first choice")
		}
	}
	// The mark fades.
	one.Sequence, one.Expires = start+demotedFor+1, start+demotedFor+1000
	check(t, b.Add(offerOf(t, "unit", one), one.Sequence))
	if e := b.entry(peerOf("unit"), Computer); e.penalty != penalty((*score)(nil).success(), 4) {
		t.Error("demoted for ever")
	}
}

// sybil is a newcomer of a block; nobody signed it, as the book does not look.
func sybil(i int, addr string) Offer {
	tm := terms(1)
	tm.Addrs = []string{addr}
	return fake(i, tm)
}

func TestBookUnderFlood(t *testing.T) {
	cfg := DefaultConfig(testnet, 1)
	cfg.Known, cfg.Newcomers = 64, 128
	b := NewBook(cfg)
	var known []Peer
	for i := range 40 {
		o := sybil(1_000_000+i, fmt.Sprintf("/ip4/203.0.%d.1/tcp/1", i))
		check(t, b.Add(o, start))
		if i < 20 {
			b.Observe(o.Peer(), Computer, Served, 1, 0, start)
		}
		known = append(known, o.Peer())
	}
	later := start + cfg.Settle // the other twenty are known by sight
	for i := range 40 {
		o := sybil(1_000_000+i, fmt.Sprintf("/ip4/203.0.%d.1/tcp/1", i))
		o.terms.Sequence, o.terms.Expires = later, later+600_000
		check(t, b.Add(o, later))
	}
	flood := func(n int, addr func(i int) string, now int64) (in int) {
		for i := range n {
			o := sybil(i, addr(i))
			o.terms.Sequence, o.terms.Expires = now, now+600_000
			_ = b.Add(o, now)
		}
		for _, o := range b.Offers(Computer, now) {
			if o.terms.Addrs[0][:9] != "/ip4/203." {
				in++
			}
		}
		for _, p := range known {
			if _, ok := b.Get(p, Computer, now); !ok {
				t.Fatal("a known unit was pushed out")
			}
		}
		if b.Len(Computer) > cfg.Known+cfg.Newcomers {
			t.Fatalf("%d offers", b.Len(Computer))
		}
		return in
	}
	one := func(i int) string { return fmt.Sprintf("/ip4/198.51.100.%d/tcp/%d", i%256, i) }
	if in := flood(10_000, one, later); in != cfg.PerBlock {
		t.Errorf("%d of 10 000 from one /24 are in, want %d", in, cfg.PerBlock)
	}
	// Having waited does not help: so many of the block are known by sight, so many newcomers.
	for now := later + 300_000; now < later+3*cfg.Settle; now += 300_000 {
		for i := range known {
			o := sybil(1_000_000+i, fmt.Sprintf("/ip4/203.0.%d.1/tcp/1", i))
			o.terms.Sequence, o.terms.Expires = now, now+600_000
			check(t, b.Add(o, now))
		}
		flood(200, one, now)
		b.Sweep(now)
	}
	now := later + 3*cfg.Settle - 300_000
	if in := flood(200, one, now); in > 2*cfg.PerBlock {
		t.Errorf("%d are in after hours", in)
	}
	// A flood from everywhere fills the newcomers' part and no more.
	if in := flood(10_000, func(i int) string { return fmt.Sprintf("/ip4/10.%d.%d.1/tcp/1", i/256, i%256) }, now); in > cfg.Newcomers+2*cfg.PerBlock {
		t.Errorf("%d are in", in)
	}
	// Somebody who served us needs no luck.
	cfg.Scores.Observe(sybil(9_999_999, "").Peer(), Computer, Served, 1, 0, now)
	late := sybil(9_999_999, "/ip4/198.51.100.9/tcp/1")
	late.terms.Sequence, late.terms.Expires = now, now+1000
	check(t, b.Add(late, now))
	if e := b.entry(late.Peer(), Computer); e == nil || e.part != scored {
		t.Error("whoever served is a newcomer")
	}
}

// So many of a block are known by sight, and no more, however long others wait.
func TestBookSettles(t *testing.T) {
	cfg := DefaultConfig(testnet, 1)
	cfg.PerBlock, cfg.Settle = 3, 1000
	b := NewBook(cfg)
	add := func(i int, now int64) {
		o := sybil(i, "/ip4/10.0.0.1/tcp/1")
		o.terms.Sequence, o.terms.Expires = now, now+600_000
		check(t, b.Add(o, now))
	}
	want := func(newcomers, known int) {
		t.Helper()
		if got := b.shelves[Computer].count; got != [3]int{newcomers, known, 0} {
			t.Errorf("%v, want %d newcomers and %d known", got, newcomers, known)
		}
	}
	for i := range 3 {
		add(i, start)
	}
	want(3, 0)
	b.Sweep(start + 999)
	want(3, 0)
	b.Sweep(start + 1000)
	want(0, 3)
	for i := 3; i < 6; i++ {
		add(i, start+1000)
	}
	b.Sweep(start + 5000)
	want(3, 3)
}

// To have been tried and to have failed makes nobody known: otherwise a flood would fill the book by failing.
func TestBookFailuresMakeNobodyKnown(t *testing.T) {
	b := newBook()
	for i := range 20 {
		o := sybil(i, fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i))
		check(t, b.Add(o, start))
		b.Observe(o.Peer(), Computer, []Outcome{Failed, Dishonoured, Wrong, Measured}[i%4], 5, 7, start)
	}
	if got := b.shelves[Computer].count; got != [3]int{20, 0, 0} {
		t.Errorf("%v", got)
	}
}

// Which newcomers stay is a draw: the order in which they come does not matter.
func TestBookDrawIsFair(t *testing.T) {
	add := func(order []int) map[Peer]bool {
		cfg := DefaultConfig(testnet, 7)
		cfg.Newcomers, cfg.PerBlock = 40, 5
		b := NewBook(cfg)
		for _, i := range order {
			_ = b.Add(sybil(i, fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", i%13)), start)
		}
		in := map[Peer]bool{}
		for _, o := range b.Offers(Computer, start) {
			in[o.Peer()] = true
		}
		return in
	}
	order := make([]int, 500)
	for i := range order {
		order[i] = i
	}
	want := add(order)
	if len(want) != 40 {
		t.Fatalf("%d are in", len(want))
	}
	r := NewRand(5)
	for range 20 {
		shuffle(r, order)
		got := add(order)
		for p := range want {
			if !got[p] {
				t.Fatalf("%s is in by its place in the queue alone", p)
			}
		}
	}
}

func shuffle[T any](r *Rand, s []T) {
	for i := range s {
		j := i + int(r.Below(uint64(len(s)-i)))
		s[i], s[j] = s[j], s[i]
	}
}

// Counts, pools and blocks say the same whatever happened.
func TestBookCounts(t *testing.T) {
	cfg := DefaultConfig(testnet, 7)
	cfg.Known, cfg.Newcomers, cfg.PerBlock, cfg.Settle = 10, 10, 3, 60_000
	b := NewBook(cfg)
	r := NewRand(1)
	now := start
	for range 3000 {
		now += int64(r.Below(5000))
		i := int(r.Below(60))
		switch r.Below(5) {
		case 0:
			b.Sweep(now)
		case 1:
			b.Observe(sybil(i, "").Peer(), Computer, Outcome(r.Below(uint64(outcomes))), 5, 100, now)
		default:
			o := sybil(i, fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", r.Below(8)))
			o.terms.Sequence, o.terms.Expires = now-int64(r.Below(2)), now+int64(r.Below(200_000))
			if r.Below(3) == 0 {
				o.terms.Formats = []string{"a", "b", "a"}
			}
			_ = b.Add(o, now)
		}
		sh := &b.shelves[Computer]
		var count [3]int
		pooled := map[string]int{}
		blocks := [2]map[string]int{{}, {}}
		for k, e := range sh.pools[""] {
			if k > 0 && !less(sh.pools[""][k-1].offer.peer, e.offer.peer) {
				t.Fatal("out of order")
			}
			count[e.part]++
			if e.part != scored {
				blocks[e.part][e.block]++
			}
			for _, f := range e.poolNames() {
				pooled[f]++
			}
		}
		if sh.index.n != len(sh.pools[""]) {
			t.Fatalf("%d in the index", sh.index.n)
		}
		if count != sh.count || count[newcomer] > cfg.Newcomers || count[sighted]+count[scored] > cfg.Known {
			t.Fatalf("%v, counted %v", count, sh.count)
		}
		if fmt.Sprint(blocks) != fmt.Sprint(sh.blocks) {
			t.Fatalf("%v, counted %v", blocks, sh.blocks)
		}
		for _, part := range blocks {
			for block, n := range part {
				if n > cfg.PerBlock {
					t.Fatalf("%d of %s", n, block)
				}
			}
		}
		for f, pool := range sh.pools {
			if len(pool) != pooled[f] {
				t.Fatalf("%d in pool %q, want %d", len(pool), f, pooled[f])
			}
		}
	}
}

func less(a, b Peer) bool { return string(a[:]) < string(b[:]) }
