package mu

import (
	"errors"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// maxLookups is how often a target that nobody knows is looked for before it is taken to be no process.
const maxLookups = 6

// failed decides what becomes of a task whose step failed: it is tried again, or dropped.
func (u *Unit) failed(t *task, err error) {
	t.tries++
	if isUnknown(err) {
		t.lookups++
	}
	u.checkStore(err)
	age := u.cfg.Now().Sub(time.UnixMilli(t.Since))
	switch {
	case isFinal(t, err):
		u.drop(t, err)
	case age > u.cfg.GiveUp:
		u.drop(t, ao.Refuse(t.Stage, ao.Deadline, "given up after %s: %v", age.Round(time.Second), err))
	default:
		u.later(t, err)
	}
}

// isFinal says whether a step that failed will always fail: a refusal for what the message is, or for a target that
// has been looked for often enough. Of what a computer refuses only faults of the module count: the rest may be the
// computer's own.
func isFinal(t *task, err error) bool {
	var r *ao.Refusal
	if !errors.As(err, &r) {
		return false
	}
	switch r.Code {
	case ao.BadFormat, ao.BadModule:
		return true
	case ao.Malformed, ao.BadSignature, ao.NotAO, ao.WrongType, ao.BadTags, ao.NoTarget, ao.TooLarge, ao.BadDraft,
		ao.WrongScheduler, ao.OtherNetwork, ao.Unsupported, ao.Rejected:
		return t.Stage == stageSchedule
	case ao.Unconfirmed: // what a process asks for is waited for, a caller can ask again
		return t.Source == nil
	}
	return isUnknown(err) && t.lookups >= maxLookups
}

// isUnknown says that what was looked for is not known anywhere, or not yet.
func isUnknown(err error) bool {
	return errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) || errors.Is(err, &ao.Refusal{Code: ao.UnknownMessage})
}

// later sets a task aside after a failure that may pass, twice as long each time.
func (u *Unit) later(t *task, err error) {
	pause := u.cfg.RetryMax
	if t.tries < 20 {
		pause = min(u.cfg.Retry<<(t.tries-1), u.cfg.RetryMax)
	}
	u.cfg.Log.Debug(t.Stage, "message", t.Message, "process", t.Process, "try", t.tries, "again_in", pause, "err", err)
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.stopped {
		return
	}
	u.count.Retries++
	t.timer = time.AfterFunc(pause, func() {
		u.lock.Lock()
		defer u.lock.Unlock()
		if !u.stopped {
			t.timer = nil
			u.enqueue(t)
		}
	})
}

// drop ends a task that cannot succeed, and says why to whoever waits or looks.
func (u *Unit) drop(t *task, err error) {
	u.cfg.Log.Info("push dropped", "message", t.Message, "process", t.Process, "stage", t.Stage, "err", err)
	u.lock.Lock()
	u.count.Dropped++
	u.lock.Unlock()
	u.close(t, units.Hop{Word: "drop", Peer: u.cfg.Peer, Slot: t.Slot, Note: note(err)}, err)
}

// close ends a task before it got its result: the record goes, the hop stays, who waits is told the error.
func (u *Unit) close(t *task, h units.Hop, err error) {
	s := &step{root: t.Root}
	s.hop(t, h)
	s.Delete(keyTask + t.key())
	if cerr := u.commit(s); cerr != nil {
		t.tries++
		u.later(t, cerr)
		return
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.tell(t.key(), end{err: err})
	u.retire(t)
}

// note is an error as a hop tells it.
func note(err error) string { return line("%v", err) }

// line is one printable line of bounded length, because it may quote a stranger.
func line(format string, args ...any) string {
	return ao.Refuse("push", ao.Internal, format, args...).Detail
}

// refusal is an error as a caller gets it; what is none of ours is the store's.
func refusal(err error) error {
	var r *ao.Refusal
	if errors.As(err, &r) {
		return r
	}
	return ao.Refuse("push", ao.StoreTrouble, "%v", err)
}
