package simnet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
)

// Stranger speaks the peers' protocols and is no peer: a story has it say and answer what a peer never would. It listens,
// gossips and calls like any node of the network.
type Stranger struct {
	P2P    *p2p.Node
	Signer ans104.Signer // its own key

	city    *City
	station *station
	addr    string
	stop    context.CancelFunc
	gone    <-chan struct{} // closed when it is told to go
	ended   chan error
}

// Stranger starts one. Its handlers and topics are declared before it meets anybody, by ready, which may be nil; it joins
// the mesh through the city's doorsteps.
func (c *City) Stranger(ready func(*Stranger)) *Stranger {
	c.T.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		c.T.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Stranger{city: c, Signer: ans104.NewEd25519Signer(key), stop: stop, gone: ctx.Done(), ended: make(chan error, 1)}
	s.station, s.addr = c.plug()
	if s.P2P, err = p2p.New(p2p.Config{
		Key: key, Network: nameOfNetwork, Listen: []string{s.addr}, Bootstrap: c.doors(), Server: true, DisableRefresh: c.sparse,
		Wire: s.station.transports(), Log: c.log.With("unit", "stranger"),
	}); err != nil {
		c.T.Fatalf("start stranger: %v", err)
	}
	if ready != nil {
		ready(s)
	}
	go func() { s.ended <- s.P2P.Run(ctx) }()
	if err := s.P2P.Await(c.T.Context()); err != nil {
		c.T.Fatalf("start stranger: %v", err)
	}
	c.strangers = append(c.strangers, s)
	return s
}

// Stop takes it away.
func (s *Stranger) Stop() {
	if s.stop == nil {
		return
	}
	s.stop()
	if err := <-s.ended; err != nil {
		s.city.T.Errorf("a stranger ended with %v", err)
	}
	s.stop = nil
}

// ID is its libp2p identity.
func (s *Stranger) ID() peer.ID { return s.P2P.ID() }

// Addr is where it listens, without its identity.
func (s *Stranger) Addr() string { return s.addr }
