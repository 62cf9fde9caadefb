package arweave_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
)

// weather runs f in virtual time.
func weather(t *testing.T, f func(s *storm)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newStorm(t)) })
}

// front puts a handler before the devnet.
func (s *storm) front(name string, f func(w http.ResponseWriter, r *http.Request)) {
	s.wire[name] = func() http.Handler { return http.HandlerFunc(f) }
}

func (s *storm) put(items ...*ans104.Item) {
	s.t.Helper()
	s.must(s.bundler.Put(context.Background(), items...))
}

// pass lets time pass, with a block every two minutes.
func (s *storm) pass(blocks int) {
	s.t.Helper()
	for range blocks {
		time.Sleep(2 * time.Minute) // virtual
		s.must(s.devnet.Mine(1))
	}
	time.Sleep(2 * time.Minute)
}

func (s *storm) backlog() arweave.Backlog {
	s.t.Helper()
	log, err := s.bundler.Backlog()
	s.must(err)
	return log
}

func (s *storm) isSettled() bool {
	log := s.backlog()
	return log.Items+log.InFlight == 0
}

func TestReorganisedAnchorIsNotSignedAnewTooEarly(t *testing.T) {
	weather(t, func(s *storm) {
		s.pass(3)
		it := testItem(t, 1, []byte("x"))
		s.put(it)
		s.pass(2) // mined; its anchor is among the last three blocks
		s.must(s.devnet.Reorganise(4, false))
		s.pass(20)
		if _, err := s.devnet.Get(context.Background(), it.ID()); !errors.Is(err, arweave.ErrNotFound) {
			t.Fatalf("its anchor is void: %v", err)
		}
		if log := s.backlog(); log.InFlight != 1 || log.Oldest == nil || log.Oldest.ID != it.ID() || log.Oldest.Age < 40*time.Minute {
			t.Fatalf("%+v, oldest %+v", log, log.Oldest)
		}
		s.crash(1)
		s.pass(60)
		if !s.isSettled() {
			t.Fatalf("%+v", s.backlog())
		}
		s.stop()
		s.settledOnce([]*ans104.Item{it})
	})
}

// TestNoSecondTransactionWhileTheFirstMayLive is a gateway that took a transaction, lost its answer, and then knew nothing
// of it and refused it.
func TestNoSecondTransactionWhileTheFirstMayLive(t *testing.T) {
	weather(t, func(s *storm) {
		s.stop()
		var taken atomic.Bool
		amnesia := true
		s.front("devnet", func(w http.ResponseWriter, r *http.Request) {
			post := r.Method == http.MethodPost && r.URL.Path == "/tx"
			switch {
			case amnesia && post && taken.Swap(true):
				http.Error(w, "refused", http.StatusBadRequest)
			case amnesia && post:
				s.devnet.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			case amnesia && strings.HasSuffix(r.URL.Path, "/status"):
				http.NotFound(w, r)
			default:
				s.devnet.ServeHTTP(w, r)
			}
		})
		s.openBundler()
		it := testItem(t, 1, []byte("x"))
		s.put(it)
		s.pass(40)
		if s.isSettled() || !taken.Load() {
			t.Fatal("settled, for all the bundler knows?")
		}
		s.stop()
		amnesia = false
		s.openBundler()
		s.pass(10)
		if !s.isSettled() {
			t.Fatalf("%+v", s.backlog())
		}
		s.stop()
		s.settledOnce([]*ans104.Item{it})
	})
}

func TestShrinkingDepthIsWatchedToTheEnd(t *testing.T) {
	for _, lose := range []bool{false, true} {
		weather(t, func(s *storm) {
			it := testItem(t, 1, bytes.Repeat([]byte("x"), 700<<10))
			s.put(it)
			time.Sleep(time.Minute) // signed on the first block, which stays
			for range 5 {
				s.pass(int(s.depth) - 1)
				if s.isSettled() {
					t.Fatal("settled before its depth")
				}
				s.must(s.devnet.Reorganise(int(s.depth)-1, lose))
				time.Sleep(2 * time.Minute)
			}
			s.pass(int(s.depth) + 1)
			if !s.isSettled() {
				t.Fatalf("%+v", s.backlog())
			}
			s.stop()
			s.settledOnce([]*ans104.Item{it})
		})
	}
}

