package mu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
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
func (u *Unit) expand(ctx context.Context, s *step, t *task, ans units.Answer) ([]*task, error) {
	if ans.Result.Outbox() == 0 {
		return nil, nil
	}
	p, err := u.cfg.Directory.Process(ctx, t.Process)
	if err != nil {
		return nil, err
	}
	o := &outbox{unit: u, step: s, parent: t, origin: ao.Origin{
		Process: t.Process, Module: p.Module().String(), PushedFor: t.Root.String(),
		Slot: t.Slot, Digest: ans.Claim.Claim().Result,
	}}
	for _, d := range ans.Result.Messages {
		m, err := d.Sign(u.cfg.Signer, o.origin, ao.ID{})
		if err != nil {
			o.drop(ao.KindMessage, err)
		} else {
			o.add(itemTask(m))
		}
		o.origin.Index++
	}
	for _, d := range ans.Result.Spawns {
		if t.Again && !p.Trusts(u.address) {
			// Signed by another key it would be a second process, and not the copy that a repeated message is.
			o.drop(ao.KindSpawn, ao.Refuse("push", ao.Untrusted, "a spawn is pushed again only by a messenger that its process trusts"))
		} else {
			o.spawn(d, p.Scheduler())
		}
		o.origin.Index++
	}
	for _, d := range ans.Result.Assignments {
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
	o.tasks = append(o.tasks, child)
}

func (o *outbox) drop(kind ao.Kind, err error) {
	o.step.hop(o.parent, units.Hop{
		Word: "drop", Peer: o.unit.cfg.Peer, Slot: o.parent.Slot,
		Note: fmt.Sprintf("outbox %d (%s): %s", o.origin.Index, kind, note(err)),
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

func (o *outbox) assign(d ao.AssignDraft) {
	if len(d.Exclude) > 0 { // computers refuse such assignments, so none is made
		o.drop(ao.KindAssignment, ao.Refuse("push", ao.Unsupported, "an assignment that excludes fields"))
		return
	}
	message, err := ao.ParseID(d.Message)
	if err != nil {
		o.drop(ao.KindAssignment, fmt.Errorf("%w: message %.48q", ao.ErrDraft, d.Message))
		return
	}
	wrong := ""
	for _, name := range d.Processes {
		process, err := ao.ParseID(name)
		if err != nil {
			wrong = name
			continue
		}
		o.add(&task{Process: process, Message: message})
	}
	if wrong != "" {
		o.drop(ao.KindAssignment, fmt.Errorf("%w: process %.48q", ao.ErrDraft, wrong))
	}
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

// find fetches a message that an outbox wants assigned: from the log of the process that asks, or from the archive.
func (u *Unit) find(ctx context.Context, t *task) (ao.Message, error) {
	if t.Source != nil {
		if log, err := u.cfg.Directory.Log(ctx, *t.Source); err == nil {
			if slot, err := log.Find(ctx, *t.Source, t.Message); err == nil {
				es, err := log.Range(ctx, *t.Source, slot, 1)
				if err == nil && len(es) == 1 && es[0].Message.ID() == t.Message {
					return es[0].Message, nil
				}
			}
		}
	}
	it, err := u.cfg.Archive.Get(ctx, t.Message)
	if errors.Is(err, arweave.ErrNotFound) {
		return ao.Message{}, ao.Refuse("push", ao.UnknownMessage, "message %s to assign", t.Message)
	}
	if err != nil {
		return ao.Message{}, err
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		return ao.Message{}, ao.Refuse("push", ao.WrongType, "message %s to assign: %v", t.Message, err)
	}
	return m, nil
}

// mail ends a pushed message whose target is no process, after it has been looked for: it is addressed to a wallet,
// and is settled so that its owner can read it.
func (u *Unit) mail(ctx context.Context, t *task, err error) error {
	if !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) || t.Parent == "" || t.lookups < maxLookups-1 ||
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
	if t.Source == nil || t.message.IsSpawn() || t.message.Owner() != u.address {
		return ""
	}
	p, err := u.cfg.Directory.Process(ctx, a.Process())
	if err != nil || p.Trusts(u.address) {
		return ""
	}
	return fmt.Sprintf("the target does not trust %s: its Authority names others", u.address)
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
