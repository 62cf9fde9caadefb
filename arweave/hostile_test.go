package arweave_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
)

// gates answers requests by host name, without sockets, so that time can be virtual.
type gates map[string]func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (g gates) RoundTrip(r *http.Request) (*http.Response, error) { return g[r.URL.Host](r) }

func answer(status int, length int64, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: length, Body: io.NopCloser(body)}
}

// endless gives as many bytes as are wanted, and counts them.
type endless struct{ given atomic.Int64 }

func (e *endless) Read(b []byte) (int, error) {
	e.given.Add(int64(len(b)))
	return len(b), nil
}

// drip gives a byte a second.
type drip struct{ ctx context.Context }

func (d drip) Read(b []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		b[0] = 'x'
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

// stuck gives a beginning and then nothing.
type stuck struct {
	ctx  context.Context
	head io.Reader
}

func (s stuck) Read(b []byte) (int, error) {
	if n, err := s.head.Read(b); err == nil {
		return n, nil
	}
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

// serveBy is a gateway's honest answer.
func serveBy(h http.Handler) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Result(), nil
	}
}

// TestAnotherGatewayIsAsked: whatever a gateway does instead of answering, the next one is asked within the time of one
// small answer, and the call after that goes to the one that answers.
func TestAnotherGatewayIsAsked(t *testing.T) {
	const patience = 20 * time.Second
	var flood endless
	bad := map[string]func(*http.Request) (*http.Response, error){
		"hangs": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"drops":    func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"overload": func(*http.Request) (*http.Response, error) { return answer(503, -1, strings.NewReader("later")), nil },
		"garbage": func(*http.Request) (*http.Response, error) {
			return answer(200, -1, strings.NewReader("<html>hello</html>")), nil
		},
		"says ten gigabytes": func(*http.Request) (*http.Response, error) { return answer(200, 10<<30, &flood), nil },
		"sends ten gigabytes": func(*http.Request) (*http.Response, error) {
			return answer(200, -1, io.LimitReader(&flood, 10<<30)), nil
		},
		"drips": func(r *http.Request) (*http.Response, error) { return answer(200, -1, drip{r.Context()}), nil },
		"stops": func(r *http.Request) (*http.Response, error) {
			return answer(200, 4<<20, stuck{r.Context(), bytes.NewReader(make([]byte, 2<<20))}), nil
		},
		"redirects to itself": func(r *http.Request) (*http.Response, error) {
			resp := answer(302, 0, http.NoBody)
			resp.Header.Set("Location", r.URL.String())
			return resp, nil
		},
		"redirects to others": func(r *http.Request) (*http.Response, error) {
			resp := answer(302, 0, http.NoBody)
			resp.Header.Set("Location", fmt.Sprintf("http://bad/%d", time.Now().UnixNano()))
			return resp, nil
		},
	}
	for name, behave := range bad {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				flood.given.Store(0)
				chain := store.NewMemory()
				defer chain.Close()
				d, err := devnet.New(devnet.Config{Store: chain, Wallet: testWallet(t)})
				if err != nil {
					t.Fatal(err)
				}
				it := testItem(t, 1, []byte("the truth"))
				if err := d.Put(t.Context(), it); err != nil {
					t.Fatal(err)
				}
				client, err := arweave.NewClient(arweave.ClientConfig{
					Gateways: []string{"http://bad", "http://good"}, Timeout: patience, MaxItem: 8 << 20,
					HTTP: &http.Client{Transport: gates{"bad": behave, "good": serveBy(d)}},
				})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				got, err := client.Get(t.Context(), it.ID())
				if err != nil || !bytes.Equal(got.Raw(), it.Raw()) {
					t.Fatalf("got %v", err)
				}
				if took := time.Since(begin); took > patience+time.Second {
					t.Errorf("the good gateway was asked after %v", took)
				}
				if s := client.Gateways(); s[0].Failures == 0 || !s[0].Held || s[1].Failures > 0 {
					t.Errorf("reported as %+v", s)
				}
				begin = time.Now()
				if _, err := client.Get(t.Context(), it.ID()); err != nil || time.Since(begin) > time.Second {
					t.Errorf("again: %v after %v", err, time.Since(begin))
				}
				if n := flood.given.Load(); n > 8<<20+1<<20 {
					t.Errorf("%d bytes were read", n)
				}
			})
		})
	}
}

// counted is how many bytes of answers are held at once.
type counted struct {
	io.Reader
	now, most *atomic.Int64
	mine      int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.mine += int64(n)
	for now, seen := c.now.Add(int64(n)), c.most.Load(); now > seen && !c.most.CompareAndSwap(seen, now); seen = c.most.Load() {
	}
	return n, err
}

func (c *counted) Close() error {
	c.now.Add(-c.mine)
	c.mine = 0
	return nil
}

