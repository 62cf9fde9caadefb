// Package ans104 is the codec of ANS-104 data items and bundles, the envelope of everything the AO
// computer signs (paper ref. [6]): build, parse, sign, verify, deep hash.
//
// Bytes come in, an immutable [Item] goes out, or an error that wraps one of this package's sentinels.
// [Parse] checks structure, [Item.Verify] and [VerifyBatch] check signatures, [Sign] makes an item that is
// known to be valid, [ParseBundle] and [Expand] take bundles apart. What the reference implementation
// (arbundles) accepts is accepted, unless it would let somebody who is not the signer change an item or
// its ID.
//
// It never allocates what a length field merely claims, never panics on outside bytes, reads no clock and
// no network, and starts no goroutine. It does not know what a tag means, save the two that mark a bundle.
//
// Start at [Parse]; the bytes that get signed are in deephash.go, and each signature type has its own file.
package ans104

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
)

// Sizes of the fixed fields of an item.
const (
	targetLen = 32
	anchorLen = 32
	typeLen   = 2
)

// Item is a parsed data item. It is immutable and safe for concurrent use. The slices its methods return
// are views of the raw bytes: callers must not write to them.
type Item struct {
	raw  []byte
	typ  SignatureType
	id   ID
	tags []Tag

	// Where fields begin in raw; an absent target or anchor has no bytes.
	owner, target, anchor, tagBytes, data int
	hasTarget, hasAnchor                  bool

	verified atomic.Bool // the signature was found valid once; raw never changes, so it still is
}

// Parse reads one item, which must be the whole of raw. It checks structure and the form of the public
// key, not the signature: see [Item.Verify]. The item keeps a reference to raw, which must not be changed
// afterwards.
func Parse(raw []byte) (*Item, error) {
	if len(raw) < typeLen {
		return nil, fmt.Errorf("parse item: %w", ErrTooShort)
	}
	it := &Item{raw: raw, typ: SignatureType(binary.LittleEndian.Uint16(raw))}
	sigLen, ownerLen := it.typ.sizes()
	if sigLen == 0 {
		return nil, fmt.Errorf("parse item: %w: %d", ErrSignatureType, uint16(it.typ))
	}
	it.owner = typeLen + sigLen
	if len(raw) < it.owner+ownerLen {
		return nil, fmt.Errorf("parse item: %w", ErrTooShort)
	}
	at := it.owner + ownerLen
	if err := checkOwner(it.typ, raw[it.owner:at]); err != nil {
		return nil, fmt.Errorf("parse item: %w", err)
	}
	var err error
	if it.target, at, it.hasTarget, err = optional(raw, at, targetLen); err != nil {
		return nil, fmt.Errorf("parse target: %w", err)
	}
	if it.anchor, at, it.hasAnchor, err = optional(raw, at, anchorLen); err != nil {
		return nil, fmt.Errorf("parse anchor: %w", err)
	}
	if err := it.parseTags(at); err != nil {
		return nil, fmt.Errorf("parse tags: %w", err)
	}
	it.id = signatureID(it.Signature())
	return it, nil
}

// optional reads a presence byte at offset at and skips the n bytes it may announce.
func optional(raw []byte, at, n int) (start, end int, present bool, err error) {
	if len(raw)-at < 1 {
		return 0, 0, false, ErrTooShort
	}
	switch raw[at] {
	case 0:
		return at + 1, at + 1, false, nil
	case 1:
		if len(raw)-at < 1+n {
			return 0, 0, false, ErrTooShort
		}
		return at + 1, at + 1 + n, true, nil
	default:
		return 0, 0, false, fmt.Errorf("%w: %d", ErrPresence, raw[at])
	}
}

func (it *Item) parseTags(at int) error {
	if len(it.raw)-at < 16 {
		return ErrTooShort
	}
	count := binary.LittleEndian.Uint64(it.raw[at:])
	size := binary.LittleEndian.Uint64(it.raw[at+8:])
	if size > MaxTagBytes {
		return fmt.Errorf("%w: %d bytes", ErrTagBytes, size)
	}
	it.tagBytes = at + 16
	if len(it.raw)-it.tagBytes < int(size) {
		return ErrTooShort
	}
	it.data = it.tagBytes + int(size)
	var err error
	it.tags, err = DecodeTags(it.RawTags(), count)
	return err
}

// ID is the SHA-256 of the signature, the item's name everywhere.
func (it *Item) ID() ID { return it.id }

// Raw returns the bytes the item was parsed from.
func (it *Item) Raw() []byte { return it.raw }

// SignatureType says how the item is signed.
func (it *Item) SignatureType() SignatureType { return it.typ }

// Signature returns the signature as it stands in the item.
func (it *Item) Signature() []byte { return it.raw[typeLen:it.owner:it.owner] }

// Owner returns the public key (for [TypedEthereum] the address in ASCII) of the signer.
func (it *Item) Owner() []byte {
	_, n := it.typ.sizes()
	return it.raw[it.owner : it.owner+n : it.owner+n]
}

// OwnerAddress returns the address that belongs to the owner, see [Address].
func (it *Item) OwnerAddress() string {
	a, err := Address(it.typ, it.Owner())
	if err != nil {
		panic("ans104: parsed item with a bad owner: " + err.Error())
	}
	return a
}

// Target returns the 32 bytes of the target, or an empty slice if the item has none.
func (it *Item) Target() []byte {
	if !it.hasTarget {
		return nil
	}
	return it.raw[it.target : it.target+targetLen : it.target+targetLen]
}

// Anchor returns the 32 bytes of the anchor, or an empty slice if the item has none.
func (it *Item) Anchor() []byte {
	if !it.hasAnchor {
		return nil
	}
	return it.raw[it.anchor : it.anchor+anchorLen : it.anchor+anchorLen]
}

// Tags returns a copy of the tags in their order, which is signed; names may repeat.
func (it *Item) Tags() []Tag { return slices.Clone(it.tags) }

// RawTags returns the tag block as it stands in the item; these bytes are what is signed.
func (it *Item) RawTags() []byte { return it.raw[it.tagBytes:it.data:it.data] }

// HasTag says whether the item has a tag of that name and value, among others of the name or not.
func (it *Item) HasTag(name, value string) bool { return slices.Contains(it.tags, Tag{name, value}) }

// Tag returns the value of the first tag of that name; case counts.
func (it *Item) Tag(name string) (value string, ok bool) {
	for i := range it.tags {
		if it.tags[i].Name == name {
			return it.tags[i].Value, true
		}
	}
	return "", false
}

// Data returns the payload.
func (it *Item) Data() []byte { return it.raw[it.data:len(it.raw):len(it.raw)] }
