package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

const (
	// sweepEvery is after how many departures, and maxShares at how many peers, idle ones are forgotten.
	sweepEvery = 1024
	maxShares  = 4096
)

// admission bounds how many streams one peer has served at once and how fast it opens them.
type admission struct {
	limits Limits

	lock   sync.Mutex // owns what follows
	peers  map[peer.ID]*share
	leaves int
}

type share struct {
	bucket  *rate.Limiter
	streams int
}

func newAdmission(limits Limits) *admission {
	return &admission{limits: limits, peers: make(map[peer.ID]*share)}
}

// enter takes a place for one stream, or says no.
func (a *admission) enter(id peer.ID, now time.Time) bool {
	a.lock.Lock()
	defer a.lock.Unlock()
	s, ok := a.peers[id]
	if !ok {
		if len(a.peers) >= maxShares {
			a.sweep(now)
		}
		s = &share{bucket: rate.NewLimiter(rate.Limit(a.limits.CallsPerSecond), a.limits.CallBurst)}
		a.peers[id] = s
	}
	if s.streams >= a.limits.StreamsPerPeer || !s.bucket.AllowN(now, 1) {
		return false
	}
	s.streams++
	return true
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

// sweep forgets peers whose bucket is full again: they are as good as new ones.
func (a *admission) sweep(now time.Time) {
	a.leaves = 0
	for id, s := range a.peers {
		if s.streams == 0 && s.bucket.TokensAt(now) >= float64(a.limits.CallBurst) {
			delete(a.peers, id)
		}
	}
}
