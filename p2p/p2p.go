// Package p2p carries bytes between peers over libp2p: the host, streams for one call each, gossip topics and
// the distributed hash table through which the units of the mesh (§3.3–§3.5) find one another.
//
// In go a key, addresses, handlers and topics; out come streams of bounded frames, gossip messages that a
// validator has judged, and the addresses of peers that provide a key. All of it is bound to one network by
// name, and a peer of another network is turned away as soon as it has said who it is.
//
// It never looks into the bytes: it knows no message, slot or offer, checks no signature of an item, and carries
// the codes of refusals as opaque strings. New opens no socket and starts no goroutine.
//
// Start reading at [Node.Run], then [Node.Handle] and [Node.Call] for the life of a call.
package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Node is one peer of one network. Its methods are safe for concurrent use. Handlers and topics may be declared
// before Run, so that whoever builds the node need not wait for it.
type Node struct {
	config    Config
	id        peer.ID
	listen    []multiaddr.Multiaddr
	bootstrap []peer.AddrInfo
	store     datastore.Batching
	log       *slog.Logger

	gate   *gate
	admit  *admission
	known  *roster
	offers *provisions
	others *subscriptions
	knocks knocks

	started chan struct{} // closed by the first Run, so that a second one is refused
	ready   chan struct{} // closed once the node can be used
	gone    chan struct{} // closed when Run has returned
	wake    chan struct{} // asks the keeper for a round out of turn
	floods  chan peer.ID  // peers to be put off

	lock     sync.Mutex // owns what follows
	running  bool
	failure  error
	handlers map[string]Handler // by protocol ID
	topics   map[string]*Topic  // by topic string
	serving  sync.WaitGroup     // streams being served; added to under lock while running

	// Set by open before ready is closed and not changed until Run returns.
	ctx    context.Context
	host   host.Host
	dht    *dht.IpfsDHT
	pubsub *pubsub.PubSub
}

// New checks the configuration and builds a node that does nothing until Run.
func New(config Config) (*Node, error) {
	config = config.withDefaults()
	if err := config.Validate(); err != nil {
		return nil, err
	}
	id, err := config.identity()
	if err != nil {
		return nil, err
	}
	listen, err := parseAddrs(config.Listen)
	if err != nil {
		return nil, err
	}
	bootstrap, err := parsePeers(config.Bootstrap)
	if err != nil {
		return nil, err
	}
	gate, err := newGate(config.Deny)
	if err != nil {
		return nil, err
	}
	n := &Node{
		config: config, id: id, listen: listen, bootstrap: bootstrap,
		store: config.Datastore, log: config.Log.With("peer", id.String()),
		gate: gate, admit: newAdmission(config.Limits), offers: newProvisions(),
		started: make(chan struct{}), ready: make(chan struct{}), gone: make(chan struct{}),
		wake:     make(chan struct{}, 1),
		floods:   make(chan peer.ID, 64),
		handlers: make(map[string]Handler), topics: make(map[string]*Topic),
	}
	n.known = newRoster(n.store)
	n.others = newSubscriptions(config.Network, func() { n.admit.count(boundTopics) })
	n.Handle(helloVerb, WireVersion, n.hello)
	return n, nil
}

// Run opens the sockets and serves until ctx ends or the host fails to open. It returns once every goroutine
// that it started is gone, nil after a clean end. A node runs once; a second Run gets ErrClosed. A host given in
// Config stays open and belongs to the giver; a datastore must stay open until Run has returned.
func (n *Node) Run(ctx context.Context) (err error) {
	n.lock.Lock()
	select {
	case <-n.started:
		n.lock.Unlock()
		return fmt.Errorf("run p2p node a second time: %w", ErrClosed)
	default:
		close(n.started)
	}
	n.lock.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer func() {
		n.lock.Lock()
		n.running, n.failure = false, err
		n.lock.Unlock()
		close(n.gone)
	}()
	defer tasks.Wait()
	defer cancel()

	n.ctx = ctx
	closeHost, err := n.open(ctx, &tasks)
	defer closeHost()
	if err != nil {
		return fmt.Errorf("open p2p node: %w", err)
	}
	tasks.Go(func() { n.keep(ctx) })
	close(n.ready)
	if n.config.MDNS {
		if err := n.openLAN(ctx, &tasks); err != nil {
			n.log.Warn("no LAN discovery", "err", err)
		}
	}
	n.log.Info("peer is up", "network", n.config.Network, "addrs", n.Addrs())
	<-ctx.Done()
	n.stopServing(cancel)
	return nil
}

// stopServing lets no new stream in, breaks those under way through their context, and waits for their handlers.
func (n *Node) stopServing(cancel context.CancelFunc) {
	n.lock.Lock()
	n.running = false
	n.lock.Unlock()
	cancel()
	n.serving.Wait()
}

