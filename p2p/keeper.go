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

// redials is the keeper's account of its dials.
type redials struct {
	backoffs map[peer.ID]backoff
	under    map[peer.ID]time.Duration // under way, with the longest back-off if it fails
	done     chan redialled            // room for all that are under way
}

// redialled is the outcome of a dial.
type redialled struct {
	id  peer.ID
	err error
}

// keep looks after connections: neither gossip nor the DHT dials again what was lost. When few peers of our network
// are connected it dials bootstrap and remembered peers, each with its own back-off and none waiting for another. It also
// provides again what was provided, measures latencies, and saves sightings.
func (n *Node) keep(ctx context.Context) {
	tick := time.NewTicker(n.config.KeepEvery)
	defer tick.Stop()
	dials := &redials{
		backoffs: make(map[peer.ID]backoff), under: make(map[peer.ID]time.Duration), done: make(chan redialled, dialsAtOnce),
	}
	var pinged time.Time
	var chores sync.WaitGroup
	defer chores.Wait()
	busy := make(chan struct{}, 1)
	for {
		n.redial(ctx, dials, &chores)
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
		case d := <-dials.done:
			n.noteDial(dials, d)
		}
	}
}

// redial dials those that are due, as far as there is room.
func (n *Node) redial(ctx context.Context, dials *redials, chores *sync.WaitGroup) {
	if len(n.members()) >= n.config.Limits.LowPeers {
		return
	}
	now := time.Now()
	consider := func(info peer.AddrInfo, limit time.Duration, room int) {
		if _, taken := dials.under[info.ID]; taken || info.ID == n.id || len(dials.under) >= room ||
			n.host.Network().Connectedness(info.ID) != network.NotConnected || // through a relay counts too: it would be no news to dial again
			n.gated(info.ID) != nil || now.Before(dials.backoffs[info.ID].next) {
			return
		}
		dials.under[info.ID] = limit
		n.forgetDialFailures(info.ID)
		chores.Go(func() {
			err := n.connect(ctx, info)
			n.log.Debug("redialled", "other", info.ID, "err", err, "addrs", info.Addrs)
			dials.done <- redialled{info.ID, err}
		})
	}
	for _, info := range n.bootstrap {
		consider(info, bootstrapBackoff, dialsAtOnce/2) // dead ones leave room for those that we remember
	}
	for _, info := range n.known.recent() {
		consider(info, maxBackoff, dialsAtOnce)
	}
}

// noteDial sets when a peer may be dialled again.
func (n *Node) noteDial(dials *redials, d redialled) {
	limit := dials.under[d.id]
	delete(dials.under, d.id)
	if d.err == nil {
		delete(dials.backoffs, d.id)
		return
	}
	if errors.Is(d.err, ErrOtherNetwork) {
		n.log.Warn("known peer is of another network", "other", d.id)
		n.known.forget(d.id)
	}
	wait := min(max(2*dials.backoffs[d.id].wait, n.config.KeepEvery/2), limit)
	dials.backoffs[d.id] = backoff{next: time.Now().Add(wait), wait: wait}
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
