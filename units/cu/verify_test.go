package cu_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// settledWorld is a world whose unit has computed and settled a log of 12 slots.
func settledWorld(t testing.TB) (w *world, process ao.ID, root attest.Hash) {
	t.Helper()
	w = newWorld(t)
	c := w.chain(t, "p", 11)
	c.Add(t, c.Entries()[4].Message) // a duplicate is a slot too
	w.directory.put(c.Entries())
	u := w.run(t, w.settling)
	root = stateOf(t, u, c.Process()).Root
	await(t, "all claims are settled", func() bool { return len(settled(t, w, c.Process())) == 12 })
	u.stop()
	return w, c.Process(), root
}

func (w *world) verification(process ao.ID) cu.VerifyConfig {
	return cu.VerifyConfig{
		Log: w.directory, Directory: w.directory, Archive: w.archive, Machine: w.machine, Network: network, Process: process,
	}
}

func verify(t testing.TB, cfg cu.VerifyConfig) cu.Report {
	t.Helper()
	r, err := cu.Verify(unitstest.Context(t), cfg)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return r
}

func wantBad(t testing.TB, r cu.Report, slot ao.Slot) {
	t.Helper()
	if r.OK || r.FirstBad == nil || *r.FirstBad != slot || r.Slots != uint64(slot) {
		t.Errorf("report %+v, want slot %d bad and those before it replayed", r, slot)
		return
	}
	if !strings.Contains(r.Reason, fmt.Sprintf("slot %d", slot)) {
		t.Errorf("the reason %q does not name slot %d", r.Reason, slot)
	}
}

func TestVerify(t *testing.T) {
	w, p, root := settledWorld(t)
	cfg := w.verification(p)
	var done, total ao.Slot
	cfg.Progress = func(d, n ao.Slot) { done, total = d, n }
	r := verify(t, cfg)
	if !r.OK || r.Slots != 12 || r.Claimed != 12 || len(r.Disputed) != 0 || r.Malformed != 0 || r.Reason != "" || r.FirstBad != nil {
		t.Errorf("report %+v, want 12 sound slots, all claimed", r)
	}
	if r.StateDigest != hex.EncodeToString(root[:]) {
		t.Errorf("state digest %s, the unit has %x", r.StateDigest, root)
	}
	if done != 12 || total != 12 {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	var keys map[string]any
	raw, err := json.Marshal(r)
	if err != nil || json.Unmarshal(raw, &keys) != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"process", "slots", "stateDigest", "claimed", "disputed", "ok"} {
		if keys[k] == nil {
			t.Errorf("the report has no %s: %s", k, raw)
		}
	}
	if n := w.machine.open.Load(); n != 0 {
		t.Errorf("%d states are left open", n)
	}
}

func TestVerifyNamesTheBadSlot(t *testing.T) {
	for name, log := range badLogs(t, newWorld(t)) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.directory.put(log)
			wantBad(t, verify(t, w.verification(log[0].Message.ID())), badSlot)
		})
	}
	for name, fault := range map[string]error{
		"not intact": fmt.Errorf("get: %w", arweave.ErrCorrupt),
		"listed":     ao.Refuse("log", ao.Corrupt, "listed and not served"),
		"signature":  ao.Refuse("log", ao.BadSignature, "does not fit"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.serve(t, "p", 9)
			w.directory.faults[badSlot] = fault
			wantBad(t, verify(t, w.verification(p)), badSlot)
		})
	}
	t.Run("cut short", func(t *testing.T) {
		w := newWorld(t)
		p := w.serve(t, "p", badSlot)
		w.directory.listed = 9
		wantBad(t, verify(t, w.verification(p)), badSlot)
	})
}

// listing is a log whose length cannot be told.
type listing struct {
	*directory
	fault error
}

func (l listing) Next(context.Context, ao.ID) (ao.Slot, error) { return 0, l.fault }

