package store

import (
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// ticket is one caller's batch on its way through a group commit.
type ticket struct {
	batch *Batch
	err   error
	// turn gets one token: true when the answer is in err, false when it is this caller's turn to lead.
	turn chan bool
}

// Commit implements Store.
//
// Many callers share one synced write: whoever finds nobody at work leads, takes the batches that wait at that moment,
// writes them as one and wakes their callers; those who come meanwhile make the next group. One group at a time is what
// makes append-if-next safe: lengths are compared and numbers given by the leader alone. The engine's journal is
// synced in order, so that no record is durable without those before it.
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
	if err := d.space.admit(b); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	mine := &ticket{batch: b}
	if d.queue(mine) {
		d.lead(mine)
	}
	if mine.err != nil {
		return fmt.Errorf("commit: %w", mine.err)
	}
	return nil
}

// queue joins those who wait and says whether the caller leads; otherwise it has been answered.
func (d *database) queue(mine *ticket) (leads bool) {
	d.lock.Lock()
	d.waiting = append(d.waiting, mine)
	if !d.leading {
		d.leading = true
		d.lock.Unlock()
		return true
	}
	mine.turn = make(chan bool, 1)
	d.lock.Unlock()
	return !<-mine.turn
}

// lead commits the group that waits now, which begins with the leader's own batch, and passes the lead on.
func (d *database) lead(mine *ticket) {
	runtime.Gosched() // whoever is about to commit as well may join, and where nobody is it takes no time
	d.lock.Lock()
	n, bytes := 0, 0
	for n < len(d.waiting) && (n == 0 || bytes+d.waiting[n].batch.bytes <= MaxBatch) {
		bytes += d.waiting[n].batch.bytes
		n++
	}
	group := d.waiting[:n:n]
	d.waiting = d.waiting[n:]
	d.lock.Unlock()

	answered := false
	defer func() {
		if !answered { // a panic: nobody may wait for a leader that is gone
			d.breakDown(errLeaderGone)
			d.passOn(group[1:])
		}
	}()
	d.write(group, bytes)
	answered = true
	d.passOn(group[1:])
}

// passOn wakes the callers of a group that is done, and the next leader.
func (d *database) passOn(followers []*ticket) {
	d.lock.Lock()
	var next *ticket
	if len(d.waiting) > 0 {
		next = d.waiting[0]
	} else {
		d.leading, d.waiting = false, nil
	}
	d.lock.Unlock()
	if next != nil {
		next.turn <- false
	}
	broken := d.broken()
	for _, t := range followers {
		if t.err == nil {
			t.err = broken
		}
		t.turn <- true
	}
}

// write commits a group as one batch of the engine and leaves each caller's answer in its ticket.
func (d *database) write(group []*ticket, bytes int) {
	changes := 0
	for _, t := range group {
		changes += len(t.batch.changes)
	}
	batch := d.db.NewBatchWithSize(bytes + 40*changes + 64)
	keys := make([]flightKey, 0, changes)
	taken := group[:0:0]
	for _, t := range group {
		// Nothing of a batch is encoded before all of it has been found good: it is all or nothing.
		if t.err = d.number(t.batch); t.err != nil {
			continue
		}
		if keys, t.err = d.encode(batch, t.batch, keys); t.err != nil {
			d.breakDown(t.err) // half of it may be in the engine's batch
			break
		}
		taken = append(taken, t)
	}
	if len(taken) == 0 && d.broken() == nil {
		d.numbers.drop()
		_ = batch.Close() // nothing is in it
		return
	}
	err := d.sync(batch, keys)
	for _, t := range group {
		if t.err == nil {
			t.err = err
		}
	}
}

// sync hands the batch to the engine's journal and waits for the disk. Readers see the changes in between, and wait with
// us before they answer.
func (d *database) sync(batch *pebble.Batch, keys []flightKey) error {
	if err := d.broken(); err != nil {
		return err
	}
	fl := d.flights.depart(keys)
	err := d.apply(batch)
	if err == nil {
		err = batch.SyncWait()
	}
	if err != nil {
		d.breakDown(err)
	}
	// A crash pulled meanwhile must not be answered with success, whatever reached the disk.
	err = d.broken()
	d.flights.land(fl, err)
	if err != nil {
		return err
	}
	d.commits.Add(1)
	if err := batch.Close(); err != nil {
		return fmt.Errorf("release batch: %w", err)
	}
	d.spill(time.Now())
	return nil
}

// spill has the engine write its table in memory out once it is old, beside what goes on. The batch before is durable
// whatever comes of it; an engine that fails here fails the next one. The leader calls it, so one at a time.
func (d *database) spill(now time.Time) {
	if now.Sub(d.spilled) < spillEvery {
		return
	}
	d.spilled = now
	defer func() {
		if p := recover(); p != nil { // as in apply
			d.wedged.Store(true)
			d.breakDown(fmt.Errorf("change journals: %v", p))
		}
	}()
	if _, err := d.db.AsyncFlush(); err != nil {
		d.breakDown(fmt.Errorf("change journals: %w", err))
	}
}

// apply makes the batch visible, with the counters that its numbers moved. An engine that cannot write its journal panics
// with its own locks held: what becomes of the batch is then as unknown as after a failed sync, and is answered so,
// and nothing asks the engine again.
func (d *database) apply(batch *pebble.Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.wedged.Store(true)
			err = fmt.Errorf("write journal: %v", p)
		}
	}()
	if err := d.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return err
	}
	d.numbers.keep()
	return nil
}

// encode writes the changes of a batch, and adds the keys that readers must wait for.
func (d *database) encode(batch *pebble.Batch, b *Batch, keys []flightKey) ([]flightKey, error) {
	for i := range b.changes {
		c := &b.changes[i]
		var err error
		switch c.verb {
		case verbPut:
			keys = append(keys, flightKey{spaceValue, c.name})
			err = set(batch, c.value, spaceValue, c.name)
		case verbDelete:
			keys = append(keys, flightKey{spaceValue, c.name})
			err = batch.Delete(plainKey(spaceValue, c.name), nil)
		case verbAppend:
			keys = append(keys, flightKey{spaceRecord, c.name})
			if err = setNumbered(batch, c, spaceRecord, c.name, c.number); err == nil && c.number == 0 {
				err = set(batch, nil, spaceLog, c.name)
			}
		case verbPush:
			keys = append(keys, flightKey{spaceQueued, c.name})
			err = setNumbered(batch, c, spaceQueued, c.name, c.number)
			if reserved, news := d.numbers.reserve(c.name); err == nil && news {
				err = set(batch, encodeNumber(reserved), spaceLast, c.name)
			}
		case verbDone:
			keys = append(keys, flightKey{spaceQueued, c.name})
			err = batch.Delete(numberedKey(spaceQueued, c.name, c.number), nil)
		case verbPutView:
			err = batch.Set([]byte(c.name), c.value, nil)
		case verbDeleteView:
			err = batch.Delete([]byte(c.name), nil)
		case verbRequire: // was checked
		}
		if err != nil {
			return keys, fmt.Errorf("encode %q: %w", c.name, err)
		}
	}
	return keys, nil
}
