package l1

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// fixtures are what arweave-js made: roots of data by its size, byte i of which is i modulo 251, and transactions.
type fixtures struct {
	Roots       map[string]string `json:"roots"`
	Transaction json.RawMessage   `json:"transaction"`
	Transfer    json.RawMessage   `json:"transfer"` // without tags, data and anchor
}

func load(t testing.TB) (f fixtures) {
	t.Helper()
	raw, err := os.ReadFile("testdata/arweave-js.json")
	check(t, err)
	check(t, json.Unmarshal(raw, &f))
	return f
}

func parsed(t testing.TB, raw []byte) *Tx {
	t.Helper()
	tx, err := ParseJSON(raw)
	check(t, err)
	return tx
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTxSurvivesItsJSON(t *testing.T) {
	f := load(t)
	for _, raw := range [][]byte{f.Transaction, f.Transfer} {
		tx := parsed(t, raw)
		check(t, tx.Verify())
		check(t, tx.Bare().Verify())
		again, err := json.Marshal(tx)
		check(t, err)
		var want, got any
		check(t, json.Unmarshal(raw, &want))
		check(t, json.Unmarshal(again, &got))
		delete(got.(map[string]any), "data_tree")
		if w, g := toJSON(t, want), toJSON(t, got); w != g {
			t.Errorf("%s became %s", w, g)
		}
	}
	tx := parsed(t, f.Transaction)
	if string(tx.Data) != "a note on Arweave itself" || tx.Tags[1] != (ans104.Tag{Name: "Title", Value: "Grüße"}) || tx.Quantity.Int64() != 5 ||
		len(tx.Anchor) != 48 || tx.Target[0] != 3 || tx.OwnerAddress() != "fMDRaUGVCtf32oaqRdIQeb_21LmZ0R4ZSJn609NveIs" {
		t.Errorf("read as %+v of %s", tx, tx.OwnerAddress())
	}
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	check(t, err)
	return string(raw)
}

func TestEditedTxDoesNotVerify(t *testing.T) {
	f := load(t)
	for name, edit := range map[string]func(*Tx){
		"id":         func(tx *Tx) { tx.ID[0] ^= 1 },
		"anchor":     func(tx *Tx) { tx.Anchor[0] ^= 1 },
		"owner":      func(tx *Tx) { tx.Owner[100] ^= 1 },
		"tag":        func(tx *Tx) { tx.Tags[0].Value = "c" },
		"tag split":  func(tx *Tx) { tx.Tags[0] = ans104.Tag{Name: "Content-Typetext/plain"} },
		"target":     func(tx *Tx) { tx.Target = make([]byte, 32) },
		"quantity":   func(tx *Tx) { tx.Quantity = big.NewInt(1) },
		"data":       func(tx *Tx) { tx.Data = bytes.Repeat([]byte("x"), len(tx.Data)) },
		"short data": func(tx *Tx) { tx.Data = tx.Data[1:] },
		"size":       func(tx *Tx) { tx.DataSize++ },
		"root":       func(tx *Tx) { tx.DataRoot[0] ^= 1 },
		"reward":     func(tx *Tx) { tx.Reward = big.NewInt(999) },
		"signature":  func(tx *Tx) { tx.Signature[5] ^= 1 },
		"even key":   func(tx *Tx) { tx.Owner[511] &^= 1 },
		"short key":  func(tx *Tx) { tx.Owner = tx.Owner[1:] },
		"small key":  func(tx *Tx) { tx.Owner = append([]byte{0}, tx.Owner[1:]...) },
		"no key":     func(tx *Tx) { tx.Owner = nil },
	} {
		tx := parsed(t, f.Transaction)
		edit(tx)
		if err := tx.Verify(); !errors.Is(err, ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for name, edit := range map[string]func(map[string]any){
		"format":        func(m map[string]any) { m["format"] = 1 },
		"short owner":   func(m map[string]any) { m["owner"] = "AQAB" },
		"padding":       func(m map[string]any) { m["target"] = "AA==" },
		"line break":    func(m map[string]any) { m["signature"] = m["signature"].(string) + "\n" },
		"stray bits":    func(m map[string]any) { m["data"] = "AB" },
		"negative":      func(m map[string]any) { m["quantity"] = "-1" },
		"leading zero":  func(m map[string]any) { m["reward"] = "01" },
		"huge":          func(m map[string]any) { m["reward"] = strings.Repeat("9", 31) },
		"size overflow": func(m map[string]any) { m["data_size"] = "9999999999999999999" },
		"no root":       func(m map[string]any) { m["data_root"] = "" },
		"tag bytes": func(m map[string]any) {
			m["tags"] = []any{map[string]any{"name": strings.Repeat("A", 4000), "value": ""}}
		},
		"tags": func(m map[string]any) {
			m["tags"] = slicesOf(MaxTags+1, map[string]any{"name": "", "value": ""})
		},
		"type": func(m map[string]any) { m["tags"] = 7 },
	} {
		var doc map[string]any
		check(t, json.Unmarshal(load(t).Transaction, &doc))
		edit(doc)
		_, err := ParseJSON([]byte(toJSON(t, doc)))
		if !errors.Is(err, ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, ErrFormat) != (name == "format") {
			t.Errorf("%s: %v, which says that it is another format", name, err)
		}
	}
	if _, err := ParseJSON(make([]byte, maxJSON+1)); !errors.Is(err, ErrTx) {
		t.Errorf("too much: %v", err)
	}
}

func slicesOf(n int, v any) (out []any) {
	for range n {
		out = append(out, v)
	}
	return out
}

func TestDataRoot(t *testing.T) {
	for text, want := range load(t).Roots {
		size, err := strconv.Atoi(text)
		check(t, err)
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i % 251)
		}
		root, err := Decode64(want)
		check(t, err)
		if !hasRoot(data, root) {
			t.Errorf("the root of %d bytes is not %s", size, want)
		}
		data[size/2] ^= 1
		if hasRoot(data, root) || hasRoot(data[1:], root) || hasRoot(data, nil) {
			t.Errorf("other data than the %d bytes has their root", size)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	tx := parsed(b, load(b).Transfer)
	for b.Loop() {
		check(b, tx.Verify())
	}
}
