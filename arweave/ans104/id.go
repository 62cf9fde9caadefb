package ans104

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// ID names an item: the SHA-256 of its signature.
type ID [32]byte

// idTextLen is the length of an ID as text.
const idTextLen = 43

func signatureID(signature []byte) ID { return sha256.Sum256(signature) }

// ParseID reads the text form: exactly 43 characters of unpadded base64url whose spare bits are zero, so
// that one ID has one text.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != idTextLen {
		return ID{}, fmt.Errorf("parse ID: %w: %d characters", ErrID, len(s))
	}
	n, err := base64.RawURLEncoding.Strict().Decode(id[:], []byte(s))
	if err != nil || n != len(id) {
		return ID{}, fmt.Errorf("parse ID: %w", ErrID)
	}
	return id, nil
}

// String returns the ID in unpadded base64url.
func (id ID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether the ID is all zeros, which no item has.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText writes the form of [ID.String].
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what [ParseID] reads.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
