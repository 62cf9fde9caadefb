package mu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// keyMonitor holds, by process, what is monitored.
const keyMonitor = "mu/monitor/"

// maxAskers is how many who asked for a process are remembered: any of them may end it, after the others.
const maxAskers = 16

// errMonitor says that a record is no monitor.
var errMonitor = errors.New("damaged record of a monitored process")

// monitor is a process whose ticks' outboxes are pushed. What is recorded of it is changed by who holds its turn.
type monitor struct {
	By     []string         `json:"by"`     // addresses that asked for it
	Origin int64            `json:"origin"` // when the process got its slot 0, in milliseconds: what its ticks go by
	Cursor units.CronCursor `json:"cursor"` // the ticks up to it are pushed

	process ao.ID
	turn    chan struct{}
	head    ao.Slot // of the log when a computer was last asked, if blocks wake the process; only who is busy with it looks

	// Under the unit's lock.
	recorded bool
	gone     bool      // whoever waited for the turn has to look again
	busy     bool      // a computer is being asked
	next     time.Time // when one is to be asked
	tries    int       // in vain, since it last told of a tick
}

// put records the monitor in a batch.
func (m *monitor) put(b *store.Batch) error {
	v, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("record monitor of %s: %w", m.process, err)
	}
	b.Put(keyMonitor+m.process.String(), v)
	return nil
}

// loadMonitors reads back what is monitored.
func (u *Unit) loadMonitors() error {
	return u.scan(keyMonitor, func(p store.Pair) error {
		m := &monitor{turn: make(chan struct{}, 1), recorded: true}
		var err error
		if m.process, err = ao.ParseID(p.Key[len(keyMonitor):]); err == nil {
			err = json.Unmarshal(p.Value, m)
		}
		if err != nil {
			return fmt.Errorf("read monitor %s: %w: %w", p.Key, errMonitor, err)
		}
		u.monitors[m.process] = m
		return nil
	})
}

// Monitor has the ticks of a process pushed from now on. See units.Messenger.
func (u *Unit) Monitor(ctx context.Context, r ao.Request) error {
	if r.IsZero() {
		return ao.Refuse(hopMonitor, ao.Malformed, "there is no request")
	}
	m, err := u.take(ctx, r.Process(), true)
	if err != nil {
		return err
	}
	defer func() { u.give(m) }()
	next := monitor{By: m.By, Origin: m.Origin, Cursor: m.Cursor, process: m.process}
	if !u.isRecorded(m) {
		if next.Origin, err = u.origin(ctx, r.Process()); err != nil {
			return err
		}
		next.Cursor.Tick = ao.AfterSlot(u.cfg.Now().UnixMilli())
	}
	if slices.Contains(next.By, r.Owner()) || len(next.By) >= maxAskers {
		return nil
	}
	next.By = append(slices.Clone(next.By), r.Owner())
	var b store.Batch
	if err := next.put(&b); err != nil {
		return refusal(err)
	}
	if err := u.cfg.Store.Commit(&b); err != nil {
		u.checkStore(err)
		return refusal(err)
	}
	m.By, m.Origin, m.Cursor = next.By, next.Origin, next.Cursor
	u.lock.Lock()
	m.recorded = true
	u.lock.Unlock()
	u.signal()
	return nil
}

// hopMonitor is the word of monitoring in refusals.
const hopMonitor = "monitor"

// origin is when the process began to tick. It refuses those that never do.
func (u *Unit) origin(ctx context.Context, process ao.ID) (int64, error) {
	p, err := u.cfg.Directory.Process(ctx, process)
	if err != nil {
		return 0, err
	}
	cron, err := p.Cron()
	switch {
	case err != nil:
		return 0, ao.Refuse(hopMonitor, ao.BadTags, "%v", err)
	case len(cron) == 0:
		return 0, ao.Refuse(hopMonitor, ao.BadTags, "%s has no Cron-Interval", process)
	}
	log, err := u.cfg.Directory.Log(ctx, process)
	if err != nil {
		return 0, err
	}
	es, err := log.Range(ctx, process, 0, 1)
	if err != nil {
		return 0, err
	}
	if len(es) == 0 {
		return 0, ao.Refuse(hopMonitor, ao.NotYet, "slot 0 of %s", process)
	}
	f := es[0].Assignment.Fields()
	if f.Process != process || f.Nonce != 0 {
		return 0, ao.Refuse(hopMonitor, ao.BadLog, "slot 0 of %s: the log answered with another", process)
	}
	return f.Timestamp, nil
}

// Unmonitor ends that for whoever asked for it, or for the process's owner. See units.Messenger.
func (u *Unit) Unmonitor(ctx context.Context, r ao.Request) error {
	if r.IsZero() {
		return ao.Refuse(hopMonitor, ao.Malformed, "there is no request")
	}
	m, err := u.take(ctx, r.Process(), false)
	if err != nil || m == nil {
		return err
	}
	defer func() { u.give(m) }()
	if !u.isRecorded(m) {
		return nil
	}
	left := slices.DeleteFunc(slices.Clone(m.By), func(by string) bool { return by == r.Owner() })
	if len(left) == len(m.By) {
		p, err := u.cfg.Directory.Process(ctx, r.Process())
		if err != nil {
			return err
		}
		if p.Message().Owner() != r.Owner() {
			return ao.Refuse(hopMonitor, ao.Untrusted, "%s did not ask for it, and does not own %s", r.Owner(), r.Process())
		}
		left = nil
	}
	var b store.Batch
	next := monitor{By: left, Origin: m.Origin, Cursor: m.Cursor, process: m.process}
	if len(left) == 0 {
		b.Delete(keyMonitor + m.process.String())
	} else if err := next.put(&b); err != nil {
		return refusal(err)
	}
	if err := u.cfg.Store.Commit(&b); err != nil {
		u.checkStore(err)
		return refusal(err)
	}
	m.By = left
	u.lock.Lock()
	m.recorded = len(left) > 0
	u.lock.Unlock()
	return nil
}

// take waits for the turn to change what is recorded of a process; give must follow. Without create it is nil for one that is
// not monitored.
func (u *Unit) take(ctx context.Context, process ao.ID, create bool) (*monitor, error) {
	for {
		u.lock.Lock()
		m := u.monitors[process]
		switch {
		case m != nil:
		case !create:
			u.lock.Unlock()
			return nil, nil
		case len(u.monitors) >= u.cfg.MaxMonitors:
			u.lock.Unlock()
			return nil, ao.Refuse(hopMonitor, ao.Busy, "%d processes are monitored", u.cfg.MaxMonitors)
		default:
			m = &monitor{process: process, turn: make(chan struct{}, 1)}
			u.monitors[process] = m
		}
		u.lock.Unlock()
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		u.lock.Lock()
		gone := m.gone
		u.lock.Unlock()
		if !gone {
			return m, nil
		}
		<-m.turn
	}
}

// give ends the turn, and forgets what is not recorded.
func (u *Unit) give(m *monitor) {
	u.lock.Lock()
	if !m.recorded {
		m.gone = true
		delete(u.monitors, m.process)
	}
	u.lock.Unlock()
	<-m.turn
}

func (u *Unit) isRecorded(m *monitor) bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	return m.recorded
}

// signal has watch look for what is due.
func (u *Unit) signal() {
	select {
	case u.changed <- struct{}{}:
	default:
	}
}
