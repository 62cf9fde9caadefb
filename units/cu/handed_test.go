package cu_test

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestHandedEntryIsNotFetched: the entry that comes with the question is used if it is the next one of the log and signed
// by its scheduler, and has no effect otherwise.
func TestHandedEntryIsNotFetched(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	u := w.run(t, func(c *cu.Config) { c.PageSize = 1 })
	p, all := c.Process(), c.Entries()
	want, _ := claims(t, u, p, 4)
	u.stop()

	fresh := newWorld(t)
	fresh.directory.put(all)
	fu := fresh.run(t, func(c *cu.Config) { c.PageSize = 1 })
	reads := func() int {
		fresh.directory.lock.Lock()
		defer fresh.directory.lock.Unlock()
		return fresh.directory.reads
	}
	other := unitstest.NewChain(t, unitstest.Signer("another scheduler"), all[0].Message)
	forged := other.Add(t, unitstest.Message(t, w.owner, p, "forged"))
	for slot, handed := range []ao.Entry{all[0], forged, all[2], all[1]} {
		before := reads()
		a, err := fu.Compute(units.Hand(t.Context(), handed), p, ao.Slot(slot))
		if err != nil || string(a.Claim.Raw()) != want[slot] {
			t.Fatalf("slot %d: %v", slot, err)
		}
		wanted := 1
		if slot == 0 || slot == 2 {
			wanted = 0
		}
		if n := reads() - before; n != wanted {
			t.Errorf("slot %d: the log was read %d times, want %d", slot, n, wanted)
		}
	}
}
