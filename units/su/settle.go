package su

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// The bounds of one handing-over: entries, and bytes of their items after at least one.
const (
	settleEntries = 256
	settleBytes   = 8 << 20
)

// mostRetry is the longest wait between two attempts.
const mostRetry = time.Minute

// settle hands the queue's entries to the archive, oldest first, until ctx ends. An entry leaves the queue after the
// archive has taken it for good; a crash in between hands it over twice, which the archive does not mind.
func (u *Unit) settle(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = u.cfg.SettleRetry, max(u.cfg.SettleRetry, mostRetry)
	held := make(map[ao.ID]bool)
	var retry <-chan time.Time // while there is something to repeat
	for {
		err := u.drain(ctx, held)
		if ctx.Err() != nil {
			return
		}
		wake := u.unsettled
		if err != nil {
			u.cfg.Log.Warn("settle", "unsettled", u.queued.Load(), "err", err)
			wake = nil // what is new would fail as well
		}
		switch {
		case err == nil && len(held) == 0:
			wait.Reset()
			retry = nil
		case retry == nil:
			retry = time.After(wait.NextBackOff())
		}
		select {
		case <-wake:
			select {
			case <-time.After(u.cfg.SettleDelay):
			case <-ctx.Done():
				return
			}
		case <-retry:
			retry = nil
			clear(held)
		case <-ctx.Done():
			return
		}
	}
}

// parcel is a few entries on their way to the archive.
type parcel struct {
	places []place
	seqs   []uint64
	items  [][2]*ans104.Item // message and assignment
	bytes  int
}

func (p *parcel) all() []*ans104.Item {
	out := make([]*ans104.Item, 0, 2*len(p.items))
	for _, pair := range p.items {
		out = append(out, pair[0], pair[1])
	}
	return out
}

// drain goes through the queue once. A process with an entry that cannot be handed over is added to held and passed
// over from there on, so that its log settles in order and the others' do not wait for it.
func (u *Unit) drain(ctx context.Context, held map[ao.ID]bool) error {
	for after := uint64(0); ; {
		page, err := u.cfg.Store.Pending(settleQueue, after, settleEntries)
		if err != nil {
			return fmt.Errorf("read the queue: %w", err)
		}
		if len(page) == 0 || ctx.Err() != nil {
			return nil
		}
		var p parcel
		p, after = u.pack(page, held)
		taken, err := u.handOver(ctx, p, held)
		if err := errors.Join(err, u.done(taken)); err != nil {
			return err
		}
	}
}

// pack reads the entries that the queue refers to, as far as one parcel holds; last is the last of the page that was
// looked at. An entry that cannot be told or read holds its process, which for the former is nobody's.
func (u *Unit) pack(page []store.Queued, held map[ao.ID]bool) (p parcel, last uint64) {
	for _, q := range page {
		at, err := decodePlace(q.Value)
		if held[at.process] {
			last = q.Seq
			continue
		}
		var e ao.Entry
		if err == nil {
			e, err = u.entry(at)
		}
		if err != nil {
			u.hold(held, at, err)
			last = q.Seq
			continue
		}
		size := entryCost(e)
		if len(p.items) > 0 && p.bytes+size > settleBytes {
			return p, last
		}
		p.places = append(p.places, at)
		p.seqs = append(p.seqs, q.Seq)
		p.items = append(p.items, [2]*ans104.Item{e.Message.Item(), e.Assignment.Item()})
		p.bytes += size
		last = q.Seq
	}
	return p, last
}

// hold says once, until it is tried again, that a process's log does not settle further.
func (u *Unit) hold(held map[ao.ID]bool, at place, err error) {
	held[at.process] = true
	u.cfg.Log.Error("settle", "process", at.process, "slot", at.slot, "err", err)
}

// handOver gives a parcel to the archive and returns the numbers of what it took. If the archive will not have some
// item, the entries go one by one to find which.
func (u *Unit) handOver(ctx context.Context, p parcel, held map[ao.ID]bool) (taken []uint64, err error) {
	if len(p.items) == 0 {
		return nil, nil
	}
	err = u.cfg.Archive.Put(ctx, p.all()...)
	if err == nil {
		return p.seqs, nil
	}
	if !isItemsFault(err) {
		return nil, fmt.Errorf("hand over to the archive: %w", err)
	}
	for i, pair := range p.items {
		at := p.places[i]
		if held[at.process] {
			continue
		}
		switch err := u.cfg.Archive.Put(ctx, pair[0], pair[1]); {
		case err == nil:
			taken = append(taken, p.seqs[i])
		case isItemsFault(err):
			u.hold(held, at, err)
		default:
			return taken, fmt.Errorf("hand over to the archive: %w", err)
		}
	}
	return taken, nil
}

// isItemsFault tells an item that the archive will not have from an archive that cannot just now.
func isItemsFault(err error) bool {
	return errors.Is(err, arweave.ErrTooLarge) || errors.Is(err, arweave.ErrRejected)
}

// done takes entries off the queue.
func (u *Unit) done(seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	var b store.Batch
	for _, s := range seqs {
		b.Done(settleQueue, s)
	}
	if err := u.cfg.Store.Commit(&b); err != nil {
		return fmt.Errorf("take off the queue: %w", err)
	}
	u.queued.Add(-int64(len(seqs)))
	return nil
}
