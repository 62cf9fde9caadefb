package simnet

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// transports are the libp2p options that replace TCP, QUIC and their security. Nobody listens in on a simulation: without
// encryption who a peer is stays as sure as its word, and forgers here sign with keys of their own.
func (s *station) transports() []libp2p.Option {
	return []libp2p.Option{libp2p.Transport(s.transport), libp2p.NoSecurity}
}

// carrier is libp2p's view of a station: a transport for /ip4/…/tcp/….
type carrier struct {
	station *station
	upgrade transport.Upgrader
	manager network.ResourceManager
}

var _ transport.Transport = (*carrier)(nil)

func (s *station) transport(u transport.Upgrader, m network.ResourceManager) (*carrier, error) {
	if m == nil {
		m = &network.NullResourceManager{}
	}
	return &carrier{station: s, upgrade: u, manager: m}, nil
}

// CanDial implements transport.Transport.
func (c *carrier) CanDial(a multiaddr.Multiaddr) bool {
	_, err := addrPort(a)
	return err == nil
}

// Protocols implements transport.Transport.
func (c *carrier) Protocols() []int { return []int{multiaddr.P_TCP} }

// Proxy implements transport.Transport.
func (c *carrier) Proxy() bool { return false }

// Dial implements transport.Transport.
func (c *carrier) Dial(ctx context.Context, to multiaddr.Multiaddr, id peer.ID) (transport.CapableConn, error) {
	scope, err := c.manager.OpenConnection(network.DirOutbound, false, to)
	if err != nil {
		return nil, err
	}
	conn, err := c.dial(ctx, to, id, scope)
	if err != nil {
		scope.Done()
		return nil, err
	}
	return conn, nil
}

func (c *carrier) dial(ctx context.Context, to multiaddr.Multiaddr, id peer.ID, scope network.ConnManagementScope) (transport.CapableConn, error) {
	if err := scope.SetPeer(id); err != nil {
		return nil, err
	}
	addr, err := addrPort(to)
	if err != nil {
		return nil, err
	}
	raw, err := c.station.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	wrapped, err := manet.WrapNetConn(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c.upgrade.Upgrade(ctx, c, wrapped, network.DirOutbound, id, scope)
}

// Listen implements transport.Transport. Whatever address is asked for, the station listens at its own.
func (c *carrier) Listen(at multiaddr.Multiaddr) (transport.Listener, error) {
	addr, err := addrPort(at)
	if err != nil {
		return nil, err
	}
	raw, err := c.station.listen(addr.Port())
	if err != nil {
		return nil, err
	}
	wrapped, err := manet.WrapNetListener(raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return c.upgrade.UpgradeGatedMaListener(c, c.upgrade.GateMaListener(wrapped)), nil
}

// addrPort reads /ip4/…/tcp/… and nothing longer.
func addrPort(a multiaddr.Multiaddr) (netip.AddrPort, error) {
	var none netip.AddrPort
	if ps := a.Protocols(); len(ps) != 2 || ps[0].Code != multiaddr.P_IP4 || ps[1].Code != multiaddr.P_TCP {
		return none, fmt.Errorf("read address %s: not /ip4/…/tcp/…", a)
	}
	n, err := manet.ToNetAddr(a)
	if err != nil {
		return none, fmt.Errorf("read address %s: %w", a, err)
	}
	return netip.ParseAddrPort(n.String())
}
