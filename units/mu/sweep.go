package mu

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// sweeps is how often the records are gone through in the time that they are kept.
const sweeps = 8

// tidy removes what is kept of pushes that ended long ago. Nothing depends on it: a push that is repeated after its
// records are gone is scheduled again, and its scheduler answers with the first assignment.
func (u *Unit) tidy(ctx context.Context) {
	tick := time.NewTicker(u.cfg.Keep / sweeps)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := u.sweep(ctx, u.cfg.Now().Add(-u.cfg.Keep)); err != nil && ctx.Err() == nil {
			u.cfg.Log.Warn("tidy pushes", "err", err)
		}
	}
}

// sweep removes the hops of pushes whose last hop is older than before, and the done marks of that age.
func (u *Unit) sweep(ctx context.Context, before time.Time) error {
	var b store.Batch
	flush := func(most int) error {
		if b.Len() <= most {
			return nil
		}
		err := u.cfg.Store.Commit(&b)
		b = store.Batch{}
		return err
	}
	var push string    // whose hops are being gone through
	var hops []string  // its keys
	var last time.Time // of its hops
	end := func() error {
		if last.Before(before) && !u.isOpen(push) {
			for _, key := range hops {
				b.Delete(key)
			}
		}
		hops = hops[:0]
		return flush(1000)
	}
	err := u.scan(keyHop, func(p store.Pair) error {
		id, number, _ := strings.Cut(strings.TrimPrefix(p.Key, keyHop), "/")
		if id != push {
			if err := end(); err != nil {
				return err
			}
			push = id
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return err
		}
		hops, last = append(hops, p.Key), time.Unix(0, n)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if err := end(); err != nil {
		return err
	}
	err = u.scan(keyDone, func(p store.Pair) error {
		old := len(p.Value) < 8 || int64(binary.BigEndian.Uint64(p.Value)) < before.UnixMilli()
		if old && !u.isCurrent(strings.TrimPrefix(p.Key, keyDone)) {
			b.Delete(p.Key)
		}
		if err := flush(1000); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return flush(0)
}

// isOpen says whether something of that push is still to be done.
func (u *Unit) isOpen(push string) bool {
	id, err := ao.ParseID(push)
	u.lock.Lock()
	defer u.lock.Unlock()
	return err == nil && u.roots[id] != nil
}

// isCurrent says whether the task of that key is under way.
func (u *Unit) isCurrent(key string) bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	return u.open[key] != nil
}
