// Package units is the three verbs of the AO computer and the doors they stand behind (§3.3-§3.5): a Messenger pushes,
// a Scheduler gives slots, a Computer evaluates; a Log is read, and a Directory says who does what for whom.
//
// In come ids, messages and slots; out go assignments, entries and answers that carry the unit's signature. Each door
// is met by the unit itself (units/su, units/cu, units/mu) and by a client of it across the mesh (units/remote), and
// units/unitstest holds both to the same contract.
//
// It never does any of the work: it is interfaces and the nouns that only they need.
//
// Start here, top to bottom; then units/mu/push.go, which is the whole loop.
package units

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
)

// Scheduler gives messages their slots (§3.3, §5.3). Schedule puts m into the log of process, which is m.Target()
// unless the message is assigned to a further process; a spawn starts the log.
//
// The assignment is durable before it is returned. It is safe to repeat: a message that holds a slot already, or is a
// copy of a pushed one that does (ao.PushDigest), gets the first assignment back. Safe for concurrent use.
//
// Assign does the same for a message that exists already, named by its ID: the scheduler takes the one that was handed to
// it (HandMessage), or fetches it. With BaseLayer it is a transaction of Arweave, which is unconfirmed until it is as deep in
// the chain as the process asks (ao.Process.SettlementDepth). Parts of a message are excluded only where it is not at home, and
// only by whoever assigns it first: a message that holds a slot already gets the first assignment back, whatever that one
// excludes.
//
// Refusals: unknown-process, wrong-scheduler, busy, deadline, store, archive-unavailable while no block height is known, and
// those of a malformed message; Assign's also unknown-message, unconfirmed, too-large, corrupt, bad-tags and unsupported.
type Scheduler interface {
	Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error)
	Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error)
}

// Log is the reading side of a scheduler, or of Arweave: the entries of processes, in order. What it returns is
// parsed and its items are verified each by itself; whether they make a log, and whether the right key signed, is for
// the reader to check (ao.Cursor, SignaturePolicy). Safe for concurrent use.
//
// Refusals: unknown-process, unknown-message, not-yet, busy, deadline, store.
type Log interface {
	// Next is the first slot that is not taken.
	Next(ctx context.Context, process ao.ID) (ao.Slot, error)
	// Range is the entries from slot from on, at least one and at most limit; a full page is no sign of more.
	// Past the end it is empty.
	Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error)
	// Find is the slot of a message, named by its own ID or by its assignment's.
	Find(ctx context.Context, process, message ao.ID) (ao.Slot, error)
	// Follow calls visit for every entry from slot from on, in order, and waits for more until ctx ends or visit
	// fails; it returns that error.
	Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error
}

// Computer evaluates logs (§3.4, §5.4). Compute waits for the evaluation, not for the slot: a slot that is not in the
// log yet is refused as not-yet. Every answer carries a claim that was journaled before it was signed; asking again
// gives the same claim. Safe for concurrent use.
//
// Refusals: unknown-process, unknown-module, unsupported-format, bad-module, bad-tags, too-large, bad-log, not-yet,
// contradiction, busy, deadline, store, and the log's and the directory's.
type Computer interface {
	Compute(ctx context.Context, process ao.ID, slot ao.Slot) (Answer, error)
	// State is the root of the state after the last evaluated slot.
	State(ctx context.Context, process ao.ID) (StateInfo, error)
	// DryRun evaluates a message on a copy of the state and leaves no trace; nothing is signed for it.
	DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error)
	// Cron is results of the process's ticks (ao.Cron) after a place, ascending: at least one if there is any, and at most
	// limit; a short page is no sign of the end. Ticks before the log's head are part of the state; those after it are
	// evaluated on a copy once they are CronMargin old, those that stand for blocks not at all. What was answered is kept, and
	// nothing is signed for it.
	Cron(ctx context.Context, process ao.ID, from CronCursor, limit int) ([]CronResult, error)
}

