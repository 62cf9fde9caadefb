package remote

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// liveLog is a scheduler's log, and what Arweave has of it as soon as the scheduler cannot be reached: its announcement
// may outlive it by minutes.
type liveLog struct {
	logClient           // the scheduler's
	settled   units.Log // the archive's
}

// orSettled asks the archive if the scheduler is not there. What the archive does not know either is not there.
func orSettled[T any](live func() (T, error), settled func() (T, error)) (T, error) {
	v, err := live()
	if !isGone(err) {
		return v, err
	}
	if v, second := settled(); second == nil {
		return v, nil
	}
	return v, err
}

func isGone(err error) bool { return errors.Is(err, &ao.Refusal{Code: ao.Unreachable}) }

func (l liveLog) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	return orSettled(
		func() (ao.Slot, error) { return l.logClient.Next(ctx, process) },
		func() (ao.Slot, error) { return l.settled.Next(ctx, process) })
}

func (l liveLog) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	return orSettled(
		func() (ao.Slot, error) { return l.logClient.Find(ctx, process, message) },
		func() (ao.Slot, error) { return l.settled.Find(ctx, process, message) })
}

func (l liveLog) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	return orSettled(
		func() ([]ao.Entry, error) { return l.logClient.Range(ctx, process, from, limit) },
		func() ([]ao.Entry, error) { return l.settled.Range(ctx, process, from, limit) })
}

// Follow follows the scheduler and, while it is not there, visits what is settled.
func (l liveLog) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	return l.followOr(ctx, process, from, visit, func(from *ao.Slot, visit func(ao.Entry) error) error {
		for {
			es, err := l.settled.Range(ctx, process, *from, maxPage)
			if err != nil || len(es) == 0 {
				return nil // the scheduler may come back, and the archive too
			}
			for _, e := range es {
				if err := visit(e); err != nil {
					return err
				}
				*from++
			}
		}
	})
}

// awayLog is the same for a log elsewhere.
type awayLog struct {
	httpUnit
	settled units.Log
}

func (l awayLog) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	return orSettled(
		func() (ao.Slot, error) { return l.httpUnit.Next(ctx, process) },
		func() (ao.Slot, error) { return l.settled.Next(ctx, process) })
}

func (l awayLog) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	return orSettled(
		func() (ao.Slot, error) { return l.httpUnit.Find(ctx, process, message) },
		func() (ao.Slot, error) { return l.settled.Find(ctx, process, message) })
}

func (l awayLog) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	return orSettled(
		func() ([]ao.Entry, error) { return l.httpUnit.Range(ctx, process, from, limit) },
		func() ([]ao.Entry, error) { return l.settled.Range(ctx, process, from, limit) })
}
