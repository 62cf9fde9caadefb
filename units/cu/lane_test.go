package cu_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
)

// TestPlaceForLightOnes: once a slow entry was met, however many processes come forward for the first time and hold a place
// for long, one place is left for those whose messages have been quick.
func TestPlaceForLightOnes(t *testing.T) {
	const newcomers, slots = 16, 40
	w := newWorld(t)
	other, slow := w.serve(t, "other", slots), w.serve(t, "slow", 1)
	ids := w.crowd(t, newcomers, 3)
	gate := make(chan struct{})
	var clock atomic.Int64
	w.machine.hook(func(e ao.Entry) error {
		switch e.Assignment.Process() {
		case other:
		case slow:
			clock.Add(int64(time.Second))
		default:
			<-gate
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) {
		c.Workers, c.Now = 2, func() time.Time { return time.Unix(0, clock.Load()) }
	})
	compute(t, u, other, 1)
	compute(t, u, slow, 0)
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { compute(t, u, id, 2) })
	}
	defer all.Wait()
	defer close(gate)
	await(t, "one has a place and the others wait for it", func() bool { return u.Queued() == newcomers-1 })
	for slot := ao.Slot(2); slot < slots; slot++ {
		compute(t, u, other, slot)
	}
}

// TestNewcomersPassHeavyOnes: a process that nobody knows waits for the heavy one that is being evaluated and the one that
// is next, and not for all of them.
func TestNewcomersPassHeavyOnes(t *testing.T) {
	const crowd = 8
	w := newWorld(t)
	ids := w.crowd(t, crowd, 4)
	newcomer := w.serve(t, "newcomer", 2)
	var clock atomic.Int64
	var gate atomic.Pointer[chan struct{}]
	var lock sync.Mutex
	var order []ao.ID
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Process() != newcomer {
			clock.Add(int64(time.Second))
		}
		lock.Lock()
		order = append(order, e.Assignment.Process())
		lock.Unlock()
		if g := gate.Load(); g != nil {
			<-*g
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) {
		c.Workers, c.Now = 2, func() time.Time { return time.Unix(0, clock.Load()) }
	})
	for _, id := range ids {
		compute(t, u, id, 1)
	}
	closed := make(chan struct{})
	gate.Store(&closed)
	order = nil
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { compute(t, u, id, 3) })
	}
	await(t, "one heavy process has a place", func() bool { return u.Queued() == crowd-1 })
	all.Go(func() { compute(t, u, newcomer, 0) })
	await(t, "the newcomer waits as well", func() bool { return u.Queued() == crowd })
	close(closed)
	all.Wait()
	if at := slices.Index(order, newcomer); at < 0 || at > 3 {
		t.Errorf("the newcomer was evaluated after %d heavy entries", at)
	}
}
