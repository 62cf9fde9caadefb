package simnet

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
)

// port is where every peer listens, at an address of its own.
const port = 4001

// Peer is a peer of a city. What it is told before Start holds from then on; it can be started again after it has stopped,
// with what its store holds.
type Peer struct {
	city    *City
	name    string
	home    node.Home
	config  node.Config
	station *station
	listen  string
	id      peer.ID
	address string
	takes   time.Duration
	through []string // to meet the mesh through; nil: some that run
	store   *store.Crashable

	node  *node.Node // nil while it does not run
	in    node.Inside
	stop  context.CancelFunc
	ended chan error
}

// Peer adds a peer, which does not run yet. The name begins with what the story calls its kind.
func (c *City) Peer(name string) *Peer {
	c.T.Helper()
	p := &Peer{city: c, name: name, home: c.home(name), config: node.DefaultConfig(), takes: time.Millisecond}
	p.station, p.listen = c.plug()
	key, err := p.home.LoadKey()
	if err != nil {
		c.T.Fatal(err)
	}
	if p.id, err = p2p.PeerIDFromKey(key.Public().(ed25519.PublicKey)); err != nil {
		c.T.Fatal(err)
	}
	p.address = node.Address(key)
	p.config.Name, p.config.Drain = name, 0
	p.store = store.NewCrashable()
	c.peers = append(c.peers, p)
	return p
}

// plug adds a machine to the wire. Its address is public, in a block of its own, as those of a mesh across the world are.
func (c *City) plug() (*station, string) {
	n := c.plugged
	c.plugged++
	addr := netip.AddrFrom4([4]byte{byte(11 + n>>16), byte(n >> 8), byte(n), 7})
	return c.wire.plug(addr), fmt.Sprintf("/ip4/%s/tcp/%d", addr, port)
}

// Peers starts so many peers of a kind, without roles.
func (c *City) Peers(kind string, n int) []*Peer {
	c.T.Helper()
	var all []*Peer
	for i := range n {
		all = append(all, c.Peer(kind+strconv.Itoa(i)).Start())
	}
	return all
}

// Does gives it roles: su, cu, mu.
func (p *Peer) Does(roles ...string) *Peer {
	p.config.Roles = append(p.config.Roles, roles...)
	return p
}

// Takes is how long the evaluation of a message takes here.
func (p *Peer) Takes(d time.Duration) *Peer {
	p.takes = d
	return p
}

// With changes the peer's config as its owner would.
func (p *Peer) With(change func(*node.Config)) *Peer {
	change(&p.config)
	return p
}

// Through has it meet the mesh through these peers only; through none, it waits to be met.
func (p *Peer) Through(others ...*Peer) *Peer {
	p.through = []string{}
	for _, o := range others {
		p.through = append(p.through, o.Addr())
	}
	return p
}

// BehindNAT lets nobody connect to it: it listens at a private address, which nobody else can reach.
func (p *Peer) BehindNAT() *Peer {
	p.station.hidden.Store(true)
	p.listen = fmt.Sprintf("/ip4/192.168.1.2/tcp/%d", port)
	return p
}

// Start runs the peer and waits until it listens.
func (p *Peer) Start() *Peer {
	c := p.city
	c.T.Helper()
	if p.node != nil {
		c.T.Fatalf("%s runs already", p.name)
	}
	p.config.Listen, p.config.Bootstrap = []string{p.listen}, p.through
	if p.through == nil {
		p.config.Bootstrap = c.doors()
	}
	n, err := node.New(p.home, p.config, node.Parts{
		Wire: p.station.transports(), Archive: c.archive, Store: p.store, Machine: modelled{c.machine, p.takes},
		Seed: c.seed<<16 + uint64(len(c.peers)), Sparse: c.sparse,
	}, c.log.With("unit", p.name))
	if err != nil {
		c.T.Fatalf("start %s: %v", p.name, err)
	}
	p.station.cut(false)
	ctx, stop := context.WithCancel(context.Background())
	p.node, p.in, p.stop, p.ended = n, n.Inside(), stop, make(chan error, 1)
	go func() { p.ended <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-p.ended:
		c.T.Fatalf("%s ended at once: %v", p.name, err)
	}
	return p
}

// Stop ends the peer as its owner would. Its store remains.
func (p *Peer) Stop() {
	if p.node == nil {
		return
	}
	p.stop()
	if err := <-p.ended; err != nil {
		p.city.T.Errorf("%s ended with %v", p.name, err)
	}
	p.node = nil
}

// Crash takes the peer's power away: nobody hears of its end, and of what its store had not synced half is lost.
func (p *Peer) Crash() {
	if p.node == nil {
		return
	}
	p.station.cut(true)
	after, err := p.store.Crash(50, p.city.seed)
	if err != nil {
		p.city.T.Errorf("crash %s: %v", p.name, err)
		return
	}
	p.stop()
	<-p.ended // with whatever error: it lost its store
	p.node, p.store = nil, after
}

// Name is what the story calls it.
func (p *Peer) Name() string { return p.name }

// ID is its libp2p identity.
func (p *Peer) ID() peer.ID { return p.id }

// Address is that of its unit key.
func (p *Peer) Address() string { return p.address }

// Addr is where it can be dialled, if it can.
func (p *Peer) Addr() string { return p.listen + "/p2p/" + p.id.String() }

// Inside are its parts; only those of a running peer are worth asking.
func (p *Peer) Inside() node.Inside { return p.in }

// Runs says whether it was started and not stopped.
func (p *Peer) Runs() bool { return p.node != nil }

// Bytes are how many it has sent and received so far, headers included.
func (p *Peer) Bytes() (sent, got int64) { return p.station.sent.Load(), p.station.got.Load() }
