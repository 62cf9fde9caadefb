package arweave

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// What the bundler keeps in the store.
const (
	itemQueue  = "arweave/items"    // entry: time, kind, then the item or the name of its file
	itemFiles  = "arweave/items/"   // items too large for the queue, by ID
	dataFiles  = "arweave/data/"    // data of signed transactions
	flightKeys = "arweave/flights/" // signed transactions by ID
	seenKeys   = "arweave/seen/"    // items taken, by ID
	ageKeys    = "arweave/age/"     // the same by time, for forgetting them

	// spillOver is the item size above which the queue holds a file's name: pages of the queue stay small.
	spillOver  = 64 << 10
	queuePage  = 64
	batchBytes = 8 << 20
	entryHead  = 9

	kindInline = 0
	kindFile   = 1
)

// Put queues items durably; see Archive.
func (b *Bundler) Put(ctx context.Context, items ...*ans104.Item) error {
	if err := b.load(); err != nil {
		return err
	}
	fresh := make([]*ans104.Item, 0, len(items))
	ids := make(map[ans104.ID]bool, len(items))
	for _, it := range items {
		if int64(len(it.Raw())) > b.cfg.Client.maxItem {
			return fmt.Errorf("put item %s: %w: %d bytes", it.ID(), ErrTooLarge, len(it.Raw()))
		}
		if !ids[it.ID()] {
			ids[it.ID()] = true
			fresh = append(fresh, it)
		}
	}
	done, err := b.claim(ctx, ids)
	if err != nil {
		return fmt.Errorf("put items: %w", err)
	}
	defer done()
	now := b.cfg.Clock()
	var batch store.Batch
	var count int
	var size, batched int64
	flush := func() error {
		if err := b.cfg.Store.Commit(&batch); err != nil {
			return storeError("queue items", err)
		}
		b.lock.Lock()
		b.items, b.bytes = b.items+count, b.bytes+size
		urgent := b.items == count || b.items >= b.cfg.MaxItems || b.bytes >= b.cfg.MaxBytes
		b.lock.Unlock()
		if urgent {
			b.poke()
		}
		batch, count, size, batched = store.Batch{}, 0, 0, 0
		return nil
	}
	for _, it := range fresh {
		known, err := b.seen(it.ID())
		if err != nil {
			return err
		}
		if known {
			continue
		}
		entry, err := b.queueEntry(it, now)
		if err != nil {
			return err
		}
		batch.Push(itemQueue, entry)
		batch.Put(seenKeys+hexID(it.ID()), nil)
		batch.Put(ageKey(now, it.ID()), nil)
		count, size, batched = count+1, size+int64(len(it.Raw())), batched+int64(len(entry))
		if batched >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if count > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// claim waits until no other Put is writing one of these items, so that a duplicate is answered only once the first is
// durable, and then holds them.
func (b *Bundler) claim(ctx context.Context, ids map[ans104.ID]bool) (done func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b.lock.Lock()
		var busy chan struct{}
		for id := range ids {
			if ch := b.claimed[id]; ch != nil {
				busy = ch
				break
			}
		}
		if busy == nil {
			break
		}
		b.lock.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
	defer b.lock.Unlock()
	written := make(chan struct{})
	for id := range ids {
		b.claimed[id] = written
	}
	return func() {
		b.lock.Lock()
		defer b.lock.Unlock()
		for id := range ids {
			delete(b.claimed, id)
		}
		close(written)
	}, nil
}

func (b *Bundler) seen(id ans104.ID) (bool, error) {
	_, err := b.cfg.Store.Get(seenKeys + hexID(id))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, storeError("look up item", err)
	}
	return true, nil
}

// queueEntry encodes an item for the queue and writes its file if it needs one.
func (b *Bundler) queueEntry(it *ans104.Item, now time.Time) ([]byte, error) {
	entry := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	if len(it.Raw()) <= spillOver {
		return append(append(entry, kindInline), it.Raw()...), nil
	}
	name := itemFiles + hexID(it.ID())
	if err := b.cfg.Store.PutFile(name, bytes.NewReader(it.Raw())); err != nil {
		return nil, storeError("write item", err)
	}
	entry = binary.BigEndian.AppendUint64(append(entry, kindFile), uint64(len(it.Raw())))
	return append(entry, name...), nil
}

func queuedAt(entry []byte) time.Time {
	if len(entry) < entryHead {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(entry)))
}

