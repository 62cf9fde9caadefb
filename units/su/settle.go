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
)

// The bounds of one handing-over: entries, and bytes of their items after at least one.
const (
	settleEntries = 256
	settleBytes   = 8 << 20
)

// mostRetry is the longest wait between two attempts.
const mostRetry = time.Minute

// settle hands the entries of the backlog to the archive, each log's in order, until ctx ends. A log's mark moves after the
// archive has taken them for good; a crash in between hands them over twice, which the archive does not mind.
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
			entries, _ := u.backlog.size()
			u.cfg.Log.Warn("settle", "unsettled", entries, "err", err)
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

// settleTurn is how many entries of one process go before others have their turn.
const settleTurn = 64

// parcel is a few entries on their way to the archive, those of one log in order.
type parcel struct {
	places []place
	items  [][]*ans104.Item // message and assignment; of a transaction the assignment alone
	sizes  []int
	bytes  int
}

func (p *parcel) all() []*ans104.Item {
	out := make([]*ans104.Item, 0, 2*len(p.items))
	for _, items := range p.items {
		out = append(out, items...)
	}
	return out
}

// full says whether an entry of that size would be too much.
func (p *parcel) full(size int) bool {
	return len(p.items) == settleEntries || len(p.items) > 0 && p.bytes+size > settleBytes
}

// drain hands over all there is. A process with an entry that cannot be handed over is added to held and passed over from
// there on, so that its log settles in order and the others' do not wait for it.
func (u *Unit) drain(ctx context.Context, held map[ao.ID]bool) error {
	if err := u.resolve(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		p := u.pack(held)
		if len(p.items) == 0 {
			return nil
		}
		taken, bytes, err := u.handOver(ctx, p, held)
		if err := errors.Join(err, u.markSettled(taken, bytes)); err != nil {
			return err
		}
	}
	return nil
}

// pack gathers entries as far as one parcel holds, of one process after the other.
func (u *Unit) pack(held map[ao.ID]bool) (p parcel) {
	for range u.backlog.count() {
		process, t, ok := u.backlog.next()
		if !ok {
			break
		}
		at := place{process, t.settled}
		for n := 0; n < settleTurn && at.slot < t.end && !held[process]; n++ {
			e, err := u.entry(at)
			if err != nil {
				u.judge(err)
				u.hold(held, at, err)
				break
			}
			size := entryBytes(e)
			if p.full(size) {
				return p
			}
			p.places = append(p.places, at)
			items := []*ans104.Item{e.Message.Item(), e.Assignment.Item()}
			if e.Message.IsTransaction() {
				items = items[1:]
			}
			p.items = append(p.items, items)
			p.sizes = append(p.sizes, size)
			p.bytes += size
			at.slot++
		}
	}
	return p
}

// hold says once, until it is tried again, that a process's log does not settle further.
func (u *Unit) hold(held map[ao.ID]bool, at place, err error) {
	held[at.process] = true
	u.cfg.Log.Error("settle", "process", at.process, "slot", at.slot, "err", err)
}

// handOver gives a parcel to the archive and returns the marks that what it took leads to. If the archive will not have
// some item, the entries go one by one to find which.
func (u *Unit) handOver(ctx context.Context, p parcel, held map[ao.ID]bool) (taken map[ao.ID]ao.Slot, bytes int64, err error) {
	taken = make(map[ao.ID]ao.Slot)
	err = u.cfg.Archive.Put(ctx, p.all()...)
	if err == nil {
		for _, at := range p.places {
			taken[at.process] = at.slot + 1
		}
		return taken, int64(p.bytes), nil
	}
	if !isItemsFault(err) {
		return nil, 0, fmt.Errorf("hand over to the archive: %w", err)
	}
	for i, items := range p.items {
		at := p.places[i]
		if held[at.process] {
			continue
		}
		switch err := u.cfg.Archive.Put(ctx, items...); {
		case err == nil:
			taken[at.process] = at.slot + 1
			bytes += int64(p.sizes[i])
		case isItemsFault(err):
			u.hold(held, at, err)
		default:
			return taken, bytes, fmt.Errorf("hand over to the archive: %w", err)
		}
	}
	return taken, bytes, nil
}

// isItemsFault tells an item that the archive will not have from an archive that cannot just now.
func isItemsFault(err error) bool {
	return errors.Is(err, arweave.ErrTooLarge) || errors.Is(err, arweave.ErrRejected)
}
