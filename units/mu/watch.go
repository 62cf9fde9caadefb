package mu

import (
	"context"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
)

const (
	// watchAtOnce is how many monitored processes are asked after at one moment.
	watchAtOnce = 8
	// watchPage is how many ticks are asked for at once.
	watchPage = 50
	// watchPatience is how long a computer may take; what it has evaluated by then it keeps.
	watchPatience = time.Minute
	// watchMax is the longest pause after questions in vain.
	watchMax = 10 * time.Minute
)

// watch asks after monitored processes when something is due, until ctx ends.
func (u *Unit) watch(ctx context.Context) {
	places := make(chan struct{}, watchAtOnce)
	var looks sync.WaitGroup
	defer looks.Wait()
	for {
		m, wait := u.nextMonitor()
		if m == nil {
			pause := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-u.changed:
			case <-pause.C:
			}
			pause.Stop()
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		looks.Go(func() {
			defer func() { <-places }()
			u.look(ctx, m)
		})
	}
}

// nextMonitor is a process that is due, or how long none will be.
func (u *Unit) nextMonitor() (*monitor, time.Duration) {
	now, wait := u.cfg.Now(), time.Hour
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, m := range u.monitors {
		if m.busy || !m.recorded {
			continue
		}
		if !m.next.After(now) {
			m.busy = true
			return m, 0
		}
		wait = min(wait, m.next.Sub(now))
	}
	return nil, wait
}

// look asks after one process, and says when it is to be asked after again.
func (u *Unit) look(ctx context.Context, m *monitor) {
	ctx, cancel := context.WithTimeout(ctx, watchPatience)
	defer cancel()
	began := u.cfg.Now()
	next, err := u.pushTicks(ctx, m)
	if err != nil && ctx.Err() == nil {
		u.cfg.Log.Debug("ticks are not pushed", "process", m.process, "err", err)
	}
	u.checkStore(err)
	u.lock.Lock()
	m.busy = false
	m.tries++
	if err == nil {
		m.tries = 0
	}
	if pause := u.cfg.CronEvery << min(m.tries, 16); err != nil {
		next = began.Add(min(pause, max(watchMax, u.cfg.CronEvery)))
	}
	m.next = next
	u.lock.Unlock()
	u.signal()
}

// pushTicks pushes what the next ticks of a process brought forth, and says when more may be due. The place among the ticks
// moves in the write that holds their tasks: a crash repeats both or neither.
func (u *Unit) pushTicks(ctx context.Context, watched *monitor) (next time.Time, err error) {
	p, err := u.cfg.Directory.Process(ctx, watched.process)
	if err != nil {
		return next, err
	}
	cron, err := p.Cron()
	if err != nil {
		return next, err
	}
	m, err := u.take(ctx, watched.process, false) // another one, if it was ended and begun anew
	if err != nil || m == nil {                   // it has ended
		return next, err
	}
	cursor, due := m.Cursor, u.due(cron, m.Origin, m.Cursor.Tick)
	u.give(m)
	head, err := u.headFor(ctx, m.process, cron)
	if err != nil {
		return next, err
	}
	now := u.cfg.Now()
	again := now.Add(u.cfg.CronEvery)
	if due.After(now) && head == watched.head {
		return sooner(cron, due, again), nil
	}
	if u.isFull() {
		return next, ao.Refuse(hopMonitor, ao.Busy, "%d pushes under way", u.cfg.MaxTasks)
	}
	door, err := u.cfg.Directory.Computer(ctx, m.process)
	if err != nil {
		return next, err
	}
	page, err := door.Cron(ctx, m.process, cursor, watchPage)
	if err != nil {
		return next, err
	}
	if len(page) == 0 && head != watched.head { // the log went on, and no block came
		watched.head = head
		return again, nil
	}
	if len(page) == 0 {
		return next, ao.Refuse(hopMonitor, ao.NotYet, "the computer knows no tick after %d", cursor.Timestamp)
	}
	var children []*task
	for _, r := range page {
		if r.Cursor.Compare(cursor.Tick) <= 0 || r.Cursor.Interval >= len(cron) {
			return next, ao.Refuse(hopMonitor, ao.BadResult, "the computer told of a tick at %d after %d", r.Cursor.Timestamp, cursor.Timestamp)
		}
		tasks, err := u.expandTick(ctx, m.process, r)
		if err != nil {
			return next, err
		}
		children, cursor = append(children, tasks...), r.Cursor
	}
	if err := u.movePast(ctx, m, cursor, children); err != nil {
		return next, err
	}
	if len(page) == watchPage {
		return now, nil
	}
	watched.head = head
	return maxTime(sooner(cron, u.due(cron, m.Origin, cursor.Tick), again), again), nil
}

// headFor is the head of the log of a process that blocks wake, 0 of any other: the next slot alone can tell of a block.
func (u *Unit) headFor(ctx context.Context, process ao.ID, cron ao.Cron) (ao.Slot, error) {
	if !cron.InBlocks() {
		return 0, nil
	}
	log, err := u.cfg.Directory.Log(ctx, process)
	if err != nil {
		return 0, err
	}
	return log.Next(ctx, process)
}

// sooner is when to look again: blocks may come before what is due.
func sooner(cron ao.Cron, due, again time.Time) time.Time {
	if cron.InBlocks() && again.Before(due) {
		return again
	}
	return due
}

// due is when the tick after a place can be told: a computer waits for it to be sure.
func (u *Unit) due(cron ao.Cron, origin int64, after ao.Tick) time.Time {
	t, ok := cron.Next(origin, ao.Heights{}, after)
	if !ok {
		return u.cfg.Now().Add(watchMax)
	}
	return time.UnixMilli(t.Timestamp).Add(units.CronMargin)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (u *Unit) isFull() bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	return len(u.open) >= u.cfg.MaxTasks
}

// movePast records that ticks are pushed, together with the tasks that they brought forth.
func (u *Unit) movePast(ctx context.Context, m *monitor, cursor units.CronCursor, children []*task) error {
	now, err := u.take(ctx, m.process, false)
	if err != nil || now == nil {
		return err
	}
	defer func() { u.give(now) }()
	if now != m || !u.isRecorded(m) { // it has ended meanwhile, and perhaps begun anew
		return nil
	}
	s := &step{}
	moved := monitor{By: m.By, Origin: m.Origin, Cursor: cursor, process: m.process}
	if err := moved.put(&s.Batch); err != nil {
		return err
	}
	if err := u.commit(s, children...); err != nil {
		return err
	}
	m.Cursor = cursor
	return nil
}

// expandTick makes tasks of what a tick brought forth. No message began that push: each is the first of its own.
func (u *Unit) expandTick(ctx context.Context, process ao.ID, r units.CronResult) ([]*task, error) {
	t := &task{Process: process, Slot: r.Cursor.Slot}
	return u.expand(ctx, &step{}, t, r.Result, attest.ResultDigest(r.Result))
}
