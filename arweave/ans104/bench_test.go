package ans104

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// benchFields are those of a usual message: 1 KiB, and the tags that ao has on it.
func benchFields() Fields {
	f := fullFields()
	f.Tags = []Tag{{"Data-Protocol", "ao"}, {"Variant", "ao.TN.1"}, {"Type", "Message"}, {"SDK", "aoconnect"}, {"Action", "Eval"}}
	f.Data = make([]byte, 1024)
	return f
}

func BenchmarkParse(b *testing.B) {
	raw := mustSign(b, testSigners(b)[1], benchFields()).Raw()
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, s := range testSigners(b) {
		b.Run(s.Type().String(), func(b *testing.B) {
			for b.Loop() {
				if _, err := Sign(s, benchFields()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, s := range testSigners(b) {
		it := mustSign(b, s, benchFields())
		b.Run(s.Type().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				it.verified.Store(false)
				if err := it.Verify(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPrimitive is what BenchmarkVerify cannot be faster than.
func BenchmarkPrimitive(b *testing.B) {
	signers := testSigners(b)
	b.Run("rsa-exp", func(b *testing.B) {
		it := mustSign(b, signers[0], benchFields())
		n, s := new(big.Int).SetBytes(it.Owner()), new(big.Int).SetBytes(it.Signature())
		e := big.NewInt(rsaExponent)
		for b.Loop() {
			new(big.Int).Exp(s, e, n)
		}
	})
	b.Run("rsa-montgomery", func(b *testing.B) {
		it := mustSign(b, signers[0], benchFields())
		for b.Loop() {
			newModulus(it.Owner()).raised(new(big.Int).SetBytes(it.Signature()))
		}
	})
	b.Run("ed25519-voi", func(b *testing.B) {
		it := mustSign(b, signers[1], benchFields())
		hash := it.DeepHash()
		for b.Loop() {
			if !voi.VerifyWithOptions(it.Owner(), hash[:], it.Signature(), ed25519Options()) {
				b.Fatal("invalid")
			}
		}
	})
	b.Run("secp256k1-recover", func(b *testing.B) {
		it := mustSign(b, signers[2], benchFields())
		hash := it.DeepHash()
		digest := personalDigest(hash[:])
		compact := append([]byte{it.Signature()[64]}, it.Signature()[:64]...)
		for b.Loop() {
			if _, _, err := ecdsa.RecoverCompact(compact, digest[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerifyBatch(b *testing.B) {
	it := mustSign(b, testSigners(b)[1], benchFields())
	for _, n := range []int{1, 8, 64, 128, 512} {
		items := make([]*Item, n)
		for i := range items {
			var err error
			if items[i], err = Parse(it.Raw()); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(big.NewInt(int64(n)).String(), func(b *testing.B) {
			for b.Loop() {
				for _, it := range items {
					it.verified.Store(false)
				}
				if err := VerifyBatch(items)[0]; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/item")
		})
	}
}

func BenchmarkDeepHash(b *testing.B) {
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		f := benchFields()
		f.Data = make([]byte, size)
		it := mustSign(b, testSigners(b)[1], f)
		name := big.NewInt(int64(size)).String()
		b.Run("item/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(it.Raw())))
			for b.Loop() {
				it.DeepHash()
			}
		})
		b.Run("sha384/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(it.Raw())))
			for b.Loop() {
				sha512.Sum384(it.Raw())
			}
		})
		b.Run("reader/"+name, func(b *testing.B) {
			b.SetBytes(int64(len(it.Raw())))
			for b.Loop() {
				if _, err := DeepHashData([][]byte{it.Owner(), it.RawTags()}, bytes.NewReader(it.Data()), int64(size)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBundle(b *testing.B) {
	it := mustSign(b, testSigners(b)[1], benchFields())
	items := make([]*Item, 1000)
	for i := range items {
		items[i] = it
	}
	raw := BuildBundle(items)
	b.Run("parse", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if _, err := ParseBundle(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("expand", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			if err := Expand(raw, func(int, *Item) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sha256", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		for b.Loop() {
			sha256.Sum256(raw)
		}
	})
}
