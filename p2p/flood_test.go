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
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// boundless is a member of the network that knows no limits of its own, to be closed by whoever asks for it. The error is
// that of connecting.
func boundless(t testing.TB, name string, like *Node) (host.Host, error) {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(testKey(name))
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.DisableMetrics(), libp2p.DisableRelay(),
		libp2p.ResourceManager(new(network.NullResourceManager)), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New), libp2p.DisableIdentifyAddressDiscovery(), libp2p.Ping(false))
	if err != nil {
		t.Fatal(err)
	}
	h.SetStreamHandler(like.helloID(), func(s network.Stream) { _ = s.Close() })
	infos, err := parsePeers(like.Addrs()[:1]) // TCP: QUIC would hold the streams back on the sender's side
	if err != nil {
		t.Fatal(err)
	}
	return h, h.Connect(testContext(t), infos[0])
}

// attack is what a flood came to.
type attack struct {
	busy, other, waiting atomic.Int64 // refused for being too many, ended otherwise, under way
}

// flood opens streams, begins a frame on each and leaves it; it counts those that are refused for being too many, and those
// that are refused otherwise. What is left hangs until the returned function is called.
func (a *attack) flood(from host.Host, to *Node, count int) (release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var readers, openers sync.WaitGroup
	work := make(chan struct{})
	for range min(count, 32) {
		openers.Go(func() {
			for range work {
				s, err := from.NewStream(ctx, to.ID(), protocol.ID("/ao/test-net/hold/1.0.0"))
				if err == nil {
					_, err = s.Write([]byte{100, kindData, 'x'})
				}
				if err != nil {
					a.sortOut(err)
					continue
				}
				a.waiting.Add(1)
				readers.Go(func() {
					defer s.Reset()
					defer a.waiting.Add(-1)
					defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
					if _, err := s.Read(make([]byte, 1)); ctx.Err() == nil {
						a.sortOut(err)
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
	return func() { cancel(); readers.Wait() }
}

func (a *attack) sortOut(err error) {
	if errors.Is(streamError(err), ErrBusy) {
		a.busy.Add(1)
	} else {
		a.other.Add(1)
	}
}

// besieged is a server with a handler that holds streams, and a client of it that is no attacker.
type besieged struct {
	server, client *Node
	inside, most   atomic.Int64 // streams in the handler: now, and at once
	goroutines     int          // before the siege
	heap           uint64
}

func besiege(t testing.TB, change func(*Config)) *besieged {
	t.Helper()
	config := testConfig("server")
	config.Limits.Timeout = time.Minute                              // so that what was let in stays for the length of the test
	config.Limits.CallsPerSecond, config.Limits.CallBurst = 1e6, 1e6 // the client calls as fast as it can
	if change != nil {
		change(&config)
	}
	b := &besieged{server: start(t, config), client: start(t, testConfig("client"))}
	b.server.Handle("hold", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		now := b.inside.Add(1)
		defer b.inside.Add(-1)
		for seen := b.most.Load(); now > seen && !b.most.CompareAndSwap(seen, now); seen = b.most.Load() {
		}
		_, err := s.Read(0)
		return err
	})
	b.server.Handle("echo", "1.0.0", echo)
	if err := b.client.Connect(testContext(t), b.server.Addrs()...); err != nil {
		t.Fatal(err)
	}
	callTimes(t, b.client, b.server, 20, nil)
	b.goroutines, b.heap = settledGoroutines(), inMemory()
	return b
}

// inMemory is what the process holds in heap and stacks, garbage left out.
func inMemory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// checkMemory fails if the siege, attackers included, takes more than 256 MiB.
func (b *besieged) checkMemory(t testing.TB) {
	t.Helper()
	if now := inMemory(); now > b.heap+256<<20 {
		t.Errorf("%d MiB in memory, %d before", now>>20, b.heap>>20)
	} else {
		t.Logf("%d MiB in memory, %d before", now>>20, b.heap>>20)
	}
}

// lift waits until nothing of the siege is left, once the attackers are gone.
func (b *besieged) lift(t testing.TB) {
	t.Helper()
	eventually(t, "no stream is left", func() bool { return b.inside.Load() == 0 })
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= b.goroutines })
	eventually(t, "the memory is free again", func() bool { return inMemory() < b.heap+16<<20 })
	callTimes(t, b.client, b.server, 20, nil)
}

// TestTenThousandStreamsFromOnePeer is about the others: they are served as before, and nothing stays behind.
func TestTenThousandStreamsFromOnePeer(t *testing.T) {
	const streams = 10_000
	b := besiege(t, nil)
	calm := callTimes(t, b.client, b.server, 200, nil)
	attacker, err := boundless(t, "boundless", b.server)
	if err != nil {
		t.Fatal(err)
	}
	var a attack
	var release func()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		release = a.flood(attacker, b.server, streams)
	}()
	stormy := callTimes(t, b.client, b.server, 200, ended)
	<-ended
	eventually(t, "everything beyond the limit is refused", func() bool {
		return a.busy.Load()+a.other.Load()+b.inside.Load() >= streams
	})
	limit := int64(b.server.config.Limits.StreamsPerPeer)
	if b.most.Load() > limit || b.inside.Load() == 0 {
		t.Errorf("%d streams were served at once, %d now, limit %d", b.most.Load(), b.inside.Load(), limit)
	}
	if a.other.Load() > 0 {
		t.Errorf("%d streams were refused with another reason than busy", a.other.Load())
	}
	if refused := b.server.Status().Refused; refused.Streams+refused.Rate < uint64(streams-limit) {
		t.Errorf("refused: %+v", refused)
	}
	held := callTimes(t, b.client, b.server, 200, nil)
	t.Logf("%d streams: %d served, %d busy; p99 of another peer's calls: %v calm, %v during, %v after", streams, b.most.Load(),
		a.busy.Load(), p99(calm), p99(stormy), p99(held))
	b.checkMemory(t)
	release()
	_ = attacker.Close()
	b.lift(t)
}

// callTimes calls until ended is closed, at least so often, and gives how long each call took.
func callTimes(t testing.TB, client, server *Node, least int, ended <-chan struct{}) []time.Duration {
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
