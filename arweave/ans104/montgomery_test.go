package ans104

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// checkRaised compares with big.Int.Exp.
func checkRaised(t *testing.T, owner, signature []byte) {
	t.Helper()
	n, s := new(big.Int).SetBytes(owner), new(big.Int).SetBytes(signature)
	want := new(big.Int).Exp(s, big.NewInt(rsaExponent), n)
	if got := newModulus(owner).raised(s); got.Cmp(want) != 0 {
		t.Fatalf("%x to the power of %d modulo %x is %x, not %x", s, rsaExponent, n, want, got)
	}
	if s.Cmp(new(big.Int).SetBytes(signature)) != 0 {
		t.Fatal("the signature has changed")
	}
}

// patterned is a number of 4096 bits in words that are likely to make carries run: all bits, none, one, or any.
func patterned(r *rand.Rand) []byte {
	b := make([]byte, rsaLen)
	for at := 0; at < len(b); at += 8 {
		word := b[at : at+8]
		switch r.IntN(5) {
		case 0:
			for i := range word {
				word[i] = 0xff
			}
		case 1:
		case 2:
			word[7] = 1
		case 3:
			word[0] = 0x80
		default:
			for i := range word {
				word[i] = byte(r.Uint32())
			}
		}
	}
	return b
}

// TestRaised: the exponentiation is that of math/big, also where carries run through whole numbers.
func TestRaised(t *testing.T) {
	bound := new(big.Int).Lsh(big.NewInt(1), 8*rsaLen)
	minus := func(k int64) *big.Int { return new(big.Int).Sub(bound, big.NewInt(k)) }
	half := new(big.Int).Rsh(bound, 1)
	bytesOf := func(x *big.Int) []byte { return x.FillBytes(make([]byte, rsaLen)) }
	for _, n := range []*big.Int{minus(1), minus(3), new(big.Int).Add(half, big.NewInt(1)), new(big.Int).Sub(minus(1), half.Rsh(half, 2000))} {
		for _, s := range []*big.Int{
			{}, big.NewInt(1), big.NewInt(2), new(big.Int).Sub(n, big.NewInt(1)), new(big.Int).Rsh(n, 1), n, minus(1),
		} {
			checkRaised(t, bytesOf(n), bytesOf(s))
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := patterned(r)
		n[0] |= 0x80
		n[rsaLen-1] |= 1
		checkRaised(t, n, patterned(r))
	}
}

func FuzzRaised(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		f.Add(patterned(r), patterned(r))
	}
	f.Fuzz(func(t *testing.T, n, s []byte) {
		n = append(n, make([]byte, rsaLen)...)[:rsaLen]
		s = append(s, make([]byte, rsaLen)...)[:rsaLen]
		n[0] |= 0x80
		n[rsaLen-1] |= 1
		checkRaised(t, n, s)
	})
}
