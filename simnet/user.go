package simnet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// patience is how long a user waits for an answer, in virtual time.
const patience = time.Minute

// Spawn has a user at one peer push a process through a messenger; the scheduler is to host it, and whatever it sends is
// signed by the messenger.
func (c *City) Spawn(at, messenger, scheduler *Peer, name string) ao.ID {
	c.T.Helper()
	m, err := ao.SignProcess(c.user, c.module.ID(), scheduler.address, ao.Tags{
		{Name: "Name", Value: name}, {Name: "Authority", Value: messenger.address},
	}, nil, nil)
	if err != nil {
		c.T.Fatal(err)
	}
	if _, err := c.push(at, messenger, m); err != nil {
		c.T.Fatalf("spawn %s: %v", name, err)
	}
	return m.ID()
}

// Send has a user at one peer push a message through a messenger, and says which it is.
func (c *City) Send(at, messenger *Peer, process ao.ID, data string) (ao.ID, error) {
	c.T.Helper()
	m, err := ao.SignMessage(c.user, process, nil, []byte(data), nil)
	if err != nil {
		c.T.Fatal(err)
	}
	_, err = c.push(at, messenger, m)
	return m.ID(), err
}

func (c *City) push(at, messenger *Peer, m ao.Message) (ao.Assignment, error) {
	ctx, cancel := context.WithTimeout(c.T.Context(), patience)
	defer cancel()
	return remote.Messenger(at.in.P2P, messenger.id).Push(ctx, m)
}

// Hops are those of a push, once it is done.
func (c *City) Hops(at, messenger *Peer, message ao.ID) (hops []units.Hop) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), patience)
	defer cancel()
	if err := remote.Messenger(at.in.P2P, messenger.id).Hops(ctx, message, func(h units.Hop) error {
		hops = append(hops, h)
		return nil
	}); err != nil {
		c.T.Fatalf("hops of %s: %v", message, err)
	}
	return hops
}

// Compute asks one computer for a result.
func (c *City) Compute(at, computer *Peer, process ao.ID, slot ao.Slot) (units.Answer, error) {
	ctx, cancel := context.WithTimeout(c.T.Context(), patience)
	defer cancel()
	return remote.Computer(at.in.P2P, nameOfNetwork, computer.id).Compute(ctx, process, slot)
}

// Saying is the data of a message to an actor that has it send messages in turn.
func Saying(messages ...Draft) string {
	out := []any{}
	for _, m := range messages {
		out = append(out, map[string]any{
			"Target": m.To.String(), "Data": m.Data, "Anchor": "00000000000000000000000000000000",
			"Tags": []map[string]string{{"name": "Action", "value": "Say"}},
		})
	}
	b, err := json.Marshal(map[string]any{"ok": true, "response": map[string]any{"Messages": out}})
	if err != nil { // strings and maps of them are always JSON
		panic(err)
	}
	return string(b)
}

// Draft is a message that an actor sends.
type Draft struct {
	To   ao.ID
	Data string
}
