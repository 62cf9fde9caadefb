package bench

import (
	"cmp"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// work does something n times and is measured as a whole. What it needs is made before, by the function that
// returns it.
type work func(n int)

// clock reads a time of which differences count.
type clock func() time.Duration

// cpuTime is the processor time of the whole process: other programs and waiting for the disk are no part of it.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// pair is a hot path and its primitive, to be run by turns. ours and primitive prepare n operations.
type pair struct {
	rounds, n       int
	clock           clock
	ours, primitive func(round, n int) work
}

// compare returns the medians of the rounds, per operation, and that of their ratios. A machine whose speed moves moves both sides of
// a round, and a round that a noisy neighbour slows on one side only is no median.
func (p pair) compare(t *testing.T) (ours, primitive time.Duration, ratio float64) {
	t.Helper()
	if p.clock == nil {
		p.clock = cpuTime
	}
	var a, b []time.Duration
	var ratios []float64
	for round := range p.rounds + 1 {
		x := p.once(p.ours, round)
		y := p.once(p.primitive, round)
		if round > 0 { // the first warms caches up
			a, b = append(a, x), append(b, y)
			ratios = append(ratios, float64(x)/float64(y))
		}
	}
	return median(a), median(b), median(ratios)
}

func (p pair) once(prepare func(round, n int) work, round int) time.Duration {
	run := prepare(round, p.n)
	runtime.GC()
	before := p.clock()
	run(p.n)
	return (p.clock() - before) / time.Duration(p.n)
}

func median[T cmp.Ordered](d []T) T {
	slices.Sort(d)
	return d[len(d)/2]
}

// row measures a pair and makes a row of it.
func (p pair) row(t *testing.T, name, unit string, goal float64) Row {
	t.Helper()
	ours, primitive, ratio := p.compare(t)
	scale := float64(time.Microsecond)
	if unit == "cpu ms" || unit == "ms" {
		scale = float64(time.Millisecond)
	}
	r := makeRow(name, float64(ours)/scale, float64(primitive)/scale, unit, goal)
	r.Ratio = ratio
	return r
}

func makeRow(name string, ours, primitive float64, unit string, goal float64) Row {
	r := Row{Name: name, Ours: ours, Primitive: primitive, Ratio: ours / primitive, Unit: unit}
	if goal > 0 {
		r.Goal = &goal
	}
	return r
}

// spread shares n calls among so many goroutines.
func spread(n, goroutines int, call func(i int)) {
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < n; i += goroutines {
				call(i)
			}
		})
	}
	all.Wait()
}
