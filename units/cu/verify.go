package cu

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/wasmvm"
)

// VerifyConfig is what a verification needs; all but Network, Units and Progress must be set.
type VerifyConfig struct {
	Log       units.Log       // the settled log, as Arweave alone holds it
	Directory units.Directory // the process, its module and who may sign, from Arweave too
	Archive   arweave.Archive // where settled claims are found
	Machine   wasmvm.Machine
	Network   string // whose claims count; empty for any network's, when only the archive is known
	Process   ao.ID
	Units     []string                  // addresses whose disagreement makes the report not ok
	Progress  func(done, total ao.Slot) // called after every page
}

// Report is what a verification found.
type Report struct {
	Process     string    `json:"process"`
	Slots       uint64    `json:"slots"`       // replayed, all sound
	StateDigest string    `json:"stateDigest"` // hex of the state root after them
	Claimed     uint64    `json:"claimed"`     // slots with at least one settled claim that agrees
	Disputed    []Dispute `json:"disputed"`
	Malformed   uint64    `json:"malformed"` // items that call themselves batches of claims and are none
	Unread      bool      `json:"unread"`    // strangers settled more batches than are read
	OK          bool      `json:"ok"`        // the log is sound, and the claims of Units agree
	Reason      string    `json:"reason,omitempty"`
	FirstBad    *ao.Slot  `json:"firstBad,omitempty"`
}

// Dispute is a settled claim that names another result than the replay, both as hex.
type Dispute struct {
	Unit   string  `json:"unit"`
	Slot   ao.Slot `json:"slot"`
	Ours   string  `json:"ours"`
	Theirs string  `json:"theirs"`
}

// maxDisputes bounds the list in a report; anybody can settle claims.
const maxDisputes = 1000

// maxStrangers is how many batches that are not of Units are fetched, beside some for each slot; anybody can settle them.
const (
	maxStrangers     = 1000
	strangersPerSlot = 4
)

// verifyPage is how many entries are read at once.
const verifyPage = 64

// verifier is one verification under way.
type verifier struct {
	cfg     VerifyConfig
	report  Report
	replay  *replayer
	profile string
	slots   []evaluatedSlot
	claimed []bool
	checked map[ans104.ID]bool
	budget  int // of batches by strangers
}

type evaluatedSlot struct{ head, digest attest.Hash }

// Verify replays the settled log of a process from nothing and compares it with every settled claim: the paper's
// holographic state (§4.4.3). A log that is not sound is a Report that is not OK; an error means that nothing was found
// out, because a gateway, the machine or the caller's patience failed.
func Verify(ctx context.Context, cfg VerifyConfig) (Report, error) {
	if cfg.Log == nil || cfg.Directory == nil || cfg.Archive == nil || cfg.Machine == nil {
		return Report{}, fmt.Errorf("%w: verify", ErrConfig)
	}
	v := &verifier{cfg: cfg, report: Report{Process: cfg.Process.String(), OK: true, Disputed: []Dispute{}}}
	if err := v.run(ctx); err != nil {
		return v.report, err
	}
	return v.report, nil
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.begin(ctx); err != nil {
		return v.judge(0, err)
	}
	defer v.replay.close()
	if err := v.replayLog(ctx); err != nil {
		if err := v.judge(v.replay.cursor.Next, err); err != nil {
			return err
		}
	}
	v.report.Slots = uint64(len(v.slots))
	var root *attest.Hash
	if v.replay.state != nil {
		now, _, err := v.replay.root()
		if err != nil {
			return err
		}
		root = &now
		v.report.StateDigest = hex.EncodeToString(now[:])
	}
	return v.compare(ctx, root)
}

// judge takes a fault of the log into the report and hands any other error on.
func (v *verifier) judge(slot ao.Slot, err error) error {
	if b, ok := errors.AsType[*badSlot](err); ok {
		slot = b.slot
	} else if !isLogFault(err) {
		return err
	}
	v.report.OK, v.report.Reason, v.report.FirstBad = false, err.Error(), &slot
	return nil
}

