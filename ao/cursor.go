package ao

import (
	"errors"
	"fmt"
)

// What can be wrong with a log (§5.3): each names the first bad slot.
var (
	ErrGap      = errors.New("the log has a gap")
	ErrLink     = errors.New("the hash chain is broken")
	ErrOrder    = errors.New("timestamp or block height runs backwards")
	ErrOtherLog = errors.New("the entry belongs to another log")
	ErrMismatch = errors.New("the assignment names another message than the one beside it")
)

// What is borne of schedulers of today's network.
const (
	// ChainedSince is the block height from which on logs are held together by their hash chain there. In older ones it is
	// broken.
	ChainedSince = 1_440_000
	// MaxSkip is the most slots that such a log may leave out in one place.
	MaxSkip = 1000
)

// Cursor walks a log and checks each entry against all before it. NewCursor stands before slot 0; one that was stored
// goes on where it stood. It does not judge who signed: see units.SignaturePolicy.
//
// Where the assignments are signed elsewhere (Assignment.IsElsewhere), which is so for all of a log or for none, it bears
// what schedulers there have done: a log that begins with a message instead of the process, slots that are left out, time
// that runs backwards, and broken links if the log began before ChainedSince. Where they are told (Assignment.IsTold) it
// bears the same, but no slot may be left out.
type Cursor struct {
	Process   ID
	Next      Slot     // the slot expected now
	Link      [32]byte // the Hash-Chain expected now; for slot 0 FirstLink
	Timestamp int64    // of the last entry
	Height    uint64   // of the last entry
	Begun     uint64   // the height of the first entry
}

// NewCursor stands before slot 0.
func NewCursor(process ID) Cursor {
	return Cursor{Process: process, Link: FirstLink(process), Timestamp: -1}
}

// Step checks the next entry and moves past it; after an error the cursor has not moved.
// Errors: ErrOtherLog, ErrGap, ErrLink, ErrOrder, ErrMismatch.
func (c *Cursor) Step(e Entry) error {
	f, elsewhere := e.Assignment.fields, e.Assignment.IsElsewhere() || e.Assignment.IsTold()
	switch {
	case f.Process != c.Process:
		return fmt.Errorf("slot %d: %w", c.Next, ErrOtherLog)
	case f.Nonce != c.Next:
		return fmt.Errorf("slot %d: %w: slot %d follows", c.Next, ErrGap, f.Nonce)
	case f.HashChain != c.Link && !(elsewhere && (c.Next == 0 || c.Begun < ChainedSince)):
		return fmt.Errorf("slot %d: %w", c.Next, ErrLink)
	case (f.Timestamp <= c.Timestamp || f.BlockHeight < c.Height) && !elsewhere:
		return fmt.Errorf("slot %d: %w", c.Next, ErrOrder)
	case e.Message.IsZero() || e.Message.ID() != f.Message:
		return fmt.Errorf("slot %d: %w", c.Next, ErrMismatch)
	case c.Next == 0 && !e.Message.IsSpawn() && !elsewhere:
		return fmt.Errorf("slot 0: %w: it is no process", ErrMismatch)
	}
	if c.Next == 0 {
		c.Begun = f.BlockHeight
	}
	c.Next, c.Link, c.Timestamp, c.Height = f.Nonce+1, e.Assignment.Link(), f.Timestamp, f.BlockHeight
	return nil
}

// Skips says whether the log has left out the slot that the cursor stands before, because e, which is to follow, has a
// later one. Skip then moves past that slot; what comes after it is linked to what came before.
func (c *Cursor) Skips(e Entry) bool {
	f := e.Assignment.fields
	return e.Assignment.IsElsewhere() && f.Process == c.Process && c.Next > 0 && f.Nonce > c.Next && f.Nonce-c.Next <= MaxSkip
}

// Skip moves past a slot that the log has left out.
func (c *Cursor) Skip() { c.Next++ }
