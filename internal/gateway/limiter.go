package gateway

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/aopeer/aopeer/ao"
)

// maxCallers bounds the table of callers; whoever was quiet the longest is forgotten first.
const maxCallers = 8192

// limiter lets each address call only so often.
type limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	lock    sync.Mutex
	callers map[netip.Addr]*list.Element
	recent  *list.List // of *account, the most recent first
}

type account struct {
	address netip.Addr
	bucket  *rate.Limiter
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, now: now, callers: map[netip.Addr]*list.Element{}, recent: list.New()}
}

// take counts a call. It says how long the caller has to wait, 0 if the call may go on; the zero address always may.
func (l *limiter) take(a netip.Addr) time.Duration {
	if !a.IsValid() {
		return 0
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	at, known := l.callers[a]
	if !known {
		if l.recent.Len() >= maxCallers {
			oldest := l.recent.Back()
			delete(l.callers, oldest.Value.(*account).address)
			l.recent.Remove(oldest)
		}
		at = l.recent.PushFront(&account{address: a, bucket: rate.NewLimiter(l.rate, l.burst)})
		l.callers[a] = at
	}
	l.recent.MoveToFront(at)
	now := l.now()
	ask := at.Value.(*account).bucket.ReserveN(now, 1)
	if !ask.OK() {
		return time.Second
	}
	if wait := ask.DelayFrom(now); wait > 0 {
		ask.CancelAt(now)
		return wait
	}
	return 0
}

// turns bounds what goes on for one process at once.
type turns struct {
	most int

	lock  sync.Mutex
	under map[ao.ID]int
}

func newTurns(most int) *turns { return &turns{most: most, under: map[ao.ID]int{}} }

// enter says whether there is a place; leave must then be called.
func (t *turns) enter(process ao.ID) bool {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.under[process] >= t.most {
		return false
	}
	t.under[process]++
	return true
}

func (t *turns) leave(process ao.ID) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if t.under[process]--; t.under[process] == 0 {
		delete(t.under, process)
	}
}