// Ready is closed once the node listens and its methods can be used. It stays open when Run fails: use Await to
// hear of that too.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Await waits until the node is ready, Run has failed or ended (ErrClosed), or ctx ends.
func (n *Node) Await(ctx context.Context) error {
	select {
	case <-n.gone:
		return n.closed()
	default:
	}
	select {
	case <-n.ready:
		return nil
	case <-n.gone:
		return n.closed()
	case <-ctx.Done():
		return fmt.Errorf("await p2p node: %w", ctx.Err())
	}
}

// up says whether the node can be used right now.
func (n *Node) up() error {
	select {
	case <-n.gone:
		return n.closed()
	default:
	}
	select {
	case <-n.ready:
		return nil
	default:
		return fmt.Errorf("p2p node is not ready: %w", ErrClosed)
	}
}

func (n *Node) closed() error {
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.failure != nil {
		return fmt.Errorf("%w: %w", ErrClosed, n.failure)
	}
	return ErrClosed
}

// ID is the peer ID of the unit key; it is known before Run.
func (n *Node) ID() peer.ID { return n.id }

// Addrs lists the full addresses (with /p2p/ and the peer ID) under which this node can be dialled; none before it
// is ready.
func (n *Node) Addrs() []string {
	if n.up() != nil {
		return nil
	}
	suffix, err := multiaddr.NewComponent("p2p", n.id.String())
	if err != nil {
		return nil
	}
	var out []string
	for _, a := range n.host.Addrs() {
		out = append(out, a.Encapsulate(suffix.Multiaddr()).String())
	}
	return out
}

// PeerInfo describes one connected peer of our network.
type PeerInfo struct {
	// ID is the peer's identity, from which KeyFromPeerID gives its key.
	ID peer.ID
	// Addrs are the addresses it listens on, with those of the live connections.
	Addrs []string
	// Latency is the smoothed round-trip time; zero while it has not been measured.
	Latency time.Duration
	// Since is when the oldest live connection was made.
	Since time.Time
	// Agent is what the peer calls its software; it may claim anything.
	Agent string
}

// Peers lists the connected peers of our network, in no particular order.
func (n *Node) Peers() []PeerInfo {
	if n.up() != nil {
		return nil
	}
	var out []PeerInfo
	for _, id := range n.members() {
		info := PeerInfo{ID: id, Latency: n.host.Peerstore().LatencyEWMA(id)}
		seen := make(map[string]bool)
		add := func(a multiaddr.Multiaddr) {
			if s := a.String(); !seen[s] {
				seen[s] = true
				info.Addrs = append(info.Addrs, s)
			}
		}
		for _, c := range n.host.Network().ConnsToPeer(id) {
			if at := c.Stat().Opened; info.Since.IsZero() || at.Before(info.Since) {
				info.Since = at
			}
			if c.Stat().Direction == network.DirOutbound {
				add(c.RemoteMultiaddr())
			}
		}
		for _, a := range n.host.Peerstore().Addrs(id) {
			add(a)
		}
		if agent, err := n.host.Peerstore().Get(id, "AgentVersion"); err == nil {
			info.Agent, _ = agent.(string)
		}
		out = append(out, info)
	}
	return out
}

// Neighbours lists the connected peers of our network, in no particular order, which costs less than Peers.
func (n *Node) Neighbours() []peer.ID {
	if n.up() != nil {
		return nil
	}
	return n.members()
}

// Latency is the smoothed round-trip time to a peer; zero while it has not been measured.
func (n *Node) Latency(id peer.ID) time.Duration {
	if n.up() != nil {
		return 0
	}
	return n.host.Peerstore().LatencyEWMA(id)
}

// Learn notes for a while at which addresses, with or without its ID at the end, a peer may be dialled, so that nobody
// need ask the DHT for them. What is no address, or that of another peer, is left out.
func (n *Node) Learn(id peer.ID, addrs []string, hold time.Duration) {
	if n.up() != nil || id == n.id {
		return
	}
	var known []multiaddr.Multiaddr
	for _, text := range addrs[:min(len(addrs), maxKnownAddrs)] {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			continue
		}
		if transport, other := peer.SplitAddr(a); transport != nil && (other == "" || other == id) {
			known = append(known, transport)
		}
	}
	n.host.Peerstore().AddAddrs(id, known, hold)
}

// Connect dials peers by their full addresses (several for one peer may be given) and waits until each has shown
// that it is of our network. The error joins what went wrong with each peer; ErrOtherNetwork is among it when one
// belongs elsewhere.
func (n *Node) Connect(ctx context.Context, addrs ...string) error {
	if err := n.up(); err != nil {
		return err
	}
	infos, err := parsePeers(addrs)
	if err != nil {
		return err
	}
	failures := make([]error, len(infos))
	var dials sync.WaitGroup
	for i, info := range infos {
		dials.Go(func() { failures[i] = n.connect(ctx, info) })
	}
	dials.Wait()
	return errors.Join(failures...)
}
