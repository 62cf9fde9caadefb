package p2p

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multiaddr"
)

const (
	helloVerb = "hello"
	maxHello  = 64

	// refusedFor is how long a peer of another network is not talked to.
	refusedFor = time.Minute
	maxRefused = 4096
	// inboundGrace lets the dialling side learn from our identification that it dialled another network, before
	// the connection breaks under its hands.
	inboundGrace = 2 * time.Second
)

// hello answers a frame with itself. That a peer serves it under our network's name and wire version is what makes
// it a peer of our network; the answer makes it a ping.
func (n *Node) hello(_ context.Context, _ Peer, s *Stream) error {
	frame, err := s.Read(maxHello)
	if err != nil {
		return err
	}
	return s.Write(frame)
}

// Ping measures one round trip to a peer, and feeds the latency that Peers reports.
func (n *Node) Ping(ctx context.Context, to peer.ID) (time.Duration, error) {
	s, err := n.Open(ctx, to, helloVerb, WireVersion)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	begin := time.Now()
	if err := s.Write(nil); err != nil {
		return 0, fmt.Errorf("ping %s: %w", to, err)
	}
	if _, err := s.Read(maxHello); err != nil {
		return 0, fmt.Errorf("ping %s: %w", to, err)
	}
	took := time.Since(begin)
	n.host.Peerstore().RecordLatency(to, took)
	return took, nil
}

// helloID is the protocol that every peer of our network serves.
func (n *Node) helloID() protocol.ID {
	return protocol.ID("/ao/" + n.config.Network + "/" + helloVerb + "/" + WireVersion)
}

// belongs says whether a peer has identified itself as one of our network.
func (n *Node) belongs(id peer.ID) bool {
	found, err := n.host.Peerstore().SupportsProtocols(id, n.helloID())
	return err == nil && len(found) > 0
}

// members are the connected peers of our network.
func (n *Node) members() []peer.ID {
	connected := n.host.Network().Peers()
	return slices.DeleteFunc(connected, func(id peer.ID) bool { return !n.belongs(id) })
}

// connect dials a peer and waits until it has said which network it is of.
func (n *Node) connect(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, n.config.Limits.Timeout)
	defer cancel()
	if err := n.host.Connect(ctx, info); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, n.dialError(info.ID, err))
	}
	if bus, ok := n.host.(interface{ IDService() identify.IDService }); ok {
		for _, c := range n.host.Network().ConnsToPeer(info.ID) {
			select {
			case <-bus.IDService().IdentifyWait(c):
			case <-ctx.Done():
				return fmt.Errorf("connect to %s: identify: %w: %w", info.ID, ErrUnreachable, ctx.Err())
			}
		}
	}
	if n.belongs(info.ID) {
		return nil
	}
	spoken, err := n.host.Peerstore().GetProtocols(info.ID)
	if err != nil || len(spoken) == 0 && !n.gate.refused(info.ID, time.Now()) {
		return fmt.Errorf("connect to %s: %w: it did not say who it is", info.ID, ErrUnreachable)
	}
	n.turnAway(info.ID)
	return fmt.Errorf("connect to %s: %w", info.ID, ErrOtherNetwork)
}

// turnAway gates a peer of another network and ends its connections.
func (n *Node) turnAway(id peer.ID) {
	n.gate.refuse(id, time.Now())
	_ = n.host.Network().ClosePeer(id)
	n.log.Debug("turned away a peer of another network", "other", id)
}

// watch looks at every peer that identifies itself: those of our network are remembered, others turned away.
func (n *Node) watch(ctx context.Context, events event.Subscription) {
	late := make(map[peer.ID]time.Time)
	tick := time.NewTicker(inboundGrace / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for id, at := range late {
				if now.After(at) {
					delete(late, id)
					n.turnAway(id)
				}
			}
		case e, ok := <-events.Out():
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				switch {
				case slices.Contains(e.Protocols, n.helloID()):
					n.known.saw(e.Peer, n.sightedAddrs(e), time.Now())
					n.prod()
				case n.known.has(e.Peer):
					// It was one of us, so it is on its way out rather than elsewhere.
					_ = n.host.Network().ClosePeer(e.Peer)
				case e.Conn.Stat().Direction == network.DirInbound:
					late[e.Peer] = time.Now().Add(inboundGrace)
				default:
					n.turnAway(e.Peer)
				}
			case event.EvtPeerIdentificationFailed:
				if !n.belongs(e.Peer) {
					_ = n.host.Network().ClosePeer(e.Peer)
				}
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness == network.NotConnected {
					n.prod()
				}
			}
		}
	}
}

// sightedAddrs are the addresses worth remembering: those the peer listens on, and the one we reached it at.
func (n *Node) sightedAddrs(e event.EvtPeerIdentificationCompleted) []multiaddr.Multiaddr {
	addrs := n.host.Peerstore().Addrs(e.Peer)
	if remote := e.Conn.RemoteMultiaddr(); e.Conn.Stat().Direction == network.DirOutbound {
		addrs = append([]multiaddr.Multiaddr{remote}, addrs...)
	}
	return addrs
}

func subscribe(h host.Host) (event.Subscription, error) {
	return h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerIdentificationFailed),
		new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(1024), eventbus.Name("ao"))
}

// gate is the connection gater: no peers of other networks for a while, and none whose key is not Ed25519.
type gate struct {
	lock sync.Mutex // owns what follows
	out  map[peer.ID]time.Time
}

func newGate() *gate { return &gate{out: make(map[peer.ID]time.Time)} }

func (g *gate) refuse(id peer.ID, now time.Time) {
	g.lock.Lock()
	defer g.lock.Unlock()
	if len(g.out) >= maxRefused {
		for other, until := range g.out {
			if now.After(until) || len(g.out) >= maxRefused {
				delete(g.out, other)
			}
		}
	}
	g.out[id] = now.Add(refusedFor)
}

func (g *gate) refused(id peer.ID, now time.Time) bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	until, ok := g.out[id]
	return ok && now.Before(until)
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *gate) InterceptPeerDial(id peer.ID) bool { return !g.refused(id, time.Now()) }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g *gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g *gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	if _, err := KeyFromPeerID(id); err != nil {
		return false
	}
	return !g.refused(id, time.Now())
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
