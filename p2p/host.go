package p2p

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// closers undo what open did, last first.
type closers []func()

func (c *closers) add(f func()) { *c = append(*c, f) }

func (c *closers) run() {
	for i := len(*c) - 1; i >= 0; i-- {
		(*c)[i]()
	}
}

// open brings everything up in the order of need, and listens last: a peer that reaches us must find all our
// protocols, or it would take us for one of another network. The returned function undoes it, also after an error.
func (n *Node) open(ctx context.Context, tasks *sync.WaitGroup) (func(), error) {
	var undo closers
	if err := n.known.load(ctx, n.config.Limits.KnownPeers); err != nil {
		return undo.run, err
	}
	undo.add(func() {
		if err := n.known.save(context.WithoutCancel(ctx)); err != nil {
			n.log.Warn("remembered peers not saved", "err", err)
		}
	})
	n.host = n.config.Host
	if n.host == nil {
		h, err := n.newHost()
		if err != nil {
			return undo.run, err
		}
		n.host = h
		undo.add(func() { _ = h.Close() })
	} else {
		n.gateGivenHost(&undo)
	}

	events, err := subscribe(n.host)
	if err != nil {
		return undo.run, fmt.Errorf("subscribe to peer events: %w", err)
	}
	tasks.Go(func() { n.watch(ctx, events) })
	undo.add(func() {
		_ = events.Close()
		for _, id := range n.members() {
			n.sight(id)
		}
	})

	if err := n.openDHT(ctx, &undo); err != nil {
		return undo.run, err
	}
	if err := n.openPubsub(ctx, &undo); err != nil {
		return undo.run, err
	}
	n.lock.Lock()
	n.running = true
	for name, h := range n.handlers {
		n.host.SetStreamHandler(protocol.ID(name), n.serve(h))
	}
	n.lock.Unlock()
	undo.add(func() {
		n.lock.Lock()
		defer n.lock.Unlock()
		n.running = false
		if n.config.Host == nil {
			return // closing it does; taking hello off first would tell everybody that we changed networks
		}
		for _, id := range n.members() {
			_ = n.host.Network().ClosePeer(id)
		}
		for name := range n.handlers {
			n.host.RemoveStreamHandler(protocol.ID(name))
		}
	})
	if n.config.Host == nil && len(n.listen) > 0 {
		if err := n.host.Network().Listen(n.listen...); err != nil {
			return undo.run, fmt.Errorf("listen: %w", err)
		}
	}
	return undo.run, nil
}

// newHost builds a host that does not listen yet. Relays, NAT discovery and LAN discovery are off.
func (n *Node) newHost() (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(n.config.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	manager, err := newResourceManager(n.config.Limits, n.helloID(), n.ownID("kad"), n.ownID("meshsub"))
	if err != nil {
		return nil, err
	}
	conns := n.config.Limits.Conns
	trimmer, err := connmgr.NewConnManager(conns/2, conns*2/3, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		_ = manager.Close()
		return nil, fmt.Errorf("make connection manager: %w", err)
	}
	h, err := libp2p.New(
		libp2p.Identity(key),
		libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Security(noise.ID, noise.New),
		libp2p.DefaultMuxers,
		libp2p.ConnectionGater(n.gate),
		libp2p.ResourceManager(manager),
		libp2p.ConnectionManager(trimmer),
		libp2p.UserAgent("aopeer/"+WireVersion),
		libp2p.ProtocolVersion("/ao/"+n.config.Network),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.DisableRelay(),
		libp2p.Ping(false),
	)
	if err != nil {
		_ = manager.Close()
		_ = trimmer.Close()
		return nil, fmt.Errorf("make host: %w", err)
	}
	return h, nil
}

// newResourceManager turns our limits into libp2p's, every scope named: nothing is left to its guesses about the
// machine, because many nodes may share one process.
func newResourceManager(l Limits, hello, kad, meshsub protocol.ID) (network.ResourceManager, error) {
	// A peer's streams: those we serve it, as many that we opened to it, and libp2p's own.
	own := rcmgr.LimitVal(l.StreamsPerPeer + 64)
	conns := rcmgr.LimitVal(l.Conns)
	perConn := rcmgr.LimitVal(4)
	streams := rcmgr.LimitVal(max(l.Conns*16, 4*int(own)))
	memory := rcmgr.LimitVal64(l.Memory)
	frame := rcmgr.LimitVal64(2*max(l.MaxRequest, l.MaxResponse) + 4<<20)

	whole := rcmgr.ResourceLimits{
		Conns: conns, ConnsInbound: conns * 3 / 4, ConnsOutbound: conns,
		Streams: 2 * streams, StreamsInbound: streams, StreamsOutbound: streams,
		FD: conns, Memory: memory,
	}
	transient := rcmgr.ResourceLimits{
		Conns: conns / 2, ConnsInbound: conns / 4, ConnsOutbound: conns / 2,
		Streams: streams / 4, StreamsInbound: streams / 8, StreamsOutbound: streams / 8,
		FD: conns / 2, Memory: memory / 4,
	}
	one := rcmgr.ResourceLimits{
		Conns: 2 * perConn, ConnsInbound: perConn, ConnsOutbound: 2 * perConn,
		Streams: 2 * own, StreamsInbound: own, StreamsOutbound: own,
		FD: 2 * perConn, Memory: memory / 4,
	}
	verb := rcmgr.ResourceLimits{
		Streams: 2 * streams, StreamsInbound: streams, StreamsOutbound: streams, Memory: memory,
	}
	verbOfPeer := rcmgr.ResourceLimits{
		Streams: 2 * own, StreamsInbound: own, StreamsOutbound: own, Memory: memory / 4,
	}
	configured := rcmgr.PartialLimitConfig{
		System: whole, Transient: transient, AllowlistedSystem: whole, AllowlistedTransient: transient,
		ServiceDefault: verb, ServicePeerDefault: verbOfPeer,
		ProtocolDefault: verb, ProtocolPeerDefault: verbOfPeer,
		PeerDefault: one,
		Protocol:    map[protocol.ID]rcmgr.ResourceLimits{}, ProtocolPeer: map[protocol.ID]rcmgr.ResourceLimits{},
		Conn:   rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: memory / 4},
		Stream: rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: frame},
	}
	// The protocols that keep the mesh together get a share that no verb can take from them, and no more than they need:
	// a ping and an identification at a time, one gossip stream each way (and its successor), parallel DHT queries.
	for name, most := range map[protocol.ID]rcmgr.LimitVal{
		hello: 8, identify.ID: 8, identify.IDPush: 8, meshsub: 4, kad: 32,
	} {
		configured.ProtocolPeer[name] = rcmgr.ResourceLimits{
			Streams: 2 * most, StreamsInbound: most, StreamsOutbound: most, Memory: memory / 16,
		}
		every := min(most*conns, streams)
		configured.Protocol[name] = rcmgr.ResourceLimits{
			Streams: 2 * every, StreamsInbound: every, StreamsOutbound: every, Memory: memory / 4,
		}
	}
	limits := configured.Build(rcmgr.DefaultLimits.Scale(0, 0))
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		// Loopback stays exempt through the prefix limits that libp2p sets by default.
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: l.ConnsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{
				{PrefixLength: 56, ConnCount: l.ConnsPerIP},
				{PrefixLength: 48, ConnCount: 8 * l.ConnsPerIP},
			}),
	)
	if err != nil {
		return nil, fmt.Errorf("make resource manager: %w", err)
	}
	return manager, nil
}
