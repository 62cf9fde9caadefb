package cu

import (
	"container/list"
	"context"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// copiesOfWhole bounds the bytes of copies at rest by a part of what hot processes may take.
const copiesOfWhole = 8

// reader is a copy of a process's state on which something is evaluated that holds up no slot. It is kept for the next time,
// and made anew when the process has moved on.
type reader struct {
	process ao.ID
	turn    chan struct{} // held by whoever uses what follows
	state   wasmvm.State
	slot    ao.Slot
	last    ao.AssignmentFields
	gap     gap       // how far it is beyond the slot; only of those that go ahead
	replay  *replayer // whose state it is; only of those that look back

	// Under the unit's lock.
	users  int
	next   ao.Slot // after the one it stands at, or has stood at until whoever uses it now is done; 0: it has no state
	memory uint64
	place  *list.Element // in the list of copies
}

func (r *reader) close() {
	if r.state != nil {
		r.state.Close()
	}
	r.state, r.replay = nil, nil
}

// copies are the readers of one kind.
type copies struct {
	unit *Unit
	most int // at rest

	// Under the unit's lock.
	readers map[ao.ID]*reader
	list    *list.List // the least recently used first
	memory  uint64     // bytes that they take
}

func newCopies(u *Unit, most int) *copies {
	return &copies{unit: u, most: most, readers: make(map[ao.ID]*reader), list: list.New()}
}

// stands says whether a reader stands at the slot, as far as can be told without waiting for who uses it.
func (c *copies) stands(process ao.ID, slot ao.Slot) bool {
	c.unit.lock.Lock()
	defer c.unit.lock.Unlock()
	r := c.readers[process]
	return r != nil && r.next > slot
}

// note takes down where a borrowed reader stands. The unit's lock is held.
func (r *reader) note() {
	if r.next = 0; r.state != nil {
		r.next = r.slot + 1
	}
}

// free borrows a process's reader if there is one that has a state and that nobody uses; handBack must follow.
func (c *copies) free(process ao.ID) *reader {
	u := c.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	r := c.readers[process]
	if u.stopped || r == nil || r.users > 0 || r.state == nil {
		return nil
	}
	r.users++
	u.all.Add(1)
	r.turn <- struct{}{} // without waiting: it is held by users alone
	return r
}

// borrow waits for the turn to use a process's reader; handBack must follow.
func (c *copies) borrow(ctx context.Context, process ao.ID) (*reader, error) {
	u := c.unit
	u.lock.Lock()
	if u.stopped {
		u.lock.Unlock()
		return nil, u.closed()
	}
	r := c.readers[process]
	if r == nil {
		r = &reader{process: process, turn: make(chan struct{}, 1)}
		c.readers[process] = r
		r.place = c.list.PushBack(r)
	}
	r.users++
	u.all.Add(1)
	u.lock.Unlock()
	var err error
	select {
	case r.turn <- struct{}{}:
		return r, nil
	case <-ctx.Done():
		err = fmt.Errorf("wait for the turn of a copy: %w", ctx.Err())
	case <-u.life.Done():
		err = u.closed()
	}
	c.leave(r)
	return nil, err
}

// handBack ends the use of a reader.
func (c *copies) handBack(r *reader) {
	var memory uint64
	if s, ok := r.state.(wasmvm.Sized); ok {
		memory = s.Footprint()
	}
	c.unit.lock.Lock()
	r.note()
	c.memory += memory - r.memory
	r.memory = memory
	c.unit.lock.Unlock()
	<-r.turn
	c.leave(r)
}

// leave counts a user out, and closes the least recently used readers beyond what may be kept.
func (c *copies) leave(r *reader) {
	u := c.unit
	u.lock.Lock()
	r.users--
	c.list.MoveToBack(r.place)
	var gone []*reader
	for at := c.list.Front(); at != nil; {
		old := at.Value.(*reader)
		at = at.Next()
		if c.list.Len() <= c.most && c.memory <= u.cfg.MaxMemory/copiesOfWhole {
			break
		}
		if old.users == 0 {
			gone = append(gone, c.remove(old))
		}
	}
	u.lock.Unlock()
	for _, old := range gone {
		old.close()
	}
	u.all.Done()
}

// remove takes a reader that nobody uses off the list. The lock is held; closing it is left to the caller.
func (c *copies) remove(r *reader) *reader {
	c.list.Remove(r.place)
	delete(c.readers, r.process)
	c.memory -= r.memory
	return r
}

// close ends all of them; nobody uses one any more.
func (c *copies) close() {
	c.unit.lock.Lock()
	defer c.unit.lock.Unlock()
	for _, r := range c.readers {
		c.remove(r).close()
	}
}
