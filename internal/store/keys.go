package store

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// The first byte of every engine key is its space. The datastore views own "/", with which every go-datastore key
// begins. Numbers are big-endian, so that byte order is number order.
const (
	spaceValue  = 'k' // k KEY                -> value
	spaceLog    = 'n' // n LOG                -> nothing: the log exists
	spaceRecord = 'l' // l LOG 0x00 INDEX     -> record
	spaceLast   = 's' // s QUEUE              -> last sequence number reserved
	spaceQueued = 'q' // q QUEUE 0x00 SEQ     -> value
)

// plainKey is the engine key of a name in a space without numbers.
func plainKey(space byte, name string) []byte {
	return append(append(make([]byte, 0, 2+len(name)), space), name...)
}

// numberedKey is the engine key of a numbered entry.
func numberedKey(space byte, name string, number uint64) []byte {
	k := make([]byte, 0, 1+len(name)+1+8)
	k = append(append(k, space), name...)
	return binary.BigEndian.AppendUint64(append(k, 0), number)
}

// set writes a plain key straight into the engine's batch.
func set(batch *pebble.Batch, value []byte, space byte, name string) error {
	op := batch.SetDeferred(1+len(name), len(value))
	op.Key[0] = space
	copy(op.Key[1:], name)
	copy(op.Value, value)
	return op.Finish()
}

// setNumbered writes a numbered key, with the value of a change, straight into the engine's batch.
func setNumbered(batch *pebble.Batch, c *change, space byte, name string, number uint64) error {
	op := batch.SetDeferred(1+len(name)+1+8, c.size())
	op.Key[0] = space
	op.Key[1+copy(op.Key[1:], name)] = 0
	binary.BigEndian.PutUint64(op.Key[len(op.Key)-8:], number)
	rest := op.Value[copy(op.Value, c.value):]
	for _, part := range c.more {
		rest = rest[copy(rest, part):]
	}
	return op.Finish()
}

// keyNumber reads the number back from a numbered key.
func keyNumber(key []byte, name string) (uint64, error) {
	if len(key) != 1+len(name)+1+8 {
		return 0, fmt.Errorf("read key of %d bytes under %q: %w", len(key), name, ErrCorrupt)
	}
	return binary.BigEndian.Uint64(key[len(key)-8:]), nil
}

// afterPrefix is the smallest key above every key that starts with prefix, which begins with a space byte.
func afterPrefix(prefix []byte) []byte {
	up := append([]byte(nil), prefix...)
	for i := len(up) - 1; i >= 0; i-- {
		if up[i] < 0xff {
			up[i]++
			return up[:i+1]
		}
	}
	return nil
}

// boundLimit makes any limit one that a read can honour.
func boundLimit(limit int) int {
	if limit <= 0 || limit > MaxScan {
		return MaxScan
	}
	return limit
}
