package arweave

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func walletOf(t testing.TB) *Wallet {
	t.Helper()
	raw, err := os.ReadFile("testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWallet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func signedTx(t testing.TB, data []byte) *Tx {
	t.Helper()
	draft := TxDraft{Tags: []ans104.Tag{{Name: "a", Value: "b"}}, Data: data}
	tx, err := walletOf(t).SignTx(draft, make([]byte, 48), big.NewInt(1000))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func TestTxSurvivesItsJSON(t *testing.T) {
	tx := signedTx(t, []byte("data"))
	raw, err := json.Marshal(tx)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseTx(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Verify(); err != nil {
		t.Fatal(err)
	}
	if again.ID != tx.ID || !bytes.Equal(again.Data, tx.Data) || again.OwnerAddress() != walletOf(t).Address() {
		t.Fatal("changed on the way")
	}
}

func TestEditedTxDoesNotVerify(t *testing.T) {
	for name, edit := range map[string]func(*Tx){
		"id":        func(tx *Tx) { tx.ID[0] ^= 1 },
		"anchor":    func(tx *Tx) { tx.Anchor[0] ^= 1 },
		"owner":     func(tx *Tx) { tx.Owner[100] ^= 1 },
		"tag":       func(tx *Tx) { tx.Tags[0].Value = "c" },
		"tag split": func(tx *Tx) { tx.Tags[0] = ans104.Tag{Name: "ab"} },
		"target":    func(tx *Tx) { tx.Target = make([]byte, 32) },
		"quantity":  func(tx *Tx) { tx.Quantity = big.NewInt(1) },
		"data":      func(tx *Tx) { tx.Data = []byte("fake") },
		"size":      func(tx *Tx) { tx.DataSize++ },
		"root":      func(tx *Tx) { tx.DataRoot[0] ^= 1 },
		"reward":    func(tx *Tx) { tx.Reward = big.NewInt(999) },
		"signature": func(tx *Tx) { tx.Signature[5] ^= 1 },
		"even key":  func(tx *Tx) { tx.Owner[511] &^= 1 },
		"short key": func(tx *Tx) { tx.Owner = append([]byte{0}, tx.Owner[1:]...) },
	} {
		tx := signedTx(t, []byte("data"))
		edit(tx)
		if err := tx.Verify(); !errors.Is(err, ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseTxRefuses(t *testing.T) {
	raw, err := json.Marshal(signedTx(t, []byte("data")))
	if err != nil {
		t.Fatal(err)
	}
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
		"tags": func(m map[string]any) {
			m["tags"] = []any{map[string]any{"name": strings.Repeat("A", 4000), "value": ""}}
		},
		"type": func(m map[string]any) { m["tags"] = 7 },
	} {
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		edit(doc)
		bad, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseTx(bad); !errors.Is(err, ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChunksProveTheirPlace(t *testing.T) {
	for _, size := range []int{1, 1000, MaxChunk, MaxChunk + 1, 2 * MaxChunk, 3*MaxChunk + 7} {
		data := bytes.Repeat([]byte("0123456789abcdef!"), size/17+1)[:size]
		chunks, err := Chunks(data)
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for i := range chunks {
			raw, err := json.Marshal(&chunks[i])
			if err != nil {
				t.Fatal(err)
			}
			c, err := ParseChunk(raw)
			if err != nil {
				t.Fatal(err)
			}
			start, err := c.Verify()
			if err != nil || start != uint64(len(joined)) {
				t.Fatalf("size %d chunk %d: starts at %d, %v", size, i, start, err)
			}
			joined = append(joined, c.Data...)
			for name, edit := range map[string]func(*Chunk){
				"data":   func(c *Chunk) { c.Data = append([]byte{c.Data[0] ^ 1}, c.Data[1:]...) },
				"longer": func(c *Chunk) { c.Data = append(bytes.Clone(c.Data), 0) },
				"size":   func(c *Chunk) { c.Size = c.Offset }, // a larger one is not refuted by a chunk that is not the last
				"offset": func(c *Chunk) { c.Offset += MaxChunk },
				"path":   func(c *Chunk) { c.Path[len(c.Path)-1] ^= 1 },
				"cut":    func(c *Chunk) { c.Path = c.Path[:len(c.Path)-1] },
				"root":   func(c *Chunk) { c.Root[3] ^= 1 },
				"empty":  func(c *Chunk) { c.Path = nil },
			} {
				bad := &Chunk{Root: bytes.Clone(c.Root), Size: c.Size, Offset: c.Offset, Path: bytes.Clone(c.Path), Data: c.Data}
				edit(bad)
				if _, err := bad.Verify(); !errors.Is(err, ErrTx) {
					t.Errorf("size %d chunk %d, %s: %v", size, i, name, err)
				}
			}
		}
		if !bytes.Equal(joined, data) {
			t.Fatalf("size %d: chunks do not make the data", size)
		}
	}
}

func TestWalletFile(t *testing.T) {
	w := walletOf(t)
	path := filepath.Join(t.TempDir(), "wallet.json")
	if err := w.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := w.Save(path); err == nil {
		t.Fatal("an existing wallet was replaced")
	}
	again, err := LoadWallet(path)
	if err != nil || again.Address() != w.Address() {
		t.Fatalf("%v", err)
	}
	it, err := ans104.Sign(again.Signer(), ans104.Fields{Data: []byte("x")})
	if err != nil || it.OwnerAddress() != w.Address() {
		t.Fatalf("%v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadWallet(path); !errors.Is(err, ErrWallet) || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Fatalf("%v", err)
	}
	if _, err := LoadWallet(path + ".none"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%v", err)
	}
}

func TestParseWalletRefuses(t *testing.T) {
	raw, err := walletOf(t).MarshalJWK()
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(map[string]any){
		"kty":       func(m map[string]any) { m["kty"] = "EC" },
		"exponent":  func(m map[string]any) { m["e"] = "AQ" },
		"small":     func(m map[string]any) { m["n"] = m["p"] },
		"no prime":  func(m map[string]any) { delete(m, "q") },
		"not prime": func(m map[string]any) { m["q"] = m["p"] },
		"private":   func(m map[string]any) { m["d"] = m["p"] },
		"text":      func(m map[string]any) { m["n"] = "!!" },
	} {
		var doc map[string]any
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		edit(doc)
		bad, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseWallet(bad); !errors.Is(err, ErrWallet) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseWallet([]byte("{")); !errors.Is(err, ErrWallet) {
		t.Error(err)
	}
}

func FuzzParseTx(f *testing.F) {
	raw, err := json.Marshal(signedTx(f, []byte("data")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"format":2,"tags":[{"name":"","value":""}]}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, err := ParseTx(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		same, err := ParseTx(again)
		if err != nil || same.ID != tx.ID || same.signedMessage() != tx.signedMessage() {
			t.Fatalf("does not survive its own JSON: %v", err)
		}
		if tx.Verify() == nil && same.Verify() != nil {
			t.Fatal("verifies only once")
		}
	})
}

func FuzzParseChunk(f *testing.F) {
	chunks, err := Chunks(make([]byte, MaxChunk+5))
	if err != nil {
		f.Fatal(err)
	}
	chunks[1].Data = chunks[1].Data[:5]
	raw, err := json.Marshal(&chunks[1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"data_root":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","data_size":"5","data_path":"AA","offset":"4","chunk":"AA"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseChunk(raw)
		if err != nil {
			return
		}
		if start, err := c.Verify(); err == nil && start+uint64(len(c.Data)) > c.Size {
			t.Fatal("a chunk that reaches beyond its data verifies")
		}
	})
}

func FuzzParseGraphAnswer(f *testing.F) {
	f.Add([]byte(`{"data":{"transactions":{"pageInfo":{"hasNextPage":true},"edges":[{"cursor":"c","node":{"id":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",` +
		`"anchor":"","signature":"","recipient":null,"owner":{"address":"a","key":"k"},"tags":[{"name":"n","value":"v"}],"block":{"id":"x","height":3},"bundledIn":{"id":"y"}}}]}}}`))
	f.Add([]byte(`{"errors":[{"message":"slow"}]}`))
	f.Add([]byte(`{"data":{"transactions":{"edges":[{"node":{"tags":null,"block":null}}]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer, err := parseGraphAnswer(raw)
		if err != nil {
			return
		}
		page, err := answer.page(&gateway{})
		if err == nil && len(page.Found) > MaxPage {
			t.Fatal("page out of bounds")
		}
	})
}

// TestHostilePageMemory: a page of empty edges must not cost a multiple of its bytes.
func TestHostilePageMemory(t *testing.T) {
	raw := []byte(`{"data":{"transactions":{"edges":[` + strings.Repeat("{},", 1<<20) + `{}]}}}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parseGraphAnswer(raw)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4*uint64(len(raw)) {
		t.Errorf("%d bytes for an answer of %d", used, len(raw))
	}
	full, err := parseGraphAnswer([]byte(`{"data":{"transactions":{"edges":[` + strings.Repeat("{},", MaxPage-1) + `{"cursor":"c"}]}}}`))
	if err != nil || len(full.Data.Transactions.Edges) != MaxPage || full.Data.Transactions.Edges[MaxPage-1].Cursor != "c" {
		t.Errorf("a full page: %v", err)
	}
}

func FuzzParseBlock(f *testing.F) {
	f.Add([]byte(`{"height":1,"indep_hash":"`+strings.Repeat("A", 64)+`","previous_block":"`+strings.Repeat("A", 64)+`","timestamp":1,"txs":[]}`), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, height uint64) {
		if b, err := parseBlock(raw, height); err == nil && (b.Height != height || b.Timestamp < 0) {
			t.Fatalf("%+v", b)
		}
	})
}

func BenchmarkTxVerify(b *testing.B) {
	tx := signedTx(b, nil)
	for b.Loop() {
		if err := tx.Verify(); err != nil {
			b.Fatal(err)
		}
	}
}
