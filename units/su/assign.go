package su

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// maxFetching is how many messages to assign are fetched at once: anybody may name one.
const maxFetching = 16

// Assign gives a message that exists already, an item or a transaction of Arweave, the next slot of a process's log, or finds
// the slot that it holds (units.Scheduler).
func (u *Unit) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	if err := how.Check(); err != nil {
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.BadTags, "%v", err)
	}
	switch n, err := u.cfg.Store.Len(logName(process)); {
	case err != nil:
		return ao.Assignment{}, u.trouble(hopSchedule, process, err)
	case n == 0:
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.UnknownProcess, "no log of %s here", process)
	}
	switch a, err := u.holder(process, message); {
	case err != nil:
		return ao.Assignment{}, err
	case !a.IsZero():
		return a, nil
	}
	m, err := u.existing(ctx, process, message, how.BaseLayer)
	if err != nil {
		return ao.Assignment{}, err
	}
	if len(how.Exclude) > 0 && m.IsFor(process) {
		// Whoever came first could take from a message to this process what its sender wrote.
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.BadTags, "nothing of a message is excluded from the log of its own target")
	}
	return u.schedule(ctx, process, m, how.Exclude)
}

// holder is the assignment of a message that holds a slot already, or the zero one, so that it need not be fetched.
func (u *Unit) holder(process, message ao.ID) (ao.Assignment, error) {
	slot, err := u.slotAt(messageKey(process, message))
	if errors.Is(err, store.ErrNotFound) {
		return ao.Assignment{}, nil
	}
	if err != nil {
		return ao.Assignment{}, u.trouble(hopSchedule, process, err)
	}
	e, err := u.entry(place{process, slot})
	if err != nil {
		return ao.Assignment{}, u.trouble(hopSchedule, process, err)
	}
	if e.Message.ID() != message { // named by its assignment, which is no message
		return ao.Assignment{}, nil
	}
	return e.Assignment, nil
}

// existing is the message to assign: the one that came along, or the archive's.
func (u *Unit) existing(ctx context.Context, process, id ao.ID, baseLayer bool) (ao.Message, error) {
	if m, ok := units.HandedMessage(ctx, id); ok && !baseLayer && !m.IsTransaction() {
		return m, nil
	}
	select {
	case u.fetching <- struct{}{}:
		defer func() { <-u.fetching }()
	case <-ctx.Done():
		return ao.Message{}, ao.Refuse(hopSchedule, ao.Deadline, "the caller went away before its turn")
	}
	if baseLayer {
		return u.transaction(ctx, process, id)
	}
	it, err := u.cfg.Archive.Get(ctx, id)
	if err != nil {
		return ao.Message{}, u.unfetched(ctx, id, err)
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		return ao.Message{}, ao.Refuse(hopSchedule, ao.WrongType, "message %s to assign: %v", id, err)
	}
	return m, nil
}

// transaction is a transaction of Arweave, if it is as deep in the chain as the process asks: one that the chain could still
// lose would leave a slot that nobody can read.
func (u *Unit) transaction(ctx context.Context, process, id ao.ID) (ao.Message, error) {
	first, err := u.entry(place{process, 0})
	if err != nil {
		return ao.Message{}, u.trouble(hopSchedule, process, err)
	}
	p, err := first.Message.Process()
	if err != nil {
		return ao.Message{}, u.trouble(hopSchedule, process, err)
	}
	c, err := u.cfg.Archive.Confirm(ctx, id)
	if err != nil {
		return ao.Message{}, u.unfetched(ctx, id, err)
	}
	if depth := p.SettlementDepth(); c.Depth < depth {
		return ao.Message{}, ao.Refuse(hopSchedule, ao.Unconfirmed, "Not enough confirmations to assign: %d, and the process asks for %d", c.Depth, depth)
	}
	tx, err := u.cfg.Archive.Tx(ctx, id)
	if err != nil {
		return ao.Message{}, u.unfetched(ctx, id, err)
	}
	m, err := ao.NewTransaction(tx)
	switch {
	case errors.Is(err, ao.ErrTooLarge):
		return ao.Message{}, ao.Refuse(hopSchedule, ao.TooLarge, "transaction %s to assign: %v", id, err)
	case err == nil && m.ID() != id:
		err = ao.ErrMismatch
	}
	if err != nil {
		return ao.Message{}, ao.Refuse(hopSchedule, ao.Corrupt, "transaction %s to assign: %v", id, err)
	}
	return m, nil
}

// unfetched is why the archive does not give a message to assign.
func (u *Unit) unfetched(ctx context.Context, id ao.ID, err error) error {
	switch {
	case errors.Is(err, l1.ErrFormat):
		return ao.Refuse(hopSchedule, ao.Unsupported, "%v", err)
	case errors.Is(err, arweave.ErrNotFound):
		return ao.Refuse(hopSchedule, ao.UnknownMessage, "message %s to assign", id)
	case errors.Is(err, arweave.ErrTooLarge):
		return ao.Refuse(hopSchedule, ao.TooLarge, "%v", err)
	case ctx.Err() != nil:
		return ao.Refuse(hopSchedule, ao.Deadline, "the caller went away")
	}
	u.cfg.Log.Warn("fetch message to assign", "message", id, "err", err)
	return ao.Refuse(hopSchedule, ao.ArchiveDown, "message %s to assign cannot be fetched", id)
}
