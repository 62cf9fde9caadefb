package ans104

import (
	"encoding/binary"
	"fmt"
)

// Fields is what the owner of a new item decides.
type Fields struct {
	Target []byte // nothing or 32 bytes
	Anchor []byte // nothing or 32 bytes
	Tags   []Tag
	Data   []byte
}

// Signer holds a key. Implementations must be safe for concurrent use.
type Signer interface {
	// Type says what Owner and Sign return.
	Type() SignatureType
	// Owner returns the public key as it stands in an item.
	Owner() []byte
	// Sign returns the signature of message, which is a deep hash of 48 bytes, in the form that the type
	// gives it in an item.
	Sign(message []byte) ([]byte, error)
}

// Sign builds an item of the fields, which it copies, and signs it. The item has been verified: a signer
// that errs is found out before its signature leaves. Only the Ed25519 signers of this package are believed: they
// work the public key out of the seed themselves, and verifying would take twice as long as signing.
func Sign(s Signer, f Fields) (*Item, error) {
	raw, err := unsigned(s, f)
	if err != nil {
		return nil, fmt.Errorf("sign item: %w", err)
	}
	it, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("sign item: %w", err)
	}
	own, ours := s.(*ed25519Signer)
	var message [48]byte
	if ours {
		message = it.hashFrom(own.begun)
	} else {
		message = it.DeepHash()
	}
	signature, err := s.Sign(message[:])
	if err != nil {
		return nil, fmt.Errorf("sign item: %w", err)
	}
	if len(signature) != it.owner-typeLen {
		return nil, fmt.Errorf("sign item: %w: %d bytes", ErrSignature, len(signature))
	}
	// Nobody else has seen the item yet, so it may still change.
	copy(raw[typeLen:], signature)
	it.id = signatureID(it.Signature())
	if !ours {
		if err := verify(it.typ, it.Owner(), message[:], it.Signature()); err != nil {
			return nil, fmt.Errorf("sign item: %w", err)
		}
	}
	it.verified.Store(true)
	return it, nil
}

// unsigned lays out an item whose signature is still zero.
func unsigned(s Signer, f Fields) ([]byte, error) {
	sigLen, _ := s.Type().sizes()
	owner := s.Owner()
	if err := checkOwner(s.Type(), owner); err != nil {
		return nil, err
	}
	if n := len(f.Target); n != 0 && n != targetLen {
		return nil, fmt.Errorf("%w: %d", ErrTarget, n)
	}
	if n := len(f.Anchor); n != 0 && n != anchorLen {
		return nil, fmt.Errorf("%w: %d", ErrAnchor, n)
	}
	tags, err := EncodeTags(f.Tags)
	if err != nil {
		return nil, err
	}
	size := typeLen + sigLen + len(owner) + 1 + len(f.Target) + 1 + len(f.Anchor) + 16 + len(tags) + len(f.Data)
	raw := make([]byte, typeLen+sigLen, size)
	binary.LittleEndian.PutUint16(raw, uint16(s.Type()))
	raw = append(raw, owner...)
	raw = appendOptional(raw, f.Target)
	raw = appendOptional(raw, f.Anchor)
	raw = binary.LittleEndian.AppendUint64(raw, uint64(len(f.Tags)))
	raw = binary.LittleEndian.AppendUint64(raw, uint64(len(tags)))
	raw = append(raw, tags...)
	return append(raw, f.Data...), nil
}

func appendOptional(raw, field []byte) []byte {
	if len(field) == 0 {
		return append(raw, 0)
	}
	return append(append(raw, 1), field...)
}