// isLogFault says whether reading failed because of what is, or is not, on Arweave.
func isLogFault(err error) bool {
	for _, fault := range []error{
		arweave.ErrCorrupt, arweave.ErrNotFound, ao.ErrNotAO, ao.ErrType, ao.ErrTags, ao.ErrTarget, ao.ErrTooLarge,
		ans104.ErrSignature, l1.ErrTx,
	} {
		if errors.Is(err, fault) {
			return true
		}
	}
	r, ok := errors.AsType[*ao.Refusal](err)
	if !ok {
		return false
	}
	switch r.Code {
	case ao.Corrupt, ao.BadLog, ao.BadSignature, ao.Malformed, ao.NotAO, ao.WrongType, ao.BadTags, ao.NoTarget, ao.TooLarge,
		ao.UnknownProcess, ao.UnknownMessage, ao.UnknownModule, ao.NotYet:
		return true
	}
	return false
}

func (v *verifier) begin(ctx context.Context) error {
	process, err := v.cfg.Directory.Process(ctx, v.cfg.Process)
	if err != nil {
		return fmt.Errorf("slot 0: find process: %w", err)
	}
	if process.ID() != v.cfg.Process {
		return fmt.Errorf("slot 0: find process: the directory gave another one")
	}
	module, err := v.cfg.Directory.Module(ctx, process.Module())
	if err != nil {
		return fmt.Errorf("slot 0: find module %s: %w", process.Module(), err)
	}
	if module.ID() != process.Module() {
		return fmt.Errorf("slot 0: find module: the directory gave another one")
	}
	if err := v.cfg.Machine.Prepare(ctx, module); err != nil {
		return refusal(fmt.Errorf("prepare module %s: %w", module.ID(), err))
	}
	g, err := genesisOf(ctx, v.cfg.Archive, process, module)
	if err != nil {
		return fmt.Errorf("slot 0: %w", err)
	}
	v.profile = v.cfg.Machine.Profile(g)
	v.replay = newReplayer(v.cfg.Machine, v.cfg.Directory, g, seenInMemory{})
	return nil
}

// replayLog evaluates all that the archive lists. Errors: *badSlot, what reading and the machine fail with.
func (v *verifier) replayLog(ctx context.Context) error {
	total, fault := v.cfg.Log.Next(ctx, v.cfg.Process)
	if fault != nil {
		if fault = fmt.Errorf("measure log: %w", fault); !isLogFault(fault) {
			return fault
		}
		total = ^ao.Slot(0) // there is a hole somewhere: what stands before it is replayed all the same
	} else if total == 0 {
		return &badSlot{err: fmt.Errorf("slot 0: the archive holds no slot of this process")}
	}
	for v.replay.cursor.Next < total {
		entries, err := v.read(ctx, total)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			if fault == nil {
				fault = fmt.Errorf("slot %d: %w: %d slots are listed", v.replay.cursor.Next, ao.ErrGap, total)
			}
			return &badSlot{slot: v.replay.cursor.Next, err: fault}
		}
		for _, e := range entries {
			if err := v.step(ctx, e); err != nil {
				return err
			}
		}
		if v.cfg.Progress != nil && fault == nil {
			v.cfg.Progress(v.replay.cursor.Next, total)
		}
	}
	return nil
}

func (v *verifier) step(ctx context.Context, e ao.Entry) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for {
		out, err := v.replay.step(ctx, e)
		if err != nil {
			return err
		}
		v.slots = append(v.slots, evaluatedSlot{head: out.head, digest: out.digest})
		if out.slot == e.Assignment.Nonce() {
			return nil
		}
	}
}

