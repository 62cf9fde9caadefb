package ans104

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// slowDeepHash is the definition, without shortcuts.
func slowDeepHash(chunks ...[]byte) []byte {
	sum := func(parts ...[]byte) []byte {
		s := sha512.Sum384(bytes.Join(parts, nil))
		return s[:]
	}
	acc := sum([]byte("list" + strconv.Itoa(len(chunks))))
	for _, c := range chunks {
		blob := sum(sum([]byte("blob"+strconv.Itoa(len(c)))), sum(c))
		acc = sum(acc, blob)
	}
	return acc
}

func TestDeepHash(t *testing.T) {
	lists := [][][]byte{{}, {nil}, {[]byte("a")}, {[]byte("a"), nil, make([]byte, 1000)}, make([][]byte, 12), {make([]byte, 32), make([]byte, 512), make([]byte, 31)}}
	for _, l := range lists {
		if got := DeepHash(l...); !bytes.Equal(got[:], slowDeepHash(l...)) {
			t.Errorf("deep hash of %x is %x", l, got)
		}
	}
	rest := [][]byte{[]byte("owner"), nil, make([]byte, 32), []byte("tags"), []byte("data")}
	for _, typ := range []SignatureType{Arweave, Ed25519, Ethereum, Solana, TypedEthereum} {
		full := append([][]byte{[]byte("dataitem"), []byte("1"), []byte(strconv.Itoa(int(typ)))}, rest...)
		if got := itemDeepHash(typ, rest...); !bytes.Equal(got[:], slowDeepHash(full...)) {
			t.Errorf("deep hash of a %s item starts from a wrong prefix", typ)
		}
	}
}

func TestDeepHashData(t *testing.T) {
	prefix := [][]byte{[]byte("dataitem"), []byte("1"), nil}
	data := strings.Repeat("0123456789", 10000)
	r := strings.NewReader(data + "more")
	got, err := DeepHashData(prefix, r, int64(len(data)))
	if err != nil || got != DeepHash(append(prefix, []byte(data))...) {
		t.Errorf("%x, %v", got, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "more" {
		t.Errorf("%q is left", rest)
	}
	if _, err := DeepHashData(prefix, strings.NewReader(data), int64(len(data)+1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short data: %v", err)
	}
	if _, err := DeepHashData(prefix, strings.NewReader(data), -1); err == nil {
		t.Error("negative length is hashed")
	}
}
