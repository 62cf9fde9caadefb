package arweave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// handClock is a time that only the test moves.
type handClock struct {
	lock sync.Mutex
	now  time.Time
}

func newClock() *handClock { return &handClock{now: time.Unix(1_700_000_000, 0)} }

func (c *handClock) Now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.now
}

func (c *handClock) add(d time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.now = c.now.Add(d)
}

func testWallet(t testing.TB) *arweave.Wallet {
	t.Helper()
	raw, err := os.ReadFile("testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	w, err := arweave.ParseWallet(raw)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// testItem signs an item that no other call makes.
func testItem(t testing.TB, n int, data []byte, tags ...ans104.Tag) *ans104.Item {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(n%250 + 1)}, ed25519.SeedSize))
	anchor := fmt.Appendf(nil, "%032d", n)
	it, err := ans104.Sign(ans104.NewEd25519Signer(key), ans104.Fields{Anchor: anchor, Tags: tags, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// town is a devnet behind HTTP, with a client and a bundler in front.
type town struct {
	t       testing.TB
	clock   *handClock
	devnet  *devnet.Devnet
	front   http.Handler // what the server serves; the devnet unless a test puts something between
	lock    sync.Mutex
	server  *httptest.Server
	client  *arweave.Client
	store   store.Store
	bundler *arweave.Bundler
	cfg     arweave.BundlerConfig
}

func newTown(t testing.TB) *town {
	t.Helper()
	s := &town{t: t, clock: newClock(), store: store.NewMemory()}
	chain := store.NewMemory()
	var err error
	if s.devnet, err = devnet.New(devnet.Config{Store: chain, Wallet: testWallet(t), Clock: s.clock.Now}); err != nil {
		t.Fatal(err)
	}
	s.front = s.devnet
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.lock.Lock()
		front := s.front
		s.lock.Unlock()
		front.ServeHTTP(w, r)
	}))
	s.client = newClient(t, s.server.URL)
	s.cfg = arweave.BundlerConfig{
		Store: s.store, Client: s.client, Wallet: testWallet(t), MaxAge: time.Minute, Depth: 2, Poll: 10 * time.Second,
		RepostAfter: 5 * time.Minute, Clock: s.clock.Now,
	}
	s.restart()
	t.Cleanup(func() { s.server.Close(); s.store.Close(); chain.Close() })
	return s
}

