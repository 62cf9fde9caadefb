package ans104

import (
	"bytes"
	"crypto/ed25519"
	"testing"
)

func TestSignParseVerify(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	eth := bytes.Repeat([]byte{7}, 32)
	ethereum, err := NewEthereumSigner(eth)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := NewTypedEthereumSigner(eth)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Signer{NewEd25519Signer(key), NewSolanaSigner(key), ethereum, typed} {
		it, err := Sign(s, Fields{Target: make([]byte, 32), Tags: []Tag{{"a", "b"}}, Data: []byte("x")})
		if err != nil {
			t.Fatalf("%s: %v", s.Type(), err)
		}
		again, err := Parse(it.Raw())
		if err != nil {
			t.Fatalf("%s: %v", s.Type(), err)
		}
		if err := again.Verify(); err != nil {
			t.Fatalf("%s: %v", s.Type(), err)
		}
		t.Log(again.ID(), again.OwnerAddress())
	}
}
