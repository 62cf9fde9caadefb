package arweave_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// TestTxWithItsData: a transaction is what its ID, its signature and its data root say, however a gateway gives the data.
func TestTxWithItsData(t *testing.T) {
	s := newTown(t)
	ctx := context.Background()
	data := map[string][]byte{"none": nil, "inline": []byte("small"), "by itself": bytes.Repeat([]byte("large "), 100_000)}
	ids := map[string]ans104.ID{}
	for name, d := range data {
		id, err := s.devnet.PostTx(ctx, arweave.TxDraft{Tags: []ans104.Tag{{Name: "Name", Value: name}}, Data: d})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = id
	}
	item := testItem(t, 1, []byte("an item"))
	if err := s.devnet.Put(ctx, item); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, s.server.URL)
	if _, err := client.Tx(ctx, ids["inline"]); !errors.Is(err, arweave.ErrNotFound) {
		t.Errorf("before it is in a block: %v", err)
	}
	if _, err := s.devnet.Tx(ctx, ids["inline"]); !errors.Is(err, arweave.ErrNotFound) {
		t.Errorf("before it is in a block, asked directly: %v", err)
	}
	s.mine(1)
	for name, id := range ids {
		for way, archive := range map[string]interface {
			Tx(context.Context, ans104.ID) (*l1.Tx, error)
		}{"over HTTP": client, "directly": s.devnet} {
			tx, err := archive.Tx(ctx, id)
			if err != nil {
				t.Fatalf("%s %s: %v", name, way, err)
			}
			if tx.ID != id || !bytes.Equal(tx.Data, data[name]) || tx.Tags[0].Value != name || tx.Verify() != nil {
				t.Errorf("%s %s: %d bytes, tags %v", name, way, len(tx.Data), tx.Tags)
			}
		}
	}
	for _, id := range []ans104.ID{item.ID(), {1}} {
		if _, err := client.Tx(ctx, id); !errors.Is(err, arweave.ErrNotFound) {
			t.Errorf("what is no transaction: %v", err)
		}
		if _, err := s.devnet.Tx(ctx, id); !errors.Is(err, arweave.ErrNotFound) {
			t.Errorf("what is no transaction, asked directly: %v", err)
		}
	}
	// A node that has no /raw/ gives the data as text.
	s.between(change(s, func(path string, status int, body []byte) (int, []byte) {
		if strings.HasPrefix(path, "/raw/") {
			return http.StatusNotFound, nil
		}
		return status, body
	}))
	if tx, err := newClient(t, s.server.URL).Tx(ctx, ids["by itself"]); err != nil || !bytes.Equal(tx.Data, data["by itself"]) {
		t.Errorf("of a node: %v", err)
	}
	other, err := client.Tx(ctx, ids["inline"])
	if err != nil {
		t.Fatal(err)
	}
	is := func(prefix string, edit func([]byte) []byte) func(string, int, []byte) (int, []byte) {
		return func(path string, status int, body []byte) (int, []byte) {
			if strings.HasPrefix(path, prefix) {
				body = edit(body)
			}
			return status, body
		}
	}
	for name, lie := range map[string]func(string, int, []byte) (int, []byte){
		"data flipped": is("/raw/", func(b []byte) []byte { return flip(b, 0) }),
		"data cut":     is("/raw/", func(b []byte) []byte { return b[1:] }),
		"another":      is("/tx/", func([]byte) []byte { b, _ := other.MarshalJSON(); return b }),
		"no JSON":      is("/tx/", func([]byte) []byte { return []byte("Pending") }),
		"reward":       is("/tx/", func(b []byte) []byte { return bytes.Replace(b, []byte(`"reward":"`), []byte(`"reward":"9`), 1) }),
	} {
		t.Run(name, func(t *testing.T) {
			s.between(change(s, lie))
			if _, err := newClient(t, s.server.URL).Tx(ctx, ids["by itself"]); !errors.Is(err, arweave.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
		})
	}
}
