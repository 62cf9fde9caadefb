package store

import "sync/atomic"

// flights knows which keys have a change that is visible inside the engine but not yet on the disk. A reader that saw
// such a key waits for its flight to land, because answering from it would promise what a power cut can take back.
type flights struct {
	// current is the one group on its way, nil between two.
	current atomic.Pointer[flight]
}

// flightKey is what a reader asked for: a key, or all records of a log or entries of a queue.
type flightKey struct {
	space byte
	name  string
}

// maxFlightKeys is how many keys a flight tells apart; with more, every reader waits for it. A settlement mark has some 300.
const maxFlightKeys = 512

// flight is one group on its way to the disk.
type flight struct {
	keys []flightKey
	done chan struct{}
	err  error // set before done is closed
}

// depart registers the flight of a group, before its changes become visible. There is one at a time.
func (f *flights) depart(keys []flightKey) *flight {
	fl := &flight{keys: keys, done: make(chan struct{})}
	f.current.Store(fl)
	return fl
}

// land ends a flight and wakes its waiters.
func (f *flights) land(fl *flight, err error) {
	fl.err = err
	f.current.Store(nil)
	close(fl.done)
}

// settle waits until what was read under key is durable.
func (f *flights) settle(key flightKey) error {
	fl := f.current.Load()
	if fl == nil || !fl.touches(key) {
		return nil
	}
	<-fl.done
	return fl.err
}

// settleAll waits until everything read so far is durable.
func (f *flights) settleAll() error {
	fl := f.current.Load()
	if fl == nil {
		return nil
	}
	<-fl.done
	return fl.err
}

func (fl *flight) touches(key flightKey) bool {
	if len(fl.keys) > maxFlightKeys {
		return true
	}
	for i := range fl.keys {
		if fl.keys[i] == key {
			return true
		}
	}
	return false
}
