package p2p

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

const (
	// sweepEvery is after how many departures, and maxShares at how many peers, idle ones are forgotten.
	sweepEvery = 1024
	maxShares  = 4096
	// putOffAfter is how many times its burst of calls a peer may be refused in one go, and putOffFor how long it is not
	// talked to after that: refusing costs little, and not nothing.
	putOffAfter = 8
	putOffFor   = time.Minute
)

// bound is why something was refused.
type bound int

const (
	boundConns   bound = iota // too many connections, of all or from one address
	boundStreams              // too many streams at once
	boundRate                 // too many calls a second
	boundMemory               // too large a part of the buffers
	boundGossip               // too much gossip a second
	boundTopics               // topics that nobody here has heard of
	boundFlood                // a peer that was refused so often that it is put off
	bounds                    // how many there are
)

// admission bounds what one peer may cost: streams and memory by fair shares, calls and gossip by their rate.
type admission struct {
	limits  Limits
	streams *shares // that peers opened to us
	memory  *shares // of frames and of windows that grew
	refused [bounds]atomic.Uint64

	lock   sync.Mutex // owns what follows
	peers  map[peer.ID]*share
	leaves int
}

// share is one peer's.
type share struct {
	calls    *rate.Limiter
	gossip   *rate.Limiter
	patience *rate.Limiter // with its being refused
	streams  int           // being served
}

func newAdmission(limits Limits) *admission {
	return &admission{
		limits:  limits,
		streams: newShares(int64(limits.Streams), int64(limits.Conns), sureStreams, int64(limits.Streams), streamParts),
		memory:  newShares(limits.Memory, int64(limits.Conns), sureMemory, limits.Memory, memoryParts),
		peers:   make(map[peer.ID]*share),
	}
}

// of is a peer's share; the caller holds the lock.
func (a *admission) of(id peer.ID, now time.Time) *share {
	s, ok := a.peers[id]
	if ok {
		return s
	}
	if len(a.peers) >= maxShares {
		a.sweep(now)
	}
	l := a.limits
	s = &share{
		calls:    rate.NewLimiter(rate.Limit(l.CallsPerSecond), l.CallBurst),
		gossip:   rate.NewLimiter(rate.Limit(l.GossipPerSecond), l.GossipBurst),
		patience: rate.NewLimiter(rate.Limit(l.CallsPerSecond), putOffAfter*l.CallBurst),
	}
	a.peers[id] = s
	return s
}

// enter takes a place for one stream to be served, or says by which bound there is none.
func (a *admission) enter(id peer.ID, now time.Time) (bound, bool) {
	a.lock.Lock()
	defer a.lock.Unlock()
	s := a.of(id, now)
	if s.streams >= a.limits.StreamsPerPeer {
		return boundStreams, false
	}
	if !s.calls.AllowN(now, 1) {
		return boundRate, false
	}
	s.streams++
	return 0, true
}

// leave gives the place back.
func (a *admission) leave(id peer.ID, now time.Time) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.peers[id].streams--
	if a.leaves++; a.leaves >= sweepEvery {
		a.sweep(now)
	}
}

// hear says whether a neighbour may send so much gossip now.
func (a *admission) hear(id peer.ID, messages int, now time.Time) bool {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.of(id, now).gossip.AllowN(now, messages)
}

// count notes a refusal that no peer answers for.
func (a *admission) count(why bound) { a.refused[why].Add(1) }

// refuse notes a refusal, and says whether the peer has been refused so often that it is to be put off.
func (a *admission) refuse(id peer.ID, why bound, now time.Time) (flood bool) {
	a.count(why)
	a.lock.Lock()
	defer a.lock.Unlock()
	return !a.of(id, now).patience.AllowN(now, 1)
}

// sweep forgets peers whose buckets are full again: they are as good as new ones.
func (a *admission) sweep(now time.Time) {
	a.leaves = 0
	full := func(bucket *rate.Limiter) bool { return bucket.TokensAt(now) >= float64(bucket.Burst()) }
	for id, s := range a.peers {
		if s.streams == 0 && full(s.calls) && full(s.gossip) && full(s.patience) {
			delete(a.peers, id)
		}
	}
}
