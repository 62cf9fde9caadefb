package arweave_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// change serves the devnet's answers with a lie put in.
func change(s *town, lie func(path string, status int, body []byte) (int, []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		s.devnet.ServeHTTP(rec, r)
		status, body := lie(r.URL.Path, rec.Code, rec.Body.Bytes())
		w.WriteHeader(status)
		w.Write(body)
	})
}

func noItemRoute(path string, status int, body []byte) (int, []byte) {
	if strings.HasPrefix(path, "/item/") {
		return http.StatusNotFound, nil
	}
	return status, body
}

// editNode changes one field of the only node of a GraphQL answer.
func editNode(t *testing.T, body []byte, edit func(node map[string]any)) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	edges := doc["data"].(map[string]any)["transactions"].(map[string]any)["edges"].([]any)
	for _, e := range edges {
		edit(e.(map[string]any)["node"].(map[string]any))
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

func TestLyingGateway(t *testing.T) {
	s := newTown(t)
	ctx := context.Background()
	it := testItem(t, 1, []byte("the truth"), ans104.Tag{Name: "Type", Value: "Oath"})
	other := testItem(t, 2, []byte("another"))
	if err := s.devnet.Put(ctx, it, other); err != nil {
		t.Fatal(err)
	}
	s.mine(1)
	is := func(prefix string, edit func([]byte) []byte) func(string, int, []byte) (int, []byte) {
		return func(path string, status int, body []byte) (int, []byte) {
			if status, body = noItemRoute(path, status, body); status == http.StatusOK && strings.HasPrefix(path, prefix) {
				body = edit(body)
			}
			return status, body
		}
	}
	node := func(edit func(map[string]any)) func(string, int, []byte) (int, []byte) {
		return is("/graphql", func(b []byte) []byte {
			// Without block and bundle nobody can look for the item where it was put.
			return editNode(t, b, func(n map[string]any) { n["bundledIn"], n["block"] = nil, nil; edit(n) })
		})
	}
	whole := func(edit func([]byte) []byte) func(string, int, []byte) (int, []byte) {
		return func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, "/item/") {
				return status, edit(body)
			}
			return http.StatusNotFound, nil
		}
	}
	raw := it.Raw()
	lies := map[string]func(string, int, []byte) (int, []byte){
		"data flipped": is("/raw/", func(b []byte) []byte { return flip(b, 0) }),
		"data cut":     is("/raw/", func(b []byte) []byte { return b[:len(b)-1] }),
		"data longer":  is("/raw/", func(b []byte) []byte { return append(bytes.Clone(b), 0) }),
		"tag value":    node(func(n map[string]any) { n["tags"] = []any{map[string]any{"name": "Type", "value": "Oats"}} }),
		"tag added": node(func(n map[string]any) {
			n["tags"] = append(n["tags"].([]any), map[string]any{"name": "a", "value": "b"})
		}),
		"signature":        node(func(n map[string]any) { n["signature"] = other.ID().String() }),
		"no signature":     node(func(n map[string]any) { n["signature"] = "<not-found>" }),
		"owner":            node(func(n map[string]any) { n["owner"].(map[string]any)["key"] = other.ID().String() }),
		"anchor":           node(func(n map[string]any) { n["anchor"] = "" }),
		"recipient":        node(func(n map[string]any) { n["recipient"] = other.ID().String() }),
		"recipient length": node(func(n map[string]any) { n["recipient"] = "AAAA" }),
		"wrong id":         node(func(n map[string]any) { n["id"] = other.ID().String() }),
		"not JSON":         is("/graphql", func([]byte) []byte { return []byte("<html>") }),
		"null":             is("/graphql", func([]byte) []byte { return []byte(`{"data":null}`) }),
		"item flipped":     whole(func(b []byte) []byte { return flip(b, len(b)-1) }),
		"item signature":   whole(func(b []byte) []byte { return flip(b, 10) }),
		"item cut":         whole(func(b []byte) []byte { return b[:40] }),
		"item of another":  whole(func([]byte) []byte { return other.Raw() }),
		"empty item":       whole(func([]byte) []byte { return nil }),
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			s.between(change(s, lie))
			_, err := newClient(t, s.server.URL).Get(ctx, it.ID())
			if strings.HasPrefix(name, "item") || name == "empty item" {
				// The index of this gateway gives 404, so nobody serves it in another way.
				if !errors.Is(err, arweave.ErrCorrupt) && !errors.Is(err, arweave.ErrUnavailable) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if !errors.Is(err, arweave.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
		})
		t.Run(name+", honest one second", func(t *testing.T) {
			s.between(change(s, lie))
			honest := httptest.NewServer(s.devnet)
			defer honest.Close()
			got, err := newClient(t, s.server.URL, honest.URL).Get(ctx, it.ID())
			if err != nil || !bytes.Equal(got.Raw(), raw) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestEveryWayToAnItem(t *testing.T) {
	s := newTown(t)
	ctx := context.Background()
	wallet, err := ans104.Sign(testWallet(t).Signer(), ans104.Fields{Target: bytes.Repeat([]byte{9}, 32), Data: []byte("rsa")})
	if err != nil {
		t.Fatal(err)
	}
	ethereum, err := ans104.NewEthereumSigner(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		t.Fatal(err)
	}
	eth, err := ans104.Sign(ethereum, ans104.Fields{Tags: []ans104.Tag{{Name: "T", Value: "é\U0001F600"}}})
	if err != nil {
		t.Fatal(err)
	}
	typed, err := ans104.NewTypedEthereumSigner(bytes.Repeat([]byte{4}, 32))
	if err != nil {
		t.Fatal(err)
	}
	typedItem, err := ans104.Sign(typed, ans104.Fields{Anchor: []byte(strings.Repeat("0", 31) + "1"), Data: []byte("typed")})
	if err != nil {
		t.Fatal(err)
	}
	items := map[string]*ans104.Item{
		"ed25519": testItem(t, 1, []byte("x")), "rsa": wallet, "ethereum": eth, "typed": typedItem,
		"binary tags": testItem(t, 2, []byte("x"), ans104.Tag{Name: "Raw", Value: "\xff\xfe"}),
		"replacement": testItem(t, 3, []byte("x"), ans104.Tag{Name: "Raw", Value: "\uFFFD"}),
		"empty":       testItem(t, 4, nil),
	}
	for _, name := range slices.Sorted(maps.Keys(items)) { // the last in the bundle is "typed"
		s.put(items[name])
	}
	s.clock.add(time.Minute)
	s.step()
	s.mine(1)
	isBare := func(path string) bool { return len(path) == len("/")+43 }
	noRaw := func(path string, status int, body []byte) (int, []byte) {
		if strings.HasPrefix(path, "/raw/") || isBare(path) {
			return http.StatusNotFound, nil
		}
		return noItemRoute(path, status, body)
	}
	// As arlocal does: data under the bare ID alone, an answer without content where there is none, no transaction's data in
	// base64url, and an index that knows neither anchors nor bundles.
	plain := func(path string, status int, body []byte) (int, []byte) {
		switch {
		case isBare(path) && len(body) == 0:
			return http.StatusNoContent, nil
		case strings.HasPrefix(path, "/raw/"), strings.HasSuffix(path, "/data"):
			return http.StatusNotFound, nil
		case path == "/graphql":
			return status, editNode(t, body, func(n map[string]any) {
				n["bundledIn"] = nil
				if _, has := n["anchor"]; has {
					n["anchor"] = ""
				}
			})
		}
		return noItemRoute(path, status, body)
	}
	for way, front := range map[string]http.Handler{
		"whole": s.devnet, "parts": change(s, noItemRoute), "node's data": change(s, noRaw), "plain": change(s, plain),
	} {
		s.between(front)
		client := newClient(t, s.server.URL)
		for name, it := range items {
			got, err := client.Get(ctx, it.ID())
			if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
				t.Errorf("%s by %s: %v", name, way, err)
			}
		}
	}
	s.between(change(s, func(path string, status int, body []byte) (int, []byte) {
		if status, body = plain(path, status, body); isBare(path) && len(body) > 200 { // the bundle
			body = flip(body, len(body)-1)
		}
		return status, body
	}))
	client := newClient(t, s.server.URL)
	for name, it := range items {
		got, err := client.Get(ctx, it.ID())
		if name == "typed" {
			if !errors.Is(err, arweave.ErrCorrupt) {
				t.Errorf("%s, which was changed: %v", name, err)
			}
		} else if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
			t.Errorf("%s beside one that was changed: %v", name, err)
		}
	}
}

func TestHugeAndHangingAnswers(t *testing.T) {
	s := newTown(t)
	id := testItem(t, 1, nil).ID()
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := bytes.Repeat([]byte{'x'}, 1<<20)
		for range 64 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	small, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{s.server.URL}, MaxItem: 2 << 20, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.Get(context.Background(), id); !errors.Is(err, arweave.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	if _, err := small.Height(context.Background()); !errors.Is(err, arweave.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}

	asked := make(chan struct{}, 10)
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := newClient(t, s.server.URL).Get(ctx, id)
		failed <- err
	}()
	<-asked
	cancel()
	if err := <-failed; !errors.Is(err, arweave.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	hasty, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{s.server.URL}, Timeout: time.Millisecond, Tries: 2, RetryDelay: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hasty.Height(context.Background()); !errors.Is(err, arweave.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}

func TestFalseBlocksAndStatus(t *testing.T) {
	s := newTown(t)
	s.mine(3)
	hash := strings.Repeat("A", 64)
	for name, answer := range map[string]string{
		"another height": `{"height":2,"indep_hash":"` + hash + `","previous_block":"` + hash + `","timestamp":1,"txs":[]}`,
		"no height":      `{"indep_hash":"` + hash + `","previous_block":"` + hash + `","timestamp":1,"txs":[]}`,
		"short hash":     `{"height":1,"indep_hash":"AAAA","previous_block":"` + hash + `","timestamp":1,"txs":[]}`,
		"no previous":    `{"height":1,"indep_hash":"` + hash + `","previous_block":"","timestamp":1,"txs":[]}`,
		"bad tx":         `{"height":1,"indep_hash":"` + hash + `","previous_block":"` + hash + `","timestamp":1,"txs":["x"]}`,
		"time":           `{"height":1,"indep_hash":"` + hash + `","previous_block":"` + hash + `","timestamp":-1,"txs":[]}`,
		"not JSON":       `hello`,
	} {
		s.between(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) }))
		if _, err := s.client.Block(context.Background(), 1); !errors.Is(err, arweave.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.client.Height(context.Background()); name == "not JSON" && !errors.Is(err, arweave.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "no previous" || name == "not JSON" {
			if _, err := s.client.Confirm(context.Background(), ans104.ID{1}); !errors.Is(err, arweave.ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	s.between(s.devnet)
	if _, err := s.client.Block(context.Background(), 99); !errors.Is(err, arweave.ErrNotFound) {
		t.Error(err)
	}
	if h, err := s.client.Height(context.Background()); err != nil || h != 3 {
		t.Error(h, err)
	}
	if _, err := s.client.Confirm(context.Background(), ans104.ID{1}); !errors.Is(err, arweave.ErrNotFound) {
		t.Error(err)
	}
}

func TestQueryPages(t *testing.T) {
	s := newTown(t)
	ctx := context.Background()
	var want []ans104.ID
	for i := range 25 {
		it := testItem(t, i, []byte("x"), ans104.Tag{Name: "Kind", Value: "page"})
		if err := s.devnet.Put(ctx, it); err != nil {
			t.Fatal(err)
		}
		want = append(want, it.ID())
		if i%4 == 0 {
			s.mine(1)
		}
	}
	s.mine(1)
	q := arweave.Query{Tags: []arweave.TagFilter{{Name: "Kind", Values: []string{"page", "other"}}}, First: 4, Ascending: true}
	client := newClient(t, s.server.URL)
	var got []ans104.ID
	for {
		page, err := client.Query(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Found {
			if f.BundledIn == nil || f.Height == 0 || len(f.Tags) != 1 {
				t.Fatalf("%+v", f)
			}
			got = append(got, f.ID)
			q.After = f.Cursor
		}
		if !page.HasNext {
			break
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d of %d", len(got), len(want))
	}
	seen := map[ans104.ID]bool{}
	for _, id := range got {
		seen[id] = true
	}
	for _, id := range want {
		if !seen[id] {
			t.Fatalf("%s is missing", id)
		}
	}
	if _, err := client.Query(ctx, arweave.Query{After: "7:x"}); err == nil {
		t.Fatal("a cursor of no gateway was taken")
	}
	page, err := client.Query(ctx, arweave.Query{MinHeight: 2, MaxHeight: 2})
	if err != nil || len(page.Found) != 5 { // four items and their bundle
		t.Fatalf("%d, %v", len(page.Found), err)
	}
}
