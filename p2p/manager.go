package p2p

import (
	"fmt"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	"github.com/multiformats/go-multiaddr"
)

// newResourceManager turns our limits into libp2p's, every scope named: nothing is left to its guesses about the
// machine, because many nodes may share one process.
func newResourceManager(l Limits, hello, kad, meshsub protocol.ID) (network.ResourceManager, error) {
	// A peer's streams: those we serve it, as many that we opened to it, and libp2p's own.
	own := rcmgr.LimitVal(l.StreamsPerPeer + 64)
	conns := rcmgr.LimitVal(l.Conns)
	perConn := rcmgr.LimitVal(4)
	streams := rcmgr.LimitVal(l.Streams)
	// Twice what is to be shared: these limits are only for what libp2p takes by itself, at its lower priorities.
	memory := 2 * rcmgr.LimitVal64(l.Memory)
	frame := rcmgr.LimitVal64(2*max(l.MaxRequest, l.MaxResponse) + 4<<20)

	whole := rcmgr.ResourceLimits{
		Conns: conns, ConnsInbound: conns * 3 / 4, ConnsOutbound: conns,
		Streams: 2 * streams, StreamsInbound: streams, StreamsOutbound: streams,
		FD: conns, Memory: memory,
	}
	transient := rcmgr.ResourceLimits{
		Conns: conns / 2, ConnsInbound: conns / 4, ConnsOutbound: conns / 2,
		// As many as there may be at all: whoever opens streams and says nothing fills its share, and not this scope.
		Streams: 2 * streams, StreamsInbound: streams, StreamsOutbound: streams,
		FD: conns / 2, Memory: memory / 4,
	}
	one := rcmgr.ResourceLimits{
		Conns: 2 * perConn, ConnsInbound: perConn, ConnsOutbound: 2 * perConn,
		Streams: 2 * own, StreamsInbound: own, StreamsOutbound: own,
		FD: 2 * perConn, Memory: memory,
	}
	verb := rcmgr.ResourceLimits{
		Streams: 2 * streams, StreamsInbound: streams, StreamsOutbound: streams, Memory: memory,
	}
	verbOfPeer := rcmgr.ResourceLimits{
		Streams: 2 * own, StreamsInbound: own, StreamsOutbound: own, Memory: memory,
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

// sharingManager is libp2p's resource manager with fair shares of the streams that peers open: its own limits are fixed,
// so that a few peers at theirs would leave the others none. A stream over the share is reset before anything is
// started for it.
type sharingManager struct {
	network.ResourceManager
	admit  *admission
	refuse func(peer.ID, bound)
}

// OpenConnection implements network.ResourceManager.
func (m *sharingManager) OpenConnection(dir network.Direction, usesFD bool, endpoint multiaddr.Multiaddr) (network.ConnManagementScope, error) {
	scope, err := m.ResourceManager.OpenConnection(dir, usesFD, endpoint)
	if err != nil && dir == network.DirInbound {
		m.admit.count(boundConns)
	}
	return scope, err
}

// OpenStream implements network.ResourceManager.
func (m *sharingManager) OpenStream(id peer.ID, dir network.Direction) (network.StreamManagementScope, error) {
	if dir == network.DirOutbound {
		return m.ResourceManager.OpenStream(id, dir)
	}
	if !m.admit.streams.take(id, 1) {
		m.refuse(id, boundStreams)
		return nil, fmt.Errorf("open stream: %w: over the share of one peer", network.ErrResourceLimitExceeded)
	}
	scope, err := m.ResourceManager.OpenStream(id, dir)
	if err != nil {
		m.admit.streams.give(id, 1)
		m.refuse(id, boundStreams)
		return nil, err
	}
	return &sharedStream{StreamManagementScope: scope, leave: sync.OnceFunc(func() { m.admit.streams.give(id, 1) })}, nil
}

// sharedStream gives its place back when the stream is over.
type sharedStream struct {
	network.StreamManagementScope
	leave func()
}

// Done implements network.ResourceScopeSpan.
func (s *sharedStream) Done() {
	s.leave()
	s.StreamManagementScope.Done()
}

// sharingMuxer is yamux with the memory of its windows taken from the shares. Left to the resource manager, each stream
// would reserve its first window there, and a session that cannot have one breaks: full memory would cut off whoever
// speaks next. Here the first windows are bounded by the number of streams, and only their growth needs memory.
type sharingMuxer struct{ admit *admission }

// NewConn implements network.Multiplexer.
func (m sharingMuxer) NewConn(c net.Conn, isServer bool, scope network.PeerScope) (network.MuxedConn, error) {
	return yamux.DefaultTransport.NewConn(c, isServer, windowScope{PeerScope: scope, memory: m.admit.memory})
}

// windowScope is a peer's scope as yamux uses it.
type windowScope struct {
	network.PeerScope
	memory *shares
}

// BeginSpan implements network.ResourceScope.
func (s windowScope) BeginSpan() (network.ResourceScopeSpan, error) {
	return &window{PeerScope: s.PeerScope, memory: s.memory, id: s.Peer()}, nil
}

// window is the memory of one stream's window beyond its first size.
type window struct {
	network.PeerScope
	memory *shares
	id     peer.ID

	lock sync.Mutex // owns what follows
	held int64
	over bool
}

// ReserveMemory implements network.ResourceScope. The highest priority is the first window's.
func (w *window) ReserveMemory(size int, priority uint8) error {
	if priority == network.ReservationPriorityAlways {
		return nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.over || !w.memory.takeSpare(w.id, int64(size)) {
		return network.ErrResourceLimitExceeded
	}
	w.held += int64(size)
	return nil
}

// ReleaseMemory implements network.ResourceScope. yamux gives all back at once, with Done.
func (w *window) ReleaseMemory(size int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	give := min(int64(size), w.held)
	w.held -= give
	w.memory.give(w.id, give)
}

// Done implements network.ResourceScopeSpan. It may be called more than once.
func (w *window) Done() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.memory.give(w.id, w.held)
	w.held, w.over = 0, true
}
