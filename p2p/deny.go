package p2p

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxRefused bounds each list of peers that others can make grow.
const maxRefused = 4096

// errDenied is wrapped in ErrUnreachable: to the rest of the program a peer that we do not talk to is not there.
var errDenied = errors.New("peer is on the deny list")

// gate is the connection gater: nobody on the deny list, no peers of other networks for a while, and none whose key is
// not Ed25519.
type gate struct {
	banned  map[peer.ID]bool // by configuration; not changed
	subnets []netip.Prefix   // by configuration; not changed

	lock   sync.Mutex // owns what follows
	out    map[peer.ID]time.Time
	denied map[peer.ID]time.Time
}

// newGate takes what is never let in: peer IDs, addresses and subnets.
func newGate(deny []string) (*gate, error) {
	g := &gate{banned: make(map[peer.ID]bool), out: make(map[peer.ID]time.Time), denied: make(map[peer.ID]time.Time)}
	for _, text := range deny {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			g.subnets = append(g.subnets, prefix.Masked())
		} else if addr, err := netip.ParseAddr(text); err == nil {
			g.subnets = append(g.subnets, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
		} else if id, err := peer.Decode(text); err == nil {
			g.banned[id] = true
		} else {
			return nil, fmt.Errorf("%w: deny %q: neither a peer ID nor an address or subnet", ErrAddr, text)
		}
	}
	return g, nil
}

// Deny keeps a peer away for a while: its connections end now, and none is made or taken until then. A later call
// replaces an earlier one, and a duration that is not positive lets the peer in again. Config.Deny is for good.
func (n *Node) Deny(id peer.ID, during time.Duration) {
	n.gate.deny(id, time.Now().Add(during))
	if during > 0 && n.up() == nil {
		_ = n.host.Network().ClosePeer(id)
		n.log.Info("peer denied", "other", id, "during", during)
	}
}

// refuse notes that a peer was refused something. One that goes on and on is put off; that is left to watch, because who
// refuses may hold locks of libp2p's.
func (n *Node) refuse(id peer.ID, why bound) {
	if n.admit.refuse(id, why, time.Now()) {
		select {
		case n.floods <- id:
		default: // another refusal will say it again
		}
	}
}

// putOff ends the connections of a peer that floods, and lets it come back after a while.
func (n *Node) putOff(id peer.ID) {
	if n.gate.isDenied(id, time.Now()) {
		return
	}
	n.admit.count(boundFlood)
	n.Deny(id, putOffFor)
}

// gated says why not to talk to a peer, if so.
func (n *Node) gated(id peer.ID) error {
	now := time.Now()
	if n.gate.isDenied(id, now) {
		return fmt.Errorf("%w: %w", ErrUnreachable, errDenied)
	}
	if n.gate.refused(id, now) {
		return ErrOtherNetwork
	}
	return nil
}

func (g *gate) refuse(id peer.ID, now time.Time) {
	g.lock.Lock()
	defer g.lock.Unlock()
	note(g.out, id, now, now.Add(refusedFor))
}

func (g *gate) deny(id peer.ID, until time.Time) {
	g.lock.Lock()
	defer g.lock.Unlock()
	note(g.denied, id, time.Now(), until)
}

// note makes room by dropping what is over, or else whatever comes first.
func note(list map[peer.ID]time.Time, id peer.ID, now, until time.Time) {
	if _, known := list[id]; !known && len(list) >= maxRefused {
		for other, end := range list {
			if now.After(end) || len(list) >= maxRefused {
				delete(list, other)
			}
		}
	}
	list[id] = until
}

// refused says whether a peer was found to be of another network lately.
func (g *gate) refused(id peer.ID, now time.Time) bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	until, ok := g.out[id]
	return ok && now.Before(until)
}

func (g *gate) isDenied(id peer.ID, now time.Time) bool {
	if g.banned[id] {
		return true
	}
	g.lock.Lock()
	defer g.lock.Unlock()
	until, ok := g.denied[id]
	return ok && now.Before(until)
}

// admitsPeer is the judgement of an identity.
func (g *gate) admitsPeer(id peer.ID) bool {
	now := time.Now()
	_, err := KeyFromPeerID(id)
	return err == nil && !g.isDenied(id, now) && !g.refused(id, now)
}

// admitsAddr is the judgement of where a connection leads; what is not an IP address passes.
func (g *gate) admitsAddr(a multiaddr.Multiaddr) bool {
	if len(g.subnets) == 0 || a == nil {
		return true
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return true
	}
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	for _, subnet := range g.subnets {
		if ok && subnet.Contains(addr) {
			return false
		}
	}
	return true
}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g *gate) InterceptPeerDial(id peer.ID) bool { return g.admitsPeer(id) }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (g *gate) InterceptAddrDial(_ peer.ID, a multiaddr.Multiaddr) bool { return g.admitsAddr(a) }

// InterceptAccept implements connmgr.ConnectionGater.
func (g *gate) InterceptAccept(c network.ConnMultiaddrs) bool {
	return g.admitsAddr(c.RemoteMultiaddr())
}

// InterceptSecured implements connmgr.ConnectionGater.
func (g *gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.admitsPeer(id)
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (g *gate) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	return g.admitsPeer(c.RemotePeer()) && g.admitsAddr(c.RemoteMultiaddr()), 0
}

// gateGivenHost ends connections that the gate would not have let in, on a host that was built without it.
func (n *Node) gateGivenHost(undo *closers) {
	bundle := &network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if !n.gate.admitsPeer(c.RemotePeer()) || !n.gate.admitsAddr(c.RemoteMultiaddr()) {
			_ = c.CloseWithError(network.ConnGated)
		}
	}}
	n.host.Network().Notify(bundle)
	undo.add(func() { n.host.Network().StopNotify(bundle) })
}
