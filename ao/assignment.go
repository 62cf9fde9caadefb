package ao

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// Assignment is a scheduler's signed promise that a message holds a slot of a process's log (§5.3). It exists only
// parsed and verified, or just signed, or told (ParseTold).
type Assignment struct {
	is     body
	fields AssignmentFields
}

// AssignmentFields is what an assignment says.
type AssignmentFields struct {
	Process     ID
	Nonce       Slot
	HashChain   [32]byte // the link to all that came before: see FirstLink and Assignment.Link
	BlockHeight uint64   // Arweave height that the scheduler saw
	Timestamp   int64    // milliseconds since 1970, strictly increasing along a log
	Message     ID       // the process itself in slot 0
	Exclude     []string // fields of the message that the process does not see: see Excludes
}

// SignAssignment signs the slot, tags in the reference scheduler's order. The anchor, random there, is the digest of
// process, nonce, link and message here, so that signing the same slot again after a crash makes the same item.
func SignAssignment(s ans104.Signer, f AssignmentFields) (Assignment, error) {
	if (f.Nonce == 0) != (f.Message == f.Process) {
		return Assignment{}, fmt.Errorf("%w: slot 0 and only slot 0 holds the process", ErrTags)
	}
	if f.Timestamp < 0 || f.BlockHeight > math.MaxInt64 {
		return Assignment{}, fmt.Errorf("%w: timestamp %d, block height %d", ErrTags, f.Timestamp, f.BlockHeight)
	}
	if err := (AssignOptions{Exclude: f.Exclude}).Check(); err != nil {
		return Assignment{}, err
	}
	tags := append(make(Tags, 0, 10+len(f.Exclude)), Tags{
		{Name: "Process", Value: f.Process.String()},
		{Name: "Epoch", Value: "0"},
		{Name: "Nonce", Value: f.Nonce.String()},
		{Name: "Hash-Chain", Value: base64.RawURLEncoding.EncodeToString(f.HashChain[:])},
		{Name: "Block-Height", Value: twelveDigits(f.BlockHeight)},
		{Name: "Timestamp", Value: strconv.FormatInt(f.Timestamp, 10)},
		{Name: "Data-Protocol", Value: DataProtocol},
		{Name: "Type", Value: TypeAssignment},
		{Name: "Variant", Value: Variant},
	}...)
	if f.Nonce != 0 {
		tags = append(tags, Tag{Name: "Message", Value: f.Message.String()})
	}
	for _, field := range f.Exclude {
		tags = append(tags, Tag{Name: "Exclude", Value: field})
	}
	named := make([]byte, 0, 3*32+20)
	named = append(append(append(append(named, f.Process[:]...), f.Nonce.String()...), f.HashChain[:]...), f.Message[:]...)
	anchor := sha256.Sum256(named)
	it, err := ans104.Sign(s, ans104.Fields{Anchor: anchor[:], Tags: tags})
	if err != nil {
		return Assignment{}, fmt.Errorf("sign assignment: %w", err)
	}
	return Assignment{is: it, fields: f}, nil
}

// twelveDigits is a height as the reference scheduler writes it: with zeros in front up to twelve digits.
func twelveDigits(height uint64) string {
	s := strconv.FormatUint(height, 10)
	return "000000000000"[min(len(s), 12):] + s
}

// ParseAssignment parses and verifies raw. Errors: those of ans104, ErrNotAO, ErrType, ErrTags.
func ParseAssignment(raw []byte) (Assignment, error) {
	it, err := ans104.Parse(raw)
	if err != nil {
		return Assignment{}, err
	}
	return NewAssignment(it)
}

// ParseAssignmentBy is ParseAssignment for one of many goroutines: v takes their signatures together and remembers keys.
func ParseAssignmentBy(v *ans104.Verifier, raw []byte) (Assignment, error) {
	it, err := ans104.Parse(raw)
	if err != nil {
		return Assignment{}, err
	}
	return newAssignment(it, v.Verify)
}

// NewAssignment verifies a parsed item and takes it as an assignment.
func NewAssignment(it *ans104.Item) (Assignment, error) {
	return newAssignment(it, (*ans104.Item).Verify)
}

func newAssignment(it *ans104.Item, verify func(*ans104.Item) error) (Assignment, error) {
	tags := Tags(it.Tags())
	if tags.Get("Data-Protocol") != DataProtocol {
		return Assignment{}, ErrNotAO
	}
	if tags.Get("Type") != TypeAssignment {
		return Assignment{}, fmt.Errorf("%w: %.32q, want %s", ErrType, tags.Get("Type"), TypeAssignment)
	}
	a := Assignment{is: it}
	if err := a.fields.read(tags, a.IsElsewhere()); err != nil {
		return Assignment{}, err
	}
	if err := verify(it); err != nil {
		return Assignment{}, err
	}
	return a, nil
}

