package mu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
)

// maxBranches bounds the tasks that one result brings forth: an element may ask for any number of assignments.
const maxBranches = ao.MaxOutbox

// outbox collects the tasks of one result. Elements that cannot become items end here, as hops.
type outbox struct {
	unit   *Unit
	step   *step
	parent *task
	origin ao.Origin
	tasks  []*task
	beyond int // tasks left out
}

// expand makes a task of every element of an outbox. The items come out the same whenever it is done again: their
// signatures are deterministic and their anchors the module's.
func (u *Unit) expand(ctx context.Context, s *step, t *task, r ao.Result, digest attest.Hash) ([]*task, error) {
	if r.Outbox() == 0 {
		return nil, nil
	}
	p, err := u.cfg.Directory.Process(ctx, t.Process)
	if err != nil {
		return nil, err
	}
	o := &outbox{unit: u, step: s, parent: t, origin: ao.Origin{
		Process: t.Process, Module: p.Module().String(), Slot: t.Slot, Digest: digest,
	}}
	if !t.isTick() {
		o.origin.PushedFor = t.Root.String()
	}
	for _, d := range r.Messages {
		m, err := d.Sign(u.cfg.Signer, o.origin, ao.ID{})
		if err != nil {
			o.drop(ao.KindMessage, err)
		} else {
			o.message(d, m)
		}
		o.origin.Index++
	}
	for _, d := range r.Spawns {
		if t.Again && !p.Trusts(u.address) {
			// Signed by another key it would be a second process, and not the copy that a repeated message is.
			o.drop(ao.KindSpawn, ao.Refuse("push", ao.Untrusted, "a spawn is pushed again only by a messenger that its process trusts"))
		} else {
			o.spawn(d, p.Scheduler())
		}
		o.origin.Index++
	}
	for _, d := range r.Assignments {
		o.assign(d)
		o.origin.Index++
	}
	if o.beyond > 0 {
		o.drop(ao.KindAssignment, ao.Refuse("push", ao.TooLarge, "%d more than the %d of one result", o.beyond, maxBranches))
	}
	return o.tasks, nil
}

func (o *outbox) add(child *task) {
	if len(o.tasks) >= maxBranches {
		o.beyond++
		return
	}
	child.Root, child.Parent, child.Source, child.Stage = o.parent.Root, o.parent.Message.String(), &o.parent.Process, stageSchedule
	if o.parent.isTick() {
		child.Root, child.Parent = child.Message, ""
	}
	o.tasks = append(o.tasks, child)
}

func (o *outbox) drop(kind ao.Kind, err error) {
	if o.parent.isTick() { // nobody watches
		o.unit.cfg.Log.Info("element of a tick's outbox dropped", "process", o.parent.Process, "outbox", o.origin.Index, "kind", kind, "err", err)
		return
	}
	o.step.hop(o.parent, units.Hop{
		Word: "drop", Peer: o.unit.cfg.Peer, Slot: o.parent.Slot,
		Note: fmt.Sprintf("outbox %d (%s): %s", o.origin.Index, kind, note(err)),
	})
}

// message pushes an element that became an item, also into the logs that it asks for beside its target's.
func (o *outbox) message(d ao.Draft, m ao.Message) {
	o.add(itemTask(m))
	further, err := d.Assignments()
	if err != nil {
		o.drop(ao.KindMessage, err)
		return
	}
	o.assignTo(ao.KindMessage, further, func(process ao.ID) *task {
		return &task{Process: process, Message: m.ID(), message: m, Assign: new(ao.AssignOptions)}
	})
}

// spawn makes the new process, and the notice that tells its spawner once it exists.
func (o *outbox) spawn(d ao.Draft, scheduler string) {
	m, err := d.SignSpawn(o.unit.cfg.Signer, o.origin, scheduler)
	if err != nil {
		o.drop(ao.KindSpawn, err)
		return
	}
	child := itemTask(m)
	notice := d.Spawned(m.ID())
	notice.Target = o.origin.Process.String()
	if n, err := notice.Sign(o.unit.cfg.Signer, o.origin, ao.ID{}); err != nil {
		o.drop(ao.KindSpawn, fmt.Errorf("no notice of it: %w", err))
	} else {
		child.Notice = n.Raw()
	}
	o.add(child)
}

func itemTask(m ao.Message) *task { return &task{Process: m.Target(), Message: m.ID(), message: m} }

// noticeTask tells a spawner that the process which t has just scheduled exists.
func noticeTask(t *task) (*task, error) {
	m, err := ao.ParseMessage(t.Notice)
	if err != nil {
		return nil, fmt.Errorf("read notice of %s: %w", t.Message, err)
	}
	child := itemTask(m)
	child.Root, child.Parent, child.Source, child.Stage = t.Root, t.Message.String(), t.Source, stageSchedule
	return child, nil
}

// mail ends a pushed message whose target is no process, after it has been looked for: it is addressed to a wallet,
// and is settled so that its owner can read it.
func (u *Unit) mail(ctx context.Context, t *task, err error) error {
	if !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) || t.Source == nil || t.lookups < maxLookups-1 || t.Assign != nil ||
		t.message.IsSpawn() || t.message.Owner() != u.address {
		return err
	}
	if err := u.cfg.Archive.Put(ctx, t.message.Item()); err != nil {
		return err
	}
	u.close(t, units.Hop{Word: "done", Peer: u.cfg.Peer, Note: "the target is no process: settled as mail"}, err)
	return nil
}

// trustNote warns when a pushed message will have no effect because its target does not trust our key.
func (u *Unit) trustNote(ctx context.Context, t *task, a ao.Assignment) string {
	if t.Source == nil || t.message.IsZero() || t.message.IsSpawn() {
		return ""
	}
	owner := t.message.Owner()
	if owner != u.address && owner != u.abroad {
		return ""
	}
	p, err := u.cfg.Directory.Process(ctx, a.Process())
	if err != nil || p.Trusts(owner) {
		return ""
	}
	return fmt.Sprintf("the target does not trust %s: its Authority names others", owner)
}

func errorNote(r ao.Result) string {
	if r.Error == nil {
		return ""
	}
	var text string
	if json.Unmarshal(r.Error, &text) != nil {
		text = string(r.Error)
	}
	return line("Error: %.200s", text)
}