func TestVerifyListings(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", badSlot)
	cfg := w.verification(p)
	cfg.Log = listing{directory: w.directory, fault: ao.Refuse("log", ao.BadLog, "slot 6: gap")}
	wantBad(t, verify(t, cfg), badSlot)

	cfg.Log = listing{directory: w.directory}
	wantBad(t, verify(t, cfg), 0)

	cfg = w.verification(unitstest.ID("no such process"))
	wantBad(t, verify(t, cfg), 0)

	cfg = w.verification(p)
	cfg.Log = listing{directory: w.directory, fault: ao.Refuse("log", ao.ArchiveDown, "nobody")}
	if _, err := cu.Verify(unitstest.Context(t), cfg); !errors.Is(err, &ao.Refusal{Code: ao.ArchiveDown}) {
		t.Errorf("error %v, want archive-unavailable: nothing was found out", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := cu.Verify(ctx, w.verification(p)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	if _, err := cu.Verify(ctx, cu.VerifyConfig{}); !errors.Is(err, cu.ErrConfig) {
		t.Errorf("error %v, want ErrConfig", err)
	}
}

// batchOf is a settled batch of another unit about the slots of the archive's first batch, changed as told.
func batchOf(t testing.TB, w *world, signer ans104.Signer, process ao.ID, change func(*attest.Claim)) attest.Batch {
	t.Helper()
	var cs []attest.Claim
	all := settled(t, w, process)
	for slot := range ao.Slot(12) {
		c := all[slot][0]
		change(&c)
		cs = append(cs, c)
	}
	b, err := attest.SignBatch(signer, cs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyDisputes(t *testing.T) {
	w, p, _ := settledWorld(t)
	liar := unitstest.Signer("liar")
	lie := func(c *attest.Claim) {
		if c.Nonce == 7 {
			c.Result[0]++
		}
	}
	elsewhere := func(change func(c *attest.Claim)) {
		t.Helper()
		w.archive.put(batchOf(t, w, unitstest.Signer("elsewhere"), p, func(c *attest.Claim) {
			c.Result[0]++
			change(c)
		}).Item())
	}
	honest := batchOf(t, w, unitstest.Signer("second"), p, func(*attest.Claim) {})
	w.archive.put(batchOf(t, w, liar, p, lie).Item())
	w.archive.put(honest.Item())
	// None of these says anything about what is replayed here.
	elsewhere(func(c *attest.Claim) { c.Profile += "x" })
	elsewhere(func(c *attest.Claim) { c.Head[0]++ })
	elsewhere(func(c *attest.Claim) { c.Network = "other" })
	elsewhere(func(c *attest.Claim) { c.Nonce += 12 })
	forged, err := ans104.Sign(liar, ans104.Fields{Data: []byte("junk"), Tags: []ans104.Tag{
		{Name: "Type", Value: attest.TypeBatch}, {Name: "Process", Value: p.String()}, {Name: "Network", Value: network},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.archive.put(forged)
	lost := batchOf(t, w, unitstest.Signer("third"), p, lie).Item()
	w.archive.put(lost)
	w.archive.lost[lost.ID()] = arweave.ErrCorrupt

	r := verify(t, w.verification(p))
	if !r.OK || r.Claimed != 12 || r.Malformed != 2 || len(r.Disputed) != 1 {
		t.Fatalf("report %+v, want ok with one dispute and two malformed batches", r)
	}
	d := r.Disputed[0]
	if d.Unit != unitstest.Address(liar) || d.Slot != 7 || d.Ours == d.Theirs || len(d.Theirs) != 64 {
		t.Errorf("dispute %+v", d)
	}
	cfg := w.verification(p)
	cfg.Units = []string{unitstest.Address(liar)}
	if r := verify(t, cfg); r.OK || r.FirstBad == nil || *r.FirstBad != 7 {
		t.Errorf("report %+v, want not ok at slot 7: the unit is the one that was asked about", r)
	}
	cfg.Units = []string{unitstest.Address(w.unit)}
	if r := verify(t, cfg); !r.OK {
		t.Errorf("report %+v, want ok: the unit's own claims agree", r)
	}
}

func TestVerifyStateRoot(t *testing.T) {
	w, p, _ := settledWorld(t)
	liar := unitstest.Signer("liar")
	b, err := attest.SignBatch(liar, batchOf(t, w, liar, p, func(*attest.Claim) {}).Claims(), &attest.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	w.archive.put(b.Item())
	r := verify(t, w.verification(p))
	if !r.OK || len(r.Disputed) != 1 || r.Disputed[0].Slot != 11 || r.Disputed[0].Ours != r.StateDigest {
		t.Errorf("report %+v, want a dispute about the state after slot 11", r)
	}
}

func TestVerifyPartlyClaimed(t *testing.T) {
	w, p, _ := settledWorld(t)
	w.archive.lock.Lock()
	w.archive.items = nil
	w.archive.lock.Unlock()
	if r := verify(t, w.verification(p)); !r.OK || r.Claimed != 0 || r.Slots != 12 {
		t.Errorf("report %+v, want ok and nothing claimed", r)
	}
}

func TestVerifyAnyNetwork(t *testing.T) {
	w, p, _ := settledWorld(t)
	w.archive.put(batchOf(t, w, unitstest.Signer("elsewhere"), p, func(c *attest.Claim) {
		c.Network = "other"
		c.Result[0]++
	}).Item())
	cfg := w.verification(p)
	if r := verify(t, cfg); r.Claimed != 12 || len(r.Disputed) != 0 {
		t.Errorf("report %+v, want the other network's claims left out", r)
	}
	cfg.Network = ""
	if r := verify(t, cfg); r.Claimed != 12 || len(r.Disputed) != 12 {
		t.Errorf("report %+v, want every network's claims compared", r)
	}
}

// TestVerifyReadsNotEveryStranger: whoever settles junk costs a verification so much and no more, and does not hide the
// claims of those that it asks about.
func TestVerifyReadsNotEveryStranger(t *testing.T) {
	w, p, _ := settledWorld(t)
	first := w.archive.items
	w.archive.items = nil
	stranger := unitstest.Signer("stranger")
	for i := range 1100 {
		it, err := ans104.Sign(stranger, ans104.Fields{Data: fmt.Append(nil, "junk ", i), Tags: []ans104.Tag{
			{Name: "Type", Value: attest.TypeBatch}, {Name: "Process", Value: p.String()}, {Name: "Network", Value: network},
		}})
		if err != nil {
			t.Fatal(err)
		}
		w.archive.put(it)
	}
	w.archive.items = append(w.archive.items, first...)
	cfg := w.verification(p)
	if r := verify(t, cfg); !r.OK || !r.Unread || r.Claimed != 0 || r.Malformed > 1048 {
		t.Errorf("nobody is asked about: unread %t, %d malformed, %d claimed", r.Unread, r.Malformed, r.Claimed)
	}
	cfg.Units = []string{unitstest.Address(w.unit)}
	if r := verify(t, cfg); !r.OK || !r.Unread || r.Claimed != 12 || r.Malformed > 1048 {
		t.Errorf("the unit is asked about: unread %t, %d malformed, %d claimed", r.Unread, r.Malformed, r.Claimed)
	}
}
