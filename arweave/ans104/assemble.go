package ans104

import (
	"encoding/binary"
	"fmt"
)

// Assemble puts an item together from its parts, as indexes and other schedulers list them, and verifies it: parts that are
// not the original ones give an error. They do not name the type of the signature, which is told by its length and the key's.
// Errors: those of Parse and Verify, ErrSignatureType, ErrTagBytes, ErrTagCount, ErrTarget, ErrAnchor.
func Assemble(signature, owner []byte, f Fields) (*Item, error) {
	return assemble((*Item).Verify, signature, owner, f)
}

// AssembleBy is Assemble for one of many goroutines: v takes their signatures together.
func AssembleBy(v *Verifier, signature, owner []byte, f Fields) (*Item, error) {
	return assemble(v.Verify, signature, owner, f)
}

func assemble(verify func(*Item) error, signature, owner []byte, f Fields) (*Item, error) {
	types := typesOf(len(signature), len(owner))
	if len(types) == 0 {
		return nil, fmt.Errorf("assemble item: %w: none has %d bytes and keys of %d", ErrSignatureType, len(signature), len(owner))
	}
	if n := len(f.Target); n != 0 && n != targetLen {
		return nil, fmt.Errorf("assemble item: %w: %d", ErrTarget, n)
	}
	if n := len(f.Anchor); n != 0 && n != anchorLen {
		return nil, fmt.Errorf("assemble item: %w: %d", ErrAnchor, n)
	}
	tags, err := EncodeTags(f.Tags)
	if err != nil {
		return nil, fmt.Errorf("assemble item: %w", err)
	}
	var last error
	for _, t := range types {
		raw := make([]byte, 0, typeLen+len(signature)+len(owner)+2+len(f.Target)+len(f.Anchor)+16+len(tags)+len(f.Data))
		raw = binary.LittleEndian.AppendUint16(raw, uint16(t))
		raw = append(append(raw, signature...), owner...)
		raw = appendOptional(raw, f.Target)
		raw = appendOptional(raw, f.Anchor)
		raw = binary.LittleEndian.AppendUint64(raw, uint64(len(f.Tags)))
		raw = binary.LittleEndian.AppendUint64(raw, uint64(len(tags)))
		raw = append(append(raw, tags...), f.Data...)
		it, err := Parse(raw)
		if err == nil {
			err = verify(it)
		}
		if err == nil {
			return it, nil
		}
		last = fmt.Errorf("assemble item: %w", err)
	}
	return nil, last
}

// typesOf lists the types that a signature and a key of these lengths can be.
func typesOf(signature, owner int) (out []SignatureType) {
	for _, t := range []SignatureType{Arweave, Ed25519, Ethereum, Solana, TypedEthereum} {
		if s, o := t.sizes(); s == signature && o == owner {
			out = append(out, t)
		}
	}
	return out
}
