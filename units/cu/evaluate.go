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
		began := p.unit.cfg.Now()
		n, fault := p.stretch(life, entries)
		p.spent += p.unit.cfg.Now().Sub(began)
		entries = entries[n:]
		if err := p.commit(); err != nil {
			p.cool(false)
			return err
		}
		if fault != nil {
			if p.replay.state == nil { // the machine failed, or the slot must not stand
				p.cool(false)
				return fault
			}
			return errors.Join(fault, p.serve(life))
		}
		if p.replay.cursor.Next >= p.saved+ao.Slot(p.unit.cfg.CheckpointEvery) || p.spent >= checkpointWork {
			p.checkpoint()
		}
		if err := p.serve(life); err != nil || p.replay == nil {
			return err
		}
		p.serveRest(life)
		if p.replay == nil || life.Err() != nil {
			return nil
		}
	}
	return nil
}

// stretch evaluates entries, holding one of the unit's places for work, until a commit is due.
func (p *worker) stretch(life context.Context, entries []ao.Entry) (n int, err error) {
	if err := p.unit.enterWork(life); err != nil {
		return 0, err
	}
	defer p.unit.leaveWork()
	for _, e := range entries {
		if err := life.Err(); err != nil {
			return n, err
		}
		out, err := p.replay.step(life, e)
		if err != nil {
			return n, err
		}
		n++
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

func (u *Unit) enterWork(ctx context.Context) error {
	select {
	case u.workers <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a place to work: %w", ctx.Err())
	}
}

func (u *Unit) leaveWork() { <-u.workers }

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
			return p.same(old, out)
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
func (p *worker) same(old *outcome, out evaluated) error {
	switch {
	case old.claim.Head != out.head:
		return &badSlot{slot: out.slot, err: fmt.Errorf("slot %d: %w", out.slot, errForked)}
	case old.claim.Result != out.digest:
		p.unit.logContradiction(p.id, out.slot, attest.ErrContradiction)
		return fmt.Errorf("slot %d comes out as %x, not as %x: %w", out.slot, out.digest, old.claim.Result, attest.ErrContradiction)
	}
	p.unit.tally(func(c *Counters) { c.Evaluated++ })
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
	if err := u.cfg.Machine.Prepare(ctx, module); err != nil {
		return fmt.Errorf("prepare module %s: %w", module.ID(), err)
	}
	if p.recorded, err = readSlot(u.cfg.Store, nextKey(p.id)); err != nil {
		return err
	}
	if err := u.reserve(ctx); err != nil {
		return err
	}
	g := wasmvm.Genesis{Process: process, Module: module}
	p.profile = u.cfg.Machine.Profile(g)
	p.seen = &seenInStore{store: u.cfg.Store, process: p.id, fresh: make(map[seenKey]ao.Slot)}
	p.replay = newReplayer(u.cfg.Machine, u.cfg.Directory, g, p.seen)
	if err := p.restore(ctx); err != nil {
		p.cool(false)
		return err
	}
	return nil
}

// reserve takes a place for a state in memory, from the least recently used idle process if there is no free one.
func (u *Unit) reserve(ctx context.Context) error {
	for {
		u.lock.Lock()
		if u.hot < u.cfg.MaxHot {
			u.hot++
			u.lock.Unlock()
			return nil
		}
		front := u.idle.Front()
		if front == nil {
			room := u.room
			u.lock.Unlock()
			select {
			case <-room:
				continue
			case <-ctx.Done():
				return fmt.Errorf("wait for a place in memory: %w", ctx.Err())
			}
		}
		victim := u.idle.Remove(front).(*worker)
		victim.place, victim.busy = nil, true
		u.count.Evictions++
		u.lock.Unlock()
		victim.cool(true)
		u.lock.Lock()
		if len(victim.tasks) > 0 {
			u.start(victim)
		} else {
			u.park(victim)
		}
		u.lock.Unlock()
	}
}

// cool takes the process out of memory, after a checkpoint if save is set and there is something new to save.
func (p *worker) cool(save bool) {
	if p.replay == nil {
		return
	}
	if save && p.replay.state != nil && p.replay.cursor.Next > p.saved {
		p.checkpoint()
	}
	p.replay.close()
	p.replay, p.seen, p.at, p.chunk, p.log = nil, nil, nil, chunk{}, nil
	p.saved, p.spent = 0, 0
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	u.hot--
	u.makeRoom()
}

// rewind goes back to before the slot: the state is given up and the checkpoints after the slot are removed.
func (p *worker) rewind(slot ao.Slot) error {
	p.cool(false)
	if err := p.unit.shelf.drop(p.id, slot); err != nil {
		return storeFault("remove checkpoints", err)
	}
	return nil
}
