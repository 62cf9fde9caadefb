package market

import (
	"math"
	"math/big"
	"testing"
)

func bigOf(w weight) *big.Int {
	b := new(big.Int).SetUint64(w.hi)
	return b.Or(b.Lsh(b, 64), new(big.Int).SetUint64(w.lo))
}

// The ranking number is what integers of any size say, or the largest there is.
func TestWeightAgainstBig(t *testing.T) {
	most := bigOf(weight{math.MaxUint64, math.MaxUint64})
	r := NewRand(6)
	wide := func() uint64 { return r.Uint64() >> r.Below(64) }
	for range 20_000 {
		w, p := weight{wide(), wide()}, wide()
		want := new(big.Int).Mul(bigOf(w), new(big.Int).SetUint64(p))
		if want.Rsh(want, 16).Cmp(most) > 0 {
			want = most
		}
		if got := bigOf(w.times(p)); got.Cmp(want) != 0 {
			t.Fatalf("%v times %d: %s, want %s", w, p, got, want)
		}

		// The whole chain: (price + λ·latency·(1 + ½·in flight)) · penalty, in two-millionths of a percent.
		n, taste := plain(), DefaultTaste(NoCap)
		q := newQuery(&n, &taste, start)
		e := &entry{latency: wide() & math.MaxUint32, flight: uint32(r.Below(1 << 16)), penalty: 65536 + r.Below(1<<32-65536)}
		price, second := wide(), wide()
		whole := new(big.Int).Mul(new(big.Int).SetUint64(price), big.NewInt(200_000_000))
		late := new(big.Int).Mul(new(big.Int).SetUint64(e.latency), big.NewInt(int64(2+e.flight)))
		late.Mul(late, big.NewInt(100))
		whole.Add(whole, late.Mul(late, new(big.Int).SetUint64(second)))
		whole.Mul(whole, new(big.Int).SetUint64(e.penalty))
		if whole.Rsh(whole, 16).Cmp(most) > 0 {
			whole = most
		}
		if got := bigOf(q.weigh(e, price, second)); got.Cmp(whole) != 0 {
			t.Fatalf("price %d, λ %d, %+v: %s, want %s", price, second, e, got, whole)
		}
	}
}
