package cu

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// maxReaders is how many processes have a copy of their state for dry-runs.
const maxReaders = 16

// giveWay is how long a dry-run that could begin lets slots go first, as long as any are being evaluated. Two at once slow each other
// down even where each has a core, for cores share caches and often more than that.
const giveWay = 10 * time.Millisecond

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
	result, done, err := u.guess(ctx, process, q)
	for always := false; !done && err == nil; always = true {
		var s snapshot
		if s, err = u.snapshot(ctx, process, always); err != nil {
			break
		}
		var r *reader
		if r, err = u.readers.borrow(ctx, process); err != nil {
			break
		}
		result, done, err = u.read(ctx, r, s, q)
	}
	if err != nil {
		return ao.Result{}, refusal(err)
	}
	return result, nil
}

// guess takes a copy that nobody uses to stand at the log's head, and asks whether it does beside the evaluation: a log may be a
// journey away. Done is false if it does not.
func (u *Unit) guess(ctx context.Context, process ao.ID, q ao.Query) (result ao.Result, done bool, err error) {
	r := u.readers.free(process)
	if r == nil {
		return result, false, nil
	}
	s := snapshot{slot: r.slot}
	if reached, err := readSlot(u.cfg.Store, nextKey(process)); err != nil || reached > s.slot+1 {
		u.readers.handBack(r) // the unit itself is further
		return result, false, err
	}
	var next ao.Slot
	var fault error
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		next, fault = u.headOf(ctx, process)
	}()
	result, done, err = u.read(ctx, r, s, q)
	<-asked
	if err = cmp.Or(err, fault); err != nil {
		return ao.Result{}, false, err
	}
	return result, done && next == s.slot+1, nil
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

// read evaluates a query on a borrowed reader, and gives it back; done is false if the reader is not where the snapshot is, and
// the snapshot has no image. The reader is not waited for until the query is taken back.
func (u *Unit) read(ctx context.Context, r *reader, s snapshot, q ao.Query) (result ao.Result, done bool, err error) {
	ctx, cancel := context.WithCancel(ctx) // the caller's patience and the unit's life
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	if err := enter(ctx, u.reading); err != nil {
		u.readers.handBack(r)
		return result, false, err
	}
	handBack := func() {
		<-u.reading
		u.readers.handBack(r)
	}
	if ready, err := u.bring(ctx, r, s); !ready || err != nil {
		handBack()
		return result, false, err
	}
	u.quiet.wait(ctx, giveWay)
	if err := ctx.Err(); err != nil { // nothing has been done to the copy yet
		handBack()
		return result, false, err
	}
	answered := make(chan struct{})
	u.polite.start(func() {
		defer handBack()
		var fault error
		result, fault = u.cfg.Machine.DryRun(ctx, r.state, q, r.last)
		err = fault
		close(answered)
		if t, ok := r.state.(wasmvm.Tidier); ok && fault == nil {
			fault = t.Tidy()
		}
		if fault != nil {
			r.close() // it may stand anywhere
		}
	})
	<-answered
	return result, err == nil, err
}

// bring takes a borrowed reader to where the snapshot is, if it is behind and the snapshot has an image.
func (u *Unit) bring(ctx context.Context, r *reader, s snapshot) (ready bool, err error) {
	if r.state != nil && r.slot >= s.slot {
		return true, nil
	}
	if s.image == nil {
		return false, nil
	}
	err = u.copyTo(ctx, r, s)
	return err == nil, err
}

// copyTo has a borrowed copy begin anew where the snapshot is.
func (u *Unit) copyTo(ctx context.Context, r *reader, s snapshot) (err error) {
	r.close()
	if r.state, err = u.cfg.Machine.Begin(ctx, s.genesis, s.image); err != nil {
		r.state = nil
		return fmt.Errorf("copy state: %w", err)
	}
	r.slot, r.last, r.gap = s.slot, s.last, s.gap
	u.lock.Lock()
	defer u.lock.Unlock()
	r.note()
	return nil
}