// read is the next page. A page that cannot be read is read entry by entry, so that the bad one is named.
func (v *verifier) read(ctx context.Context, total ao.Slot) ([]ao.Entry, error) {
	from := v.replay.cursor.Next
	limit := int(min(uint64(total-from), verifyPage))
	entries, err := v.cfg.Log.Range(ctx, v.cfg.Process, from, limit)
	if err != nil && limit > 1 && isLogFault(err) {
		entries, err = v.cfg.Log.Range(ctx, v.cfg.Process, from, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("slot %d: read log: %w", from, err)
	}
	return entries[:min(len(entries), limit)], nil
}

// compare holds the settled batches of claims against the replay: those of Units first, then those of strangers, as many
// as are bearable.
func (v *verifier) compare(ctx context.Context, root *attest.Hash) error {
	v.claimed, v.checked = make([]bool, len(v.slots)), make(map[ans104.ID]bool)
	v.budget = maxStrangers + strangersPerSlot*len(v.slots)
	if len(v.cfg.Units) > 0 {
		if err := v.compareOf(ctx, v.cfg.Units, root); err != nil {
			return err
		}
	}
	if err := v.compareOf(ctx, nil, root); err != nil {
		return err
	}
	for _, yes := range v.claimed {
		if yes {
			v.report.Claimed++
		}
	}
	return nil
}

// compareOf reads the batches that the index lists for owners, or for anybody.
func (v *verifier) compareOf(ctx context.Context, owners []string, root *attest.Hash) error {
	q := arweave.Query{Owners: owners, Tags: []arweave.TagFilter{
		{Name: "Type", Values: []string{attest.TypeBatch}},
		{Name: "Process", Values: []string{v.cfg.Process.String()}},
	}, Ascending: true}
	if v.cfg.Network != "" {
		q.Tags = append(q.Tags, arweave.TagFilter{Name: "Network", Values: []string{v.cfg.Network}})
	}
	for {
		page, err := v.cfg.Archive.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("find settled claims: %w", err)
		}
		for _, f := range page.Found {
			if v.checked[f.ID] {
				continue
			}
			if v.budget <= 0 {
				v.report.Unread = true
				return nil
			}
			v.checked[f.ID] = true
			if err := v.compareBatch(ctx, f.ID, root); err != nil {
				return err
			}
		}
		if !page.HasNext || len(page.Found) == 0 || page.Found[len(page.Found)-1].Cursor == q.After {
			return nil
		}
		q.After = page.Found[len(page.Found)-1].Cursor
	}
}

func (v *verifier) compareBatch(ctx context.Context, id ans104.ID, root *attest.Hash) error {
	v.budget-- // given back to a batch of Units
	item, err := v.cfg.Archive.Get(ctx, id)
	if errors.Is(err, arweave.ErrCorrupt) || errors.Is(err, arweave.ErrNotFound) {
		v.report.Malformed++
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetch settled claims: %w", err)
	}
	batch, err := attest.NewBatch(item)
	if err != nil {
		v.report.Malformed++
		return nil
	}
	if slices.Contains(v.cfg.Units, batch.Unit()) {
		v.budget++
	}
	claims := batch.Claims()
	if (v.cfg.Network != "" && claims[0].Network != v.cfg.Network) || claims[0].Process != v.cfg.Process {
		return nil
	}
	for _, c := range claims {
		if !v.comparable(c) {
			continue
		}
		ours := v.slots[c.Nonce].digest
		if c.Result == ours {
			v.claimed[c.Nonce] = true
		} else {
			v.dispute(batch.Unit(), c.Nonce, ours, c.Result)
		}
	}
	last := claims[len(claims)-1]
	if s := batch.State(); s != nil && root != nil && v.comparable(last) && int(last.Nonce) == len(v.slots)-1 && *s != *root {
		v.dispute(batch.Unit(), last.Nonce, *root, *s)
	}
	return nil
}

// comparable holds for claims about the same log under the same profile.
func (v *verifier) comparable(c attest.Claim) bool {
	return uint64(c.Nonce) < uint64(len(v.slots)) && c.Head == v.slots[c.Nonce].head && c.Profile == v.profile
}

func (v *verifier) dispute(unit string, slot ao.Slot, ours, theirs attest.Hash) {
	if slices.Contains(v.cfg.Units, unit) && v.report.OK {
		v.report.OK = false
		v.report.Reason = fmt.Sprintf("unit %s claims another result for slot %d", unit, slot)
		v.report.FirstBad = &slot
	}
	if len(v.report.Disputed) < maxDisputes || slices.Contains(v.cfg.Units, unit) {
		v.report.Disputed = append(v.report.Disputed, Dispute{
			Unit: unit, Slot: slot, Ours: hex.EncodeToString(ours[:]), Theirs: hex.EncodeToString(theirs[:]),
		})
	}
}
