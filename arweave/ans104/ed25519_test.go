package ans104

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
)

// smallOrder holds the points of order 1, 2, 4 and 8, and other encodings of them that some libraries take:
// a y of p or more, or a sign on an x of zero.
func smallOrder(t testing.TB) (points [][]byte) {
	for _, s := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		points = append(points, unhex(t, s))
	}
	return points
}

// edKey is an Ed25519 key whose public point has been moved by a point of small order.
type edKey struct {
	secret scalar.Scalar
	public []byte
}

func decompress(t testing.TB, b []byte) *curve.EdwardsPoint {
	t.Helper()
	var c curve.CompressedEdwardsY
	if _, err := c.SetBytes(b); err != nil {
		t.Fatal(err)
	}
	p, err := curve.NewEdwardsPoint().SetCompressedY(&c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func compress(p *curve.EdwardsPoint) []byte {
	return curve.NewCompressedEdwardsY().SetEdwardsPoint(p)[:]
}

func scalarOf(t testing.TB, parts ...[]byte) *scalar.Scalar {
	t.Helper()
	sum := sha512.Sum512(bytes.Join(parts, nil))
	s, err := scalar.New().SetBytesModOrderWide(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEdKey(t testing.TB, torsion []byte) *edKey {
	k := &edKey{secret: *scalarOf(t, []byte("secret"))}
	p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &k.secret)
	k.public = compress(p.Add(p, decompress(t, torsion)))
	return k
}

// sign answers for a nonce point moved by a point of small order, given in any encoding; with a nil nonce the
// point is of small order altogether.
func (k *edKey) sign(t testing.TB, nonce, message []byte, torsion []byte) []byte {
	var r scalar.Scalar
	encoded := torsion
	if nonce != nil {
		r = *scalarOf(t, nonce)
		p := curve.NewEdwardsPoint().MulBasepoint(curve.ED25519_BASEPOINT_TABLE, &r)
		encoded = compress(p.Add(p, decompress(t, torsion)))
	}
	s := scalar.New().Mul(scalarOf(t, encoded, k.public, message), &k.secret)
	s.Add(s, &r)
	out := make([]byte, 64)
	copy(out, encoded)
	if err := s.ToBytes(out[32:]); err != nil {
		t.Fatal(err)
	}
	return out
}

func rawItem(t testing.TB, typ SignatureType, owner, signature []byte, data string) *Item {
	t.Helper()
	raw := binary.LittleEndian.AppendUint16(nil, uint16(typ))
	raw = append(append(raw, signature...), owner...)
	raw = append(raw, make([]byte, 18)...)
	it, err := Parse(append(raw, data...))
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// signEdge builds an item whose signature is made by sign over the bytes that its type has signed.
func signEdge(t testing.TB, typ SignatureType, owner []byte, data string, sign func(message []byte) []byte) *Item {
	hash := rawItem(t, typ, owner, make([]byte, 64), data).DeepHash()
	message := hash[:]
	if typ == Solana {
		message = solanaMessage(message)
	}
	return rawItem(t, typ, owner, sign(message), data)
}

// addOrder adds the group's order to S as often as it fits.
func addOrder(sig []byte) []byte {
	order := unhexOrder()
	out := bytes.Clone(sig)
	carry := 0
	for i := range order {
		carry += int(out[32+i]) + int(order[i])
		out[32+i] = byte(carry)
		carry >>= 8
	}
	return out
}

func unhexOrder() []byte {
	return []byte("\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10")
}

// edgeItems returns items whose signatures lie on every edge where implementations are known to differ.
func edgeItems(t testing.TB) (items []*Item) {
	small := smallOrder(t)
	identity := small[0]
	honest := newEdKey(t, identity)
	for _, typ := range []SignatureType{Ed25519, Solana} {
		add := func(owner []byte, data string, sign func([]byte) []byte) {
			it := signEdge(t, typ, owner, data, sign)
			items = append(items, it, rawItem(t, typ, owner, addOrder(it.Signature()), data))
		}
		for _, r := range small {
			// A nonce point of small order under a sound key.
			add(honest.public, "r", func(m []byte) []byte { return honest.sign(t, nil, m, r) })
			for _, a := range small {
				// A key of small order: S = 0 satisfies the cofactored equation for any message.
				for _, data := range []string{"a", "b"} {
					add(a, data, func([]byte) []byte { return append(bytes.Clone(r), make([]byte, 32)...) })
				}
			}
		}
		for _, torsion := range small[:8] {
			mixed := newEdKey(t, torsion)
			for _, other := range small[:8] {
				for _, data := range []string{"a", "b", "c"} {
					add(mixed.public, data, func(m []byte) []byte { return mixed.sign(t, []byte(data), m, other) })
				}
			}
			add(mixed.public, "r", func(m []byte) []byte { return mixed.sign(t, nil, m, identity) })
		}
		off := append([]byte{2}, make([]byte, 31)...) // on no point of the curve
		add(off, "key off the curve", func(m []byte) []byte { return honest.sign(t, []byte("n"), m, identity) })
		add(honest.public, "nonce off the curve", func(m []byte) []byte { return honest.sign(t, nil, m, off) })
	}
	return items
}

func sameVerdict(a, b error) bool {
	return (a == nil) == (b == nil) && errors.Is(a, ErrSignature) == errors.Is(b, ErrSignature) &&
		errors.Is(a, ErrMalleable) == errors.Is(b, ErrMalleable)
}

func TestEd25519SingleAndBatchAgree(t *testing.T) {
	t.Parallel()
	items := edgeItems(t)
	good := mustSign(t, testSigners(t)[1], fullFields())
	var valid []*Item
	verdicts := map[string]int{}
	together := VerifyBatch(items)
	var ring keyRing
	for i, it := range items {
		single := it.Verify()
		alone := VerifyBatch([]*Item{it})[0]
		again, err := Parse(it.Raw())
		if err != nil {
			t.Fatal(err)
		}
		remembered := verifyBatch([]*Item{again}, &ring)[0]
		pair := []error{nil, single, nil}
		if i%5 < 2 { // a sample: this is the slowest of the three ways
			pair = VerifyBatch([]*Item{good, it, good})
		}
		for _, err := range []error{together[i], alone, remembered, pair[1]} {
			if !sameVerdict(single, err) {
				t.Errorf("item %d (owner %x, signature %x): singly %v, in a batch %v", i, it.Owner(), it.Signature(), single, err)
			}
		}
		if pair[0] != nil || pair[2] != nil {
			t.Errorf("item %d spoils a good one: %v, %v", i, pair[0], pair[2])
		}
		switch {
		case single == nil:
			verdicts["valid"]++
			valid = append(valid, it)
		case errors.Is(single, ErrMalleable):
			verdicts["malleable"]++
		default:
			verdicts["invalid"]++
		}
	}
	t.Logf("%d items: %v", len(items), verdicts)
	// Every second one has S above the order; of the others both kinds must occur, or nothing was shown.
	if verdicts["malleable"] != len(items)/2 || verdicts["valid"] < 300 || verdicts["invalid"] < 500 {
		t.Errorf("of %d items: %v", len(items), verdicts)
	}
	for i, err := range VerifyBatch(valid) {
		if err != nil {
			t.Errorf("valid item %d in a batch of such: %v", i, err)
		}
	}
}

func TestEd25519Malleable(t *testing.T) {
	for _, i := range []int{1, 3} {
		it := mustSign(t, testSigners(t)[i], fullFields())
		other := withSignature(t, it, addOrder(it.Signature()))
		if other.ID() == it.ID() {
			t.Fatal("same ID")
		}
		wantVerify(t, it.SignatureType().String(), other, ErrMalleable)
	}
}

func TestBelowOrder(t *testing.T) {
	order := unhexOrder()
	below := bytes.Clone(order)
	below[0]--
	above := bytes.Clone(order)
	above[0]++
	top := make([]byte, 32)
	top[31] = 0x80
	for _, c := range []struct {
		s    []byte
		want bool
	}{{make([]byte, 32), true}, {below, true}, {order, false}, {above, false}, {top, false}, {bytes.Repeat([]byte{0xff}, 32), false}} {
		if belowOrder(c.s) != c.want {
			t.Errorf("%x: %v", c.s, !c.want)
		}
	}
}

// TestVerifyBatchMixed puts all types, good and bad, into batches longer than one.
func TestVerifyBatchMixed(t *testing.T) {
	var items []*Item
	var bad []bool
	for _, s := range testSigners(t) {
		it := mustSign(t, s, fullFields())
		forged := bytes.Clone(it.Signature())
		forged[10] ^= 1
		n := 3
		if s.Type() == Ed25519 || s.Type() == Solana {
			n = batchLen
		}
		for i := range n {
			if i%7 == 2 {
				items, bad = append(items, withSignature(t, it, forged)), append(bad, true)
			} else {
				items, bad = append(items, it), append(bad, false)
			}
		}
	}
	for i, err := range VerifyBatch(items) {
		if (err != nil) != bad[i] || (bad[i] && !errors.Is(err, ErrSignature)) {
			t.Errorf("item %d, a %s: %v", i, items[i].SignatureType(), err)
		}
	}
	if got := VerifyBatch(nil); len(got) != 0 {
		t.Errorf("%v for nothing", got)
	}
}
