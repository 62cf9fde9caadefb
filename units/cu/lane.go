package cu

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// class says which of the unit's places for work a process may have. There is always one for those whose messages have
// been quick, so that they do not queue behind what burns all of its fuel or fills its memory; on one core all share it.
type class int

const (
	light    class = iota // its latest messages were quick: any place
	unproven              // nobody knows, and slow ones are about: all places but one
	heavy                 // some were slow: the same, after those nobody knows
)

const (
	// heavyPace is how long an entry may take before its process counts as heavy.
	heavyPace = 100 * time.Millisecond
	// provenAfter is how many entries tell what a process is: the spawn says nothing about what comes after it.
	provenAfter = 2
	// maxForgets is after how many quick entries nothing of a slow one is left.
	maxForgets = 1000
	// wary is how long after a slow entry those whom nobody knows do not count as light: the next one of a crowd of heavy
	// processes must not need to hold the last place to be known.
	wary = time.Minute
)

// class goes by the process's own entries: others with its module may be of another kind.
func (p *worker) class() class {
	if p.pace > heavyPace {
		return heavy
	}
	if p.tried >= provenAfter {
		return light
	}
	u := p.unit
	now := u.cfg.Now()
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.slowAt.IsZero() || now.Sub(u.slowAt) > wary {
		return light
	}
	return unproven
}

// notePace takes down how long the n entries just evaluated took, at most. Slowness is forgotten slowly, by half in some
// twenty entries, so that quick entries in between do not pay for the next slow one.
func (p *worker) notePace(n int, slowest time.Duration) {
	for range min(n, maxForgets) {
		p.pace -= p.pace / 32
	}
	p.pace = max(slowest, p.pace)
	p.tried += n
	if slowest <= heavyPace {
		return
	}
	u := p.unit
	now := u.cfg.Now()
	u.lock.Lock()
	defer u.lock.Unlock()
	u.slowAt = now
}

// lane is the way to a place for work.
type lane struct {
	unit  *Unit
	class class
}

// enterLane waits for a place to evaluate the process. What slow ones were met in the meantime counts.
func (p *worker) enterLane(ctx context.Context) (lane, error) {
	l := lane{unit: p.unit, class: p.class()}
	p.offer(p.unit.queued)
	err := l.wait(ctx)
	if now := p.class(); err == nil && l.class == light && now != light {
		l.leave()
		l.class = now
		err = l.wait(ctx)
	}
	if !p.retake() && err == nil {
		l.leave()
		err = errYielded
	}
	return l, err
}

func (l lane) wait(ctx context.Context) error {
	u := l.unit
	if l.class == light {
		return u.enterWork(ctx)
	}
	if l.class == heavy { // as many as there are places stand in line with those nobody knows, the rest behind
		if err := enter(ctx, u.patient); err != nil {
			return err
		}
		defer func() { <-u.patient }()
	}
	if err := enter(ctx, u.heavy); err != nil {
		return err
	}
	err := u.enterWork(ctx)
	if err != nil {
		<-u.heavy
	}
	return err
}

func (l lane) leave() {
	l.unit.leaveWork()
	if l.class != light {
		<-l.unit.heavy
	}
}

func (u *Unit) enterWork(ctx context.Context) error {
	if err := enter(ctx, u.workers); err != nil {
		return err
	}
	u.quiet.begin()
	return nil
}

func (u *Unit) leaveWork() {
	u.quiet.end()
	<-u.workers
}

// quiet tells when nobody works. The zero value is ready.
type quiet struct {
	lock    sync.Mutex
	working int
	fell    chan struct{} // closed when the last one ends; nil while nobody waits for that
}

func (q *quiet) begin() {
	q.lock.Lock()
	defer q.lock.Unlock()
	q.working++
}

func (q *quiet) end() {
	q.lock.Lock()
	defer q.lock.Unlock()
	if q.working--; q.working == 0 && q.fell != nil {
		close(q.fell)
		q.fell = nil
	}
}

// wait lets those who work go first, for a while.
func (q *quiet) wait(ctx context.Context, most time.Duration) {
	q.lock.Lock()
	if q.working == 0 {
		q.lock.Unlock()
		return
	}
	if q.fell == nil {
		q.fell = make(chan struct{})
	}
	fell := q.fell
	q.lock.Unlock()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-fell:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a place to work: %w", ctx.Err())
	}
}
