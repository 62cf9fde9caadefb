package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// sound is the check of one file: one goroutine walks it, bundles within bundles, and several verify signatures.
type sound struct {
	left   int // items that it may still look at
	hashed int // bytes given to hashes so far
	sent   int // items given to the verifiers so far
	work   chan signed

	lock  sync.Mutex
	first int // which item was found bad, the earliest
	bad   error
}

// signed is an item whose signature is to be verified.
type signed struct {
	item  *ans104.Item
	order int
	where string
}

// verifyAll says what is wrong with an item or bundle, the first thing in its order.
func verifyAll(raw []byte, bundle bool) error {
	s := &sound{left: maxItems, work: make(chan signed, 64), first: math.MaxInt}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for w := range s.work {
				if err := w.item.Verify(); err != nil {
					s.fail(w.order, fmt.Errorf("%s%w", w.where, err))
				}
			}
		})
	}
	var err error
	if bundle {
		err = s.bundle(raw, "", 1)
	} else {
		err = s.item(raw, nil, "", 0)
	}
	close(s.work)
	workers.Wait()
	if err != nil {
		s.fail(s.sent, err)
	}
	return s.bad
}

func (s *sound) fail(order int, err error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if order < s.first {
		s.first, s.bad = order, err
	}
}

// failed says that the walk is of no more use.
func (s *sound) failed() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.bad != nil
}

func (s *sound) bundle(raw []byte, where string, depth int) error {
	if depth > ans104.MaxDepth {
		return fmt.Errorf("%s%w", where, ans104.ErrDepth)
	}
	if len(raw) >= 8 && binary.LittleEndian.Uint64(raw) > uint64(s.left) && uint64(len(raw))/64 > uint64(s.left) {
		return fmt.Errorf("%s%w: more than %d", where, ans104.ErrTooManyItems, maxItems)
	}
	entries, err := ans104.ParseBundle(raw)
	if err != nil {
		return fmt.Errorf("%s%w", where, err)
	}
	for n, e := range entries {
		if err := s.item(e.Raw, &e.ID, fmt.Sprintf("%sitem %d: ", where, n), depth); err != nil || s.failed() {
			return err
		}
	}
	return nil
}

// item checks one item and what it carries; id is what the bundle's header says that it is.
func (s *sound) item(raw []byte, id *ans104.ID, where string, depth int) error {
	if s.left--; s.left < 0 {
		return fmt.Errorf("%s%w: more than %d", where, ans104.ErrTooManyItems, maxItems)
	}
	if s.hashed += len(raw); s.hashed > maxHashed {
		return fmt.Errorf("%sbundles within bundles: more than %d MiB to hash", where, maxHashed>>20)
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return fmt.Errorf("%s%w", where, err)
	}
	if id != nil && *id != it.ID() {
		return fmt.Errorf("%s%w: the header says %s", where, ans104.ErrID, id)
	}
	s.work <- signed{item: it, order: s.sent, where: where}
	s.sent++
	if it.IsBundle() {
		return s.bundle(it.Data(), where, depth+1)
	}
	return nil
}