func TestPriceRisesAndFalls(t *testing.T) {
	weather(t, func(s *storm) {
		first, second := testItem(t, 1, []byte("x")), testItem(t, 2, []byte("y"))
		s.must(s.devnet.SetFaults(devnet.Faults{Refuse: 1}))
		s.put(first)
		time.Sleep(5 * time.Minute)
		s.must(s.devnet.SetFaults(devnet.Faults{PriceTimes: 1 << 32})) // beyond MaxFee
		s.put(second)
		s.pass(5)
		if log := s.backlog(); log.Items != 2 || log.Oldest == nil || log.Oldest.ID != first.ID() {
			t.Fatalf("%+v, oldest %+v", log, log.Oldest)
		}
		s.must(s.devnet.SetFaults(devnet.Faults{PriceTimes: 1000}))
		s.pass(int(s.depth) + 2)
		if !s.isSettled() {
			t.Fatalf("%+v", s.backlog())
		}
		s.stop()
		s.settledOnce([]*ans104.Item{first, second})
	})
}

// TestPriceRisesBetweenSigningAndPosting needs a new signature at once: nobody can have the old one.
func TestPriceRisesBetweenSigningAndPosting(t *testing.T) {
	weather(t, func(s *storm) {
		s.stop()
		var risen atomic.Bool
		s.front("devnet", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == "/tx" && !risen.Swap(true) {
				if err := s.devnet.SetFaults(devnet.Faults{PriceTimes: 5}); err != nil {
					t.Error(err)
				}
			}
			s.devnet.ServeHTTP(w, r)
		})
		s.openBundler()
		it := testItem(t, 1, []byte("x"))
		s.put(it)
		s.pass(int(s.depth) + 1)
		if !s.isSettled() {
			t.Fatalf("%+v", s.backlog())
		}
		s.stop()
		s.settledOnce([]*ans104.Item{it})
	})
}

func TestDroppedChunksArePostedAgain(t *testing.T) {
	weather(t, func(s *storm) {
		s.stop()
		var seen, dropped atomic.Int32
		s.front("devnet", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/chunk" && seen.Add(1)%2 == 0 && dropped.Add(1) <= 3 {
				w.WriteHeader(http.StatusOK) // and forgets it
				return
			}
			s.devnet.ServeHTTP(w, r)
		})
		s.openBundler()
		it := testItem(t, 1, bytes.Repeat([]byte("chunky"), 200_000))
		s.put(it)
		s.pass(int(s.depth) + 4)
		if !s.isSettled() || dropped.Load() < 3 {
			t.Fatalf("%+v, %d dropped", s.backlog(), dropped.Load())
		}
		s.stop()
		s.settledOnce([]*ans104.Item{it})
	})
}

func TestFailoverBetweenGateways(t *testing.T) {
	for name, bad := range map[string]func(s *storm, w http.ResponseWriter, r *http.Request){
		"hangs": func(_ *storm, _ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		},
		"refuses": func(_ *storm, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "x", http.StatusServiceUnavailable)
		},
		"drops": func(s *storm, w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.WriteHeader(http.StatusOK)
				return
			}
			if strings.HasSuffix(r.URL.Path, "/status") {
				http.NotFound(w, r)
				return
			}
			s.devnet.ServeHTTP(w, r)
		},
		"answers nonsense": func(_ *storm, w http.ResponseWriter, _ *http.Request) { w.Write([]byte("nonsense")) },
	} {
		t.Run(name, func(t *testing.T) {
			weather(t, func(s *storm) {
				s.stop()
				s.gateways = []string{"http://bad", "http://devnet", "http://other"}
				s.wire["other"] = s.wire["devnet"]
				s.front("bad", func(w http.ResponseWriter, r *http.Request) { bad(s, w, r) })
				s.openBundler()
				items := []*ans104.Item{testItem(t, 1, []byte("x")), testItem(t, 2, bytes.Repeat([]byte("x"), 600<<10))}
				s.put(items...)
				s.pass(int(s.depth) + 5)
				if !s.isSettled() {
					t.Fatalf("%+v", s.backlog())
				}
				s.stop()
				s.settledOnce(items)
			})
		})
	}
}

