package mu

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	keyTask  = "mu/task/"
	keyDone  = "mu/done/" // by task key: when a task was scheduled, in milliseconds, and the assignment that it got
	keyHop   = "mu/hop/"  // by root and number
	keyClock = "mu/clock" // the number of a late hop, so that later ones sort behind it even if the clock is set back
)

// errTask says that a record is no task.
var errTask = errors.New("damaged record of a push")

// task is one item on its way into one log. Its key is (process, message), so that the same push twice is one task.
type task struct {
	Root    ao.ID   `json:"root"`             // the message that began the push
	Parent  string  `json:"parent,omitempty"` // the message whose outbox it came from
	Process ao.ID   `json:"process"`          // the log that it goes into
	Message ao.ID   `json:"message"`
	Source  *ao.ID  `json:"source,omitempty"` // the process whose outbox it came from
	Notice  []byte  `json:"notice,omitempty"` // of a spawn: the item that tells its spawner, pushed once it is scheduled
	Stage   string  `json:"stage"`
	Since   int64   `json:"since"` // when the stage began, in milliseconds
	Slot    ao.Slot `json:"slot"`
	Link    ao.ID   `json:"link,omitzero"`   // of the slot's assignment: the head that a claim about it must name
	Again   bool    `json:"again,omitempty"` // a repush: the slot is known, its outbox is pushed once more

	// Assign says that the message exists already, at home in another log or on the archive, and how it is assigned.
	Assign *ao.AssignOptions `json:"assign,omitempty"`

	sent    *sent       // the question for its slot, when it was asked ahead
	asked   *asked      // the question for its result, when it was asked ahead
	message ao.Message  // an item; absent while one to assign has not been found here, and for a transaction
	tries   int         // failed steps of this stage since start
	lookups int         // of these, how many did not find what they looked for
	timer   *time.Timer // until the next try
}

func (t *task) key() string {
	key := t.Process.String() + "/" + t.Message.String()
	if t.Again {
		key += "/again"
	}
	return key
}

// isTick says that this is no task, but stands for a tick, which no message began.
func (t *task) isTick() bool { return t.Message.IsZero() }

// raw is the item's bytes, nil while it must be found.
func (t *task) raw() []byte {
	if t.message.IsZero() {
		return nil
	}
	return t.message.Raw()
}

// isCast says whether nobody listens for the result.
func (t *task) isCast() bool { return !t.message.IsZero() && t.message.IsCast() }

// put records the task in a batch: the length of the JSON, the JSON, the item.
func (t *task) put(b *store.Batch) error {
	v, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("record push of %s: %w", t.Message, err)
	}
	raw := t.raw()
	out := make([]byte, 0, len(v)+len(raw)+binary.MaxVarintLen64)
	out = append(append(binary.AppendUvarint(out, uint64(len(v))), v...), raw...)
	b.Put(keyTask+t.key(), out)
	return nil
}

func parseTask(b []byte) (*task, error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, errTask
	}
	t := new(task)
	if err := json.Unmarshal(b[n:n+int(size)], t); err != nil {
		return nil, fmt.Errorf("%w: %w", errTask, err)
	}
	if t.Stage != stageSchedule && t.Stage != stageCompute {
		return nil, fmt.Errorf("%w: stage %.32q", errTask, t.Stage)
	}
	raw := b[n+int(size):]
	if len(raw) == 0 {
		if t.Assign == nil { // of a version that knew only plain ones
			t.Assign = new(ao.AssignOptions)
		}
		return t, nil
	}
	var err error
	if t.message, err = ao.ParseMessage(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", errTask, err)
	}
	if t.message.ID() != t.Message {
		return nil, fmt.Errorf("%w: it holds another message", errTask)
	}
	return t, nil
}

// load reads the open tasks back at start.
func (u *Unit) load() error {
	switch v, err := u.cfg.Store.Get(keyClock); {
	case isNotFound(err):
	case err != nil:
		return fmt.Errorf("read open pushes: %w", err)
	case len(v) != 8:
		return fmt.Errorf("read open pushes: %w: clock", errTask)
	default:
		u.lastHop = int64(binary.BigEndian.Uint64(v))
	}
	if err := u.loadMonitors(); err != nil {
		return err
	}
	return u.scan(keyTask, func(p store.Pair) error {
		t, err := parseTask(p.Value)
		if err != nil {
			return fmt.Errorf("read push %s: %w", p.Key, err)
		}
		if p.Key != keyTask+t.key() {
			return fmt.Errorf("read push %s: %w: it belongs under another key", p.Key, errTask)
		}
		u.claim(t)
		u.enqueue(t)
		return nil
	})
}

// scan visits every pair under a prefix, in order.
func (u *Unit) scan(prefix string, visit func(store.Pair) error) error {
	const page = 256
	for after := ""; ; {
		pairs, err := u.cfg.Store.Scan(prefix, after, page)
		if err != nil {
			return fmt.Errorf("scan %s: %w", prefix, err)
		}
		for _, p := range pairs {
			if err := visit(p); err != nil {
				return err
			}
			after = p.Key
		}
		if len(pairs) < page {
			return nil
		}
	}
}

// claim takes a task into memory, so that nobody else begins it; enqueue sets it going once it is recorded. The caller
// holds the lock, or is New.
func (u *Unit) claim(t *task) {
	u.open[t.key()] = t
	r := u.roots[t.Root]
	if r == nil {
		r = &root{changed: make(chan struct{})}
		u.roots[t.Root] = r
	}
	r.open++
}

// retire forgets a task that is recorded as done, or was never recorded. The caller holds the lock.
func (u *Unit) retire(t *task) {
	delete(u.open, t.key())
	r := u.roots[t.Root]
	if r.open--; r.open == 0 {
		delete(u.roots, t.Root)
	}
	r.notify()
}

// enqueue makes a task's next step ready. The caller holds the lock, or is New.
func (u *Unit) enqueue(t *task) {
	u.ready = append(u.ready, t)
	u.wake.Signal()
}

// root counts the open tasks of one push and wakes who watches it.
type root struct {
	open    int
	writing []int64       // numbers of hops on their way to the disk, ascending; readers stop before them
	changed chan struct{} // closed and replaced at each change
}

func (r *root) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// putDone records that a task has its slot.
func (u *Unit) putDone(b *store.Batch, key string, a ao.Assignment) {
	b.Put(keyDone+key, append(binary.BigEndian.AppendUint64(nil, uint64(u.cfg.Now().UnixMilli())), a.Raw()...))
}

// assigned is the assignment of a task that has been scheduled, if it has.
func (u *Unit) assigned(key string) (ao.Assignment, error) {
	raw, err := u.cfg.Store.Get(keyDone + key)
	if isNotFound(err) {
		return ao.Assignment{}, nil
	}
	if err != nil {
		return ao.Assignment{}, ao.Refuse("push", ao.StoreTrouble, "%v", err)
	}
	a, err := ao.ParseAssignment(raw[min(8, len(raw)):])
	if err != nil {
		return ao.Assignment{}, ao.Refuse("push", ao.StoreTrouble, "record of %s: %v", key, err)
	}
	return a, nil
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
