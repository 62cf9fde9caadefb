package market

import (
	"cmp"
	"container/heap"
)

// Limits bound a seller's queue.
type Limits struct {
	Jobs     int    // that wait in all
	PerPayer int    // that wait for one payer
	Price    uint64 // at which a job weighs one; it is also the least that is taken when the queue is more than half full
	Bounds   uint64 // how many times as fast as at that price the best paid job may go, at least 1
}

// DefaultLimits are for a unit of the price.
func DefaultLimits(price uint64) Limits {
	return Limits{Jobs: 1024, PerPayer: 64, Price: price, Bounds: 4}
}

// Job is work that waits at a seller. Work is how much it is, in any unit that all jobs share.
type Job struct {
	Payer Peer
	ID    uint64 // the caller's
	Price uint64
	Work  uint64

	finish, number uint64
	at             int // in the heap
	own            *payer
}

// Backlog is what a seller tells somebody whom it puts off.
type Backlog struct {
	Ahead uint64 // jobs that wait
	Work  uint64 // the sum of their work
	Open  bool   // a job would be taken now, at Price
	Price uint64
}

// Queue is fair admission at a seller: payers take turns by the work that they ask for, whatever the number of their jobs,
// and whoever pays more goes faster within bounds. A full queue gives the place of the payer with most waiting to one
// with less. Not safe for concurrent use.
type Queue struct {
	limits  Limits
	jobs    jobHeap
	payers  map[Peer]*payer
	clock   uint64 // virtual time: where the job last taken began
	number  uint64
	waiting uint64
}

type payer struct {
	jobs   int
	finish uint64 // virtual time at which the last of them would be done
}

// NewQueue is an empty queue.
func NewQueue(l Limits) *Queue {
	l.Jobs, l.PerPayer, l.Bounds = max(l.Jobs, 1), max(l.PerPayer, 1), max(l.Bounds, 1)
	return &Queue{limits: l, payers: map[Peer]*payer{}}
}

const (
	scale   = 1 << 10 // virtual time of one unit of work at the least weight
	maxWork = 1 << 32
)

// Push lets a job wait. It may push another one out, which its seller must then put off: Displaced. Errors: Busy,
// PayerBusy, Underpaid, each with Backlog telling more.
func (q *Queue) Push(j Job) (displaced Job, isDisplaced bool, err error) {
	own := q.payers[j.Payer]
	held := 0
	if own != nil {
		held = own.jobs
	}
	if held >= q.limits.PerPayer {
		return Job{}, false, refuse(PayerBusy, "%d jobs wait", held)
	}
	if 2*len(q.jobs) >= q.limits.Jobs && j.Price < q.limits.Price {
		return Job{}, false, refuse(Underpaid, "%d, not %d while %d jobs wait", j.Price, q.limits.Price, len(q.jobs))
	}
	if len(q.jobs) >= q.limits.Jobs {
		out := q.fattest()
		if out.own.jobs <= held+1 {
			return Job{}, false, refuse(Busy, "%d jobs wait", len(q.jobs))
		}
		displaced, isDisplaced = *out, true
		out.own.finish -= q.span(out)
		q.take(out.at)
	}
	if own = q.payers[j.Payer]; own == nil {
		own = &payer{finish: q.clock}
		q.payers[j.Payer] = own
	}
	j.Work = min(max(j.Work, 1), maxWork)
	q.number++
	j.number = q.number
	own.finish = max(own.finish, q.clock) + q.span(&j)
	j.finish, j.own = own.finish, own
	own.jobs++
	q.waiting += j.Work
	heap.Push(&q.jobs, &j)
	return displaced, isDisplaced, nil
}

// span is how much virtual time a job takes: its work through its weight.
func (q *Queue) span(j *Job) uint64 {
	weight := uint64(scale)
	if q.limits.Price > 0 {
		w := weightOf(j.Price, scale)
		weight, _ = divide(w.hi, w.lo, q.limits.Price)
	}
	weight = min(max(weight, scale), scale*q.limits.Bounds)
	return max(j.Work*scale*scale/weight, 1)
}

// Pop is the job whose turn it is.
func (q *Queue) Pop() (Job, bool) {
	if len(q.jobs) == 0 {
		return Job{}, false
	}
	j := *q.jobs[0]
	q.clock = max(q.clock, j.finish-q.span(&j))
	q.take(0)
	return j, true
}

// take removes the job at a place of the heap.
func (q *Queue) take(at int) {
	j := heap.Remove(&q.jobs, at).(*Job)
	q.waiting -= j.Work
	if len(q.jobs) == 0 { // what was is forgotten, and virtual time cannot run out
		clear(q.payers)
		q.clock = 0
		return
	}
	if j.own.jobs--; j.own.jobs == 0 && j.own.finish <= q.clock {
		delete(q.payers, j.Payer)
	}
	if len(q.payers) > 2*q.limits.Jobs {
		q.forget()
	}
}

// forget drops payers with nothing waiting: those furthest ahead would gain by it least.
func (q *Queue) forget() {
	for peer, p := range q.payers {
		if p.jobs == 0 {
			delete(q.payers, peer)
		}
	}
}

// fattest is the last job of the payer with most jobs; of equals the one whose last job is furthest.
func (q *Queue) fattest() *Job {
	var out *Job
	for _, j := range q.jobs {
		if out == nil || j.own.jobs > out.own.jobs || j.own.jobs == out.own.jobs && after(j, out) {
			out = j
		}
	}
	return out
}

// Len is how many jobs wait.
func (q *Queue) Len() int { return len(q.jobs) }

// Backlog is what waits before a payer's next job, and the price at which it would be taken.
func (q *Queue) Backlog(p Peer) Backlog {
	b := Backlog{Ahead: uint64(len(q.jobs)), Work: q.waiting}
	if own := q.payers[p]; own != nil && own.jobs >= q.limits.PerPayer {
		return b
	}
	if len(q.jobs) >= q.limits.Jobs {
		if q.fattest().own.jobs <= q.jobsOf(p)+1 {
			return b
		}
	}
	b.Open = true
	if 2*len(q.jobs) >= q.limits.Jobs {
		b.Price = q.limits.Price
	}
	return b
}

func (q *Queue) jobsOf(p Peer) int {
	if own := q.payers[p]; own != nil {
		return own.jobs
	}
	return 0
}

// after says whether a job's turn comes after another's.
func after(a, b *Job) bool {
	return cmp.Or(cmp.Compare(a.finish, b.finish), cmp.Compare(a.number, b.number)) > 0
}

// jobHeap orders jobs by turn.
type jobHeap []*Job

// Len, Less, Swap, Push and Pop make it a heap.
func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return after(h[j], h[i]) }
func (h jobHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }
func (h *jobHeap) Push(x any)        { j := x.(*Job); j.at = len(*h); *h = append(*h, j) }
func (h *jobHeap) Pop() any {
	old := *h
	j := old[len(old)-1]
	*h = old[:len(old)-1]
	return j
}
