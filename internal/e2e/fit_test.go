package e2e

import (
	"math"
	"math/rand/v2"
	"testing"
)

// line is a least-squares fit of measurements over time.
type line struct {
	mean   float64
	growth float64 // of the line over the whole window
	doubt  float64 // standard error of growth
}

// fitLine fits values measured at times; with fewer than three of them, or all at one moment, nothing grows.
func fitLine(times, values []float64) line {
	n := float64(len(times))
	if n == 0 {
		return line{}
	}
	var meanT, meanV float64
	for i := range times {
		meanT += times[i] / n
		meanV += values[i] / n
	}
	var tt, tv float64
	for i := range times {
		tt += (times[i] - meanT) * (times[i] - meanT)
		tv += (times[i] - meanT) * (values[i] - meanV)
	}
	if n < 3 || tt == 0 {
		return line{mean: meanV}
	}
	slope := tv / tt
	var rest float64
	for i := range times {
		d := values[i] - meanV - slope*(times[i]-meanT)
		rest += d * d
	}
	window := times[len(times)-1] - times[0]
	return line{mean: meanV, growth: slope * window, doubt: math.Sqrt(rest/(n-2)/tt) * window}
}

// grows says whether the line rises by more than that part of its mean and more than slack.
func (l line) grows(part, slack float64) bool {
	return l.growth > max(part*math.Abs(l.mean), slack)
}

// lastPart is where the last two thirds of the times begin: what comes before is warming up.
func lastPart(times []float64) int {
	if len(times) == 0 {
		return 0
	}
	from := times[0] + (times[len(times)-1]-times[0])/3
	for i, t := range times {
		if t >= from {
			return i
		}
	}
	return len(times)
}

func TestFitLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name   string
		value  func(t float64) float64
		mean   float64
		growth float64
		grows  bool
	}{
		{"level", func(float64) float64 { return 100 }, 100, 0, false},
		{"rises by 2 %", func(t float64) float64 { return 99 + 2*t }, 100, 2, true},
		{"rises by half a percent", func(t float64) float64 { return 100 + t/2 }, 100.25, 0.5, false},
		{"falls", func(t float64) float64 { return 100 - 10*t }, 95, -10, false},
		{"saw", func(t float64) float64 { return 100 + 4*(math.Mod(t*20, 1)-0.5) }, 100, 0, false},
		{"noise", func(float64) float64 { return 100 + rng.NormFloat64() }, 100, 0, false},
		{"noise that rises by 5 %", func(t float64) float64 { return 100 + 5*t + rng.NormFloat64() }, 102.5, 5, true},
	} {
		var times, values []float64
		for i := range 601 {
			at := float64(i) / 600
			times, values = append(times, at), append(values, c.value(at))
		}
		l := fitLine(times, values)
		if math.Abs(l.mean-c.mean) > 0.3 || math.Abs(l.growth-c.growth) > 0.4 || l.grows(0.01, 0) != c.grows {
			t.Errorf("%s: %+v grows %v", c.name, l, l.grows(0.01, 0))
		}
		if math.Abs(l.growth-c.growth) > 4*l.doubt+1e-9 && c.name != "saw" {
			t.Errorf("%s: %+v is surer than it may be", c.name, l)
		}
	}
	for _, few := range [][]float64{nil, {1}, {1, 2}} {
		if l := fitLine(few, few); l.growth != 0 || l.grows(0.01, 0) {
			t.Errorf("%v: %+v", few, l)
		}
	}
	if l := fitLine([]float64{5, 5, 5}, []float64{1, 2, 3}); l.growth != 0 || l.mean != 2 {
		t.Errorf("one moment: %+v", l)
	}
	if (line{mean: 20, growth: 2}).grows(0.01, 3) {
		t.Error("two more of twenty goroutines are within a slack of three")
	}
}

func TestLastPart(t *testing.T) {
	for _, c := range []struct {
		times []float64
		from  int
	}{{nil, 0}, {[]float64{7}, 0}, {[]float64{0, 1, 2, 3}, 1}, {[]float64{0, 100, 101, 102, 300}, 1}, {[]float64{0, 10, 20, 30, 300}, 4}} {
		if got := lastPart(c.times); got != c.from {
			t.Errorf("%v: from %d, want %d", c.times, got, c.from)
		}
	}
}
