package ans104

import (
	"crypto/sha512"
	"fmt"
)

// Head is an item without its data, of which it holds length and SHA-384 instead: enough to verify the signature, and
// of constant size. It proves what the owner signed to somebody who has no use for the data.
type Head struct {
	Type       SignatureType
	Signature  []byte
	Owner      []byte
	Target     []byte
	Anchor     []byte
	TagCount   uint64
	RawTags    []byte
	DataLength int64
	DataSHA384 [48]byte
}

// Head is the item's head; it shares the item's bytes.
func (it *Item) Head() Head {
	return Head{
		Type: it.typ, Signature: it.Signature(), Owner: it.Owner(), Target: it.Target(), Anchor: it.Anchor(),
		TagCount: uint64(len(it.tags)), RawTags: it.RawTags(),
		DataLength: int64(len(it.Data())), DataSHA384: sha512.Sum384(it.Data()),
	}
}

// check refuses every head that no item parsed by Parse can have. The number of tags is not signed, so that it fits
// the tag block is checked here.
func (h Head) check() error {
	sigLen, ownerLen := h.Type.sizes()
	switch {
	case sigLen == 0:
		return fmt.Errorf("%w: %d", ErrSignatureType, h.Type)
	case len(h.Signature) != sigLen || len(h.Owner) != ownerLen:
		return ErrTooShort
	case len(h.Target) != 0 && len(h.Target) != targetLen:
		return ErrTarget
	case len(h.Anchor) != 0 && len(h.Anchor) != anchorLen:
		return ErrAnchor
	case len(h.RawTags) > MaxTagBytes:
		return ErrTagBytes
	case h.DataLength < 0:
		return ErrTooShort
	}
	if err := checkOwner(h.Type, h.Owner); err != nil {
		return err
	}
	_, err := h.Tags()
	return err
}

// Verify checks the owner's signature, as Item.Verify does.
func (h Head) Verify() error {
	if err := h.check(); err != nil {
		return fmt.Errorf("verify head: %w", err)
	}
	acc := itemPrefix(h.Type)
	for _, c := range [][]byte{h.Owner, h.Target, h.Anchor, h.RawTags} {
		acc = foldBlob(acc, c)
	}
	message := fold(acc, blobHash(h.DataLength, &h.DataSHA384))
	if err := verify(h.Type, h.Owner, message[:], h.Signature); err != nil {
		return fmt.Errorf("verify item %s: %w", h.ID(), err)
	}
	return nil
}

// ID is the item's ID.
func (h Head) ID() ID { return signatureID(h.Signature) }

// Tags decodes the head's tags.
func (h Head) Tags() ([]Tag, error) { return DecodeTags(h.RawTags, h.TagCount) }

// OwnerAddress is the address of the signer, "" if the head does not verify.
func (h Head) OwnerAddress() string {
	a, err := Address(h.Type, h.Owner)
	if err != nil {
		return ""
	}
	return a
}
