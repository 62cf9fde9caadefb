package cu

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/wasmvm"
)

// replayer takes one process through its log. It checks every entry before it evaluates it, so that a result exists
// only for a slot of a sound log. One goroutine uses it at a time.
type replayer struct {
	machine wasmvm.Machine
	told    bool // the log is told, and not signed
	hosts   hosts
	genesis wasmvm.Genesis
	cursor  ao.Cursor
	last    ao.AssignmentFields // of the last evaluated slot; meaningless before slot 0
	state   wasmvm.State        // nil before slot 0 and after a fault of the machine
	tree    *attest.PageTree    // of the state's memory as of the last root; nil until one is asked for
	seen    seen
	cron    ao.Cron // when the process ticks; none if its tags make no sense
	times   times
	ticked  func(units.CronResult) error // hears of every tick; nil for nobody
}

// hosts is the part of a directory that a replay asks at every slot.
type hosts interface {
	HostAt(ctx context.Context, process ao.ID, nonce ao.Slot) (units.SignaturePolicy, error)
}

// times are the moments of a log that its ticks depend on, in milliseconds: of its first slot, and the latest of all, for time
// runs backwards in logs of today's network. The height is the greatest as of then.
type times struct {
	origin, latest int64
	height         uint64
}

// evaluated is what a slot brought forth.
type evaluated struct {
	slot    ao.Slot
	message ao.ID
	head    attest.Hash
	result  ao.Result
	digest  attest.Hash
}

func newReplayer(m wasmvm.Machine, h hosts, g wasmvm.Genesis, s seen) *replayer {
	cron, _ := g.Process.Cron() // tags that make no sense imply nothing
	return &replayer{machine: m, hosts: h, genesis: g, cursor: ao.NewCursor(g.Process.ID()), seen: s, cron: cron}
}

// step checks the next entry and evaluates it. After an error either nothing has changed or the state is gone; after a
// *badSlot nothing has changed. Where the log leaves slots out before e, each of them takes a step of its own: the caller
// gives e again until its slot comes out.
func (r *replayer) step(ctx context.Context, e ao.Entry) (evaluated, error) {
	next, err := r.check(ctx, e)
	if err != nil {
		return evaluated{}, err
	}
	if e.Assignment.Nonce() > r.cursor.Next {
		return r.skip(), nil
	}
	slot := r.cursor.Next
	effects := r.effects(e)
	duplicate := e.Assignment.IsVoid()
	if duplicate { // the message that stands there in place of the one that took effect before is none
		effects = nil
	}
	fresh := effects[:0]
	for _, k := range effects {
		at, ok, err := r.seen.first(k)
		if err != nil {
			return evaluated{}, err
		}
		duplicate = duplicate || ok && at < slot
		if !ok || slot < at {
			fresh = append(fresh, k)
		}
	}
	out := evaluated{slot: slot, message: e.Message.ID(), head: next.Link}
	if err := r.tick(ctx, next); err != nil {
		return evaluated{}, fmt.Errorf("ticks before slot %d: %w", slot, err)
	}
	if duplicate {
		out.result = ao.Result{Decision: ao.Duplicate}
	} else {
		if out.result, err = r.apply(ctx, e); err != nil {
			return evaluated{}, fmt.Errorf("apply slot %d: %w", slot, err)
		}
		for _, k := range fresh {
			r.seen.note(k, slot)
		}
	}
	out.digest = attest.ResultDigest(out.result)
	r.cursor, r.last = next, e.Assignment.Fields()
	r.times.pass(slot, next)
	return out, nil
}

// pass takes in the slot before the cursor.
func (t *times) pass(slot ao.Slot, next ao.Cursor) {
	if slot == 0 {
		*t = times{origin: next.Timestamp, latest: next.Timestamp, height: next.Height}
	}
	if next.Timestamp > t.latest {
		t.latest, t.height = next.Timestamp, max(t.height, next.Height)
	}
}

// skip evaluates nothing: the state stays, and the head with it.
func (r *replayer) skip() evaluated {
	out := evaluated{slot: r.cursor.Next, head: r.cursor.Link, result: ao.Result{Decision: ao.Skipped}}
	out.digest = attest.ResultDigest(out.result)
	r.cursor.Skip()
	r.last.Nonce = out.slot // as a checkpoint has it
	return out
}

// gap is the time after the last slot.
func (r *replayer) gap() gap {
	return gap{
		cron: r.cron, origin: r.times.origin, slot: r.last.Nonce, height: r.last.BlockHeight, at: ao.AfterSlot(r.times.latest),
	}
}

