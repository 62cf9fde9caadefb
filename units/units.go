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
// Refusals: unknown-process, wrong-scheduler, busy, deadline, store, archive-unavailable while no block height is known, and
// those of a malformed message.
type Scheduler interface {
	Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error)
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
}

// Messenger pushes (§3.5, §5.5). Push queues the message durably, has it scheduled and returns the assignment; then it
// goes on, in the background and across restarts, until nothing is left to push. Past the deadline of ctx it refuses
// with queued, which means accepted: the message is safe and the push goes on. Pushing a message again is harmless.
//
// Refusals: queued, busy, store, those of a malformed message and the scheduler's.
type Messenger interface {
	Push(ctx context.Context, m ao.Message) (ao.Assignment, error)
	// Hops calls visit for every hop of the push that began with message, those past and those to come, until the
	// push is done, ctx ends or visit fails.
	Hops(ctx context.Context, message ao.ID, visit func(Hop) error) error
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

// Hop is one step of a push as the messenger saw it.
type Hop struct {
	Word    string        `json:"hop"`            // push, schedule, compute, done or drop
	Peer    string        `json:"peer"`           // peer ID of the unit that did it
	Process ao.ID         `json:"process"`        // whose log
	Message ao.ID         `json:"message"`        // which message
	Parent  string        `json:"parent"`         // the message whose result it came from, "" for the first
	Slot    ao.Slot       `json:"slot"`           // once scheduled
	Digest  string        `json:"digest"`         // of the result, once computed
	Outbox  int           `json:"outbox"`         // elements to push from that result
	Took    time.Duration `json:"took"`           // nanoseconds
	Note    string        `json:"note,omitempty"` // why it was dropped, or what it became
}

// PeerOf is the peer ID of the unit behind a door, "" if the door does not say. Clients of remote units do.
func PeerOf(door any) string {
	if d, ok := door.(interface{ Peer() string }); ok {
		return d.Peer()
	}
	return ""
}