func (f *AssignmentFields) read(tags Tags, elsewhere bool) (err error) {
	// Of two Nonces one reader would take the first and another the last.
	for i, t := range tags {
		if t.Name != "Exclude" && slices.ContainsFunc(tags[:i], func(before Tag) bool { return before.Name == t.Name }) {
			return fmt.Errorf("%w: %.32q stands twice", ErrTags, t.Name)
		}
	}
	if f.Process, err = ParseID(tags.Get("Process")); err != nil {
		return fmt.Errorf("%w: Process: %w", ErrTags, err)
	}
	if f.Nonce, err = ParseSlot(tags.Get("Nonce")); err != nil {
		return err
	}
	link, err := ParseID(tags.Get("Hash-Chain"))
	if err != nil {
		return fmt.Errorf("%w: Hash-Chain: %w", ErrTags, err)
	}
	f.HashChain = link
	if f.BlockHeight, err = strconv.ParseUint(tags.Get("Block-Height"), 10, 63); err != nil {
		return fmt.Errorf("%w: Block-Height", ErrTags)
	}
	timestamp, err := strconv.ParseUint(tags.Get("Timestamp"), 10, 63)
	if err != nil {
		return fmt.Errorf("%w: Timestamp", ErrTags)
	}
	f.Timestamp = int64(timestamp)
	switch v, ok := tags.Lookup("Message"); {
	case !ok && f.Nonce == 0:
		f.Message = f.Process
	case ok && (f.Nonce != 0 || elsewhere): // old logs there begin with the first message
		if f.Message, err = ParseID(v); err != nil {
			return fmt.Errorf("%w: Message: %w", ErrTags, err)
		}
	default:
		return fmt.Errorf("%w: slot 0 and only slot 0 has no Message", ErrTags)
	}
	f.Exclude = tags.All("Exclude")
	return nil
}

// IsZero says whether this is the zero value, which is no assignment.
func (a Assignment) IsZero() bool { return a.is == nil }

// ID is the assignment item's ID. Of a void assignment that is told it is the ID of the one in whose place it stands.
func (a Assignment) ID() ID { return a.is.ID() }

// Fields is what the assignment says.
func (a Assignment) Fields() AssignmentFields { return a.fields }

// Process is the log that the slot belongs to.
func (a Assignment) Process() ID { return a.fields.Process }

// Nonce is the slot.
func (a Assignment) Nonce() Slot { return a.fields.Nonce }

// Message is the ID of the item that holds the slot.
func (a Assignment) Message() ID { return a.fields.Message }

// Owner is the address of the scheduler that signed.
func (a Assignment) Owner() string { return a.is.OwnerAddress() }

// IsElsewhere says whether a scheduler of today's network signed: one whose key is no unit key. Cursor says what that means
// for its log.
func (a Assignment) IsElsewhere() bool {
	it := itemOf(a.is)
	return it != nil && it.SignatureType() != ans104.Ed25519
}

// IsTold says that nobody's signature was checked: see ParseTold.
func (a Assignment) IsTold() bool { return a.is != nil && itemOf(a.is) == nil }

// IsVoid says that whoever tells of the slot has found that its message took effect before.
func (a Assignment) IsVoid() bool {
	t, ok := a.is.(*told)
	return ok && t.void
}

// Epoch is the tag, "0" if there is none.
func (a Assignment) Epoch() string {
	if epoch, ok := Tags(a.is.Tags()).Lookup("Epoch"); ok {
		return epoch
	}
	return "0"
}

// Item is the signed item itself; nil if the assignment is told.
func (a Assignment) Item() *ans104.Item { return itemOf(a.is) }

// Raw is the item's bytes, nil if the assignment is told; they must not be changed.
func (a Assignment) Raw() []byte { return a.is.Raw() }

// Link is the Hash-Chain of the next slot, SHA-256(raw assignment ID ‖ raw Hash-Chain). It commits to this slot and
// to all before it, and is the head that a claim about this slot names.
func (a Assignment) Link() [32]byte {
	id := a.ID()
	var b [64]byte
	copy(b[:32], id[:])
	copy(b[32:], a.fields.HashChain[:])
	return sha256.Sum256(b[:])
}

// FirstLink is the Hash-Chain of slot 0: SHA-256(raw process ID).
func FirstLink(process ID) [32]byte { return sha256.Sum256(process[:]) }

// Facts are named fields beyond the message that go into the envelope of an evaluation; none are defined yet.
type Facts []Fact

// Fact is one of them.
type Fact struct{ Name, Value string }

// Proof names the kind of evidence that an entry holds its slot.
type Proof string

// The kinds of proof.
const (
	// ProofAssignment: the assignment's signature and place in the hash chain prove the slot.
	ProofAssignment Proof = "assignment"
	// ProofBoot needs none: the entry is the process itself, which an evaluation begins with where the log does not. It
	// stands in no log and has the time of the first assignment beside it.
	ProofBoot Proof = "boot"
	// ProofTold is none: the entry is what a HyperBEAM node tells its own computer, and the operator of both vouches for it.
	ProofTold Proof = "told"
)

// Entry is one slot of a log: the assignment and the message that it assigns.
type Entry struct {
	Proof      Proof
	Assignment Assignment
	Message    Message
	Facts      Facts
}

// ParseEntry parses and verifies an assignment and, beside it, an item or a transaction in its raw form; whether they belong
// together is for a Cursor to say. v, unless it is nil, takes the signatures of many goroutines together. Errors: those of
// ParseAssignment, ParseMessage and NewTransaction.
func ParseEntry(v *ans104.Verifier, assignment, message []byte) (e Entry, err error) {
	e.Proof = ProofAssignment
	if v == nil {
		e.Assignment, err = ParseAssignment(assignment)
	} else {
		e.Assignment, err = ParseAssignmentBy(v, assignment)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("assignment: %w", err)
	}
	switch {
	case l1.IsRaw(message):
		e.Message, err = parseTransaction(message)
	case v == nil:
		e.Message, err = ParseMessage(message)
	default:
		e.Message, err = ParseMessageBy(v, message)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("message: %w", err)
	}
	return e, nil
}
