package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// from asks as somebody at that address.
func (f *fixture) from(address string, s Surface, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr = address
	w := httptest.NewRecorder()
	f.handlers[s].ServeHTTP(w, r)
	return w
}

// TestRates: each address is let in only so often, whatever it says of itself; loopback always is.
func TestRates(t *testing.T) {
	clock := now()
	f := newFixture(t, func(f *fixture) {
		f.cfg.Now = func() time.Time { return clock }
		f.cfg.Limits.Rate, f.cfg.Limits.Burst = 1, 3
		f.cfg.Limits.DryRate, f.cfg.Limits.DryBurst = 0.1, 1
	})
	for i := range 3 {
		if w := f.from("192.0.2.1:1", Messenger, "GET", "/", ""); w.Code != 200 {
			t.Fatalf("call %d: %d", i, w.Code)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "192.0.2.1:2"
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	r.Header.Set("X-Real-IP", "127.0.0.1")
	w := httptest.NewRecorder()
	f.handlers[Messenger].ServeHTTP(w, r)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || w.Body.String() != `{"error":"Rate limit exceeded"}` {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	for _, other := range []string{"192.0.2.2:1", "127.0.0.1:9", "[::1]:9", "[2001:db8:0:100::1]:1"} {
		if w := f.from(other, Messenger, "GET", "/", ""); w.Code != 200 {
			t.Errorf("%s: %d", other, w.Code)
		}
	}
	for i := range 4 { // one household, however many addresses it has
		w = f.from(fmt.Sprintf("[2001:db8:0:1%d::%d]:1", i, i+2), Messenger, "GET", "/", "")
	}
	if w.Code != http.StatusTooManyRequests {
		t.Errorf("another address of an IPv6 network: %d", w.Code)
	}
	clock = clock.Add(time.Second)
	if w := f.from("192.0.2.1:1", Messenger, "GET", "/", ""); w.Code != 200 {
		t.Errorf("a second later: %d", w.Code)
	}
	path := "/dry-run?process-id=" + f.chain.Process().String()
	if w := f.from("192.0.2.9:1", Computer, "POST", path, `{}`); w.Code != 200 {
		t.Errorf("a dry-run: %d %s", w.Code, w.Body)
	}
	if w := f.from("192.0.2.9:1", Computer, "POST", path, `{}`); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "10" {
		t.Errorf("a second dry-run: %d %v", w.Code, w.Header())
	}
}

// TestManyCallers: the table of callers does not grow without end, and whoever calls is not forgotten for those who do not.
func TestManyCallers(t *testing.T) {
	l := newLimiter(1, 1, now)
	own := netip.MustParseAddr("192.0.2.1")
	l.take(own)
	for i := range 3 * maxCallers {
		l.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if i%1000 == 0 && l.take(own) == 0 {
			t.Fatal("whoever calls was forgotten")
		}
	}
	if len(l.callers) != maxCallers || l.recent.Len() != maxCallers {
		t.Errorf("%d callers in the table, %d in the list", len(l.callers), l.recent.Len())
	}
}

// waits is a computer whose dry-runs wait to be let go.
type waits struct {
	units.Computer
	began chan struct{}
	end   chan struct{}
}

func (w waits) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	w.began <- struct{}{}
	<-w.end
	return w.Computer.DryRun(ctx, process, q)
}

// TestTurns: so many dry-runs of a process at once, and so many requests; more are turned away, and told to come again.
func TestTurns(t *testing.T) {
	w := waits{began: make(chan struct{}), end: make(chan struct{})}
	f := newFixture(t, func(f *fixture) {
		w.Computer = f.computer
		f.cfg.Computer, f.cfg.Limits.DryRuns, f.cfg.Limits.Requests = w, 1, 2
	})
	path := "/dry-run?process-id=" + f.chain.Process().String()
	done := make(chan int, 2)
	ask := func(path string) { done <- f.ask(Computer, "POST", path, `{}`).Code }
	go ask(path)
	<-w.began
	if r := f.ask(Computer, "POST", path, `{}`); r.Code != 503 || r.Header().Get("Retry-After") != "1" || !strings.Contains(r.Body.String(), "dry-runs") {
		t.Errorf("a second dry-run: %d %s", r.Code, r.Body)
	}
	go ask("/dry-run?process-id=" + f.other(t).String())
	<-w.began
	if r := f.ask(Computer, "GET", "/", ""); r.Code != 503 || !strings.Contains(r.Body.String(), "at once") {
		t.Errorf("a third request: %d %s", r.Code, r.Body)
	}
	close(w.end)
	if a, b := <-done, <-done; a != 200 || b != 200 {
		t.Errorf("those that waited: %d, %d", a, b)
	}
	if len(f.gateway.runs.under) != 0 || len(f.gateway.places) != 0 {
		t.Errorf("places are left taken: %v, %d", f.gateway.runs.under, len(f.gateway.places))
	}
}

// counts is a computer that counts its dry-runs in what it answers.
type counts struct {
	units.Computer
	n *int
}

func (c counts) DryRun(context.Context, ao.ID, ao.Query) (ao.Result, error) {
	*c.n++
	return ao.Result{Output: json.RawMessage(fmt.Sprint(*c.n))}, nil
}

// TestOldAnswers: whoever says so gets an answer to the same question that is some seconds old.
func TestOldAnswers(t *testing.T) {
	clock, n := now(), 0
	f := newFixture(t, func(f *fixture) {
		f.cfg.Now = func() time.Time { return clock }
		f.cfg.Computer = counts{f.computer, &n}
	})
	path := "/dry-run?process-id=" + f.chain.Process().String()
	for i, c := range []struct {
		body, age string
		later     time.Duration
		want      string
	}{
		{`{}`, "", 0, "1"},
		{`{}`, "", 0, "2"}, // who does not ask for it gets none
		{`{}`, "5", 0, "2"},
		{`{"Data":"x"}`, "5", 0, "3"},
		{`{}`, "5", 4 * time.Second, "2"},
		{`{}`, "5", time.Second, "4"},
		{`{}`, "100000", 59 * time.Second, "4"},
		{`{}`, "100000", time.Second, "5"}, // a minute is the most
		{`{}`, "0", 0, "6"},
	} {
		clock = clock.Add(c.later)
		r := f.ask(Computer, "POST", path, c.body, "X-Max-Age", c.age)
		if !strings.Contains(r.Body.String(), `"Output":`+c.want) {
			t.Errorf("question %d: %s, want %s", i, r.Body, c.want)
		}
	}
	for i := range 3 * maxAnswers {
		f.ask(Computer, "POST", path, fmt.Sprintf(`{"Data":"%d"}`, i))
	}
	if len(f.gateway.cache.kept) > maxAnswers {
		t.Errorf("%d answers are kept", len(f.gateway.cache.kept))
	}
}

// pieces are a computer's states, of a few bytes each.
type pieces struct{ closed *int }

func (p pieces) Memory(ctx context.Context, process ao.ID) (units.Dump, error) {
	return p.MemoryAt(ctx, process, 9)
}

func (p pieces) MemoryAt(_ context.Context, _ ao.ID, slot ao.Slot) (units.Dump, error) {
	return units.Dump{
		Last: ao.AssignmentFields{Nonce: slot, Timestamp: 1234, BlockHeight: 56}, Size: 5,
		Bytes: closing{bytes.NewReader([]byte("bytes")), p.closed},
	}, nil
}

func (p pieces) DryRunAt(_ context.Context, _ ao.ID, slot ao.Slot, q ao.Query) (ao.Result, error) {
	return ao.Result{Output: []byte(`"` + string(q.Data) + " at " + slot.String() + `"`)}, nil
}

type closing struct {
	io.Reader
	n *int
}

func (c closing) Close() error { *c.n++; return nil }

// TestState: the memory comes with the slot that it is of, the newest up to a time, and is given back.
func TestState(t *testing.T) {
	closed := 0
	f := newFixture(t, func(f *fixture) { f.cfg.States = pieces{&closed} })
	path := "/state/" + f.chain.Process().String()
	at := func(slot int) string {
		return "?to=" + strconv.FormatInt(f.chain.Entries()[slot].Assignment.Fields().Timestamp, 10)
	}
	asked := 0
	for to, slot := range map[string]string{"": "9", at(9): "9", at(4): "4", at(0): "0", "?to=9999999999999": "9"} {
		for method, body := range map[string]string{"GET": "bytes", "HEAD": ""} {
			w := f.ask(Computer, method, path+to, "")
			h := w.Header()
			if w.Code != 200 || w.Body.String() != body || h.Get("Last-Timestamp") != "1234" || h.Get("Last-Ordinate") != slot ||
				h.Get("Last-Block-Height") != "56" || h.Get("Content-Type") != "application/octet-stream" || h.Get("Content-Length") != "5" {
				t.Errorf("%s %s: %d %q %v", method, to, w.Code, w.Body, h)
			}
			asked++
		}
	}
	if w := f.ask(Computer, "GET", path+"?to=1233", ""); w.Code != 404 {
		t.Errorf("before the first slot: %d %s", w.Code, w.Body)
	}
	if closed != asked {
		t.Errorf("%d memories were given back, of %d", closed, asked)
	}
}

// TestDryRunInThePast: a message's slot, or its assignment's, is where the question is asked, and answers are not mixed up.
func TestDryRunInThePast(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.cfg.States = pieces{} })
	pid := f.chain.Process().String()
	for range 2 {
		for to, want := range map[string]string{
			"":           `"asked at 9"`,
			"&to=" + pid: `"asked at 0"`,
			"&to=" + f.chain.Entries()[3].Message.ID().String():    `"asked at 3"`,
			"&to=" + f.chain.Entries()[4].Assignment.ID().String(): `"asked at 4"`,
		} {
			w := f.ask(Computer, "POST", "/dry-run?process-id="+pid+to, `{"Data":"asked"}`, "X-Max-Age", "60")
			if to != "" && (w.Code != 200 || !strings.Contains(w.Body.String(), `"Output":`+want)) || to == "" && strings.Contains(w.Body.String(), "asked at") {
				t.Errorf("to %q: %d %s, want %s", to, w.Code, w.Body, want)
			}
		}
	}
}

