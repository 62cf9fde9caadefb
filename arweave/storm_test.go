package arweave_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
)

// wire carries requests to handlers by host name, without a socket, so that time can be virtual.
type wire map[string]func() http.Handler

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	ended := make(chan *http.Response, 1)
	go func() {
		rec := httptest.NewRecorder()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
			close(ended)
		}()
		w[r.URL.Host]().ServeHTTP(rec, r)
		ended <- rec.Result()
	}()
	select {
	case resp, ok := <-ended:
		if !ok {
			return nil, fmt.Errorf("%s: connection closed", r.URL.Host)
		}
		return resp, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// storm is a devnet and a bundler in virtual time, both of which can be restarted.
type storm struct {
	t       *testing.T
	chain   *store.Crashable
	disk    *store.Crashable
	devnet  *devnet.Devnet
	serving atomic.Pointer[devnet.Devnet] // the same, for requests that outlive a crash
	bundler *arweave.Bundler
	stop    func()
	depth   uint64
	// gateways are base URLs, and wire what is behind them.
	gateways []string
	wire     wire
}

func newStorm(t *testing.T) *storm {
	s := &storm{t: t, chain: store.NewCrashable(), disk: store.NewCrashable(), stop: func() {}, depth: 6}
	s.gateways, s.wire = []string{"http://devnet"}, wire{"devnet": func() http.Handler { return s.serving.Load() }}
	s.openDevnet()
	s.openBundler()
	t.Cleanup(func() { s.stop(); s.chain.Close(); s.disk.Close() })
	return s
}

func (s *storm) openDevnet() {
	var err error
	if s.devnet, err = devnet.New(devnet.Config{Store: s.chain, Wallet: testWallet(s.t), AllowFaults: true}); err != nil {
		s.t.Fatal(err)
	}
	s.serving.Store(s.devnet)
}

func (s *storm) openBundler() {
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: s.gateways, HTTP: &http.Client{Transport: s.wire}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.bundler, err = arweave.NewBundler(arweave.BundlerConfig{
		Store: s.disk, Client: client, Wallet: testWallet(s.t), MaxItems: 20, Depth: s.depth,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	bundler := s.bundler
	go func() { ended <- bundler.Run(ctx) }()
	s.stop = func() {
		cancel()
		<-ended // with an error, when the power was cut
		s.stop = func() {}
	}
}

// crash cuts the power of both and starts them again.
func (s *storm) crash(seed uint64) {
	s.t.Helper()
	var err error
	if s.disk, err = s.disk.Crash(50, seed); err != nil {
		s.t.Fatal(err)
	}
	s.stop()
	if s.chain, err = s.chain.Crash(50, seed); err != nil {
		s.t.Fatal(err)
	}
	s.openDevnet()
	s.openBundler()
}

func (s *storm) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// settledTimes counts in how many bundles of the chain each item is, reading them without any fault in between.
func (s *storm) settledTimes() map[ans104.ID]int {
	s.t.Helper()
	s.must(s.devnet.SetFaults(devnet.Faults{}))
	times := map[ans104.ID]int{}
	height, _ := s.devnet.Height(context.Background())
	for h := uint64(0); h <= height; h++ {
		block, err := s.devnet.Block(context.Background(), h)
		s.must(err)
		for _, id := range block.Txs {
			rec := httptest.NewRecorder()
			s.devnet.ServeHTTP(rec, httptest.NewRequest("GET", "/raw/"+id.String(), nil))
			if rec.Code != http.StatusOK {
				s.t.Fatalf("transaction %s in block %d has no data: %d", id, h, rec.Code)
			}
			entries, err := ans104.ParseBundle(rec.Body.Bytes())
			s.must(err)
			for _, e := range entries {
				times[e.ID]++
			}
		}
	}
	return times
}

func (s *storm) settledOnce(items []*ans104.Item) {
	s.t.Helper()
	times := s.settledTimes()
	for _, it := range items {
		if times[it.ID()] != 1 {
			s.t.Errorf("item %s is %d times on the chain", it.ID(), times[it.ID()])
		}
		got, err := s.devnet.Get(context.Background(), it.ID())
		if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
			s.t.Errorf("item %s: %v", it.ID(), err)
		}
	}
	if len(times) != len(items) {
		s.t.Errorf("%d items on the chain, put %d", len(times), len(items))
	}
	if files, err := s.disk.ListFiles("arweave/"); err != nil || len(files) > 0 {
		s.t.Errorf("files left: %v %v", files, err)
	}
}

// TestEverythingIsSettledOnceInAStorm is a gateway that drops, lies, hangs, refuses and is slow, on a chain that
// reorganises, under a bundler that loses its power.
func TestEverythingIsSettledOnceInAStorm(t *testing.T) {
	seeds := []uint64{1, 2}
	if testing.Short() {
		seeds = seeds[:1]
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { rideOut(t, seed) }) })
	}
}

func rideOut(t *testing.T, seed uint64) {
	const count, rounds = 200, 1000
	s := newStorm(t)
	s.must(s.devnet.SetFaults(devnet.Faults{
		Drop: 0.3, Lie: 0.2, Hang: 0.05, Refuse: 0.05, Delay: 2 * time.Second, Seed: seed,
	}))
	var items []*ans104.Item
	used := 0
	for round := 1; ; round++ {
		for range 10 {
			if len(items) < count {
				size := 1 << 10
				if len(items)%25 == 7 {
					size = 300 << 10
				}
				it := testItem(t, len(items), bytes.Repeat([]byte{byte(len(items))}, size))
				items = append(items, it)
				s.must(s.bundler.Put(context.Background(), it))
			}
		}
		switch round {
		case 9, 16, 33:
			s.must(s.devnet.Reorganise(3, round == 16))
		case 12, 25:
			s.crash(seed + uint64(round))
		}
		time.Sleep(2 * time.Minute) // virtual
		s.must(s.devnet.Mine(1))
		log, err := s.bundler.Backlog()
		s.must(err)
		if (log.Oldest == nil) != (log.Items+log.InFlight == 0) {
			t.Fatalf("oldest of %+v: %+v", log, log.Oldest)
		}
		if log.Items+log.InFlight == 0 && len(items) == count && round > 33 {
			used = round
			break
		}
		if round == rounds {
			t.Fatalf("not settled after %d rounds: %+v, oldest %+v", rounds, log, log.Oldest)
		}
	}
	s.stop()
	s.settledOnce(items)
	t.Logf("settled %d items in %d blocks", count, used)
}