func newClient(t testing.TB, gateways ...string) *arweave.Client {
	t.Helper()
	c, err := arweave.NewClient(arweave.ClientConfig{Gateways: gateways, Tries: 2, RetryDelay: time.Millisecond, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// restart replaces the bundler by one that knows only what is in the store.
func (s *town) restart() {
	s.t.Helper()
	var err error
	if s.bundler, err = arweave.NewBundler(s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) between(h http.Handler) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.front = h
}

func (s *town) step() {
	s.t.Helper()
	if _, err := s.bundler.Step(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) put(items ...*ans104.Item) {
	s.t.Helper()
	if err := s.bundler.Put(context.Background(), items...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) mine(n int) {
	s.t.Helper()
	if err := s.devnet.Mine(n); err != nil {
		s.t.Fatal(err)
	}
}

func (s *town) backlog(want arweave.Backlog) {
	s.t.Helper()
	got, err := s.bundler.Backlog()
	if err != nil {
		s.t.Fatal(err)
	}
	if (got.Oldest != nil) != (want.Items+want.InFlight > 0) {
		s.t.Fatalf("oldest %+v in backlog %+v", got.Oldest, got)
	}
	if got.Oldest = nil; got != want {
		s.t.Fatalf("backlog %+v, want %+v", got, want)
	}
}

// served asserts that an item can be had from the gateway, intact.
func (s *town) served(items ...*ans104.Item) {
	s.t.Helper()
	for _, it := range items {
		got, err := s.client.Get(context.Background(), it.ID())
		if err != nil {
			s.t.Fatal(err)
		}
		if !bytes.Equal(got.Raw(), it.Raw()) {
			s.t.Fatalf("item %s came back changed", it.ID())
		}
	}
}

func TestItemsAreBundledMinedAndConfirmed(t *testing.T) {
	s := newTown(t)
	small := testItem(t, 1, []byte("hello"), ans104.Tag{Name: "App", Value: "test"})
	large := testItem(t, 2, bytes.Repeat([]byte{7}, 700<<10)) // spills over into a file, and takes three chunks
	s.put(small, small)
	s.put(large, small)
	s.backlog(arweave.Backlog{Items: 2, Bytes: int64(len(small.Raw()) + len(large.Raw()))})
	s.step()
	s.backlog(arweave.Backlog{Items: 2, Bytes: int64(len(small.Raw()) + len(large.Raw()))}) // not old enough
	s.clock.add(time.Minute)
	s.step()
	s.backlog(arweave.Backlog{InFlight: 1})
	s.served(small, large) // pending, already indexed
	if conf, err := s.client.Confirm(context.Background(), small.ID()); err != nil || conf.Depth != 0 {
		t.Fatalf("pending item: %+v, %v", conf, err)
	}
	s.mine(1)
	s.clock.add(time.Minute)
	s.step()
	s.backlog(arweave.Backlog{InFlight: 1}) // one confirmation of two
	s.mine(1)
	s.clock.add(time.Minute)
	s.step()
	s.backlog(arweave.Backlog{})
	s.served(small, large)
	conf, err := s.client.Confirm(context.Background(), large.ID())
	if err != nil || conf.Depth != 2 || conf.Height != 1 {
		t.Fatalf("confirmation %+v, %v", conf, err)
	}
	block, err := s.client.Block(context.Background(), 1)
	if err != nil || block.IndepHash != conf.Block || len(block.Txs) != 1 {
		t.Fatalf("block %+v, %v", block, err)
	}
	files, err := s.store.ListFiles("arweave/")
	if err != nil || len(files) != 0 {
		t.Fatalf("files left behind: %v, %v", files, err)
	}
	s.put(small) // settled long ago
	s.backlog(arweave.Backlog{})
}

func TestBundlesCloseByCountAndSize(t *testing.T) {
	s := newTown(t)
	s.cfg.MaxItems, s.cfg.MaxBytes = 3, 2000
	s.restart()
	var items []*ans104.Item
	for i := range 7 {
		items = append(items, testItem(t, i, []byte("x")))
	}
	s.put(items...)
	s.step()
	s.backlog(arweave.Backlog{Items: 1, Bytes: int64(len(items[6].Raw())), InFlight: 2})
	s.put(testItem(t, 100, make([]byte, 3000)))
	s.step()
	if b, _ := s.bundler.Backlog(); b.Items != 0 || b.InFlight != 4 {
		t.Fatalf("a bundle for the small item and one for the large: %+v", b)
	}
	s.mine(1)
	s.served(items...)
}

func TestRestartPostsTheSameTransaction(t *testing.T) {
	s := newTown(t)
	it := testItem(t, 1, bytes.Repeat([]byte("data"), 100_000))
	s.put(it)
	s.restart()
	s.backlog(arweave.Backlog{Items: 1, Bytes: int64(len(it.Raw()))})

	var lock sync.Mutex
	posted := map[string]int{}
	broken := true
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/tx" {
			body, _ := io.ReadAll(r.Body)
			tx, err := l1.ParseJSON(body)
			lock.Lock()
			if err == nil {
				posted[tx.ID.String()]++
			}
			fail := broken
			lock.Unlock()
			if fail {
				http.Error(w, "overloaded", http.StatusServiceUnavailable)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		s.devnet.ServeHTTP(w, r)
	}))
	s.clock.add(time.Hour)
	s.step() // signed, kept, and refused by the gateway
	s.backlog(arweave.Backlog{InFlight: 1, Unposted: 1})
	s.restart()
	s.backlog(arweave.Backlog{InFlight: 1, Unposted: 1})
	lock.Lock()
	broken = false
	lock.Unlock()
	s.step()
	s.mine(2)
	s.restart()
	s.step()
	s.backlog(arweave.Backlog{})
	s.served(it)
	lock.Lock()
	defer lock.Unlock()
	if len(posted) != 1 {
		t.Fatalf("posted %v: one transaction was to be posted again, not another one signed", posted)
	}
}

func TestDroppedTransactionIsPostedAgain(t *testing.T) {
	s := newTown(t)
	it := testItem(t, 1, []byte("x"))
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/tx" {
			io.WriteString(w, "OK") // and forgets it
			return
		}
		s.devnet.ServeHTTP(w, r)
	}))
	s.put(it)
	s.clock.add(time.Minute)
	s.step()
	s.between(s.devnet)
	s.clock.add(time.Minute)
	s.step()
	if _, err := s.client.Get(context.Background(), it.ID()); !errors.Is(err, arweave.ErrNotFound) {
		t.Fatalf("posted again before its time: %v", err)
	}
	s.clock.add(5 * time.Minute)
	s.step()
	s.served(it)

	// After 60 blocks the anchor is too old: the bundle is signed anew.
	other := testItem(t, 2, []byte("y"))
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/tx" {
			http.Error(w, "busy", http.StatusTooManyRequests)
			return
		}
		s.devnet.ServeHTTP(w, r)
	}))
	s.put(other)
	s.clock.add(time.Minute)
	s.step()
	s.between(s.devnet)
	s.mine(60)
	for range 3 {
		s.clock.add(time.Hour)
		s.step()
	}
	s.served(other)
	s.mine(2)
	s.clock.add(time.Hour)
	s.step()
	s.backlog(arweave.Backlog{})
}

