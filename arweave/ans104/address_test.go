package ans104

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTypedEthereumOwner(t *testing.T) {
	const checked = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed" // of EIP-55
	for _, owner := range []string{checked, strings.ToLower(checked), "0x" + strings.ToUpper(checked[2:])} {
		if got, err := Address(TypedEthereum, []byte(owner)); err != nil || got != checked {
			t.Errorf("%s: %s, %v", owner, got, err)
		}
	}
	for _, owner := range []string{"", checked[:41], checked + "0", "0X" + checked[2:], "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xg" + strings.ToLower(checked[3:])} {
		if got, err := Address(TypedEthereum, []byte(owner)); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %s, %v", owner, got, err)
		}
	}
}

func TestAddressRefuses(t *testing.T) {
	if _, err := Address(5, make([]byte, 32)); !errors.Is(err, ErrSignatureType) {
		t.Error(err)
	}
	for _, typ := range []SignatureType{Arweave, Ed25519, Ethereum, Solana, TypedEthereum} {
		_, n := typ.sizes()
		for _, size := range []int{0, n - 1, n + 1} {
			if _, err := Address(typ, bytes.Repeat([]byte{0xff}, size)); !errors.Is(err, ErrKey) {
				t.Errorf("%s with %d bytes: %v", typ, size, err)
			}
		}
	}
}

func TestBase58(t *testing.T) {
	for _, c := range []struct {
		raw  []byte
		want string
	}{
		{nil, ""},
		{make([]byte, 32), strings.Repeat("1", 32)},
		{[]byte("Hello World!"), "2NEpo7TZRRrLZSi2U"},
		{[]byte{0, 0, 0x28, 0x7f, 0xb4, 0xcd}, "11233QC4"},
		{bytes.Repeat([]byte{0xff}, 32), "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG"},
	} {
		if got := base58(c.raw); got != c.want {
			t.Errorf("%x is %s, not %s", c.raw, got, c.want)
		}
	}
}
