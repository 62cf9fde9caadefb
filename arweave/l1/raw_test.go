package l1

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func rawOf(t testing.TB, tx *Tx) []byte {
	t.Helper()
	raw, err := tx.Raw()
	check(t, err)
	return raw
}

func TestRaw(t *testing.T) {
	f := load(t)
	for _, doc := range [][]byte{f.Transaction, f.Transfer} {
		tx := parsed(t, doc)
		raw := rawOf(t, tx)
		again, err := ParseRaw(bytes.Clone(raw))
		check(t, err)
		if toJSON(t, again) != toJSON(t, tx) || !bytes.Equal(rawOf(t, again), raw) {
			t.Errorf("%s became %s", toJSON(t, tx), toJSON(t, again))
		}
		if !IsRaw(raw) {
			t.Error("the raw form is not known as one")
		}
		if it, err := ans104.Parse(raw); !errors.Is(err, ans104.ErrSignatureType) {
			t.Errorf("it is an item as well: %v, %v", it, err)
		}
		for i := range raw {
			bad := bytes.Clone(raw)
			if bad[i] ^= 1; i < len(domain)+2*keySize && i%64 != 0 {
				continue // signatures are slow
			}
			if _, err := ParseRaw(bad); !errors.Is(err, ErrTx) {
				t.Fatalf("byte %d may be another: %v", i, err)
			}
		}
		for _, n := range []int{0, 5, len(domain), len(domain) + keySize, len(raw) - len(tx.Data) - 1, len(raw) - 1} {
			if _, err := ParseRaw(raw[:n]); !errors.Is(err, ErrTx) {
				t.Errorf("the first %d bytes: %v", n, err)
			}
		}
		if _, err := ParseRaw(append(bytes.Clone(raw), 0)); !errors.Is(err, ErrTx) {
			t.Errorf("a byte more: %v", err)
		}
	}
}

func TestRawRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Tx){
		"without data":  func(tx *Tx) { tx.Data = nil },
		"without key":   func(tx *Tx) { tx.Owner = nil },
		"a long anchor": func(tx *Tx) { tx.Anchor = make([]byte, 300) },
		"many tags":     func(tx *Tx) { tx.Tags = make([]ans104.Tag, MaxTags+1) },
		"long tags":     func(tx *Tx) { tx.Tags = []ans104.Tag{{Name: strings.Repeat("x", MaxTagBytes+1)}} },
		"a huge amount": func(tx *Tx) { tx.Quantity = new(big.Int).Lsh(big.NewInt(1), 2000) },
	} {
		tx := parsed(t, load(t).Transaction)
		edit(tx)
		raw, err := tx.Raw()
		if err == nil {
			_, err = ParseRaw(raw)
		}
		if !errors.Is(err, ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWirePage: docs/wire.md prints the raw form and the ID of the transaction that arweave-js made, in lines of any length.
func TestWirePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/wire.md")
	check(t, err)
	tx := parsed(t, load(t).Transaction)
	text := strings.Join(strings.Fields(string(page)), "")
	for _, want := range [][]byte{rawOf(t, tx), tx.ID[:]} {
		if !strings.Contains(text, hex.EncodeToString(want)) {
			t.Errorf("docs/wire.md does not print %x", want)
		}
	}
}

func FuzzParseRaw(f *testing.F) {
	made := load(f)
	for _, doc := range [][]byte{made.Transaction, made.Transfer} {
		f.Add(rawOf(f, parsed(f, doc)))
	}
	f.Add([]byte(domain))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		_, err := ParseRaw(raw)
		if err != nil && (!errors.Is(err, ErrTx) || len(err.Error()) > 300) {
			t.Fatalf("error %v", err)
		}
		// A fuzzer cannot sign: what is behind the signature is looked at without it.
		tx, err := readRaw(raw)
		if err != nil {
			return
		}
		if again := rawOf(t, tx); !bytes.Equal(again, raw) {
			t.Fatalf("%x is written as %x", raw, again)
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("input changed")
		}
		if _, err := ans104.Parse(raw); err == nil {
			t.Fatal("it is an item as well")
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	made := load(f)
	f.Add([]byte(made.Transaction))
	f.Add([]byte(made.Transfer))
	f.Add([]byte(`{"format":2,"tags":[{"name":"","value":""}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := ParseJSON(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(tx)
		check(t, err)
		same, err := ParseJSON(again)
		if err != nil || same.ID != tx.ID || same.signedMessage() != tx.signedMessage() {
			t.Fatalf("does not survive its own JSON: %v", err)
		}
		if tx.Verify() == nil && same.Verify() != nil {
			t.Fatal("verifies only once")
		}
		if raw, err := tx.Raw(); err == nil {
			if same, err = readRaw(raw); err != nil || !reflect.DeepEqual(same.Tags, tx.Tags) || same.signedMessage() != tx.signedMessage() {
				t.Fatalf("does not survive its raw form: %v", err)
			}
		}
	})
}
