package store

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// defaultMinFree is what writers leave free. The engine needs room to write out and merge what it has already taken, and
// stops hard when it finds none; those who come with something new are refused before that.
const defaultMinFree = 128 << 20

// spaceEvery is how old an answer of the file system may be.
const spaceEvery = 500 * time.Millisecond

// space refuses new data while the disk is nearly full. It recovers by itself.
type space struct {
	disk vfs.FS
	dir  string
	min  uint64

	asked atomic.Int64 // when, in Unix nanoseconds
	free  atomic.Uint64
}

// admit refuses a batch that adds something to a disk without room.
func (s *space) admit(b *Batch) error {
	if s.left() >= s.min || b.onlyRemoves() {
		return nil
	}
	return s.full()
}

func (s *space) full() error {
	return fmt.Errorf("%w: %d MiB are free in %s, and %d must stay so", ErrFull, s.free.Load()>>20, s.dir, s.min>>20)
}

// left is how much is free, as of a moment ago; a file system that does not say has room.
func (s *space) left() uint64 {
	now := time.Now().UnixNano()
	if was := s.asked.Load(); now-was < int64(spaceEvery) && now >= was {
		return s.free.Load()
	}
	free := ^uint64(0)
	if usage, err := s.disk.GetDiskUsage(s.dir); err == nil {
		free = usage.AvailBytes
	}
	s.free.Store(free)
	s.asked.Store(now)
	return free
}

// noRoom tells a file that the disk had no room for from other faults.
func noRoom(err error) error {
	if vfs.IsNoSpaceError(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
