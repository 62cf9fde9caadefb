package su

import (
	"sync"

	"github.com/aopeer/aopeer/ao"
)

// bells wake those who follow a process when its log has grown.
type bells struct {
	lock      sync.Mutex
	byProcess map[ao.ID]*bell
}

// bell rings once; it exists while somebody listens.
type bell struct {
	rung      chan struct{}
	listeners int
}

func newBells() *bells { return &bells{byProcess: make(map[ao.ID]*bell)} }

// watch returns a channel that is closed at the next ring; unwatch must be called.
func (b *bells) watch(process ao.ID) (rung <-chan struct{}, unwatch func()) {
	b.lock.Lock()
	defer b.lock.Unlock()
	one := b.byProcess[process]
	if one == nil {
		one = &bell{rung: make(chan struct{})}
		b.byProcess[process] = one
	}
	one.listeners++
	return one.rung, func() {
		b.lock.Lock()
		defer b.lock.Unlock()
		if one.listeners--; one.listeners == 0 && b.byProcess[process] == one {
			delete(b.byProcess, process)
		}
	}
}

func (b *bells) ring(process ao.ID) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if one := b.byProcess[process]; one != nil {
		close(one.rung)
		delete(b.byProcess, process)
	}
}
