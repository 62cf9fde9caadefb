package mu

import (
	"encoding/json"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// The stages of a task. A stage is on disk before its work begins.
const (
	stageSchedule = "schedule"
	stageCompute  = "compute"
)

// The key spaces of the messenger in the store.
const (
	keyTask = "mu/task/"
	keyDone = "mu/done/" // by task key: the assignment that a finished task got
	keyHop  = "mu/hop/"
)

// task is one item on its way into one log. Its key is (process, message), so that the same push twice is one task.
type task struct {
	Root    ao.ID  `json:"root"`             // the message that began the push
	Parent  string `json:"parent,omitempty"` // the message whose outbox it came from
	Process ao.ID  `json:"process"`          // the log that it goes into
	Message ao.ID  `json:"message"`
	Raw     []byte `json:"raw,omitempty"`    // the item; absent while a message to assign must be found
	Source  *ao.ID `json:"source,omitempty"` // the process whose outbox it came from
	Notice  []byte `json:"notice,omitempty"` // a spawn's element: its process is told of the spawn when it is scheduled
	Origin  origin `json:"origin,omitzero"`  // of the spawn, for that notice
	Stage   string `json:"stage"`
	Slot    ao.Slot
	Again   bool `json:"again,omitempty"` // a repush: the slot is known, its outbox is pushed once more

	message ao.Message // Raw, parsed
	tries   int        // failed steps of this stage since start
}

// origin is ao.Origin on disk.
type origin struct {
	Process ao.ID   `json:"process,omitzero"`
	Module  string  `json:"module,omitempty"`
	Slot    ao.Slot `json:"slot,omitempty"`
	Index   int     `json:"index,omitempty"`
	Digest  ao.ID   `json:"digest,omitzero"`
}

func (t *task) key() string {
	key := t.Process.String() + "/" + t.Message.String()
	if t.Again {
		key += "/again"
	}
	return key
}

// put records the task in a batch.
func (t *task) put(b *store.Batch) error {
	v, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("record push of %s: %w", t.Message, err)
	}
	b.Put(keyTask+t.key(), v)
	return nil
}

// load reads the open tasks back at start.
func (u *Unit) load() error {
	after := ""
	for {
		pairs, err := u.cfg.Store.Scan(keyTask, after, 0)
		if err != nil {
			return fmt.Errorf("read open pushes: %w", err)
		}
		for _, p := range pairs {
			t := new(task)
			if err := json.Unmarshal(p.Value, t); err != nil {
				return fmt.Errorf("read push %s: %w", p.Key, err)
			}
			if len(t.Raw) > 0 {
				if t.message, err = ao.ParseMessage(t.Raw); err != nil {
					return fmt.Errorf("read push %s: %w", p.Key, err)
				}
			}
			u.admit(t)
			after = p.Key
		}
		if len(pairs) < store.MaxScan {
			return nil
		}
	}
}

// admit takes a recorded task into memory and makes its step ready. The caller holds the lock, or is New.
func (u *Unit) admit(t *task) {
	if _, ok := u.open[t.key()]; ok {
		return
	}
	u.open[t.key()] = t
	r := u.roots[t.Root]
	if r == nil {
		r = &root{changed: make(chan struct{})}
		u.roots[t.Root] = r
	}
	r.open++
	u.enqueue(t)
}

// retire forgets a task that is recorded as done. The caller holds the lock.
func (u *Unit) retire(t *task) {
	delete(u.open, t.key())
	if r := u.roots[t.Root]; r != nil {
		if r.open--; r.open == 0 {
			delete(u.roots, t.Root)
		}
		r.notify()
	}
}

func (r *root) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// known says whether a task with that key is open or done already.
func (u *Unit) known(key string) (bool, error) {
	u.lock.Lock()
	_, ok := u.open[key]
	u.lock.Unlock()
	if ok {
		return true, nil
	}
	return u.isDone(key)
}

func (u *Unit) isDone(key string) (bool, error) {
	_, err := u.cfg.Store.Get(keyDone + key)
	switch {
	case err == nil:
		return true, nil
	case isNotFound(err):
		return false, nil
	}
	return false, fmt.Errorf("look up push: %w", err)
}
