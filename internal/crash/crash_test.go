package crash

import (
	"flag"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
)

var all = flag.Bool("all", false, "fail every durable write in every way, and not a sample")

// The sizes of a sample, and what enumerating everything must come to at least.
const (
	sample      = 40
	shortSample = 12
	leastPoints = 500
)

// point is one way for the power to go.
type point struct {
	victim string
	fault  fault
}

func (p point) String() string { return fmt.Sprintf("%s/%d/%s", p.victim, p.fault.at, p.fault.mode) }

// TestEveryWrite fails the durable writes of every peer in every way, one in each run of the scenario.
func TestEveryWrite(t *testing.T) {
	w := newWorld(t)
	clean := play(t, w, "", fault{}, nil)
	if clean.crashes > 0 {
		t.Fatalf("%d crashes without a fault", clean.crashes)
	}
	t.Logf("writes of a clean run: %v, effects: %d", clean.writes, len(clean.effects))
	var points []point
	for _, name := range peerNames() {
		if clean.writes[name] < 10 {
			t.Errorf("only %d writes by %s", clean.writes[name], name)
		}
		for at := range clean.writes[name] {
			for m := range modes {
				points = append(points, point{name, fault{at: at + 1, mode: m}})
			}
		}
	}
	if !*all {
		n := sample
		if testing.Short() {
			n = shortSample
		}
		points = spread(points, n)
	}
	var reached atomic.Int64
	t.Run("points", func(t *testing.T) {
		for _, p := range points {
			t.Run(p.String(), func(t *testing.T) {
				t.Parallel()
				if out := play(t, w, p.victim, p.fault, clean.effects); out.crashes > 0 {
					reached.Add(1)
				} else {
					t.Logf("not reached: %v", out.writes)
				}
			})
		}
	})
	n := int(reached.Load())
	if *all {
		n += beyond(t, w, clean)
		if n < leastPoints {
			t.Errorf("%d points, at least %d are wanted", n, leastPoints)
		}
	}
	if n < len(points)*9/10 { // how many writes there are depends a little on who comes first
		t.Errorf("only %d of %d points were reached", n, len(points))
	}
	fmt.Printf("%d points\n", n)
}

// beyond goes on behind the number of writes of the clean run, until no run has as many.
func beyond(t *testing.T, w *world, clean outcome) (reached int) {
	for _, name := range peerNames() {
		for at := clean.writes[name] + 1; ; at++ {
			p := point{name, fault{at: at, mode: lost}}
			crashed := false
			t.Run(p.String(), func(t *testing.T) { crashed = play(t, w, p.victim, p.fault, clean.effects).crashes > 0 })
			if !crashed {
				break
			}
			reached++
		}
	}
	return reached
}

// spread takes n of the points, evenly, in all modes.
func spread(points []point, n int) []point {
	var out []point
	for i := range n {
		out = append(out, points[(i*len(points)/n+i)%len(points)])
	}
	return slices.CompactFunc(out, func(a, b point) bool { return a == b })
}
