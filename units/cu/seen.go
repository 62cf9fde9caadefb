package cu

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// seen remembers the first slot at which something took effect. Only slots before the asked one count, so a replay
// from an earlier slot needs no clearing.
type seen interface {
	first(k seenKey) (at ao.Slot, ok bool, err error)
	note(k seenKey, slot ao.Slot)
}

type seenKey struct {
	kind byte
	hash [32]byte
}

// The kinds of keys.
const (
	seenMessage byte = 'm' // a message's ID
	seenPush    byte = 'p' // ao.EffectDigest
)

// seenInMemory serves a replay that starts from nothing.
type seenInMemory map[seenKey]ao.Slot

func (s seenInMemory) first(k seenKey) (ao.Slot, bool, error) {
	at, ok := s[k]
	return at, ok, nil
}

func (s seenInMemory) note(k seenKey, slot ao.Slot) { s[k] = slot }

// seenInStore is durable: what was noted goes into the batch that holds the answers of the same slots.
type seenInStore struct {
	store   store.Store
	process ao.ID
	fresh   map[seenKey]ao.Slot // noted since the last flush
}

func (s *seenInStore) note(k seenKey, slot ao.Slot) { s.fresh[k] = slot }

func (s *seenInStore) first(k seenKey) (ao.Slot, bool, error) {
	if at, ok := s.fresh[k]; ok {
		return at, true, nil
	}
	raw, err := s.store.Get(s.key(k))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, false, nil
	case err != nil:
		return 0, false, storeFault("read duplicates", err)
	case len(raw) != 8:
		return 0, false, storeFault("read duplicates", fmt.Errorf("a slot of %d bytes", len(raw)))
	}
	return ao.Slot(binary.BigEndian.Uint64(raw)), true, nil
}

// forget takes back what was noted for a slot that does not stand.
func (s *seenInStore) forget(slot ao.Slot) {
	for k, at := range s.fresh {
		if at == slot {
			delete(s.fresh, k)
		}
	}
}

// flush moves what was noted into the batch.
func (s *seenInStore) flush(b *store.Batch) {
	for k, slot := range s.fresh {
		b.Put(s.key(k), binary.BigEndian.AppendUint64(nil, uint64(slot)))
	}
	clear(s.fresh)
}

func (s *seenInStore) key(k seenKey) string {
	return "cu/seen/" + s.process.String() + "/" + string(k.kind) + ao.ID(k.hash).String()
}
