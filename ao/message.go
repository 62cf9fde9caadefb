package ao

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// What a parser of this package can find wrong with an item whose bytes and signature are sound.
var (
	ErrNotAO    = errors.New("not an item of the ao data protocol")
	ErrType     = errors.New("the item's Type is not one that fits here")
	ErrTags     = errors.New("a tag is missing or malformed")
	ErrTarget   = errors.New("the item names no process as its target")
	ErrTooLarge = errors.New("the item is larger than allowed")
)

// Message is what a process's log can hold: a signed item, which is a message to it or the process itself (§3.1), or a
// transaction of Arweave that is assigned to it (NewTransaction). It exists only parsed and verified, or just signed, or told
// (ParseTold); the zero value is no message.
type Message struct {
	is      body
	spawn   bool
	process ID
}

// body is what a message or an assignment says: an item, a transaction, or what a node tells of one.
type body interface {
	ID() ID
	OwnerAddress() string
	Target() []byte
	Anchor() []byte
	Tags() []Tag
	Tag(name string) (value string, ok bool)
	Data() []byte
	Signature() []byte
	Raw() []byte
}

// itemOf is the signed item, nil of what is none.
func itemOf(b body) *ans104.Item {
	it, _ := b.(*ans104.Item)
	return it
}

// ParseMessage parses and verifies an item. Errors: those of ans104, ErrNotAO, ErrType, ErrTags, ErrTarget, ErrTooLarge.
func ParseMessage(raw []byte) (Message, error) {
	if len(raw) > MaxItem {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxItem)
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Message{}, err
	}
	return NewMessage(it)
}

// ParseMessageBy is ParseMessage for one of many goroutines: v takes their signatures together.
func ParseMessageBy(v *ans104.Verifier, raw []byte) (Message, error) {
	if len(raw) > MaxItem {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxItem)
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Message{}, err
	}
	return newMessage(it, v.Verify)
}

// NewMessage verifies a parsed item and takes it as a message.
func NewMessage(it *ans104.Item) (Message, error) { return newMessage(it, (*ans104.Item).Verify) }

func newMessage(it *ans104.Item, verify func(*ans104.Item) error) (Message, error) {
	m, err := shapeMessage(it)
	if err != nil {
		return Message{}, err
	}
	if err := verify(it); err != nil {
		return Message{}, err
	}
	return m, nil
}

// shapeMessage checks all but the signature.
func shapeMessage(it *ans104.Item) (Message, error) {
	if len(it.Raw()) > MaxItem {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(it.Raw()), MaxItem)
	}
	if !it.HasTag("Data-Protocol", DataProtocol) {
		return Message{}, ErrNotAO
	}
	m := Message{is: it}
	switch kind, _ := it.Tag("Type"); kind {
	case TypeProcess:
		m.spawn, m.process = true, it.ID()
		module, _ := it.Tag("Module")
		if _, err := ParseID(module); err != nil {
			return Message{}, fmt.Errorf("%w: Module: %w", ErrTags, err)
		}
		if scheduler, _ := it.Tag("Scheduler"); scheduler == "" {
			return Message{}, fmt.Errorf("%w: a process needs a Scheduler", ErrTags)
		}
	case TypeMessage:
		if len(it.Target()) != len(m.process) {
			return Message{}, ErrTarget
		}
		copy(m.process[:], it.Target())
	default:
		return Message{}, fmt.Errorf("%w: %.32q, want %s or %s", ErrType, kind, TypeMessage, TypeProcess)
	}
	return m, nil
}

// IsZero says whether this is the zero value, which is no message.
func (m Message) IsZero() bool { return m.is == nil }

// IsTransaction says whether the message is a transaction of Arweave and no item.
func (m Message) IsTransaction() bool {
	_, is := m.is.(*transaction)
	return is
}

// ID is the ID of the item, or the transaction.
func (m Message) ID() ID { return m.is.ID() }

// IsSpawn says whether the message is a process: the initial item of a log (§3.1).
func (m Message) IsSpawn() bool { return m.spawn }

// Target is the process whose log the message asks to join: itself, if it is a process; of a transaction, whom it pays, or
// zero.
func (m Message) Target() ID { return m.process }

// Addressee is the process that a process tells of itself, the target of its item; zero for none, and for messages.
func (m Message) Addressee() (process ID) {
	if m.spawn {
		copy(process[:], m.is.Target())
	}
	return process
}

// IsFor says whether the signer addressed the message to that process.
func (m Message) IsFor(process ID) bool {
	return m.process == process || !process.IsZero() && m.Addressee() == process
}

// Tags is the message's ordered tags.
func (m Message) Tags() Tags { return Tags(m.is.Tags()) }

// Tag is the value of the first tag of that name; case counts.
func (m Message) Tag(name string) (value string, ok bool) { return m.is.Tag(name) }

// Data is the message's payload; it must not be changed.
func (m Message) Data() []byte { return m.is.Data() }

// LacksData says that the message is told, and its data, which are no text, are not.
func (m Message) LacksData() bool {
	t, ok := m.is.(*told)
	return ok && t.data == nil
}

// Anchor is the message's anchor: 32 bytes or none, of a transaction also 48, or what is told of it.
func (m Message) Anchor() []byte { return m.is.Anchor() }

// Signature is the signature, whose digest is the ID; nil of a message that is told with something else in its place.
func (m Message) Signature() []byte { return m.is.Signature() }

// SignatureText is the signature in base64url or, of a message that is told, as it is told.
func (m Message) SignatureText() string {
	if t, ok := m.is.(*told); ok {
		return t.signature
	}
	return base64.RawURLEncoding.EncodeToString(m.Signature())
}

// Owner is the address of the signer.
func (m Message) Owner() string { return m.is.OwnerAddress() }

// From is who the message speaks for: the process named by From-Process if it was pushed, else the signer. It is a
// statement of the signer's, believed only as far as the target trusts the signer.
func (m Message) From() string {
	if p, ok := m.Pushed(); ok {
		return p
	}
	return m.Owner()
}

// Pushed is the From-Process tag, which only messages pushed out of an outbox carry.
func (m Message) Pushed() (process string, ok bool) { return m.Tag("From-Process") }

// HasCopies says whether any number of messengers may bring the message, each an item of its own (PushDigest): it was pushed.
// A transaction is one of its kind, whatever its tags say.
func (m Message) HasCopies() bool {
	_, pushed := m.Pushed()
	return pushed && !m.IsTransaction()
}

// IsCast says whether the signer wants the message scheduled and its result left alone (§3.5).
func (m Message) IsCast() bool {
	mode, _ := m.Tag("Push-Mode")
	return mode == "cast"
}

// Item is the signed item itself; nil for a transaction, and for what is told.
func (m Message) Item() *ans104.Item { return itemOf(m.is) }

// Raw is the bytes of the item, or the raw form of the transaction, and nil of what is told; they must not be changed.
func (m Message) Raw() []byte { return m.is.Raw() }
