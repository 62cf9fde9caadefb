package wasmvm

import (
	"slices"
	"sync"
)

// maxSwinging is how many processes keep former contents of their pages. For a process of aos they are more than a quarter of
// what it takes, and only one that goes on being evaluated has use for them.
const maxSwinging = 16

// swinging is the journals that keep former contents, the most recently marked first. It is safe for concurrent use.
type swinging struct {
	lock     sync.Mutex
	journals []*journal
}

// touch puts a journal in front. One beyond those that may keep former contents loses its own, whoever uses it.
func (s *swinging) touch(j *journal) {
	if last := s.push(j); last != nil {
		last.shed()
	}
}

func (s *swinging) push(j *journal) (last *journal) {
	s.lock.Lock()
	defer s.lock.Unlock()
	at := slices.Index(s.journals, j)
	if at < 0 {
		at = len(s.journals)
		s.journals = append(s.journals, j)
	}
	copy(s.journals[1:at+1], s.journals[:at])
	s.journals[0] = j
	if len(s.journals) > maxSwinging {
		last = s.journals[maxSwinging]
		s.journals = slices.Delete(s.journals, maxSwinging, maxSwinging+1)
	}
	return last
}

// drop forgets a journal that is closed.
func (s *swinging) drop(j *journal) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if at := slices.Index(s.journals, j); at >= 0 {
		s.journals = slices.Delete(s.journals, at, at+1)
	}
}
