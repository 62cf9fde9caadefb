package market

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestNeedComesBack(t *testing.T) {
	for _, n := range []Need{need("buyer"), plain(), {Network: testnet, Role: Attestor, Counts: Parts{AttestRate: 5, AttestPeriod: 6}}} {
		got, err := ParseNeed(n.Bytes())
		check(t, err)
		if !reflect.DeepEqual(got, n) || got.Digest() != n.Digest() {
			t.Errorf("%+v, want %+v", got, n)
		}
	}
	seen := map[ao.ID]bool{}
	for _, change := range []func(*Need){
		func(*Need) {},
		func(n *Need) { n.Network += "2" }, func(n *Need) { n.Role = Messenger; n.Counts = Parts{1, 3, 5} },
		func(n *Need) { n.Buyer[0]++ }, func(n *Need) { n.Nonce[0]++ }, func(n *Need) { n.Process[0]++ }, func(n *Need) { n.Slot++ },
		func(n *Need) { n.Format += "x" }, func(n *Need) { n.Extensions = nil }, func(n *Need) { n.Memory++ },
		func(n *Need) { n.Compute++ }, func(n *Need) { n.Region = "" }, func(n *Need) { n.Ledger[0]++ }, func(n *Need) { n.Counts[3]++ },
	} {
		n := need("buyer")
		change(&n)
		check(t, n.Check())
		if seen[n.Digest()] {
			t.Errorf("%+v has another's digest", n)
		}
		seen[n.Digest()] = true
	}
}

func TestNeedRefused(t *testing.T) {
	for want, bad := range map[Reason][]func(*Need){
		BadShape: {
			func(n *Need) { n.Network = "" }, func(n *Need) { n.Role = roles }, func(n *Need) { n.Format = "a b" },
			func(n *Need) { n.Region = "EU" }, func(n *Need) { n.Extensions = []string{"b", "a"} }, func(n *Need) { n.Extensions = []string{""} },
		},
		TooLarge: {func(n *Need) { n.Extensions = make([]string, 17) }},
		Absurd: {
			func(n *Need) { n.Memory = 1 << 60 }, func(n *Need) { n.Counts[CUBase] = 1 << 54 }, func(n *Need) { n.Counts[SUWindow] = 1 },
			func(n *Need) { n.Slot = 1 << 60 },
		},
	} {
		for i, f := range bad {
			n := need("buyer")
			f(&n)
			_, err := ParseNeed(n.Bytes())
			if ReasonOf(n.Check()) != want || ReasonOf(err) != want {
				t.Errorf("%s %d: %v, %v", want, i, n.Check(), err)
			}
		}
	}
	whole := need("buyer").Bytes()
	for i := range whole {
		if _, err := ParseNeed(whole[:i]); err == nil {
			t.Fatalf("a need of %d of %d bytes", i, len(whole))
		}
	}
	_, err := ParseNeed(append(whole, 0))
	wantErr(t, err, BadShape)
	_, err = ParseNeed(make([]byte, MaxNeed+1))
	wantErr(t, err, TooLarge)
}

