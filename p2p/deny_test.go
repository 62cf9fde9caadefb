package p2p

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

func apart(a, b *Node) bool {
	return a.host.Network().Connectedness(b.ID()) == network.NotConnected &&
		b.host.Network().Connectedness(a.ID()) == network.NotConnected
}

func TestDeniedPeersStayOut(t *testing.T) {
	outcast := start(t, testConfig("outcast"))
	for name, deny := range map[string]string{
		"by ID": outcast.ID().String(), "by address": "127.0.0.1", "by subnet": "127.0.0.0/8", "by mapped address": "::ffff:127.0.0.1",
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig("strict " + name)
			config.Deny = []string{deny, "192.0.2.0/24"}
			strict := start(t, config)
			if err := strict.Connect(testContext(t), outcast.Addrs()...); !errors.Is(err, ErrUnreachable) {
				t.Errorf("dialled: %v", err)
			}
			if err := outcast.Connect(testContext(t), strict.Addrs()...); err == nil {
				// The security handshake may end at the dialler's side first.
				eventually(t, "turned away", func() bool { return apart(strict, outcast) })
			}
			if len(strict.Peers()) > 0 {
				t.Error("it is in")
			}
		})
	}
}

func TestDenyForAWhile(t *testing.T) {
	server, client := pair(t, nil)
	server.Handle("echo", "1.0.0", echo)
	server.Deny(client.ID(), time.Hour)
	eventually(t, "disconnected", func() bool { return apart(server, client) })
	if _, err := server.Open(testContext(t), client.ID(), "echo", "1.0.0"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("open to a denied peer: %v", err)
	}
	client.forgetDialFailures(server.ID())
	if _, err := client.Call(testContext(t), server.ID(), "echo", "1.0.0", nil); err == nil {
		t.Error("a denied peer was served")
	}
	server.Deny(client.ID(), 0)
	eventually(t, "let in again", func() bool {
		client.forgetDialFailures(server.ID())
		answer, err := client.Call(testContext(t), server.ID(), "echo", "1.0.0", []byte("x"))
		return err == nil && string(answer) == "x"
	})
}

func TestGateCoversAGivenHost(t *testing.T) {
	key, err := crypto.UnmarshalEd25519PrivateKey(testKey("given"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(),
		libp2p.ResourceManager(new(network.NullResourceManager)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { given.Close() })
	outcast, friend := start(t, testConfig("outcast")), start(t, testConfig("friend"))
	config := testConfig("given")
	config.Host, config.Deny = given, []string{outcast.ID().String()}
	n := start(t, config)
	if err := n.Connect(testContext(t), outcast.Addrs()...); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dialled: %v", err)
	}
	_ = outcast.Connect(testContext(t), n.Addrs()...)
	eventually(t, "turned away", func() bool { return apart(n, outcast) })
	if err := friend.Connect(testContext(t), n.Addrs()...); err != nil {
		t.Errorf("a friend: %v", err)
	}
}

func TestDenyListIsBoundedAndChecked(t *testing.T) {
	g, err := newGate(nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 3 * maxRefused {
		g.deny(peer.ID(rune(i)), now.Add(time.Hour))
		g.refuse(peer.ID(rune(i)), now)
	}
	if len(g.denied) > maxRefused || len(g.out) > maxRefused {
		t.Errorf("%d denied, %d refused are remembered", len(g.denied), len(g.out))
	}
	if last := peer.ID(rune(3*maxRefused - 1)); !g.isDenied(last, now) || g.isDenied(last, now.Add(2*time.Hour)) {
		t.Error("the latest is not denied, or for too long")
	}
	for _, bad := range []string{"", "x", "1.2.3", "1.2.3.4/33", "/ip4/1.2.3.4"} {
		config := testConfig("deny")
		config.Deny = []string{bad}
		if _, err := New(config); !errors.Is(err, ErrAddr) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestRejectCostsTheSender sends what its neighbour rejects until that does not listen any more, not even to what is good.
func TestRejectCostsTheSender(t *testing.T) {
	topics := make([]*Topic, 3)
	type verdict struct {
		from peer.ID
		text string
	}
	judged := make(chan verdict, 1024)
	nodes := mesh(t, 3, func(i int, n *Node) {
		var err error
		topics[i], err = n.Topic("news", "1", func(_ context.Context, from peer.ID, data []byte) Verdict {
			if i == 0 && from != n.ID() {
				judged <- verdict{from, string(data)}
			}
			if i == 0 && data[0] == 'b' {
				return Reject
			}
			return Accept
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	_ = topics[2].Close() // so that nothing comes by way of the third
	eventually(t, "the pair knows each other", func() bool {
		return len(topics[0].Peers()) == 1 && len(topics[1].Peers()) == 1 && topics[1].Peers()[0] == nodes[0].ID()
	})
	ctx := testContext(t)
	for i := range 6 {
		if err := topics[1].Publish(ctx, []byte{'b', byte(i)}); err != nil {
			t.Fatal(err)
		}
		<-judged
	}
	// Whoever behaves is heard as before.
	third, err := nodes[2].Topic("news", "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	tries, heard := byte(0), 0
	eventually(t, "the third is heard twenty times", func() bool {
		tries++
		for who, text := range map[*Topic]byte{third: 'g', topics[1]: 'h'} {
			if err := who.Publish(ctx, []byte{text, tries}); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case v := <-judged:
			if v.from == nodes[1].ID() {
				t.Fatalf("the liar is still heard, with %q", v.text)
			}
			if v.text[0] == 'g' {
				heard++
			}
		default:
		}
		return heard == 20
	})
}
