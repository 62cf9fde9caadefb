package su

import (
	"encoding/binary"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// known tells of most messages that a log does not hold that it does not, without asking the store: nearly every message
// is new. It is a chain of Bloom filters, each twice as large as the one before; what is in it may be in the log,
// what is not is not. It belongs to a head and is used in the process's line.
type known struct {
	filters []filter
	left    int // keys that the last filter still takes
}

type filter []uint64

const (
	knownFirst  = 64   // keys of the first filter
	knownBits   = 16   // bits for a key
	knownProbes = 6    // of them set
	knownLoad   = 2048 // slots of a log whose index is read to fill the filters; longer logs ask the store
)

// probes are where a key's bits are. Keys end in a hash, with its kind before it.
func probes(key string) (at, step uint64) {
	hash := key[len(key)-32:]
	kind := uint64(key[len(key)-33]) * 0x9e3779b97f4a7c15 // spread over all bits
	at = binary.LittleEndian.Uint64([]byte(hash[:8])) ^ kind
	return at, binary.LittleEndian.Uint64([]byte(hash[8:16])) | 1
}

func (f filter) has(at, step uint64) bool {
	n := uint64(len(f)) * 64
	for range knownProbes {
		if bit := at % n; f[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
		at += step
	}
	return true
}

// has says whether an index key may be in the store. A nil known does not know.
func (k *known) has(key string) bool {
	if k == nil {
		return true
	}
	at, step := probes(key)
	for _, f := range k.filters {
		if f.has(at, step) {
			return true
		}
	}
	return false
}

// add takes a key that is in the store.
func (k *known) add(key string) {
	if k == nil {
		return
	}
	if k.left == 0 {
		k.left = knownFirst << len(k.filters)
		k.filters = append(k.filters, make(filter, k.left*knownBits/64))
	}
	k.left--
	at, step := probes(key)
	f := k.filters[len(k.filters)-1]
	n := uint64(len(f)) * 64
	for range knownProbes {
		bit := at % n
		f[bit/64] |= 1 << (bit % 64)
		at += step
	}
}

// bytes is what it holds in memory.
func (k *known) bytes() (n int) {
	if k != nil {
		for _, f := range k.filters {
			n += 8 * len(f)
		}
	}
	return n
}

// loadKnown fills the filters of a log from its index, or is nil for a long one.
func (u *Unit) loadKnown(process ao.ID, slots uint64) (*known, error) {
	if slots > knownLoad {
		return nil, nil
	}
	k := new(known)
	prefix := indexPrefix + string(process[:])
	for after := ""; ; {
		page, err := u.cfg.Store.Scan(prefix, after, store.MaxScan)
		if err != nil {
			return nil, err
		}
		for _, p := range page {
			if len(p.Key) == len(prefix)+33 {
				k.add(p.Key)
			}
		}
		if len(page) < store.MaxScan {
			return k, nil
		}
		after = page[len(page)-1].Key
	}
}
