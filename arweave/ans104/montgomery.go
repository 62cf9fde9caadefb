package ans104

import (
	"math/big"
	"math/bits"
)

const (
	// modulusWords is how many words of this machine a modulus has, digitWords how many of them are taken off a
	// product at a time. A digit has to be a power of two and to divide the modulus: with fewer words in it the steps
	// themselves cost most, with more the products of a step do.
	modulusWords = 8 * rsaLen / bits.UintSize
	digitWords   = 8
	// productRoom is room for a product and what carries out of its additions.
	productRoom = 2*modulusWords + 8
)

// modulus raises numbers to rsaExponent modulo an odd number of 4096 bits, by Montgomery's method on top of math/big:
// adding multiples of the modulus until a product ends in zeros, which are cut off, takes less than half of the division
// that big.Int.Exp does after each squaring. What it works on is public, so it takes the time that the numbers ask for.
type modulus struct {
	n, inverse big.Int // inverse is -1/n modulo a digit's range
}

func newModulus(owner []byte) *modulus {
	m := new(modulus)
	m.n.SetBytes(owner)
	// Newton's step doubles how many of the lowest bits are right; n itself is right in three.
	n := uint(m.n.Bits()[0])
	y := -n
	for right := 3; right < bits.UintSize; right *= 2 {
		y *= 2 + n*y
	}
	m.inverse.SetUint64(uint64(y))
	var t, low big.Int
	two := big.NewInt(2)
	for words := 2; words <= digitWords; words *= 2 {
		lowest(&low, &m.n, words)
		lowest(&t, t.Mul(&low, &m.inverse), words)
		m.inverse.Mul(&m.inverse, t.Add(&t, two))
		lowest(&m.inverse, &m.inverse, words)
	}
	return m
}

// lowest makes z the number that the lowest words of x are. They share memory.
func lowest(z, x *big.Int, words int) {
	w := x.Bits()
	z.SetBits(w[:min(len(w), words)])
}

// raised is s to the power of rsaExponent modulo n, for any s of no more words than n has.
func (m *modulus) raised(s *big.Int) *big.Int {
	var rooms [2][productRoom]big.Word
	r := reduction{modulus: m}
	x, y := new(big.Int), new(big.Int)
	// In y stands a power of s times 2^4096, which is what each reduction divides by.
	r.sum.QuoRem(x.Lsh(s, 8*rsaLen), &m.n, y)
	for i := range 16 {
		x.SetBits(rooms[i%2][:0])
		x.Mul(y, y)
		r.reduce(x)
		x, y = y, x
	}
	x.SetBits(rooms[0][:0])
	x.Mul(y, s)
	r.reduce(x)
	return x
}

// reduction has the numbers that its steps need, so that they are allocated once.
type reduction struct {
	*modulus
	digit, factor, sum big.Int
}

// reduce divides x, a product of a number below n and one below 2^4096, by 2^4096 modulo n. It cuts x's memory short.
func (r *reduction) reduce(x *big.Int) {
	for range modulusWords / digitWords {
		lowest(&r.digit, x, digitWords)
		lowest(&r.factor, r.factor.Mul(&r.digit, &r.inverse), digitWords)
		x.Add(x, r.sum.Mul(&r.factor, &r.n))
		w := x.Bits()
		x.SetBits(w[min(len(w), digitWords):])
	}
	if x.Cmp(&r.n) >= 0 { // it is below twice n
		x.Sub(x, &r.n)
	}
}
