package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
)

const (
	announceEvery = 30 * time.Second
	announceLife  = 5 * time.Minute
	topicUnits    = "units"
	maxSnapshot   = 512
	pullEvery     = 500 * time.Millisecond
)

// Mesh keeps a peer's roster fresh: it announces the peer's own unit by gossip and under its address in the DHT, hears
// others', and pulls a snapshot from neighbours when it joins.
type Mesh struct {
	Roster *Roster

	node   *p2p.Node
	topic  *p2p.Topic
	signer ans104.Signer
	own    Unit
	log    *slog.Logger
}

// NewMesh joins the topic; roles may be empty for a peer that only listens.
func NewMesh(node *p2p.Node, network string, signer ans104.Signer, name string, roles []string, log *slog.Logger) (*Mesh, error) {
	m := &Mesh{Roster: NewRoster(network, time.Now), node: node, signer: signer, log: log}
	address, err := ans104.Address(signer.Type(), signer.Owner())
	if err != nil {
		return nil, err
	}
	m.own = Unit{Address: address, Peer: node.ID(), Name: name, Roles: roles}
	m.topic, err = node.Topic(topicUnits, Version, func(_ context.Context, _ peer.ID, data []byte) p2p.Verdict {
		_, v := m.Roster.Add(data)
		return v
	})
	if err != nil {
		return nil, err
	}
	serve(node, verbUnits, func(_ context.Context, _ struct{}, st *p2p.Stream) error {
		us := m.Roster.With("")
		// Of a roster that does not fit any part will do, but not the same one always: addresses can be ground.
		rand.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
		for _, u := range us[:min(len(us), maxSnapshot)] {
			if err := st.Write(u.raw); err != nil {
				return err
			}
		}
		return nil
	})
	return m, nil
}

// Run announces, listens and pulls until ctx ends.
func (m *Mesh) Run(ctx context.Context) error {
	if err := m.node.Await(ctx); err != nil {
		return err
	}
	if len(m.own.Roles) > 0 {
		m.announce(ctx)
		if err := m.node.Provide(ctx, addressKey(m.own.Address)); err != nil && !errors.Is(err, p2p.ErrNoPeers) {
			m.log.Debug("provide address", "err", err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for { // what the validator accepted is in the roster; reading only keeps the topic's queue empty
			if _, _, err := m.topic.Next(ctx); err != nil {
				return
			}
		}
	}()
	tick := time.NewTicker(pullEvery / 10) // a newcomer has nobody to ask until the first dial is through
	defer tick.Stop()
	asked := map[peer.ID]bool{}
	announced := time.Now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			fresh := m.pull(ctx, asked)
			if fresh {
				tick.Reset(pullEvery)
			}
			if len(m.own.Roles) > 0 && (fresh || time.Since(announced) > announceEvery) {
				m.announce(ctx)
				announced = time.Now()
			}
		}
	}
	<-done
	return ctx.Err()
}

// announce signs a fresh announcement, takes it into the own roster and publishes it.
func (m *Mesh) announce(ctx context.Context) {
	now := time.Now()
	m.own.Addrs, m.own.Sequence, m.own.Expires = m.node.Addrs(), now.UnixMilli(), now.Add(announceLife)
	if len(m.own.Addrs) > maxAddrs {
		m.own.Addrs = m.own.Addrs[:maxAddrs]
	}
	raw, err := SignUnit(m.signer, m.Roster.network, m.own)
	if err != nil {
		m.log.Error("announce", "err", err)
		return
	}
	// First abroad: once the own roster has it, the own validator takes it for a repetition and it does not go out.
	if err := m.topic.Publish(ctx, raw); err != nil {
		m.log.Debug("announce", "err", err)
	}
	m.Roster.Add(raw)
}

// pull asks connected peers that were not asked yet for their rosters; it says whether any was new.
func (m *Mesh) pull(ctx context.Context, asked map[peer.ID]bool) bool {
	fresh := false
	for _, p := range m.node.Neighbours() {
		if asked[p] || len(asked) > 1024 {
			continue
		}
		asked[p], fresh = true, true
		if err := m.Pull(ctx, p); err != nil {
			m.log.Debug("pull units", "peer", p, "err", err)
		}
	}
	return fresh
}

// Pull takes a peer's roster over; how a newcomer learns of the mesh without waiting for gossip.
func (m *Mesh) Pull(ctx context.Context, from peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	call, err := client{node: m.node, to: from}.open(ctx, verbUnits, struct{}{})
	if err != nil {
		return err
	}
	defer call.close()
	for range maxSnapshot {
		raw, err := call.read(maxUnit)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		m.Roster.Add(raw)
	}
	return nil
}

// locate is the peer of a unit's address: from the roster, else from the DHT, where the provider's key must fit.
func (m *Mesh) locate(ctx context.Context, address string) (peer.ID, bool) {
	if u, ok := m.Roster.Get(address); ok {
		m.node.Learn(u.Peer, u.Addrs, addrsHold)
		return u.Peer, true
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := m.node.FindProviders(ctx, addressKey(address), 8)
	if err != nil {
		m.log.Debug("find unit", "address", address, "err", err)
	}
	for _, info := range found {
		key, err := p2p.KeyFromPeerID(info.ID)
		if err != nil {
			continue
		}
		if a, err := ans104.Address(ans104.Ed25519, ed25519.PublicKey(key)); err == nil && a == address {
			return info.ID, true
		}
	}
	return "", false
}

func addressKey(address string) []byte { return []byte("unit/" + address) }
