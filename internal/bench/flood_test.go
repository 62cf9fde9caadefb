package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/aopeer/aopeer/p2p"
)

// floodRows is what another peer's calls take while one peer holds whatever it gets of 10 000 streams, beside what they
// take without it.
func floodRows(t *testing.T) []Row {
	const rounds, calls = 5, 2000
	limits := p2p.DefaultLimits()
	limits.CallsPerSecond, limits.CallBurst = 1e6, 1e6 // the caller calls as fast as it can
	server := startPeer(t, "server", limits)
	server.Handle("hold", "1.0.0", func(_ context.Context, _ p2p.Peer, s *p2p.Stream) error {
		s.SetTimeout(0)
		_, err := s.Read(0)
		return err
	})
	server.Handle("echo", "1.0.0", func(_ context.Context, _ p2p.Peer, s *p2p.Stream) error {
		b, err := s.Read(0)
		if err == nil {
			err = s.Write(b)
		}
		return err
	})
	client := startPeer(t, "client", limits)
	ctx := t.Context()
	must(client.Connect(ctx, server.Addrs()...))
	record := make([]byte, itemSize)
	p99 := func() time.Duration {
		took := make([]time.Duration, calls)
		for i := range took {
			began := time.Now()
			_, err := client.Call(ctx, server.ID(), "echo", "1.0.0", record)
			must(err)
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		return took[calls*99/100]
	}
	p99() // warms up
	var calm, held []time.Duration
	for range rounds {
		calm = append(calm, p99())
		release := floodStreams(ctx, server.ID(), server.Addrs()[0], 10_000)
		held = append(held, p99())
		release()
	}
	us := func(d []time.Duration) float64 { return float64(median(d)) / 1e3 }
	return []Row{makeRow("p99 of a call beside 10 000 streams of one peer (primitive: without them)", us(held), us(calm), "us", 2)}
}

func startPeer(t *testing.T, name string, limits p2p.Limits) *p2p.Node {
	seed := sha256.Sum256([]byte(name))
	n, err := p2p.New(p2p.Config{
		Key: ed25519.NewKeyFromSeed(seed[:]), Network: "bench", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Server: true, Limits: limits,
	})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(<-ended)
	})
	must(n.Await(t.Context()))
	return n
}

// floodStreams opens streams and leaves them, and returns once all are held or refused.
func floodStreams(ctx context.Context, to peer.ID, address string, count int) (release func()) {
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(),
		libp2p.ResourceManager(new(network.NullResourceManager)))
	must(err)
	h.SetStreamHandler("/ao/bench/hello/1.0.0", func(s network.Stream) { _ = s.Close() })
	a, err := multiaddr.NewMultiaddr(address)
	must(err)
	info, err := peer.AddrInfoFromP2pAddr(a)
	must(err)
	must(h.Connect(ctx, *info))
	var openers sync.WaitGroup
	for range 32 {
		openers.Go(func() {
			for range count / 32 {
				if s, err := h.NewStream(ctx, to, "/ao/bench/hold/1.0.0"); err == nil {
					_, _ = s.Write([]byte{100, 0, 'x'}) // a refused one fails, now or later
				}
			}
		})
	}
	openers.Wait()
	return func() { must(h.Close()) }
}