// TestLargeAnswersTakeTurns: however many items are fetched at once, what a gateway sends for them stays bounded.
func TestLargeAnswersTakeTurns(t *testing.T) {
	const most, at = 16 << 20, 32
	for _, length := range []int64{-1, most} {
		var now, peak atomic.Int64
		client, err := arweave.NewClient(arweave.ClientConfig{
			Gateways: []string{"http://bad"}, MaxItem: most, Tries: 1,
			HTTP: &http.Client{Transport: gates{"bad": func(*http.Request) (*http.Response, error) {
				resp := answer(200, length, nil)
				resp.Body = &counted{Reader: io.LimitReader(new(endless), most), now: &now, most: &peak}
				return resp, nil
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, at)
		for i := range at {
			go func() {
				_, err := client.Get(context.Background(), ans104.ID{byte(i)})
				ended <- err
			}()
		}
		for range at {
			if err := <-ended; !errors.Is(err, arweave.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
		}
		if peak.Load() > most/3*4+4+at*(1<<20+1) || peak.Load() < most {
			t.Errorf("%d bytes were held at once", peak.Load())
		}
	}
}

// TestHeightIsNoGatewaysWord: the middle one of three counts, of two the lower, and one alone must keep to the clock.
func TestHeightIsNoGatewaysWord(t *testing.T) {
	for _, c := range []struct {
		name    string
		say     []int64 // -1 drops, -2 hangs
		want    uint64
		blocked bool
	}{
		{"one", []int64{100}, 100, false},
		{"two", []int64{100, 103}, 100, false},
		{"a liar of two", []int64{999_999, 100}, 100, false},
		{"three", []int64{100, 102, 101}, 101, false},
		{"a liar of three", []int64{100, 999_999_999, 101}, 101, false},
		{"a low liar of three", []int64{100, 1, 101}, 100, false},
		{"four", []int64{100, 103, 102, 101}, 101, false},
		{"two liars of five", []int64{9999, 100, 101, 9999, 102}, 102, false},
		{"one drops", []int64{-1, 100, 104, 103}, 103, false},
		{"one hangs", []int64{-2, 100, 104, 103}, 103, false},
		{"all but one hang", []int64{-2, -2, 105}, 105, false},
		{"a liar alone", []int64{-1, 999_999, -1}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				say := slices.Clone(c.say)
				honest := slices.Repeat([]int64{90}, len(say))
				now := honest
				g := gates{}
				var names []string
				for i := range say {
					name := fmt.Sprint("g", i)
					names = append(names, "http://"+name)
					g[name] = func(r *http.Request) (*http.Response, error) {
						switch h := now[i]; h {
						case -1:
							return nil, io.ErrUnexpectedEOF
						case -2:
							<-r.Context().Done()
							return nil, r.Context().Err()
						default:
							return answer(200, -1, strings.NewReader(fmt.Sprintf(`{"height":%d}`, h))), nil
						}
					}
				}
				client, err := arweave.NewClient(arweave.ClientConfig{
					Gateways: names, HTTP: &http.Client{Transport: g}, BlockTime: time.Second, Tries: 1,
				})
				if err != nil {
					t.Fatal(err)
				}
				if h, err := client.Height(t.Context()); err != nil || h != 90 {
					t.Fatalf("at first %d, %v", h, err)
				}
				now = say
				begin := time.Now()
				h, err := client.Height(t.Context())
				if c.blocked {
					if !errors.Is(err, arweave.ErrCorrupt) {
						t.Errorf("got %d, %v", h, err)
					}
				} else if err != nil || h != c.want {
					t.Errorf("got %d, %v, want %d", h, err, c.want)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestHeightKeepsToTheClock: one gateway may rise as fast as blocks can come, and fall; what is beyond belief is refused
// until the clock allows it.
func TestHeightKeepsToTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var height int64
		ask := func(blockTime time.Duration) func(int64) error {
			client, err := arweave.NewClient(arweave.ClientConfig{
				Gateways: []string{"http://g"}, BlockTime: blockTime, Tries: 1,
				HTTP: &http.Client{Transport: gates{"g": func(*http.Request) (*http.Response, error) {
					return answer(200, -1, strings.NewReader(fmt.Sprintf(`{"height":%d}`, height))), nil
				}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return func(h int64) error {
				height = h
				got, err := client.Height(t.Context())
				if err == nil && got != uint64(h) {
					t.Errorf("got %d for %d", got, h)
				}
				return err
			}
		}
		begin := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
		time.Sleep(time.Until(begin))
		slow := ask(2 * time.Minute)
		if err := slow(1 << 32); !errors.Is(err, arweave.ErrCorrupt) {
			t.Errorf("a first height beyond belief: %v", err)
		}
		if err := slow(1_900_000); err != nil {
			t.Fatal(err)
		}
		if err := slow(1_900_030); err != nil {
			t.Errorf("some blocks at once: %v", err)
		}
		if err := slow(1_900_200); !errors.Is(err, arweave.ErrCorrupt) {
			t.Errorf("170 blocks at once: %v", err)
		}
		if err := slow(1_900_029); err != nil {
			t.Errorf("one back: %v", err)
		}
		time.Sleep(3 * time.Hour)
		if err := slow(1_900_200); err != nil {
			t.Errorf("170 blocks in three hours: %v", err)
		}
		if err := ask(0)(1 << 38); err != nil {
			t.Errorf("without a block time: %v", err)
		}
		fast := ask(time.Millisecond)
		if err := errors.Join(fast(7), fast(40)); err != nil {
			t.Errorf("a chain for tests: %v", err)
		}
		if time.Sleep(time.Second); fast(1000) != nil {
			t.Error("a chain for tests may rise by 1000 in a second")
		}
	})
}
