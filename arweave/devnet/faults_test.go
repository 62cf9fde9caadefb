package devnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

func openFaulty(t testing.TB, s store.Store) *Devnet {
	t.Helper()
	d, err := New(Config{
		Store: s, Wallet: wallet(t), AllowFaults: true, Clock: func() time.Time { return time.Unix(1_700_000_000, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func setFaults(t testing.TB, d *Devnet, f Faults) {
	t.Helper()
	if err := d.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

func signed(t testing.TB, d *Devnet, w *arweave.Wallet, draft arweave.TxDraft) *l1.Tx {
	t.Helper()
	tx, err := w.SignTx(draft, d.anchor(), d.price(uint64(len(draft.Data))))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func postTx(t testing.TB, d *Devnet, tx *l1.Tx) int {
	t.Helper()
	raw, err := json.Marshal(tx)
	if err != nil {
		t.Fatal(err)
	}
	return call(d, "POST", "/tx", bytes.NewReader(raw)).Code
}

func TestFaultsNeedPermission(t *testing.T) {
	d := fresh(t)
	if err := d.SetFaults(Faults{Drop: 1}); !errors.Is(err, ErrFaults) {
		t.Errorf("set: %v", err)
	}
	if err := d.Reorganise(1, false); !errors.Is(err, ErrFaults) {
		t.Errorf("reorganise: %v", err)
	}
	for _, path := range []string{"/faults", "/reorganise?blocks=1"} {
		if code := call(d, "POST", path, strings.NewReader("{}")).Code; code < 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestFaultsArePostedShownAndKept(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := openFaulty(t, s)
	for _, bad := range []string{"", "x", `{"drop":2}`, `{"drop":-0.1}`, `{"delay":"-1s"}`, `{"delay":"1h"}`, `{"dorp":1}`, `{"drop":"NaN"}`} {
		if code := call(d, "POST", "/faults", strings.NewReader(bad)).Code; code != 400 {
			t.Errorf("%q: %d", bad, code)
		}
	}
	text := `{"delay":"50ms","drop":0.3,"lie":0.1,"hang":0.2,"refuse":0.4,"price_times":7,"seed":9}`
	if got := call(d, "POST", "/faults", strings.NewReader(text)); got.Code != 200 || got.Body.String() != text {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	d = openFaulty(t, s)
	want := Faults{Delay: 50 * time.Millisecond, Drop: 0.3, Lie: 0.1, Hang: 0.2, Refuse: 0.4, PriceTimes: 7, Seed: 9}
	if d.Faults() != want {
		t.Fatalf("%+v", d.Faults())
	}
	if healthy := open(t, s); healthy.Faults() != (Faults{}) {
		t.Fatalf("in force without permission: %+v", healthy.Faults())
	}
}

func TestDroppedPostsAreForgotten(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := openFaulty(t, s)
	setFaults(t, d, Faults{Drop: 1})
	it, tx := item(t, 1, "x"), signed(t, d, wallet(t), arweave.TxDraft{Data: []byte("data")})
	if got := call(d, "POST", "/tx/arweave", bytes.NewReader(it.Raw())); got.Code != 200 {
		t.Fatal(got.Code, got.Body)
	}
	if code := postTx(t, d, tx); code != 200 {
		t.Fatal(code)
	}
	for _, id := range []ans104.ID{it.ID(), tx.ID} {
		if _, err := d.Confirm(context.Background(), id); !errors.Is(err, arweave.ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	setFaults(t, d, Faults{Drop: 0.3, Seed: 1})
	kept := 0
	for i := range 200 {
		it := item(t, 10+i, "x")
		call(d, "POST", "/tx/arweave", bytes.NewReader(it.Raw()))
		if _, err := d.Confirm(context.Background(), it.ID()); err == nil {
			kept++
		}
	}
	if kept < 110 || kept > 170 {
		t.Errorf("%d of 200 kept", kept)
	}
}

func TestLiesFlipOneBit(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := openFaulty(t, s)
	it := item(t, 1, strings.Repeat("truth", 1000))
	put(t, d, it)
	mine(t, d, 1)
	setFaults(t, d, Faults{Lie: 1})
	honest := openFaulty(t, s)
	honest.misconduct.set(Faults{})
	b, _ := d.Block(context.Background(), 1)
	tx := b.Txs[0].String()
	for _, path := range []string{
		"/item/" + it.ID().String(), "/raw/" + it.ID().String(), "/" + it.ID().String(), "/tx/" + tx, "/tx/" + tx + "/data",
		"/tx/" + tx + "/status", "/block/height/1", "/chunk/1",
	} {
		lie, truth := call(d, "GET", path, nil).Body.Bytes(), call(honest, "GET", path, nil).Body.Bytes()
		differ := 0
		for i := range min(len(lie), len(truth)) {
			if lie[i] != truth[i] {
				differ++
			}
		}
		if len(lie) != len(truth) || differ != 1 {
			t.Errorf("%s: %d of %d and %d bytes differ", path, differ, len(lie), len(truth))
		}
	}
	if got, err := d.Get(context.Background(), it.ID()); err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
		t.Errorf("the lie is in the store: %v", err)
	}
}

func TestRefuseDelayAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		defer s.Close()
		d := openFaulty(t, s)
		setFaults(t, d, Faults{Refuse: 1})
		if code := call(d, "GET", "/info", nil).Code; code != http.StatusServiceUnavailable {
			t.Error(code)
		}
		setFaults(t, d, Faults{Delay: time.Minute})
		begin := time.Now()
		if code := call(d, "GET", "/info", nil).Code; code != 200 || time.Since(begin) != time.Minute {
			t.Error(code, time.Since(begin))
		}
		setFaults(t, d, Faults{Hang: 1})
		ask := func(ctx context.Context) (ended chan any) {
			ended = make(chan any, 1)
			go func() {
				defer func() { ended <- recover() }()
				d.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/info", nil))
			}()
			synctest.Wait()
			return ended
		}
		ctx, cancel := context.WithCancel(context.Background())
		gone, patient := ask(ctx), ask(context.Background())
		if len(gone)+len(patient) != 0 {
			t.Fatal("it answers")
		}
		cancel()
		if <-gone != http.ErrAbortHandler {
			t.Error("answered a client that is gone")
		}
		call(d, "POST", "/faults", strings.NewReader("{}")) // gets through, or a hanging gateway would stay so
		if <-patient != http.ErrAbortHandler || call(d, "GET", "/info", nil).Code != 200 {
			t.Error("still hanging")
		}
	})
}

func TestPriceRises(t *testing.T) {
	s := store.NewMemory()
	defer s.Close()
	d := openFaulty(t, s)
	cheap := signed(t, d, wallet(t), arweave.TxDraft{})
	setFaults(t, d, Faults{PriceTimes: 10})
	if code := postTx(t, d, cheap); code != 400 {
		t.Errorf("the old price: %d", code)
	}
	if got := call(d, "GET", "/price/0", nil).Body.String(); got != "10000" {
		t.Error(got)
	}
	if code := postTx(t, d, signed(t, d, wallet(t), arweave.TxDraft{})); code != 200 {
		t.Errorf("the new price: %d", code)
	}
}

// branchOf reads the chain and checks its links.
func branchOf(t *testing.T, d *Devnet) []arweave.Block {
	t.Helper()
	var out []arweave.Block
	for h := uint64(0); ; h++ {
		b, err := d.Block(context.Background(), h)
		if err != nil {
			return out
		}
		if h > 0 && b.Previous != out[h-1].IndepHash {
			t.Fatalf("the chain is broken at %d", h)
		}
		out = append(out, b)
	}
}

func TestReorganise(t *testing.T) {
	for _, lose := range []bool{false, true} {
		s := store.NewMemory()
		d := openFaulty(t, s)
		ctx := context.Background()
		w := wallet(t)
		deep := signed(t, d, w, arweave.TxDraft{Data: []byte("deep")})
		to := item(t, 99, "").ID().String()
		top := signed(t, d, w, arweave.TxDraft{Target: to, Quantity: "77", Data: []byte("top")})
		postTx(t, d, deep)
		mine(t, d, 1)
		held := item(t, 1, "posted to the devnet itself")
		put(t, d, held)
		postTx(t, d, top)
		mine(t, d, 1)
		void := signed(t, d, w, arweave.TxDraft{Data: []byte("void")}) // its anchor is a block that will be replaced
		postTx(t, d, void)
		mine(t, d, 2)
		before, rich := branchOf(t, d), d.Balance(w.Address())
		for _, n := range []int{-1, 0, len(before), len(before) + 1} {
			if err := d.Reorganise(n, lose); !errors.Is(err, ErrBlocks) {
				t.Errorf("%d blocks: %v", n, err)
			}
		}
		path := "/reorganise?blocks=3"
		if lose {
			path += "&lose=true"
		}
		if got := call(d, "POST", path, nil); got.Code != 200 {
			t.Fatal(got.Code, got.Body)
		}
		check := func() {
			t.Helper()
			after := branchOf(t, d)
			if len(after) != 5 || after[1].IndepHash != before[1].IndepHash {
				t.Fatalf("%d blocks", len(after))
			}
			for h := 2; h < 5; h++ {
				if after[h].IndepHash == before[h].IndepHash || len(after[h].Txs) != 0 {
					t.Fatalf("block %d was not replaced", h)
				}
			}
			if conf, err := d.Confirm(ctx, deep.ID); err != nil || conf.Depth != 4 {
				t.Errorf("below the fork: %+v %v", conf, err)
			}
			if conf, err := d.Confirm(ctx, held.ID()); err != nil || conf.Depth != 0 {
				t.Errorf("own bundle: %+v %v", conf, err)
			}
			if got, err := d.Get(ctx, held.ID()); err != nil || !bytes.Equal(got.Raw(), held.Raw()) {
				t.Errorf("own bundle: %v", err)
			}
			if _, err := d.Confirm(ctx, void.ID); !errors.Is(err, arweave.ErrNotFound) {
				t.Errorf("void anchor: %v", err)
			}
			conf, err := d.Confirm(ctx, top.ID)
			if lose != errors.Is(err, arweave.ErrNotFound) || conf.Depth != 0 {
				t.Errorf("mined in a replaced block, lose %v: %+v %v", lose, conf, err)
			}
			refund := new(big.Int).Set(void.Reward)
			if lose {
				refund.Add(refund, top.Reward).Add(refund, top.Quantity)
			}
			if got := d.Balance(w.Address()); got.Cmp(new(big.Int).Add(rich, refund)) != 0 {
				t.Errorf("balance %s, had %s, refund %s", got, rich, refund)
			}
			if got := d.Balance(to).Int64(); got != map[bool]int64{true: 0, false: 77}[lose] {
				t.Errorf("the target has %d", got)
			}
		}
		check()
		d = openFaulty(t, s)
		check()
		if code := postTx(t, d, void); code != 400 {
			t.Errorf("a void anchor was taken: %d", code)
		}
		if code := postTx(t, d, top); code != map[bool]int{true: 200, false: http.StatusAlreadyReported}[lose] {
			t.Errorf("posted again: %d", code)
		}
		mine(t, d, 1)
		if conf, err := d.Confirm(ctx, top.ID); err != nil || conf.Depth != 1 {
			t.Errorf("%+v %v", conf, err)
		}
		if err := d.Reorganise(1, lose); err != nil { // a branch on a branch
			t.Fatal(err)
		}
		d = openFaulty(t, s)
		mine(t, d, 1)
		if got := len(branchOf(t, d)); got != 7 {
			t.Errorf("%d blocks", got)
		}
		if files, err := s.ListFiles(dataFiles); err != nil || len(files) != len(d.txs) {
			t.Errorf("%d files for %d transactions, %v", len(files), len(d.txs), err)
		}
		s.Close()
	}
}
