package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// patience is how long a condition may take to come true; tests end long before it unless something is wrong.
const patience = 90 * time.Second // longer than QUIC takes to notice a peer whose farewell was lost

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testConfig(name string) Config {
	return Config{
		Key:       testKey(name),
		Listen:    []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
		Network:   "test-net",
		Server:    true,
		KeepEvery: 100 * time.Millisecond,
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// launch runs a node until stop is called or the test ends.
func launch(t testing.TB, n *Node) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() { failed <- n.Run(ctx) }()
	if err := n.Await(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-failed:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(patience):
			t.Error("run did not return")
		}
	}
	t.Cleanup(stop)
	return stop
}

func start(t testing.TB, config Config) *Node {
	t.Helper()
	n, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	launch(t, n)
	return n
}

// pair gives two connected nodes, the first of which serves.
func pair(t testing.TB, change func(server, client *Config)) (server, client *Node) {
	t.Helper()
	a, b := testConfig("server"), testConfig("client")
	if change != nil {
		change(&a, &b)
	}
	server, client = start(t, a), start(t, b)
	if err := client.Connect(testContext(t), server.Addrs()...); err != nil {
		t.Fatal(err)
	}
	return server, client
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(patience)
	defer end.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func TestOtherNetworkIsRefused(t *testing.T) {
	other := testConfig("other")
	other.Network = "other-net"
	foreign, ours := start(t, other), start(t, testConfig("ours"))
	if err := ours.Connect(testContext(t), foreign.Addrs()...); !errors.Is(err, ErrOtherNetwork) {
		t.Fatalf("connect: %v", err)
	}
	if err := ours.Connect(testContext(t), foreign.Addrs()...); !errors.Is(err, ErrOtherNetwork) {
		t.Fatalf("connect again: %v", err)
	}
	eventually(t, "the connection is gone on both sides", func() bool {
		return ours.host.Network().Connectedness(foreign.ID()) == network.NotConnected &&
			foreign.host.Network().Connectedness(ours.ID()) == network.NotConnected
	})
	if len(ours.Peers())+len(foreign.Peers()) > 0 {
		t.Error("peers of another network are listed")
	}
	if len(ours.known.recent())+len(foreign.known.recent()) > 0 {
		t.Error("peers of another network are remembered")
	}
}

func TestInboundFromOtherNetworkIsDropped(t *testing.T) {
	ours := start(t, testConfig("ours"))
	// A libp2p peer that does not mind our network and would stay.
	foreign, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics(),
		libp2p.ResourceManager(new(network.NullResourceManager)))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	info, err := parsePeers(ours.Addrs())
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.Connect(testContext(t), info[0]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the foreign peer is gated", func() bool { return ours.gate.refused(foreign.ID(), time.Now()) })
	eventually(t, "the foreign peer is disconnected", func() bool {
		return ours.host.Network().Connectedness(foreign.ID()) == network.NotConnected
	})
}

func TestRestartFindsRememberedPeersWithoutBootstrap(t *testing.T) {
	first := start(t, testConfig("first"))
	config := testConfig("second")
	config.Datastore = dssync.MutexWrap(datastore.NewMapDatastore())
	config.Bootstrap = first.Addrs()
	second, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	stop := launch(t, second)
	eventually(t, "the bootstrap peer is connected", func() bool { return len(second.Peers()) == 1 })
	stop()

	config.Bootstrap = nil
	again := start(t, config)
	eventually(t, "the remembered peer is connected", func() bool {
		return len(again.Peers()) == 1 && again.Peers()[0].ID == first.ID()
	})
}

func TestKeeperRedials(t *testing.T) {
	config := testConfig("first")
	config.Datastore = dssync.MutexWrap(datastore.NewMapDatastore())
	first, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	stop := launch(t, first)
	config.Listen = []string{strings.Split(first.Addrs()[0], "/p2p/")[0]}

	joined := testConfig("second")
	joined.Bootstrap = first.Addrs()
	joined.Log = testLog(t)
	second := start(t, joined)
	eventually(t, "connected", func() bool { return len(second.Peers()) == 1 })
	_ = second.host.Network().ClosePeer(first.ID())
	eventually(t, "connected again after a lost connection", func() bool {
		return len(second.Peers()) == 1 && len(first.Peers()) == 1
	})
	stop()
	eventually(t, "disconnected", func() bool { return len(second.Peers()) == 0 })
	first, err = New(config)
	if err != nil {
		t.Fatal(err)
	}
	launch(t, first)
	eventually(t, "connected to the restarted peer", func() bool {
		return len(second.Peers()) == 1 && len(first.Peers()) == 1
	})
}

func TestPeersAndPing(t *testing.T) {
	server, client := pair(t, nil)
	if _, err := client.Ping(testContext(t), server.ID()); err != nil {
		t.Fatal(err)
	}
	peers := client.Peers()
	if len(peers) != 1 || peers[0].ID != server.ID() || peers[0].Latency <= 0 || peers[0].Since.IsZero() ||
		len(peers[0].Addrs) == 0 || peers[0].Agent != "aopeer/"+WireVersion {
		t.Errorf("peers: %+v", peers)
	}
}

func TestLifeCycle(t *testing.T) {
	n, err := New(testConfig("solo"))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Addrs()) > 0 || len(n.Peers()) > 0 {
		t.Error("a node that does not run has addresses or peers")
	}
	if _, err := n.Open(testContext(t), n.ID(), "echo", "1.0.0"); !errors.Is(err, ErrClosed) {
		t.Errorf("open before run: %v", err)
	}
	stop := launch(t, n)
	if len(n.Addrs()) != 2 {
		t.Errorf("addresses: %v", n.Addrs())
	}
	if err := n.Run(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("second run: %v", err)
	}
	stop()
	if err := n.Await(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("await after run: %v", err)
	}
	taken := testConfig("taken")
	taken.Listen = []string{"/ip4/192.0.2.1/tcp/1"} // an address that is not ours
	n, err = New(taken)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(testContext(t)); err == nil {
		t.Error("ran on an address of somebody else")
	}
	if err := n.Await(testContext(t)); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "listen") {
		t.Errorf("await after a failed run: %v", err)
	}
}

func TestNoGoroutineLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	a, err := New(testConfig("leak-a"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(testConfig("leak-b"))
	if err != nil {
		t.Fatal(err)
	}
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("New started %d goroutines", now-before)
	}
	entered := make(chan struct{})
	a.Handle("stuck", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		close(entered)
		s.SetTimeout(0)
		_, err := s.Read(0)
		return err
	})
	topic, err := a.Topic("news", "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	stopA, stopB := launch(t, a), launch(t, b)
	if err := b.Connect(testContext(t), a.Addrs()...); err != nil {
		t.Fatal(err)
	}
	s, err := b.Open(testContext(t), a.ID(), "stuck", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(nil); err != nil { // sent whole, so the handler waits for a frame that never comes
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, _, err := topic.Next(context.Background())
		waiting <- err
	}()
	<-entered
	stopA()
	stopB()
	s.Close()
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("next after the node stopped: %v", err)
	}
	eventually(t, "goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}

func TestConfigIsValidated(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no network":        func(c *Config) { c.Network = "" },
		"capital network":   func(c *Config) { c.Network = "Net" },
		"slash in network":  func(c *Config) { c.Network = "a/b" },
		"long network":      func(c *Config) { c.Network = strings.Repeat("a", 33) },
		"no key":            func(c *Config) { c.Key = nil },
		"bad listen":        func(c *Config) { c.Listen = []string{"localhost:80"} },
		"bootstrap, no ID":  func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} },
		"negative limit":    func(c *Config) { c.Limits.Conns = -1 },
		"negative interval": func(c *Config) { c.KeepEvery = -1 },
	} {
		config := testConfig("config")
		change(&config)
		if _, err := New(config); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestKeysAndNames(t *testing.T) {
	public := testKey("key").Public().(ed25519.PublicKey)
	id, err := PeerIDFromKey(public)
	if err != nil {
		t.Fatal(err)
	}
	back, err := KeyFromPeerID(id)
	if err != nil || !back.Equal(public) {
		t.Errorf("key came back as %x, %v", back, err)
	}
	if _, err := PeerIDFromKey(public[:31]); !errors.Is(err, ErrKey) {
		t.Errorf("short key: %v", err)
	}
	rsa, err := peer.Decode("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFromPeerID(rsa); !errors.Is(err, ErrKey) {
		t.Errorf("hashed key: %v", err)
	}
	n, err := New(testConfig("key"))
	if err != nil {
		t.Fatal(err)
	}
	if name, err := n.wireName("offers", "1/cu"); err != nil || name != "/ao/test-net/offers/1/cu" {
		t.Errorf("topic name: %s, %v", name, err)
	}
	for _, bad := range []string{"", "/", "a//b", "/a", "a/", "a b", "ä", strings.Repeat("a", maxName+1)} {
		if _, err := n.wireName(bad, "1"); !errors.Is(err, ErrName) {
			t.Errorf("name %q: %v", bad, err)
		}
	}
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
