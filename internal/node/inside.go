package node

import (
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/remote"
)

// Inside are the parts of a peer that a simulation looks at, and asks in its name.
type Inside struct {
	P2P       *p2p.Node
	Mesh      *remote.Mesh
	Directory *remote.Directory
	Market    *remote.Market
}

// Inside shows them. They belong to the peer, and end with it.
func (n *Node) Inside() Inside {
	return Inside{P2P: n.p2p, Mesh: n.mesh, Directory: n.directory, Market: n.market}
}
