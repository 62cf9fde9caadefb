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
	"github.com/aopeer/aopeer/arweave/l1"
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

// TestSignTx: what goar cuts and signs verifies, also where it gives the odd byte of the last two chunks to the second.
func TestSignTx(t *testing.T) {
	for _, size := range []int{0, 4, l1.MaxChunk + 6, l1.MaxChunk + 7, 2*l1.MaxChunk + 7} {
		draft := TxDraft{Tags: []ans104.Tag{{Name: "a", Value: "b"}}, Data: bytes.Repeat([]byte("7"), size)}
		tx, err := walletOf(t).SignTx(draft, make([]byte, 48), big.NewInt(1000))
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if err := tx.Verify(); err != nil || tx.OwnerAddress() != walletOf(t).Address() || tx.DataSize != uint64(size) {
			t.Errorf("%d bytes: signed by %s: %v", size, tx.OwnerAddress(), err)
		}
	}
	for name, draft := range map[string]TxDraft{
		"target":   {Target: "x"},
		"quantity": {Quantity: "-1"},
		"tags":     {Tags: []ans104.Tag{{Name: strings.Repeat("A", l1.MaxTagBytes+1)}}},
	} {
		if _, err := walletOf(t).SignTx(draft, nil, big.NewInt(1)); !errors.Is(err, l1.ErrTx) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestChunksProveTheirPlace(t *testing.T) {
	for _, size := range []int{1, 1000, l1.MaxChunk, l1.MaxChunk + 1, 2 * l1.MaxChunk, 3*l1.MaxChunk + 7} {
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
			c, err := l1.ParseChunk(raw)
			if err != nil {
				t.Fatal(err)
			}
			start, err := c.Verify()
			if err != nil || start != uint64(len(joined)) {
				t.Fatalf("size %d chunk %d: starts at %d, %v", size, i, start, err)
			}
			joined = append(joined, c.Data...)
			for name, edit := range map[string]func(*l1.Chunk){
				"data":   func(c *l1.Chunk) { c.Data = append([]byte{c.Data[0] ^ 1}, c.Data[1:]...) },
				"longer": func(c *l1.Chunk) { c.Data = append(bytes.Clone(c.Data), 0) },
				"size":   func(c *l1.Chunk) { c.Size = c.Offset }, // a larger one is not refuted by a chunk that is not the last
				"offset": func(c *l1.Chunk) { c.Offset += l1.MaxChunk },
				"path":   func(c *l1.Chunk) { c.Path[len(c.Path)-1] ^= 1 },
				"cut":    func(c *l1.Chunk) { c.Path = c.Path[:len(c.Path)-1] },
				"root":   func(c *l1.Chunk) { c.Root[3] ^= 1 },
				"empty":  func(c *l1.Chunk) { c.Path = nil },
			} {
				bad := &l1.Chunk{Root: bytes.Clone(c.Root), Size: c.Size, Offset: c.Offset, Path: bytes.Clone(c.Path), Data: c.Data}
				edit(bad)
				if _, err := bad.Verify(); !errors.Is(err, l1.ErrTx) {
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

func FuzzParseChunk(f *testing.F) {
	chunks, err := Chunks(make([]byte, l1.MaxChunk+5))
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
		c, err := l1.ParseChunk(raw)
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
