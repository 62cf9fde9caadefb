package trial

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/gateway"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/wasmvm"
)

// near is the directory of a unit that stands beside the town and needs no HTTP.
type near struct {
	directory
	t *trial
}

func (n near) Process(_ context.Context, id ao.ID) (ao.Process, error) {
	h, err := n.logs.of(id)
	if err != nil {
		return ao.Process{}, err
	}
	return h.process, nil
}

func (n near) Module(context.Context, ao.ID) (ao.Module, error) { return n.t.town.module, nil }

func (n near) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{Keys: []string{n.t.town.Address}, Threshold: 1}, nil
}

// startNear runs a computing unit in this process, whose answers come over HTTP all the same.
func startNear(t *testing.T, tr *trial) {
	t.Helper()
	host, err := wasmvm.NewHost(wasmvm.Config{CacheDir: tr.cfg.CacheDir})
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(filepath.Join(t.TempDir(), "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := near{directory{logs: tr.town.logs}, tr}
	u, err := cu.New(cu.Config{Store: st, Signer: key("computer"), Network: "trial", Machine: host, Directory: d})
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(gateway.Config{
		Doors: []gateway.Door{{Listen: "127.0.0.1:0", Surfaces: []gateway.Surface{gateway.Computer}}}, Address: addressOf(key("computer")),
		Computer: u, Directory: d, Log: tr.town.logs,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { _ = u.Run(ctx); done <- struct{}{} }()
	go func() { _ = g.Run(ctx); done <- struct{}{} }()
	<-g.Ready()
	tr.unit = Unit{URL: g.URLs()[gateway.Computer], PID: os.Getpid()}
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		st.Close()
		host.Close()
	})
}

// TestTrial has one cache for all, since the module's compilation takes longer than everything else.
func TestTrial(t *testing.T) {
	cfg := Config{Module: wasmvm.DefaultModule(), Slots: 40, Calls: 12, Idle: 3, CacheDir: t.TempDir()}
	t.Run("figures", func(t *testing.T) { checkFigures(t, cfg) })
	t.Run("town", func(t *testing.T) { checkTown(t, cfg) })
	t.Run("failures", func(t *testing.T) { checkFailures(t, cfg) })
}

// checkFigures: a trial of our own unit fills in every figure.
func checkFigures(t *testing.T, cfg Config) {
	tr, err := open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	startNear(t, tr)
	if err := tr.rounds(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := tr.report
	t.Logf("%+v", r)
	if min(r.Bare.PerSecond, r.Cold.OfBare, r.Two.PerSecond, r.Result.P50, r.Result.P99, r.DryRun.OfBare, r.Beside.P99, r.Memory.Resident) <= 0 ||
		r.DryRun.Calls != cfg.withDefaults().Calls || len(r.Failed) > 0 {
		t.Errorf("%+v", r)
	}
}

// checkTown: the stand-ins answer in the shapes that a unit expects.
func checkTown(t *testing.T, cfg Config) {
	tr, err := open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	h, err := tr.town.begin(t.Context(), "shapes", 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{
		tr.town.Scheduler + "/" + h.id().String() + "?process-id=" + h.id().String() + "&from-nonce=1&limit=2",
		tr.town.Scheduler + "/processes/" + h.id().String(), tr.town.Scheduler + "/" + h.last().Message.ID().String() + "?process-id=" + h.id().String(),
		tr.town.Gateway + "/raw/" + tr.town.module.ID().String(), tr.town.Gateway + "/info",
	} {
		status, body, err := tr.ask(t.Context(), http.MethodGet, url, nil)
		if err != nil || status != http.StatusOK || len(body) == 0 {
			t.Errorf("%s: %d %.200s %v", url, status, body, err)
		}
	}
}

// checkFailures: a unit that gives errors as results, or none at all, is no unit to be measured.
func checkFailures(t *testing.T, cfg Config) {
	for _, answer := range []struct {
		status int
		body   string
	}{{200, `{"Error":"no","Output":""}`}, {200, `{}`}, {200, `no JSON`}, {500, `{"error":"x"}`}} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(answer.status)
			_, _ = w.Write([]byte(answer.body))
		}))
		cfg.Start = func(context.Context, Town) (Unit, error) { return Unit{URL: s.URL}, nil }
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%d %s passes", answer.status, answer.body)
		}
		s.Close()
	}
}
