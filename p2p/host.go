package p2p

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/prometheus/client_golang/prometheus"
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

// metricsOption has libp2p count in a registry, or not at all. Its counters are those of the process: several nodes in
// one share them, whichever registry shows them.
func metricsOption(into prometheus.Registerer) libp2p.Option {
	if into == nil {
		return libp2p.DisableMetrics()
	}
	return libp2p.PrometheusRegisterer(into)
}

// newHost builds a host that does not listen yet.
func (n *Node) newHost() (host.Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(n.config.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	limited, err := newResourceManager(n.config.Limits, n.helloID(), n.ownID("kad"), n.ownID("meshsub"))
	if err != nil {
		return nil, err
	}
	manager := &sharingManager{ResourceManager: limited, admit: n.admit, refuse: n.refuse}
	conns := n.config.Limits.Conns
	trimmer, err := connmgr.NewConnManager(conns/2, conns*2/3, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		_ = manager.Close()
		return nil, fmt.Errorf("make connection manager: %w", err)
	}
	wire := n.config.Wire
	if wire == nil {
		wire = []libp2p.Option{
			libp2p.Transport(tcp.NewTCPTransport),
			libp2p.Transport(quic.NewTransport),
			libp2p.Security(libp2ptls.ID, libp2ptls.New),
			libp2p.Security(noise.ID, noise.New),
		}
	}
	h, err := libp2p.New(slices.Concat(wire, n.relayOptions(), []libp2p.Option{
		libp2p.Identity(key),
		libp2p.NoListenAddrs,
		libp2p.Muxer(yamux.ID, sharingMuxer{n.admit}),
		libp2p.ConnectionGater(n.gate),
		libp2p.ResourceManager(manager),
		libp2p.ConnectionManager(trimmer),
		libp2p.UserAgent("aopeer/" + WireVersion),
		libp2p.ProtocolVersion("/ao/" + n.config.Network),
		metricsOption(n.config.Metrics),
		libp2p.Ping(false),
	})...)
	if err != nil {
		_ = manager.Close()
		_ = trimmer.Close()
		return nil, fmt.Errorf("make host: %w", err)
	}
	return h, nil
}
