package remote

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// sybil is the i-th of as many identities as one likes, all of one /24.
func sybil(t testing.TB, i int, now time.Time) []byte {
	t.Helper()
	var seed [ed25519.SeedSize]byte
	binary.BigEndian.PutUint64(seed[:], uint64(i)+1)
	o, err := market.SignOffer(ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:])), market.Terms{
		Network: network, Role: market.Computer, Sequence: now.UnixMilli(), Expires: now.Add(10 * time.Minute).UnixMilli(),
		Formats: []string{"wasm"}, Capacity: 1000, Addrs: []string{"/ip4/198.51.100.7/tcp/4001"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return o.Raw()
}

// TestSybilsOverAStream: ten thousand identities of one /24, all free of charge, come as snapshots over real streams. Few of
// them find room, the honest sellers keep theirs, and what was refused is counted.
func TestSybilsOverAStream(t *testing.T) {
	server, client := pair(t)
	m := newMarket(t, client, "client")
	now := time.Now()
	honest := offerBy(t, "honest", now, func(tm *market.Terms) { tm.Addrs = []string{"/ip4/192.0.2.9/tcp/1"} })
	if err := m.add(honest); err != nil {
		t.Fatal(err)
	}
	total := 10_000
	if testing.Short() {
		total = 1500
	}
	const flood = 4 * maxSnapshotAll / 3 // more than a peer reads of one answer
	var sent, serving atomic.Int64
	server.Handle(verbOffers, Version, func(_ context.Context, _ p2p.Peer, st *p2p.Stream) error {
		serving.Add(1)
		defer serving.Add(-1)
		if _, err := st.Read(0); err != nil {
			return err
		}
		for range min(flood, total-int(sent.Load())) {
			if err := st.Write(sybil(t, int(sent.Load()), now)); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for int(sent.Load()) < total {
		if err := m.Pull(t.Context(), server.ID()); err != nil {
			enumerated(t, err)
		}
		until(t, "the end of the answer", func() bool { return serving.Load() == 0 })
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	s := m.Status()
	if s.Offers["cu"] > 17 || s.Offers["cu"] < 2 {
		t.Errorf("%d offers are in the book, want the honest one and at most 16", s.Offers["cu"])
	}
	if _, ok := m.Offer(honest.Peer(), market.Computer); !ok {
		t.Error("the honest seller was pushed out")
	}
	if refused := s.Refused[market.BlockCrowded]; refused < uint64(min(total, maxSnapshotAll)/2) {
		t.Errorf("refused %v", s.Refused)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	t.Logf("%d sent, %d in the book, refused %v", sent.Load(), s.Offers["cu"], s.Refused)
}

// TestHostileSnapshots: who sends what it must know to be wrong is refused; what came before counts.
func TestHostileSnapshots(t *testing.T) {
	now := time.Now()
	sound := offerBy(t, "sound", now).Raw()
	forged := slices.Clone(offerBy(t, "forged", now).Raw())
	forged[20] ^= 1
	other := offerBy(t, "other", now, func(tm *market.Terms) { tm.Network = "other" }).Raw()
	meet(t, verbOffers, map[string]func(*p2p.Stream) error{
		"forged":            frames(sound, forged),
		"another network's": frames(sound, other),
		"an oversize offer": frames(slices.Concat(sound, make([]byte, market.MaxOffer))),
		"no offer":          frames(toJSON("offer")),
		"nothing":           func(*p2p.Stream) error { return errors.New("an empty answer is sound") },
	}, func(t *testing.T, client, server *p2p.Node) error {
		m, err := NewMarket(MarketConfig{Network: network, Node: client, Signer: ans104.NewEd25519Signer(keyOf("client")), Store: memory(t)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			for _, topic := range m.topics {
				_ = topic.Close()
			}
		}()
		err = m.Pull(t.Context(), server.ID())
		if m.Status().Offers["cu"] > 1 {
			t.Error("more than the sound offer was taken")
		}
		return err
	})
}

// TestStalledSnapshot: who begins an answer and stops costs no more than a frame's patience; what came counts.
func TestStalledSnapshot(t *testing.T) {
	server, client := pair(t, hasty)
	release := make(chan struct{})
	defer close(release)
	raws := make([][]byte, snapshotBatch)
	for i := range raws {
		raws[i] = sybil(t, i, time.Now())
	}
	raw(server, verbOffers, func(st *p2p.Stream) error {
		if err := st.Write(raws...); err != nil {
			return err
		}
		<-release
		return nil
	})
	m := newMarket(t, client, "client")
	enumerated(t, m.Pull(t.Context(), server.ID()))
	if s := m.Status(); s.Offers["cu"] == 0 {
		t.Errorf("nothing was taken: %+v", s)
	}
}

// TestSnapshotsAreRationed: who asks while as many as may be are answered is put off.
func TestSnapshotsAreRationed(t *testing.T) {
	server, client := pair(t)
	m, asking := newMarket(t, server, "server"), newMarket(t, client, "client")
	for range maxPullsServed {
		m.pulls <- struct{}{}
	}
	err := asking.Pull(t.Context(), server.ID())
	var r *ao.Refusal
	if !errors.As(err, &r) || r.Code != ao.Busy {
		t.Errorf("put off with %v", err)
	}
	<-m.pulls
	if err := asking.Pull(t.Context(), server.ID()); err != nil {
		t.Errorf("and then %v", err)
	}
}
