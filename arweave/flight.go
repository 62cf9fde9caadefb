package arweave

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// flight is a signed transaction on its way. Its bytes are durable before they are posted for the first time, so that a
// restart posts the same transaction again and never a second one.
type flight struct {
	tx     *l1.Tx // without data
	record flightRecord
	busy   bool // somebody is posting or looking at it; guarded by Bundler.lock
	pause  pause
	// unseen says that no gateway can have it: signed in this run, and refused by all that were asked.
	unseen bool
	// posted says that record.Posted is set, to whoever is not busy with the transaction.
	posted atomic.Bool
	// depth is what was last seen; it shrinks when the network reorganises.
	depth uint64
}

// flightRecord is a flight in the store.
type flightRecord struct {
	Tx json.RawMessage `json:"tx"`
	// Data is the file with the data; "" for none.
	Data string `json:"data"`
	// Posted is when the gateways last took it, in Unix milliseconds; 0 for not yet.
	Posted int64 `json:"posted"`
	// SignedAt is the height at which it was signed: no block above SignedAt+anchorWindow can hold it.
	SignedAt uint64 `json:"signed_at"`
	// Oldest and Since say what has waited for longest in it and from when, in Unix milliseconds.
	Oldest ans104.ID `json:"oldest"`
	Since  int64     `json:"since"`
	// Fixed transactions have had their ID told to a caller: they cannot be signed anew.
	Fixed bool `json:"fixed"`
}

func (b *Bundler) loadFlights(used map[string]bool) (map[ans104.ID]*flight, error) {
	flights := map[ans104.ID]*flight{}
	for after := ""; ; {
		page, err := b.cfg.Store.Scan(flightKeys, after, queuePage)
		if err != nil {
			return nil, storeError("scan transactions", err)
		}
		for _, p := range page {
			f := &flight{}
			if err := json.Unmarshal(p.Value, &f.record); err != nil {
				return nil, storeError("decode "+p.Key, err)
			}
			if f.tx, err = l1.ParseJSON(f.record.Tx); err != nil {
				return nil, storeError("decode "+p.Key, err)
			}
			f.posted.Store(f.record.Posted != 0)
			flights[f.tx.ID] = f
			used[f.record.Data] = true
			after = p.Key
		}
		if len(page) < queuePage {
			return flights, nil
		}
	}
}

// PostTx signs, keeps and posts a transaction; see Archive.
func (b *Bundler) PostTx(ctx context.Context, draft TxDraft) (ans104.ID, error) {
	if err := b.load(); err != nil {
		return ans104.ID{}, err
	}
	if err := draft.validate(); err != nil {
		return ans104.ID{}, err
	}
	if int64(len(draft.Data)) > b.cfg.Client.maxItem {
		return ans104.ID{}, fmt.Errorf("post transaction: %w: %d bytes", ErrTooLarge, len(draft.Data))
	}
	tx, height, err := b.sign(ctx, draft)
	if err != nil {
		return ans104.ID{}, err
	}
	f, err := b.keep(tx, &store.Batch{}, flightRecord{
		Fixed: true, SignedAt: height, Oldest: tx.ID, Since: b.cfg.Clock().UnixMilli(),
	})
	if err != nil {
		return ans104.ID{}, err
	}
	defer b.poke()
	defer b.release(f)
	err = b.post(ctx, f)
	if errors.Is(err, ErrRejected) && f.unseen {
		return ans104.ID{}, errors.Join(err, b.forget(f))
	}
	if err != nil {
		if isStoreError(err) {
			return ans104.ID{}, err
		}
		b.cfg.Log.Warn("post transaction", "tx", tx.ID, "err", err)
		f.pause.failed(b.cfg.Clock())
	}
	return tx.ID, nil
}

// sign prices and signs a draft, within the fee limit. It also says at which height, never below the anchor's.
func (b *Bundler) sign(ctx context.Context, draft TxDraft) (*l1.Tx, uint64, error) {
	anchor, err := b.cfg.Client.anchor(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("get anchor: %w", err)
	}
	height, err := b.cfg.Client.Height(ctx)
	if err != nil {
		return nil, 0, err
	}
	fee, err := b.cfg.Client.price(ctx, len(draft.Data), draft.Target)
	if err != nil {
		return nil, 0, fmt.Errorf("get price: %w", err)
	}
	if fee.Cmp(b.maxFee) > 0 {
		return nil, 0, fmt.Errorf("%w: the gateway asks %s winston for %d bytes, the limit is %s", ErrRejected, fee, len(draft.Data), b.maxFee)
	}
	tx, err := b.cfg.Wallet.SignTx(draft, anchor, fee)
	return tx, height, err
}

