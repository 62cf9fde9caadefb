package p2p

import "github.com/libp2p/go-libp2p/core/network"

// Status is a node at one moment, in numbers.
type Status struct {
	Peers      int   // connected peers of our network
	ConnsIn    int   // connections by who opened them
	ConnsOut   int   //
	StreamsIn  int   // streams by who opened them, libp2p's own included
	StreamsOut int   //
	Memory     int64 // bytes that the resource manager counts

	Refused Counts // what other peers were refused, by reason
}

// Status is what the node is doing now; before it is ready that is nothing.
func (n *Node) Status() Status {
	s := Status{Refused: n.admit.counts()}
	if n.up() != nil {
		return s
	}
	s.Peers = len(n.members())
	for _, c := range n.host.Network().Conns() {
		if c.Stat().Direction == network.DirInbound {
			s.ConnsIn++
		} else {
			s.ConnsOut++
		}
		for _, st := range c.GetStreams() {
			if st.Stat().Direction == network.DirInbound {
				s.StreamsIn++
			} else {
				s.StreamsOut++
			}
		}
	}
	_ = n.host.Network().ResourceManager().ViewSystem(func(scope network.ResourceScope) error {
		s.Memory = scope.Stat().Memory
		return nil
	})
	return s
}
