package units

import "github.com/aopeer/aopeer/ao"

// Standing is how far a computer is with a process: what a question about a slot would cost it.
type Standing struct {
	Recorded ao.Slot // slots before it have a stored answer
	Next     ao.Slot // the slot that the state at hand stands before: what lies between is replayed
	Hot      bool    // the state is in memory
}

// Behind is how many slots must be replayed before that one can be answered.
func (s Standing) Behind(slot ao.Slot) uint64 {
	if s.Has(slot) || slot < s.Next {
		return 0
	}
	return uint64(slot - s.Next)
}

// Has says whether the slot's answer is stored.
func (s Standing) Has(slot ao.Slot) bool { return slot < s.Recorded }
