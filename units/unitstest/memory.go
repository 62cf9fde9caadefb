package unitstest

import (
	"context"
	"slices"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/units"
)

// Memory is a scheduler with its logs, in memory and with a clock of its own (see ChainStart): a stand-in wherever a
// test needs one of the doors and not the unit behind it. It meets both suites. Safe for concurrent use.
type Memory struct {
	signer  ans104.Signer
	address string

	lock   sync.Mutex
	logs   map[ao.ID]*memoryLog
	buried map[ao.ID]buried
	grown  chan struct{} // closed and renewed whenever a log grows
}

// buried is a transaction of Arweave and how many blocks confirm it.
type buried struct {
	tx    *l1.Tx
	depth uint64
}

type memoryLog struct {
	chain   *Chain
	process ao.Process
	slots   map[[32]byte]ao.Slot // by message, assignment and push digest
}

// NewMemory makes a scheduler without logs.
func NewMemory(signer ans104.Signer) *Memory {
	return &Memory{
		signer:  signer,
		address: Address(signer),
		logs:    make(map[ao.ID]*memoryLog),
		buried:  make(map[ao.ID]buried),
		grown:   make(chan struct{}),
	}
}

// Address is the scheduler's address.
func (s *Memory) Address() string { return s.address }

// Load puts a whole chain in the place of a process's log, whoever signed it.
func (s *Memory) Load(c *Chain) {
	p, err := c.entries[0].Message.Process()
	if err != nil {
		panic("unitstest: a chain begins with its process: " + err.Error())
	}
	l := &memoryLog{chain: &Chain{signer: c.signer, cursor: c.cursor, entries: c.Entries()}, process: p, slots: map[[32]byte]ao.Slot{}}
	for _, e := range c.entries {
		l.index(e)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.logs[c.Process()] = l
	s.wake()
}

// Bury lets a transaction of Arweave be assigned as one that so many blocks confirm.
func (s *Memory) Bury(tx *l1.Tx, depth uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.buried[tx.ID] = buried{tx, depth}
}

// index remembers where an entry is found.
func (l *memoryLog) index(e ao.Entry) {
	slot := e.Assignment.Nonce()
	l.slots[e.Message.ID()], l.slots[e.Assignment.ID()] = slot, slot
	if d, ok := l.digest(e.Message); ok {
		l.slots[d] = slot
	}
}

func (l *memoryLog) digest(m ao.Message) (digest [32]byte, ok bool) {
	if !m.HasCopies() || m.ID() == l.process.ID() {
		return digest, false
	}
	return ao.PushDigest(m, l.process.Trusts(m.Owner())), true
}

// wake needs the lock.
func (s *Memory) wake() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// Schedule implements units.Scheduler.
func (s *Memory) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	return s.schedule(ctx, process, m, nil)
}

// Assign implements units.Scheduler for messages that are handed to it or in one of its logs, and for what was buried.
func (s *Memory) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	const hop = "schedule"
	if err := how.Check(); err != nil {
		return ao.Assignment{}, ao.Refuse(hop, ao.BadTags, "%v", err)
	}
	if _, err := s.Next(ctx, process); err != nil {
		return ao.Assignment{}, ao.Refuse(hop, ao.UnknownProcess, "no log of %s here", process)
	}
	if slot, err := s.Find(ctx, process, message); err == nil {
		es, _, err := s.at(process, slot)
		return es[0].Assignment, err
	}
	var m ao.Message
	var err error
	if how.BaseLayer {
		m, err = s.transaction(process, message)
	} else {
		m, err = s.item(ctx, message)
	}
	if err != nil {
		return ao.Assignment{}, err
	}
	if len(how.Exclude) > 0 && m.IsFor(process) {
		return ao.Assignment{}, ao.Refuse(hop, ao.BadTags, "nothing is excluded at home")
	}
	return s.schedule(ctx, process, m, how.Exclude)
}