// keep makes a signed transaction durable, together with the rest of batch, and registers it as busy.
func (b *Bundler) keep(tx *l1.Tx, batch *store.Batch, record flightRecord) (*flight, error) {
	f := &flight{tx: tx.Bare(), busy: true, record: record, unseen: true}
	raw, err := json.Marshal(f.tx)
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	f.record.Tx = raw
	if len(tx.Data) > 0 {
		f.record.Data = dataFiles + hexID(tx.ID)
		if err := b.cfg.Store.PutFile(f.record.Data, bytes.NewReader(tx.Data)); err != nil {
			return nil, storeError("write transaction data", err)
		}
	}
	if err := b.save(f, batch); err != nil {
		return nil, err
	}
	b.lock.Lock()
	b.flights[tx.ID] = f
	b.lock.Unlock()
	return f, nil
}

func (b *Bundler) save(f *flight, batch *store.Batch) error {
	raw, err := json.Marshal(f.record)
	if err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	batch.Put(flightKeys+hexID(f.tx.ID), raw)
	if err := b.cfg.Store.Commit(batch); err != nil {
		return storeError("keep transaction", err)
	}
	return nil
}

// data reads what the transaction carries; nil for nothing.
func (b *Bundler) data(f *flight) ([]byte, error) {
	if f.record.Data == "" {
		return nil, nil
	}
	return b.readFile(f.record.Data)
}

// post sends a kept transaction and notes that it was taken. Whatever was taken before and is gone, or may have been, goes
// to every gateway: the one that comes first may be the one that forgets.
func (b *Bundler) post(ctx context.Context, f *flight) error {
	tx := *f.tx
	var err error
	if tx.Data, err = b.data(f); err != nil {
		return err
	}
	maybe, err := b.cfg.Client.postTx(ctx, &tx, !f.unseen)
	if maybe {
		f.unseen = false
	}
	if err != nil {
		return err
	}
	f.depth = 0
	return b.noteTaken(f)
}

// noteTaken keeps that the network has the transaction.
func (b *Bundler) noteTaken(f *flight) error {
	now := b.cfg.Clock()
	f.record.Posted = now.UnixMilli()
	f.posted.Store(true)
	f.pause.wait(now, b.cfg.Poll)
	return b.save(f, &store.Batch{})
}

// forget ends the watch over a transaction.
func (b *Bundler) forget(f *flight) error {
	var batch store.Batch
	batch.Delete(flightKeys + hexID(f.tx.ID))
	if err := b.cfg.Store.Commit(&batch); err != nil {
		return storeError("forget transaction", err)
	}
	b.lock.Lock()
	delete(b.flights, f.tx.ID)
	b.lock.Unlock()
	if f.record.Data == "" {
		return nil
	}
	if err := b.cfg.Store.RemoveFile(f.record.Data); err != nil {
		return storeError("remove transaction data", err)
	}
	return nil
}

// dueFlights takes the transactions to look at now, oldest first; each is given back by release.
func (b *Bundler) dueFlights(now time.Time) []*flight {
	b.lock.Lock()
	defer b.lock.Unlock()
	var due []*flight
	for _, f := range b.flights {
		if !f.busy && f.pause.left(now) == 0 {
			f.busy = true
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(x, y *flight) int {
		return cmp.Or(cmp.Compare(x.record.Since, y.record.Since), bytes.Compare(x.tx.ID[:], y.tx.ID[:]))
	})
	return due
}

func (b *Bundler) release(f *flight) {
	b.lock.Lock()
	f.busy = false
	b.lock.Unlock()
}

func (b *Bundler) nextFlight(now time.Time) time.Duration {
	b.lock.Lock()
	defer b.lock.Unlock()
	next := time.Hour
	for _, f := range b.flights {
		if !f.busy {
			next = min(next, f.pause.left(now))
		}
	}
	return next
}
