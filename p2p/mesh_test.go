package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// mesh gives nodes that all know the first one, with prepare run on each before it starts.
func mesh(t *testing.T, count int, prepare func(i int, n *Node)) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range count {
		config := testConfig("mesh-" + string(rune('a'+i)))
		if i > 0 {
			config.Bootstrap = nodes[0].Addrs()
		}
		n, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if prepare != nil {
			prepare(i, n)
		}
		launch(t, n)
		nodes = append(nodes, n)
	}
	eventually(t, "everybody is connected", func() bool {
		return len(nodes[0].Peers()) == count-1 &&
			!slices.ContainsFunc(nodes, func(n *Node) bool { return len(n.Peers()) == 0 })
	})
	return nodes
}

func TestGossipReachesWhomValidatorsLet(t *testing.T) {
	topics := make([]*Topic, 3)
	var judged atomic.Int64
	nodes := mesh(t, 3, func(i int, n *Node) {
		var err error
		topics[i], err = n.Topic("news", "1/all", func(_ context.Context, _ peer.ID, data []byte) Verdict {
			switch {
			case bytes.HasPrefix(data, []byte("panic")) && i == 0:
				panic("bad validator")
			case bytes.HasPrefix(data, []byte("bad")) && i == 0:
				judged.Add(1)
				return Reject
			case bytes.HasPrefix(data, []byte("stale")) && i == 0:
				judged.Add(1)
				return Ignore
			}
			return Accept
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if _, err := nodes[0].Topic("news", "1/all", nil); !errors.Is(err, ErrName) {
		t.Errorf("joined twice: %v", err)
	}
	eventually(t, "the first knows its neighbours in the topic", func() bool { return len(topics[0].Peers()) == 2 })
	eventually(t, "the second knows the first in the topic", func() bool {
		return slices.Contains(topics[1].Peers(), nodes[0].ID())
	})
	ctx := testContext(t)
	for _, text := range []string{"bad", "stale", "panic", "good"} {
		if err := topics[1].Publish(ctx, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	data, from, err := topics[0].Next(ctx)
	if err != nil || string(data) != "good" || from != nodes[1].ID() && from != nodes[2].ID() {
		t.Errorf("the first got %q from %s, %v", data, from, err)
	}
	// Until the mesh has formed a message may be passed on to nobody.
	arrived := make(chan string, 16)
	go func() {
		for {
			data, _, err := topics[2].Next(ctx)
			if err != nil {
				close(arrived)
				return
			}
			arrived <- string(data[:min(len(data), 8)])
		}
	}()
	tries := 0
	eventually(t, "a message reaches the third", func() bool {
		tries++
		if err := topics[1].Publish(ctx, fmt.Appendf(nil, "good %d", tries)); err != nil {
			t.Fatal(err)
		}
		select {
		case text := <-arrived:
			return strings.HasPrefix(text, "good")
		default:
			return false
		}
	})
	if judged.Load() != 2 {
		t.Errorf("the first judged %d bad messages", judged.Load())
	}
	if err := topics[0].Publish(ctx, []byte("bad of my own")); !errors.Is(err, ErrRefused) {
		t.Errorf("own message that the own validator rejects: %v", err)
	}
	if err := topics[0].Publish(ctx, make([]byte, nodes[0].config.Limits.MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("oversize message: %v", err)
	}
	if err := topics[0].Publish(ctx, bytes.Repeat([]byte{1}, nodes[0].config.Limits.MaxMessage)); err != nil {
		t.Errorf("message at the limit: %v", err)
	}
	for text := range arrived {
		if text == "\x01\x01\x01\x01\x01\x01\x01\x01" {
			break
		}
	}
	if err := topics[2].Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := topics[2].Next(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("next of a topic that was left: %v", err)
	}
	eventually(t, "the others notice", func() bool { return len(topics[0].Peers()) == 1 })
	if _, err := nodes[2].Topic("news", "1/all", nil); err != nil {
		t.Errorf("join again: %v", err)
	}
}

func TestProvideAndFind(t *testing.T) {
	nodes := mesh(t, 3, nil)
	eventually(t, "routing tables fill", func() bool {
		return nodes[0].dht.RoutingTable().Size() == 2 && nodes[1].dht.RoutingTable().Size() > 0 &&
			nodes[2].dht.RoutingTable().Size() > 0
	})
	ctx := testContext(t)
	key := []byte("su/process")
	if err := nodes[1].Provide(ctx, key); err != nil {
		t.Fatal(err)
	}
	found, err := nodes[2].FindProviders(ctx, key, 1)
	if err != nil || len(found) != 1 || found[0].ID != nodes[1].ID() || len(found[0].Addrs) == 0 {
		t.Fatalf("found %v, %v", found, err)
	}
	if found, err := nodes[2].FindProviders(ctx, []byte("other"), 0); err != nil || len(found) > 0 {
		t.Errorf("nobody provides it, found %v, %v", found, err)
	}
	if found, err := nodes[1].FindProviders(ctx, key, 0); err != nil || len(found) > 0 {
		t.Errorf("only we provide it, found %v, %v", found, err)
	}
	// A client that has never heard of the provider reaches it by its ID alone.
	config := testConfig("newcomer")
	config.Bootstrap, config.Server = nodes[0].Addrs(), false
	config.Limits.LowPeers = 1
	newcomer := start(t, config)
	eventually(t, "newcomer's routing table fills", func() bool { return newcomer.dht.RoutingTable().Size() > 0 })
	nodes[1].Handle("echo", "1.0.0", echo)
	if answer, err := newcomer.Call(ctx, nodes[1].ID(), "echo", "1.0.0", []byte("hi")); err != nil || string(answer) != "hi" {
		t.Errorf("call by ID: %q, %v", answer, err)
	}
}

func TestProvideAloneIsRepeated(t *testing.T) {
	first := start(t, testConfig("lonely"))
	ctx := testContext(t)
	key := []byte("key")
	if err := first.Provide(ctx, key); !errors.Is(err, ErrNoPeers) {
		t.Fatalf("alone: %v", err)
	}
	config := testConfig("company")
	config.Bootstrap = first.Addrs()
	second := start(t, config)
	eventually(t, "the provider is found", func() bool {
		found, err := second.FindProviders(ctx, key, 1)
		return err == nil && len(found) == 1 && found[0].ID == first.ID()
	})
}

// TestLearn: who is told where a peer listens can call it without asking anybody; what is no address of that peer is left
// out.
func TestLearn(t *testing.T) {
	server, client := start(t, testConfig("server")), start(t, testConfig("client"))
	server.Handle("echo", "1.0.0", echo)
	ctx := testContext(t)
	if _, err := client.Call(ctx, server.ID(), "echo", "1.0.0", []byte("x")); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("called a peer that nobody told of: %v", err)
	}
	other := start(t, testConfig("other"))
	client.Learn(server.ID(), append([]string{"nonsense", "", "/p2p/" + server.ID().String()}, other.Addrs()...), time.Minute)
	if _, err := client.Call(ctx, server.ID(), "echo", "1.0.0", []byte("x")); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("called a peer at addresses that are not its own: %v", err)
	}
	for _, addr := range server.Addrs() {
		client.Learn(server.ID(), []string{strings.TrimSuffix(addr, "/p2p/"+server.ID().String())}, time.Minute)
	}
	if _, err := client.Call(ctx, server.ID(), "echo", "1.0.0", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := client.Neighbours(); !slices.Equal(got, []peer.ID{server.ID()}) {
		t.Errorf("neighbours %v", got)
	}
	if _, err := client.Ping(ctx, server.ID()); err != nil || client.Latency(server.ID()) <= 0 {
		t.Errorf("latency %v after a ping, %v", client.Latency(server.ID()), err)
	}
}
