package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// maxCounters bounds the counters remembered in memory; past it they are forgotten and read again when needed.
const maxCounters = 1 << 16

// Commit implements Store.
//
// The order is what makes append-if-next safe. Under the lock, and only there, lengths are compared, numbers given, and
// the batch enters the engine's journal; the wait for the disk comes after, outside, so that all callers waiting
// then are served by one synced write. The journal is synced in order: no record is durable without those before it.
func (d *database) Commit(b *Batch) error {
	if b == nil || len(b.changes) == 0 {
		return nil
	}
	if err := b.check(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := d.enter(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	defer d.gate.leave()

	batch := d.db.NewBatchWithSize(b.bytes + 32*len(b.changes))
	keys, err := prepare(batch, b)
	if err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), batch.Close())
	}
	fl, err := d.apply(batch, b, keys)
	if err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), batch.Close())
	}
	if err := batch.SyncWait(); err != nil {
		d.breakDown(err)
	}
	// A crash pulled meanwhile must not be answered with success, whatever reached the disk.
	err = d.broken()
	d.flights.land(fl, err)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := batch.Close(); err != nil {
		return fmt.Errorf("commit: release batch: %w", err)
	}
	return nil
}

// prepare encodes all that needs no lock and returns the engine keys a reader must wait for.
func prepare(batch *pebble.Batch, b *Batch) ([]string, error) {
	keys := make([]string, 0, len(b.changes))
	for _, c := range b.changes {
		var err error
		switch c.verb {
		case verbPut:
			key := plainKey(spaceValue, c.name)
			keys = append(keys, string(key))
			err = batch.Set(key, c.value, nil)
		case verbDelete:
			key := plainKey(spaceValue, c.name)
			keys = append(keys, string(key))
			err = batch.Delete(key, nil)
		case verbAppend:
			keys = append(keys, string(plainKey(spaceLength, c.name)))
			err = batch.Set(numberedKey(spaceRecord, c.name, c.number), c.value, nil)
		case verbDone:
			keys = append(keys, string(plainKey(spaceLast, c.name)))
			err = batch.Delete(numberedKey(spaceQueued, c.name, c.number), nil)
		case verbPush:
			keys = append(keys, string(plainKey(spaceLast, c.name)))
		}
		if err != nil {
			return nil, fmt.Errorf("encode %q: %w", c.name, err)
		}
	}
	return keys, nil
}

// apply gives numbers and hands the batch to the engine's journal. On error nothing has been handed over.
func (d *database) apply(batch *pebble.Batch, b *Batch, keys []string) (*flight, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if err := d.broken(); err != nil {
		return nil, err
	}
	counted := make(map[string]uint64)
	for _, c := range b.changes {
		if err := d.count(counted, batch, c); err != nil {
			return nil, err
		}
	}
	for key, n := range counted {
		if err := batch.Set([]byte(key), binary.BigEndian.AppendUint64(nil, n), nil); err != nil {
			return nil, fmt.Errorf("encode counter: %w", err)
		}
	}
	fl := d.flights.depart(keys)
	if err := d.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		d.breakDown(err)
		d.flights.land(fl, d.broken())
		return nil, d.broken()
	}
	if len(d.counters)+len(counted) > maxCounters {
		clear(d.counters)
	}
	for key, n := range counted {
		d.counters[key] = n
	}
	return fl, nil
}

// count checks an append against its log's length, or numbers a push. The lock is held.
func (d *database) count(counted map[string]uint64, batch *pebble.Batch, c change) error {
	var space byte
	switch c.verb {
	case verbAppend:
		space = spaceLength
	case verbPush:
		space = spaceLast
	default:
		return nil
	}
	key := plainKey(space, c.name)
	n, ok := counted[string(key)]
	if !ok {
		var err error
		if n, err = d.counter(key); err != nil {
			return err
		}
	}
	if c.verb == verbAppend && c.number != n {
		return fmt.Errorf("append %d to %q of length %d: %w", c.number, c.name, n, ErrNotNext)
	}
	counted[string(key)] = n + 1
	if c.verb == verbPush {
		return batch.Set(numberedKey(spaceQueued, c.name, n+1), c.value, nil)
	}
	return nil
}

// counter returns a counter's value as of the last applied batch. The lock is held.
func (d *database) counter(key []byte) (uint64, error) {
	if n, ok := d.counters[string(key)]; ok {
		return n, nil
	}
	return d.readCounter(key)
}

// readCounter reads a counter from the engine; one never written is 0.
func (d *database) readCounter(key []byte) (uint64, error) {
	raw, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read counter %q: %w", key[1:], err)
	}
	defer func() { _ = closer.Close() }()
	if len(raw) != 8 {
		return 0, fmt.Errorf("read counter %q of %d bytes: %w", key[1:], len(raw), ErrCorrupt)
	}
	return binary.BigEndian.Uint64(raw), nil
}
