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
	m := compareAll(t, p)[0]
	return m.ours, m.primitive, m.ratio
}

// medians are what comes of a pair's rounds.
type medians struct {
	ours, primitive time.Duration
	ratio           float64
}

// compareAll compares pairs in turns, a round of each: the rounds of a quick one then stretch over the time of a slow one, and a
// neighbour who is noisy for ten seconds spoils only some of them.
func compareAll(t *testing.T, pairs ...pair) (out []medians) {
	t.Helper()
	ours, primitive := make([][]time.Duration, len(pairs)), make([][]time.Duration, len(pairs))
	ratios := make([][]float64, len(pairs))
	for round, more := 0, true; more; round++ {
		more = false
		for i, p := range pairs {
			if round > p.rounds {
				continue
			}
			if p.clock == nil {
				p.clock = cpuTime
			}
			x := p.once(p.ours, round)
			y := p.once(p.primitive, round)
			if round > 0 { // the first warms caches up
				ours[i], primitive[i] = append(ours[i], x), append(primitive[i], y)
				ratios[i] = append(ratios[i], float64(x)/float64(y))
			}
			more = true
		}
	}
	for i := range pairs {
		out = append(out, medians{median(ours[i]), median(primitive[i]), median(ratios[i])})
	}
	return out
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
	return compareAll(t, p)[0].row(name, unit, goal)
}

func (m medians) row(name, unit string, goal float64) Row {
	scale := float64(time.Microsecond)
	if unit == "cpu ms" || unit == "ms" {
		scale = float64(time.Millisecond)
	}
	r := makeRow(name, float64(m.ours)/scale, float64(m.primitive)/scale, unit, goal)
	r.Ratio = m.ratio
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