// entrySize is the length of a queued item without fetching it, and the file it is in, if any.
func entrySize(entry []byte) (size int64, file string, err error) {
	if len(entry) < entryHead || (entry[8] == kindFile && len(entry) < entryHead+8) || entry[8] > kindFile {
		return 0, "", errors.New("malformed queue entry")
	}
	if entry[8] == kindInline {
		return int64(len(entry) - entryHead), "", nil
	}
	return int64(binary.BigEndian.Uint64(entry[entryHead:])), string(entry[entryHead+8:]), nil
}

// queuedID is the ID of a queued item, whose file is not read for it.
func queuedID(entry []byte) (id ans104.ID, ok bool) {
	_, file, err := entrySize(entry)
	if err != nil {
		return id, false
	}
	if file != "" {
		raw, err := hex.DecodeString(strings.TrimPrefix(file, itemFiles))
		return ans104.ID(append(raw, id[:]...)[:len(id)]), err == nil && len(raw) == len(id)
	}
	it, err := ans104.Parse(entry[entryHead:])
	if err != nil {
		return id, false
	}
	return it.ID(), true
}

func (b *Bundler) queuedItem(entry []byte) (*ans104.Item, error) {
	_, file, err := entrySize(entry)
	if err != nil {
		return nil, err
	}
	raw := entry[entryHead:]
	if file != "" {
		if raw, err = b.readFile(file); err != nil {
			return nil, err
		}
	}
	return ans104.Parse(raw)
}

func (b *Bundler) readFile(name string) ([]byte, error) {
	f, err := b.cfg.Store.OpenFile(name)
	if err != nil {
		return nil, storeError("open "+name, err)
	}
	defer f.Close()
	raw := make([]byte, f.Size())
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, storeError("read "+name, err)
	}
	return raw, nil
}

// load reads what an earlier run left, once.
func (b *Bundler) load() error {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.loaded {
		return nil
	}
	used := map[string]bool{}
	var items int
	var size int64
	for after := uint64(0); ; {
		page, err := b.cfg.Store.Pending(itemQueue, after, queuePage)
		if err != nil {
			return storeError("read queue", err)
		}
		for _, q := range page {
			n, file, err := entrySize(q.Value)
			if err != nil {
				continue // the cut drops it and says so
			}
			items, size, used[file] = items+1, size+n, true
		}
		if len(page) < queuePage {
			break
		}
		after = page[len(page)-1].Seq
	}
	flights, err := b.loadFlights(used)
	if err != nil {
		return err
	}
	// Files without an owner are what a crash between a file and its commit left.
	for _, prefix := range []string{itemFiles, dataFiles} {
		files, err := b.cfg.Store.ListFiles(prefix)
		if err != nil {
			return storeError("list files", err)
		}
		for _, f := range files {
			if used[f.Name] {
				continue
			}
			if err := b.cfg.Store.RemoveFile(f.Name); err != nil {
				return storeError("remove file", err)
			}
		}
	}
	b.items, b.bytes, b.flights, b.loaded = items, size, flights, true
	return nil
}

// prune forgets items that were taken long ago: a duplicate after that is settled twice, which only costs its fee.
func (b *Bundler) prune(now time.Time) error {
	if !b.prunedAt.IsZero() && now.Sub(b.prunedAt) < time.Hour && !now.Before(b.prunedAt) {
		return nil
	}
	for {
		old, err := b.cfg.Store.Scan(ageKeys, "", queuePage)
		if err != nil {
			return storeError("scan items", err)
		}
		limit := ageKey(now.Add(-b.cfg.KeepSeen), ans104.ID{})
		var batch store.Batch
		for _, p := range old {
			if p.Key >= limit {
				break
			}
			batch.Delete(p.Key)
			batch.Delete(seenKeys + p.Key[strings.LastIndexByte(p.Key, '/')+1:])
		}
		if batch.Len() == 0 {
			b.prunedAt = now
			return nil
		}
		if err := b.cfg.Store.Commit(&batch); err != nil {
			return storeError("forget items", err)
		}
	}
}

func hexID(id ans104.ID) string { return hex.EncodeToString(id[:]) }

func ageKey(at time.Time, id ans104.ID) string {
	return fmt.Sprintf("%s%020d/%s", ageKeys, max(at.UnixMilli(), 0), hexID(id))
}
