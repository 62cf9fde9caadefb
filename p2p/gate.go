package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

const (
	helloVerb = "hello"
	maxHello  = 64

	// refusedFor is how long a peer of another network is not talked to.
	refusedFor = time.Minute
	// inboundGrace lets the dialling side learn from our identification that it dialled another network, before
	// the connection breaks under its hands.
	inboundGrace = 2 * time.Second
)

// hello answers a frame with itself. That a peer serves it under our network's name and wire version is what makes
// it a peer of our network; the answer makes it a ping.
func (n *Node) hello(_ context.Context, _ Peer, s *Stream) error {
	frame, err := s.Read(maxHello)
	if err == io.EOF {
		return nil
	}
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

// ownID is the protocol ID of a part of this package.
func (n *Node) ownID(name string) protocol.ID {
	return protocol.ID("/ao/" + n.config.Network + "/" + name + "/" + WireVersion)
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
	if err := n.gated(info.ID); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, err)
	}
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
	spoken, err := n.speaksHello(ctx, info.ID)
	switch {
	case spoken:
		return nil
	case err == nil:
		n.turnAway(info.ID)
		return fmt.Errorf("connect to %s: %w", info.ID, ErrOtherNetwork)
	}
	return fmt.Errorf("connect to %s: %w", info.ID, n.dialError(info.ID, err))
}

// speaksHello says whether a connected peer serves hello of our network. Its identification may be older than its
// handlers (libp2p renews it in the background), so one that lacks hello is not believed before asking.
func (n *Node) speaksHello(ctx context.Context, id peer.ID) (bool, error) {
	if n.belongs(id) {
		return true, nil
	}
	s, err := n.host.NewStream(network.WithAllowLimitedConn(network.WithNoDial(ctx, "hello"), "hello"), id, n.helloID())
	var unsupported multistream.ErrNotSupported[protocol.ID]
	switch {
	case err == nil:
		return true, s.Close()
	case errors.As(err, &unsupported):
		return false, nil
	}
	return false, err
}

// turnAway gates a peer of another network and ends its connections.
func (n *Node) turnAway(id peer.ID) {
	n.gate.refuse(id, time.Now())
	_ = n.host.Network().ClosePeer(id)
	n.log.Debug("turned away a peer of another network", "other", id)
}

// watch looks at every peer that identifies itself: those of our network are remembered, others turned away.
func (n *Node) watch(ctx context.Context, events event.Subscription) {
	var examinations sync.WaitGroup
	defer examinations.Wait()
	ended := make(chan peer.ID)
	doubted := make(map[peer.ID]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-ended:
			delete(doubted, id)
		case id := <-n.floods:
			n.putOff(id)
		case e, ok := <-events.Out():
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				if slices.Contains(e.Protocols, n.helloID()) {
					n.welcome(e.Peer)
				} else if !doubted[e.Peer] {
					doubted[e.Peer] = true
					examinations.Go(func() {
						n.examine(ctx, e)
						select {
						case ended <- e.Peer:
						case <-ctx.Done():
						}
					})
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

// welcome remembers a peer of our network.
func (n *Node) welcome(id peer.ID) {
	n.sight(id)
	n.prod()
}

// examine decides about a peer that did not list our hello.
func (n *Node) examine(ctx context.Context, e event.EvtPeerIdentificationCompleted) {
	if e.Conn.Stat().Direction == network.DirInbound {
		grace := time.NewTimer(inboundGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
		case <-ctx.Done():
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.Limits.Timeout)
	defer cancel()
	spoken, err := n.speaksHello(ctx, e.Peer)
	switch {
	case spoken:
		n.welcome(e.Peer)
	case err != nil || n.known.has(e.Peer):
		// It is gone, or on its way out: a peer that was one of us takes its handlers off at the end.
		_ = n.host.Network().ClosePeer(e.Peer)
	default:
		n.turnAway(e.Peer)
	}
}

// sight notes where a peer can be met: at the address we reached it at, and those it says it listens on.
func (n *Node) sight(id peer.ID) {
	var addrs []multiaddr.Multiaddr
	for _, c := range n.host.Network().ConnsToPeer(id) {
		if c.Stat().Direction == network.DirOutbound {
			addrs = append(addrs, c.RemoteMultiaddr())
		}
	}
	n.known.saw(id, append(addrs, n.host.Peerstore().Addrs(id)...), time.Now())
}

func subscribe(h host.Host) (event.Subscription, error) {
	return h.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerIdentificationFailed),
		new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(1024), eventbus.Name("ao"))
}
