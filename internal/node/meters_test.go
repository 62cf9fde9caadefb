package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// ask is one request to an admin address.
func ask(t *testing.T, addr, path, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// samples are the values of /metrics by name and labels, and the names.
func samples(t *testing.T, text string) (values map[string]string, names []string) {
	t.Helper()
	values = map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		l := lines.Text()
		if strings.HasPrefix(l, "#") || l == "" {
			continue
		}
		at := strings.LastIndexByte(l, ' ')
		values[l[:at]] = l[at+1:]
		name, _, _ := strings.Cut(l[:at], "{")
		names = append(names, name)
	}
	return values, names
}

// TestMetricsOfAPeer reads /metrics of a peer with every role after a push, and finds the whole table there.
func TestMetricsOfAPeer(t *testing.T) {
	h := Home(t.TempDir() + "/devnet")
	d, stop := runDevnet(t, h, DevnetConfig{Computers: 1, Admin: "127.0.0.1:0", native: echo{}})
	defer stop()
	c, err := OpenClient(t.Context(), h, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := d.File()
	module, err := ao.ParseID(f.Module)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ao.SignProcess(c.Signer, module, f.Scheduler, ao.Tags{{Name: "Authority", Value: f.Authority}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	door, err := c.Messenger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := door.Push(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := door.Hops(t.Context(), p.ID(), func(units.Hop) error { return nil }); err != nil {
		t.Fatal(err)
	}
	stray, err := ao.SignMessage(c.Signer, ao.ID{9}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Scheduler(c.P2P, d.nodes[0].p2p.ID()).Schedule(t.Context(), stray.Target(), stray); err == nil {
		t.Error("a message to nobody got a slot")
	}
	var values map[string]string
	var names []string
	eventually(t, "the purse is known", func() bool {
		code, text := ask(t, d.Admin(), "/metrics", "")
		if code != http.StatusOK {
			t.Fatalf("/metrics answers %d: %s", code, text)
		}
		values, names = samples(t, text)
		return slices.Contains(names, "aopeer_wallet_runway_bytes")
	})
	for _, m := range metrics() {
		name := m.name
		if m.kind == "histogram" {
			name += "_count"
		}
		// There is no rate yet, and what is counted by reason is there once there was one.
		if !slices.Contains(names, name) && name != "aopeer_wallet_runway_days" && !slices.Contains(m.labels, "reason") {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	for key, want := range map[string]string{
		`aopeer_calls_total{door="schedule",outcome="ok",peer="su1"}`:              "1",
		`aopeer_calls_total{door="schedule",outcome="unknown-process",peer="su1"}`: "1",
		`aopeer_calls_total{door="push",outcome="ok",peer="mu1"}`:                  "1",
		`aopeer_call_seconds_count{door="compute",peer="cu1"}`:                     "1",
		`aopeer_schedule_processes{peer="su1"}`:                                    "1",
		`aopeer_schedule_slots_total{peer="su1"}`:                                  "1",
		`aopeer_turned_away_total{bound="flood",peer="mu1"}`:                       "0",
		`aopeer_compute_evaluated_total{peer="cu1"}`:                               "1",
		`aopeer_push_tasks{peer="mu1",state="open"}`:                               "0",
		`aopeer_ready{peer="cu1"}`:                                                 "1",
		`aopeer_draining{peer="cu1"}`:                                              "0",
		`aopeer_units_known{peer="su1",role="cu"}`:                                 "1",
	} {
		if got := values[key]; got != want {
			t.Errorf("%s is %q, want %s", key, got, want)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "libp2p_swarm_connections_opened_total"} {
		if !slices.Contains(names, name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	for _, k := range []string{`aopeer_schedule_processes{peer="cu1"}`, `aopeer_compute_waiting{peer="su1"}`} {
		if v, ok := values[k]; ok {
			t.Errorf("%s is %s for a peer without that role", k, v)
		}
	}
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/cmdline": 404, "/nothing": 404,
	} {
		if code, text := ask(t, d.Admin(), path, ""); code != want {
			t.Errorf("%s answers %d, want %d: %.200s", path, code, want, text)
		}
	}
	for host, want := range map[string]int{"evil.example": 403, "evil.example:9100": 403, "localhost:9100": 200, "[::1]:1": 200} {
		if code, _ := ask(t, d.Admin(), "/healthz", host); code != want {
			t.Errorf("asked as %s it answers %d, want %d", host, code, want)
		}
	}
}

// runDevnet runs a devnet on free ports until stop, which gives what Run returned.
func runDevnet(t *testing.T, h Home, cfg DevnetConfig) (*Devnet, func() error) {
	t.Helper()
	keepWallet(t, h)
	d, err := NewDevnet(h, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case <-d.Ready():
	case err := <-ended:
		t.Fatalf("run ended with %v", err)
	case <-time.After(patience):
		t.Fatal("the devnet does not get ready")
	}
	return d, stop
}

// keepWallet puts the tests' wallet into a home that has none, because making one takes a while.
func keepWallet(t *testing.T, h Home) {
	t.Helper()
	if _, err := os.Stat(h.Wallet()); err == nil {
		return
	}
	wallet, err := os.ReadFile("../../arweave/testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Make(), os.WriteFile(h.Wallet(), wallet, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// TestDoors: outcomes are counted by their code, and a closed door lets in only what comes from inside.
func TestDoors(t *testing.T) {
	registry := NewRegistry()
	counts, err := newMeters("p", registry)
	if err != nil {
		t.Fatal(err)
	}
	d := &doors{meters: counts}
	for _, err := range []error{nil, ao.Refuse("schedule", ao.WrongScheduler, "x"), fmt.Errorf("wrapped: %w", ans104.ErrSignature), errors.New("?"), ao.Refuse("schedule", "made\xffup", "")} {
		leave, refused := d.enter(t.Context(), wordSchedule, true)
		if refused != nil || d.calls() != 1 {
			t.Fatalf("an open door refuses: %v", refused)
		}
		leave(err)
	}
	inside, err := d.enter(t.Context(), wordSchedule, false)
	if err != nil || d.calls() != 0 {
		t.Fatalf("from inside: %v", err)
	}
	d.close()
	if _, err := d.enter(t.Context(), wordSchedule, true); !errors.Is(err, &ao.Refusal{Code: ao.Busy}) {
		t.Errorf("a closed door says %v", err)
	}
	if leave, err := d.enter(t.Context(), wordSchedule, false); err != nil {
		t.Errorf("a closed door refuses its own: %v", err)
	} else {
		leave(nil)
	}
	inside(nil)
	found, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range found {
		if f.GetName() == metricCalls {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{"ok": 3, "wrong-scheduler": 1, "bad-signature": 1, "internal": 2, "busy": 1}
	for code, n := range want {
		if got[code] != n {
			t.Errorf("%s was counted %v times, want %v: %v", code, got[code], n, got)
		}
	}
}

// TestPeersOfOneProcess: each has a registry of its own, and none is the default one.
func TestPeersOfOneProcess(t *testing.T) {
	for range 2 {
		n, err := New(peerHome(t, signed(t)), loopback(), Parts{Archive: chain(t)}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
