package remote

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// BenchmarkHear takes renewed offers as validators do, many at one moment, beside the verification of as many signatures
// at once.
func BenchmarkHear(b *testing.B) {
	const sellers, atOnce = 512, 64
	n, err := p2p.New(p2p.Config{Key: keyOf("bench"), Network: network})
	if err != nil {
		b.Fatal(err)
	}
	c := newClock()
	m := newMarket(b, n, "bench", func(cfg *MarketConfig) { cfg.Now = c.now })
	signers := make([]ans104.Signer, sellers)
	for i := range signers {
		var seed [ed25519.SeedSize]byte
		binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
		signers[i] = ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
	}
	renew := func() [][]byte {
		c.add(10 * time.Second)
		raws := make([][]byte, sellers)
		for i, s := range signers {
			now := c.now().UnixMilli()
			o, err := market.SignOffer(s, market.Terms{
				Network: network, Role: market.Computer, Sequence: now, Expires: now + market.MaxOfferLife, Prices: market.Parts{100, 2, 0, 1},
				Formats: []string{"wasm32-wasip1-aopeer1"}, Extensions: []string{"weavedrive"}, Memory: 1 << 30, Compute: 1 << 40, Region: "eu",
				Capacity: 16, Ledgers: []ao.ID{{7}}, Addrs: []string{fmt.Sprintf("/ip4/10.%d.%d.1/udp/4001/quic-v1", i>>8, i&255)},
			})
			if err != nil {
				b.Fatal(err)
			}
			raws[i] = o.Raw()
		}
		return raws
	}
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			var items []*ans104.Item
			for _, raw := range renew() {
				it, err := ans104.Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				items = append(items, it)
			}
			b.StartTimer()
			for i := 0; i < sellers; i += atOnce {
				for _, err := range ans104.VerifyBatch(items[i : i+atOnce]) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
	b.Run("hear", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			raws := renew()
			b.StartTimer()
			var all sync.WaitGroup
			for g := range atOnce {
				all.Go(func() {
					for i := g; i < sellers; i += atOnce {
						if err := m.Hear(market.Computer, raws[i]); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
		}
	})
}
