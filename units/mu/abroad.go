package mu

import (
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// errAbroad says that a message of ours has to be signed by the other key before its scheduler takes it.
var errAbroad = errors.New("the message goes to a scheduler of today's network")

// goesAbroad says whether a task is a message that we made for a process whose scheduler takes no signature of ours. Where
// that is so is known only once the scheduler is found, long after the message was made.
func (u *Unit) goesAbroad(t *task, door units.Scheduler) bool {
	return u.cfg.Abroad != nil && t.Source != nil && t.Assign == nil && !t.message.IsZero() && t.message.Owner() == u.address &&
		units.IsElsewhere(door)
}

// sendAbroad puts the message as it goes there in the task's place, in one write: what a crash leaves is either one. A spawn
// becomes another process by that, and its notice names it.
func (u *Unit) sendAbroad(t *task) error {
	m, err := t.message.Abroad(u.cfg.Abroad)
	if err != nil {
		return ao.Refuse("push", ao.BadDraft, "%v", err)
	}
	child := itemTask(m)
	child.Root, child.Parent, child.Source, child.Stage = t.Root, t.Parent, t.Source, stageSchedule
	if t.Root == t.Message { // a push that began here, at a tick
		child.Root = child.Message
	}
	if len(t.Notice) > 0 {
		notice, err := ao.ParseMessage(t.Notice)
		if err != nil {
			return fmt.Errorf("read notice of %s: %w", t.Message, err)
		}
		if notice, err = notice.Renamed(u.cfg.Signer, m.ID()); err != nil {
			return ao.Refuse("push", ao.BadDraft, "%v", err)
		}
		child.Notice = notice.Raw()
	}
	s := &step{root: t.Root}
	s.Delete(keyTask + t.key())
	if err := u.commit(s, child); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.tell(t.key(), end{err: ao.Refuse("push", ao.Queued, "message %s goes on as %s", t.Message, m.ID())})
	u.retire(t)
	return nil
}
