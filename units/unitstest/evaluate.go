package unitstest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units"
)

// Echo is a computer in memory that runs no module: the output of a slot is its message's data, the state is the hash of
// the log so far. It meets TestComputer. Safe for concurrent use.
type Echo struct {
	network string
	signer  ans104.Signer
	log     units.Log

	lock   sync.Mutex
	claims map[place]attest.Hash
	last   map[ao.ID]ao.Slot
}

type place struct {
	process ao.ID
	slot    ao.Slot
}

// NewEcho makes a computer that reads logs there and signs claims for that network.
func NewEcho(network string, signer ans104.Signer, log units.Log) *Echo {
	return &Echo{network: network, signer: signer, log: log, claims: make(map[place]attest.Hash), last: make(map[ao.ID]ao.Slot)}
}

// Record implements attest.Journal.
func (c *Echo) Record(claim attest.Claim, digest attest.Hash) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	at := place{claim.Process, claim.Nonce}
	if first, ok := c.claims[at]; ok && first != digest {
		return attest.ErrContradiction
	}
	c.claims[at] = digest
	return nil
}

// Compute implements units.Computer.
func (c *Echo) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	const hop = "compute"
	if ctx.Err() != nil {
		return units.Answer{}, ao.Refuse(hop, ao.Deadline, "the caller went away")
	}
	page, err := c.log.Range(ctx, process, slot, 1)
	if err != nil {
		return units.Answer{}, err
	}
	if len(page) == 0 {
		return units.Answer{}, ao.Refuse(hop, ao.NotYet, "slot %d is not in the log of %s", slot, process)
	}
	e := page[0]
	r := echo(e.Message.Data())
	root := attest.Hash(e.Assignment.Link())
	claim, err := attest.Sign(c, c.signer, attest.Claim{
		Network: c.network,
		Process: process,
		Nonce:   slot,
		Message: e.Message.ID(),
		Head:    e.Assignment.Link(),
		Result:  attest.ResultDigest(r),
		State:   &root,
		Profile: "echo",
	})
	if errors.Is(err, attest.ErrContradiction) {
		return units.Answer{}, ao.Refuse(hop, ao.Contradiction, "slot %d of %s", slot, process)
	}
	if err != nil {
		return units.Answer{}, ao.Refuse(hop, ao.Internal, "%v", err)
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.last[process] = max(c.last[process], slot)
	return units.Answer{Slot: slot, Result: r, Claim: claim}, nil
}

func echo(data []byte) ao.Result {
	out, err := json.Marshal(string(data))
	if err != nil {
		panic("unitstest: " + err.Error()) // strings always marshal
	}
	return ao.Result{Output: out}
}

// State implements units.Computer.
func (c *Echo) State(ctx context.Context, process ao.ID) (units.StateInfo, error) {
	c.lock.Lock()
	slot := c.last[process]
	c.lock.Unlock()
	page, err := c.log.Range(ctx, process, slot, 1)
	if err != nil {
		return units.StateInfo{}, err
	}
	if len(page) == 0 {
		return units.StateInfo{}, ao.Refuse("compute", ao.NotYet, "the log of %s is empty", process)
	}
	return units.StateInfo{Slot: slot, Root: page[0].Assignment.Link()}, nil
}

// DryRun implements units.Computer.
func (c *Echo) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	if _, err := c.log.Next(ctx, process); err != nil {
		return ao.Result{}, err
	}
	return echo(q.Data), nil
}

// Cron implements units.Computer: a tick's output is its interval. Its clock stands at the log's head.
func (c *Echo) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	next, err := c.log.Next(ctx, process)
	if err != nil {
		return nil, err
	}
	log, err := c.log.Range(ctx, process, 0, int(next))
	if err != nil {
		return nil, err
	}
	p, err := log[0].Message.Process()
	if err != nil {
		return nil, ao.Refuse("compute", ao.WrongType, "%v", err)
	}
	cron, err := p.Cron()
	if err != nil {
		return nil, ao.Refuse("compute", ao.BadTags, "%v", err)
	}
	var out []units.CronResult
	last := log[0].Assignment.Fields()
	origin := last.Timestamp
	for _, e := range log {
		f := e.Assignment.Fields()
		blocks := ao.Heights{Origin: log[0].Assignment.Fields().BlockHeight, From: last.BlockHeight, To: f.BlockHeight, At: f.Timestamp}
		tick, ok := cron.Next(origin, blocks, ao.AfterSlot(last.Timestamp))
		for ; ok && tick.Timestamp <= f.Timestamp && len(out) < limit; tick, ok = cron.Next(origin, blocks, tick) {
			if tick.Compare(from.Tick) > 0 {
				v, height := cron[tick.Interval], last.BlockHeight
				if v.Blocks > 0 {
					height = blocks.Of(tick)
				}
				out = append(out, units.CronResult{
					Cursor: units.CronCursor{Tick: tick, Slot: last.Nonce}, Every: v.Text, Height: height, Result: echo([]byte(v.Text)),
				})
			}
		}
		last = f
	}
	return out, nil
}

