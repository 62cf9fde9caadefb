package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// WireVersion is the version of this package's own protocols (hello, the DHT's, gossip's). Peers that speak another
// one are treated like peers of another network.
const WireVersion = "1.0.0"

// Config is what a node is built from. Key and Network are required; the rest has defaults.
type Config struct {
	// Key is the unit key; it is the libp2p identity too.
	Key ed25519.PrivateKey
	// Listen are multiaddrs to listen on. Nil means every IPv4 interface on a port of the system's choosing, TCP and
	// QUIC; an empty slice means not to listen at all (outbound only).
	Listen []string
	// Bootstrap are full /p2p/ multiaddrs of peers to join the network through. They are redialled when connections
	// run low.
	Bootstrap []string
	// Deny lists who is never talked to: peer IDs, IP addresses, and subnets like 192.0.2.0/24.
	Deny []string
	// Network names the network: 1 to 32 characters of a-z, 0-9 and "-". It is part of every protocol ID, topic and
	// DHT key.
	Network string
	// MDNS finds peers of our network on the local one by multicast DNS (IPv4). Without multicast it does nothing.
	MDNS bool
	// Datastore keeps DHT records and remembered peers over restarts; nil keeps them in memory. It belongs to the
	// caller and must outlive Run.
	Datastore datastore.Batching
	// Server makes the node answer DHT queries (units do); otherwise it only asks.
	Server bool
	// Limits bound what other peers may cost us; zero fields take the defaults of DefaultLimits.
	Limits Limits
	// Relay is how peers that cannot be dialled are met; zero fields take the bounds of DefaultRelay.
	Relay Relay
	// KeepEvery is how often the keeper looks after connections; 2 s when zero.
	KeepEvery time.Duration
	// DisableRefresh turns off the DHT's periodic refresh, which dominates the cost of large simulations.
	DisableRefresh bool
	// Metrics is where libp2p registers its counters, which all nodes of a process share; nil counts nothing.
	Metrics prometheus.Registerer
	// Host is a ready libp2p host with Key's identity, given by a simulation; nil builds one over TCP and QUIC. It is
	// not closed by Run, and must not be connected to others before the node is ready.
	Host host.Host
	// Wire are libp2p's options for transports and their security, given by a simulation; nil is TCP and QUIC, encrypted.
	Wire []libp2p.Option
	// Log gets what an operator wants to know; nil discards it.
	Log *slog.Logger

	knockEvery time.Duration             // after how long of waiting for an answer over QUIC the other side is asked whether it is there
	joinLAN    func() (multicast, error) // replaced by tests
}

// Limits bound what peers may cost us. A zero field takes its default.
type Limits struct {
	// MaxRequest is the most bytes, all frames together, that a served stream may send us.
	MaxRequest int
	// MaxResponse is the most bytes in one frame of an answer to us.
	MaxResponse int
	// Timeout is the longest that opening a stream, and the reading or writing of one frame, may take.
	Timeout time.Duration
	// StreamsPerPeer is how many streams of one peer are served at once.
	StreamsPerPeer int
	// Streams is the most streams that all peers together have opened to us. A few are sure for each peer, and of the
	// rest it gets a fair share.
	Streams int
	// CallsPerSecond and CallBurst are the token bucket for streams opened by one peer.
	CallsPerSecond float64
	CallBurst      int
	// GossipPerSecond and GossipBurst are the token bucket for the messages and requests that one neighbour gossips.
	GossipPerSecond float64
	GossipBurst     int
	// MaxMessage is the most bytes in one gossip message.
	MaxMessage int
	// Validations is how many gossip messages of one topic are validated at once; ValidationQueue how many wait.
	Validations, ValidationQueue int
	// Conns is the most connections; beyond two thirds of it the least useful are trimmed.
	Conns int
	// ConnsPerIP is the most connections from one IPv4 address or IPv6 /56. Loopback is exempt.
	ConnsPerIP int
	// Memory is the most bytes of buffers for all peers together. Some are sure for each peer, and of the rest it gets a
	// fair share: at most half, when it is alone.
	Memory int64
	// LowPeers is the number of connected peers below which the keeper dials known ones.
	LowPeers int
	// KnownPeers is how many peers are remembered.
	KnownPeers int
}

