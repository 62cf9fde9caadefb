//go:build e2e

package e2e

import "testing"

// TestBenchComputer: a computer in a process of its own, with nothing but a gateway and a scheduler over HTTP, is measured in
// every respect. How fast it is depends on the machine; that it is measured does not.
func TestBenchComputer(t *testing.T) {
	type rate struct{ PerSecond, OfBare, Work float64 }
	type times struct {
		Calls    int
		P50, P99 float64
	}
	r := must[struct {
		Format                 string
		Bare                   times
		Cold, Two              rate
		Result, DryRun, Beside times
		Memory                 struct{ Resident, Each float64 }
		Failed                 []string
	}](t, "bench", "cu", "--module", aosModule(t), "--slots", "60", "--calls", "12", "--idle", "3")
	if r.Format != "wasm64-unknown-emscripten-draft_2024_02_15" || len(r.Failed) > 0 || r.DryRun.Calls != 12 || r.Result.Calls != 12 {
		t.Errorf("%+v", r)
	}
	if min(r.Bare.P50, r.Cold.PerSecond, r.Cold.OfBare, r.Cold.Work, r.Two.PerSecond, r.Result.P50, r.Result.P99, r.DryRun.P50, r.Beside.P99, r.Memory.Resident) <= 0 {
		t.Errorf("something was not measured: %+v", r)
	}
}
