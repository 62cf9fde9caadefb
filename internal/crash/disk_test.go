package crash

import (
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ipfs/go-datastore"

	"github.com/aopeer/aopeer/internal/store"
)

// mode is what becomes of the write at which the power goes.
type mode int

const (
	// lost: it fails and is not written.
	lost mode = iota
	// written: it fails, and is written all the same.
	written
	// torn: the power goes while it is under way, and of what was not synced yet a part reaches the disk.
	torn
	// twice is lost, and the first write after the restart is written and fails as well.
	twice
	modes
)

func (m mode) String() string { return [...]string{"lost", "written", "torn", "twice"}[m] }

// fault is the write at which a disk fails: the at-th, counted from 1 over all restarts; 0 is none.
type fault struct {
	at   int
	mode mode
}

// disk is a store in memory of which one durable write fails, and with it the power of the peer.
type disk struct {
	*store.Crashable
	fault fault

	lock   sync.Mutex
	writes int
	spared bool             // no write fails any more
	going  bool             // the power is going
	down   chan struct{}    // closed when it has gone
	after  *store.Crashable // what is found then
	err    error
}

func newDisk(s *store.Crashable, writes int, f fault) *disk {
	return &disk{Crashable: s, writes: writes, fault: f, down: make(chan struct{})}
}

// isDown says whether the power goes or has gone.
func (d *disk) isDown() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.going
}

// write does a durable write, unless it is the one that fails.
func (d *disk) write(do func() error) error {
	d.lock.Lock()
	d.writes++
	hit := d.writes == d.fault.at && !d.spared
	d.going = d.going || hit
	d.lock.Unlock()
	if !hit {
		return do()
	}
	switch d.fault.mode {
	case written:
		_ = do() // if it fails by itself, that is the other fault
		d.cut(0)
	case torn:
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = do()
		}()
		for range d.fault.at % 7 { // into the write, deeper each time
			runtime.Gosched()
		}
		d.cut(d.fault.at * 37 % 101)
		<-ended
	default:
		d.cut(0)
	}
	return fmt.Errorf("write %d: %w", d.fault.at, store.ErrBroken)
}

// spare lets every later write succeed, and says how many there were.
func (d *disk) spare() int {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.spared = true
	return d.writes
}

// cut is the end of this disk's power; of what is not synced that percentage is kept.
func (d *disk) cut(kept int) {
	d.after, d.err = d.Crash(kept, uint64(d.fault.at))
	close(d.down)
}

// next is the disk as it is found after a restart: behind the fault, or behind a clean end.
func (d *disk) next() (*disk, error) {
	if !d.isDown() { // whatever was written stays
		after, err := d.Crash(100, 1)
		if err != nil {
			return nil, err
		}
		return newDisk(after, d.writes, d.fault), nil
	}
	if <-d.down; d.err != nil {
		return nil, d.err
	}
	next := newDisk(d.after, 0, fault{})
	if d.fault.mode == twice {
		next.fault = fault{at: 1, mode: written}
	}
	return next, nil
}

// Commit implements store.Store.
func (d *disk) Commit(b *store.Batch) error {
	if b.Len() == 0 {
		return nil
	}
	return d.write(func() error { return d.Crashable.Commit(b) })
}

// PutFile implements store.Store.
func (d *disk) PutFile(name string, r io.Reader) error {
	return d.write(func() error { return d.Crashable.PutFile(name, r) })
}

// RemoveFile implements store.Store.
func (d *disk) RemoveFile(name string) error {
	return d.write(func() error { return d.Crashable.RemoveFile(name) })
}

// Datastore implements store.Store. No unit here uses it, and its writes would not be counted.
func (d *disk) Datastore(string) datastore.Batching { panic("the datastore's writes are not counted") }
