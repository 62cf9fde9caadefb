package p2p

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ether is a local network in memory.
type ether struct {
	lock  sync.Mutex // owns what follows
	ports []*port
}

type port struct {
	ether  *ether
	in     chan []byte
	closed chan struct{}
	once   sync.Once
}

func (e *ether) join() (multicast, error) {
	e.lock.Lock()
	defer e.lock.Unlock()
	p := &port{ether: e, in: make(chan []byte, 64), closed: make(chan struct{})}
	e.ports = append(e.ports, p)
	return p, nil
}

func (p *port) Send(datagram []byte) error {
	p.ether.lock.Lock()
	defer p.ether.lock.Unlock()
	for _, other := range p.ether.ports {
		select {
		case other.in <- bytes.Clone(datagram):
		default:
		}
	}
	return nil
}

func (p *port) Receive(buffer []byte) (int, error) {
	select {
	case d := <-p.in:
		return copy(buffer, d), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func TestPeersAreFoundOnTheLAN(t *testing.T) {
	wire := new(ether)
	var nodes []*Node
	for i := range 3 {
		config := testConfig(fmt.Sprint("lan-", i))
		config.MDNS, config.joinLAN = true, wire.join
		nodes = append(nodes, start(t, config))
	}
	foreign := testConfig("foreign")
	foreign.Network, foreign.MDNS, foreign.joinLAN = "other-net", true, wire.join
	stranger := start(t, foreign)
	eventually(t, "all three are connected", func() bool {
		return len(nodes[0].Peers()) == 2 && len(nodes[1].Peers()) == 2 && len(nodes[2].Peers()) == 2
	})
	if len(stranger.host.Network().Peers()) > 0 {
		t.Error("a peer of another network was dialled")
	}
	noise, _ := wire.join()
	_ = noise.Send([]byte("noise"))
	_ = noise.Send(nil)
	newcomer := testConfig("newcomer")
	newcomer.MDNS, newcomer.joinLAN = true, wire.join
	n := start(t, newcomer)
	eventually(t, "a newcomer is connected in spite of noise", func() bool { return len(n.Peers()) == 3 })
}

func TestWithoutMulticastTheNodeRuns(t *testing.T) {
	config := testConfig("deaf")
	config.MDNS, config.joinLAN = true, func() (multicast, error) { return nil, net.ErrClosed }
	start(t, config)
}

func TestLANDialsAreBounded(t *testing.T) {
	n := start(t, testConfig("lan"))
	l, err := newLAN(n)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if l.worthADial(n.ID(), now) || !l.worthADial("a", now) || l.worthADial("a", now) || !l.worthADial("a", now.Add(lanTries)) {
		t.Error("who is dialled when")
	}
	n.Deny("b", time.Hour)
	if l.worthADial("b", now) {
		t.Error("a denied peer is dialled")
	}
	for i := range 2 * maxLANSeen {
		l.worthADial(peer.ID(fmt.Sprint("peer", i)), now)
	}
	if len(l.tried) > maxLANSeen {
		t.Errorf("%d peers are remembered", len(l.tried))
	}
	if !l.mayAnswer(now) || l.mayAnswer(now) || !l.mayAnswer(now.Add(lanAnswers)) {
		t.Error("answers are not spaced out")
	}
}

// FuzzLANDatagram reads whatever comes from the local network.
func FuzzLANDatagram(f *testing.F) {
	n, err := New(testConfig("fuzz"))
	if err != nil {
		f.Fatal(err)
	}
	l, err := newLAN(n)
	if err != nil {
		f.Fatal(err)
	}
	question, err := l.question()
	if err != nil {
		f.Fatal(err)
	}
	full := addrPrefix + "/ip4/127.0.0.1/tcp/1/p2p/" + n.ID().String()
	announcement, err := l.announcement([]string{full, full, addrPrefix + "/dns4/example.com/tcp/1/p2p/" + n.ID().String(), "x=y", ""})
	if err != nil {
		f.Fatal(err)
	}
	if asked, found := l.read(question); !asked || found != nil {
		f.Fatal("the question is not understood")
	}
	if asked, found := l.read(announcement); asked || len(found) != 1 || len(found[0].Addrs) != 2 || found[0].ID != n.ID() {
		f.Fatal("the answer is not understood", found)
	}
	f.Add(question)
	f.Add(announcement)
	f.Add([]byte(strings.Repeat("\xc0\x0c", 100)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		_, found := l.read(datagram)
		for _, info := range found {
			if len(info.Addrs) > maxLANAddrs {
				t.Fatal("too many addresses")
			}
		}
	})
}
