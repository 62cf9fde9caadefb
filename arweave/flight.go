package arweave

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// flight is a signed transaction on its way. Its bytes are durable before they are posted for the first time, so that a
// restart posts the same transaction again and never a second one.
type flight struct {
	tx     *Tx // without data
	record flightRecord
	busy   bool // somebody is posting or looking at it; guarded by Bundler.lock
	pause  pause
}

// flightRecord is a flight in the store.
type flightRecord struct {
	Tx json.RawMessage `json:"tx"`
	// Data is the file with the data; "" for none.
	Data string `json:"data"`
	// Posted is when the gateways last took it, in Unix milliseconds; 0 for not yet.
	Posted int64 `json:"posted"`
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
			if f.tx, err = ParseTx(f.record.Tx); err != nil {
				return nil, storeError("decode "+p.Key, err)
			}
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
	tx, err := b.sign(ctx, draft)
	if err != nil {
		return ans104.ID{}, err
	}
	f, err := b.keep(tx, &store.Batch{}, true)
	if err != nil {
		return ans104.ID{}, err
	}
	defer b.poke()
	defer b.release(f)
	err = b.post(ctx, f)
	if errors.Is(err, ErrRejected) {
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

// sign prices and signs a draft, within the fee limit.
func (b *Bundler) sign(ctx context.Context, draft TxDraft) (*Tx, error) {
	anchor, err := b.cfg.Client.anchor(ctx)
	if err != nil {
		return nil, fmt.Errorf("get anchor: %w", err)
	}
	fee, err := b.cfg.Client.price(ctx, len(draft.Data), draft.Target)
	if err != nil {
		return nil, fmt.Errorf("get price: %w", err)
	}
	if fee.Cmp(b.maxFee) > 0 {
		return nil, fmt.Errorf("%w: the gateway asks %s winston for %d bytes, the limit is %s", ErrRejected, fee, len(draft.Data), b.maxFee)
	}
	return b.cfg.Wallet.SignTx(draft, anchor, fee)
}

// keep makes a signed transaction durable, together with the rest of batch, and registers it as busy.
func (b *Bundler) keep(tx *Tx, batch *store.Batch, fixed bool) (*flight, error) {
	f := &flight{tx: tx.Bare(), busy: true, record: flightRecord{Fixed: fixed}}
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

// post sends a kept transaction and notes that it was taken.
func (b *Bundler) post(ctx context.Context, f *flight) error {
	tx := *f.tx
	if f.record.Data != "" {
		data, err := b.readFile(f.record.Data)
		if err != nil {
			return err
		}
		tx.Data = data
	}
	if err := b.cfg.Client.postTx(ctx, &tx); err != nil {
		return err
	}
	now := b.cfg.Clock()
	f.record.Posted = now.UnixMilli()
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

// dueFlights takes the transactions to look at now; each is given back by release.
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

// advance takes one transaction one step on. Only a failing store is an error.
func (b *Bundler) advance(ctx context.Context, f *flight) error {
	now := b.cfg.Clock()
	var err error
	if f.record.Posted == 0 {
		if err = b.post(ctx, f); errors.Is(err, ErrRejected) {
			err = b.refused(ctx, f, err)
		}
	} else {
		err = b.watch(ctx, f, now)
	}
	if err == nil || isStoreError(err) {
		return err
	}
	if ctx.Err() == nil {
		b.cfg.Log.Warn("settle transaction", "tx", f.tx.ID, "err", err)
	}
	f.pause.failed(now)
	return nil
}

// watch looks how deep a posted transaction is.
func (b *Bundler) watch(ctx context.Context, f *flight, now time.Time) error {
	conf, err := anyGateway(ctx, b.cfg.Client, func(ctx context.Context, g *gateway) (Confirmation, error) {
		conf, known, err := b.cfg.Client.txStatus(ctx, g, f.tx.ID)
		if err == nil && !known {
			err = ErrNotFound
		}
		return conf, err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		if now.Sub(time.UnixMilli(f.record.Posted)) >= b.cfg.RepostAfter {
			b.cfg.Log.Warn("transaction dropped by the network, posting it again", "tx", f.tx.ID)
			f.record.Posted = 0
			return b.advanceAgain(ctx, f)
		}
		f.pause.wait(now, b.cfg.Poll)
		return nil
	case err != nil:
		return err
	case conf.Depth >= b.cfg.Depth:
		b.cfg.Log.Info("settled", "tx", f.tx.ID, "block", conf.Height, "depth", conf.Depth)
		return b.forget(f)
	}
	f.pause.wait(now, b.cfg.Poll)
	return nil
}

func (b *Bundler) advanceAgain(ctx context.Context, f *flight) error {
	err := b.post(ctx, f)
	if errors.Is(err, ErrRejected) {
		return b.refused(ctx, f, err)
	}
	return err
}

// refused answers a final no: the anchor has expired, the price has risen, or the wallet is empty. A bundle is signed
// anew; the old transaction cannot be mined any more, and if it is after all, its items are merely there twice.
func (b *Bundler) refused(ctx context.Context, f *flight, cause error) error {
	if f.record.Fixed {
		b.cfg.Log.Error("transaction lost: the network refuses it for good", "tx", f.tx.ID, "err", cause)
		return b.forget(f)
	}
	b.cfg.Log.Warn("transaction refused, signing its bundle anew", "tx", f.tx.ID, "err", cause)
	var data []byte
	var err error
	if f.record.Data != "" {
		if data, err = b.readFile(f.record.Data); err != nil {
			return err
		}
	}
	tx, err := b.sign(ctx, TxDraft{Tags: f.tx.Tags, Data: data})
	if err != nil {
		return err
	}
	var batch store.Batch
	batch.Delete(flightKeys + hexID(f.tx.ID))
	renewed, err := b.keep(tx, &batch, false)
	if err != nil {
		return err
	}
	b.lock.Lock()
	delete(b.flights, f.tx.ID)
	b.lock.Unlock()
	renewed.pause.failed(b.cfg.Clock())
	b.release(renewed)
	if err := b.cfg.Store.RemoveFile(f.record.Data); err != nil {
		return storeError("remove transaction data", err)
	}
	return nil
}
