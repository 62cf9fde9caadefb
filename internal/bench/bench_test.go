package bench

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"testing"
)

// out is where bench.json goes; without it nothing is measured, so that the suite does not take the minutes that
// measuring takes.
var (
	out  = flag.String("out", "", "measure, and write bench.json here")
	only = flag.String("only", "", "measure only the rows whose name holds this")
)

// row makes one or more rows, or none if the machine lacks what they need.
type row struct {
	name    string
	measure func(t *testing.T) []Row
}

func rows() []row {
	return []row{
		{"ans104", ans104Rows},
		{"attest", attestRows},
		{"store", storeRows},
		{"su", suRows},
		{"cu", cuRows},
		{"idle", idleRows},
		{"push", pushRows},
		{"flood", floodRows},
		{"bundler", bundlerRows},
		{"market", marketRows},
	}
}

// procsPerCore is how many of Go's processors the program has for each real one (cmd/aopeer).
const procsPerCore = 4

// TestBench is make bench.
func TestBench(t *testing.T) {
	if *out == "" {
		t.Skip("run make bench")
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(procsPerCore * runtime.GOMAXPROCS(0))
	}
	var all []Row
	for _, r := range rows() {
		if !strings.Contains(r.name, *only) {
			continue
		}
		t.Run(r.name, func(t *testing.T) { all = append(all, r.measure(t)...) })
	}
	if err := WriteTable(os.Stdout, all); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(*out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteJSON(f, all); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Over() {
			t.Errorf("%s: %.2f times its primitive, at most %.2f", r.Name, r.Ratio, *r.Goal)
		}
	}
}

func TestOver(t *testing.T) {
	for _, c := range []struct {
		ours, goal float64
		over       bool
	}{{11, 1.15, false}, {12, 1.15, true}, {99, 0, false}} {
		if r := makeRow("x", c.ours, 10, "us", c.goal); r.Over() != c.over {
			t.Errorf("%v of goal %v: over %v", c.ours, c.goal, !c.over)
		}
	}
	var s strings.Builder
	if err := WriteJSON(&s, []Row{makeRow("x", 1, 2, "us", 0)}); err != nil || !strings.Contains(s.String(), `"goal": null`) {
		t.Errorf("%v in %s", err, s.String())
	}
}

func backgroundContext() context.Context { return context.Background() }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