// TestOneGatewayAloneDoesNotSettle says that a gateway with a chain of its own does not end the watch.
func TestOneGatewayAloneDoesNotSettle(t *testing.T) {
	weather(t, func(s *storm) {
		s.stop()
		s.gateways = []string{"http://devnet", "http://forgetful"}
		s.front("forgetful", func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				http.NotFound(w, r)
				return
			}
			s.devnet.ServeHTTP(w, r)
		})
		s.openBundler()
		s.put(testItem(t, 1, []byte("x")))
		s.pass(int(s.depth) + 5)
		if s.isSettled() {
			t.Fatal("settled on the word of one of two")
		}
	})
}

// TestBlocksThatListNothing is a gateway, such as arlocal, whose blocks do not say what is in them: its index has to.
func TestBlocksThatListNothing(t *testing.T) {
	for name, block := range map[string]map[string]any{
		"the index agrees": nil, "another block": {"id": strings.Repeat("A", 64), "height": 4}, "no block": {},
	} {
		t.Run(name, func(t *testing.T) {
			weather(t, func(s *storm) {
				s.stop()
				s.front("devnet", func(w http.ResponseWriter, r *http.Request) {
					rec := httptest.NewRecorder()
					s.devnet.ServeHTTP(rec, r)
					body := rec.Body.Bytes()
					if strings.HasPrefix(r.URL.Path, "/block/height/") && rec.Code == http.StatusOK {
						var b map[string]any
						s.must(json.Unmarshal(body, &b))
						b["txs"] = []string{"[object Object]"}
						body, _ = json.Marshal(b)
					}
					if r.URL.Path == "/graphql" && block != nil {
						body = editNode(t, body, func(n map[string]any) {
							if n["block"] = any(block); len(block) == 0 {
								n["block"] = nil
							}
						})
					}
					w.WriteHeader(rec.Code)
					w.Write(body)
				})
				s.openBundler()
				s.put(testItem(t, 1, []byte("x")))
				s.pass(int(s.depth) + 5)
				if s.isSettled() != (block == nil) {
					t.Fatalf("settled: %v", s.isSettled())
				}
			})
		})
	}
}

func TestOldestUnsettledIsReported(t *testing.T) {
	weather(t, func(s *storm) {
		if log := s.backlog(); log.Oldest != nil {
			t.Fatalf("%+v", log.Oldest)
		}
		large := testItem(t, 1, bytes.Repeat([]byte("x"), 100<<10)) // in a file of its own
		s.put(large)
		time.Sleep(20 * time.Second)
		s.put(testItem(t, 2, []byte("y")))
		is := func(id ans104.ID, age time.Duration) {
			t.Helper()
			if got := s.backlog().Oldest; got == nil || got.ID != id || got.Age != age {
				t.Fatalf("%+v, want %s of %s", got, id, age)
			}
		}
		is(large.ID(), 20*time.Second)
		time.Sleep(time.Hour)
		is(large.ID(), time.Hour+20*time.Second)
		s.crash(1)
		is(large.ID(), time.Hour+20*time.Second)
		s.pass(int(s.depth) + 1)
		id, err := s.bundler.PostTx(context.Background(), arweave.TxDraft{})
		s.must(err)
		time.Sleep(time.Minute)
		is(id, time.Minute)
	})
}
