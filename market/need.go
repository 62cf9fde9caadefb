package market

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/aopeer/aopeer/ao"
)

// domainNeed begins the bytes of a need.
const domainNeed = "aopeer/need/1\x00"

// MaxNeed bounds the bytes of a need.
const MaxNeed = 2 << 10

// Need is what a client wants of one unit, as far as a seller must know it to name a price. What the client would pay
// at most is its own secret and stands in Taste.
type Need struct {
	Network    string
	Role       Role
	Buyer      Peer     // SHA-256 of the key that will sign the deal
	Nonce      [16]byte // makes two equal needs two
	Process    ao.ID
	Slot       ao.Slot // of computers: the slot whose result is wanted
	Format     string  // the Module-Format that the unit must run, "" for any
	Extensions []string
	Memory     uint64 // bytes that the process may use, 0 if it does not matter
	Compute    uint64 // units of compute that the message may use
	Region     string // "" for any
	Ledger     ao.ID  // to be paid on; zero for any
	Counts     Parts  // how much of each price component; CUSlot is the client's estimate for a unit that holds nothing
}

// Bytes is the canonical encoding.
func (n Need) Bytes() []byte {
	b := make([]byte, 0, 256)
	b = append(b, domainNeed...)
	b = appendText(b, n.Network)
	b = append(b, byte(n.Role))
	b = append(b, n.Buyer[:]...)
	b = append(b, n.Nonce[:]...)
	b = append(b, n.Process[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(n.Slot))
	b = appendText(b, n.Format)
	b = append(b, byte(len(n.Extensions)))
	for _, e := range n.Extensions {
		b = appendText(b, e)
	}
	b = binary.BigEndian.AppendUint64(b, n.Memory)
	b = binary.BigEndian.AppendUint64(b, n.Compute)
	b = appendText(b, n.Region)
	b = append(b, n.Ledger[:]...)
	for _, c := range n.Counts {
		b = binary.BigEndian.AppendUint64(b, c)
	}
	return b
}

func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// Digest is what quotes name: SHA-256 of Bytes.
func (n Need) Digest() ao.ID { return sha256.Sum256(n.Bytes()) }

// Check refuses what no parser would give. Errors: BadShape, TooLarge, Absurd.
func (n Need) Check() error {
	switch {
	case !isLabel(n.Network, maxNetwork) || n.Role >= roles:
		return refuse(BadShape, "network %.40q, %s", n.Network, n.Role)
	case n.Format != "" && !isWord(n.Format, maxWord):
		return refuse(BadShape, "format %.70q", n.Format)
	case len(n.Extensions) > maxExtensions:
		return refuse(TooLarge, "%d extensions", len(n.Extensions))
	case n.Region != "" && !isLabel(n.Region, maxRegion):
		return refuse(BadShape, "region %.20q", n.Region)
	case n.Memory > maxNumber || n.Compute > maxNumber || n.Slot > maxNumber:
		return refuse(Absurd, "memory %d, compute %d, slot %d", n.Memory, n.Compute, n.Slot)
	}
	for i, e := range n.Extensions {
		if !isWord(e, maxWord) || i > 0 && n.Extensions[i-1] >= e {
			return refuse(BadShape, "extension %.70q", e)
		}
	}
	for i, c := range n.Counts {
		if c > maxNumber || c != 0 && i >= max(len(PartNames(n.Role)), 1) && (n.Role != Attestor || i > AttestPeriod) {
			return refuse(Absurd, "count %d of part %d", c, i)
		}
	}
	return nil
}

// ParseNeed reads the canonical encoding and nothing else. Errors: BadShape, TooLarge, Absurd.
func ParseNeed(b []byte) (Need, error) {
	if len(b) > MaxNeed {
		return Need{}, refuse(TooLarge, "a need of %d bytes", len(b))
	}
	r := reader{b: b}
	if string(r.take(len(domainNeed))) != domainNeed {
		return Need{}, refuse(BadShape, "a need's domain")
	}
	var n Need
	n.Network = r.text()
	n.Role = Role(r.uint(1))
	copy(n.Buyer[:], r.take(32))
	copy(n.Nonce[:], r.take(16))
	copy(n.Process[:], r.take(32))
	n.Slot = ao.Slot(r.uint(8))
	n.Format = r.text()
	for range r.uint(1) {
		if r.bad || len(n.Extensions) > maxExtensions {
			break
		}
		n.Extensions = append(n.Extensions, r.text())
	}
	n.Memory, n.Compute = r.uint(8), r.uint(8)
	n.Region = r.text()
	copy(n.Ledger[:], r.take(32))
	for i := range n.Counts {
		n.Counts[i] = r.uint(8)
	}
	if r.bad || len(r.b) != 0 {
		return Need{}, refuse(BadShape, "a need's length")
	}
	if err := n.Check(); err != nil {
		return Need{}, err
	}
	return n, nil
}

// charged is the counts that a quote may bill: a computer bills the slots that it really is behind.
func (n *Need) charged(behind uint64) Parts {
	c := n.Counts
	if n.Role == Computer {
		c[CUSlot] = behind
	}
	return c
}

// suits is the first reason for which a unit with these terms cannot serve the need, "" if it can. Price and time are
// not looked at.
func (n *Need) suits(t *Terms) Reason {
	switch {
	case t.Network != n.Network:
		return OtherNetwork
	case t.Role != n.Role:
		return WrongRole
	case t.Capacity == 0:
		return NoCapacity
	case t.Memory != 0 && n.Memory > t.Memory:
		return LittleMemory
	case t.Compute != 0 && n.Compute > t.Compute:
		return LittleWork
	case n.Region != "" && n.Region != t.Region:
		return OtherRegion
	case n.Format != "" && !slices.Contains(t.Formats, n.Format):
		return NoFormat
	case !n.Ledger.IsZero() && !slices.Contains(t.Ledgers, n.Ledger):
		return OtherLedger
	}
	for _, e := range n.Extensions {
		if !slices.Contains(t.Extensions, e) {
			return NoExtension
		}
	}
	return ""
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

func (r *reader) text() string { return string(r.take(int(r.uint(1)))) }
