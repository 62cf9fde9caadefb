package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// The words of the doors that are counted; what a computer is asked beside slots is not work for others to wait for.
const (
	wordSchedule = "schedule"
	wordCompute  = "compute"
	wordDryRun   = "dry-run"
	wordCron     = "cron"
	wordPush     = "push"
	wordMonitor  = "monitor"
)

// doors stand in front of the units of a peer: they count what is asked and how it ends, and once the peer drains they
// turn away what comes from outside. Its own units go on asking each other, to finish what is acknowledged.
type doors struct {
	meters *meters
	delay  time.Duration // of calls from outside

	lock   sync.Mutex
	closed bool
	under  int // calls from outside that were let in and have not ended
}

// enter lets a call in. The function that it returns must be called with the outcome.
func (d *doors) enter(ctx context.Context, word string, outside bool) (leave func(error), err error) {
	if outside && d.delay > 0 {
		select {
		case <-time.After(d.delay):
		case <-ctx.Done(): // what is asked then ends by itself
		}
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	if outside && d.closed {
		err := ao.Refuse(word, ao.Busy, "the peer is about to stop")
		d.meters.refused(word, err)
		return nil, err
	}
	if outside {
		d.under++
	}
	start := time.Now()
	return func(err error) {
		d.meters.ended(word, time.Since(start), err)
		if outside {
			d.lock.Lock()
			d.under--
			d.lock.Unlock()
		}
	}, nil
}

// close turns new calls away from now on.
func (d *doors) close() {
	d.lock.Lock()
	defer d.lock.Unlock()
	d.closed = true
}

func (d *doors) isClosed() bool {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.closed
}

// calls is the number of calls from outside that are under way.
func (d *doors) calls() int {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.under
}

// codeOf is the code under which an outcome is counted: "ok" for none. What another peer made up, and passed on to us as
// the reason of a refusal, is no code.
func codeOf(word string, err error) string {
	if err == nil {
		return "ok"
	}
	var r *ao.Refusal
	if !errors.As(err, &r) {
		r = remote.Refusal(word, err)
	}
	if ao.RemedyOf(r.Code) == "" {
		return string(ao.Internal)
	}
	return string(r.Code)
}

// schedulerDoor is a units.Scheduler behind a door.
type schedulerDoor struct {
	unit    units.Scheduler
	doors   *doors
	outside bool
}

// Schedule asks the unit; while the peer drains, others are refused as busy.
func (s schedulerDoor) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	leave, err := s.doors.enter(ctx, wordSchedule, s.outside)
	if err != nil {
		return ao.Assignment{}, err
	}
	a, err := s.unit.Schedule(ctx, process, m)
	leave(err)
	return a, err
}

// Assign asks the unit; while the peer drains, others are refused as busy.
func (s schedulerDoor) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	leave, err := s.doors.enter(ctx, wordSchedule, s.outside)
	if err != nil {
		return ao.Assignment{}, err
	}
	a, err := s.unit.Assign(ctx, process, message, how)
	leave(err)
	return a, err
}

// computerDoor is a units.Computer behind a door.
type computerDoor struct {
	units.Computer
	doors   *doors
	outside bool
}

// Compute asks the unit; while the peer drains, others are refused as busy.
func (c computerDoor) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	leave, err := c.doors.enter(ctx, wordCompute, c.outside)
	if err != nil {
		return units.Answer{}, err
	}
	a, err := c.Computer.Compute(ctx, process, slot)
	leave(err)
	return a, err
}

// DryRun asks the unit; while the peer drains, others are refused as busy.
func (c computerDoor) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	leave, err := c.doors.enter(ctx, wordDryRun, c.outside)
	if err != nil {
		return ao.Result{}, err
	}
	r, err := c.Computer.DryRun(ctx, process, q)
	leave(err)
	return r, err
}

// Cron asks the unit; while the peer drains, others are refused as busy.
func (c computerDoor) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	leave, err := c.doors.enter(ctx, wordCron, c.outside)
	if err != nil {
		return nil, err
	}
	out, err := c.Computer.Cron(ctx, process, from, limit)
	leave(err)
	return out, err
}

// statesDoor is a units.States behind a door.
type statesDoor struct {
	units.States
	doors *doors
}

// DryRunAt asks the unit; while the peer drains, others are refused as busy.
func (s statesDoor) DryRunAt(ctx context.Context, process ao.ID, slot ao.Slot, q ao.Query) (ao.Result, error) {
	leave, err := s.doors.enter(ctx, wordDryRun, true)
	if err != nil {
		return ao.Result{}, err
	}
	r, err := s.States.DryRunAt(ctx, process, slot, q)
	leave(err)
	return r, err
}

// messengerDoor is a units.Messenger behind a door.
type messengerDoor struct {
	units.Messenger
	doors *doors
}

// Push asks the unit; while the peer drains, others are refused as busy.
func (m messengerDoor) Push(ctx context.Context, msg ao.Message) (ao.Assignment, error) {
	leave, err := m.doors.enter(ctx, wordPush, true)
	if err != nil {
		return ao.Assignment{}, err
	}
	a, err := m.Messenger.Push(ctx, msg)
	leave(err)
	return a, err
}

// Monitor asks the unit; while the peer drains, others are refused as busy.
func (m messengerDoor) Monitor(ctx context.Context, r ao.Request) error {
	leave, err := m.doors.enter(ctx, wordMonitor, true)
	if err != nil {
		return err
	}
	err = m.Messenger.Monitor(ctx, r)
	leave(err)
	return err
}

// Unmonitor asks the unit; while the peer drains, others are refused as busy.
func (m messengerDoor) Unmonitor(ctx context.Context, r ao.Request) error {
	leave, err := m.doors.enter(ctx, wordMonitor, true)
	if err != nil {
		return err
	}
	err = m.Messenger.Unmonitor(ctx, r)
	leave(err)
	return err
}

// Assign asks the unit; while the peer drains, others are refused as busy.
func (m messengerDoor) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	leave, err := m.doors.enter(ctx, wordPush, true)
	if err != nil {
		return ao.Assignment{}, err
	}
	a, err := m.Messenger.Assign(ctx, process, message, how)
	leave(err)
	return a, err
}
