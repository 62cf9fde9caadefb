package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
)

const (
	dialsAtOnce      = 8
	maxBackoff       = time.Minute
	bootstrapBackoff = 5 * time.Second
	pingEvery        = time.Minute
)

// backoff is when a peer may be dialled again.
type backoff struct {
	next time.Time
	wait time.Duration
}

// prod asks the keeper for a round now.
func (n *Node) prod() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// keep looks after connections: neither gossip nor the DHT dials again what was lost. When few peers of our network
// are connected it dials bootstrap and remembered peers, each with its own back-off. It also provides again what
// was provided, measures latencies, and saves sightings.
func (n *Node) keep(ctx context.Context) {
	tick := time.NewTicker(n.config.KeepEvery)
	defer tick.Stop()
	backoffs := make(map[peer.ID]backoff)
	var pinged time.Time
	var chores sync.WaitGroup
	defer chores.Wait()
	busy := make(chan struct{}, 1)
	for {
		n.redial(ctx, backoffs)
		if now := time.Now(); len(n.members()) > 0 {
			select {
			case busy <- struct{}{}:
				ping := now.Sub(pinged) >= pingEvery
				if ping {
					pinged = now
				}
				chores.Go(func() {
					defer func() { <-busy }()
					n.provideAgain(ctx)
					if ping {
						n.pingAll(ctx)
					}
				})
			default:
			}
		}
		if err := n.known.save(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("remembered peers not saved", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.wake:
		}
	}
}

// redial dials some of those that are due, and waits for the outcome.
func (n *Node) redial(ctx context.Context, backoffs map[peer.ID]backoff) {
	if len(n.members()) >= n.config.Limits.LowPeers {
		return
	}
	now := time.Now()
	var due []peer.AddrInfo
	longest := make(map[peer.ID]time.Duration)
	consider := func(info peer.AddrInfo, limit time.Duration) {
		if _, taken := longest[info.ID]; taken || info.ID == n.id || len(due) >= dialsAtOnce ||
			n.host.Network().Connectedness(info.ID) == network.Connected ||
			n.gated(info.ID) != nil || now.Before(backoffs[info.ID].next) {
			return
		}
		longest[info.ID] = limit
		due = append(due, info)
	}
	for _, info := range n.bootstrap {
		consider(info, bootstrapBackoff)
	}
	for _, info := range n.known.recent() {
		consider(info, maxBackoff)
	}
	failures := make([]error, len(due))
	var dials sync.WaitGroup
	for i, info := range due {
		n.forgetDialFailures(info.ID)
		dials.Go(func() { failures[i] = n.connect(ctx, info) })
	}
	dials.Wait()
	for i, info := range due {
		n.log.Debug("redialled", "other", info.ID, "err", failures[i], "addrs", info.Addrs)
		if failures[i] == nil {
			delete(backoffs, info.ID)
			continue
		}
		if errors.Is(failures[i], ErrOtherNetwork) {
			n.log.Warn("known peer is of another network", "other", info.ID)
			n.known.forget(info.ID)
		}
		wait := min(max(2*backoffs[info.ID].wait, n.config.KeepEvery/2), longest[info.ID])
		backoffs[info.ID] = backoff{next: time.Now().Add(wait), wait: wait}
	}
}

// forgetDialFailures clears libp2p's own back-off, which starts at 5 s and would make ours meaningless.
func (n *Node) forgetDialFailures(id peer.ID) {
	if s, ok := n.host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
		s.Backoff().Clear(id)
	}
}

// pingAll measures latencies and renews the sightings of those that are still here.
func (n *Node) pingAll(ctx context.Context) {
	for _, id := range n.members() {
		if ctx.Err() != nil {
			return
		}
		n.sight(id)
		if _, err := n.Ping(ctx, id); err != nil {
			n.log.Debug("ping got no answer", "other", id, "err", err)
		}
	}
}

// locate makes sure that a peer can be dialled: connected, addresses known, remembered, or found in the DHT.
func (n *Node) locate(ctx context.Context, id peer.ID) error {
	if n.host.Network().Connectedness(id) != network.NotConnected || len(n.host.Peerstore().Addrs(id)) > 0 {
		return nil
	}
	if info, ok := n.known.find(id); ok {
		n.host.Peerstore().AddAddrs(id, info.Addrs, time.Minute)
		return nil
	}
	if id == n.id {
		return fmt.Errorf("%w: that is this node itself", ErrAddr)
	}
	if _, err := n.dht.FindPeer(ctx, id); err != nil {
		return fmt.Errorf("%w: no address known: %w", ErrUnreachable, err)
	}
	return nil
}
