package p2p

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// boundless is a member of the network that knows no limits of its own.
func boundless(t *testing.T, like *Node) host.Host {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(testKey("boundless"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(),
		libp2p.ResourceManager(new(network.NullResourceManager)), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	h.SetStreamHandler(like.helloID(), func(s network.Stream) { _ = s.Close() })
	infos, err := parsePeers(like.Addrs()[:1]) // TCP: QUIC would hold the streams back on the sender's side
	if err == nil {
		err = h.Connect(testContext(t), infos[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// flood opens streams, begins a frame on each and leaves it; it counts those that are refused for being too many, and those
// that are refused otherwise. What is left hangs until the returned function is called.
func flood(t *testing.T, from host.Host, to *Node, count int) (busy, other *atomic.Int64, release func()) {
	t.Helper()
	busy, other = new(atomic.Int64), new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	work := make(chan struct{})
	var openers sync.WaitGroup
	for range 32 {
		openers.Go(func() {
			for range work {
				s, err := from.NewStream(ctx, to.ID(), protocol.ID("/ao/test-net/hold/1.0.0"))
				if err == nil {
					_, err = s.Write([]byte{100, kindData, 'x'})
				}
				if err != nil {
					sortOut(err, busy, other)
					continue
				}
				readers.Go(func() {
					defer s.Reset()
					defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
					if _, err := s.Read(make([]byte, 1)); ctx.Err() == nil {
						sortOut(err, busy, other)
					}
				})
			}
		})
	}
	for range count {
		work <- struct{}{}
	}
	close(work)
	openers.Wait()
	return busy, other, func() { cancel(); readers.Wait() }
}

func sortOut(err error, busy, other *atomic.Int64) {
	if errors.Is(streamError(err), ErrBusy) {
		busy.Add(1)
	} else {
		other.Add(1)
	}
}

// TestTenThousandStreamsFromOnePeer is about the others: they are served as before, and nothing stays behind.
func TestTenThousandStreamsFromOnePeer(t *testing.T) {
	const streams = 10_000
	config := testConfig("server")
	config.Limits.Timeout = time.Minute // so that what was let in stays for the length of the test
	server := start(t, config)
	var inside, most atomic.Int64
	server.Handle("hold", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		now := inside.Add(1)
		defer inside.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		_, err := s.Read(0)
		return err
	})
	server.Handle("echo", "1.0.0", echo)
	client := start(t, testConfig("client"))
	if err := client.Connect(testContext(t), server.Addrs()...); err != nil {
		t.Fatal(err)
	}
	calm := callTimes(t, client, server, 200, nil)
	before := settledGoroutines()

	attacker := boundless(t, server)
	ended := make(chan struct{})
	var busy, other *atomic.Int64
	var release func()
	go func() {
		defer close(ended)
		busy, other, release = flood(t, attacker, server, streams)
	}()
	stormy := callTimes(t, client, server, 200, ended)
	<-ended
	eventually(t, "everything beyond the limit is refused", func() bool {
		return busy.Load()+other.Load()+inside.Load() >= streams
	})
	limit := int64(server.config.Limits.StreamsPerPeer)
	if most.Load() > limit || inside.Load() == 0 {
		t.Errorf("%d streams were served at once, %d now, limit %d", most.Load(), inside.Load(), limit)
	}
	if other.Load() > 0 {
		t.Errorf("%d streams were refused with another reason than busy", other.Load())
	}
	held := callTimes(t, client, server, 200, nil)
	t.Logf("%d streams: %d served, %d busy; p99 of another peer's calls: %v calm, %v during, %v after", streams, most.Load(),
		busy.Load(), p99(calm), p99(stormy), p99(held))
	release()
	_ = attacker.Close()
	eventually(t, "no stream is left", func() bool { return inside.Load() == 0 })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// callTimes calls until ended is closed, at least so often, and gives how long each call took.
func callTimes(t *testing.T, client, server *Node, least int, ended <-chan struct{}) []time.Duration {
	t.Helper()
	var took []time.Duration
	for {
		select {
		case <-ended:
			ended = nil
		default:
			if ended == nil && len(took) >= least {
				return took
			}
		}
		begin := time.Now()
		if answer, err := client.Call(testContext(t), server.ID(), "echo", "1.0.0", []byte("hi")); err != nil || string(answer) != "hi" {
			t.Fatalf("another peer's call: %q, %v", answer, err)
		}
		took = append(took, time.Since(begin))
	}
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// settledGoroutines is the number of goroutines once it has stopped falling.
func settledGoroutines() int {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	least := runtime.NumGoroutine()
	for calm := 0; calm < 10; calm++ {
		<-tick.C
		if now := runtime.NumGoroutine(); now < least {
			least, calm = now, 0
		}
	}
	return runtime.NumGoroutine()
}
