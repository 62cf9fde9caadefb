package store

import (
	"fmt"
	"strings"
)

// Batch collects intentions that one Commit applies together. The zero value is ready. Keys and names are checked by
// Commit; byte slices are kept, not copied, so they must not change before Commit returns. A Batch is not for
// concurrent use.
type Batch struct {
	changes []change
	bytes   int
}

// verb says what a change does.
type verb uint8

const (
	verbPut verb = iota
	verbDelete
	verbAppend
	verbPush
	verbDone
	verbRequire
	verbPutView    // the name is a whole key of the engine
	verbDeleteView // the same
)

func (v verb) String() string {
	if v == verbRequire {
		return "require length"
	}
	return "append"
}

// change is one intention: name is a key, a log or a queue, number an index or a sequence number.
type change struct {
	verb   verb
	name   string
	number uint64
	value  []byte
	more   [][]byte // of a record, behind value
}

// size is that of the value.
func (c *change) size() int {
	n := len(c.value)
	for _, part := range c.more {
		n += len(part)
	}
	return n
}

// Put sets key to value.
func (b *Batch) Put(key string, value []byte) { b.add(change{verb: verbPut, name: key, value: value}) }

// Delete removes key; one that is not there is not an error.
func (b *Batch) Delete(key string) { b.add(change{verb: verbDelete, name: key}) }

// Append adds a record to a log at index, which must be the log's length; the batch is refused otherwise. What is in more
// belongs to the record.
func (b *Batch) Append(log string, index uint64, record []byte, more ...[]byte) {
	b.add(change{verb: verbAppend, name: log, number: index, value: record, more: more})
}

// Require refuses the batch unless a log has exactly that many records, counting those that the batch appended before.
func (b *Batch) Require(log string, length uint64) {
	b.add(change{verb: verbRequire, name: log, number: length})
}

// Push adds an entry at the end of a queue.
func (b *Batch) Push(queue string, value []byte) {
	b.add(change{verb: verbPush, name: queue, value: value})
}

// Done removes the entry numbered seq from a queue; one that is not there is not an error.
func (b *Batch) Done(queue string, seq uint64) {
	b.add(change{verb: verbDone, name: queue, number: seq})
}

// Len returns the number of intentions recorded.
func (b *Batch) Len() int { return len(b.changes) }

// onlyRemoves says whether the batch makes room and takes none.
func (b *Batch) onlyRemoves() bool {
	for i := range b.changes {
		switch b.changes[i].verb {
		case verbDelete, verbDone, verbRequire, verbDeleteView:
		default:
			return false
		}
	}
	return true
}

func (b *Batch) add(c change) {
	if b.changes == nil {
		b.changes = make([]change, 0, 6)
	}
	b.changes = append(b.changes, c)
	b.bytes += len(c.name) + c.size()
}

// check finds what no engine should be handed.
func (b *Batch) check() error {
	if b.bytes > MaxBatch {
		return fmt.Errorf("check batch of %d bytes: %w", b.bytes, ErrTooLarge)
	}
	for i := range b.changes {
		c := &b.changes[i]
		if n := c.size(); n > MaxValue {
			return fmt.Errorf("check value of %d bytes for %q: %w", n, c.name, ErrTooLarge)
		}
		var err error
		switch c.verb {
		case verbPut, verbDelete, verbPutView, verbDeleteView:
			err = checkKey(c.name)
		default:
			err = checkName(c.name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("check key of %d bytes: %w", len(key), ErrKey)
	}
	return nil
}

// checkName admits names of logs and queues: any bytes but zero, which ends a name inside the engine's keys.
func checkName(name string) error {
	if name == "" || len(name) > MaxName || strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("check name of %d bytes: %w", len(name), ErrName)
	}
	return nil
}
