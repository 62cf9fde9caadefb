package ans104

import "sync"

// Verifier verifies items for many goroutines and takes the Ed25519 signatures that wait at one moment together, which
// costs little more than half of verifying each by itself. Its answers are those of [Item.Verify]. The zero value is
// ready; it starts no goroutine: whoever finds nobody at work does the work of all who wait. A false signature costs
// those beside it the gain, no more.
type Verifier struct {
	lock    sync.Mutex
	working bool
	waiting []*verification
}

// verification is one caller's item.
type verification struct {
	item *Item
	err  error
	done bool          // the answer is there; otherwise a call of turn means that it is the caller's turn to work
	turn chan struct{} // one token
}

// Verify is [Item.Verify]. It waits for nothing but other verifications.
func (v *Verifier) Verify(it *Item) error {
	if it.typ != Ed25519 && it.typ != Solana || it.verified.Load() {
		return it.Verify()
	}
	mine := &verification{item: it, turn: make(chan struct{}, 1)}
	v.lock.Lock()
	v.waiting = append(v.waiting, mine)
	if v.working {
		v.lock.Unlock()
		if <-mine.turn; mine.done {
			return mine.err
		}
		v.lock.Lock()
	}
	v.working = true
	// Whoever works stands in front, so the batch holds its own item.
	n := min(len(v.waiting), batchLen)
	batch := v.waiting[:n:n]
	v.waiting = v.waiting[n:]
	v.lock.Unlock()

	v.work(batch)

	v.lock.Lock()
	defer v.lock.Unlock()
	if v.working = len(v.waiting) > 0; v.working {
		v.waiting[0].turn <- struct{}{}
	} else {
		v.waiting = nil
	}
	return mine.err
}

// work verifies a batch and wakes its callers, but for the first, who is the one at work.
func (v *Verifier) work(batch []*verification) {
	items := make([]*Item, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	errs := VerifyBatch(items)
	for i, w := range batch {
		w.err, w.done = errs[i], true
		if i > 0 {
			w.turn <- struct{}{}
		}
	}
}