// TestOneDoorForAll: where surfaces share an address, POST / is the messenger's and GET / the scheduler's.
func TestOneDoorForAll(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct{ method, path, says string }{
		{"GET", "/", `"timestamp":"`},
		{"POST", "/", "parse item"},
		{"GET", "/timestamp", "block_height"},
		{"GET", "/results/" + f.chain.Process().String(), "pageInfo"},
		{"GET", "/" + f.chain.Process().String(), "page_info"},
		{"GET", "/status", `"name":"test"`},
		{"OPTIONS", "/", ""},
	} {
		w := httptest.NewRecorder()
		f.all.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader("x")))
		if !strings.Contains(w.Body.String(), c.says) || w.Header().Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

// TestHealth: a peer that takes no work says why.
func TestHealth(t *testing.T) {
	why := ""
	f := newFixture(t, func(f *fixture) { f.cfg.NotReady = func() string { return why } })
	if w := f.ask(Scheduler, "GET", "/health", ""); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	why = "the peer is about to stop"
	if w := f.ask(Scheduler, "GET", "/health", ""); w.Code != 503 || w.Body.String() != `{"error":"the peer is about to stop"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// FuzzCursor: whatever stands in a bound, it is refused or means a place.
func FuzzCursor(f *testing.F) {
	f.Add("1700000000000")
	f.Add(cursor{Timestamp: 5, Ordinate: "3", Sort: ascending}.String())
	f.Add(enc(`{"timestamp":"5","ordinate":3,"cron":"1-10-seconds","sort":"DESC"}`))
	f.Add(enc(`{"timestamp":null,"ordinate":{}}`))
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBound(map[string][]string{"from": {text}}, "from")
		if err != nil {
			return
		}
		if b.isAbsent != (text == "") || b.tick().Interval < 0 || b.time < 0 && b.cron != "" {
			t.Errorf("%q is %+v", text, b)
		}
	})
}

// FuzzDryRun: whatever stands in a body, it is refused or asks something.
func FuzzDryRun(f *testing.F) {
	f.Add(`{"Id":"1234","Target":"x","Owner":"1234","Anchor":"0","Data":"1234","Tags":[{"name":"Action","value":"Eval"}]}`)
	f.Add(`{"Data":{"a":[1]},"Tags":null,"From":""}`)
	f.Fuzz(func(t *testing.T, body string) {
		var m dryMessage
		if json.Unmarshal([]byte(body), &m) != nil {
			return
		}
		if q := m.query(); q.Owner == "" || len(q.Tags) != len(m.Tags) {
			t.Errorf("%s asks %+v", body, q)
		}
	})
}
