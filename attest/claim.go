package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// What can be wrong with a claim.
var (
	ErrClaim         = errors.New("not a claim of the fixed encoding")
	ErrContradiction = errors.New("another claim for that process, nonce and head is in the journal")
)

// The bounds of a claim's two texts, in bytes.
const (
	MaxNetwork = 32
	MaxProfile = 512
)

// TypeClaim and TypeBatch are the Type tags of claims and of batches of them. They are not Attestation, which
// today's network uses for availability.
const (
	TypeClaim = "Result-Claim"
	TypeBatch = "Result-Claim-Batch"
)

// Claim is a unit's statement about one slot: this log, up to and with this slot, has this result (§5.2.3).
type Claim struct {
	Network string // network ID, so that one network's claim says nothing on another
	Process ao.ID
	Nonce   ao.Slot
	Message ao.ID
	Head    Hash   // ao.Assignment.Link of the slot: it commits to the slot itself and all before it
	Result  Hash   // ResultDigest
	State   *Hash  // StateRoot after the slot, if the unit computed it
	Profile string // execution profile: engine version, flags, format, fuel and memory rule, asyncify
}

// Bytes is the canonical encoding, what is signed and what a batch's leaf holds.
func (c Claim) Bytes() []byte {
	b := make([]byte, 0, 256)
	b = append(b, domainClaim...)
	b = append(b, byte(len(c.Network)))
	b = append(b, c.Network...)
	b = append(b, c.Process[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Nonce))
	b = append(b, c.Message[:]...)
	b = append(b, c.Head[:]...)
	b = append(b, c.Result[:]...)
	if c.State == nil {
		b = append(b, 0)
	} else {
		b = append(append(b, 1), c.State[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(c.Profile)))
	return append(b, c.Profile...)
}

func (c Claim) check() error {
	if len(c.Network) == 0 || len(c.Network) > MaxNetwork || len(c.Profile) > MaxProfile {
		return fmt.Errorf("%w: network of %d bytes, profile of %d", ErrClaim, len(c.Network), len(c.Profile))
	}
	return nil
}

// ParseClaim reads the canonical encoding and nothing else. Errors: ErrClaim.
func ParseClaim(b []byte) (Claim, error) {
	var c Claim
	r := reader{b: b}
	if string(r.take(len(domainClaim))) != domainClaim {
		return Claim{}, fmt.Errorf("%w: domain", ErrClaim)
	}
	c.Network = string(r.take(int(r.byte())))
	r.hash((*Hash)(&c.Process))
	c.Nonce = ao.Slot(r.uint(8))
	r.hash((*Hash)(&c.Message))
	r.hash(&c.Head)
	r.hash(&c.Result)
	switch r.byte() {
	case 0:
	case 1:
		c.State = new(Hash)
		r.hash(c.State)
	default:
		return Claim{}, fmt.Errorf("%w: state flag", ErrClaim)
	}
	c.Profile = string(r.take(int(r.uint(2))))
	if r.bad || len(r.b) != 0 {
		return Claim{}, fmt.Errorf("%w: length", ErrClaim)
	}
	if err := c.check(); err != nil {
		return Claim{}, err
	}
	return c, nil
}

// reader takes fields off the front; after a shortage it is bad and yields zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uint(n int) (v uint64) {
	for _, x := range r.take(n) {
		v = v<<8 | uint64(x)
	}
	return v
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

func (r *reader) hash(h *Hash) { copy(h[:], r.take(len(h))) }

// Journal makes a second claim for one slot impossible. Record writes the digest of the claim for its process, nonce
// and head and returns only when it is on disk; if another digest stands there it returns ErrContradiction. Recording
// the same claim again is no error. Implementations are safe for concurrent use.
type Journal interface {
	Record(c Claim, digest Hash) error
}

// SignedClaim is a claim with the unit's signature. It exists only parsed and verified, or just signed.
type SignedClaim struct {
	item  *ans104.Item
	claim Claim
}

// Sign journals the claim and then signs it. Errors: ErrClaim, ErrContradiction, the journal's and the signer's.
func Sign(j Journal, s ans104.Signer, c Claim) (SignedClaim, error) {
	if err := c.check(); err != nil {
		return SignedClaim{}, err
	}
	data := c.Bytes()
	if err := j.Record(c, sha256.Sum256(data)); err != nil {
		return SignedClaim{}, fmt.Errorf("journal claim for slot %d of %s: %w", c.Nonce, c.Process, err)
	}
	it, err := ans104.Sign(s, ans104.Fields{Tags: claimTags(c), Data: data})
	if err != nil {
		return SignedClaim{}, fmt.Errorf("sign claim: %w", err)
	}
	return SignedClaim{item: it, claim: c}, nil
}

// claimTags repeat what an index needs; a parser checks that they say the same as the data.
func claimTags(c Claim) []ans104.Tag {
	return []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeClaim},
		{Name: "Network", Value: c.Network},
		{Name: "Process", Value: c.Process.String()},
		{Name: "Nonce", Value: c.Nonce.String()},
	}
}

// ParseSigned parses and verifies raw. Errors: those of ans104, ErrClaim.
func ParseSigned(raw []byte) (SignedClaim, error) {
	it, err := ans104.Parse(raw)
	if err != nil {
		return SignedClaim{}, err
	}
	s, err := shapeSigned(it)
	if err != nil {
		return SignedClaim{}, err
	}
	if err := it.Verify(); err != nil {
		return SignedClaim{}, err
	}
	return s, nil
}

// shapeSigned checks all but the signature.
func shapeSigned(it *ans104.Item) (SignedClaim, error) {
	c, err := ParseClaim(it.Data())
	if err != nil {
		return SignedClaim{}, err
	}
	if !isExactly(claimTags(c), it.RawTags(), it.Target(), it.Anchor()) {
		return SignedClaim{}, fmt.Errorf("%w: the tags say something else than the data", ErrClaim)
	}
	return SignedClaim{item: it, claim: c}, nil
}

// IsZero says whether this is the zero value, which is no claim.
func (s SignedClaim) IsZero() bool { return s.item == nil }

// Claim is what was signed.
func (s SignedClaim) Claim() Claim { return s.claim }

// Unit is the address of the signer.
func (s SignedClaim) Unit() string { return s.item.OwnerAddress() }

// Raw is the item's bytes; they must not be changed.
func (s SignedClaim) Raw() []byte { return s.item.Raw() }

// Item is the signed item itself.
func (s SignedClaim) Item() *ans104.Item { return s.item }