// item is the one of that ID that was handed along or is in any log.
func (s *Memory) item(ctx context.Context, id ao.ID) (ao.Message, error) {
	if m, ok := units.HandedMessage(ctx, id); ok {
		return m, nil
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, l := range s.logs {
		if slot, ok := l.slots[id]; ok {
			if m := l.chain.entries[slot].Message; m.ID() == id && !m.IsTransaction() {
				return m, nil
			}
		}
	}
	return ao.Message{}, ao.Refuse("schedule", ao.UnknownMessage, "%s", id)
}

// transaction is one that is buried deep enough for the process.
func (s *Memory) transaction(process, id ao.ID) (ao.Message, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	b, ok := s.buried[id]
	switch {
	case !ok:
		return ao.Message{}, ao.Refuse("schedule", ao.UnknownMessage, "%s", id)
	case b.depth < s.logs[process].process.SettlementDepth():
		return ao.Message{}, ao.Refuse("schedule", ao.Unconfirmed, "%s is confirmed by %d blocks", id, b.depth)
	}
	return ao.NewTransaction(b.tx)
}

func (s *Memory) schedule(ctx context.Context, process ao.ID, m ao.Message, exclude []string) (ao.Assignment, error) {
	const hop = "schedule"
	if ctx.Err() != nil {
		return ao.Assignment{}, ao.Refuse(hop, ao.Deadline, "the caller went away")
	}
	if m.IsZero() {
		return ao.Assignment{}, ao.Refuse(hop, ao.Malformed, "there is no message")
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	l := s.logs[process]
	if l == nil {
		p, err := m.Process()
		if err != nil || m.ID() != process {
			return ao.Assignment{}, ao.Refuse(hop, ao.UnknownProcess, "no log of %s here", process)
		}
		if p.Scheduler() != s.address {
			return ao.Assignment{}, ao.Refuse(hop, ao.WrongScheduler, "%s names %.64s", process, p.Scheduler())
		}
		l = &memoryLog{
			chain:   &Chain{signer: s.signer, cursor: ao.NewCursor(process)},
			process: p,
			slots:   make(map[[32]byte]ao.Slot),
		}
	}
	if slot, ok := l.slots[m.ID()]; ok {
		return l.chain.entries[slot].Assignment, nil
	}
	if d, ok := l.digest(m); ok {
		if slot, ok := l.slots[d]; ok {
			return l.chain.entries[slot].Assignment, nil
		}
	}
	e, err := l.chain.add(m, exclude...)
	if err != nil {
		return ao.Assignment{}, ao.Refuse(hop, ao.Internal, "%v", err)
	}
	l.index(e)
	s.logs[process] = l
	s.wake()
	return e.Assignment, nil
}

// at is the entries of a log from slot from on, and what is closed when there may be more.
func (s *Memory) at(process ao.ID, from ao.Slot) ([]ao.Entry, <-chan struct{}, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	l := s.logs[process]
	if l == nil {
		return nil, nil, ao.Refuse("log", ao.UnknownProcess, "no log of %s here", process)
	}
	from = min(from, ao.Slot(len(l.chain.entries)))
	return slices.Clone(l.chain.entries[from:]), s.grown, nil
}

// Next implements units.Log.
func (s *Memory) Next(_ context.Context, process ao.ID) (ao.Slot, error) {
	entries, _, err := s.at(process, 0)
	return ao.Slot(len(entries)), err
}

// Range implements units.Log.
func (s *Memory) Range(_ context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	entries, _, err := s.at(process, from)
	return entries[:min(len(entries), max(limit, 1))], err
}

// Find implements units.Log.
func (s *Memory) Find(_ context.Context, process, message ao.ID) (ao.Slot, error) {
	entries, _, err := s.at(process, 0)
	if err != nil {
		return 0, err
	}
	for i, e := range entries {
		if e.Message.ID() == message || e.Assignment.ID() == message {
			return ao.Slot(i), nil
		}
	}
	return 0, ao.Refuse("log", ao.UnknownMessage, "%s is not in the log of %s", message, process)
}

// Follow implements units.Log.
func (s *Memory) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for {
		entries, grown, err := s.at(process, from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := visit(e); err != nil {
				return err
			}
			from++
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
