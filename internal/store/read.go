package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Get implements Store.
func (d *database) Get(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	defer d.gate.leave()
	k := plainKey(spaceValue, key)
	value, err := d.get(k)
	// Read first, then wait: whatever this read saw had departed before it, so it is found here or has landed. An
	// absence is settled too, for a deletion may be on its way.
	if serr := d.settle(flightKey{spaceValue, key}); serr != nil {
		return nil, fmt.Errorf("get %q: %w", key, serr)
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	return value, nil
}

// settle waits until what was read under key is durable. A flight that failed may have landed before it was looked for;
// then the store is broken, which is known before any flight lands.
func (d *database) settle(key flightKey) error {
	if err := d.flights.settle(key); err != nil {
		return err
	}
	return d.broken()
}

// settleAll is settle for everything read so far.
func (d *database) settleAll() error {
	if err := d.flights.settleAll(); err != nil {
		return err
	}
	return d.broken()
}

// get looks a key up. The engine's own Get asks no filter of the lowest level, where nearly everything lies, and would
// read and unpack a block for every key that is not there.
func (d *database) get(key []byte) ([]byte, error) {
	it, err := d.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, fmt.Errorf("open iterator: %w", err)
	}
	var value []byte
	found := it.SeekPrefixGE(key) && bytes.Equal(it.Key(), key)
	if found {
		var raw []byte
		raw, err = it.ValueAndErr()
		value = append(make([]byte, 0, len(raw)), raw...)
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return nil, damaged(err)
	}
	if !found {
		return nil, ErrNotFound
	}
	return value, nil
}

// Scan implements Store.
func (d *database) Scan(prefix, after string, limit int) ([]Pair, error) {
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("scan %q: %w", prefix, err)
	}
	defer d.gate.leave()
	limit = boundLimit(limit)
	var out []Pair
	err := d.walk(spaceValue, prefix, after, func(name string, value []byte) bool {
		out = append(out, Pair{Key: name, Value: bytes.Clone(value)})
		return len(out) < limit
	})
	if err == nil {
		err = d.settleAll()
	}
	if err != nil {
		return nil, fmt.Errorf("scan %q: %w", prefix, err)
	}
	return out, nil
}

// Logs implements Store.
func (d *database) Logs(prefix, after string, limit int) ([]string, error) {
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("list logs %q: %w", prefix, err)
	}
	defer d.gate.leave()
	limit = boundLimit(limit)
	var out []string
	err := d.walk(spaceLog, prefix, after, func(name string, _ []byte) bool {
		out = append(out, name)
		return len(out) < limit
	})
	if err == nil {
		err = d.settleAll()
	}
	if err != nil {
		return nil, fmt.Errorf("list logs %q: %w", prefix, err)
	}
	return out, nil
}

// walk visits the names of a space that start with prefix and sort strictly after `after`, until visit says stop.
func (d *database) walk(space byte, prefix, after string, visit func(name string, value []byte) bool) error {
	low := plainKey(space, prefix)
	high := afterPrefix(low)
	if after != "" && after >= prefix {
		low = append(plainKey(space, after), 0)
	}
	return d.iterate(low, high, func(key, value []byte) (bool, error) {
		return visit(string(key[1:]), value), nil
	})
}

// iterate visits the engine's entries in [low, high) until visit says stop or fails.
func (d *database) iterate(low, high []byte, visit func(key, value []byte) (bool, error)) error {
	if high != nil && bytes.Compare(low, high) >= 0 {
		return nil
	}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return fmt.Errorf("open iterator: %w", err)
	}
	more := true
	for ok := it.First(); ok && more && err == nil; ok = it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			more, err = visit(it.Key(), value)
		}
	}
	return damaged(errors.Join(err, it.Error(), it.Close()))
}

// Len implements Store.
func (d *database) Len(log string) (uint64, error) {
	if err := checkName(log); err != nil {
		return 0, fmt.Errorf("measure log: %w", err)
	}
	if err := d.enter(); err != nil {
		return 0, fmt.Errorf("measure log %q: %w", log, err)
	}
	defer d.gate.leave()
	n, ok := d.numbers.lengthOf(log)
	var err error
	if !ok {
		n, err = d.findLength(log)
	}
	if err == nil {
		err = d.settle(flightKey{spaceRecord, log})
	}
	if err != nil {
		return 0, fmt.Errorf("measure log %q: %w", log, err)
	}
	return n, nil
}

// Range implements Store.
func (d *database) Range(log string, from uint64, limit int) ([][]byte, error) {
	if err := checkName(log); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("read log %q: %w", log, err)
	}
	defer d.gate.leave()
	limit = boundLimit(limit)
	var (
		out  [][]byte
		size int
		next = from
	)
	low := numberedKey(spaceRecord, log, from)
	high := append(plainKey(spaceRecord, log), 1)
	err := d.iterate(low, high, func(key, value []byte) (bool, error) {
		index, err := keyNumber(key, log)
		if err != nil {
			return false, err
		}
		if index != next {
			return false, fmt.Errorf("record %d is missing: %w", next, ErrCorrupt)
		}
		if len(out) > 0 && size+len(value) > MaxRangeBytes {
			return false, nil
		}
		out = append(out, append(make([]byte, 0, len(value)), value...))
		size += len(value)
		next++
		return len(out) < limit, nil
	})
	if err == nil {
		err = d.settle(flightKey{spaceRecord, log})
	}
	if err != nil {
		return nil, fmt.Errorf("read log %q from %d: %w", log, from, err)
	}
	return out, nil
}

// Pending implements Store.
func (d *database) Pending(queue string, after uint64, limit int) ([]Queued, error) {
	if err := checkName(queue); err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("read queue %q: %w", queue, err)
	}
	defer d.gate.leave()
	if after == ^uint64(0) {
		return nil, nil
	}
	limit = boundLimit(limit)
	var out []Queued
	low := numberedKey(spaceQueued, queue, after+1)
	high := append(plainKey(spaceQueued, queue), 1)
	err := d.iterate(low, high, func(key, value []byte) (bool, error) {
		seq, err := keyNumber(key, queue)
		if err != nil {
			return false, err
		}
		out = append(out, Queued{Seq: seq, Value: append(make([]byte, 0, len(value)), value...)})
		return len(out) < limit, nil
	})
	if err == nil {
		err = d.settle(flightKey{spaceQueued, queue})
	}
	if err != nil {
		return nil, fmt.Errorf("read queue %q: %w", queue, err)
	}
	return out, nil
}
