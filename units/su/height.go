package su

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aopeer/aopeer/internal/store"
)

// maxHeight is what the twelve digits of an assignment's Block-Height hold. A gateway that says more is wrong.
const maxHeight = 999_999_999_999

// height is the newest block height that the archive has told. It may fall, when the chain is reorganised; that it does
// not fall along a log is for Schedule to see to.
type height struct {
	lock  sync.Mutex
	value uint64
	known bool
	at    time.Time // of the archive's last answer
}

func newHeight() *height { return &height{} }

func (h *height) get() (value uint64, known bool, at time.Time) {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.value, h.known, h.at
}

// set takes a new height and says whether it differs from the last.
func (h *height) set(value uint64, at time.Time) bool {
	h.lock.Lock()
	defer h.lock.Unlock()
	news := !h.known || h.value != value
	h.value, h.known, h.at = value, true, at
	return news
}

// loadHeight takes the height that was known before a restart, so that scheduling need not wait for a gateway.
func (u *Unit) loadHeight() error {
	b, err := u.cfg.Store.Get(heightKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read block height: %w", err)
	}
	if len(b) != 8 {
		return fmt.Errorf("read block height: %w", errRecord)
	}
	u.height.set(binary.BigEndian.Uint64(b), time.Time{})
	return nil
}

// pollHeight asks the archive again and again; while it does not answer, the last height stands.
func (u *Unit) pollHeight(ctx context.Context) {
	tick := time.NewTicker(u.cfg.HeightEvery)
	defer tick.Stop()
	for {
		if err := u.askHeight(ctx); err != nil && ctx.Err() == nil {
			u.cfg.Log.Warn("block height", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// askTimeout bounds one question, so that a gateway that hangs does not end the asking.
const askTimeout = 20 * time.Second

func (u *Unit) askHeight(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	n, err := u.cfg.Archive.Height(ctx)
	if err != nil {
		return fmt.Errorf("ask the archive: %w", err)
	}
	if n > maxHeight {
		return fmt.Errorf("ask the archive: %d is no block height", n)
	}
	news := u.height.set(n, u.cfg.Now())
	u.maybeReady()
	if !news {
		return nil
	}
	var b store.Batch
	b.Put(heightKey, binary.BigEndian.AppendUint64(nil, n))
	if err := u.write(&b); err != nil {
		return fmt.Errorf("keep block height: %w", err)
	}
	return nil
}
