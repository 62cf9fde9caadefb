package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

func echo(_ context.Context, _ Peer, s *Stream) error {
	for {
		frame, err := s.Read(0)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Write(frame); err != nil {
			return err
		}
	}
}

func TestCallRoundTrip(t *testing.T) {
	server, client := pair(t, nil)
	var from Peer
	server.Handle("echo", "1.0.0", func(ctx context.Context, p Peer, s *Stream) error {
		from = p
		return echo(ctx, p, s)
	})
	for _, size := range []int{0, 1, 127, 128, oneWrite, oneWrite + 1, frameStep + 1, 5<<20 + 3} {
		request := bytes.Repeat([]byte{'x'}, size)
		answer, err := client.Call(testContext(t), server.ID(), "echo", "1.0.0", request)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if !bytes.Equal(answer, request) {
			t.Fatalf("%d bytes came back as %d", size, len(answer))
		}
	}
	if from.ID != client.ID() || !from.PublicKey.Equal(testKey("client").Public()) {
		t.Errorf("handler saw %v", from)
	}
}

func TestStreamOfManyFrames(t *testing.T) {
	server, client := pair(t, nil)
	server.Handle("echo", "1.0.0", echo)
	s, err := client.Open(testContext(t), server.ID(), "echo", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 100 {
		want := []byte{byte(i)}
		if err := s.Write(want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(1); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("frame %d: %v, %v", i, got, err)
		}
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(0); err != io.EOF {
		t.Fatalf("end of stream: %v", err)
	}
}

func TestRefusalReachesCaller(t *testing.T) {
	server, client := pair(t, nil)
	server.Handle("no", "1.0.0", func(context.Context, Peer, *Stream) error { return Refuse("unfunded", "no money") })
	// The large request checks that a refusal without reading does not leave the caller stuck in Write.
	for _, size := range []int{1, 3 << 20} {
		_, err := client.Call(testContext(t), server.ID(), "no", "1.0.0", make([]byte, size))
		var refused *Refused
		if !errors.As(err, &refused) || !errors.Is(err, ErrRefused) {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if refused.Code != "unfunded" || refused.Detail != "no money" {
			t.Errorf("refusal came as %+v", refused)
		}
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	server, client := pair(t, nil)
	for _, want := range []error{ErrBusy, ErrTooLarge, ErrDeadline, ErrMalformed, ErrFault} {
		server.Handle("fail", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
			if _, err := s.Read(0); err != nil {
				return err
			}
			return want
		})
		if _, err := client.Call(testContext(t), server.ID(), "fail", "1.0.0", []byte("x")); !errors.Is(err, want) {
			t.Errorf("want %v, got %v", want, err)
		}
	}
	server.Handle("fail", "1.0.0", func(context.Context, Peer, *Stream) error { panic("boom") })
	if _, err := client.Call(testContext(t), server.ID(), "fail", "1.0.0", []byte("x")); !errors.Is(err, ErrFault) {
		t.Errorf("panic: %v", err)
	}
	server.Handle("fail", "1.0.0", echo)
	if _, err := client.Call(testContext(t), server.ID(), "fail", "1.0.0", []byte("x")); err != nil {
		t.Errorf("after panic: %v", err)
	}
	if _, err := client.Call(testContext(t), server.ID(), "unknown", "1.0.0", nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("unknown verb: %v", err)
	}
	stranger, err := PeerIDFromKey(testKey("stranger").Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Call(testContext(t), stranger, "fail", "1.0.0", nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unknown peer: %v", err)
	}
}

func TestOversizeIsRefusedBeforeAllocation(t *testing.T) {
	server, client := pair(t, func(server, client *Config) {
		server.Limits.MaxRequest = 1000
		client.Limits.MaxResponse = 2000
	})
	server.Handle("echo", "1.0.0", echo)
	server.Handle("big", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error { return s.Write(make([]byte, 2001)) })
	call := func(verb string, size int) error {
		_, err := client.Call(testContext(t), server.ID(), verb, "1.0.0", make([]byte, size))
		return err
	}
	if err := call("echo", 1000); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := call("echo", 1001); !errors.Is(err, ErrTooLarge) {
		t.Errorf("request beyond the limit: %v", err)
	}
	if err := call("big", 0); !errors.Is(err, ErrTooLarge) {
		t.Errorf("answer beyond the limit: %v", err)
	}
	s, err := client.Open(testContext(t), server.ID(), "echo", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 { // each within the limit, together beyond it
		if err = s.Write(make([]byte, 400)); err != nil {
			break
		}
		if _, err = s.Read(0); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("request beyond the limit in frames: %v", err)
	}
}

func TestStalledPeerMeetsDeadline(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	server, client := pair(t, func(server, client *Config) {
		server.Limits.Timeout = 200 * time.Millisecond
	})
	seen := make(chan error, 1)
	server.Handle("slow", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		_, err := s.Read(0)
		seen <- err
		return err
	})
	server.Handle("mute", "1.0.0", func(ctx context.Context, _ Peer, s *Stream) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	})

	s, err := client.Open(testContext(t), server.ID(), "slow", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.raw.Write([]byte{100, kindData, 'x'}); err != nil { // the rest never comes
		t.Fatal(err)
	}
	if err := <-seen; !errors.Is(err, ErrDeadline) {
		t.Errorf("server read: %v", err)
	}
	if _, err := s.Read(0); !errors.Is(err, ErrDeadline) {
		t.Errorf("client of a server that gave up: %v", err)
	}

	mute, err := client.Open(testContext(t), server.ID(), "mute", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	mute.SetTimeout(50 * time.Millisecond)
	if _, err := mute.Read(0); !errors.Is(err, ErrDeadline) {
		t.Errorf("client read: %v", err)
	}

	ctx, cancel := context.WithCancel(testContext(t))
	mute, err = client.Open(ctx, server.ID(), "mute", "1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	mute.SetTimeout(0)
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := mute.Read(0); !errors.Is(err, ErrCanceled) {
		t.Errorf("canceled read: %v", err)
	}
}

func TestResetMidStream(t *testing.T) {
	server, client := pair(t, nil)
	seen := make(chan error, 1)
	server.Handle("read", "1.0.0", func(_ context.Context, _ Peer, s *Stream) error {
		for {
			if _, err := s.Read(0); err != nil {
				seen <- err
				return err
			}
			if err := s.Write([]byte("ok")); err != nil {
				return err
			}
		}
	})
	open := func() *Stream {
		s, err := client.Open(testContext(t), server.ID(), "read", "1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Write([]byte("first")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(0); err != nil {
			t.Fatal(err)
		}
		return s
	}
	open().Reset(CodeCanceled)
	if err := <-seen; !errors.Is(err, ErrCanceled) {
		t.Errorf("after a reset: %v", err)
	}
	s := open()
	if _, err := s.raw.Write([]byte{9, kindData, 'x'}); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite()
	if err := <-seen; !errors.Is(err, ErrMalformed) {
		t.Errorf("after a torn frame: %v", err)
	}
	s.Close()
	s = open()
	if _, err := s.raw.Write([]byte{2, 77, 'x'}); err != nil {
		t.Fatal(err)
	}
	if err := <-seen; !errors.Is(err, ErrMalformed) {
		t.Errorf("after an unknown kind of frame: %v", err)
	}
	s.Close()
	s = open()
	_ = client.host.Network().ClosePeer(server.ID())
	if err := <-seen; err == nil || err == io.EOF {
		t.Errorf("after a lost connection: %v", err)
	}
	s.Close()
}

func TestStreamsPerPeerAreBounded(t *testing.T) {
	server, client := pair(t, func(server, client *Config) { server.Limits.StreamsPerPeer = 2 })
	release, entered := make(chan struct{}), make(chan struct{}, 2)
	server.Handle("hold", "1.0.0", func(ctx context.Context, _ Peer, s *Stream) error {
		entered <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return s.Write([]byte("done"))
	})
	results := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := client.Call(testContext(t), server.ID(), "hold", "1.0.0", nil)
			results <- err
		}()
		<-entered
	}
	if _, err := client.Call(testContext(t), server.ID(), "hold", "1.0.0", nil); !errors.Is(err, ErrBusy) {
		t.Errorf("third stream: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("held stream: %v", err)
		}
	}
	eventually(t, "a stream is let in again", func() bool {
		_, err := client.Call(testContext(t), server.ID(), "hold", "1.0.0", nil)
		return err == nil
	})
}

// busyLimits let one peer call as fast as it can.
func busyLimits(server, client *Config) {
	server.Limits.CallsPerSecond, server.Limits.CallBurst, server.Limits.StreamsPerPeer = 1e9, 1e9, 1024
	server.Listen = server.Listen[:1]
	client.Listen = client.Listen[:1]
}

// BenchmarkCall is one call of ours: 32 bytes there and back on a stream of their own.
func BenchmarkCall(b *testing.B) {
	server, client := pair(b, busyLimits)
	server.Handle("echo", "1.0.0", echo)
	ctx, request := context.Background(), make([]byte, 32)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call(ctx, server.ID(), "echo", "1.0.0", request); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRawStream is the primitive beside it: the same bytes on a bare libp2p stream over the same transport.
func BenchmarkRawStream(b *testing.B) {
	const name = "/raw/1"
	raw := func() host.Host {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(),
			libp2p.ResourceManager(new(network.NullResourceManager)), libp2p.DisableRelay())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { h.Close() })
		return h
	}
	server, client := raw(), raw()
	server.SetStreamHandler(name, func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
	ctx, request := context.Background(), make([]byte, 32)
	if err := client.Connect(ctx, peer.AddrInfo{ID: server.ID(), Addrs: server.Addrs()}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s, err := client.NewStream(ctx, server.ID(), name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(request); err != nil {
			b.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s, request); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// TestWhoWaitsKnocks: over QUIC, where nobody says that a peer has died, who waits for an answer sends something now and then.
func TestWhoWaitsKnocks(t *testing.T) {
	server, client := pair(t, func(a, b *Config) {
		a.Listen, b.Listen = []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, []string{"/ip4/127.0.0.1/udp/0/quic-v1"}
		a.KeepEvery, b.KeepEvery = time.Hour, time.Hour // the keeper greets its peers as well
		b.knockEvery = 10 * time.Millisecond
	})
	greeted := make(chan struct{})
	server.Handle("slow", "1.0.0", func(ctx context.Context, p Peer, s *Stream) error {
		for range 2 {
			select {
			case <-greeted:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return s.Write([]byte("at last"))
	})
	server.Handle(helloVerb, WireVersion, func(ctx context.Context, p Peer, s *Stream) error {
		select {
		case greeted <- struct{}{}:
		case <-time.After(time.Second): // nobody waits
		}
		return server.hello(ctx, p, s)
	})
	answer, err := client.Call(testContext(t), server.ID(), "slow", "1.0.0", nil)
	if err != nil || string(answer) != "at last" {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestKnocksAreFew: however many wait for a peer, it is asked once in a while, and not everybody is remembered for ever.
func TestKnocksAreFew(t *testing.T) {
	var k knocks
	now := time.Unix(1000, 0)
	id := func(i int) peer.ID { return peer.ID(string(rune(i))) }
	if !k.due(id(1), now, time.Second) || k.due(id(1), now.Add(time.Second-1), time.Second) || !k.due(id(1), now.Add(time.Second), time.Second) {
		t.Error("a peer is asked too often or too seldom")
	}
	for i := range 3 * maxKnocks {
		k.due(id(i), now, time.Second)
	}
	if len(k.last) > maxKnocks {
		t.Errorf("%d peers are remembered", len(k.last))
	}
}