// Messenger pushes (§3.5, §5.5). Push queues the message durably, has it scheduled and returns the assignment; then it
// goes on, in the background and across restarts, until nothing is left to push. Past the deadline of ctx it refuses
// with queued, which means accepted: the message is safe and the push goes on. Pushing a message again is harmless.
// Assign is Push for a message that exists already and is to hold a slot of process, whose result is then pushed; its hops
// are among those of the message.
//
// Refusals: queued, busy, store, those of a malformed message and the scheduler's.
type Messenger interface {
	Push(ctx context.Context, m ao.Message) (ao.Assignment, error)
	Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error)
	// Hops calls visit for every hop of the push that began with message, those past and those to come, until the
	// push is done, ctx ends or visit fails.
	Hops(ctx context.Context, message ao.ID, visit func(Hop) error) error
	// Monitor has the outboxes of a process's ticks pushed from now on, across restarts, whoever asks; it is durable before
	// it returns, and repeating it is harmless. Refusals besides: bad-tags of a process that never ticks, unknown-process.
	Monitor(ctx context.Context, r ao.Request) error
	// Unmonitor ends that, durably, if nobody else asked for it or the process's owner says so; where nothing is
	// monitored it does nothing. Others are refused as untrusted.
	Unmonitor(ctx context.Context, r ao.Request) error
}

// Directory knows who does what for whom. Answers may be remembered for a while, except HostAt. Safe for concurrent
// use. Refusals: unknown-process, unknown-module, unknown-unit, archive-unavailable.
type Directory interface {
	// Process is the initial item of a log, verified.
	Process(ctx context.Context, id ao.ID) (ao.Process, error)
	// Module is a published module, verified.
	Module(ctx context.Context, id ao.ID) (ao.Module, error)
	// HostAt is the one place that says who may sign a slot of a process.
	HostAt(ctx context.Context, process ao.ID, nonce ao.Slot) (SignaturePolicy, error)
	// Scheduler is the unit of that address.
	Scheduler(ctx context.Context, address string) (Scheduler, error)
	// Log is where a process's log can be read now.
	Log(ctx context.Context, process ao.ID) (Log, error)
	// Computer is a unit that evaluates the process.
	Computer(ctx context.Context, process ao.ID) (Computer, error)
}

// SignaturePolicy is who may sign a slot: at least Threshold of the addresses in Keys.
type SignaturePolicy struct {
	Keys      []string
	Threshold int
}

// Allows says whether the signers, each counted once, satisfy the policy.
func (p SignaturePolicy) Allows(signers ...string) bool {
	n := 0
	for _, k := range p.Keys {
		if slices.Contains(signers, k) {
			n++
		}
	}
	return p.Threshold > 0 && n >= p.Threshold
}

// Answer is a result with the claim of the unit that computed it.
type Answer struct {
	Slot   ao.Slot
	Result ao.Result
	Claim  attest.SignedClaim
}

// Check holds an answer against the question: the claim must be about that slot of that process on that network and
// name this result's digest. Errors: a refusal bad-result.
func (a Answer) Check(network string, process ao.ID, slot ao.Slot) error {
	c := a.Claim.Claim()
	switch {
	case a.Claim.IsZero():
		return ao.Refuse("compute", ao.BadResult, "the answer carries no claim")
	case c.Network != network || c.Process != process || c.Nonce != slot || a.Slot != slot:
		return ao.Refuse("compute", ao.BadResult, "the claim is about another slot")
	case c.Result != attest.ResultDigest(a.Result):
		return ao.Refuse("compute", ao.BadResult, "the claim names another result")
	}
	return nil
}

// StateInfo is what a computer says of a process's state; it is not signed.
type StateInfo struct {
	Slot   ao.Slot     // the last evaluated one
	Root   attest.Hash // after it
	Memory uint64      // bytes of linear memory
}

