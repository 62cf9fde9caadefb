package ao

import (
	"errors"
	"fmt"

	"github.com/holiman/uint256"
)

// ErrAmount says that a quantity is not a decimal integer of 256 bits, or that a sum does not fit in one.
var ErrAmount = errors.New("not an amount")

// Amount is a quantity of tokens in their smallest unit: an unsigned 256-bit integer, a decimal string on the wire.
// The zero value is 0.
type Amount struct{ n uint256.Int }

// NewAmount is the amount n.
func NewAmount(n uint64) Amount { return Amount{n: *uint256.NewInt(n)} }

// ParseAmount reads the canonical decimal form: digits only, no leading zero. Errors: ErrAmount.
func ParseAmount(s string) (Amount, error) {
	var a Amount
	if s == "" || len(s) > 78 || (s[0] == '0' && s != "0") || s[0] == '+' {
		return Amount{}, fmt.Errorf("%w: %.80q", ErrAmount, s)
	}
	if err := a.n.SetFromDecimal(s); err != nil || a.String() != s {
		return Amount{}, fmt.Errorf("%w: %.80q", ErrAmount, s)
	}
	return a, nil
}

// String is the decimal form.
func (a Amount) String() string { return a.n.Dec() }

// MarshalText is the decimal form; in JSON an amount is a string.
func (a Amount) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the decimal form.
func (a *Amount) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAmount(string(b))
	return err
}

// Cmp is -1, 0 or 1 as a is less than, equal to or greater than b.
func (a Amount) Cmp(b Amount) int { return a.n.Cmp(&b.n) }

// IsZero says whether a is 0.
func (a Amount) IsZero() bool { return a.n.IsZero() }

// Add is a + b; ErrAmount if it does not fit.
func (a Amount) Add(b Amount) (Amount, error) {
	var out Amount
	if _, over := out.n.AddOverflow(&a.n, &b.n); over {
		return Amount{}, fmt.Errorf("%w: the sum exceeds 256 bits", ErrAmount)
	}
	return out, nil
}

// Sub is a − b; ErrAmount if b is greater.
func (a Amount) Sub(b Amount) (Amount, error) {
	var out Amount
	if _, under := out.n.SubOverflow(&a.n, &b.n); under {
		return Amount{}, fmt.Errorf("%w: the difference is negative", ErrAmount)
	}
	return out, nil
}

// Mul is a × n; ErrAmount if it does not fit.
func (a Amount) Mul(n uint64) (Amount, error) {
	var out Amount
	if _, over := out.n.MulOverflow(&a.n, uint256.NewInt(n)); over {
		return Amount{}, fmt.Errorf("%w: the product exceeds 256 bits", ErrAmount)
	}
	return out, nil
}
