package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multistream"
)

// Of a process that dies without a word its system tells those who are connected to it over TCP. Over QUIC it tells them only
// when they send something, and who waits for an answer sends nothing: the transport's own keep-alive takes 15 s to find out.
// So who has waited for a while asks, on the same connection, whether anybody is there. If nobody is, the connection breaks,
// and what waits on it with it.

const (
	knockEvery    = 2 * time.Second
	knockPatience = 5 * time.Second
	maxKnocks     = 1024 // peers of whom it is known when they were asked
	quicTransport = "quic-v1"
)

// knocks are when peers were asked last, for many may wait for one of them.
type knocks struct {
	lock sync.Mutex
	last map[peer.ID]time.Time
}

// due says whether a peer may be asked now, and takes it down.
func (k *knocks) due(id peer.ID, now time.Time, every time.Duration) bool {
	k.lock.Lock()
	defer k.lock.Unlock()
	if now.Sub(k.last[id]) < every {
		return false
	}
	if k.last == nil || len(k.last) >= maxKnocks {
		k.last = make(map[peer.ID]time.Time)
	}
	k.last[id] = now
	return true
}

// knock asks again and again, from a while from now until stop is called, whether the other side of a connection is there.
func (n *Node) knock(ctx context.Context, c network.Conn) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	every := n.config.knockEvery
	timer := time.AfterFunc(every, func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			if n.knocks.due(c.RemotePeer(), time.Now(), every/2) { // half of it: those who wait do not tick together
				n.knockOnce(ctx, c)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		timer.Stop()
		cancel()
	}
}

// knockOnce has the other side agree to a hello. What it says does not matter, that packets are sent does.
func (n *Node) knockOnce(ctx context.Context, c network.Conn) {
	ctx, cancel := context.WithTimeout(ctx, knockPatience)
	defer cancel()
	s, err := c.NewStream(ctx)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if multistream.SelectProtoOrFail(n.helloID(), s) != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}
