package su

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

const hopSchedule = "schedule"

// Schedule gives m the next slot of a process's log, or finds the slot that it holds (units.Scheduler).
//
// The order of the steps is the promise: one caller at a time per process; what is there already is answered first; the
// slot is signed in memory; the store takes it, synced, only if it is next; then, and only then, the signature leaves.
// A crash anywhere leaves either nothing or the durable slot, and signing it again would make the same bytes.
func (u *Unit) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	if m.IsTransaction() { // Assign sees to it that it is deep enough in the chain
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.WrongType, "a transaction is assigned, and not scheduled")
	}
	return u.schedule(ctx, process, m, nil)
}

// schedule is Schedule for a slot that excludes fields of the message.
func (u *Unit) schedule(ctx context.Context, process ao.ID, m ao.Message, exclude []string) (ao.Assignment, error) {
	switch {
	case m.IsZero():
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.Malformed, "there is no message")
	case len(m.Raw()) > u.cfg.MaxMessage:
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.TooLarge, "a message of %d bytes, at most %d", len(m.Raw()), u.cfg.MaxMessage)
	}
	leave, err := u.lines.enter(ctx, process)
	if err != nil {
		return ao.Assignment{}, err
	}
	defer leave()

	h, err := u.headFor(process, m)
	if err != nil {
		return ao.Assignment{}, err
	}
	keys := indexKeys(h, m)
	if first, err := u.firstOf(h, keys); err != nil || !first.IsZero() {
		return first, err
	}
	price := settledBytes(m) + assignmentBytes
	if err := u.purse.reserve(price); err != nil {
		return ao.Assignment{}, err
	}
	e, err := u.sign(h, m, exclude)
	if err == nil {
		var a ao.Assignment
		if a, err = u.commit(h, e, keys); err == nil {
			return a, nil
		}
	}
	u.purse.release(price)
	return ao.Assignment{}, err
}

// headFor is where the log ends, or the beginning of a new one if m is the process itself.
func (u *Unit) headFor(process ao.ID, m ao.Message) (head, error) {
	h, ok, err := u.loadHead(process)
	if err != nil {
		return head{}, u.trouble(hopSchedule, process, err)
	}
	if !ok {
		if !m.IsSpawn() || m.ID() != process {
			return head{}, ao.Refuse(hopSchedule, ao.UnknownProcess, "no log of %s here", process)
		}
		p, err := m.Process()
		if err != nil {
			return head{}, ao.Refuse(hopSchedule, ao.BadTags, "%v", err)
		}
		h = head{cursor: ao.NewCursor(process), process: p, known: new(known)}
	}
	if named := h.process.Scheduler(); named != u.address {
		return head{}, ao.Refuse(hopSchedule, ao.WrongScheduler, "%s names %.64s, this is %s", process, named, u.address)
	}
	return h, nil
}

// indexKeys are the keys under which a message's slot is found again: its ID, and for a pushed one the digest that all
// trusted copies of it share (§5.2.2). A process is pushed into its own log by nobody, so slot 0 has no digest.
func indexKeys(h head, m ao.Message) []string {
	keys := []string{messageKey(h.cursor.Process, m.ID())}
	if m.HasCopies() && m.ID() != h.cursor.Process {
		keys = append(keys, digestKey(h.cursor.Process, ao.PushDigest(m, h.process.Trusts(m.Owner()))))
	}
	return keys
}

// firstOf is the assignment that any of the keys leads to, or the zero one.
func (u *Unit) firstOf(h head, keys []string) (ao.Assignment, error) {
	process := h.cursor.Process
	for _, k := range keys {
		if !h.known.has(k) {
			continue
		}
		slot, err := u.slotAt(k)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return ao.Assignment{}, u.trouble(hopSchedule, process, err)
		}
		e, err := u.entry(place{process, slot})
		if err != nil {
			return ao.Assignment{}, u.trouble(hopSchedule, process, err)
		}
		return e.Assignment, nil
	}
	return ao.Assignment{}, nil
}

// sign makes the entry of the next slot. It is not durable yet, so it must not leave this package.
func (u *Unit) sign(h head, m ao.Message, exclude []string) (ao.Entry, error) {
	height, known, _ := u.height.get()
	switch {
	case !known:
		return ao.Entry{}, ao.Refuse(hopSchedule, ao.ArchiveDown, "no block height is known yet")
	case !u.proven.Load():
		return ao.Entry{}, ao.Refuse(hopSchedule, ao.ArchiveDown, "the archive has not yet said what this unit has signed before")
	}
	c := h.cursor
	a, err := ao.SignAssignment(u.cfg.Signer, ao.AssignmentFields{
		Process:     c.Process,
		Nonce:       c.Next,
		HashChain:   c.Link,
		BlockHeight: max(c.Height, height),
		Timestamp:   max(c.Timestamp+1, u.cfg.Now().UnixMilli()),
		Message:     m.ID(),
		Exclude:     exclude,
	})
	if err != nil {
		u.cfg.Log.Error("sign assignment", "process", c.Process, "slot", c.Next, "err", err)
		return ao.Entry{}, ao.Refuse(hopSchedule, ao.Internal, "the assignment cannot be signed")
	}
	return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil
}

// commit makes the slot durable and known. Everything that belongs to it is one batch; that it is to be settled need not be
// written, because it stands in the log behind the mark.
func (u *Unit) commit(h head, e ao.Entry, keys []string) (ao.Assignment, error) {
	at := place{h.cursor.Process, h.cursor.Next}
	if err := h.cursor.Step(e); err != nil {
		panic(fmt.Sprintf("su: about to break the log of %s: %v", at.process, err)) // a slashable fault of our own
	}
	var b store.Batch
	head, assignment, message := recordParts(e)
	b.Append(logName(at.process), uint64(at.slot), head, assignment, message)
	slot := encodeSlot(at.slot)
	for _, k := range keys {
		b.Put(k, slot)
	}
	if u.backlog.short(at.process) {
		b.Put(messageKey(at.process, e.Assignment.ID()), slot)
	}

	// Until the store says otherwise it is unknown where the log ends: after a failure it may have been written or not.
	u.heads.forget(at.process)
	defer u.wake(at.process)
	switch err := u.write(&b); {
	case errors.Is(err, store.ErrFull):
		u.cfg.Log.Error("store", "hop", hopSchedule, "process", at.process, "err", err)
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.StoreTrouble, "the disk is full")
	case errors.Is(err, store.ErrNotNext):
		// Nothing was written and the signature stays here; but somebody writes past us.
		panic(fmt.Sprintf("su: slot %d of %s was taken while its line was ours", at.slot, at.process))
	case err != nil:
		u.backlog.doubt(at.process)
		return ao.Assignment{}, u.trouble(hopSchedule, at.process, err)
	}
	for _, k := range keys {
		h.known.add(k)
	}
	u.heads.put(at.process, h, h.cost())
	u.entries.put(at, e, entryCost(e))
	u.backlog.add(at, unsettled{e.Assignment.ID(), entryBytes(e)})
	u.scheduled.Add(1)
	if at.slot == 0 {
		u.processes.Add(1)
	}
	u.cfg.Log.Debug("schedule", "process", at.process, "slot", at.slot, "message", e.Message.ID())
	return e.Assignment, nil
}

// wake tells followers and the settling worker that there may be more to read. They look for themselves.
func (u *Unit) wake(process ao.ID) {
	u.bells.ring(process)
	select {
	case u.unsettled <- struct{}{}:
	default: // a token is waiting
	}
}
