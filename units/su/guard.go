package su

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// ErrRolledBack is why a unit does not start whose key has signed more than its store remembers.
var ErrRolledBack = errors.New("the archive holds a slot signed by this key that the store lacks")

// guardPage is how many of the newest assignments are compared. A store that was put back lacks the newest ones first.
const guardPage = 100

// prove asks the archive whether this unit's key has signed anything that its store does not hold, until it answers. A
// backup that was put back, or the key on another machine, would sign slots a second time.
func (u *Unit) prove(ctx context.Context) {
	for ctx.Err() == nil {
		err := u.proveOnce(ctx)
		switch {
		case err == nil:
			u.proven.Store(true)
			u.maybeReady()
			return
		case errors.Is(err, ErrRolledBack):
			u.fail(err)
			return
		case ctx.Err() == nil:
			u.judge(err)
			u.cfg.Log.Warn("compare the log with the archive", "err", err)
		}
		select {
		case <-time.After(u.cfg.SettleRetry):
		case <-ctx.Done():
		}
	}
}

func (u *Unit) proveOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	page, err := u.cfg.Archive.Query(ctx, arweave.Query{
		Owners: []string{u.address}, First: guardPage,
		Tags: []arweave.TagFilter{
			{Name: "Data-Protocol", Values: []string{ao.DataProtocol}},
			{Name: "Type", Values: []string{ao.TypeAssignment}},
		},
	})
	if err != nil {
		return fmt.Errorf("ask the archive for own assignments: %w", err)
	}
	for _, f := range page.Found {
		if err := u.compare(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// compare looks one of the archive's assignments up in the store. What is not found there is fetched, because an index
// may say what it likes; only our own signature counts.
func (u *Unit) compare(ctx context.Context, f arweave.Found) error {
	if process, err := ao.ParseID(ao.Tags(f.Tags).Get("Process")); err == nil {
		_, err := u.slotOf(process, f.ID)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("look assignment %s up: %w", f.ID, err)
		}
	}
	it, err := u.cfg.Archive.Get(ctx, f.ID)
	if errors.Is(err, arweave.ErrNotFound) || errors.Is(err, arweave.ErrCorrupt) {
		u.cfg.Log.Warn("the archive lists an assignment that it does not have", "assignment", f.ID, "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("fetch assignment %s: %w", f.ID, err)
	}
	return u.ours(it)
}

// ours refuses an assignment that our key signed and our store lacks.
func (u *Unit) ours(it *ans104.Item) error {
	a, err := ao.NewAssignment(it)
	if err != nil || a.Owner() != u.address {
		return nil // not ours, whatever the index says
	}
	switch slot, err := u.slotOf(a.Process(), a.ID()); {
	case err == nil && slot == a.Nonce():
		return nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("look assignment %s up: %w", a.ID(), err)
	}
	// The log itself counts, whatever finds its slots.
	records, err := u.cfg.Store.Range(logName(a.Process()), uint64(a.Nonce()), 1)
	if err != nil {
		return fmt.Errorf("look slot %d of %s up: %w", a.Nonce(), a.Process(), err)
	}
	if len(records) > 0 {
		e, err := u.accept(place{a.Process(), a.Nonce()}, records[0])
		if err != nil {
			return err
		}
		if e.Assignment.ID() == a.ID() {
			return nil
		}
	}
	return fmt.Errorf("%w: slot %d of process %s, assignment %s. The store is an old copy, or the key is in use elsewhere; to go on "+
		"could sign a slot twice, which is slashed. Put the newest copy of the store back, or give this unit a new key (aopeer init)",
		ErrRolledBack, a.Nonce(), a.Process(), a.ID())
}
