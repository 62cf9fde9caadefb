package arweave

import (
	"context"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// cut closes one bundle: reads the head of the queue, signs, and moves the items from the queue into the transaction in
// one commit.
func (b *Bundler) cut(ctx context.Context) error {
	var batch store.Batch
	var items []*ans104.Item
	var files []string
	var count int
	var size int64
	var since time.Time // of the oldest item
	take := func(q store.Queued) (bool, error) {
		n, file, err := entrySize(q.Value)
		if err == nil && len(items) > 0 && size+n > b.cfg.MaxBytes {
			return false, nil
		}
		it, err := b.queuedItem(q.Value)
		if isStoreError(err) {
			return false, err
		}
		batch.Done(itemQueue, q.Seq)
		if err != nil {
			b.cfg.Log.Error("drop unreadable queue entry", "seq", q.Seq, "err", err)
			return true, nil
		}
		if file != "" {
			files = append(files, file)
		}
		if len(items) == 0 {
			since = queuedAt(q.Value)
		}
		items, count, size = append(items, it), count+1, size+n
		return len(items) < b.cfg.MaxItems, nil
	}
	for after, more := uint64(0), true; more; {
		page, err := b.cfg.Store.Pending(itemQueue, after, queuePage)
		if err != nil {
			return storeError("read queue", err)
		}
		for _, q := range page {
			if more, err = take(q); err != nil {
				return err
			}
			if !more {
				break
			}
			after = q.Seq
		}
		more = more && len(page) == queuePage
	}
	if err := b.cutItems(ctx, items, since, &batch); err != nil {
		return err
	}
	b.lock.Lock()
	b.items, b.bytes = b.items-count, b.bytes-size
	b.lock.Unlock()
	for _, name := range files {
		if err := b.cfg.Store.RemoveFile(name); err != nil {
			return storeError("remove item", err)
		}
	}
	return nil
}

func (b *Bundler) cutItems(ctx context.Context, items []*ans104.Item, since time.Time, batch *store.Batch) error {
	if len(items) == 0 {
		if err := b.cfg.Store.Commit(batch); err != nil {
			return storeError("clean queue", err)
		}
		return nil
	}
	tx, height, err := b.sign(ctx, TxDraft{Tags: BundleTags(), Data: ans104.BuildBundle(items)})
	if err != nil {
		return err
	}
	f, err := b.keep(tx, batch, flightRecord{SignedAt: height, Oldest: items[0].ID(), Since: since.UnixMilli()})
	if err != nil {
		return err
	}
	b.release(f)
	b.cfg.Log.Debug("closed bundle", "tx", tx.ID, "items", len(items), "bytes", len(tx.Data), "fee", tx.Reward)
	return nil
}

// BundleTags mark a transaction or an item whose data is a bundle.
func BundleTags() []ans104.Tag {
	return []ans104.Tag{{Name: "Bundle-Format", Value: "binary"}, {Name: "Bundle-Version", Value: "2.0.0"}}
}
