package market

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

var update = flag.Bool("update", false, "rewrite docs/market-reasons.md, the golden vectors and transcripts")

const (
	testnet = "testnet"
	start   = int64(1_700_000_000_000)
	format  = "wasm32-wasip1-aopeer1"
)

// signer is a key of its own for every name.
func signer(name string) ans104.Signer {
	seed := sha256.Sum256([]byte(name))
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
}

func peerOf(name string) Peer { return PeerOf(signer(name).Owner()) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v, want %v", err, sentinel)
	}
}

// terms are sound terms of a computer.
func terms(price uint64) Terms {
	return Terms{
		Network: testnet, Role: Computer, Sequence: start, Expires: start + 600_000,
		Prices: Parts{CUBase: price, CUSlot: 2, CUCompute: 0, CUKiB: 1}, Formats: []string{format},
		Extensions: []string{"weavedrive"}, Memory: 1 << 30, Compute: 1 << 40, Region: "eu", Capacity: 16,
		Ledgers: []ao.ID{{7}}, Addrs: []string{"/ip4/192.0.2.1/udp/4001/quic-v1"},
	}
}

func offerOf(t testing.TB, name string, tm Terms) Offer {
	t.Helper()
	o, err := SignOffer(signer(name), tm)
	check(t, err)
	return o
}

// need is for a slot's result.
func need(buyer string) Need {
	return Need{
		Network: testnet, Role: Computer, Buyer: peerOf(buyer), Nonce: [16]byte{1}, Process: ao.ID{2}, Slot: 9, Format: format,
		Extensions: []string{"weavedrive"}, Memory: 1 << 20, Compute: 1 << 30, Region: "eu", Ledger: ao.ID{7},
		Counts: Parts{CUBase: 1, CUSlot: 3, CUCompute: 5, CUKiB: 2},
	}
}

// plain is a need that any computer of the format suits.
func plain() Need {
	return Need{Network: testnet, Role: Computer, Format: format, Counts: Parts{CUBase: 1}}
}

// fake is an offer that nobody signed, for what does not look at signatures.
func fake(i int, tm Terms) Offer {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], uint64(i))
	return Offer{item: fakeItem, terms: &tm, peer: PeerOf(key[:])}
}

// fakeItem is constant.
var fakeItem = func() *ans104.Item {
	it, err := ans104.Sign(signer("fake"), ans104.Fields{})
	if err != nil {
		panic(err)
	}
	return it
}()

func newBook() *Book { return NewBook(DefaultConfig(testnet, 1)) }

// market is a book of n computers, no two at one price, spread over blocks of addresses; measured and known.
func market(t testing.TB, n int) *Book {
	t.Helper()
	cfg := DefaultConfig(testnet, 1)
	cfg.Known, cfg.Newcomers, cfg.PerBlock, cfg.Scores = n, n, n, NewScores(n)
	b := NewBook(cfg)
	r := NewRand(3)
	for i := range n {
		o := fake(i, terms(100+r.Below(900)))
		o.terms.Prices[CUSlot], o.terms.Prices[CUCompute], o.terms.Prices[CUKiB] = r.Below(50), r.Below(50), r.Below(50)
		o.item = &ans104.Item{}
		check(t, b.Add(o, start))
		for range 10 {
			b.Observe(o.peer, Computer, Served, 1000, 20_000+r.Below(130_000), start)
		}
	}
	return b
}

// golden compares a text with a file of testdata, line by line.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		check(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	check(t, err)
	if string(want) == got {
		return
	}
	w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			t.Fatalf("%s, line %d: got %q, want %q", file, i+1, slices.Concat(g, []string{""})[min(i, len(g))], slices.Concat(w, []string{""})[min(i, len(w))])
		}
	}
}

// unsigned is an item with these tags and data and an empty signature, if there can be one.
func unsigned(t testing.TB, rawTags, data []byte) (*ans104.Item, bool) {
	t.Helper()
	s := signer("unit")
	head := binary.LittleEndian.AppendUint16(nil, uint16(s.Type()))
	head = append(append(append(head, make([]byte, 64)...), s.Owner()...), 0, 0)
	for count := range uint64(10) {
		if _, err := ans104.DecodeTags(rawTags, count); err == nil {
			raw := binary.LittleEndian.AppendUint64(bytes.Clone(head), count)
			raw = binary.LittleEndian.AppendUint64(raw, uint64(len(rawTags)))
			it, err := ans104.Parse(slices.Concat(raw, rawTags, data))
			check(t, err)
			return it, true
		}
	}
	return nil, false
}

func name(i int) string { return fmt.Sprintf("unit-%d", i) }
