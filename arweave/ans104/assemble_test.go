package ans104

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
)

// TestAssemble: the parts of an item make that item again, and no others do.
func TestAssemble(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	ethereum, err := NewEthereumSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := NewTypedEthereumSigner(seed)
	if err != nil {
		t.Fatal(err)
	}
	var together Verifier
	solana := NewSolanaSigner(ed25519.NewKeyFromSeed(seed))
	for _, s := range []Signer{NewEd25519Signer(ed25519.NewKeyFromSeed(seed)), ethereum, typed, solana} {
		for _, f := range []Fields{
			{},
			{Target: bytes.Repeat([]byte{1}, 32), Anchor: bytes.Repeat([]byte{2}, 32), Tags: []Tag{{Name: "a", Value: "b"}}, Data: []byte("data")},
		} {
			it, err := Sign(s, f)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Assemble(it.Signature(), it.Owner(), f)
			if err != nil || !bytes.Equal(again.Raw(), it.Raw()) {
				t.Errorf("%s: not the same item: %v", s.Type(), err)
			}
			if again, err = AssembleBy(&together, it.Signature(), it.Owner(), f); err != nil || !bytes.Equal(again.Raw(), it.Raw()) {
				t.Errorf("%s: not the same item together with others: %v", s.Type(), err)
			}
			f.Data = append(f.Data, 'x')
			if _, err := AssembleBy(&together, it.Signature(), it.Owner(), f); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: other data, together with others: %v", s.Type(), err)
			}
			if _, err := Assemble(it.Signature(), it.Owner(), f); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: other data: %v", s.Type(), err)
			}
		}
	}
	for _, c := range []struct {
		signature, owner int
		f                Fields
		want             error
	}{
		{64, 33, Fields{}, ErrSignatureType},
		{64, 32, Fields{Target: []byte{1}}, ErrTarget},
		{64, 32, Fields{Anchor: []byte{1}}, ErrAnchor},
		{64, 32, Fields{Tags: make([]Tag, MaxTags+1)}, ErrTagCount},
		{512, 512, Fields{}, ErrKey},
	} {
		if _, err := Assemble(make([]byte, c.signature), make([]byte, c.owner), c.f); !errors.Is(err, c.want) {
			t.Errorf("%d and %d bytes: %v, want %v", c.signature, c.owner, err, c.want)
		}
	}
}
