package cu

import (
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
)

// journal is the attest.Journal of the unit. Claims of one chunk of slots enter it with the answers, in one batch.
type journal struct {
	store store.Store

	lock    sync.Mutex
	pending map[string]*staged // not yet known to be durable
}

// staged is a record in one or more batches on their way to the disk. It binds until the last of them has arrived or
// was given up.
type staged struct {
	digest  attest.Hash
	batches int
}

func newJournal(s store.Store) *journal {
	return &journal{store: s, pending: make(map[string]*staged)}
}

var _ attest.Journal = (*journal)(nil)

// Record implements attest.Journal.
func (j *journal) Record(c attest.Claim, digest attest.Hash) error {
	var b store.Batch
	key := journalKey(c)
	durable, err := j.stage(&b, key, digest)
	if err != nil || durable {
		return err
	}
	defer j.settle(key)
	if err := j.store.Commit(&b); err != nil {
		return storeFault("record claim", err)
	}
	return nil
}

// stage puts the claim's record into b unless it is durable already; settle must follow once b is committed or given
// up. Errors: attest.ErrContradiction, the store's.
func (j *journal) stage(b *store.Batch, key string, digest attest.Hash) (durable bool, err error) {
	j.lock.Lock()
	defer j.lock.Unlock()
	if same := j.pending[key]; same != nil {
		if same.digest != digest {
			return false, attest.ErrContradiction
		}
		same.batches++
		b.Put(key, digest[:])
		return false, nil
	}
	raw, err := j.store.Get(key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		j.pending[key] = &staged{digest: digest, batches: 1}
		b.Put(key, digest[:])
		return false, nil
	case err != nil:
		return false, storeFault("read journal", err)
	case attest.Hash(sized(raw)) != digest:
		return false, attest.ErrContradiction
	}
	return true, nil
}

// settle ends one staging of each record: after the last one the store is asked.
func (j *journal) settle(keys ...string) {
	j.lock.Lock()
	defer j.lock.Unlock()
	for _, k := range keys {
		if s := j.pending[k]; s != nil {
			if s.batches--; s.batches == 0 {
				delete(j.pending, k)
			}
		}
	}
}

// sized makes any record 32 bytes; one that is damaged equals no digest.
func sized(raw []byte) []byte {
	if len(raw) != sha256.Size {
		return make([]byte, sha256.Size)
	}
	return raw
}

func journalKey(c attest.Claim) string {
	return "cu/journal/" + c.Process.String() + "/" + slotHex(c.Nonce) + "/" + ao.ID(c.Head).String()
}
