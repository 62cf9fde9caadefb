package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// TestHTTPDoors: what is served where, and what is refused before anything starts.
func TestHTTPDoors(t *testing.T) {
	for _, c := range []struct {
		roles string
		http  HTTPConfig
		want  string // the doors, or a part of what is wrong
	}{
		{"su cu mu", HTTPConfig{}, "[]"},
		{"su cu mu", HTTPConfig{Listen: ":4002"}, "[{:4002 [mu su cu]}]"},
		{"cu", HTTPConfig{Listen: "0.0.0.0:80"}, "[{0.0.0.0:80 [cu]}]"},
		{"su mu", HTTPConfig{Listen: ":1", MU: ":2"}, "[{:1 [su]} {:2 [mu]}]"},
		{"mu", HTTPConfig{Listen: ":1", MU: ":2"}, "[{:2 [mu]}]"},
		{"su cu", HTTPConfig{SU: ":3", CU: ":4"}, "[{:3 [su]} {:4 [cu]}]"},
		{"su", HTTPConfig{CU: ":4"}, "http.cu is set, and the peer does not have the role cu"},
		{"", HTTPConfig{Listen: ":4"}, "http.listen is set, and the peer has no role"},
		{"su", HTTPConfig{Listen: "4002"}, `http.listen: gateway: "4002" is not HOST:PORT`},
		{"su", HTTPConfig{SU: "localhost:99999"}, "http.su: gateway"},
	} {
		cfg := DefaultConfig()
		cfg.Roles = strings.Fields(c.roles)
		h := cfg.HTTP
		h.Listen, h.MU, h.SU, h.CU = c.http.Listen, c.http.MU, c.http.SU, c.http.CU
		cfg.HTTP = h
		got := fmt.Sprint(h.doors(cfg.Roles))
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %+v: %s, want %s", c.roles, c.http, got, c.want)
		}
	}
}

// TestHTTPOfAPeer: a running peer answers where peer.json says, and once it is told to stop turns new work away and finishes
// what it has let in.
func TestHTTPOfAPeer(t *testing.T) {
	cfg := loopback("su")
	cfg.Drain, cfg.HTTP.Listen = Duration(time.Hour), ":0"
	n, err := New(peerHome(t, signed(t, func(n *Network) { n.Bootstrap = nil })), cfg, Parts{Archive: chain(t)}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	eventually(t, "the peer is ready", func() bool { return n.notReady() == "" })
	url := n.Peer().HTTP["su"]
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("it answers at %q", url)
	}
	spawn, err := ao.SignProcess(ans104.NewEd25519Signer(n.key), ao.ID{1}, Address(n.key), nil, []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pid := spawn.ID().String()
	if code, text := fetch(t, "POST", url, string(spawn.Raw())); code != 200 || !strings.Contains(text, `"id":"`+pid+`"`) {
		t.Errorf("spawn: %d %s", code, text)
	}
	if code, text := fetch(t, "GET", url+"/"+pid+"?process-id="+pid, ""); code != 200 || strings.Count(text, `"cursor"`) != 1 {
		t.Errorf("log: %d %s", code, text)
	}
	if code, text := fetch(t, "GET", url+"/status", ""); code != 200 || !strings.Contains(text, `"ready":true`) || !strings.Contains(text, `"scheduled":1`) {
		t.Errorf("status: %d %s", code, text)
	}
	leave, err := n.doors.enter(t.Context(), wordSchedule, true)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, "the doors are closed", n.doors.isClosed)
	if code, text := fetch(t, "POST", url, string(spawn.Raw())); code != 503 || !strings.Contains(text, "about to stop") {
		t.Errorf("spawn while draining: %d %s", code, text)
	}
	if code, text := fetch(t, "GET", url+"/health", ""); code != 503 || !strings.Contains(text, "about to stop") {
		t.Errorf("health while draining: %d %s", code, text)
	}
	leave(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("it answers after its end")
	}
}

// fetch asks over HTTP.
func fetch(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	raw, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.StatusCode, string(raw)
}
