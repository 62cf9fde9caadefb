package cu

import "github.com/aopeer/aopeer/ao"

// Standing is how far the unit is with a process: what a question about a slot would cost it.
type Standing struct {
	Recorded ao.Slot // slots before it have a stored answer
	Next     ao.Slot // the slot that the state at hand stands before: what lies between is replayed
	Hot      bool    // the state is in memory
}

// Behind is how many slots must be replayed before that one can be answered.
func (s Standing) Behind(slot ao.Slot) uint64 {
	if slot < s.Recorded || slot < s.Next {
		return 0
	}
	return uint64(slot - s.Next)
}

// Standing says how the unit stands to a process, from memory or from the records on disk; it evaluates nothing.
func (u *Unit) Standing(process ao.ID) (Standing, error) {
	recorded, err := readSlot(u.cfg.Store, nextKey(process))
	if err != nil {
		return Standing{}, refusal(err)
	}
	if u.isHot(process) {
		return Standing{Recorded: recorded, Next: recorded, Hot: true}, nil
	}
	s := Standing{Recorded: recorded}
	all, err := u.shelf.list(process)
	if err != nil {
		return Standing{}, refusal(storeFault("look for checkpoints", err))
	}
	if len(all) > 0 {
		s.Next = all[len(all)-1]
	}
	return s, nil
}

// isHot says whether the process's state is in the machine or packed beside it.
func (u *Unit) isHot(process ao.ID) bool {
	u.lock.Lock()
	defer u.lock.Unlock()
	p := u.processes[process]
	return p != nil && (p.place != nil || p.busy && p.memory > 0)
}
