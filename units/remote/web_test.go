package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// web is a client of a server that answers everything likewise, for both units.
func web(t *testing.T, h http.HandlerFunc) *Web {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	w, err := NewWeb(WebConfig{Messenger: s.URL + "/", Computer: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestWebAsksAsStockClientsDo holds every request to what was captured of one.
func TestWebAsksAsStockClientsDo(t *testing.T) {
	signer := ans104.NewEd25519Signer(keyOf("user"))
	process, other := ao.ID{1}, ao.ID{2}
	m, err := ao.SignMessage(signer, process, ao.Tags{{Name: "Action", Value: "Eval"}}, []byte("1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := ao.SignRequest(signer, process)
	if err != nil {
		t.Fatal(err)
	}
	var got, body, kind, answer string
	w := web(t, func(out http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got, body, kind = r.Method+" "+r.URL.RequestURI(), string(raw), r.Header.Get("Content-Type")
		_, _ = io.WriteString(out, answer)
	})
	p, o, mine := process.String(), other.String(), m.ID().String()
	page := `{"pageInfo":{"hasNextPage":false},"edges":[{"node":{"Messages":[],"Output":"b"},"cursor":"2"},{"node":{"Output":"a"},"cursor":"1"}]}`
	for _, c := range []struct {
		want, body, kind, answer string
		ask                      func(context.Context) (any, error)
		say                      string
	}{
		{
			"POST /", string(m.Raw()), "application/octet-stream", `{"message":"Processing DataItem","id":"x"}`,
			func(ctx context.Context) (any, error) { return nil, w.Push(ctx, m) }, "<nil>",
		},
		{
			"POST /?assign=" + o + "&base-layer=&exclude=Data%2CAnchor&process-id=" + p, "", "", `{"message":"Processing Assignment","id":"` + mine + `"}`,
			func(ctx context.Context) (any, error) {
				return w.Assign(ctx, process, other, ao.AssignOptions{BaseLayer: true, Exclude: []string{"Data", "Anchor"}})
			}, mine,
		},
		{
			"POST /?assign=" + o + "&process-id=" + p, "", "", `{"id":"` + mine + `"}`,
			func(ctx context.Context) (any, error) { return w.Assign(ctx, process, other, ao.AssignOptions{}) }, mine,
		},
		{
			"POST /monitor/" + p, string(request.Raw()), "application/octet-stream", "Monitoring process",
			func(ctx context.Context) (any, error) { return nil, w.Monitor(ctx, request) }, "<nil>",
		},
		{
			"DELETE /monitor/" + p, string(request.Raw()), "application/octet-stream", "Process deleted",
			func(ctx context.Context) (any, error) { return nil, w.Unmonitor(ctx, request) }, "<nil>",
		},
		{
			"GET /result/" + o + "?process-id=" + p, "", "", `{"Messages":[{"Target":"` + o + `","Tags":[],"Anchor":"","Data":"d"}],"Output":{"data":"x"}}`,
			func(ctx context.Context) (any, error) {
				r, err := w.Result(ctx, process, other)
				return fmt.Sprint(string(r.Output), r.Outbox(), r.Error == nil), err
			}, `{"data":"x"}1 true`,
		},
		{
			"GET /result/" + o + "?process-id=" + p, "", "", `{"Error":"out of gas!","Messages":[]}`,
			func(ctx context.Context) (any, error) {
				r, err := w.Result(ctx, process, other)
				return string(r.Error), err
			}, `"out of gas!"`,
		},
		{
			"GET /results/" + p + "?from=e30%3D&limit=2&sort=ASC", "", "", page,
			func(ctx context.Context) (any, error) {
				rs, err := w.Results(ctx, process, "e30=", 2)
				return rs[0].Cursor + string(rs[1].Result.Output), err
			}, `2"a"`,
		},
		{
			"GET /results/" + p + "?limit=9&sort=DESC", "", "", page,
			func(ctx context.Context) (any, error) {
				rs, err := w.LastResults(ctx, process, 9)
				return rs[0].Cursor + string(rs[1].Result.Output), err
			}, `1"b"`,
		},
		{
			"POST /dry-run?process-id=" + p,
			`{"Id":"1234","Target":"` + p + `","Owner":"me","Anchor":"","Data":"d","Tags":[{"name":"Action","value":"Info"},` +
				`{"name":"Data-Protocol","value":"ao"},{"name":"Type","value":"Message"},{"name":"Variant","value":"ao.TN.1"}]}`,
			"application/json", `{"Output":"dry"}`,
			func(ctx context.Context) (any, error) {
				r, err := w.DryRun(ctx, process, ao.Query{Owner: "me", Data: []byte("d"), Tags: ao.Tags{{Name: "Action", Value: "Info"}}})
				return string(r.Output), err
			}, `"dry"`,
		},
	} {
		answer = c.answer
		said, err := c.ask(t.Context())
		if err != nil || fmt.Sprint(said) != c.say {
			t.Errorf("%s: %v, %v; want %s", c.want, said, err, c.say)
		}
		if got != c.want || body != c.body || kind != c.kind {
			t.Errorf("asked %s (%s) with %q,\nwant  %s (%s) with %q", got, kind, body, c.want, c.kind, c.body)
		}
	}
}

// TestWebRefusals: each status has its code, and a peer of ours is understood to the word.
func TestWebRefusals(t *testing.T) {
	var status int
	var answer string
	w := web(t, func(out http.ResponseWriter, _ *http.Request) {
		out.WriteHeader(status)
		_, _ = io.WriteString(out, answer)
	})
	for _, c := range []struct {
		status int
		answer string
		want   ao.Refusal
	}{
		{202, `{"message":"Evaluation is in progress."}`, ao.Refusal{Hop: "compute", Code: ao.Busy, Detail: "HTTP 202: Evaluation is in progress."}},
		{400, `{"error":"bad tags"}`, ao.Refusal{Hop: "compute", Code: ao.Malformed, Detail: "HTTP 400: bad tags"}},
		{403, "no", ao.Refusal{Hop: "compute", Code: ao.Unsupported, Detail: "HTTP 403: no"}},
		{404, "<p>\x1b[2Jnot\n here", ao.Refusal{Hop: "compute", Code: ao.UnknownMessage, Detail: "HTTP 404: <p> [2Jnot here"}},
		{413, "", ao.Refusal{Hop: "compute", Code: ao.TooLarge, Detail: "HTTP 413: "}},
		{422, `{"error":"HashChain invalid on message x"}`, ao.Refusal{Hop: "compute", Code: ao.BadLog, Detail: "HTTP 422: HashChain invalid on message x"}},
		{425, `{"error":"earlier"}`, ao.Refusal{Hop: "compute", Code: ao.NotYet, Detail: "HTTP 425: earlier"}},
		{429, `{"error":"Rate limit exceeded"}`, ao.Refusal{Hop: "compute", Code: ao.Busy, Detail: "HTTP 429: Rate limit exceeded"}},
		{500, `{"error":7}`, ao.Refusal{Hop: "compute", Code: ao.Internal, Detail: `HTTP 500: {"error":7}`}},
		{502, "", ao.Refusal{Hop: "compute", Code: ao.Unreachable, Detail: "HTTP 502: "}},
		{503, "", ao.Refusal{Hop: "compute", Code: ao.Busy, Detail: "HTTP 503: "}},
		{504, "", ao.Refusal{Hop: "compute", Code: ao.Deadline, Detail: "HTTP 504: "}},
		{404, `{"error":"log: not-yet: slot 3"}`, ao.Refusal{Hop: "log", Code: ao.NotYet, Detail: "slot 3"}},
		{404, `{"error":"log: no-code: slot 3"}`, ao.Refusal{Hop: "compute", Code: ao.UnknownMessage, Detail: "HTTP 404: log: no-code: slot 3"}},
		{200, `["no result"]`, ao.Refusal{Hop: "compute", Code: ao.BadResult, Detail: `the computer answers with no result: "[\"no result\"]"`}},
		{200, `{}},"x":{`, ao.Refusal{Hop: "compute", Code: ao.BadResult, Detail: `the computer answers with no result: "{}},\"x\":{"`}},
	} {
		status, answer = c.status, c.answer
		_, err := w.Result(t.Context(), ao.ID{1}, ao.ID{2})
		var r *ao.Refusal
		if !errors.As(err, &r) || *r != c.want {
			t.Errorf("%d %s: %v, want %v", c.status, c.answer, err, &c.want)
		}
	}
	status = 200
	for answer = range map[string]bool{"": true, "{}": true, `{"edges":7}`: true, `{"edges":[7]}`: true, `{"edges":[{"cursor":"1"}]}`: true} {
		if rs, err := w.Results(t.Context(), ao.ID{1}, "", 5); err == nil {
			t.Errorf("the page %q is %v", answer, rs)
		}
	}
	answer = `{"id":"short"}`
	if id, err := w.Assign(t.Context(), ao.ID{1}, ao.ID{2}, ao.AssignOptions{}); !errors.Is(err, &ao.Refusal{Code: ao.Malformed}) {
		t.Errorf("an assignment without ID is %v, %v", id, err)
	}
}

// TestWebTrouble: what is no answer, or too much of one.
func TestWebTrouble(t *testing.T) {
	endless := web(t, func(out http.ResponseWriter, _ *http.Request) {
		b := make([]byte, 1<<20)
		for {
			if _, err := out.Write(b); err != nil {
				return
			}
		}
	})
	silent := web(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	silent.timeout = 10 * time.Millisecond
	circle := web(t, func(out http.ResponseWriter, r *http.Request) {
		http.Redirect(out, r, "/again", http.StatusTemporaryRedirect)
	})
	gone := httptest.NewServer(http.NotFoundHandler())
	nobody, err := NewWeb(WebConfig{Computer: gone.URL})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for want, w := range map[ao.Code]*Web{ao.TooLarge: endless, ao.Deadline: silent, ao.Unreachable: nobody} {
		if _, err := w.Result(t.Context(), ao.ID{1}, ao.ID{2}); !errors.Is(err, &ao.Refusal{Code: want}) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := circle.Assign(t.Context(), ao.ID{1}, ao.ID{2}, ao.AssignOptions{}); !errors.Is(err, &ao.Refusal{Code: ao.Unreachable}) {
		t.Errorf("in a circle: %v", err)
	}
	if _, err := nobody.Assign(t.Context(), ao.ID{1}, ao.ID{2}, ao.AssignOptions{}); !errors.Is(err, &ao.Refusal{Code: ao.Unsupported}) {
		t.Errorf("without a messenger: %v", err)
	}
	for _, url := range []string{"localhost:4000", "ftp://x", "http://", "http://x/?q=1", "http://x/#f", "http://%zz"} {
		if _, err := NewWeb(WebConfig{Messenger: url}); err == nil {
			t.Errorf("%s is taken for a URL", url)
		}
	}
}

// TestWebFollowsARouter: today's routers send a messenger on to where a process is scheduled.
func TestWebFollowsARouter(t *testing.T) {
	m, err := ao.SignMessage(ans104.NewEd25519Signer(keyOf("user")), ao.ID{1}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	w := web(t, func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(out, r, "/there", http.StatusTemporaryRedirect)
			return
		}
		got, _ = io.ReadAll(r.Body)
		out.WriteHeader(http.StatusAccepted)
	})
	if err := w.Push(t.Context(), m); err != nil || string(got) != string(m.Raw()) {
		t.Errorf("%v, %d bytes arrived", err, len(got))
	}
}

// FuzzWebPage: a page of results never gives more than was asked for, and what it gives is results.
func FuzzWebPage(f *testing.F) {
	for _, s := range []string{
		`{"edges":[{"node":{"Output":1},"cursor":"a"},{"node":{},"cursor":"b"}]}`, `{"edges":[]}`, `{"edges":null}`, `{"edges":{}}`,
		`{"edges":[{"node":[]}]}`, `{"edges":[` + strings.Repeat(`{"node":{}},`, 9) + `{}]}`, `[`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rs, err := webPage(body, 3)
		if len(rs) > 3 || err != nil && rs != nil {
			t.Fatalf("%d results, %v", len(rs), err)
		}
		for _, r := range rs {
			if r.Result.Output != nil && !json.Valid(r.Result.Output) {
				t.Fatalf("output %q", r.Result.Output)
			}
		}
	})
}
