package su

import (
	"context"
	"sync"

	"github.com/aopeer/aopeer/ao"
)

// lines let one Schedule at a time touch a process, in the order of arrival, and bound how many stand in them.
type lines struct {
	most, mostEach int

	lock      sync.Mutex
	standing  int
	byProcess map[ao.ID]*line
}

// line exists while somebody stands in it. It is kept apart from the head, which may be forgotten at any time: two
// lines for one process would be two writers.
type line struct {
	turn     chan struct{} // holds a token while somebody is served
	standing int
}

func newLines(most, mostEach int) *lines {
	return &lines{most: most, mostEach: mostEach, byProcess: make(map[ao.ID]*line)}
}

// enter waits for the process's turn, which leave gives up. Refusals: busy, deadline.
func (l *lines) enter(ctx context.Context, process ao.ID) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, ao.Refuse(hopSchedule, ao.Deadline, "the caller went away")
	}
	ln, err := l.join(process)
	if err != nil {
		return nil, err
	}
	select {
	case ln.turn <- struct{}{}:
		return func() {
			<-ln.turn
			l.quit(process, ln)
		}, nil
	case <-ctx.Done():
		l.quit(process, ln)
		return nil, ao.Refuse(hopSchedule, ao.Deadline, "the caller went away before its turn")
	}
}

func (l *lines) join(process ao.ID) (*line, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.standing >= l.most {
		return nil, ao.Refuse(hopSchedule, ao.Busy, "%d messages are being scheduled", l.standing)
	}
	ln := l.byProcess[process]
	if ln == nil {
		ln = &line{turn: make(chan struct{}, 1)}
		l.byProcess[process] = ln
	}
	if ln.standing >= l.mostEach {
		return nil, ao.Refuse(hopSchedule, ao.Busy, "%d messages wait for %s", ln.standing, process)
	}
	ln.standing++
	l.standing++
	return ln, nil
}

func (l *lines) quit(process ao.ID, ln *line) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.standing--
	if ln.standing--; ln.standing == 0 {
		delete(l.byProcess, process)
	}
}

// busy is how many stand in lines.
func (l *lines) busy() int {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.standing
}
