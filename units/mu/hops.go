package mu

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

func hopKey(root ao.ID, number int64) string { return fmt.Sprintf("%s%s/%020d", keyHop, root, number) }

// Hops calls visit for the hops of a push, past and to come, until nothing is left to push. See units.Messenger.
func (u *Unit) Hops(ctx context.Context, message ao.ID, visit func(units.Hop) error) error {
	after := ""
	for {
		u.lock.Lock()
		var changed <-chan struct{}
		limit := int64(math.MaxInt64)
		if r := u.roots[message]; r != nil {
			changed = r.changed
			if len(r.writing) > 0 {
				limit = r.writing[0]
			}
		}
		u.lock.Unlock()
		last, err := u.tellHops(ctx, message, after, hopKey(message, limit), visit)
		if err != nil {
			return err
		}
		if after = last; changed == nil {
			if after == "" {
				return ao.Refuse("push", ao.UnknownMessage, "no push of %s", message)
			}
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tellHops visits the recorded hops between two keys and returns the key of the last.
func (u *Unit) tellHops(ctx context.Context, message ao.ID, after, limit string, visit func(units.Hop) error) (string, error) {
	const page = 256
	for {
		pairs, err := u.cfg.Store.Scan(keyHop+message.String()+"/", after, page)
		if err != nil {
			return after, ao.Refuse("push", ao.StoreTrouble, "%v", err)
		}
		for _, p := range pairs {
			if p.Key >= limit {
				return after, nil
			}
			var h units.Hop
			if err := json.Unmarshal(p.Value, &h); err != nil {
				return after, ao.Refuse("push", ao.StoreTrouble, "hop %s: %v", p.Key, err)
			}
			if ctx.Err() != nil {
				return after, ctx.Err()
			}
			if err := visit(h); err != nil {
				return after, err
			}
			after = p.Key
		}
		if len(pairs) < page {
			return after, nil
		}
	}
}

// Repush pushes the outbox of a slot once more: what was lost arrives, what arrived is taken for the copy that it is
// (§5.2.2). It returns the message whose hops tell how it goes.
func (u *Unit) Repush(ctx context.Context, process ao.ID, slot ao.Slot) (ao.ID, error) {
	log, err := u.cfg.Directory.Log(ctx, process)
	if err != nil {
		return ao.ID{}, err
	}
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil {
		return ao.ID{}, err
	}
	if len(es) == 0 {
		return ao.ID{}, ao.Refuse("push", ao.NotYet, "slot %d of %s", slot, process)
	}
	if a := es[0].Assignment; a.Process() != process || a.Nonce() != slot {
		return ao.ID{}, ao.Refuse("push", ao.BadLog, "slot %d of %s: the log answered with another", slot, process)
	}
	m := es[0].Message
	root := m.ID()
	if v, ok := m.Tags().Lookup("Pushed-For"); ok {
		if id, err := ao.ParseID(v); err == nil {
			root = id
		}
	}
	t := &task{
		Root: root, Process: process, Message: m.ID(), Stage: stageCompute, Slot: slot, Link: es[0].Assignment.Link(),
		Again: true, message: m,
	}
	if m.IsTransaction() {
		t.Assign, t.message = &ao.AssignOptions{BaseLayer: true}, ao.Message{}
	}
	return root, u.accept(t, nil)
}
