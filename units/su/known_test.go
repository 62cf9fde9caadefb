package su

import (
	"fmt"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestKnownForgetsNothing: a key that was added is never said to be absent, and few others are said to be there.
func TestKnownForgetsNothing(t *testing.T) {
	k, p := new(known), unitstest.ID("process")
	const n = 5000
	for i := range n {
		k.add(messageKey(p, unitstest.ID(fmt.Sprint(i))))
	}
	wrong := 0
	for i := range n {
		id := unitstest.ID(fmt.Sprint(i))
		if !k.has(messageKey(p, id)) {
			t.Fatalf("%d is forgotten", i)
		}
		if k.has(messageKey(p, unitstest.ID(fmt.Sprint("other", i)))) || k.has(digestKey(p, id)) {
			wrong++
		}
	}
	if wrong > n/20 {
		t.Errorf("%d of %d others are taken for known", wrong, n)
	}
	if b := k.bytes(); b < n || b > 8*n {
		t.Errorf("%d bytes for %d keys", b, n)
	}
	if !(*known)(nil).has(messageKey(p, p)) {
		t.Error("who knows nothing denies")
	}
}

// TestKnownAfterARestart: a message that the log holds is found again by a unit that has read the index, or has not.
func TestKnownAfterARestart(t *testing.T) {
	s := memory(t)
	u := newUnit(t, s, newFakeArchive(100))
	p := spawn(t, u, "known")
	var ids []ao.ID
	for i := range 70 {
		ids = append(ids, schedule(t, u, p, message(t, p, fmt.Sprint(i))).ID())
	}
	asked := 0
	counting := &countingStore{Store: s, get: func() { asked++ }}
	u = newUnit(t, counting, newFakeArchive(100))
	for i, id := range ids {
		if a := schedule(t, u, p, message(t, p, fmt.Sprint(i))); a.ID() != id {
			t.Fatalf("message %d got another slot: %d", i, a.Nonce())
		}
	}
	asked = 0
	for i := range 100 {
		schedule(t, u, p, message(t, p, fmt.Sprint("new", i)))
	}
	if asked > 10 {
		t.Errorf("the store was asked %d times for 100 new messages", asked)
	}
	if k, err := u.loadKnown(p, knownLoad+1); k != nil || err != nil {
		t.Errorf("a long log's index was read: %v, %v", k, err)
	}
}

type countingStore struct {
	store.Store
	get func()
}

func (s *countingStore) Get(key string) ([]byte, error) {
	s.get()
	return s.Store.Get(key)
}
