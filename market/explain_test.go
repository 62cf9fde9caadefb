package market

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

// stall is a book in which every reason against an offer stands once.
func stall(t *testing.T) (*Book, map[Peer]string) {
	b := newBook()
	called := map[Peer]string{}
	add := func(name string, change func(*Terms)) Peer {
		tm := terms(100)
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", len(called))}
		change(&tm)
		o := offerOf(t, name, tm)
		check(t, b.Add(o, start))
		called[o.Peer()] = name
		for range 20 {
			b.Observe(o.Peer(), Computer, Served, 100, 50_000, start)
		}
		return o.Peer()
	}
	add("good", func(*Terms) {})
	add("dearer", func(o *Terms) { o.Prices[CUBase] = 180 })
	slow := add("slower", func(*Terms) {})
	for range 30 {
		b.Observe(slow, Computer, Measured, 0, 900_000, start)
	}
	poor := add("unproven", func(*Terms) {})
	for range 10 {
		b.Observe(poor, Computer, Failed, 100, 0, start)
	}
	add("full", func(o *Terms) { o.Capacity = 0 })
	add("small", func(o *Terms) { o.Memory = 1000 })
	add("weak", func(o *Terms) { o.Compute = 1000 })
	add("abroad", func(o *Terms) { o.Region = "us" })
	add("other format", func(o *Terms) { o.Formats = []string{"other"} })
	add("bare", func(o *Terms) { o.Extensions = nil })
	add("other money", func(o *Terms) { o.Ledgers = []ao.ID{{9}} })
	add("too dear", func(o *Terms) { o.Prices[CUBase] = 100_000 })
	b.Observe(add("liar", func(*Terms) {}), Computer, Wrong, 100, 0, start)
	add("brief", func(o *Terms) { o.Expires = start + 1 })
	return b, called
}

func TestExplain(t *testing.T) {
	b, called := stall(t)
	n, taste := need("buyer"), DefaultTaste(1000)
	lines := b.Explain(&n, &taste, start+1, NewRand(1), 2)
	got := map[string]string{}
	for _, l := range lines {
		got[called[l.Peer]] = fmt.Sprintf("%d %s", l.Place, l.Reason)
	}
	for name, want := range map[string]string{
		"good": "1 chosen", "dearer": "2 next-in-line", "slower": "0 slower", "unproven": "0 less-proven", "full": "0 no-capacity",
		"small": "0 little-memory", "weak": "0 little-compute", "abroad": "0 other-region", "other format": "0 no-format", "bare": "0 no-extension",
		"other money": "0 other-ledger", "too dear": "0 over-the-cap", "liar": "0 shunned", "brief": "0 expired",
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	taste.MaxLatency = 100_000
	lines = b.Explain(&n, &taste, start+1, NewRand(1), 2)
	if i := slices.IndexFunc(lines, func(l Line) bool { return called[l.Peer] == "slower" }); lines[i].Reason != Slow {
		t.Errorf("%+v", lines[i])
	}
	// With one place the dearer one has lost.
	taste = DefaultTaste(1000)
	lines = b.Explain(&n, &taste, start+1, NewRand(1), 1)
	if i := slices.IndexFunc(lines, func(l Line) bool { return called[l.Peer] == "dearer" }); lines[i].Reason != Dearer {
		t.Errorf("%+v", lines[i])
	}
	if got := b.Explain(&n, &taste, start, NewRand(1), 0); got != nil {
		t.Error("an explanation of no places")
	}
}

// An explanation explains the decision that Rank makes, and takes nothing from the source.
func TestExplainAgreesWithRank(t *testing.T) {
	b := market(t, 300)
	for seed := range uint64(100) {
		n, taste := plain(), DefaultTaste(150+10*seed)
		taste.Strategy, taste.Fresh, taste.Explore = Strategy(seed%uint64(strategies)), true, 200_000
		r := NewRand(seed)
		places := 1 + int(seed%5)
		lines := b.Explain(&n, &taste, start, r, places)
		choices := b.Rank(&n, &taste, start, r, make([]Choice, 0, places))
		if len(lines) != 300 {
			t.Fatalf("%d lines", len(lines))
		}
		for i, c := range choices {
			l := lines[i]
			if l.Peer != c.Offer.Peer() || l.Place != i+1 || l.Price != c.Price || (l.Reason == Tried) != c.Try {
				t.Fatalf("seed %d, place %d: %+v, chosen %+v", seed, i+1, l, c)
			}
		}
		for _, l := range lines[len(choices):] {
			if l.Place != 0 || l.Reason == "" || l.Reason == Chosen || RemedyOf(l.Reason) == "" {
				t.Fatalf("%+v", l)
			}
		}
	}
}

func TestRankQuotes(t *testing.T) {
	b := newBook()
	n := need("buyer")
	quote := func(seller string, price uint64, at Standing) Quote {
		tm := terms(price)
		tm.Addrs = []string{fmt.Sprintf("/ip4/10.0.%d.1/tcp/1", price%256)}
		check(t, b.Add(offerOf(t, seller, tm), start))
		for range 20 {
			b.Observe(peerOf(seller), Computer, Served, price, 50_000, start)
		}
		return quoteFor(t, seller, tm, n, at)
	}
	cold, hot := quote("cold", 20, Standing{Behind: 10}), quote("hot", 25, Standing{Hot: true})
	dear := quote("dear", 500, Standing{})
	liar := quote("liar", 1, Standing{})
	b.Observe(peerOf("liar"), Computer, Wrong, 1, 0, start)
	stranger := quoteFor(t, "stranger", terms(1), n, Standing{})
	other := n
	other.Nonce[3]++
	stray := quoteFor(t, "hot", terms(25), other, Standing{})
	for s := range strategies {
		taste := DefaultTaste(100)
		taste.Strategy = s
		got := b.RankQuotes(&n, &taste, start, []Quote{stray, dear, cold, liar, hot, stranger})
		var order []string
		for _, q := range got {
			order = append(order, fmt.Sprintf("%s %s", q.Quote.ID().String()[:4], ReasonOf(q.Reason)))
		}
		want := []string{hot.ID().String()[:4] + " ", cold.ID().String()[:4] + " "}
		if !slices.Equal(order[:2], want) {
			t.Errorf("%s: %v", s, order)
		}
		rest := strings.Join(order[2:], " ")
		for _, r := range []Reason{OtherNeed, Dear, Shunned, StaleOffer} {
			if strings.Count(rest, string(r)) != 1 {
				t.Errorf("%s: no quote is refused for %s: %v", s, r, order)
			}
		}
	}
}
