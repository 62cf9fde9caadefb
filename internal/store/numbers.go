package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// maxCounters bounds the counters remembered in memory; past it they are forgotten and found again when needed.
	maxCounters = 1 << 16
	// reserveAhead is how many numbers of a queue are taken at once, so that not every push writes the last one down. A
	// restart passes over what is left of them.
	reserveAhead = 1024
)

// numbers are the lengths of logs and the last numbers of queues. A log's length is where its records end; it is not
// kept on disk a second time. The leader of a group alone counts; what it counted becomes everybody's when the
// group's batch is in the engine.
type numbers struct {
	lock    sync.Mutex
	lengths map[string]uint64
	lasts   map[string]last

	// The leader's own, until keep or drop.
	newLengths map[string]uint64
	newLasts   map[string]last
}

// last is where a queue's numbers stand.
type last struct {
	given    uint64 // the last number given
	reserved uint64 // the last number that may be given before another is written down
	news     bool   // reserved has moved and is not written down yet
}

func newNumbers() numbers {
	return numbers{
		lengths: make(map[string]uint64), lasts: make(map[string]last),
		newLengths: make(map[string]uint64), newLasts: make(map[string]last),
	}
}

// number checks the appends and requirements of a batch against the lengths of their logs and numbers its pushes; after
// an error nothing has moved.
func (d *database) number(b *Batch) error {
	var moved []string // logs, once for every append
	refuse := func(err error) error {
		for _, log := range moved {
			d.numbers.newLengths[log]--
		}
		return err
	}
	for i := range b.changes {
		c := &b.changes[i]
		if c.verb != verbAppend && c.verb != verbRequire {
			continue
		}
		n, err := d.length(c.name)
		if err != nil {
			return refuse(err)
		}
		if c.number != n {
			return refuse(fmt.Errorf("%s %d of %q, whose length is %d: %w", c.verb, c.number, c.name, n, ErrNotNext))
		}
		if c.verb == verbAppend {
			d.numbers.newLengths[c.name] = n + 1
			moved = append(moved, c.name)
		}
	}
	for i := range b.changes {
		c := &b.changes[i]
		if c.verb != verbPush {
			continue
		}
		l, err := d.lastOf(c.name)
		if err != nil {
			return refuse(err)
		}
		if l.given++; l.given > l.reserved {
			l.reserved, l.news = l.given+reserveAhead-1, true
		}
		c.number = l.given
		d.numbers.newLasts[c.name] = l
	}
	return nil
}

// length is a log's length with what the group before this batch appends. Only the leader calls it.
func (d *database) length(log string) (uint64, error) {
	if n, ok := d.numbers.newLengths[log]; ok {
		return n, nil
	}
	n, ok := d.numbers.lengthOf(log)
	if ok {
		return n, nil
	}
	return d.findLength(log)
}

// lengthOf is the length of a log as of the last batch that is in the engine, if it is remembered.
func (n *numbers) lengthOf(log string) (length uint64, ok bool) {
	n.lock.Lock()
	defer n.lock.Unlock()
	length, ok = n.lengths[log]
	return length, ok
}

// findLength finds where a log's records end.
func (d *database) findLength(log string) (uint64, error) {
	low := append(plainKey(spaceRecord, log), 0)
	high := append(plainKey(spaceRecord, log), 1)
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return 0, fmt.Errorf("open iterator: %w", err)
	}
	var length uint64
	if it.Last() {
		var index uint64
		if index, err = keyNumber(it.Key(), log); err == nil && index == ^uint64(0) {
			err = fmt.Errorf("log %q has an impossible record: %w", log, ErrCorrupt)
		}
		length = index + 1
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return 0, fmt.Errorf("find the end of log %q: %w", log, err)
	}
	return length, nil
}

// lastOf is where a queue's numbers stand within the group. Only the leader calls it.
func (d *database) lastOf(queue string) (last, error) {
	if l, ok := d.numbers.newLasts[queue]; ok {
		return l, nil
	}
	d.numbers.lock.Lock()
	l, ok := d.numbers.lasts[queue]
	d.numbers.lock.Unlock()
	if ok {
		return l, nil
	}
	raw, closer, err := d.db.Get(plainKey(spaceLast, queue))
	if errors.Is(err, pebble.ErrNotFound) {
		return last{}, nil
	}
	if err != nil {
		return last{}, fmt.Errorf("read last number of queue %q: %w", queue, err)
	}
	defer func() { _ = closer.Close() }()
	if len(raw) != 8 {
		return last{}, fmt.Errorf("last number of queue %q in %d bytes: %w", queue, len(raw), ErrCorrupt)
	}
	n := binary.BigEndian.Uint64(raw)
	return last{given: n, reserved: n}, nil
}

// reserve returns what must be written down before the queue's new numbers count, once.
func (n *numbers) reserve(queue string) (reserved uint64, news bool) {
	l := n.newLasts[queue]
	news, l.news = l.news, false
	n.newLasts[queue] = l
	return l.reserved, news
}

// keep makes what the leader counted everybody's.
func (n *numbers) keep() {
	n.lock.Lock()
	defer n.lock.Unlock()
	if len(n.lengths)+len(n.newLengths) > maxCounters {
		clear(n.lengths)
	}
	if len(n.lasts)+len(n.newLasts) > maxCounters {
		clear(n.lasts)
	}
	for log, l := range n.newLengths {
		n.lengths[log] = l
	}
	for queue, l := range n.newLasts {
		n.lasts[queue] = l
	}
	n.drop()
}

// drop forgets what the leader counted.
func (n *numbers) drop() {
	clear(n.newLengths)
	clear(n.newLasts)
}

func encodeNumber(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
