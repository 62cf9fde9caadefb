package p2p

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"
)

// peers is how many attack at once; the issue of bounds asks for 1000.
var peers = flag.Int("peers", 100, "how many peers attack in TestManyPeersWithManyStreams")

// TestManyPeersWithManyStreams: together they want more streams than there are. Each gets some, and so does whoever is no
// attacker.
func TestManyPeersWithManyStreams(t *testing.T) {
	const each = 50
	b := besiege(t, nil)
	var lock sync.Mutex
	var attackers []host.Host
	var releases []func()
	var turnedAway int
	var a attack
	work := make(chan int)
	var raid sync.WaitGroup
	for range 8 {
		raid.Go(func() {
			for i := range work {
				h, err := boundless(t, fmt.Sprint("attacker ", i), b.server)
				if err != nil {
					_ = h.Close()
					lock.Lock()
					turnedAway++
					lock.Unlock()
					continue
				}
				release := a.flood(h, b.server, each)
				lock.Lock()
				attackers, releases = append(attackers, h), append(releases, release)
				lock.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := range *peers {
			work <- i
		}
		close(work)
		raid.Wait()
	}()
	during := callTimes(t, b.client, b.server, 100, ended)
	<-ended
	limits := b.server.config.Limits
	eventually(t, "every stream is refused or held", func() bool {
		return a.busy.Load()+a.other.Load()+b.inside.Load() >= int64((*peers-turnedAway)*each)
	})
	if b.most.Load() > int64(limits.Streams) {
		t.Errorf("%d streams at once, limit %d", b.most.Load(), limits.Streams)
	}
	if *peers*each > limits.Streams && a.busy.Load() == 0 {
		t.Error("nothing was refused")
	}
	if turnedAway > 0 && b.server.Status().Refused.Conns == 0 {
		t.Error("connections were refused for no reason")
	}
	after := callTimes(t, b.client, b.server, 100, nil)
	t.Logf("%d peers, %d turned away: %d streams served, %d busy, %d otherwise; p99 of another peer's calls: %v during, %v while held; %+v",
		*peers, turnedAway, b.inside.Load(), a.busy.Load(), a.other.Load(), p99(during), p99(after), b.server.Status().Refused)
	b.checkMemory(t)
	for _, release := range releases {
		release()
	}
	for _, h := range attackers {
		_ = h.Close()
	}
	attackers, releases = nil, nil // they are no part of what must be free again
	b.lift(t)
}

// TestSilentAndSlowStreams: streams on which no protocol is named hold no more than a peer's share, and those that come
// byte by byte end at their deadline, which counts for a frame and not for a byte.
func TestSilentAndSlowStreams(t *testing.T) {
	b := besiege(t, func(c *Config) { c.Limits.Timeout = 500 * time.Millisecond })
	attacker, err := boundless(t, "silent", b.server)
	if err != nil {
		t.Fatal(err)
	}
	conn := attacker.Network().ConnsToPeer(b.server.ID())[0]
	var silent []network.Stream
	for range 1000 {
		s, err := conn.NewStream(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, s)
	}
	most := int64(b.server.config.Limits.StreamsPerPeer + 64)
	eventually(t, "the rest is refused", func() bool { return b.server.Status().Refused.Streams >= uint64(1000-most) })
	if held := b.server.admit.streams.inUse(); held > most+16 { // and those of the other peer
		t.Errorf("%d silent streams are held, limit %d", held, most)
	}
	callTimes(t, b.client, b.server, 50, nil)
	for _, s := range silent {
		_ = s.Reset()
	}
	eventually(t, "the silent streams are gone", func() bool { return b.server.admit.streams.inUse() <= 16 })

	slow, err := attacker.NewStream(testContext(t), b.server.ID(), protocol.ID("/ao/test-net/hold/1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := slow.Read(make([]byte, 1))
		ended <- err
	}()
	drip := time.NewTicker(20 * time.Millisecond)
	defer drip.Stop()
	header := appendHeader(nil, kindData, 1<<20)
	for err = nil; err == nil; {
		_, err = slow.Write(header[:1])
		if header = header[1:]; len(header) == 0 {
			header = []byte{'x'}
		}
		select {
		case err = <-ended:
		case <-drip.C:
		}
	}
	if err := streamError(err); !errors.Is(err, ErrDeadline) {
		t.Errorf("a stream byte by byte ended with %v", err)
	}
	callTimes(t, b.client, b.server, 50, nil)
	b.checkMemory(t)
	_ = attacker.Close()
	b.lift(t)
}

// TestLargeFramesShareTheMemory: peers that begin large frames and do not end them hold no more than there is, and the
// others' frames still fit.
func TestLargeFramesShareTheMemory(t *testing.T) {
	const total = 16 << 20
	b := besiege(t, func(c *Config) { c.Limits.Memory, c.Limits.MaxRequest = total, 4<<20 })
	frame := append(appendHeader(nil, kindData, 4<<20), make([]byte, 4<<20-1)...)
	var senders sync.WaitGroup
	var attackers []host.Host
	for i := range 6 {
		h, err := boundless(t, fmt.Sprint("hoarder ", i), b.server)
		if err != nil {
			t.Fatal(err)
		}
		attackers = append(attackers, h)
		for range 8 {
			senders.Go(func() {
				s, err := h.NewStream(context.Background(), b.server.ID(), protocol.ID("/ao/test-net/hold/1.0.0"))
				if err != nil {
					return
				}
				if _, err := s.Write(frame); err == nil {
					_, _ = io.ReadAll(s)
				}
			})
		}
	}
	eventually(t, "some are refused", func() bool { return b.server.Status().Refused.Memory >= 6 })
	for range 50 {
		if used := b.server.admit.memory.inUse(); used > total {
			t.Fatalf("%d bytes are held, limit %d", used, total)
		}
		answer, err := b.client.Call(testContext(t), b.server.ID(), "echo", "1.0.0", make([]byte, frameStep))
		if err != nil || len(answer) != frameStep {
			t.Fatalf("another peer's call: %d bytes, %v", len(answer), err)
		}
	}
	b.checkMemory(t)
	for _, h := range attackers {
		_ = h.Close()
	}
	attackers = nil
	senders.Wait()
	b.lift(t)
	eventually(t, "all memory is given back", func() bool { return b.server.admit.memory.inUse() == 0 })
}

// TestGossipFlood: what a neighbour says beyond its rate is not looked at, one that goes on is put off, and what the
// others say arrives.
func TestGossipFlood(t *testing.T) {
	config := testConfig("listener")
	config.Limits.GossipPerSecond, config.Limits.GossipBurst = 1, 200
	config.Limits.CallsPerSecond, config.Limits.CallBurst = 1, 50
	var judged sync.Map // by neighbour
	listener, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	heard, err := listener.Topic("news", "1", func(_ context.Context, from peer.ID, _ []byte) Verdict {
		n, _ := judged.LoadOrStore(from, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		return Accept
	})
	if err != nil {
		t.Fatal(err)
	}
	launch(t, listener)
	join := func(name string) (*Node, *Topic) {
		n := start(t, testConfig(name))
		topic, err := n.Topic("news", "1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Connect(testContext(t), listener.Addrs()...); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the listener is in the topic", func() bool { return len(topic.Peers()) > 0 })
		return n, topic
	}
	loud, shout := join("loud")
	eventually(t, "the loud one is put off", func() bool {
		for i := range 100 {
			_ = shout.Publish(testContext(t), fmt.Append(nil, i, time.Now().UnixNano()))
		}
		return listener.Status().Refused.Flood > 0
	})
	if s := listener.Status(); s.Refused.Gossip == 0 || !listener.gate.isDenied(loud.ID(), time.Now()) {
		t.Errorf("refused %+v", s.Refused)
	}
	eventually(t, "it is disconnected", func() bool {
		return listener.host.Network().Connectedness(loud.ID()) == network.NotConnected
	})
	quiet, speak := join("quiet")
	if err := speak.Publish(testContext(t), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for {
		data, from, err := heard.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		if from == quiet.ID() && string(data) == "hello" {
			break
		}
	}
	if n, ok := judged.Load(loud.ID()); !ok || n.(*atomic.Int64).Load() > 210 {
		t.Errorf("of the loud one's messages %v were judged", n)
	}
}

// TestUnknownTopicsAreBounded: whoever makes up topics takes no more memory than a fixed number of names.
func TestUnknownTopicsAreBounded(t *testing.T) {
	refused := 0
	s := newSubscriptions("test-net", func() { refused++ })
	s.declare("/ao/test-net/late/1")
	yes := true
	sub := func(topic string) []*pb.RPC_SubOpts { return []*pb.RPC_SubOpts{{Subscribe: &yes, Topicid: &topic}} }
	for i := range 3 * maxOtherTopics {
		kept, err := s.FilterIncomingSubscriptions("", sub(fmt.Sprintf("/ao/test-net/%d/1", i)))
		if err != nil || (len(kept) == 1) != (i < maxOtherTopics) {
			t.Fatalf("topic %d: kept %d, %v", i, len(kept), err)
		}
	}
	if refused != 2*maxOtherTopics || len(s.others) != maxOtherTopics {
		t.Errorf("%d refused, %d kept", refused, len(s.others))
	}
	for topic, known := range map[string]bool{
		"/ao/test-net/late/1": true, "/ao/test-net/7/1": true, "/ao/other-net/7/1": false, "news": false,
	} {
		if kept, _ := s.FilterIncomingSubscriptions("", sub(topic)); (len(kept) == 1) != known {
			t.Errorf("topic %s: kept %d", topic, len(kept))
		}
	}
	if s.declare("/ao/test-net/own/1"); !s.CanSubscribe("/ao/test-net/own/1") {
		t.Error("an own topic is refused because of the others'")
	}
}

func TestGossipIsWeighed(t *testing.T) {
	rpc := &pubsub.RPC{RPC: pb.RPC{
		Publish: make([]*pb.Message, 3),
		Control: &pb.ControlMessage{
			Ihave: []*pb.ControlIHave{{MessageIDs: make([]string, 320)}},
			Graft: make([]*pb.ControlGraft, 5),
		},
	}}
	if w := weigh(rpc); w != 1+3+20+5 {
		t.Errorf("weight %d", w)
	}
}

// TestConnectionFloodFromOneAddress: one address gets so many connections, finished or not, and the next address its own.
func TestConnectionFloodFromOneAddress(t *testing.T) {
	limits := DefaultLimits()
	limited, err := newResourceManager(limits, "hello", "kad", "meshsub")
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	admit := newAdmission(limits)
	manager := &sharingManager{ResourceManager: limited, admit: admit}
	open := func(address string) []network.ConnManagementScope {
		var got []network.ConnManagementScope
		for port := range 1000 {
			c, err := manager.OpenConnection(network.DirInbound, true, multiaddr.StringCast(fmt.Sprintf("%s/tcp/%d", address, port+1)))
			if err == nil {
				got = append(got, c)
			} else if !errors.Is(err, network.ErrResourceLimitExceeded) && port < limits.ConnsPerIP {
				t.Fatal(err)
			}
		}
		return got
	}
	for _, address := range []string{"/ip4/203.0.113.7", "/ip4/203.0.113.8", "/ip6/2001:db8::7"} {
		before := admit.counts().Conns
		got := open(address)
		if len(got) == 0 || len(got) > limits.ConnsPerIP {
			t.Errorf("%s: %d connections, limit %d", address, len(got), limits.ConnsPerIP)
		}
		if n := admit.counts().Conns - before; n != uint64(1000-len(got)) {
			t.Errorf("%s: %d refusals counted of %d", address, n, 1000-len(got))
		}
		for _, c := range got {
			c.Done()
		}
	}
	if err := limited.ViewSystem(func(s network.ResourceScope) error {
		if n := s.Stat().NumConnsInbound; n != 0 {
			return fmt.Errorf("%d connections are left", n)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestSharesLeaveSomeForTheNext: however many take all they can get, together or one after the other, the next one gets
// what is sure, and all comes back.
func TestSharesLeaveSomeForTheNext(t *testing.T) {
	for _, together := range []bool{true, false} {
		for _, greedy := range []int{0, 1, 10, 300} {
			s := newShares(4096, 384, 8, 192, streamParts)
			taken := map[peer.ID]int64{}
			grab := func(i int) bool {
				id := peer.ID(fmt.Sprint(i))
				ok := s.take(id, 1)
				if ok {
					taken[id]++
				}
				return ok
			}
			for progress := together; progress; {
				progress = false
				for i := range greedy {
					progress = grab(i) || progress
				}
			}
			for i := range greedy {
				for grab(i) {
				}
			}
			for id, n := range taken {
				if n > 192 || n < 8 || together && n < 8+1024/int64(greedy+streamParts+1)-1 {
					t.Errorf("%d greedy: %s has %d", greedy, id, n)
				}
			}
			for range 8 {
				if !s.take("late", 1) {
					t.Errorf("%d greedy: nothing is left of %d", greedy, s.inUse())
				}
			}
			if s.inUse() > 4096 {
				t.Errorf("%d greedy: %d in use", greedy, s.inUse())
			}
			s.give("late", 8)
			for id, n := range taken {
				s.give(id, n)
			}
			if s.inUse() != 0 || len(s.held) != 0 || s.used != 0 {
				t.Errorf("%d greedy: %d is not given back, %d extra", greedy, s.inUse(), s.used)
			}
		}
	}
	if s := newShares(100, 1, 0, 100, memoryParts); s.takeSpare("a", 51) || !s.takeSpare("a", 50) || s.takeSpare("b", 1) || !s.take("b", 1) {
		t.Error("spare shares are not half of all")
	}
}

// TestWindowsTakeMemoryAsTheyGrow: the first window of a stream is free, its growth is not, and it is given back once.
func TestWindowsTakeMemoryAsTheyGrow(t *testing.T) {
	memory := newShares(1<<20, 1, 0, 1<<20, memoryParts)
	w := &window{memory: memory, id: "a"}
	if err := w.ReserveMemory(1<<30, network.ReservationPriorityAlways); err != nil || memory.inUse() != 0 {
		t.Errorf("first window: %v, %d in use", err, memory.inUse())
	}
	if err := w.ReserveMemory(400<<10, 128); err != nil || memory.inUse() != 400<<10 {
		t.Errorf("growth: %v, %d in use", err, memory.inUse())
	}
	if err := w.ReserveMemory(400<<10, 128); !errors.Is(err, network.ErrResourceLimitExceeded) {
		t.Errorf("growth beyond the spare half: %v", err)
	}
	w.Done()
	w.Done()
	if memory.inUse() != 0 || w.ReserveMemory(1, 128) == nil {
		t.Errorf("%d in use at the end", memory.inUse())
	}
}
