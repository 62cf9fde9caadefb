package mu

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// hop records one step of a push in the batch that makes the step durable.
func (u *Unit) hop(b *store.Batch, t *task, h units.Hop) {
	h.Process, h.Message, h.Parent = t.Process, t.Message, t.Parent
	v, err := json.Marshal(h)
	if err != nil {
		u.cfg.Log.Error("record hop", "err", err)
		return
	}
	u.lock.Lock()
	u.lastHop = max(u.lastHop+1, u.cfg.Now().UnixNano())
	n := u.lastHop
	u.lock.Unlock()
	b.Put(fmt.Sprintf("%s%s/%020d", keyHop, t.Root, n), v)
}

// Hops calls visit for the hops of a push, past and to come, until nothing is left to push. See units.Messenger.
func (u *Unit) Hops(ctx context.Context, message ao.ID, visit func(units.Hop) error) error {
	prefix := keyHop + message.String() + "/"
	after := ""
	for seen := false; ; {
		u.lock.Lock()
		var changed <-chan struct{}
		if r := u.roots[message]; r != nil {
			changed = r.changed
		}
		u.lock.Unlock()
		for more := true; more; {
			pairs, err := u.cfg.Store.Scan(prefix, after, 256)
			if err != nil {
				return ao.Refuse("push", ao.StoreTrouble, "%v", err)
			}
			more = len(pairs) == 256
			for _, p := range pairs {
				var h units.Hop
				if err := json.Unmarshal(p.Value, &h); err != nil {
					return ao.Refuse("push", ao.StoreTrouble, "hop %s: %v", p.Key, err)
				}
				if err := visit(h); err != nil {
					return err
				}
				after, seen = p.Key, true
			}
		}
		if changed == nil {
			if !seen {
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
	m := es[0].Message
	root := m.ID()
	if v, ok := m.Tags().Lookup("Pushed-For"); ok {
		if id, err := ao.ParseID(v); err == nil {
			root = id
		}
	}
	t := &task{
		Root: root, Process: process, Message: m.ID(), Raw: m.Raw(), Stage: stageCompute, Slot: slot,
		Again: true, message: m,
	}
	_, err = u.accept(t)
	return root, err
}
