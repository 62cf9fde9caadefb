package ans104

import (
	"runtime"
	"sync"
)

// Verifier verifies items for many goroutines and takes the Ed25519 signatures that wait at one moment together, which
// costs little more than half of verifying each by itself. Its answers are those of [Item.Verify]. The zero value is
// ready; it starts no goroutine: whoever finds nobody at work does the work of all who wait. A false signature costs
// those beside it the gain, no more. It remembers the keys that signed of late, whose preparation is a third of the work
// for Ed25519 and a tenth for RSA.
type Verifier struct {
	// Keys is how many Ed25519 keys are surely remembered, and at most as many again; 256 if it is 0. Each takes 2 KiB. It
	// must not change after the first call.
	Keys int

	lock    sync.Mutex
	working bool
	waiting []*verification
	keys    keyRing // of whoever works
	wallets walletRing
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
	switch {
	case it.verified.Load():
		return nil
	case it.typ == Arweave:
		return v.wallets.verify(it)
	case it.typ != Ed25519 && it.typ != Solana:
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
	v.lock.Unlock()
	runtime.Gosched() // whoever is about to ask may join, and where nobody is it takes no time
	v.lock.Lock()
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
	v.keys.most = v.Keys
	items := make([]*Item, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	errs := verifyBatch(items, &v.keys)
	for i, w := range batch {
		w.err, w.done = errs[i], true
		if i > 0 {
			w.turn <- struct{}{}
		}
	}
}
