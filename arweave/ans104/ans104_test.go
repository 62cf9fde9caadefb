package ans104

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"runtime"
	"testing"
)

// vectors is testdata/arbundles.json: what the reference implementation made and found valid.
type vectors struct {
	Ed25519Seed  string         `json:"ed25519Seed"`
	Secp256k1Key string         `json:"secp256k1Key"`
	Items        []itemVector   `json:"items"`
	Bundles      []bundleVector `json:"bundles"`
}

type itemVector struct {
	Name     string        `json:"name"`
	Address  string        `json:"address"`
	Type     SignatureType `json:"type"`
	Raw      string        `json:"raw"`
	ID       ID            `json:"id"`
	Owner    string        `json:"owner"`
	Target   string        `json:"target"`
	Anchor   string        `json:"anchor"`
	Tags     []Tag         `json:"tags"`
	Data     string        `json:"data"`
	DeepHash string        `json:"deepHash"`
}

type bundleVector struct {
	Name  string `json:"name"`
	Raw   string `json:"raw"`
	IDs   []ID   `json:"ids"`
	Inner []ID   `json:"inner"`
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatal(err)
	}
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	readJSON(t, "arbundles.json", &v)
	if len(v.Items) < 30 {
		t.Fatalf("only %d vectors", len(v.Items))
	}
	return v
}

func b64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testRSAKey reads a key that was made for tests and guards nothing.
func testRSAKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	var jwk struct{ N, D, P, Q string }
	readJSON(t, "rsa4096-test-only.jwk.json", &jwk)
	num := func(s string) *big.Int { return new(big.Int).SetBytes(b64(t, s)) }
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: num(jwk.N), E: rsaExponent},
		D:         num(jwk.D),
		Primes:    []*big.Int{num(jwk.P), num(jwk.Q)},
	}
	key.Precompute()
	return key
}

// testSigners returns one signer of each type, of the keys that made the vectors.
func testSigners(t testing.TB) []Signer {
	t.Helper()
	v := readVectors(t)
	edKey := ed25519.NewKeyFromSeed(unhex(t, v.Ed25519Seed))
	arweave, err := NewRSASigner(testRSAKey(t))
	if err != nil {
		t.Fatal(err)
	}
	ethereum, err := NewEthereumSigner(unhex(t, v.Secp256k1Key))
	if err != nil {
		t.Fatal(err)
	}
	typed, err := NewTypedEthereumSigner(unhex(t, v.Secp256k1Key))
	if err != nil {
		t.Fatal(err)
	}
	return []Signer{arweave, NewEd25519Signer(edKey), ethereum, NewSolanaSigner(edKey), typed}
}