// tick evaluates what the log implies before the slot that the cursor has passed. After an error, the end of ctx among them,
// the state is gone.
func (r *replayer) tick(ctx context.Context, next ao.Cursor) (err error) {
	if len(r.cron) == 0 || r.cursor.Next == 0 || r.state == nil {
		return nil
	}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	g := r.gap()
	g.blocks = ao.Heights{Origin: next.Begun, From: r.times.height, To: next.Height, At: next.Timestamp}
	for t, ok := g.next(next.Timestamp); ok; t, ok = g.next(next.Timestamp) {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, result, err := g.tick(context.WithoutCancel(ctx), r.machine, r.state, r.genesis.Process, t)
		if s != r.state {
			r.tree = nil // it follows that one state
		}
		if r.state = s; err != nil {
			return err
		}
		if r.ticked != nil {
			if err := r.ticked(result); err != nil {
				return err
			}
		}
	}
	return nil
}

// check returns the cursor behind e. Faults of the log are *badSlot.
func (r *replayer) check(ctx context.Context, e ao.Entry) (ao.Cursor, error) {
	slot := r.cursor.Next
	bad := func(err error) error { return &badSlot{slot: slot, err: err} }
	proof := ao.ProofAssignment
	if r.told {
		proof = ao.ProofTold
	}
	if e.Assignment.IsZero() || e.Proof != proof || e.Assignment.IsTold() != r.told {
		return ao.Cursor{}, bad(fmt.Errorf("slot %d: %w", slot, errProof))
	}
	next := r.cursor
	for next.Skips(e) {
		next.Skip()
	}
	if err := next.Step(e); err != nil {
		return ao.Cursor{}, bad(err)
	}
	// What is of another epoch may only be evaluated by those who know what that means.
	if e.Assignment.Epoch() != "0" {
		return ao.Cursor{}, bad(fmt.Errorf("slot %d: %w", slot, errMeaning))
	}
	if r.told {
		return next, nil
	}
	policy, err := r.hosts.HostAt(ctx, r.cursor.Process, slot)
	if err != nil {
		return ao.Cursor{}, fmt.Errorf("ask who signs slot %d: %w", slot, err)
	}
	if owner := e.Assignment.Owner(); !policy.Allows(owner) {
		return ao.Cursor{}, bad(fmt.Errorf("slot %d: %w: %s", slot, errSigner, owner))
	}
	return next, nil
}

// effects are the keys under which an entry takes effect at most once (§5.2.2): its message and, if it was pushed, the
// digest that all copies of it share.
func (r *replayer) effects(e ao.Entry) []seenKey {
	keys := []seenKey{{kind: seenMessage, hash: e.Message.ID()}}
	if e.Message.HasCopies() && r.cursor.Next > 0 {
		d := ao.EffectDigest(e.Message, r.genesis.Process.Trusts(e.Message.Owner()))
		keys = append(keys, seenKey{kind: seenPush, hash: d})
	}
	return keys
}

func (r *replayer) apply(ctx context.Context, e ao.Entry) (ao.Result, error) {
	if r.state == nil {
		if r.cursor.Next != 0 {
			return ao.Result{}, errors.New("no state")
		}
		var err error
		if r.state, err = r.machine.Begin(ctx, r.genesis, nil); err != nil {
			return ao.Result{}, err
		}
		if process := r.genesis.Process.Message(); e.Message.ID() != process.ID() { // an old log, which begins with a message
			boot := ao.Entry{Proof: ao.ProofBoot, Assignment: e.Assignment, Message: process}
			if _, err := r.evaluate(ctx, boot); err != nil {
				return ao.Result{}, err
			}
		}
	}
	return r.evaluate(ctx, e)
}

// evaluate applies an entry to the state that there is.
func (r *replayer) evaluate(ctx context.Context, e ao.Entry) (ao.Result, error) {
	// A slot begun is finished: what bounds it is fuel, and a machine that is stopped gives its state up.
	s, result, err := r.machine.Apply(context.WithoutCancel(ctx), r.state, e)
	if s != r.state || err != nil {
		r.tree = nil // it follows that one state
	}
	r.state = s
	if err != nil {
		r.state = nil // the machine closed it
		return ao.Result{}, err
	}
	return result, nil
}

// root is the root of the state as it stands, and the bytes of its memory. A state that tells what has changed costs the
// hashes of that alone, from the second root on.
func (r *replayer) root() (attest.Hash, uint64, error) {
	tracker, ok := r.state.(wasmvm.Tracker)
	if !ok {
		img, err := r.state.Image()
		if err != nil {
			return attest.Hash{}, 0, fmt.Errorf("take image: %w", err)
		}
		return attest.StateRoot(img), img.Len(), nil
	}
	first := r.tree == nil
	if first {
		r.tree = new(attest.PageTree)
	}
	c := tracker.Changes(first)
	return r.tree.Update(c), c.Len(), nil
}

func (r *replayer) close() {
	if r.state != nil {
		r.state.Close()
		r.state, r.tree = nil, nil
	}
}
