// Package crash holds the peer to its word when the power goes (§5.3.1, §5.5.2): a scheduler, a computer, a messenger
// and an Arweave, each with a disk of its own, live through one scenario again and again, and each time another durable
// write of one of them is the last before a crash.
//
// In comes the code under test; out come verdicts: every acknowledged message has one slot, is settled once, took effect
// once and has one result; no key signed two things for one slot.
//
// It never mocks a unit: they are the real ones, over doors instead of sockets, in virtual time.
//
// Start with TestEveryWrite in crash_test.go; town_test.go is what lives, disk_test.go how a write fails, check_test.go
// what must hold afterwards. Witness here serves the tests of internal/e2e too, which kill processes.
package crash

import (
	"fmt"
	"slices"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
)

// Witness is shown every signature that leaves a unit, to whomever, and remembers when one key signed two things for one
// slot. It is safe for concurrent use.
type Witness struct {
	lock     sync.Mutex
	assigned map[signature]ao.ID
	claimed  map[signature]string
	settled  map[ao.ID]int
	twice    []string
}

// signature is what may be signed once.
type signature struct {
	signer  string
	process ao.ID
	slot    ao.Slot
}

// NewWitness has seen nothing.
func NewWitness() *Witness {
	return &Witness{assigned: map[signature]ao.ID{}, claimed: map[signature]string{}, settled: map[ao.ID]int{}}
}

// Assignment is shown an assignment.
func (w *Witness) Assignment(a ao.Assignment) {
	w.lock.Lock()
	defer w.lock.Unlock()
	at := signature{a.Owner(), a.Process(), a.Nonce()}
	if old, ok := w.assigned[at]; ok && old != a.ID() {
		w.twice = append(w.twice, fmt.Sprintf("%s assigned slot %d of %s by %s and by %s", at.signer, at.slot, at.process, old, a.ID()))
	}
	w.assigned[at] = a.ID()
}

// Claim is shown a claim of the unit with that address.
func (w *Witness) Claim(unit string, c attest.Claim) {
	w.lock.Lock()
	defer w.lock.Unlock()
	at, b := signature{unit, c.Process, c.Nonce}, string(c.Bytes())
	if old, ok := w.claimed[at]; ok && old != b {
		w.twice = append(w.twice, fmt.Sprintf("%s claimed slot %d of %s in two ways", unit, at.slot, at.process))
	}
	w.claimed[at] = b
}

// Bundle is shown a bundle that is on Arweave, and returns the items in it. All of them must be sound.
func (w *Witness) Bundle(raw []byte) ([]*ans104.Item, error) {
	entries, err := ans104.ParseBundle(raw)
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	items := make([]*ans104.Item, 0, len(entries))
	for _, e := range entries {
		it, err := ans104.Parse(e.Raw)
		if err == nil && it.ID() != e.ID {
			err = ans104.ErrID
		}
		if err == nil {
			err = it.Verify()
		}
		if err != nil {
			return nil, fmt.Errorf("read item %s: %w", e.ID, err)
		}
		items = append(items, it)
		w.lock.Lock()
		w.settled[it.ID()]++
		w.lock.Unlock()
		if a, err := ao.NewAssignment(it); err == nil {
			w.Assignment(a)
		} else if b, err := attest.NewBatch(it); err == nil {
			for _, c := range b.Claims() {
				w.Claim(b.Unit(), c)
			}
		}
	}
	return items, nil
}

// Processes are all that ever got a slot, in order of ID.
func (w *Witness) Processes() []ao.ID {
	w.lock.Lock()
	defer w.lock.Unlock()
	seen := map[ao.ID]bool{}
	var out []ao.ID
	for at := range w.assigned {
		if !seen[at.process] {
			seen[at.process] = true
			out = append(out, at.process)
		}
	}
	slices.SortFunc(out, func(a, b ao.ID) int { return slices.Compare(a[:], b[:]) })
	return out
}

// Settled says in how many places of the bundles shown an item is.
func (w *Witness) Settled(id ao.ID) int {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.settled[id]
}

// Faults are what must not be: two signatures of one key for one slot, and items that are on Arweave more than once.
func (w *Witness) Faults() []string {
	w.lock.Lock()
	defer w.lock.Unlock()
	out := slices.Clone(w.twice)
	for id, n := range w.settled {
		if n > 1 {
			out = append(out, fmt.Sprintf("item %s is on Arweave %d times", id, n))
		}
	}
	return out
}
