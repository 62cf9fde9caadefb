package devnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

func wallet(t testing.TB) *arweave.Wallet {
	t.Helper()
	raw, err := os.ReadFile("../testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	w, err := arweave.ParseWallet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func signer(n int) ans104.Signer {
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n + 1)}, ed25519.SeedSize)))
}

func item(t testing.TB, n int, data string, tags ...ans104.Tag) *ans104.Item {
	t.Helper()
	it, err := ans104.Sign(signer(0), ans104.Fields{Anchor: fmt.Appendf(nil, "%032d", n), Tags: tags, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return it
}

func tag(name, value string) ans104.Tag { return ans104.Tag{Name: name, Value: value} }

func open(t testing.TB, s store.Store) *Devnet {
	t.Helper()
	d, err := New(Config{Store: s, Wallet: wallet(t), Clock: func() time.Time { return time.Unix(1_700_000_000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fresh(t testing.TB) *Devnet {
	t.Helper()
	s := store.NewMemory()
	t.Cleanup(func() { s.Close() })
	return open(t, s)
}

func put(t testing.TB, d *Devnet, items ...*ans104.Item) {
	t.Helper()
	if err := d.Put(context.Background(), items...); err != nil {
		t.Fatal(err)
	}
}

func mine(t testing.TB, d *Devnet, n int) {
	t.Helper()
	if err := d.Mine(n); err != nil {
		t.Fatal(err)
	}
}

// call asks the gateway without a socket.
func call(d *Devnet, method, path string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, body)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w
}

func TestNestedBundlesAreFound(t *testing.T) {
	d := fresh(t)
	ctx := context.Background()
	inner := []*ans104.Item{item(t, 1, "one", tag("Depth", "2")), item(t, 2, "two", tag("Depth", "2"))}
	middle := item(t, 3, string(ans104.BuildBundle(inner)), append(arweave.BundleTags(), tag("Depth", "1"))...)
	beside := item(t, 4, "beside", tag("Depth", "1"))
	forged := bytes.Clone(item(t, 5, "forged").Raw())
	forged[len(forged)-1] ^= 1
	bad, err := ans104.Parse(forged)
	if err != nil {
		t.Fatal(err)
	}
	id, err := d.PostTx(ctx, arweave.TxDraft{
		Tags: arweave.BundleTags(), Data: ans104.BuildBundle([]*ans104.Item{bad, middle, beside}),
	})
	if err != nil {
		t.Fatal(err)
	}
	mine(t, d, 1)
	for _, it := range append(inner, middle, beside) {
		got, err := d.Get(ctx, it.ID())
		if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
			t.Fatalf("%v", err)
		}
		if w := call(d, "GET", "/raw/"+it.ID().String(), nil); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), it.Data()) {
			t.Fatalf("raw: %d", w.Code)
		}
	}
	if _, err := d.Get(ctx, bad.ID()); !errors.Is(err, arweave.ErrNotFound) {
		t.Fatalf("an item that does not verify was indexed: %v", err)
	}
	page, err := d.Query(ctx, arweave.Query{Tags: []arweave.TagFilter{{Name: "Depth", Values: []string{"2"}}}})
	if err != nil || len(page.Found) != 2 || *page.Found[0].BundledIn != middle.ID() {
		t.Fatalf("%+v %v", page, err)
	}
	page, err = d.Query(ctx, arweave.Query{IDs: []ans104.ID{middle.ID()}})
	if err != nil || len(page.Found) != 1 || *page.Found[0].BundledIn != id {
		t.Fatalf("%+v %v", page, err)
	}
}

func TestBundlesInBundlesEndSomewhere(t *testing.T) {
	d := fresh(t)
	it := item(t, 0, "core")
	levels := []*ans104.Item{it}
	for i := range 20 {
		it = item(t, i+1, string(ans104.BuildBundle([]*ans104.Item{it})), arweave.BundleTags()...)
		levels = append(levels, it)
	}
	if _, err := d.PostTx(context.Background(), arweave.TxDraft{Tags: arweave.BundleTags(), Data: ans104.BuildBundle([]*ans104.Item{it})}); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, l := range levels {
		if _, err := d.Get(context.Background(), l.ID()); err == nil {
			found++
		}
	}
	if found != maxNesting {
		t.Fatalf("%d levels found", found)
	}
}

func TestStateSurvivesARestart(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := open(t, s)
	ctx := context.Background()
	settled := item(t, 1, "settled", tag("K", "v"))
	put(t, d, settled)
	if err := d.MineAfter(3, time.Hour); err != nil {
		t.Fatal(err)
	}
	waiting := item(t, 2, "waiting", tag("K", "v"))
	large := item(t, 3, strings.Repeat("large", 50_000), tag("K", "v"))
	put(t, d, waiting, large, waiting)
	tx, err := d.PostTx(ctx, arweave.TxDraft{Tags: []ans104.Tag{tag("K", "v")}, Data: []byte("tx")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Mint(settled.ID().String(), big.NewInt(5)); err != nil {
		t.Fatal(err)
	}
	before, _ := d.Block(ctx, 3)
	for round := range 2 {
		d = open(t, s)
		after, err := d.Block(ctx, 3)
		if err != nil || after.IndepHash != before.IndepHash || after.Timestamp != 1_700_000_000+3600 {
			t.Fatalf("%+v %v", after, err)
		}
		for _, it := range []*ans104.Item{settled, waiting, large} {
			if got, err := d.Get(ctx, it.ID()); err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
				t.Fatalf("%v", err)
			}
		}
		page, err := d.Query(ctx, arweave.Query{Tags: []arweave.TagFilter{{Name: "K", Values: []string{"v"}}}})
		if err != nil || len(page.Found) != 4 {
			t.Fatalf("%d %v", len(page.Found), err)
		}
		if d.Balance(settled.ID().String()).Int64() != 5 {
			t.Fatal("balance lost")
		}
		if round == 0 {
			mine(t, d, 1)
		}
		for _, id := range []ans104.ID{waiting.ID(), large.ID(), tx} {
			if conf, err := d.Confirm(ctx, id); err != nil || conf.Depth != 1 {
				t.Fatalf("%+v %v", conf, err)
			}
		}
	}
	files, err := s.ListFiles("devnet/items/")
	if err != nil || len(files) != 0 {
		t.Fatalf("%v %v", files, err)
	}
	if page, err := s.Pending(itemQueue, 0, 10); err != nil || len(page) != 0 {
		t.Fatalf("%v %v", page, err)
	}
}

func TestChunksInAnyOrderAndAcrossARestart(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := open(t, s)
	it := item(t, 1, strings.Repeat("chunky", 200_000))
	data := ans104.BuildBundle([]*ans104.Item{it})
	tx, err := wallet(t).SignTx(arweave.TxDraft{Tags: arweave.BundleTags(), Data: data}, d.anchor(), d.price(uint64(len(data))))
	if err != nil {
		t.Fatal(err)
	}
	chunks, err := arweave.Chunks(data)
	if err != nil {
		t.Fatal(err)
	}
	post := func(path string, v any) int {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return call(d, "POST", path, bytes.NewReader(raw)).Code
	}
	if code := post("/chunk", &chunks[0]); code != http.StatusServiceUnavailable {
		t.Fatalf("a chunk of nothing: %d", code)
	}
	if code := post("/tx", tx.Bare()); code != 200 {
		t.Fatal(code)
	}
	if code := post("/tx", tx.Bare()); code != http.StatusAlreadyReported {
		t.Fatal(code)
	}
	mine(t, d, 1) // mined before its data is there, as on the real chain
	if code := call(d, "GET", "/raw/"+tx.ID.String(), nil).Code; code != 404 {
		t.Fatal(code)
	}
	forged := chunks[1]
	forged.Data = append([]byte{forged.Data[0] + 1}, forged.Data[1:]...)
	if code := post("/chunk", &forged); code != 400 {
		t.Fatal(code)
	}
	order := slices.Clone(chunks)
	slices.Reverse(order)
	for i := range order {
		if i == 2 {
			d = open(t, s)
		}
		if code := post("/chunk", &order[i]); code != 200 {
			t.Fatal(code)
		}
	}
	d = open(t, s)
	if got, err := d.Get(context.Background(), it.ID()); err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
		t.Fatalf("%v", err)
	}
	if code := post("/chunk", &chunks[0]); code != 200 {
		t.Fatal(code)
	}
	var offset struct{ Size, Offset string }
	if err := json.Unmarshal(call(d, "GET", "/tx/"+tx.ID.String()+"/offset", nil).Body.Bytes(), &offset); err != nil {
		t.Fatal(err)
	}
	if offset.Size != fmt.Sprint(len(data)) || offset.Offset != offset.Size {
		t.Fatalf("%+v", offset)
	}
	var joined []byte
	for len(joined) < len(data) {
		var c struct{ Chunk []byte }
		var text struct{ Chunk string }
		w := call(d, "GET", fmt.Sprintf("/chunk/%d", len(joined)+1), nil)
		if err := json.Unmarshal(w.Body.Bytes(), &text); err != nil {
			t.Fatal(err)
		}
		c.Chunk = decode(t, text.Chunk)
		joined = append(joined, c.Chunk...)
	}
	if !bytes.Equal(joined, data) {
		t.Fatal("the weave's chunks do not make the data")
	}
	if files, err := s.ListFiles(chunkFiles); err != nil || len(files) != 0 {
		t.Fatalf("%v %v", files, err)
	}
}

func decode(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestTransactionsThatANodeRefuses(t *testing.T) {
	d := fresh(t)
	w := wallet(t)
	old := d.anchor()
	mine(t, d, anchorDepth+1)
	for name, c := range map[string]struct {
		draft  arweave.TxDraft
		anchor []byte
		reward *big.Int
	}{
		"old anchor": {anchor: old, reward: d.price(0)},
		"no anchor":  {anchor: nil, reward: d.price(0)},
		"no reward":  {anchor: d.anchor(), reward: new(big.Int)},
		"too costly": {anchor: d.anchor(), reward: new(big.Int).Exp(big.NewInt(10), big.NewInt(28), nil)},
	} {
		tx, err := w.SignTx(c.draft, c.anchor, c.reward)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(tx)
		if err != nil {
			t.Fatal(err)
		}
		if got := call(d, "POST", "/tx", bytes.NewReader(raw)); got.Code != 400 {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
}

func TestHostileBodies(t *testing.T) {
	d := fresh(t)
	good := item(t, 1, "x").Raw()
	octets := []string{"Content-Type", "application/octet-stream"}
	for name, c := range map[string]struct {
		path    string
		body    []byte
		headers []string
		want    int
	}{
		"empty tx":       {"/tx", nil, nil, 400},
		"array":          {"/tx", []byte("[]"), nil, 400},
		"deep JSON":      {"/tx", bytes.Repeat([]byte("["), 1<<20), nil, 400},
		"large tx":       {"/tx", bytes.Repeat([]byte(" "), maxTxBody+1), nil, 413},
		"empty item":     {"/tx", nil, octets, 400},
		"cut item":       {"/tx", good[:50], octets, 400},
		"forged item":    {"/tx/arweave", append(bytes.Clone(good[:len(good)-1]), 'y'), nil, 400},
		"zeros":          {"/tx/arweave", make([]byte, 4096), nil, 400},
		"tag bomb":       {"/tx/arweave", append(append(bytes.Clone(good[:98]), 0, 0), bytes.Repeat([]byte{0xff}, 64)...), nil, 400},
		"empty chunk":    {"/chunk", nil, nil, 400},
		"chunk of what":  {"/chunk", []byte(`{"data_root":"","data_size":"1","data_path":"","offset":"0","chunk":"AA"}`), nil, 400},
		"large chunk":    {"/chunk", bytes.Repeat([]byte(" "), maxChunkBody+1), nil, 413},
		"no query":       {"/graphql", []byte(`nothing`), nil, 400},
		"large query":    {"/graphql", fmt.Appendf(nil, `{"query":"{%s}"}`, strings.Repeat("a ", maxQueryText)), nil, 400},
		"deep query":     {"/graphql", fmt.Appendf(nil, `{"query":"%s"}`, strings.Repeat("{a", 100)), nil, 400},
		"many roots":     {"/graphql", fmt.Appendf(nil, `{"query":"{%s}"}`, strings.Repeat("a:transactions{count} ", 50)), nil, 400},
		"block string":   {"/graphql", []byte(`{"query":"{block(id:\"\"\"a\"b\"\"\"){id}}"}`), nil, 400},
		"wide query":     {"/graphql", fmt.Appendf(nil, `{"query":"{blocks{edges{node{%s}}}}"}`, strings.Repeat("id ", 1000)), nil, 400},
		"fragment bomb":  {"/graphql", fmt.Appendf(nil, `{"query":"{%s}"}`, strings.Repeat("...a ", 500)), nil, 400},
		"bad mine":       {"/mine?blocks=0", nil, nil, 400},
		"many blocks":    {"/mine?blocks=1000000", nil, nil, 400},
		"far future":     {"/mine?seconds=2000000000", nil, nil, 400},
		"bad mint":       {"/mint/abc/5", nil, nil, 400},
		"negative mint":  {"/mint/" + d.Wallet().Address() + "/-5", nil, nil, 400},
		"enormous mint":  {"/mint/" + d.Wallet().Address() + "/" + strings.Repeat("9", 30), nil, nil, 400},
		"nonsense route": {"/tx/bitcoin/x", nil, nil, 405},
	} {
		w := call(d, "POST", c.path, bytes.NewReader(c.body), c.headers...)
		if w.Code != c.want && !(name == "nonsense route" && w.Code == 404) {
			t.Errorf("%s: %d %.100s", name, w.Code, w.Body)
		}
	}
	mine(t, d, 1)
	if b, err := d.Block(context.Background(), 1); err != nil || len(b.Txs) != 0 {
		t.Fatalf("something hostile was mined: %+v %v", b, err)
	}
}

func TestDataByRangeWithTagsAsHeaders(t *testing.T) {
	d := fresh(t)
	process := item(t, 1, "0123456789", tag("Data-Protocol", "ao"), tag("Type", "Process"), tag("Scheduler", "S"), tag("Content-Type", "text/lua"),
		tag("Set-Cookie", "evil=1"), tag("Content-Length", "3"), tag("Bad Name", "x"), tag("Split", "a\r\nInjected: yes"), tag("Access-Control-Allow-Origin", "https://evil"))
	put(t, d, process)
	for _, mined := range []bool{false, true} {
		if mined {
			mine(t, d, 1)
		}
		for _, path := range []string{"/raw/", "/"} {
			path += process.ID().String()
			w := call(d, "GET", path, nil, "Range", "bytes=3-5")
			if w.Code != http.StatusPartialContent || w.Body.String() != "345" || w.Header().Get("Content-Range") != "bytes 3-5/10" {
				t.Fatalf("%d %q %v", w.Code, w.Body, w.Header())
			}
			h := call(d, "HEAD", path, nil)
			if h.Code != 200 || h.Body.Len() != 0 || h.Header().Get("Content-Length") != "10" || h.Header().Get("Content-Type") != "text/lua" {
				t.Fatalf("%d %v", h.Code, h.Header())
			}
			for name, want := range map[string]string{
				"Type": "Process", "Scheduler": "S", "Set-Cookie": "", "Injected": "", "Split": "", "Access-Control-Allow-Origin": "*",
			} {
				if got := h.Header().Get(name); got != want {
					t.Errorf("header %s: %q", name, got)
				}
			}
			if w := call(d, "GET", path, nil, "Range", "bytes=50-"); w.Code != http.StatusRequestedRangeNotSatisfiable {
				t.Fatal(w.Code)
			}
		}
	}
	if w := call(d, "GET", "/", nil); w.Code != 200 || w.Header().Get("Type") == "" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
}

func TestRoutes(t *testing.T) {
	d := fresh(t)
	it := item(t, 1, "x")
	w := call(d, "POST", "/tx/arweave", bytes.NewReader(it.Raw()))
	var posted struct{ ID string }
	if err := json.Unmarshal(w.Body.Bytes(), &posted); err != nil || w.Code != 200 || posted.ID != it.ID().String() {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	tx, err := d.PostTx(context.Background(), arweave.TxDraft{Data: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(path string, code int, contains string) {
		t.Helper()
		if w := call(d, "GET", path, nil); w.Code != code || !strings.Contains(w.Body.String(), contains) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	expect("/tx/"+tx.String(), 202, "Pending")
	expect("/tx/"+tx.String()+"/status", 202, "Pending")
	expect("/tx/"+it.ID().String()+"/status", 202, "Pending")
	expect("/item/"+it.ID().String(), 200, "x")
	expect("/mine?blocks=2&seconds=100", 200, `"height":2`)
	expect("/tx/"+tx.String(), 200, `"data":"aGVsbG8"`)
	expect("/tx/"+tx.String()+"/data", 200, "aGVsbG8")
	expect("/tx/"+tx.String()+"/status", 200, `"number_of_confirmations":2`)
	expect("/tx/"+it.ID().String(), 404, "")
	expect("/tx/xyz/status", 404, "")
	expect("/raw/xyz", 404, "")
	expect("/block/height/1", 200, tx.String())
	expect("/block/height/2", 200, `"timestamp":1700000100`)
	expect("/block/height/3", 404, "")
	expect("/block/hash/"+l1.Encode64(d.anchor()), 200, `"height":2`)
	expect("/block/current", 200, `"height":2`)
	expect("/height", 200, "2")
	expect("/info", 200, `"height":2`)
	expect("/tx_anchor", 200, l1.Encode64(d.anchor()))
	expect("/price/1000", 200, "2000")
	expect("/price/1000/"+d.Wallet().Address(), 200, "2000")
	expect("/price/x", 400, "")
	expect("/mint/"+it.ID().String()+"/77", 200, "77")
	expect("/wallet/"+it.ID().String()+"/balance", 200, "77")
	expect("/chunk/5", 200, "chunk")
	expect("/chunk/999999", 404, "")
	if w := call(d, "OPTIONS", "/graphql", nil); w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestBlocksFormAChain(t *testing.T) {
	d := fresh(t)
	if err := d.MineAfter(4, 100*time.Second); err != nil {
		t.Fatal(err)
	}
	mine(t, d, 2)
	previous, _ := d.Block(context.Background(), 0)
	for h := uint64(1); h <= 6; h++ {
		b, err := d.Block(context.Background(), h)
		if err != nil || b.Previous != previous.IndepHash || b.Timestamp < previous.Timestamp || len(decode(t, b.IndepHash)) != 48 {
			t.Fatalf("%+v %v", b, err)
		}
		if h <= 4 && b.Timestamp != 1_700_000_000+25*int64(h) {
			t.Fatalf("block %d at %d", h, b.Timestamp)
		}
		previous = b
	}
	if err := d.Mine(0); !errors.Is(err, ErrBlocks) {
		t.Fatal(err)
	}
}

func BenchmarkPut(b *testing.B) {
	d := fresh(b)
	items := make([]*ans104.Item, 0, 10_000)
	for i := range cap(items) {
		items = append(items, item(b, i, "data"))
	}
	i := 0
	for b.Loop() {
		put(b, d, items[i%len(items)])
		i++
	}
}
