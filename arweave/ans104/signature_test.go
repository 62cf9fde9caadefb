package ans104

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// withSignature returns the item under another signature, made without any check of it.
func withSignature(t testing.TB, it *Item, signature []byte) *Item {
	t.Helper()
	raw := bytes.Clone(it.Raw())
	if copy(raw[typeLen:it.owner], signature) != len(signature) {
		t.Fatalf("signature of %d bytes", len(signature))
	}
	out, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantVerify checks that Verify and VerifyBatch both give the one error.
func wantVerify(t testing.TB, name string, it *Item, want error) {
	t.Helper()
	for _, err := range []error{it.Verify(), VerifyBatch([]*Item{it})[0]} {
		if !errors.Is(err, want) || (want == nil && err != nil) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

// TestRSAMalleable adds the modulus to a signature, which satisfies RSA's equation just as well.
func TestRSAMalleable(t *testing.T) {
	tried := 0
	for _, v := range readVectors(t).Items {
		if v.Type != Arweave {
			continue
		}
		it, err := Parse(b64(t, v.Raw))
		if err != nil {
			t.Fatal(err)
		}
		n := new(big.Int).SetBytes(it.Owner())
		s := new(big.Int).SetBytes(it.Signature())
		s.Add(s, n)
		if s.BitLen() > 8*rsaLen {
			continue // does not fit in an item
		}
		tried++
		other := withSignature(t, it, s.FillBytes(make([]byte, rsaLen)))
		if other.ID() == it.ID() {
			t.Fatal("same ID")
		}
		wantVerify(t, v.Name, other, ErrMalleable)
	}
	if tried == 0 {
		t.Fatal("no vector shows it")
	}
}

func TestRSARefuses(t *testing.T) {
	s := testSigners(t)[0]
	it := mustSign(t, s, fullFields())
	n := new(big.Int).SetBytes(it.Owner())
	for _, c := range []struct {
		name string
		s    *big.Int
		want error
	}{
		{"0", big.NewInt(0), ErrSignature},
		{"1", big.NewInt(1), ErrSignature},
		{"n-1", new(big.Int).Sub(n, big.NewInt(1)), ErrSignature},
		{"n-s", new(big.Int).Sub(n, new(big.Int).SetBytes(it.Signature())), ErrSignature},
		{"n", n, ErrMalleable},
		{"n+1", new(big.Int).Add(n, big.NewInt(1)), ErrMalleable},
	} {
		wantVerify(t, c.name, withSignature(t, it, c.s.FillBytes(make([]byte, rsaLen))), c.want)
	}
}

// TestPSS holds our decoding against crypto/rsa, with every length of salt and with encodings damaged on
// purpose and then signed.
func TestPSS(t *testing.T) {
	key := testRSAKey(t)
	owner := key.N.FillBytes(make([]byte, rsaLen))
	message := make([]byte, 48)
	digest := sha256.Sum256(message)
	for _, salt := range []int{rsa.PSSSaltLengthEqualsHash, 1, 31, 33, 477, 478} {
		sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if err := verifyRSA(owner, message, sig); err != nil {
			t.Errorf("salt of %d: %v", salt, err)
		}
		if err := verifyRSA(owner, message[:47], sig); !errors.Is(err, ErrSignature) {
			t.Errorf("salt of %d, other message: %v", salt, err)
		}
	}
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: 32})
	if err != nil {
		t.Fatal(err)
	}
	em := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(rsaExponent), key.N).FillBytes(make([]byte, rsaLen))
	for _, c := range []struct {
		name   string
		damage func(em []byte)
	}{
		{"trailer", func(em []byte) { em[511] = 0xcc }},
		{"hash", func(em []byte) { em[500] ^= 1 }},
		{"salt", func(em []byte) { em[478] ^= 1 }},
		{"first byte of salt", func(em []byte) { em[447] ^= 1 }},
		{"separator", func(em []byte) { em[446] ^= 2 }},
		{"padding", func(em []byte) { em[100] ^= 1 }},
		{"start of padding", func(em []byte) { em[0] ^= 0x20 }},
		{"separator in the padding", func(em []byte) { em[100] ^= 1 }},
	} {
		bad := bytes.Clone(em)
		c.damage(bad)
		forged := new(big.Int).Exp(new(big.Int).SetBytes(bad), key.D, key.N).FillBytes(make([]byte, rsaLen))
		if err := verifyRSA(owner, message, forged); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", c.name, err)
		}
		if rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest[:], forged, nil) == nil {
			t.Errorf("%s: crypto/rsa takes it", c.name)
		}
	}
	// The highest bit is above the 4095 of the encoding; it can only be set below the modulus.
	top := [rsaLen]byte(em)
	if !verifyPSS(&top, digest) {
		t.Fatal("intact encoding refused")
	}
	top = [rsaLen]byte(em)
	top[0] |= 0x80
	if verifyPSS(&top, digest) {
		t.Error("highest bit set")
	}
	var zero [rsaLen]byte
	zero[rsaLen-1] = 0xbc
	xorMGF1(zero[:rsaLen-33], zero[rsaLen-33:rsaLen-1])
	zero[0] &= 0x7f
	if verifyPSS(&zero, digest) {
		t.Error("padding without a separator")
	}
}

func TestNewRSASignerRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	exponent := *testRSAKey(t)
	exponent.E = 3
	torn := *testRSAKey(t)
	torn.D = new(big.Int).Add(torn.D, big.NewInt(2))
	torn.Precomputed = rsa.PrecomputedValues{}
	for name, key := range map[string]*rsa.PrivateKey{"none": nil, "empty": {}, "1024 bits": small, "exponent 3": &exponent, "torn": &torn} {
		if _, err := NewRSASigner(key); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestECDSAMalleable turns a signature into the others that satisfy the equation, and tries every recovery byte.
func TestECDSAMalleable(t *testing.T) {
	for _, s := range testSigners(t) {
		if s.Type() != Ethereum && s.Type() != TypedEthereum {
			continue
		}
		it := mustSign(t, s, fullFields())
		name := s.Type().String()
		sig := bytes.Clone(it.Signature())

		high := bytes.Clone(sig)
		var scalar secp256k1.ModNScalar
		scalar.SetByteSlice(sig[32:64])
		scalar.Negate().PutBytesUnchecked(high[32:64])
		high[64] = 27 + 28 - sig[64]
		wantVerify(t, name+" high s", withSignature(t, it, high), ErrMalleable)
		high[64] = sig[64]
		wantVerify(t, name+" high s, same recovery byte", withSignature(t, it, high), ErrMalleable)

		overflow := bytes.Clone(sig)
		copy(overflow[32:64], bytes.Repeat([]byte{0xff}, 32))
		wantVerify(t, name+" s above the order", withSignature(t, it, overflow), ErrMalleable)

		for v := range 256 {
			other := bytes.Clone(sig)
			other[64] = byte(v)
			want := ErrMalleable
			switch {
			case other[64] == sig[64]:
				want = nil
			case v == 27 || v == 28:
				want = ErrSignature
			}
			wantVerify(t, name+" recovery byte", withSignature(t, it, other), want)
		}
		for _, half := range []int{0, 32} {
			zero := bytes.Clone(sig)
			copy(zero[half:half+32], make([]byte, 32))
			wantVerify(t, name+" zero", withSignature(t, it, zero), ErrSignature)
			if half == 0 {
				copy(zero, bytes.Repeat([]byte{0xff}, 32))
				wantVerify(t, name+" r above the order", withSignature(t, it, zero), ErrSignature)
			}
		}
	}
}

func TestEthereumKeysRefused(t *testing.T) {
	order := unhex(t, "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")
	for _, key := range [][]byte{nil, make([]byte, 31), make([]byte, 32), make([]byte, 33), order, bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := NewEthereumSigner(key); !errors.Is(err, ErrKey) {
			t.Errorf("%x: %v", key, err)
		}
		if _, err := NewTypedEthereumSigner(key); !errors.Is(err, ErrKey) {
			t.Errorf("%x: %v", key, err)
		}
	}
}

func TestSignatureTypeString(t *testing.T) {
	for typ, want := range map[SignatureType]string{Arweave: "arweave", Ed25519: "ed25519", Ethereum: "ethereum", Solana: "solana", TypedEthereum: "typedEthereum", 101: "101"} {
		if typ.String() != want {
			t.Errorf("%d is %s", uint16(typ), typ)
		}
	}
}

// TestVerifiedOnce makes sure that only a signature that was found valid is taken as such, and by every way to find out.
func TestVerifiedOnce(t *testing.T) {
	for _, s := range testSigners(t) {
		signed := mustSign(t, s, fullFields())
		if !signed.verified.Load() {
			t.Errorf("%s: a signed item is not known to be valid", s.Type())
		}
		for _, check := range []func(*Item) error{(*Item).Verify, func(it *Item) error { return VerifyBatch([]*Item{it})[0] }} {
			good, err := Parse(bytes.Clone(signed.Raw()))
			if err != nil || good.verified.Load() {
				t.Fatalf("%s: a parsed item counts as verified, %v", s.Type(), err)
			}
			raw := bytes.Clone(signed.Raw())
			raw[len(raw)-1] ^= 1
			bad, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := check(good); err != nil || !good.verified.Load() {
					t.Errorf("%s: a valid item is refused: %v", s.Type(), err)
				}
				if err := check(bad); !errors.Is(err, ErrSignature) || bad.verified.Load() {
					t.Errorf("%s: a changed item gets %v", s.Type(), err)
				}
			}
		}
	}
}
