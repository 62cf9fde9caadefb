package unitstest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// Signer is an Ed25519 signer that is the same for the same seed.
func Signer(seed string) ans104.Signer {
	key := sha256.Sum256([]byte("unitstest/" + seed))
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(key[:]))
}

// Address is the address of a signer.
func Address(s ans104.Signer) string {
	a, err := ans104.Address(s.Type(), s.Owner())
	if err != nil {
		panic("unitstest: " + err.Error()) // our own keys have addresses
	}
	return a
}

// ID is an ID that names nothing, the same for the same seed.
func ID(seed string) ao.ID { return sha256.Sum256([]byte("unitstest/id/" + seed)) }

// Spawn is a process of a made-up module that the given address schedules. The same arguments make the same process.
func Spawn(t testing.TB, owner ans104.Signer, scheduler, name string, tags ...ao.Tag) ao.Message {
	t.Helper()
	m, err := ao.SignProcess(owner, ID("module"), scheduler, append(ao.Tags{{Name: "Name", Value: name}}, tags...), nil, nil)
	if err != nil {
		t.Fatalf("make process: %v", err)
	}
	return m
}

// Message is a user's message to a process. The same arguments make the same message.
func Message(t testing.TB, owner ans104.Signer, target ao.ID, data string, tags ...ao.Tag) ao.Message {
	t.Helper()
	m, err := ao.SignMessage(owner, target, tags, []byte(data), nil)
	if err != nil {
		t.Fatalf("make message: %v", err)
	}
	return m
}

// Pushed is a message out of the outbox of process from, as the given messenger pushes it.
func Pushed(t testing.TB, messenger ans104.Signer, from, target ao.ID, data string) ao.Message {
	t.Helper()
	d := ao.Draft{Target: target.String(), Data: []byte(data), Tags: ao.Tags{{Name: "Action", Value: "Test"}}}
	m, err := d.Sign(messenger, ao.Origin{Process: from, Module: ID("module").String(), PushedFor: ID("first").String()}, ao.ID{})
	if err != nil {
		t.Fatalf("make pushed message: %v", err)
	}
	return m
}

// The clock of chains: slot n has the timestamp ChainStart + n and the height ChainHeight + n/10, but for what Wait adds.
const (
	ChainStart  = 1_700_000_000_000
	ChainHeight = 1_300_000
)

// Chain is a log made by hand: valid entry by entry, and the same on every run. It is not for concurrent use.
type Chain struct {
	signer  ans104.Signer
	cursor  ao.Cursor
	entries []ao.Entry
	waited  int64 // ms
}

// NewChain starts a log with its process, signed by the scheduler whatever the process names.
func NewChain(t testing.TB, scheduler ans104.Signer, spawn ao.Message) *Chain {
	t.Helper()
	c := &Chain{signer: scheduler, cursor: ao.NewCursor(spawn.ID())}
	c.Add(t, spawn)
	return c
}

// Add gives m the next slot, without the fields that are to be excluded.
func (c *Chain) Add(t testing.TB, m ao.Message, exclude ...string) ao.Entry {
	t.Helper()
	e, err := c.add(m, exclude...)
	if err != nil {
		t.Fatalf("add to the chain: %v", err)
	}
	return e
}

func (c *Chain) add(m ao.Message, exclude ...string) (ao.Entry, error) {
	a, err := ao.SignAssignment(c.signer, ao.AssignmentFields{
		Process:     c.cursor.Process,
		Nonce:       c.cursor.Next,
		HashChain:   c.cursor.Link,
		BlockHeight: ChainHeight + uint64(c.cursor.Next)/10,
		Timestamp:   ChainStart + int64(c.cursor.Next) + c.waited,
		Message:     m.ID(),
		Exclude:     exclude,
	})
	if err != nil {
		return ao.Entry{}, err
	}
	e := ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}
	if err := c.cursor.Step(e); err != nil {
		return ao.Entry{}, err
	}
	c.entries = append(c.entries, e)
	return e, nil
}

// Wait has the slots to come be later by that.
func (c *Chain) Wait(d time.Duration) { c.waited += d.Milliseconds() }

// Process is the log's process.
func (c *Chain) Process() ao.ID { return c.cursor.Process }

// Entries are the log so far.
func (c *Chain) Entries() []ao.Entry { return slices.Clone(c.entries) }

// MakeChain is a log of n slots: a process and n−1 numbered messages to it, with scheduler and owner made from seed.
func MakeChain(t testing.TB, seed string, n int) *Chain {
	t.Helper()
	scheduler, owner := Signer(seed+"/scheduler"), Signer(seed+"/owner")
	c := NewChain(t, scheduler, Spawn(t, owner, Address(scheduler), seed))
	for i := 1; i < n; i++ {
		c.Add(t, Message(t, owner, c.Process(), "message", ao.Tag{Name: "Number", Value: ao.Slot(i).String()}))
	}
	return c
}

// MakeTicking is a log whose process ticks every second, and every other second as well: slot 1 comes 2.5 seconds after slot 0,
// slot 2 a moment later, slot 3 after two seconds more. It holds Ticks ticks.
func MakeTicking(t testing.TB, scheduler ans104.Signer, spawn ao.Message) *Chain {
	t.Helper()
	owner := Signer("ticking/owner")
	c := NewChain(t, scheduler, spawn)
	for i, wait := range []time.Duration{2500 * time.Millisecond, 0, 2 * time.Second} {
		c.Wait(wait)
		c.Add(t, Message(t, owner, c.Process(), "message", ao.Tag{Name: "Number", Value: ao.Slot(i + 1).String()}))
	}
	return c
}

// Ticks is how many ticks a log of MakeTicking holds: at the seconds 1, 2, 2, 3, 4, 4.
const Ticks = 6

// TickingTags are the tags by which its process ticks.
func TickingTags() []ao.Tag {
	return []ao.Tag{
		{Name: "Cron-Interval", Value: "2-seconds"},
		{Name: "Cron-Tag-Action", Value: "Other"},
		{Name: "Cron-Interval", Value: "1-second"},
		{Name: "Cron-Tag-Action", Value: "Tick"},
	}
}

// CheckLog fails the test unless the entries are a whole log of the process from slot 0 on, signed by that address.
func CheckLog(t testing.TB, process ao.ID, signer string, entries []ao.Entry) {
	t.Helper()
	c := ao.NewCursor(process)
	for i, e := range entries {
		if err := c.Step(e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if e.Proof != ao.ProofAssignment {
			t.Errorf("entry %d has the proof %q", i, e.Proof)
		}
		if signer != "" && e.Assignment.Owner() != signer {
			t.Errorf("entry %d was signed by %s, not by %s", i, e.Assignment.Owner(), signer)
		}
	}
}
