package store

import "sync"

// flights knows which keys have a change that is visible inside the engine but not yet on the disk. A reader that saw
// such a key waits for its flight to land, because answering from it would promise what a power cut can take back.
type flights struct {
	lock sync.RWMutex
	// byKey holds the latest flight touching an engine key (for logs and queues, the key of their counter).
	byKey map[string]*flight
	// last is the latest flight of all. The engine's journal is synced in order, so when it has landed, all have.
	last *flight
}

// flight is one batch on its way to the disk.
type flight struct {
	keys []string
	done chan struct{}
	err  error // set before done is closed
}

// depart registers a flight. It is called in the order in which batches enter the engine's journal, before they
// become visible.
func (f *flights) depart(keys []string) *flight {
	fl := &flight{keys: keys, done: make(chan struct{})}
	f.lock.Lock()
	defer f.lock.Unlock()
	for _, k := range keys {
		f.byKey[k] = fl
	}
	f.last = fl
	return fl
}

// land ends a flight and wakes its waiters.
func (f *flights) land(fl *flight, err error) {
	f.lock.Lock()
	for _, k := range fl.keys {
		if f.byKey[k] == fl {
			delete(f.byKey, k)
		}
	}
	if f.last == fl {
		f.last = nil
	}
	f.lock.Unlock()
	fl.err = err
	close(fl.done)
}

// settle waits until what was read under key is durable.
func (f *flights) settle(key []byte) error {
	f.lock.RLock()
	fl := f.byKey[string(key)]
	f.lock.RUnlock()
	return fl.wait()
}

// settleAll waits until everything read so far is durable.
func (f *flights) settleAll() error {
	f.lock.RLock()
	fl := f.last
	f.lock.RUnlock()
	return fl.wait()
}

func (fl *flight) wait() error {
	if fl == nil {
		return nil
	}
	<-fl.done
	return fl.err
}
