package remote

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/p2p"
)

const verbReach = "reach"

// reachPatience is how long a caller's port may take to answer.
const reachPatience = 3 * time.Second

// minReachPort keeps us from knocking at a caller's system services.
const minReachPort = 1024

type reachRequest struct {
	Port uint16 `json:"port"`
}

type reachAnswer struct {
	Address   string `json:"address"` // that was dialled
	Reachable bool   `json:"reachable"`
}

// ServeReach dials callers back: a TCP connection to a port at the address that the caller is connected from, and to no
// other, is opened and closed again. Only so does a peer learn whether others can reach it.
func ServeReach(node *p2p.Node) {
	serve(node, verbReach, func(ctx context.Context, h reachRequest, st *p2p.Stream) error {
		ip := st.RemoteIP()
		if h.Port < minReachPort || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return ao.Refuse(verbReach, ao.Unsupported, "port %d of that address is not dialled", h.Port)
		}
		to := netip.AddrPortFrom(ip, h.Port).String()
		dialer := net.Dialer{Timeout: reachPatience}
		conn, err := dialer.DialContext(ctx, "tcp", to)
		if err == nil {
			_ = conn.Close()
		}
		return writeHeader(st, reachAnswer{Address: to, Reachable: err == nil})
	})
}

// Reach asks a peer to dial us back, at the address that it sees us at and that port.
func Reach(ctx context.Context, node *p2p.Node, to peer.ID, port uint16) (address string, reachable bool, err error) {
	call, err := client{node: node, to: to}.open(ctx, verbReach, reachRequest{Port: port})
	if err != nil {
		return "", false, err
	}
	defer call.close()
	var a reachAnswer
	if err := call.header(&a); err != nil {
		return "", false, short(verbReach, err)
	}
	return printable(a.Address, 64), a.Reachable, nil
}
