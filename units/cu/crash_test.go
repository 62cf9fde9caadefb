package cu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// failing is a store whose n-th durable write fails, written or not, and everything after it.
type failing struct {
	store.Store
	lock    sync.Mutex
	left    int
	written bool
	down    bool
}

func (f *failing) attempt(write func() error) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.down {
		return store.ErrBroken
	}
	if f.left--; f.left > 0 {
		return write()
	}
	f.down = true
	if f.written {
		if err := write(); err != nil {
			return err
		}
	}
	return store.ErrBroken
}

func (f *failing) Commit(b *store.Batch) error {
	return f.attempt(func() error { return f.Store.Commit(b) })
}

func (f *failing) PutFile(name string, r io.Reader) error {
	return f.attempt(func() error { return f.Store.PutFile(name, r) })
}

func (f *failing) RemoveFile(name string) error {
	return f.attempt(func() error { return f.Store.RemoveFile(name) })
}

func (f *failing) isDown() bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.down
}

// TestEveryWriteFails: wherever a unit stops, what it answered stands, nothing is claimed twice, and nothing is left
// unsettled.
func TestEveryWriteFails(t *testing.T) {
	const slots = 13
	base := newWorld(t)
	log := base.chain(t, "p", slots).Entries()
	process := log[0].Message.ID()
	for n := 1; ; n++ {
		reached := false
		for _, written := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%t", n, written), func(t *testing.T) {
				w := *base
				w.archive = &archive{}
				w.store = store.NewMemory()
				defer w.store.Close()
				w.directory.put(log)
				disk := &failing{Store: w.store, left: n, written: written}
				answered := untilBroken(t, &w, disk, process, slots)
				reached = reached || disk.isDown()
				u := w.run(t, w.settling, func(c *cu.Config) { c.CheckpointEvery = 4 })
				for slot := range ao.Slot(slots) {
					claim := string(compute(t, u, process, slot).Claim.Raw())
					if a, ok := answered[slot]; ok && a != claim {
						t.Errorf("slot %d is claimed again, and otherwise", slot)
					}
				}
				await(t, "all claims are settled", func() bool { return len(settled(t, &w, process)) == slots })
				checkSettled(t, &w, u, process, slots)
				u.stop()
			})
		}
		if !reached {
			if n < 15 {
				t.Errorf("only %d writes were failed", n-1)
			}
			return
		}
	}
}

// untilBroken runs a unit on the failing store until all is answered and settled, or the store is down.
func untilBroken(t *testing.T, w *world, disk *failing, process ao.ID, slots ao.Slot) map[ao.Slot]string {
	t.Helper()
	u := w.run(t, w.settling, func(c *cu.Config) { c.Store, c.CheckpointEvery, c.PageSize = disk, 4, 3 })
	defer u.stop()
	answered := map[ao.Slot]string{}
	for slot := range slots {
		a, err := u.Compute(context.Background(), process, slot)
		if err != nil {
			unitstest.WantRefusal(t, err, ao.StoreTrouble)
			continue
		}
		answered[slot] = string(a.Claim.Raw())
	}
	await(t, "settled or down", func() bool { return disk.isDown() || len(settled(t, w, process)) == int(slots) })
	if disk.isDown() { // such a unit must not go on
		<-u.ended
		if !errors.Is(u.err, store.ErrBroken) {
			t.Errorf("it ended with %v, want the store's error", u.err)
		}
	}
	return answered
}
