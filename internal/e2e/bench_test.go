//go:build e2e

package e2e

import (
	"path/filepath"
	"strconv"
	"testing"
)

// benched is the report of a bench, as far as the tests look at it.
type benched struct {
	Format                 string
	Bare                   benchTimes
	Cold, Two              benchRate
	Result, DryRun, Beside benchTimes
	Memory                 struct{ Resident, Each float64 }
	Failed                 []string
}

type benchRate struct{ PerSecond, OfBare, Work float64 }

type benchTimes struct {
	Calls    int
	P50, P99 float64
}

// check: how fast it is depends on the machine; that it is measured does not.
func (r benched) check(t *testing.T, format string, calls int) {
	t.Helper()
	if r.Format != format || len(r.Failed) > 0 || r.DryRun.Calls != calls || r.Result.Calls != calls {
		t.Errorf("%+v", r)
	}
	if min(r.Bare.P50, r.Cold.PerSecond, r.Cold.OfBare, r.Cold.Work, r.Two.PerSecond, r.Result.P50, r.Result.P99, r.DryRun.P50, r.Beside.P99, r.Memory.Resident) <= 0 {
		t.Errorf("something was not measured: %+v", r)
	}
}

// TestBenchComputer: a computer in a process of its own, with nothing but a gateway and a scheduler over HTTP, is measured in
// every respect.
func TestBenchComputer(t *testing.T) {
	r := must[benched](t, "bench", "cu", "--module", aosModule(t), "--slots", "60", "--calls", "12", "--idle", "3")
	r.check(t, "wasm64-unknown-emscripten-draft_2024_02_15", 12)
}

// TestBenchByURL: so is one that somebody else started, where it was told that the gateway and the scheduler will be.
func TestBenchByURL(t *testing.T) {
	base := freePorts(t)
	at := func(i int) string { return "127.0.0.1:" + strconv.Itoa(base+i) }
	d := start(t, "computer", "run", "--role", "cu", "--gateway", "http://"+at(0), "--scheduler-url", "http://"+at(1), "--http", at(2),
		"--home", filepath.Join(t.TempDir(), "cu"))
	r := must[benched](t, "bench", "cu", "--url", "http://"+at(2), "--serve-gateway", at(0), "--serve-su", at(1),
		"--pid", strconv.Itoa(d.cmd.Process.Pid), "--slots", "20", "--calls", "10", "--idle", "1")
	r.check(t, "wasm32-wasip1-aopeer1", 10)
	if code := d.interrupt(t); code != 0 {
		t.Errorf("interrupted, the computer exits with %d", code)
	}
}
