package market

import (
	"fmt"
	"strings"
	"testing"
)

// TestBookTranscript replays ten minutes of a small market and compares every answer with testdata/book.txt.
func TestBookTranscript(t *testing.T) {
	cfg := DefaultConfig(testnet, 42)
	cfg.Known, cfg.Newcomers, cfg.PerBlock, cfg.Settle = 12, 8, 3, 120_000
	b := NewBook(cfg)
	r := NewRand(42)
	var out strings.Builder
	now := start
	say := func(format string, args ...any) {
		fmt.Fprintf(&out, "%7d ms  %s\n", now-start, fmt.Sprintf(format, args...))
	}
	outcomeNames := []string{"served", "late", "failed", "dishonoured", "wrong", "measured"}
	for range 400 {
		now += int64(r.Below(3000))
		i := int(r.Below(24))
		switch r.Below(16) {
		case 0:
			o := Outcome(r.Below(8)) % outcomes
			value, took := r.Below(1000), 20_000+r.Below(100_000)
			b.Observe(peerOf(name(i)), Computer, o, value, took, now)
			say("%-8s %s, worth %d, %d us", name(i), outcomeNames[o], value, took)
		case 1:
			before := b.Len(Computer)
			b.Sweep(now)
			say("sweep: %d offers of %d stay", b.Len(Computer), before)
		default:
			tm := terms(100 + r.Below(100))
			tm.Sequence = now - int64(r.Below(4))*20_000
			tm.Expires = tm.Sequence + 90_000
			switch r.Below(8) {
			case 0: // two offers with one number, of different prices or the very same
				tm.Sequence = now - (now-start)%60_000
				tm.Prices[CUBase] = 100 + r.Below(2)
				tm.Expires = tm.Sequence + 90_000
			case 1:
				tm.Sequence, tm.Expires = now-100_000, now-10_000
			}
			tm.Addrs = []string{fmt.Sprintf("/ip4/192.0.%d.%d/udp/4001/quic-v1", i%5, i)}
			err := b.Add(offerOf(t, name(i), tm), now)
			word := "taken"
			if err != nil {
				word = string(ReasonOf(err))
			}
			say("%-8s offers %d, sequence %d: %s", name(i), tm.Prices[CUBase], tm.Sequence-start, word)
		}
	}
	now++
	sh := &b.shelves[Computer]
	say("%d newcomers, %d known by sight, %d scored, %d pairs of evidence", sh.count[newcomer], sh.count[sighted], sh.count[scored], len(b.Evidence()))
	golden(t, "testdata/book.txt", out.String())
}

// TestRankTranscript compares decisions and their explanations with testdata/rank.txt.
func TestRankTranscript(t *testing.T) {
	b := newBook()
	called := map[Peer]string{}
	r := NewRand(7)
	for i := range 12 {
		tm := terms(100 + r.Below(200))
		tm.Addrs = []string{fmt.Sprintf("/ip4/192.0.%d.1/udp/4001/quic-v1", i)}
		if i%6 == 5 {
			tm.Region = "us"
		}
		called[peerOf(name(i))] = name(i)
		check(t, b.Add(offerOf(t, name(i), tm), start))
		for range r.Below(20) {
			o := Served
			if r.Below(8) == 0 {
				o = Failed
			}
			b.Observe(peerOf(name(i)), Computer, o, 100, 20_000+r.Below(100_000), start)
		}
		for range r.Below(3) {
			b.Begin(peerOf(name(i)), Computer)
		}
	}
	var out strings.Builder
	for s := range strategies {
		n, taste := need("buyer"), DefaultTaste(260)
		taste.Strategy, taste.Fresh, taste.Explore = s, true, 300_000
		taste.Weights = Weights{Price: 50, Latency: 200, Success: 2}
		chance := NewRand(uint64(s) + 11)
		for decision := range 4 {
			fmt.Fprintf(&out, "%s, decision %d\n", s, decision+1)
			lines := b.Explain(&n, &taste, start, chance, 3)
			b.Rank(&n, &taste, start, chance, make([]Choice, 0, 3))
			for _, l := range lines {
				fmt.Fprintf(&out, "  %d %-8s %-13s price %3d  %6d us  in flight %d  success %5d  cost %d\n",
					l.Place, called[l.Peer], l.Reason, l.Price, l.Latency, l.Flight, l.Success, l.Cost)
			}
		}
	}
	golden(t, "testdata/rank.txt", out.String())
}
