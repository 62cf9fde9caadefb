package ao

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
)

// largest is 2^256-1.
const largest = "115792089237316195423570985008687907853269984665640564039457584007913129639935"

func TestParseAmount(t *testing.T) {
	for _, s := range []string{"0", "1", "10", "18446744073709551615", "18446744073709551616", largest} {
		a, err := ParseAmount(s)
		check(t, err)
		if a.String() != s || a.IsZero() != (s == "0") {
			t.Errorf("%q reads as %s, zero %v", s, a, a.IsZero())
		}
	}
	for _, s := range []string{
		"", " ", "-", "+", "-1", "+1", "-0", "00", "01", "1 ", " 1", "1.0", "1e3", "0x1", "1_000", "1,000", "ten", "١", "\x00", "1\n",
		largest[:77] + "6", largest + "0", strings.Repeat("9", 78), strings.Repeat("9", 1<<20),
	} {
		a, err := ParseAmount(s)
		wantErr(t, err, ErrAmount)
		if !a.IsZero() {
			t.Errorf("%.80q leaves %s behind", s, a)
		}
		if err != nil && len(err.Error()) > 600 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}

func TestAmountText(t *testing.T) {
	var v struct{ Quantity Amount }
	check(t, json.Unmarshal([]byte(`{"Quantity":"`+largest+`"}`), &v))
	b, err := json.Marshal(v)
	check(t, err)
	if string(b) != `{"Quantity":"`+largest+`"}` {
		t.Errorf("%s", b)
	}
	for _, bad := range []string{`{"Quantity":1}`, `{"Quantity":"-1"}`, `{"Quantity":""}`} {
		if json.Unmarshal([]byte(bad), &v) == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if (Amount{}).String() != "0" || NewAmount(math.MaxUint64).String() != "18446744073709551615" {
		t.Error("String")
	}
}

// What the amounts do is what integers do, as long as it fits into 256 bits.
func TestAmountArithmetic(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	limit := new(big.Int).Lsh(big.NewInt(1), 256)
	draw := func() *big.Int {
		switch n := new(big.Int); random.IntN(8) {
		case 0:
			return n
		case 1:
			return n.Sub(limit, big.NewInt(1))
		case 2:
			return n.Lsh(big.NewInt(1), uint(64*random.IntN(4)))
		default:
			for range 4 {
				n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(random.Uint64()))
			}
			return n.Rsh(n, uint(random.IntN(256)))
		}
	}
	amount := func(n *big.Int) Amount {
		a, err := ParseAmount(n.String())
		check(t, err)
		return a
	}
	same := func(what string, got Amount, err error, want *big.Int) {
		t.Helper()
		if want.Sign() < 0 || want.Cmp(limit) >= 0 {
			wantErr(t, err, ErrAmount)
			if !got.IsZero() {
				t.Errorf("%s leaves %s behind", what, got)
			}
			return
		}
		if err != nil || got.String() != want.String() {
			t.Errorf("%s is %s (%v), want %s", what, got, err, want)
		}
	}
	for range 5000 {
		x, y, n := draw(), draw(), random.Uint64()>>random.IntN(64)
		a, b := amount(x), amount(y)
		got, err := a.Add(b)
		same("sum", got, err, new(big.Int).Add(x, y))
		got, err = a.Sub(b)
		same("difference", got, err, new(big.Int).Sub(x, y))
		got, err = a.Mul(n)
		same("product", got, err, new(big.Int).Mul(x, new(big.Int).SetUint64(n)))
		if a.Cmp(b) != x.Cmp(y) || (a == b) != (x.Cmp(y) == 0) {
			t.Errorf("%s and %s compare as %d", x, y, a.Cmp(b))
		}
		if a.String() != x.String() || b.String() != y.String() {
			t.Fatal("an operand has changed")
		}
	}
}
