package cu

import (
	"context"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// maxReaders is how many processes have a copy of their state for dry-runs.
const maxReaders = 16

// snapshot is a process after a slot; without an image if a reader stands there already.
type snapshot struct {
	genesis wasmvm.Genesis
	slot    ao.Slot
	last    ao.AssignmentFields
	gap     gap // behind it
	image   *wasmvm.Image
}

// DryRun implements units.Computer: at the log's head, on a copy, beside whatever else goes on.
func (u *Unit) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	for always := false; ; always = true {
		s, err := u.snapshot(ctx, process, always)
		if err != nil {
			return ao.Result{}, refusal(err)
		}
		r, err := u.readers.borrow(ctx, process)
		if err != nil {
			return ao.Result{}, refusal(err)
		}
		result, done, err := u.read(ctx, r, s, q)
		u.readers.handBack(r)
		if err != nil {
			return ao.Result{}, refusal(err)
		}
		if done {
			return result, nil
		}
	}
}

// snapshot evaluates the process to its head and copies its state, always or only if no reader stands there.
func (u *Unit) snapshot(ctx context.Context, process ao.ID, always bool) (snapshot, error) {
	var s snapshot // of the visitor, who may come after the caller has left
	err := u.atHead(ctx, process, func(_ context.Context, p *worker) (err error) {
		r := p.replay
		s = snapshot{genesis: r.genesis, slot: r.cursor.Next - 1, last: r.last}
		if always || !u.readers.stands(process, s.slot) {
			s.image, err = r.state.Image()
		}
		return err
	})
	if err != nil {
		return snapshot{}, err
	}
	return s, nil
}

// read evaluates a query on a borrowed reader; done is false if the reader is not where the snapshot is, and the snapshot
// has no image.
func (u *Unit) read(ctx context.Context, r *reader, s snapshot, q ao.Query) (result ao.Result, done bool, err error) {
	ctx, cancel := context.WithCancel(ctx) // the caller's patience and the unit's life
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	select {
	case u.reading <- struct{}{}:
		defer func() { <-u.reading }()
	case <-ctx.Done():
		return result, false, fmt.Errorf("wait for a place to read: %w", ctx.Err())
	}
	if r.state == nil || r.slot < s.slot {
		if s.image == nil {
			return result, false, nil
		}
		r.close()
		if r.state, err = u.cfg.Machine.Begin(ctx, s.genesis, s.image); err != nil {
			r.state = nil
			return result, false, fmt.Errorf("copy state: %w", err)
		}
		r.slot, r.last = s.slot, s.last
	}
	politely(func() { result, err = u.cfg.Machine.DryRun(ctx, r.state, q, r.last) })
	if err != nil {
		r.close() // it may stand anywhere
		return ao.Result{}, false, err
	}
	return result, true, nil
}