// DefaultLimits are the limits that zero fields take.
func DefaultLimits() Limits {
	return Limits{
		MaxRequest:      16 << 20,
		MaxResponse:     16 << 20,
		Timeout:         10 * time.Second,
		StreamsPerPeer:  128,
		Streams:         4096,
		CallsPerSecond:  1000,
		CallBurst:       2000,
		GossipPerSecond: 1000,
		GossipBurst:     5000,
		MaxMessage:      256 << 10,
		Validations:     64,
		ValidationQueue: 1024,
		Conns:           384,
		ConnsPerIP:      8,
		Memory:          192 << 20,
		LowPeers:        8,
		KnownPeers:      1024,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		MaxRequest:      orDefault(l.MaxRequest, d.MaxRequest),
		MaxResponse:     orDefault(l.MaxResponse, d.MaxResponse),
		Timeout:         orDefault(l.Timeout, d.Timeout),
		StreamsPerPeer:  orDefault(l.StreamsPerPeer, d.StreamsPerPeer),
		Streams:         orDefault(l.Streams, d.Streams),
		CallsPerSecond:  orDefault(l.CallsPerSecond, d.CallsPerSecond),
		CallBurst:       orDefault(l.CallBurst, d.CallBurst),
		GossipPerSecond: orDefault(l.GossipPerSecond, d.GossipPerSecond),
		GossipBurst:     orDefault(l.GossipBurst, d.GossipBurst),
		MaxMessage:      orDefault(l.MaxMessage, d.MaxMessage),
		Validations:     orDefault(l.Validations, d.Validations),
		ValidationQueue: orDefault(l.ValidationQueue, d.ValidationQueue),
		Conns:           orDefault(l.Conns, d.Conns),
		ConnsPerIP:      orDefault(l.ConnsPerIP, d.ConnsPerIP),
		Memory:          orDefault(l.Memory, d.Memory),
		LowPeers:        orDefault(l.LowPeers, d.LowPeers),
		KnownPeers:      orDefault(l.KnownPeers, d.KnownPeers),
	}
}

func (l Limits) validate() error {
	if l.MaxRequest < 0 || l.MaxResponse < 0 || l.Timeout < 0 || l.StreamsPerPeer < 0 || l.CallsPerSecond < 0 ||
		l.Streams < 0 || l.CallBurst < 0 || l.GossipPerSecond < 0 || l.GossipBurst < 0 || l.MaxMessage < 0 || l.Validations < 0 || l.ValidationQueue < 0 || l.Conns < 0 ||
		l.ConnsPerIP < 0 || l.Memory < 0 || l.LowPeers < 0 || l.KnownPeers < 0 {
		return errors.New("check limits: negative value")
	}
	return nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (c Config) withDefaults() Config {
	if c.Listen == nil {
		c.Listen = []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}
	}
	if c.Datastore == nil {
		c.Datastore = dssync.MutexWrap(datastore.NewMapDatastore())
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.joinLAN == nil {
		c.joinLAN = joinLAN
	}
	c.KeepEvery = orDefault(c.KeepEvery, 2*time.Second)
	c.knockEvery = orDefault(c.knockEvery, knockEvery)
	c.Limits = c.Limits.withDefaults()
	c.Relay = c.Relay.withDefaults()
	return c
}

// Validate checks what can be checked without opening anything.
func (c Config) Validate() error {
	if err := CheckNetwork(c.Network); err != nil {
		return err
	}
	if len(c.Key) != ed25519.PrivateKeySize {
		return fmt.Errorf("%w: private key has %d bytes, want %d", ErrKey, len(c.Key), ed25519.PrivateKeySize)
	}
	if c.KeepEvery < 0 {
		return errors.New("check keeper interval: negative value")
	}
	if _, err := parseAddrs(c.Listen); err != nil {
		return err
	}
	if _, err := parsePeers(c.Bootstrap); err != nil {
		return err
	}
	if _, err := newGate(c.Deny); err != nil {
		return err
	}
	if err := c.Relay.validate(); err != nil {
		return err
	}
	return c.Limits.validate()
}

// identity is the peer ID of the key, which a given host must share.
func (c Config) identity() (peer.ID, error) {
	id, err := PeerIDFromKey(c.Key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	if c.Host != nil && c.Host.ID() != id {
		return "", fmt.Errorf("%w: host is %s, key is %s", ErrKey, c.Host.ID(), id)
	}
	return id, nil
}

func parseAddrs(addrs []string) ([]multiaddr.Multiaddr, error) {
	out := make([]multiaddr.Multiaddr, 0, len(addrs))
	for _, s := range addrs {
		a, err := multiaddr.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%w: parse %q: %w", ErrAddr, s, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// CheckPeers says what is wrong with full addresses of peers, if anything.
func CheckPeers(addrs []string) error {
	_, err := parsePeers(addrs)
	return err
}

func parsePeers(addrs []string) ([]peer.AddrInfo, error) {
	parsed, err := parseAddrs(addrs)
	if err != nil {
		return nil, err
	}
	infos, err := peer.AddrInfosFromP2pAddrs(parsed...)
	if err != nil {
		return nil, fmt.Errorf("%w: a full address ends in /p2p/ and a peer ID: %w", ErrAddr, err)
	}
	return infos, nil
}
