package mu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// maxWrite is how many bytes of new tasks go into one batch; what a large outbox brings forth takes several.
const maxWrite = 16 << 20

// step is what one step of a task changes on disk, all of it or nothing: hops, the task itself, and its children.
type step struct {
	store.Batch
	root ao.ID
	hops []units.Hop
}

// hop tells the step's watchers what happened to a task.
func (s *step) hop(t *task, h units.Hop) {
	h.Process, h.Message, h.Parent = t.Process, t.Message, t.Parent
	s.hops = append(s.hops, h)
}

// commit records a step together with the tasks that it brought forth, then sets these going. Children that are open or
// done already are left as they are.
func (u *Unit) commit(s *step, children ...*task) error {
	fresh, err := u.claimFresh(children)
	if err != nil {
		return err
	}
	return u.record(s, fresh)
}

// record is commit for children that have been claimed.
func (u *Unit) record(s *step, fresh []*task) error {
	for len(fresh) > 0 {
		// All but the last batch hold children alone: after a crash between two of them the step is done again, and
		// finds the children that are there.
		n, bytes := 0, 0
		for n < len(fresh) && (n == 0 || bytes+len(fresh[n].raw()) <= maxWrite) {
			bytes += len(fresh[n].raw())
			n++
		}
		if n == len(fresh) {
			break
		}
		if err := u.write(&step{root: s.root}, fresh[:n]); err != nil {
			u.release(fresh[n:], err)
			return err
		}
		fresh = fresh[n:]
	}
	return u.write(s, fresh)
}

// write commits one batch with the tasks in it, which have been claimed, and sets them going or gives them up.
func (u *Unit) write(s *step, fresh []*task) error {
	for _, c := range fresh {
		if err := c.put(&s.Batch); err != nil {
			u.release(fresh, err)
			return err
		}
	}
	numbers, err := u.number(s)
	if err == nil {
		err = u.cfg.Store.Commit(&s.Batch)
	}
	u.lock.Lock()
	if r := u.roots[s.root]; r != nil && len(numbers) > 0 {
		r.writing = without(r.writing, numbers)
		r.notify()
	}
	if err == nil {
		for _, c := range fresh {
			u.enqueue(c)
		}
	}
	u.lock.Unlock()
	if err != nil {
		u.release(fresh, err)
		u.checkStore(err)
		return fmt.Errorf("record push: %w", err)
	}
	return nil
}

// checkStore ends Run when the store will take nothing more until it is opened again.
func (u *Unit) checkStore(err error) {
	if errors.Is(err, store.ErrBroken) || errors.Is(err, store.ErrClosed) {
		u.stop(fmt.Errorf("messenger: %w", err))
	}
}

// number puts the step's hops into its batch under numbers that rise in the order of the calls. Until the batch is
// written no reader goes past them, so that none is passed over.
func (u *Unit) number(s *step) ([]int64, error) {
	if len(s.hops) == 0 {
		return nil, nil
	}
	values := make([][]byte, len(s.hops))
	for i, h := range s.hops {
		var err error
		if values[i], err = json.Marshal(h); err != nil {
			return nil, fmt.Errorf("record hop: %w", err)
		}
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	numbers := make([]int64, len(values))
	for i, v := range values {
		u.lastHop = max(u.lastHop+1, u.cfg.Now().UnixNano())
		numbers[i] = u.lastHop
		s.Put(hopKey(s.root, u.lastHop), v)
	}
	if r := u.roots[s.root]; r != nil {
		r.writing = append(r.writing, numbers...)
	}
	s.Put(keyClock, binary.BigEndian.AppendUint64(nil, uint64(u.lastHop)))
	return numbers, nil
}

// without is list without the run of numbers.
func without(list, numbers []int64) []int64 {
	out := list[:0]
	for _, n := range list {
		if n < numbers[0] || n > numbers[len(numbers)-1] {
			out = append(out, n)
		}
	}
	return out
}

// claimFresh claims those of the children that are neither open nor done.
func (u *Unit) claimFresh(children []*task) ([]*task, error) {
	var mine, fresh []*task
	u.lock.Lock()
	for _, c := range children {
		if _, ok := u.open[c.key()]; !ok {
			c.Since = u.cfg.Now().UnixMilli()
			u.claim(c)
			mine = append(mine, c)
		}
	}
	u.lock.Unlock()
	for i, c := range mine {
		a, err := u.assigned(c.key())
		if err != nil {
			u.release(append(fresh, mine[i:]...), err)
			return nil, err
		}
		if a.IsZero() {
			fresh = append(fresh, c)
			continue
		}
		u.lock.Lock()
		u.tell(c.key(), end{assignment: a})
		u.retire(c)
		u.lock.Unlock()
	}
	return fresh, nil
}

// release gives up tasks that were claimed and could not be recorded.
func (u *Unit) release(tasks []*task, err error) {
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, t := range tasks {
		u.tell(t.key(), end{err: refusal(err)})
		u.retire(t)
	}
}

// tell answers the pushes that wait for a task. The caller holds the lock.
func (u *Unit) tell(key string, e end) {
	for _, w := range u.waiters[key] {
		w <- e
	}
	delete(u.waiters, key)
}
