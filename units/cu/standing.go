package cu

import (
	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Standing says how the unit stands to a process, from memory or from the records on disk; it evaluates nothing.
func (u *Unit) Standing(process ao.ID) (units.Standing, error) {
	recorded, err := readSlot(u.cfg.Store, nextKey(process))
	if err != nil {
		return units.Standing{}, refusal(err)
	}
	if u.isHot(process) {
		return units.Standing{Recorded: recorded, Next: recorded, Hot: true}, nil
	}
	s := units.Standing{Recorded: recorded}
	all, err := u.shelf.list(process)
	if err != nil {
		return units.Standing{}, refusal(storeFault("look for checkpoints", err))
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
