package cu_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

func (w *world) settling(c *cu.Config) {
	c.Archive, c.BatchAge = w.archive, 2*time.Millisecond
}

// settled is every claim of the unit's that the archive has, by slot; its batches must be sound.
func settled(t testing.TB, w *world, process ao.ID) map[ao.Slot][]attest.Claim {
	t.Helper()
	out := map[ao.Slot][]attest.Claim{}
	for _, it := range w.archive.batches() {
		if it.OwnerAddress() != unitstest.Address(w.unit) {
			continue
		}
		for _, c := range w.archive.batch(t, it).Claims() {
			if c.Process == process {
				out[c.Nonce] = append(out[c.Nonce], c)
			}
		}
	}
	return out
}

func checkSettled(t testing.TB, w *world, u units.Computer, process ao.ID, n int) {
	t.Helper()
	await(t, "all claims are settled", func() bool { return len(settled(t, w, process)) >= n })
	for slot, cs := range settled(t, w, process) {
		want := compute(t, u, process, slot).Claim.Claim()
		for _, c := range cs {
			if string(c.Bytes()) != string(want.Bytes()) {
				t.Errorf("slot %d is settled with another claim than it was answered with", slot)
			}
		}
	}
}

// TestDamagedClaimIsNotSettled: a claim is signed as it stands in the journal or not at all.
func TestDamagedClaimIsNotSettled(t *testing.T) {
	w := newWorld(t)
	process := w.serve(t, "p", 6)
	u := w.run(t)
	claim := compute(t, u, process, 5).Claim.Claim()
	compute(t, u, process, 3)
	u.stop()
	pairs, err := w.store.Scan("cu/answer/"+process.String()+"/", "", 0)
	if err != nil || len(pairs) != 6 {
		t.Fatalf("%d answers, %v", len(pairs), err)
	}
	at := bytes.Index(pairs[5].Value, claim.Result[:])
	if at < 0 {
		t.Fatal("the record holds no claim")
	}
	pairs[5].Value[at]++
	var b store.Batch
	b.Put(pairs[5].Key, pairs[5].Value)
	if err := w.store.Commit(&b); err != nil {
		t.Fatal(err)
	}
	again := w.run(t, w.settling)
	await(t, "the damage is found", func() bool { return again.Status().Contradictions > 0 })
	again.stop()
	for _, c := range settled(t, w, process)[5] {
		if c.Result != claim.Result {
			t.Error("a second claim for slot 5 is signed")
		}
	}
}

func TestClaimsAreSettled(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 8)
	w.directory.put(c.Entries())
	q := w.serve(t, "q", 3)
	u := w.run(t, w.settling)
	compute(t, u, c.Process(), 7)
	compute(t, u, q, 2)
	checkSettled(t, w, u, c.Process(), 8)
	checkSettled(t, w, u, q, 3)
	w.add(t, c, "one more")
	w.directory.put(c.Entries())
	root := stateOf(t, u, c.Process()).Root
	checkSettled(t, w, u, c.Process(), 9)
	await(t, "nothing is left", func() bool { return u.Status().Unsettled == 0 })
	for slot, cs := range settled(t, w, c.Process()) {
		if len(cs) != 1 {
			t.Errorf("slot %d is settled %d times", slot, len(cs))
		}
	}
	var last attest.Batch
	for _, it := range w.archive.batches() {
		b, err := attest.ParseBatch(it.Raw())
		if err != nil {
			t.Fatal(err)
		}
		if b.Claims()[0].Process == c.Process() {
			last = b
		}
	}
	if last.State() == nil || *last.State() != root {
		t.Errorf("the last batch has the state root %x, want %x", last.State(), root)
	}
}

func TestFullBatches(t *testing.T) {
	w := newWorld(t)
	n := attest.MaxBatch + 10
	p := w.serve(t, "p", n)
	u := w.run(t, func(c *cu.Config) { c.CheckpointEvery = 10_000; c.PageSize = 1000 })
	compute(t, u, p, ao.Slot(n-1))
	u.stop()
	u = w.run(t, w.settling) // what an earlier run left
	await(t, "all claims are settled", func() bool { return len(settled(t, w, p)) == n })
	if got := len(w.archive.batches()); got != 2 {
		t.Errorf("%d batches, want 2", got)
	}
	b, err := attest.ParseBatch(w.archive.batches()[1].Raw())
	if err != nil || b.State() == nil || *b.State() != stateOf(t, u, p).Root {
		t.Errorf("the last batch has the state root %x, %v; want that of the checkpoint", b.State(), err)
	}
}

// TestSettlementAfterACrash: lost before the archive had the batch, or after; no slot is left out.
func TestSettlementAfterACrash(t *testing.T) {
	for _, stored := range []bool{false, true} {
		w := newWorld(t)
		c := w.chain(t, "p", 8)
		w.directory.put(c.Entries())
		down := errors.New("cut off")
		w.archive.fail = func(after bool) error {
			if after == stored {
				return down
			}
			return nil
		}
		u := w.run(t, w.settling)
		compute(t, u, c.Process(), 7)
		await(t, "the archive was asked twice", func() bool {
			w.archive.lock.Lock()
			defer w.archive.lock.Unlock()
			return w.archive.puts > 1
		})
		u.stop()
		w.archive.lock.Lock()
		w.archive.fail = nil
		w.archive.lock.Unlock()
		w.add(t, c, "one more")
		w.directory.put(c.Entries())
		u = w.run(t, w.settling)
		compute(t, u, c.Process(), 8)
		checkSettled(t, w, u, c.Process(), 9)
		u.stop()
		ids := map[ans104.ID]bool{}
		for _, it := range w.archive.batches() {
			ids[it.ID()] = true
		}
		if len(ids) > 4 {
			t.Errorf("the same claims were settled in %d batches", len(ids))
		}
	}
}

// TestFlushSettlesAtOnce: a unit that is about to stop hands its claims over, however long they would wait for company.
func TestFlushSettlesAtOnce(t *testing.T) {
	w := newWorld(t)
	process := w.serve(t, "p", 3)
	u := w.run(t, func(c *cu.Config) { c.Archive, c.BatchAge = w.archive, time.Hour })
	compute(t, u, process, 2)
	if s := u.Status(); s.Unsettled != 1 || s.Seconds <= 0 {
		t.Errorf("an hour before the batch is due the status is %+v", s)
	}
	u.Flush()
	u.Flush()
	checkSettled(t, w, u, process, 3)
	await(t, "nothing is left", func() bool { return u.Status().Unsettled == 0 })
	compute(t, u, w.serve(t, "q", 1), 0)
	await(t, "what comes later is settled too", func() bool { return u.Status().Unsettled == 0 })
}