func TestPostTx(t *testing.T) {
	s := newTown(t)
	ctx := context.Background()
	archive := arweave.NewArchive(s.client, s.bundler)
	to := arweaveAddress(t)
	id, err := archive.PostTx(ctx, arweave.TxDraft{Target: to, Quantity: "12345", Tags: []ans104.Tag{{Name: "Type", Value: "Mark"}}})
	if err != nil {
		t.Fatal(err)
	}
	if conf, err := archive.Confirm(ctx, id); err != nil || conf.Depth != 0 {
		t.Fatalf("%+v, %v", conf, err)
	}
	s.mine(2)
	if conf, err := archive.Confirm(ctx, id); err != nil || conf.Depth != 2 {
		t.Fatalf("%+v, %v", conf, err)
	}
	if got := s.devnet.Balance(to).String(); got != "12345" {
		t.Fatalf("the target holds %s", got)
	}
	page, err := archive.Query(ctx, arweave.Query{Tags: []arweave.TagFilter{{Name: "Type", Values: []string{"Mark"}}}})
	if err != nil || len(page.Found) != 1 || page.Found[0].ID != id || page.Found[0].BundledIn != nil {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := archive.Get(ctx, id); !errors.Is(err, arweave.ErrNotFound) {
		t.Fatalf("a base-layer transaction is not an item: %v", err)
	}
	if _, err := archive.PostTx(ctx, arweave.TxDraft{Quantity: strings.Repeat("9", 30), Target: to}); !errors.Is(err, arweave.ErrRejected) {
		t.Fatalf("unpayable: %v", err)
	}
	s.clock.add(time.Hour)
	s.step()
	s.backlog(arweave.Backlog{})
}

func arweaveAddress(t testing.TB) string {
	t.Helper()
	return testItem(t, 77, nil).ID().String()
}

func TestGreedyGatewayIsNotPaid(t *testing.T) {
	s := newTown(t)
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/price/") {
			io.WriteString(w, "999999999999999999")
			return
		}
		s.devnet.ServeHTTP(w, r)
	}))
	it := testItem(t, 1, []byte("x"))
	s.put(it)
	s.clock.add(time.Minute)
	s.step()
	s.backlog(arweave.Backlog{Items: 1, Bytes: int64(len(it.Raw()))})
	if _, err := s.bundler.PostTx(context.Background(), arweave.TxDraft{}); !errors.Is(err, arweave.ErrRejected) {
		t.Fatal(err)
	}
}

func TestConcurrentPutsQueueEachItemOnce(t *testing.T) {
	s := newTown(t)
	it := testItem(t, 1, []byte("x"))
	var wg sync.WaitGroup
	for i := range 16 {
		own := testItem(t, 10+i, []byte("y"))
		wg.Go(func() {
			if err := s.bundler.Put(context.Background(), it, own); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, err := s.bundler.Backlog(); err != nil || b.Items != 17 {
		t.Fatalf("%+v, %v", b, err)
	}
}

// told passes on the messages of a log.
type told struct {
	slog.Handler
	messages chan string
}

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(_ context.Context, r slog.Record) error {
	h.messages <- r.Message
	return nil
}

func TestRunSettlesWithoutHelp(t *testing.T) {
	s := newTown(t)
	log := told{slog.DiscardHandler, make(chan string, 100)}
	s.cfg.Log = slog.New(log)
	s.cfg.Clock, s.cfg.MaxAge, s.cfg.Poll, s.cfg.Depth = nil, time.Millisecond, time.Millisecond, 1
	s.restart()
	posted := make(chan struct{}, 100)
	s.between(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.devnet.ServeHTTP(w, r)
		if r.Method == http.MethodPost && r.URL.Path == "/tx" {
			posted <- struct{}{}
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.bundler.Run(ctx) }()
	it := testItem(t, 1, []byte("x"))
	s.put(it)
	<-posted
	s.mine(1)
	for m := range log.messages {
		if m == "settled" {
			break
		}
	}
	s.served(it)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
