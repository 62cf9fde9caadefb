package su

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

const hopLog = "log"

// maxPage bounds the entries of one Range, and maxPageBytes their items' bytes, after at least one.
const (
	maxPage      = 1000
	maxPageBytes = store.MaxRangeBytes
)

// Next is the first slot that is not taken (units.Log).
func (u *Unit) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	if ctx.Err() != nil {
		return 0, ao.Refuse(hopLog, ao.Deadline, "the caller went away")
	}
	n, err := u.cfg.Store.Len(logName(process))
	if err != nil {
		return 0, u.trouble(hopLog, process, err)
	}
	if n == 0 {
		return 0, ao.Refuse(hopLog, ao.UnknownProcess, "no log of %s here", process)
	}
	return ao.Slot(n), nil
}

// Range is the entries from slot from on (units.Log); a page is also cut after maxPage entries or maxPageBytes.
func (u *Unit) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	page, err := u.page(ctx, process, from, limit)
	if err == nil && len(page) == 0 {
		_, err = u.Next(ctx, process) // an empty page is the end of a log, not the lack of one
	}
	return page, err
}

// page is Range without asking whether there is a log. What is in memory is durable, so that it needs no reading.
func (u *Unit) page(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	limit = min(max(limit, 1), maxPage)
	var out []ao.Entry
	bytes, at := 0, place{process, from}
	for len(out) < limit && bytes < maxPageBytes {
		e, ok := u.entries.get(at)
		if !ok {
			break
		}
		out = append(out, e)
		bytes += entryCost(e)
		at.slot++
	}
	if len(out) == limit || bytes >= maxPageBytes {
		return out, nil
	}
	records, err := u.cfg.Store.Range(logName(process), uint64(at.slot), limit-len(out))
	if err != nil {
		return nil, u.trouble(hopLog, process, err)
	}
	for _, r := range records {
		if ctx.Err() != nil {
			return nil, ao.Refuse(hopLog, ao.Deadline, "the caller went away")
		}
		if bytes += len(r); len(out) > 0 && bytes > maxPageBytes {
			break
		}
		e, err := u.accept(at, r)
		if err != nil {
			return nil, u.trouble(hopLog, process, err)
		}
		out = append(out, e)
		at.slot++
	}
	return out, nil
}

// Find is the slot of a message, named by its own ID or by its assignment's (units.Log).
func (u *Unit) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	slot, err := u.slotOf(process, message)
	if errors.Is(err, store.ErrNotFound) {
		if _, err := u.Next(ctx, process); err != nil {
			return 0, err
		}
		return 0, ao.Refuse(hopLog, ao.UnknownMessage, "%s is not in the log of %s", message, process)
	}
	if err != nil {
		return 0, u.trouble(hopLog, process, err)
	}
	return slot, nil
}

// followPage is small: a follower that lags reads on at once, and one that fails early has cost little.
const followPage = 64

// Follow calls visit for every entry from slot from on, those to come as well (units.Log). It sleeps until the next
// Schedule of the process wakes it.
func (u *Unit) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	defer u.followers.Add(-1)
	if n := u.followers.Add(1); n > int64(u.cfg.MaxFollowers) {
		return ao.Refuse(hopLog, ao.Busy, "%d readers follow logs", n-1)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := u.Next(ctx, process); err != nil {
		return err
	}
	for {
		rung, unwatch := u.bells.watch(process) // before reading: what comes after the reading rings it
		page, err := u.page(ctx, process, from, followPage)
		if err == nil && len(page) == 0 {
			select {
			case <-rung:
			case <-ctx.Done():
			}
		}
		unwatch()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		for _, e := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := visit(e); err != nil {
				return err
			}
			from++
		}
	}
}
