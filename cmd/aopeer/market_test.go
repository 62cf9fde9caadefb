package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

// shown is an offer of a computer as a listing has it.
func shown(name string, price uint64, capacity uint32) shownOffer {
	return shownOffer{
		Role: "cu", Unit: strings.Repeat(name[:1], 43), Name: name, role: market.Computer, price: price, Capacity: capacity,
		parts: market.Parts{price}, latency: market.Unmeasured,
	}
}

// TestWatchTellsChanges: where there is no terminal, the table comes once and then a line for each change.
func TestWatchTellsChanges(t *testing.T) {
	var out bytes.Buffer
	ch := &changes{out: &out}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, step := range []struct {
		offers []shownOffer
		want   []string
	}{
		{[]shownOffer{shown("a", 5, 2), shown("b", 7, 2)}, []string{"ROLE", "base 5", "base 7"}},
		{[]shownOffer{shown("a", 5, 2), shown("b", 7, 2)}, nil},
		{[]shownOffer{shown("a", 6, 2), shown("b", 7, 0)}, []string{"03:04:05  cu  a  price base 6, was base 5", "cu  b  capacity 0, was 2"}},
		{[]shownOffer{shown("a", 6, 2), shown("c", 0, 9)}, []string{"cu  c  offers: free, capacity 9", "cu  b  offers no more"}},
	} {
		out.Reset()
		if err := ch.tell(look{Time: at, Offers: step.offers}); err != nil {
			t.Fatal(err)
		}
		for _, want := range step.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("it does not say %q:\n%s", want, &out)
			}
		}
		if step.want == nil && out.Len() > 0 {
			t.Errorf("nothing has changed, and it says\n%s", &out)
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("control sequences without a terminal: %q", &out)
		}
	}
}

// TestWatchDrawsInPlace: in a terminal each look covers the one before, marks what moved, and the screen is given back.
func TestWatchDrawsInPlace(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, top: 2}
	draw := func(offers ...shownOffer) string {
		out.Reset()
		if err := s.draw(look{Network: "net", Offers: offers}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	first := draw(shown("a", 5, 2), shown("b", 7, 2), shown("c", 9, 2))
	if !strings.HasPrefix(first, seqBegin+seqHome) || !strings.HasSuffix(first, seqRest) || !strings.Contains(first, "and 1 more: --top 3 shows all") {
		t.Errorf("first look: %q", first)
	}
	if strings.Contains(first, "▲") || strings.Contains(first, "+ ") {
		t.Errorf("the first look marks changes: %q", first)
	}
	next := draw(shown("b", 8, 2), shown("d", 1, 2))
	if strings.Contains(next, seqBegin) || !strings.Contains(next, "▲ cu") || !strings.Contains(next, "+ cu") {
		t.Errorf("second look: %q", next)
	}
	if last := draw(shown("b", 2, 2)); !strings.Contains(last, "▼ cu") {
		t.Errorf("third look: %q", last)
	}
	for _, l := range strings.Split(strings.TrimSuffix(next, seqRest), "\n") {
		if l != "" && !strings.HasSuffix(l, "\x1b[K") {
			t.Errorf("the rest of a line is not cleared: %q", l)
		}
	}
	out.Reset()
	if s.end(); out.String() != seqEnd {
		t.Errorf("at the end it says %q", &out)
	}
}

// TestNobodySells says why nobody would be chosen, and what to do.
func TestNobodySells(t *testing.T) {
	dear := func(price uint64) market.Line {
		return market.Line{Peer: market.Peer{byte(price)}, Reason: market.Dear, Price: price}
	}
	for _, c := range []struct {
		lines []market.Line
		want  string
	}{
		{nil, "no cu offers anything on network net yet: see `aopeer peers --role cu`"},
		{[]market.Line{dear(9), dear(4), {Reason: market.NoFormat, Price: 1}}, "the cheapest offer is 4, of BAAAAAAA: give --max-price 4 or more"},
		{[]market.Line{{Reason: market.NoFormat}}, "none of 1 offers suits"},
	} {
		if got := nobody(market.Computer, "net", c.lines, nil); !strings.Contains(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestExplainedRankingReads: every offer has a line, and every reason among them is spelled out below.
func TestExplainedRankingReads(t *testing.T) {
	lines := []market.Line{
		{Peer: market.Peer{1}, Place: 1, Reason: market.Chosen, Price: 5, Latency: 1500, Success: 65536, Cost: 6},
		{Peer: market.Peer{2}, Reason: market.Dearer, Price: 9, Latency: market.Unmeasured, Success: 58982, Cost: 14},
		{Peer: market.Peer{3}, Reason: market.Dear, Price: 90},
	}
	var out bytes.Buffer
	printRanking(&out, asked{of: plainJob(market.Computer)}, market.DefaultTaste(10), lines, map[string]string{market.Peer{1}.String(): "cu\x1b[1m1"})
	for _, want := range []string{
		"a result (cu) · balanced · at most 10", "cu1 ", "1.5 ms", "100 %", "90 %", "chosen", "over-the-cap",
		meaningOf(market.Dearer), market.RemedyOf(market.Dear),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

// TestOwnMarketReads: what is sold, earned, owed and lost, with what to do about it.
func TestOwnMarketReads(t *testing.T) {
	m := ownMarket{Name: "cu1", Address: strings.Repeat("A", 43), Roles: []string{"cu"}}
	m.Market.Own = []remote.OwnOffer{{Role: "cu", Level: 1_250_000, Prices: market.Parts{5, 0, 2}, Capacity: 8}, {Role: "oracle"}}
	m.Market.Twins = 1
	m.Market.Trade = remote.TradeStatus{
		Sold: remote.Sum{Served: 3, Owed: ao.NewAmount(21)}, Bought: remote.Sum{Signed: 1, Unserved: ao.NewAmount(7)},
		Sales:    map[string]remote.Sales{"cu": {Quoted: 9, Served: 3, Lost: map[market.Reason]uint64{market.Busy: 4, "unpaid": 6}}},
		Waiting:  map[string]int{"cu": 2},
		Disputes: []remote.Dispute{{Kind: "results-differ", Slot: 4}},
	}
	var out bytes.Buffer
	m.print(&out)
	text := out.String()
	for _, want := range []string{
		"cu1  cu  AAAA", "cu  sells   base 5, compute 2 · level 125 % · capacity 8 · 2 wait · not announced yet",
		"quoted 9 · not taken 6 · deals served 3", "lost 6 × unpaid: " + ao.RemedyOf(ao.Unpaid), "lost 4 × busy: " + market.RemedyOf(market.Busy),
		"owed to you 21 for 3 deals", "you owe     0 for 0 deals; 7 for 1 more", "somebody else offers with this peer's key", "results-differ  slot 4",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	if strings.Index(text, "unpaid") > strings.Index(text, "busy") || strings.Contains(text, "oracle") {
		t.Errorf("the commonest reason is not first, or an unknown role is shown:\n%s", text)
	}
}
