package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one line of the table of metrics.
type metric struct {
	name   string
	kind   string   // counter, gauge or histogram
	labels []string // beside peer, which all have
	help   string
	read   func(*snapshot) []sample // nil for those that doors count
}

// sample is one value of a metric.
type sample struct {
	value  float64
	labels []string
}

// The metrics that doors count, which have no snapshot.
const (
	metricCalls   = "aopeer_calls_total"
	metricSeconds = "aopeer_call_seconds"
)

// one is a metric's only value.
func one[N int | int64 | uint64 | float64](n N) []sample { return []sample{{value: float64(n)}} }

// metrics is the table, in the order of docs/metrics.md. Whoever lacks a role has none of its samples.
func metrics() []metric {
	out := []metric{
		{
			name: metricCalls, kind: "counter", labels: []string{"door", "outcome"},
			help: "Calls at a door (schedule, compute, dry-run, cron, push, monitor) by outcome: ok, or the code of the refusal (docs/reasons.md).",
		},
		{
			name: metricSeconds, kind: "histogram", labels: []string{"door"},
			help: "How long those calls took, refused ones included.",
		},
	}
	out = append(out, peerMetrics()...)
	out = append(out, storeMetrics()...)
	out = append(out, scheduleMetrics()...)
	out = append(out, computeMetrics()...)
	out = append(out, pushMetrics()...)
	out = append(out, marketMetrics()...)
	out = append(out, tradeMetrics()...)
	return append(out, settleMetrics()...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func inOut(in, out int) []sample {
	return []sample{{float64(in), []string{"in"}}, {float64(out), []string{"out"}}}
}

// meters count at the doors. Without a registry they count nothing.
type meters struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// newMeters makes the counters of the doors and puts them into a registry.
func newMeters(peer string, into prometheus.Registerer) (*meters, error) {
	m := &meters{}
	for _, line := range metrics() {
		label := prometheus.Labels{"peer": peer}
		switch line.name {
		case metricCalls:
			m.calls = prometheus.NewCounterVec(prometheus.CounterOpts{Name: line.name, Help: line.help, ConstLabels: label}, line.labels)
		case metricSeconds:
			m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
				Name: line.name, Help: line.help, ConstLabels: label,
				Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
			}, line.labels)
		}
	}
	if err := into.Register(m.calls); err != nil {
		return nil, err
	}
	return m, into.Register(m.seconds)
}

// refused counts a call that no door let in.
func (m *meters) refused(word string, err error) {
	m.calls.WithLabelValues(word, codeOf(word, err)).Inc()
}

// ended counts a call by its outcome.
func (m *meters) ended(word string, took time.Duration, err error) {
	m.calls.WithLabelValues(word, codeOf(word, err)).Inc()
	m.seconds.WithLabelValues(word).Observe(took.Seconds())
}

// collector turns a snapshot of a peer into samples whenever a registry is asked.
type collector struct {
	node  *Node
	lines []metric
	descs []*prometheus.Desc
}

func newCollector(n *Node, peer string) *collector {
	c := &collector{node: n}
	for _, line := range metrics() {
		if line.read != nil {
			c.lines = append(c.lines, line)
			c.descs = append(c.descs, prometheus.NewDesc(line.name, line.help, line.labels, prometheus.Labels{"peer": peer}))
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.node.snapshot()
	for i, line := range c.lines {
		kind := prometheus.GaugeValue
		if line.kind == "counter" {
			kind = prometheus.CounterValue
		}
		for _, v := range line.read(s) {
			m, err := prometheus.NewConstMetric(c.descs[i], kind, v.value, v.labels...)
			if err != nil { // a label that is no text, such as a gateway's odd URL
				m = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			to <- m
		}
	}
}