func mustSign(t testing.TB, s Signer, f Fields) *Item {
	t.Helper()
	it, err := Sign(s, f)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func fullFields() Fields {
	return Fields{
		Target: bytes.Repeat([]byte{0xa5}, 32),
		Anchor: bytes.Repeat([]byte{'A'}, 32),
		Tags:   []Tag{{"Data-Protocol", "ao"}, {"Type", "Message"}, {"Type", "again"}, {"", ""}},
		Data:   []byte("hello, weave"),
	}
}

func TestVectors(t *testing.T) {
	v := readVectors(t)
	seen := map[SignatureType]int{}
	var items []*Item
	for _, want := range v.Items {
		t.Run(want.Name, func(t *testing.T) {
			raw := b64(t, want.Raw)
			it, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := it.Verify(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(it.Raw(), raw) {
				t.Error("raw bytes changed")
			}
			if it.ID() != want.ID || it.SignatureType() != want.Type || it.OwnerAddress() != want.Address {
				t.Errorf("ID %s, type %s, address %s", it.ID(), it.SignatureType(), it.OwnerAddress())
			}
			for _, f := range []struct{ name, want, got string }{
				{"owner", want.Owner, base64.RawURLEncoding.EncodeToString(it.Owner())},
				{"target", want.Target, base64.RawURLEncoding.EncodeToString(it.Target())},
				{"anchor", want.Anchor, base64.RawURLEncoding.EncodeToString(it.Anchor())},
				{"data", want.Data, base64.RawURLEncoding.EncodeToString(it.Data())},
			} {
				if f.got != f.want {
					t.Errorf("%s is %q, not %q", f.name, f.got, f.want)
				}
			}
			if !equalTags(it.Tags(), want.Tags) {
				t.Errorf("tags are %q, not %q", it.Tags(), want.Tags)
			}
			hash := it.DeepHash()
			if hex.EncodeToString(hash[:]) != want.DeepHash {
				t.Errorf("deep hash is %x, not %s", hash, want.DeepHash)
			}
			seen[want.Type]++
			items = append(items, it)
		})
	}
	for _, typ := range []SignatureType{Arweave, Ed25519, Ethereum, Solana, TypedEthereum} {
		if seen[typ] < 6 {
			t.Errorf("%d vectors of type %s", seen[typ], typ)
		}
	}
	for i, err := range VerifyBatch(items) {
		if err != nil {
			t.Errorf("item %d: %v", i, err)
		}
	}
}

// TestSameBytes shows that our signers make the items that arbundles makes; only RSA-PSS is randomised.
func TestSameBytes(t *testing.T) {
	compared := 0
	v := readVectors(t)
	for _, s := range testSigners(t) {
		for _, want := range v.Items {
			if want.Type != s.Type() || want.Owner != base64.RawURLEncoding.EncodeToString(s.Owner()) {
				continue
			}
			it := mustSign(t, s, Fields{Target: b64(t, want.Target), Anchor: b64(t, want.Anchor), Tags: want.Tags, Data: b64(t, want.Data)})
			raw := b64(t, want.Raw)
			if s.Type() == Arweave {
				if !bytes.Equal(it.Raw()[typeLen+rsaLen:], raw[typeLen+rsaLen:]) {
					t.Errorf("%s: other bytes behind the signature", want.Name)
				}
			} else if it.ID() != want.ID || !bytes.Equal(it.Raw(), raw) {
				t.Errorf("%s: other bytes", want.Name)
			}
			compared++
		}
	}
	if compared < 30 {
		t.Errorf("compared %d items", compared)
	}
}

func equalTags(a, b []Tag) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestSignedItems(t *testing.T) {
	for _, s := range testSigners(t) {
		f := fullFields()
		it := mustSign(t, s, f)
		again, err := Parse(bytes.Clone(it.Raw()))
		if err != nil {
			t.Fatalf("%s: %v", s.Type(), err)
		}
		if err := again.Verify(); err != nil {
			t.Errorf("%s: %v", s.Type(), err)
		}
		if again.ID() != it.ID() || again.ID().IsZero() {
			t.Errorf("%s: ID %s, then %s", s.Type(), it.ID(), again.ID())
		}
		if !bytes.Equal(again.Target(), f.Target) || !bytes.Equal(again.Anchor(), f.Anchor) || !bytes.Equal(again.Data(), f.Data) || !equalTags(again.Tags(), f.Tags) {
			t.Errorf("%s: fields changed", s.Type())
		}
		if got, ok := again.Tag("Type"); !ok || got != "Message" {
			t.Errorf("tag Type is %q, %v", got, ok)
		}
		if _, ok := again.Tag("type"); ok {
			t.Error("tag names do not distinguish case")
		}
		again.Tags()[0].Value = "changed"
		if got, _ := again.Tag("Data-Protocol"); got != "ao" {
			t.Error("a caller changed the item's tags")
		}
	}
}

// TestEveryBit flips bits all over an item of each type: nothing of it may change under the same signature.
func TestEveryBit(t *testing.T) {
	for _, s := range testSigners(t) {
		t.Run(s.Type().String(), func(t *testing.T) {
			t.Parallel()
			raw := mustSign(t, s, fullFields()).Raw()
			for i := range raw {
				for bit := range 8 {
					if s.Type() == Arweave && bit != i%8 {
						continue // one bit a byte: RSA items are long and slow
					}
					bad := bytes.Clone(raw)
					bad[i] ^= 1 << bit
					if it, err := Parse(bad); err == nil && it.Verify() == nil {
						t.Fatalf("bit %d of byte %d does not matter", bit, i)
					}
				}
			}
			for n := range raw {
				if it, err := Parse(raw[:n:n]); err == nil && it.Verify() == nil {
					t.Fatalf("valid when cut to %d bytes", n)
				}
			}
			if it, err := Parse(append(bytes.Clone(raw), 0)); err == nil && it.Verify() == nil {
				t.Fatal("valid with a byte appended")
			}
		})
	}
}

// layout returns an Ed25519 item up to its presence bytes.
func layout(rest ...byte) []byte {
	raw := make([]byte, typeLen+ed25519SignatureLen+ed25519KeyLen)
	raw[0] = byte(Ed25519)
	return append(raw, rest...)
}

func numbers(ns ...uint64) (out []byte) {
	for _, n := range ns {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"nothing", nil, ErrTooShort},
		{"half a type", []byte{2}, ErrTooShort},
		{"type 0", make([]byte, 1200), ErrSignatureType},
		{"type 5", append([]byte{5, 0}, make([]byte, 1200)...), ErrSignatureType},
		{"type 258", append([]byte{2, 1}, make([]byte, 1200)...), ErrSignatureType},
		{"signature cut", layout()[:40], ErrTooShort},
		{"owner cut", layout()[:97], ErrTooShort},
		{"no presence byte", layout(), ErrTooShort},
		{"target present 2", layout(2), ErrPresence},
		{"target cut", append(layout(1), make([]byte, 31)...), ErrTooShort},
		{"no anchor byte", layout(0), ErrTooShort},
		{"anchor present 255", layout(0, 255), ErrPresence},
		{"anchor cut", append(layout(0, 1), make([]byte, 31)...), ErrTooShort},
		{"no numbers", append(layout(0, 0), make([]byte, 15)...), ErrTooShort},
		{"4097 tag bytes", append(layout(0, 0), append(numbers(1, 4097), make([]byte, 5000)...)...), ErrTagBytes},
		{"2^64-1 tag bytes", append(layout(0, 0), numbers(1, 1<<64-1)...), ErrTagBytes},
		{"tag bytes cut", append(layout(0, 0), append(numbers(1, 9), 2, 0, 0, 0)...), ErrTooShort},
		{"129 tags", append(layout(0, 0), append(numbers(129, 3), 2, 0, 0)...), ErrTagCount},
		{"2^63 tags", append(layout(0, 0), append(numbers(1<<63, 3), 2, 0, 0)...), ErrTagCount},
		{"one tag claimed, none there", append(layout(0, 0), numbers(1, 0)...), ErrTagCount},
		{"none claimed, one there", append(layout(0, 0), append(numbers(0, 4), 2, 0, 0, 0)...), ErrTagCount},
		{"two claimed, one there", append(layout(0, 0), append(numbers(2, 4), 2, 0, 0, 0)...), ErrTagCount},
		{"even RSA modulus", append([]byte{1, 0}, append(bytes.Repeat([]byte{0xfe}, 1024), make([]byte, 18)...)...), ErrKey},
		{"short RSA modulus", append([]byte{1, 0}, append(bytes.Repeat([]byte{0x7f}, 1024), make([]byte, 18)...)...), ErrKey},
		{"compressed Ethereum key", append([]byte{3, 0}, append(bytes.Repeat([]byte{2}, 130), make([]byte, 18)...)...), ErrKey},
		{"typed Ethereum owner", append([]byte{7, 0}, append(bytes.Repeat([]byte{'0'}, 107), make([]byte, 18)...)...), ErrKey},
	} {
		if _, err := Parse(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	for _, good := range [][]byte{
		append(layout(0, 0), numbers(0, 0)...),
		append(layout(0, 0), append(numbers(0, 1), 0)...),
		append(layout(0, 0), append(numbers(1, 4), 2, 0, 0, 0)...),
	} {
		it, err := Parse(good)
		if err != nil {
			t.Errorf("%x: %v", good, err)
		} else if err := it.Verify(); !errors.Is(err, ErrSignature) {
			t.Errorf("zero signature: %v", err)
		}
	}
}

// TestParseMemory holds Parse and ParseBundle to memory that is bounded by what was sent, not by what it says.
func TestParseMemory(t *testing.T) {
	claim := func(n uint64) []byte { return append(numbers(n), make([]byte, 24)...) }
	inputs := [][]byte{
		append(layout(0, 0), numbers(1<<32, 1<<32)...),
		append(layout(0, 0), append(numbers(128, 8), 0x80, 2, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0)...),
		append(layout(0, 0), append(numbers(128, 11), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0)...),
		append(layout(0, 0), append(numbers(128, 11), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0)...),
		claim(1 << 32), claim(1<<64 - 1), append(claim(2), make([]byte, 74)...),
		append(claim(1), append(claim(1<<40), make([]byte, 32)...)...),
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, raw := range inputs {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%x parses", raw)
		}
		if _, err := ParseBundle(raw); !errors.Is(err, ErrBundle) {
			t.Errorf("%x is a bundle: %v", raw, err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}

type brokenSigner struct {
	Signer
	owner, signature []byte
	err              error
}

func (s brokenSigner) Owner() []byte               { return s.owner }
func (s brokenSigner) Sign([]byte) ([]byte, error) { return s.signature, s.err }

func TestSignRefuses(t *testing.T) {
	s := testSigners(t)[1]
	full := errors.New("key store is shut")
	for _, c := range []struct {
		name   string
		signer Signer
		fields Fields
		want   error
	}{
		{"target of 31 bytes", s, Fields{Target: make([]byte, 31)}, ErrTarget},
		{"anchor of 33 bytes", s, Fields{Anchor: make([]byte, 33)}, ErrAnchor},
		{"129 tags", s, Fields{Tags: make([]Tag, 129)}, ErrTagCount},
		{"tag of 4096 bytes", s, Fields{Tags: []Tag{{"n", string(make([]byte, 4096))}}}, ErrTagBytes},
		{"key of 3 bytes", NewEd25519Signer(make([]byte, 3)), Fields{}, ErrKey},
		{"another signature", brokenSigner{s, s.Owner(), make([]byte, 64), nil}, Fields{}, ErrSignature},
		{"short signature", brokenSigner{s, s.Owner(), make([]byte, 63), nil}, Fields{}, ErrSignature},
		{"short owner", brokenSigner{s, make([]byte, 31), make([]byte, 64), nil}, Fields{}, ErrKey},
		{"failing signer", brokenSigner{s, s.Owner(), nil, full}, Fields{}, full},
	} {
		if it, err := Sign(c.signer, c.fields); !errors.Is(err, c.want) || it != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
