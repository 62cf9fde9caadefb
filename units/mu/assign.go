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

// Assign queues an existing message for one more log, waits until it has its slot there and returns the assignment. See
// units.Messenger.
func (u *Unit) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	if err := how.Check(); err != nil {
		return ao.Assignment{}, ao.Refuse("push", ao.BadTags, "%v", err)
	}
	return u.queue(ctx, &task{Root: message, Process: process, Message: message, Stage: stageSchedule, Assign: &how})
}

// assign makes the tasks of an outbox's assignment.
func (o *outbox) assign(d ao.AssignDraft) {
	if err := d.Check(); err != nil {
		o.drop(ao.KindAssignment, fmt.Errorf("%w: %w", ao.ErrDraft, err))
		return
	}
	message, err := ao.ParseID(d.Message)
	if err != nil {
		o.drop(ao.KindAssignment, fmt.Errorf("%w: message %.48q", ao.ErrDraft, d.Message))
		return
	}
	how := d.AssignOptions
	o.assignTo(ao.KindAssignment, d.Processes, func(process ao.ID) *task {
		return &task{Process: process, Message: message, Assign: &how}
	})
}

// assignTo adds a task for each process, which an element of that kind names.
func (o *outbox) assignTo(kind ao.Kind, processes []string, child func(process ao.ID) *task) {
	wrong := ""
	for _, name := range processes {
		process, err := ao.ParseID(name)
		if err != nil {
			wrong = name
			continue
		}
		o.add(child(process))
	}
	if wrong != "" {
		o.drop(kind, fmt.Errorf("%w: process %.48q", ao.ErrDraft, wrong))
	}
}

// addressedTask assigns a process that t has just scheduled to the process that its item names as its target.
func addressedTask(t *task) (*task, bool) {
	target := t.message.Addressee()
	if t.Process != t.Message || target.IsZero() {
		return nil, false
	}
	return &task{
		Root: t.Root, Parent: t.Message.String(), Process: target, Message: t.Message, Stage: stageSchedule,
		message: t.message, Assign: new(ao.AssignOptions),
	}, true
}

// maxSightings is how many hops of a message are looked at for the log that it is in.
const maxSightings = 16

// find fetches a message to assign: from the log of the process that asks, from the log that we brought it into, or from
// the archive.
func (u *Unit) find(ctx context.Context, t *task) (ao.Message, error) {
	logs, err := u.sightings(t)
	if err != nil {
		return ao.Message{}, err
	}
	for _, process := range logs {
		if m, ok := u.inLog(ctx, process, t.Message); ok {
			return m, nil
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

// sightings are the processes whose logs may hold the message: the one that asks or, where a user does, those that the
// message was pushed into by us.
func (u *Unit) sightings(t *task) ([]ao.ID, error) {
	if t.Source != nil {
		return []ao.ID{*t.Source}, nil
	}
	pairs, err := u.cfg.Store.Scan(keyHop+t.Message.String()+"/", "", maxSightings)
	if err != nil {
		return nil, fmt.Errorf("look for message %s: %w", t.Message, err)
	}
	var out []ao.ID
	for _, p := range pairs {
		var h units.Hop
		if json.Unmarshal(p.Value, &h) == nil && h.Word == stageSchedule && h.Message == t.Message && h.Process != t.Process {
			out = append(out, h.Process)
		}
	}
	return out, nil
}

// inLog is the item of that ID as the log of a process holds it.
func (u *Unit) inLog(ctx context.Context, process, message ao.ID) (ao.Message, bool) {
	log, err := u.cfg.Directory.Log(ctx, process)
	if err != nil {
		return ao.Message{}, false
	}
	slot, err := log.Find(ctx, process, message)
	if err != nil {
		return ao.Message{}, false
	}
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil || len(es) != 1 || es[0].Message.ID() != message || es[0].Message.IsTransaction() {
		return ao.Message{}, false
	}
	return es[0].Message, true
}