// Courier is a messenger in memory over one scheduler and one computer: it schedules, computes and is done, because
// there are no outboxes. It meets TestMessenger. Safe for concurrent use.
type Courier struct {
	scheduler units.Scheduler
	computer  units.Computer

	lock     sync.Mutex
	hops     map[ao.ID][]units.Hop // of pushes that are over
	waiting  []errand              // queued while stalled
	stalled  chan struct{}         // closed by resuming; nil while not stalled
	monitors map[ao.ID]string      // who asked for them
}

// NewCourier makes a messenger between the two.
func NewCourier(s units.Scheduler, c units.Computer) *Courier {
	return &Courier{scheduler: s, computer: c, hops: make(map[ao.ID][]units.Hop), monitors: make(map[ao.ID]string)}
}

// Stall keeps the courier from its scheduler until resume is called; resume delivers what was queued meanwhile.
func (c *Courier) Stall() (resume func()) {
	c.lock.Lock()
	defer c.lock.Unlock()
	stalled := make(chan struct{})
	c.stalled = stalled
	return func() {
		c.lock.Lock()
		waiting := c.waiting
		c.waiting, c.stalled = nil, nil
		c.lock.Unlock()
		for _, m := range waiting {
			_, _ = c.deliver(context.Background(), m) // what fails is as if it had never been queued
		}
		close(stalled)
	}
}

// errand is how a message gets its slot.
type errand struct {
	message  ao.ID
	schedule func(context.Context) (ao.Assignment, error)
}

// Push implements units.Messenger.
func (c *Courier) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	return c.deliver(ctx, errand{m.ID(), func(ctx context.Context) (ao.Assignment, error) {
		return c.scheduler.Schedule(ctx, m.Target(), m)
	}})
}

// Assign implements units.Messenger for messages that the scheduler finds.
func (c *Courier) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	return c.deliver(ctx, errand{message, func(ctx context.Context) (ao.Assignment, error) {
		return c.scheduler.Assign(ctx, process, message, how)
	}})
}

func (c *Courier) deliver(ctx context.Context, m errand) (ao.Assignment, error) {
	c.lock.Lock()
	stalled := c.stalled
	if stalled != nil {
		c.waiting = append(c.waiting, m)
	}
	c.lock.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return ao.Assignment{}, ao.Refuse("push", ao.Queued, "%s", m.message)
		}
	}
	a, err := m.schedule(ctx)
	if err != nil {
		return ao.Assignment{}, err
	}
	answer, err := c.computer.Compute(ctx, a.Process(), a.Nonce())
	if err != nil {
		return ao.Assignment{}, err
	}
	base := units.Hop{Process: a.Process(), Message: m.message, Slot: a.Nonce()}
	hops := make([]units.Hop, 4)
	for i, word := range []string{"push", "schedule", "compute", "done"} {
		hops[i] = base
		hops[i].Word = word
	}
	hops[2].Digest = ao.ID(attest.ResultDigest(answer.Result)).String()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.hops[m.message] = append(c.hops[m.message], hops...)
	return a, nil
}

// Hops implements units.Messenger.
func (c *Courier) Hops(ctx context.Context, message ao.ID, visit func(units.Hop) error) error {
	c.lock.Lock()
	hops, ok := c.hops[message]
	c.lock.Unlock()
	if !ok {
		return ao.Refuse("push", ao.UnknownMessage, "%s was not pushed here", message)
	}
	for _, h := range hops {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := visit(h); err != nil {
			return err
		}
	}
	return nil
}

// Monitor implements units.Messenger. Nothing is pushed, because there are no outboxes.
func (c *Courier) Monitor(ctx context.Context, r ao.Request) error {
	if _, err := c.computer.Cron(ctx, r.Process(), units.CronCursor{}, 1); err != nil {
		return err
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.monitors[r.Process()] = r.Owner()
	return nil
}

// Unmonitor implements units.Messenger.
func (c *Courier) Unmonitor(_ context.Context, r ao.Request) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if by, ok := c.monitors[r.Process()]; ok && by != r.Owner() {
		return ao.Refuse("monitor", ao.Untrusted, "%s did not ask for it", r.Owner())
	}
	delete(c.monitors, r.Process())
	return nil
}