// States is a computer that gives states as a whole, beside its answers, and looks back at earlier ones. Memory evaluates to
// the log's head first. The state after an earlier slot is made again from what is kept before it; that goes on when ctx ends
// and somebody asks again. Refusals: those of Computer.State; not-yet of a slot that is not in the log.
type States interface {
	Memory(ctx context.Context, process ao.ID) (Dump, error)
	// MemoryAt is the state after that slot.
	MemoryAt(ctx context.Context, process ao.ID, slot ao.Slot) (Dump, error)
	// DryRunAt is Computer.DryRun on the state after that slot.
	DryRunAt(ctx context.Context, process ao.ID, slot ao.Slot, q ao.Query) (ao.Result, error)
}

// Dump is a copy of a process's linear memory; it is not signed. Whoever got it must close Bytes.
type Dump struct {
	Last  ao.AssignmentFields // of the slot after which it is
	Size  uint64
	Bytes io.ReadCloser
}

// Hop is one step of a push as the messenger saw it.
type Hop struct {
	Word    string        `json:"hop"`             // push, schedule, compute, done or drop
	Peer    string        `json:"peer"`            // peer ID of the unit that did it
	Process ao.ID         `json:"process"`         // whose log
	Message ao.ID         `json:"message"`         // which message
	Parent  string        `json:"parent"`          // the message whose result it came from, "" for the first
	Slot    ao.Slot       `json:"slot"`            // once scheduled
	Digest  string        `json:"digest"`          // of the result, once computed
	Outbox  int           `json:"outbox"`          // elements to push from that result
	Took    time.Duration `json:"took"`            // nanoseconds
	Price   string        `json:"price,omitempty"` // what was agreed to be paid for it
	Why     string        `json:"why,omitempty"`   // why that unit
	Note    string        `json:"note,omitempty"`  // why it was dropped, or what it became
}

// handed is the key of an entry in a context.
type handed struct{}

// Hand gives a question to a Computer the entry of the slot that it is about, so that the computer need not fetch it. It
// is no more than a help: the entry is checked as one of the log is, and a computer may fetch it all the same.
func Hand(ctx context.Context, e ao.Entry) context.Context {
	return context.WithValue(ctx, handed{}, e)
}

// Handed is the entry that was given along with a question about a slot, if it is the one of that slot by its own word.
func Handed(ctx context.Context, process ao.ID, slot ao.Slot) (ao.Entry, bool) {
	e, ok := ctx.Value(handed{}).(ao.Entry)
	return e, ok && e.Assignment.Process() == process && e.Assignment.Nonce() == slot
}

// handedMessage is the key of a message in a context.
type handedMessage struct{}

// HandMessage gives a scheduler the message that it is asked to assign, so that it need not fetch it. It is no more than a
// help, as Hand is.
func HandMessage(ctx context.Context, m ao.Message) context.Context {
	return context.WithValue(ctx, handedMessage{}, m)
}

// HandedMessage is the message of that ID, if it was given along.
func HandedMessage(ctx context.Context, id ao.ID) (ao.Message, bool) {
	m, ok := ctx.Value(handedMessage{}).(ao.Message)
	return m, ok && !m.IsZero() && m.ID() == id
}

// PeerOf is the peer ID of the unit behind a door, "" if the door does not say. Clients of remote units do.
func PeerOf(door any) string {
	if d, ok := door.(interface{ Peer() string }); ok {
		return d.Peer()
	}
	return ""
}

// IsElsewhere says whether the unit behind a door is one of today's network, which knows no origin tags and takes no
// signatures of unit keys.
func IsElsewhere(door any) bool {
	d, ok := door.(interface{ IsElsewhere() bool })
	return ok && d.IsElsewhere()
}

// Bought is what was agreed to be paid behind a door, and why there.
type Bought struct {
	Price string // an amount; "" if the door does not buy
	Why   string
}

// BoughtOf is what the last answer from behind a door cost. Doors of the market say so.
func BoughtOf(door any) Bought {
	if d, ok := door.(interface{ Bought() Bought }); ok {
		return d.Bought()
	}
	return Bought{}
}
