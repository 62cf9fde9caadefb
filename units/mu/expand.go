package mu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// expand makes a task of every element of an outbox. The items come out the same whenever it is done again: their
// signatures are deterministic and their anchors the module's. Elements that cannot become items end here, as hops.
func (u *Unit) expand(ctx context.Context, b *store.Batch, t *task, ans units.Answer) ([]*task, error) {
	if ans.Result.Outbox() == 0 {
		return nil, nil
	}
	p, err := u.cfg.Directory.Process(ctx, t.Process)
	if err != nil {
		return nil, err
	}
	o := ao.Origin{
		Process: t.Process, Module: p.Module().String(), PushedFor: t.Root.String(),
		Slot: t.Slot, Digest: ans.Claim.Claim().Result,
	}
	var out []*task
	add := func(kind ao.Kind, child *task, err error) {
		if err != nil {
			u.hop(b, t, units.Hop{
				Word: "drop", Peer: u.cfg.Peer, Slot: t.Slot,
				Note: fmt.Sprintf("outbox %d (%s): %v", o.Index, kind, err),
			})
		} else {
			child.Root, child.Parent, child.Source, child.Stage = t.Root, t.Message.String(), &t.Process, stageSchedule
			out = append(out, child)
		}
	}
	for _, d := range ans.Result.Messages {
		m, err := d.Sign(u.cfg.Signer, o, ao.ID{})
		if err != nil {
			add(ao.KindMessage, nil, err)
		} else {
			add(ao.KindMessage, itemTask(m), nil)
		}
		o.Index++
	}
	for _, d := range ans.Result.Spawns {
		m, err := d.SignSpawn(u.cfg.Signer, o, p.Scheduler())
		if err != nil {
			add(ao.KindSpawn, nil, err)
		} else {
			child := itemTask(m)
			child.Notice = d.Raw
			child.Origin = origin{Process: o.Process, Module: o.Module, Slot: o.Slot, Index: o.Index, Digest: o.Digest}
			add(ao.KindSpawn, child, nil)
		}
		o.Index++
	}
	for _, d := range ans.Result.Assignments {
		message, err := ao.ParseID(d.Message)
		if err != nil {
			err = fmt.Errorf("%w: message %.48q", ao.ErrDraft, d.Message)
		}
		for _, name := range d.Processes {
			process, perr := ao.ParseID(name)
			if perr != nil {
				perr = fmt.Errorf("%w: process %.48q", ao.ErrDraft, name)
			}
			add(ao.KindAssignment, &task{Process: process, Message: message}, errors.Join(err, perr))
		}
		o.Index++
	}
	return out, nil
}

func itemTask(m ao.Message) *task {
	return &task{Process: m.Target(), Message: m.ID(), Raw: m.Raw(), message: m}
}

// spawned is the notice to a spawner that its process exists now.
func (u *Unit) spawned(t *task, process ao.ID) (*task, error) {
	r, err := ao.ParseResponse(append(append([]byte(`{"ok":true,"response":{"Spawns":[`), t.Notice...), `]}}`...))
	if err != nil || len(r.Spawns) != 1 {
		return nil, ao.Refuse("push", ao.Internal, "spawn notice of %s: %v", process, err)
	}
	d := r.Spawns[0].Spawned(process)
	d.Target = t.Origin.Process.String()
	m, err := d.Sign(u.cfg.Signer, ao.Origin{
		Process: t.Origin.Process, Module: t.Origin.Module, PushedFor: t.Root.String(),
		Slot: t.Origin.Slot, Index: t.Origin.Index, Digest: t.Origin.Digest,
	}, ao.ID{})
	if err != nil {
		return nil, ao.Refuse("push", ao.BadDraft, "spawn notice of %s: %v", process, err)
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
				if es, err := log.Range(ctx, *t.Source, slot, 1); err == nil && len(es) == 1 {
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
	if !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) || t.Parent == "" || t.tries < maxLookups-1 || t.message.IsSpawn() {
		return err
	}
	if err := u.cfg.Archive.Put(ctx, t.message.Item()); err != nil {
		return err
	}
	var b store.Batch
	u.hop(&b, t, units.Hop{Word: "done", Peer: u.cfg.Peer, Note: "the target is no process: settled as mail"})
	b.Delete(keyTask + t.key())
	if err := u.cfg.Store.Commit(&b); err != nil {
		return err
	}
	u.lock.Lock()
	defer u.lock.Unlock()
	u.retire(t)
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
	return "Error: " + fmt.Sprintf("%.200s", text)
}
