package su

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// maxFetching is how many messages to assign are fetched at once: anybody may name one.
const maxFetching = 16

// Assign gives a message that exists already the next slot of a process's log, or finds the slot that it holds
// (units.Scheduler).
func (u *Unit) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	switch err := how.Check(); {
	case err != nil:
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.BadTags, "%v", err)
	case how.BaseLayer:
		return ao.Assignment{}, ao.Refuse(hopSchedule, ao.Unsupported, "transactions of the base layer are not assigned")
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
	m, err := u.existing(ctx, message)
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
func (u *Unit) existing(ctx context.Context, id ao.ID) (ao.Message, error) {
	if m, ok := units.HandedMessage(ctx, id); ok {
		return m, nil
	}
	select {
	case u.fetching <- struct{}{}:
		defer func() { <-u.fetching }()
	case <-ctx.Done():
		return ao.Message{}, ao.Refuse(hopSchedule, ao.Deadline, "the caller went away before its turn")
	}
	it, err := u.cfg.Archive.Get(ctx, id)
	switch {
	case errors.Is(err, arweave.ErrNotFound):
		return ao.Message{}, ao.Refuse(hopSchedule, ao.UnknownMessage, "message %s to assign", id)
	case err != nil && ctx.Err() != nil:
		return ao.Message{}, ao.Refuse(hopSchedule, ao.Deadline, "the caller went away")
	case err != nil:
		u.cfg.Log.Warn("fetch message to assign", "message", id, "err", err)
		return ao.Message{}, ao.Refuse(hopSchedule, ao.ArchiveDown, "message %s to assign cannot be fetched", id)
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		return ao.Message{}, ao.Refuse(hopSchedule, ao.WrongType, "message %s to assign: %v", id, err)
	}
	return m, nil
}
