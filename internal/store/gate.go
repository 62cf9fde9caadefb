package store

import "sync"

// gate lets calls in until it is shut, and shutting waits for those inside: the engine must not be closed under them.
type gate struct {
	lock sync.RWMutex
	shut bool
}

// enter admits a call, which must leave.
func (g *gate) enter() error {
	g.lock.RLock()
	if g.shut {
		g.lock.RUnlock()
		return ErrClosed
	}
	return nil
}

func (g *gate) leave() { g.lock.RUnlock() }

// close shuts the gate and tells whether this call did.
func (g *gate) close() bool {
	g.lock.Lock()
	defer g.lock.Unlock()
	first := !g.shut
	g.shut = true
	return first
}