func TestSuits(t *testing.T) {
	for want, f := range map[Reason]func(*Need, *Terms){
		"":           func(*Need, *Terms) {},
		OtherNetwork: func(_ *Need, o *Terms) { o.Network = "other" },
		WrongRole:    func(_ *Need, o *Terms) { o.Role = Messenger },
		NoCapacity:   func(_ *Need, o *Terms) { o.Capacity = 0 },
		LittleMemory: func(n *Need, _ *Terms) { n.Memory = 1<<30 + 1 },
		LittleWork:   func(n *Need, _ *Terms) { n.Compute = 1<<40 + 1 },
		OtherRegion:  func(n *Need, _ *Terms) { n.Region = "us" },
		NoFormat:     func(n *Need, _ *Terms) { n.Format = "wasm64-unknown-emscripten-draft_2024_02_15" },
		OtherLedger:  func(n *Need, _ *Terms) { n.Ledger = ao.ID{8} },
		NoExtension:  func(n *Need, _ *Terms) { n.Extensions = []string{"weavedrive", "zk"} },
	} {
		n, o := need("buyer"), terms(5)
		f(&n, &o)
		if got := n.suits(&o); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if _, err := PriceNeed(o, n, Standing{}, start); ReasonOf(err) != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// quoteFor is a sound quote for a need.
func quoteFor(t testing.TB, seller string, tm Terms, n Need, at Standing) Quote {
	t.Helper()
	b, err := PriceNeed(tm, n, at, start+30_000)
	check(t, err)
	q, err := SignQuote(signer(seller), b)
	check(t, err)
	return q
}

func TestQuote(t *testing.T) {
	n, tm := need("buyer"), terms(5)
	o := offerOf(t, "unit", tm)
	q := quoteFor(t, "unit", tm, n, Standing{Behind: 4, Backlog: 2})
	got, err := ParseQuote(q.Raw())
	check(t, err)
	if !reflect.DeepEqual(got.Bid(), q.Bid()) || got.Peer() != peerOf("unit") || got.Bid().Price != ao.NewAmount(5+4*2+2*1) {
		t.Errorf("%+v", got.Bid())
	}
	check(t, got.Check(n, o, start))
	hot := quoteFor(t, "unit", tm, n, Standing{Hot: true})
	if hot.Bid().Price.Cmp(q.Bid().Price) >= 0 {
		t.Error("who holds the process asks as much as who must replay it")
	}

	resign := func(f func(*Bid)) Quote {
		b := q.Bid()
		f(&b)
		again, err := SignQuote(signer("unit"), b)
		check(t, err)
		return again
	}
	other := need("buyer")
	other.Nonce[1]++
	foreign := n
	foreign.Network = "other"
	role := n
	role.Role = Messenger
	newer := tm
	newer.Sequence++
	dear := resign(func(b *Bid) { b.Parts[0], b.Price = ao.NewAmount(6), ao.NewAmount(16) })
	for _, c := range []struct {
		name string
		q    Quote
		n    Need
		o    Offer
		now  int64
		want Reason
	}{
		{"last moment", q, n, o, start + 29_999, ""},
		{"late", q, n, o, start + 30_000, Expired},
		{"long", q, n, o, start + 30_000 - MaxQuoteLife - 1, TooLongLived},
		{"another need", q, other, o, start, OtherNeed},
		{"another network", q, foreign, o, start, OtherNetwork},
		{"another role", q, role, o, start, WrongRole},
		{"another seller", q, n, offerOf(t, "cheap", tm), start, OtherSeller},
		{"another offer", q, n, offerOf(t, "unit", newer), start, StaleOffer},
		{"bait", dear, n, o, start, OverOffer},
		{"more behind than there is", quoteFor(t, "unit", tm, n, Standing{Behind: 11}), n, o, start, FarBehind},
		{"all behind", quoteFor(t, "unit", tm, n, Standing{Behind: 10}), n, o, start, ""},
		{"nothing", Quote{}, n, o, start, OtherSeller},
		{"no offer", q, n, Offer{}, start, OtherSeller},
	} {
		if err := c.q.Check(c.n, c.o, c.now); ReasonOf(err) != c.want || err != nil && c.want == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	for want, f := range map[Reason]func(*Bid){
		BadSum:   func(b *Bid) { b.Price = ao.NewAmount(1) },
		BadShape: func(b *Bid) { b.Parts = b.Parts[1:] },
		Absurd: func(b *Bid) {
			most, err := ao.ParseAmount("115792089237316195423570985008687907853269984665640564039457584007913129639935")
			check(t, err)
			b.Parts[1], b.Parts[2] = most, most
		},
	} {
		b := q.Bid()
		b.Parts = append([]ao.Amount{}, b.Parts...)
		f(&b)
		if _, err := SignQuote(signer("unit"), b); ReasonOf(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err = ParseQuote(make([]byte, MaxQuote+1))
	wantErr(t, err, TooLarge)
	bad := bytes.Clone(q.Raw())
	bad[5] ^= 1
	_, err = ParseQuote(bad)
	wantErr(t, err, BadSignature)
}

func TestPrices(t *testing.T) {
	m := uint64(math.MaxInt64)
	for _, c := range []struct {
		role           Role
		prices, counts Parts
		want           uint64
	}{
		{Computer, Parts{5, 2, 3, 1}, Parts{1, 10, 100, 7}, 5 + 20 + 300 + 7},
		{Computer, Parts{}, Parts{1, 10, 100, 7}, 0},
		{Computer, Parts{m, m, m, m}, Parts{maxNumber, maxNumber, maxNumber, maxNumber}, math.MaxUint64},
		{Computer, Parts{m}, Parts{2}, math.MaxUint64 - 1},
		{Computer, Parts{m, 1}, Parts{2, 2}, math.MaxUint64},
		{Messenger, Parts{5, 2, 3}, Parts{1, 2, 3}, 5 + 4 + 9},
		{Attestor, Parts{50_000}, Parts{1_000_000, year}, 50_000},
		{Attestor, Parts{50_000}, Parts{1_000_000, year / 2}, 25_000},
		{Attestor, Parts{1}, Parts{1, 1}, 1}, // rounded up
		{Attestor, Parts{1}, Parts{1, 0}, 0},
		{Attestor, Parts{m}, Parts{maxNumber, maxNumber}, math.MaxUint64},
	} {
		if got := cost(c.role, &c.prices, &c.counts); got != c.want {
			t.Errorf("%s %v × %v: %d, want %d", c.role, c.prices, c.counts, got, c.want)
		}
		// The exact bill says the same where it is not saturated.
		_, sum, err := bill(c.role, &c.prices, &c.counts)
		if c.want != math.MaxUint64 && (err != nil || sum != ao.NewAmount(c.want)) {
			t.Errorf("%s %v × %v: bill %s, %v", c.role, c.prices, c.counts, sum, err)
		}
	}
}

func TestDeal(t *testing.T) {
	n, tm := need("buyer"), terms(5)
	q := quoteFor(t, "unit", tm, n, Standing{Behind: 1})
	d, err := SignDeal(signer("buyer"), n, q)
	check(t, err)
	got, err := ParseDeal(d.Raw())
	check(t, err)
	if got.Buyer() != peerOf("buyer") || got.Seller() != peerOf("unit") || got.Owed() != q.Bid().Price || got.ID() != d.ID() ||
		!reflect.DeepEqual(got.Need(), n) || got.Quote().ID() != q.ID() {
		t.Errorf("%+v", got)
	}
	wallet, err := ans104.NewEthereumSigner(bytes.Repeat([]byte{1}, 32))
	check(t, err)
	n2 := n
	n2.Buyer = PeerOf(wallet.Owner())
	d2, err := SignDeal(wallet, n2, quoteFor(t, "unit", tm, n2, Standing{}))
	check(t, err)
	_, err = ParseDeal(d2.Raw())
	check(t, err)

	_, err = SignDeal(signer("thief"), n, q)
	wantErr(t, err, OtherBuyer)
	other := n
	other.Slot++
	_, err = SignDeal(signer("buyer"), other, q)
	wantErr(t, err, OtherNeed)
	_, err = SignDeal(signer("buyer"), n, Quote{})
	wantErr(t, err, BadShape)
	// The quote inside must be signed as well: the buyer cannot make one up.
	forged := bytes.Clone(q.Raw())
	forged[9] ^= 1
	fq := q
	fq.item, err = ans104.Parse(forged)
	check(t, err)
	fd, err := SignDeal(signer("buyer"), n, fq)
	check(t, err)
	_, err = ParseDeal(fd.Raw())
	wantErr(t, err, BadSignature)
	bad := bytes.Clone(d.Raw())
	bad[9] ^= 1
	_, err = ParseDeal(bad)
	wantErr(t, err, BadSignature)
	_, err = ParseDeal(make([]byte, MaxDeal+1))
	wantErr(t, err, TooLarge)
}

// What all buyers owe is what all sellers are owed is the sum of the deals, each counted once.
func TestTabConservesMoney(t *testing.T) {
	r := NewRand(3)
	buyers, sellers := []string{"b0", "b1", "b2"}, []string{"s0", "s1", "s2", "s3"}
	tab := NewTab()
	var want ao.Amount
	for i := range 60 {
		n := need(buyers[r.Below(3)])
		n.Nonce[5], n.Counts[CUKiB] = byte(i), r.Below(1000)
		d, err := SignDeal(signer(buyers[placeOf(buyers, n.Buyer)]), n, quoteFor(t, sellers[r.Below(4)], terms(r.Below(1<<40)), n, Standing{}))
		check(t, err)
		check(t, tab.Add(d, start))
		wantErr(t, tab.Add(d, start), DealtTwice)
		want, err = want.Add(d.Owed())
		check(t, err)
		for _, side := range []struct {
			names []string
			sum   func(Peer) (ao.Amount, error)
		}{{buyers, tab.OwedBy}, {sellers, tab.OwedTo}} {
			var all ao.Amount
			for _, name := range side.names {
				a, err := side.sum(peerOf(name))
				check(t, err)
				all, err = all.Add(a)
				check(t, err)
			}
			if all != want {
				t.Fatalf("%s, the deals say %s", all, want)
			}
		}
	}
	if total, err := tab.Total(); err != nil || total != want {
		t.Errorf("%s, %v", total, err)
	}
	d, err := SignDeal(signer("b0"), need("b0"), quoteFor(t, "s0", terms(1), need("b0"), Standing{}))
	check(t, err)
	wantErr(t, tab.Add(d, start+30_000), Expired)
	wantErr(t, tab.Add(d, start-MaxQuoteLife), TooLongLived)
	tab.forget(start + 30_000)
	if len(tab.dealt) != 0 || tab.Owes(peerOf("b0"), peerOf("s0")).IsZero() {
		t.Error("quotes are remembered too long, or debts too short")
	}
}

func placeOf(names []string, p Peer) int {
	for i, n := range names {
		if peerOf(n) == p {
			return i
		}
	}
	return -1
}

func FuzzParseNeed(f *testing.F) {
	f.Add(need("buyer").Bytes())
	f.Add(plain().Bytes())
	f.Add([]byte(domainNeed + "\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := ParseNeed(raw)
		if err != nil {
			if ReasonOf(err) == "" {
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		if !bytes.Equal(n.Bytes(), raw) || n.Check() != nil {
			t.Fatalf("%x is the need %x", raw, n.Bytes())
		}
		tm := terms(maxPrice)
		_ = n.suits(&tm)
	})
}

func FuzzParseQuote(f *testing.F) {
	q := quoteFor(f, "unit", terms(5), need("buyer"), Standing{Behind: 4})
	f.Add(q.item.Data(), q.item.RawTags())
	f.Fuzz(func(t *testing.T, data, rawTags []byte) {
		it, ok := unsigned(t, rawTags, data)
		if !ok {
			return
		}
		if _, err := ParseQuote(it.Raw()); err == nil || ReasonOf(err) == "" {
			t.Fatalf("a quote without a signature, or no reason: %v", err)
		}
		q, err := shapeQuote(it)
		if err != nil {
			return
		}
		again, err := SignQuote(signer("unit"), q.Bid())
		check(t, err)
		want, _ := json.Marshal(q.bid)
		if got, _ := json.Marshal(again.bid); !bytes.Equal(got, want) {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func FuzzParseDeal(f *testing.F) {
	n := need("buyer")
	n.Extensions, n.Region = nil, ""
	d, err := SignDeal(signer("unit"), func() Need { n.Buyer = peerOf("unit"); return n }(), quoteFor(f, "s", terms(5), n, Standing{}))
	check(f, err)
	f.Add(d.item.Data(), d.item.RawTags())
	f.Fuzz(func(t *testing.T, data, rawTags []byte) {
		it, ok := unsigned(t, rawTags, data)
		if !ok {
			return
		}
		if _, err := ParseDeal(it.Raw()); err == nil || ReasonOf(err) == "" {
			t.Fatalf("a deal without a signature, or no reason: %v", err)
		}
		d, err := shapeDeal(it)
		if err != nil {
			return
		}
		again, err := SignDeal(signer("unit"), d.Need(), d.Quote())
		check(t, err)
		if !bytes.Equal(again.item.Data(), data) || again.Owed() != d.Owed() {
			t.Fatal("signed again it is another deal")
		}
	})
}

// Lengths and names in errors come from strangers and stay short.
func TestRefusalsAreShort(t *testing.T) {
	tm := terms(5)
	tm.Network = strings.Repeat("N", 1<<20)
	_, err := SignOffer(signer("unit"), tm)
	if len(err.Error()) > 300 || errors.Is(err, TooLarge) {
		t.Errorf("%d bytes", len(err.Error()))
	}
}
