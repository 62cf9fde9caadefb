package remote

import (
	"context"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// failover asks the first computer, and the next when that one has no answer that can be believed. What does not depend
// on who is asked, or would take a log to each of them for nothing, is refused at once.
type failover struct {
	doors []units.Computer

	lock sync.Mutex
	last string // who answered
}

// Peer is the peer ID of the computer that answered last.
func (f *failover) Peer() string {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.last
}

func (f *failover) each(ctx context.Context, ask func(units.Computer) error) error {
	var first error // that says more than that a computer was not to be had
	var err error
	for _, c := range f.doors {
		if err = ask(c); err == nil {
			f.lock.Lock()
			f.last = units.PeerOf(c)
			f.lock.Unlock()
			return nil
		}
		r := Refusal(verbCompute, err)
		switch r.Code {
		case ao.NotYet, ao.UnknownProcess, ao.UnknownModule, ao.UnknownMessage:
			return err
		case ao.Unreachable, ao.Busy, ao.Deadline, ao.Unsupported:
		default:
			if first == nil {
				first = err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first != nil {
		return first
	}
	return err
}

func (f *failover) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (a units.Answer, err error) {
	err = f.each(ctx, func(c units.Computer) error {
		a, err = c.Compute(ctx, process, slot)
		return err
	})
	return a, err
}

func (f *failover) State(ctx context.Context, process ao.ID) (s units.StateInfo, err error) {
	err = f.each(ctx, func(c units.Computer) error {
		s, err = c.State(ctx, process)
		return err
	})
	return s, err
}

func (f *failover) DryRun(ctx context.Context, process ao.ID, q ao.Query) (r ao.Result, err error) {
	err = f.each(ctx, func(c units.Computer) error {
		r, err = c.DryRun(ctx, process, q)
		return err
	})
	return r, err
}
