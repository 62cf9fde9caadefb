package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
)

const (
	// relaysWanted is how many relays a peer that cannot be dialled is reached through.
	relaysWanted = 2
	// relaySearch is the pause between two looks for relays among the neighbours, relayRetry how long one that refused is
	// not asked again.
	relaySearch = 5 * time.Second
	relayRetry  = time.Minute
	// relayLease is how long a relay keeps a place for a peer that does not renew it.
	relayLease = time.Hour
	// relaysPerIP is how many peers of one address a relay serves.
	relaysPerIP = 8
)

// Reachable is whether other peers can dial this one.
type Reachable string

// What a peer can be told of itself. Unless told it finds out, by asking others to dial back.
const (
	ReachableAuto    Reachable = ""
	ReachablePublic  Reachable = "public"
	ReachablePrivate Reachable = "private"
)

// Relay is how peers meet that cannot be dialled, because they are behind a NAT or a firewall: a peer that can be dialled
// carries their streams, within bounds, until they have punched a hole.
type Relay struct {
	// Off neither carries for others nor lets others carry for us.
	Off bool
	// Reachable says whether this peer can be dialled, if that is known.
	Reachable Reachable
	// Peers is how many peers can be reached through this one at a time.
	Peers int
	// Circuits is how many connections each of them may have through this one.
	Circuits int
	// Duration and Bytes, which count each way by itself, end a connection that is carried.
	Duration time.Duration
	Bytes    int64
}

// DefaultRelay are the bounds that zero fields take.
func DefaultRelay() Relay {
	return Relay{Peers: 128, Circuits: 16, Duration: 10 * time.Minute, Bytes: 16 << 20}
}

func (r Relay) withDefaults() Relay {
	d := DefaultRelay()
	r.Peers, r.Circuits = orDefault(r.Peers, d.Peers), orDefault(r.Circuits, d.Circuits)
	r.Duration, r.Bytes = orDefault(r.Duration, d.Duration), orDefault(r.Bytes, d.Bytes)
	return r
}

func (r Relay) validate() error {
	if r.Peers < 0 || r.Circuits < 0 || r.Duration < 0 || r.Bytes < 0 {
		return errors.New("check relay: negative bound")
	}
	switch r.Reachable {
	case ReachableAuto, ReachablePublic, ReachablePrivate:
		return nil
	}
	return fmt.Errorf("check relay: reachable %q is none of %q and %q", r.Reachable, ReachablePublic, ReachablePrivate)
}

// relayOptions let this node dial peers through relays, and punch holes. A server, which wants to be reached itself, also
// finds out whether others can dial it, and carries for others if so, or else looks for peers that carry for it.
func (n *Node) relayOptions() []libp2p.Option {
	r := n.config.Relay
	if r.Off {
		return []libp2p.Option{libp2p.DisableRelay(), libp2p.DisableIdentifyAddressDiscovery()}
	}
	options := []libp2p.Option{libp2p.EnableRelay(), libp2p.EnableHolePunching()}
	switch r.Reachable {
	case ReachablePublic:
		options = append(options, libp2p.ForceReachabilityPublic())
	case ReachablePrivate:
		options = append(options, libp2p.ForceReachabilityPrivate())
	}
	if !n.config.Server {
		return options
	}
	bounds := relay.DefaultResources()
	bounds.Limit = &relay.RelayLimit{Duration: r.Duration, Data: r.Bytes}
	bounds.MaxReservations, bounds.MaxCircuits = r.Peers, r.Circuits
	bounds.MaxReservationsPerIP, bounds.ReservationTTL = relaysPerIP, relayLease
	if r.Reachable != ReachablePrivate { // libp2p would make a dialler for a service that it then does not start, and never close it
		options = append(options, libp2p.EnableNATService())
	}
	return append(options,
		libp2p.EnableRelayService(relay.WithResources(bounds)),
		libp2p.EnableAutoRelayWithPeerSource(n.relays,
			autorelay.WithMinCandidates(1), autorelay.WithMaxCandidates(2*relaysWanted), autorelay.WithNumRelays(relaysWanted),
			autorelay.WithBootDelay(0), autorelay.WithMinInterval(relaySearch), autorelay.WithBackoff(relayRetry)),
	)
}

// relays are neighbours that carry for others: only peers of our network, whose members are the ones to be reached by.
func (n *Node) relays(_ context.Context, most int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, most)
	defer close(out)
	if n.up() != nil {
		return out
	}
	for _, id := range n.members() {
		carries, err := n.host.Peerstore().SupportsProtocols(id, circuit.ProtoIDv2Hop)
		if err == nil && len(carries) > 0 && len(out) < most {
			out <- n.host.Peerstore().PeerInfo(id)
		}
	}
	return out
}
