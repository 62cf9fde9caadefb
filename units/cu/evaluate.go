package cu

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/wasmvm"
)

// A chunk is committed once it holds this much or is this old: long replays share a synced write among many slots, and
// nobody waits for slots after the one asked for.
const (
	chunkBytes = 4 << 20
	chunkAge   = 250 * time.Millisecond
)

// checkpointWork is the most evaluation that a crash costs a second time, where slots are slow.
const checkpointWork = 10 * time.Second

// chunk is slots that are evaluated and become durable together. Once committed it is kept to be served from, until
// the next slot begins a new one.
type chunk struct {
	outcomes  []*outcome
	batch     store.Batch
	journaled []string
	bytes     int
	committed bool
}

func (c *chunk) find(slot ao.Slot) *outcome {
	for _, o := range c.outcomes {
		if o.claim.Nonce == slot {
			return o
		}
	}
	return nil
}

// evaluate takes the entries in order, committing as it goes, and serves whoever waits. After an error what was
// committed stays; what was not is gone with the state.
func (p *worker) evaluate(life context.Context, entries []ao.Entry) error {
	p.chunk, p.chunkFrom = chunk{}, p.unit.cfg.Now()
	for len(entries) > 0 {
		n, going, err := p.lap(life, entries)
		if err != nil || !going {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// lap evaluates as many of the entries as are committed together; going says whether more may follow.
func (p *worker) lap(life context.Context, entries []ao.Entry) (n int, going bool, err error) {
	began := p.unit.cfg.Now()
	n, fault := p.stretch(life, entries)
	p.spent += p.unit.cfg.Now().Sub(began)
	switch {
	case fault == errYielded:
		return n, false, nil
	case p.replay == nil: // it has lost its state, and the unit is ending
		return n, false, fault
	}
	p.tidy()
	defer p.tidied()
	if err := p.commit(); err != nil {
		p.tidied()
		p.cool()
		return n, false, err
	}
	if fault != nil {
		p.tidied()
		if p.replay.state == nil { // the machine failed, or the slot must not stand
			p.cool()
			return n, false, fault
		}
		return n, false, errors.Join(fault, p.serve(life))
	}
	if p.replay.cursor.Next >= p.saved+ao.Slot(p.unit.cfg.CheckpointEvery) || p.spent >= checkpointWork {
		p.tidied()
		p.unit.work(false, p.checkpoint)
	}
	if err := p.serve(life); err != nil || p.replay == nil {
		return n, false, err
	}
	p.tidied()
	p.serveRest(life)
	return n, p.replay != nil && life.Err() == nil, nil
}

// tidy begins what the state's last entry has left to do, and then ends the claim of the evaluation: the disk is waited for
// meanwhile. Nobody uses the state until tidied.
func (p *worker) tidy() {
	t, ok := p.replay.state.(wasmvm.Tidier)
	if !ok {
		p.measure()
		return
	}
	p.tidying = make(chan struct{})
	go func() {
		defer close(p.tidying)
		_ = t.Tidy() // what fails fails again, and is heard, with the next entry
		p.measure()
	}()
}

// tidied waits for the end of tidy, if it goes on.
func (p *worker) tidied() {
	if p.tidying != nil {
		<-p.tidying
		p.tidying = nil
	}
}

// stretch evaluates entries, holding one of the unit's places for work, until a commit is due.
func (p *worker) stretch(life context.Context, entries []ao.Entry) (n int, err error) {
	l, err := p.enterLane(life)
	if err != nil {
		return 0, err
	}
	defer l.leave()
	if err := p.claim(life); err != nil { // tidy ends it
		return 0, err
	}
	var slowest time.Duration
	defer func() {
		if n > 0 {
			p.notePace(n, slowest)
		}
	}()
	for n < len(entries) {
		if err := life.Err(); err != nil {
			return n, err
		}
		began := p.unit.cfg.Now()
		out, err := p.replay.step(life, entries[n])
		took := p.unit.cfg.Now().Sub(began)
		slowest = max(slowest, took)
		p.unit.tally(func(c *Counters) { c.Seconds += took.Seconds() })
		if err != nil {
			return n, err
		}
		if out.slot == entries[n].Assignment.Nonce() { // it may be one that the log leaves out
			n++
		}
		if err := p.keep(out); err != nil {
			p.seen.forget(out.slot)
			p.replay.close()
			return n, err
		}
		if p.chunk.bytes >= chunkBytes || p.unit.cfg.Now().Sub(p.chunkFrom) >= chunkAge || p.wanted(out.slot) {
			return n, nil
		}
	}
	return n, nil
}

// keep adds an evaluated slot to the chunk. A slot that was answered before must come out the same.
func (p *worker) keep(out evaluated) error {
	if p.chunk.committed {
		p.chunk = chunk{}
	}
	u := p.unit
	if out.slot < p.recorded {
		old, err := u.stored(p.id, out.slot)
		if err != nil {
			return err
		}
		if old != nil {
			u.tally(func(c *Counters) { c.Evaluated++ })
			return u.same(p.id, old, out)
		}
	}
	o := &outcome{result: out.result, claim: attest.Claim{
		Network: u.cfg.Network, Process: p.id, Nonce: out.slot, Message: out.message,
		Head: out.head, Result: out.digest, Profile: p.profile,
	}}
	key := journalKey(o.claim)
	durable, err := u.journal.stage(&p.chunk.batch, key, sha256.Sum256(o.claim.Bytes()))
	if err != nil {
		u.logContradiction(p.id, out.slot, err)
		return fmt.Errorf("claim for slot %d: %w", out.slot, err)
	}
	if !durable {
		p.chunk.journaled = append(p.chunk.journaled, key)
	}
	record, file := o.encode()
	if file != nil { // durable before the record that refers to it
		if err := u.cfg.Store.PutFile(resultName(p.id, out.slot), bytes.NewReader(file)); err != nil {
			return storeFault("write result", err)
		}
	}
	if out.result.Decision != ao.Skipped {
		if err := p.dropStaleTicks(); err != nil {
			return err
		}
	}
	p.chunk.batch.Put(answerKey(p.id, out.slot), record)
	p.chunk.outcomes = append(p.chunk.outcomes, o)
	p.chunk.bytes += len(record) + 256
	u.tally(func(c *Counters) {
		c.Evaluated++
		if out.result.Decision == ao.Duplicate {
			c.Duplicates++
		}
	})
	return nil
}

// same compares a slot with the answer that was given for it. Only the result counts: a unit whose engine, and so
// whose profile, has changed since stands by its claim as long as the result does.
func (u *Unit) same(process ao.ID, old *outcome, out evaluated) error {
	switch {
	case old.claim.Head != out.head:
		return &badSlot{slot: out.slot, err: fmt.Errorf("slot %d: %w", out.slot, errForked)}
	case old.claim.Result != out.digest:
		u.logContradiction(process, out.slot, attest.ErrContradiction)
		return fmt.Errorf("slot %d comes out as %x, not as %x: %w", out.slot, out.digest, old.claim.Result, attest.ErrContradiction)
	}
	return nil
}

// logContradiction is loud: it means a damaged disk, a machine that is not deterministic, or a stolen key.
func (u *Unit) logContradiction(process ao.ID, slot ao.Slot, err error) {
	if !errors.Is(err, attest.ErrContradiction) {
		return
	}
	u.tally(func(c *Counters) { c.Contradictions++ })
	u.cfg.Log.Error("CONTRADICTION: another result was claimed for this slot before; nothing is signed",
		"process", process, "slot", uint64(slot))
}

// commit makes the chunk durable: answers, journal, duplicates and the slot they end at, in one synced write.
func (p *worker) commit() error {
	c := &p.chunk
	if c.committed {
		return nil
	}
	defer p.unit.journal.settle(c.journaled...)
	p.seen.flush(&c.batch)
	next := p.recorded
	if n := len(c.outcomes); n > 0 {
		if next = max(next, c.outcomes[n-1].claim.Nonce+1); next > p.recorded {
			c.batch.Put(nextKey(p.id), slotBytes(next))
		}
	}
	if c.batch.Len() > 0 {
		if err := p.unit.cfg.Store.Commit(&c.batch); err != nil {
			return storeFault("commit answers", err)
		}
	}
	if next > p.recorded {
		p.unit.settler.mark(p.id)
	}
	c.batch, c.journaled, c.committed = store.Batch{}, nil, true
	p.recorded, p.chunkFrom = next, p.unit.cfg.Now()
	return nil
}

// open makes the process hot: from its newest sound checkpoint, else from before slot 0.
func (p *worker) open(ctx context.Context) error {
	u := p.unit
	process, err := u.cfg.Directory.Process(ctx, p.id)
	if err != nil {
		return fmt.Errorf("find process: %w", err)
	}
	if process.ID() != p.id {
		return fmt.Errorf("find process: the directory gave another one")
	}
	module, err := u.cfg.Directory.Module(ctx, process.Module())
	if err != nil {
		return fmt.Errorf("find module: %w", err)
	}
	if module.ID() != process.Module() {
		return fmt.Errorf("find module: the directory gave another one")
	}
	if err := u.prepare(ctx, module); err != nil {
		return fmt.Errorf("prepare module %s: %w", module.ID(), err)
	}
	g, err := genesisOf(ctx, u.cfg.Archive, process, module)
	if err != nil {
		return err
	}
	if p.recorded, err = readSlot(u.cfg.Store, nextKey(p.id)); err != nil {
		return err
	}
	if err := p.enter(ctx); err != nil {
		return err
	}
	p.profile, p.most = u.cfg.Machine.Profile(g), u.most(g)
	p.seen = &seenInStore{store: u.cfg.Store, process: p.id, fresh: make(map[seenKey]ao.Slot)}
	p.replay = newReplayer(u.cfg.Machine, u.cfg.Directory, g, p.seen)
	p.replay.told = u.cfg.Told
	p.replay.ticked = p.keepTick
	woken, err := p.wake(ctx)
	if err == nil && !woken {
		err = p.restore(ctx)
	}
	if err != nil {
		p.leave()
		return err
	}
	p.measure()
	return nil
}
