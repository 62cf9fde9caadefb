package su

import (
	"errors"
	"fmt"
	"os"

	"github.com/aopeer/aopeer/internal/store"
)

// epochLog has one record for every start of a unit on this store. Its length is the epoch: each of a unit's writes asks
// for it, so that after another unit has started, nothing of the former is written any more.
const epochLog = "su-epoch"

// ErrFenced is why a unit stops once another one has started on its store.
var ErrFenced = errors.New("another scheduler unit has started on this store")

// claim begins this unit's epoch, once.
func (u *Unit) claim() error {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.epoch.Load() > 0 {
		return nil
	}
	n, err := u.cfg.Store.Len(epochLog)
	if err != nil {
		return fmt.Errorf("read epoch: %w", err)
	}
	var b store.Batch
	b.Append(epochLog, n, fmt.Appendf(nil, "%s %d %s", u.address, os.Getpid(), u.cfg.Now().UTC().Format("2006-01-02T15:04:05Z")))
	if err := u.cfg.Store.Commit(&b); err != nil {
		return fmt.Errorf("begin epoch: %w", err)
	}
	u.epoch.Store(n + 1)
	return nil
}

// write commits a batch of this unit's epoch. ErrFenced: the epoch is over.
func (u *Unit) write(b *store.Batch) error {
	if err := u.claim(); err != nil {
		u.judge(err)
		return err
	}
	epoch := u.epoch.Load()
	b.Require(epochLog, epoch)
	err := u.cfg.Store.Commit(b)
	if errors.Is(err, store.ErrNotNext) {
		now, lerr := u.cfg.Store.Len(epochLog)
		if lerr != nil {
			err = lerr
		} else if now != epoch {
			err = fmt.Errorf("%w: this is epoch %d, it began %d", ErrFenced, epoch, now)
		}
	}
	u.judge(err)
	return err
}

// judge ends the unit after an error that only a restart can heal.
func (u *Unit) judge(err error) {
	if errors.Is(err, ErrFenced) || errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrClosed) {
		u.fail(err)
	}
}

// fail makes Run return; the first reason counts.
func (u *Unit) fail(err error) {
	select {
	case u.failed <- err:
	default:
	}
}
