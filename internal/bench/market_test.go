package bench

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/remote"
)

// What a decision among so many offers may take, in us of processor time.
const (
	rankFew, rankFewMicros   = 1000, 20
	rankMany, rankManyMicros = 100_000, 200
)

// heardAtOnce is how many offers are validated at one moment; the sellers of the row are no more than a book's newcomers.
const (
	heardAtOnce = 64
	heardOffers = 512
)

const (
	marketStart = int64(1_700_000_000_000) // ms
	benchFormat = "wasm32-wasip1-aopeer1"
)

// sellerTerms are those of the i-th computer: each in a block of addresses of its own.
func sellerTerms(i int, prices market.Parts, sequence int64) market.Terms {
	return market.Terms{
		Network: "bench", Role: market.Computer, Sequence: sequence, Expires: sequence + market.MaxOfferLife, Prices: prices, Formats: []string{benchFormat}, Extensions: []string{"weavedrive"},
		Memory: 1 << 30, Compute: 1 << 40, Region: "eu", Capacity: 16, Ledgers: []ao.ID{{7}},
		Addrs: []string{
			fmt.Sprintf("/ip4/10.%d.%d.1/udp/4001/quic-v1", i>>8&255, i&255), fmt.Sprintf("/ip4/10.%d.%d.1/tcp/4001", i>>8&255, i&255),
		},
	}
}

func sellerKey(i int) ans104.Signer {
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
}

func marketRows(t *testing.T) []Row {
	few, many := rankRow(t, rankFew, 1000, rankFewMicros), rankRow(t, rankMany, 100, rankManyMicros)
	return []Row{few, many, gossipRow(t)}
}

// sortedSellers are n signers in the order of their names, in which a book takes them fastest.
func sortedSellers(n int) []ans104.Signer {
	out := make([]ans104.Signer, n)
	for i := range out {
		out[i] = sellerKey(i)
	}
	slices.SortFunc(out, func(a, b ans104.Signer) int {
		x, y := market.PeerOf(a.Owner()), market.PeerOf(b.Owner())
		return bytes.Compare(x[:], y[:])
	})
	return out
}

// rankRow takes the slowest strategy. It fails if a decision allocates.
func rankRow(t *testing.T, n, decisions int, allowed float64) Row {
	cfg := market.DefaultConfig("bench", 1)
	cfg.Known, cfg.Newcomers, cfg.PerBlock, cfg.Scores = n, n, n, market.NewScores(n)
	book, r := market.NewBook(cfg), market.NewRand(3)
	for i, s := range sortedSellers(n) {
		prices := market.Parts{market.CUBase: 100 + r.Below(900), market.CUSlot: r.Below(50), market.CUCompute: r.Below(50), market.CUKiB: r.Below(50)}
		o, err := market.SignOffer(s, sellerTerms(i, prices, marketStart))
		must(err)
		must(book.Add(o, marketStart))
		for range 10 {
			book.Observe(o.Peer(), market.Computer, market.Served, 1000, 20_000+r.Below(130_000), marketStart)
		}
	}
	need := market.Need{
		Network: "bench", Role: market.Computer, Format: benchFormat, Extensions: []string{"weavedrive"}, Memory: 1 << 20,
		Compute: 1 << 30, Region: "eu", Counts: market.Parts{market.CUBase: 1, market.CUSlot: 3, market.CUCompute: 5, market.CUKiB: 2},
	}
	into := make([]market.Choice, 0, 3)
	var slowest time.Duration
	for _, s := range []market.Strategy{market.Balanced, market.Cheapest, market.Fastest, market.Weighted} {
		taste := market.DefaultTaste(market.NoCap)
		taste.Strategy, taste.Fresh = s, true
		decide := func() {
			if into = book.Rank(&need, &taste, marketStart, r, into); len(into) != 3 {
				panic("no choice")
			}
		}
		if allocs := testing.AllocsPerRun(100, decide); allocs != 0 {
			t.Errorf("%s among %d offers: %v allocations a decision", s, n, allocs)
		}
		ours, _, _ := pair{rounds: 9, n: decisions, primitive: func(int, int) work { return func(int) {} }, ours: func(int, int) work {
			return func(n int) {
				for range n {
					decide()
				}
			}
		}}.compare(t)
		t.Logf("%s among %d offers: %s", s, n, ours)
		slowest = max(slowest, ours)
	}
	name := fmt.Sprintf("rank %d offers, slowest strategy (primitive: what is allowed)", n)
	return makeRow(name, float64(slowest)/float64(time.Microsecond), allowed, "cpu us", 1)
}

// gossipRow takes renewed offers as validators do: many at one moment, each in a goroutine of its own.
func gossipRow(t *testing.T) Row {
	node, err := p2p.New(p2p.Config{Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), Network: "bench"})
	must(err)
	st := store.NewMemory()
	defer func() { must(st.Close()) }()
	round := 0
	m, err := remote.NewMarket(remote.MarketConfig{
		Network: "bench", Node: node, Signer: sellerKey(-1), Store: st, Seed: 1,
		Now: func() time.Time { return time.UnixMilli(marketStart + int64(round)*10_000) },
	})
	must(err)
	offers := func(r, n int) [][]byte {
		round = r
		raws := make([][]byte, n)
		for i := range raws {
			o, err := market.SignOffer(sellerKey(i), sellerTerms(i, market.Parts{100, 2, 0, 1}, marketStart+int64(r)*10_000))
			must(err)
			raws[i] = o.Raw()
		}
		return raws
	}
	return pair{
		rounds: 11, n: heardOffers,
		ours: func(r, n int) work {
			raws := offers(r, n)
			return func(n int) {
				spread(n, heardAtOnce, func(i int) { must(m.Hear(market.Computer, raws[i])) })
			}
		},
		primitive: func(r, n int) work {
			list := signedOf(offers(r, n))
			return func(n int) {
				for i := 0; i < n; i += heardAtOnce {
					verifyTogether(list[i : i+heardAtOnce])
				}
			}
		},
	}.row(t, fmt.Sprintf("offers heard by gossip, %d at once (primitive: batches of %d)", heardAtOnce, heardAtOnce), "cpu us", 1.5)
}
