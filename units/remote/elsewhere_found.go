package remote

import (
	"sync"

	"github.com/aopeer/aopeer/ao"
)

// How many nodes are remembered at once, and how large each may be as JSON.
const (
	maxFoundNodes = 256
	maxFoundNode  = 64 << 10
)

// foundNodes are the single nodes that were met last, one a process: whoever finds a message's slot, or the log's end, asks for
// its entry next, and need not ask over the wire again. Each is given once, so that what is wrong with it is asked for anew. Safe for
// concurrent use.
type foundNodes struct {
	lock  sync.Mutex
	nodes map[ao.ID]foundNode
}

type foundNode struct {
	base string
	slot ao.Slot
	node httpNode
}

func (f *foundNodes) put(process ao.ID, n foundNode) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if _, again := f.nodes[process]; f.nodes == nil || !again && len(f.nodes) >= maxFoundNodes {
		f.nodes = make(map[ao.ID]foundNode)
	}
	f.nodes[process] = n
}

// take is the node of that slot, if it was the last that was found.
func (f *foundNodes) take(process ao.ID, base string, slot ao.Slot) (httpNode, bool) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, ok := f.nodes[process]
	if !ok || n.base != base || n.slot != slot {
		return httpNode{}, false
	}
	delete(f.nodes, process)
	return n.node, true
}
