package remote

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestFoundEntryIsAtHand: the entry of a slot that was just found is not asked for again, once; others are.
func TestFoundEntryIsAtHand(t *testing.T) {
	a := newAbroad(t)
	m := unitstest.Message(t, a.user, a.process, "m")
	a.put(t, m)
	var asked atomic.Int32
	_, unit := a.client(t, serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		a.su.ServeHTTP(w, r)
	})))
	if slot, err := unit.Find(t.Context(), a.process, m.ID()); err != nil || slot != 1 {
		t.Fatalf("slot %d, %v", slot, err)
	}
	for _, step := range []struct {
		from    ao.Slot
		entries int
		asked   int32
	}{{0, 2, 2}, {1, 1, 2}, {1, 1, 3}} {
		es, err := unit.Range(t.Context(), a.process, step.from, 10)
		if err != nil || len(es) != step.entries || es[len(es)-1].Message.ID() != m.ID() {
			t.Errorf("from %d: %d entries, %v", step.from, len(es), err)
		}
		if got := asked.Load(); got != step.asked {
			t.Errorf("from %d: %d requests by now, want %d", step.from, got, step.asked)
		}
	}
}

// TestFoundNodesAreBounded: whoever asks about many processes does not fill the memory.
func TestFoundNodesAreBounded(t *testing.T) {
	var f foundNodes
	for i := range 3 * maxFoundNodes {
		f.put(ao.ID{byte(i), byte(i >> 8)}, foundNode{slot: 1})
	}
	if len(f.nodes) > maxFoundNodes {
		t.Errorf("%d nodes", len(f.nodes))
	}
	last := ao.ID{byte((3*maxFoundNodes - 1) & 0xff), byte((3*maxFoundNodes - 1) >> 8)}
	if _, ok := f.take(last, "", 2); ok {
		t.Error("another slot's node was given")
	}
	if _, ok := f.take(last, "", 1); !ok {
		t.Error("the last node is gone")
	}
}
