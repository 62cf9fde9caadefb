package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// Every peer may have so many streams and so many bytes, whatever the others do: some calls at once, of frames that
	// hold a message of the usual size.
	sureStreams = 8
	sureMemory  = 256 << 10
	// Beyond that it may have, of what is still free, one part in so many.
	streamParts = 4
	memoryParts = 1
)

// shares divides a bounded good among peers so that none goes without. Something is sure for each of them; of the rest a
// peer may take more as long as what it has of it is less than a part of what is still free. Of n peers that grow greedy
// together each ends up with rest/(n+parts), and a few alone get much.
type shares struct {
	sure, rest, most int64 // for each peer, for all together, and with both for one at most
	parts            int64

	lock sync.Mutex // owns what follows
	used int64      // of the rest
	held map[peer.ID]int64
}

// newShares divides total among at most so many peers.
func newShares(total, peers, sure, most, parts int64) *shares {
	sure = min(sure, total*3/4/peers) // the rest is for who has much to do
	return &shares{sure: sure, rest: total - peers*sure, most: most, parts: parts, held: make(map[peer.ID]int64)}
}

// take gives a peer n more, or nothing.
func (s *shares) take(id peer.ID, n int64) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.takeOf(id, n, s.rest)
}

// takeSpare is take for what can be done without: it leaves half of the rest alone.
func (s *shares) takeSpare(id peer.ID, n int64) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.takeOf(id, n, s.rest/2)
}

func (s *shares) takeOf(id peer.ID, n, rest int64) bool {
	held := s.held[id]
	before, after := s.extra(held), s.extra(held+n)
	if after > 0 && (held+n > s.most || after > (rest-s.used)/s.parts || after-before > rest-s.used) {
		return false
	}
	s.held[id] = held + n
	s.used += after - before
	return true
}

// extra is what a peer that holds so much has of the rest.
func (s *shares) extra(held int64) int64 { return max(held-s.sure, 0) }

// give takes back what a peer was given.
func (s *shares) give(id peer.ID, n int64) {
	if n == 0 {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	held := s.held[id]
	s.used -= s.extra(held) - s.extra(held-n)
	if s.held[id] = held - n; held == n {
		delete(s.held, id)
	}
}

// inUse is what all peers hold together.
func (s *shares) inUse() (n int64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, held := range s.held {
		n += held
	}
	return n
}
