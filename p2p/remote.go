package p2p

import (
	"net/netip"

	manet "github.com/multiformats/go-multiaddr/net"
)

// RemoteIP is the address from which the other side of the stream is connected to us, as our own socket sees it; the
// zero Addr if that is none.
func (s *Stream) RemoteIP() netip.Addr {
	ip, err := manet.ToIP(s.raw.Conn().RemoteMultiaddr())
	if err != nil {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}
