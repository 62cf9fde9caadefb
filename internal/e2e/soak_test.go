//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/aopeer/aopeer/ao"
)

var soakFor = flag.Duration("soak", 0, "how long to soak; without it the soak is skipped")

const (
	sampleEvery = 5 * time.Second
	// What may grow over the last two thirds: one percent, a few of what is counted in pieces, and of one process's heap
	// what a percent of a small one could not be told from.
	mayGrow   = 0.01
	fewPieces = 3
	oneMiB    = 1
	// fullLoad is for how long at least the fleet is loaded as much as it takes, to learn what half of it is.
	fullLoad = 20 * time.Second
)

// gauge is one measurement of one process, over time.
type gauge struct {
	name          string
	slack         float64
	judged        bool
	times, values []float64
}

// gauges are what is measured of one process.
type gauges struct {
	m          *member
	admin      string // base URL of its admin address; "" if it has none
	traced     int64  // bytes of its log read for the collector's traces
	live       float64
	memory     *gauge // resident, without what the collector holds in reserve
	resident   *gauge
	heap       *gauge // live after a collection
	goroutines *gauge
	files      *gauge
}

func newGauges(m *member, admin string) *gauges {
	return &gauges{
		m: m, admin: admin,
		memory: &gauge{name: "memory MiB"}, resident: &gauge{name: "resident MiB"},
		// The embedded Arweave has its whole index in memory, so it grows as the chain does.
		heap:  &gauge{name: "live heap MiB", slack: oneMiB, judged: m.name != "arweave"},
		files: &gauge{name: "descriptors", slack: fewPieces, judged: true},
		// Without an admin address nobody tells.
		goroutines: &gauge{name: "goroutines", slack: fewPieces, judged: admin != ""},
	}
}

func (g *gauges) all() []*gauge {
	return []*gauge{g.memory, g.resident, g.heap, g.goroutines, g.files}
}

func (g *gauge) add(at, value float64) {
	g.times, g.values = append(g.times, at), append(g.values, value)
}

// soak is one measurement of a fleet.
type soak struct {
	t     *testing.T
	every []*gauges
	node  *gauge // what all units have together, as a node with every role would
	dir   string // of the heap profiles
}

// TestSoak loads a fleet of processes with half of what it takes, and looks that over the last two thirds of the time
// memory does not grow by more than a percent, and goroutines and descriptors not at all.
func TestSoak(t *testing.T) {
	if *soakFor <= 0 {
		t.Skip("run make soak")
	}
	t.Setenv("GODEBUG", "gctrace=1")          // how the live heap is told by a process without an admin address
	t.Setenv("AOPEER_SCHEDULE_CACHE", "4MiB") // so that it is full when it counts
	admins := map[string]string{}
	hasAdmin := strings.Contains(try(t, "run", "--help").stdout, "--admin")
	f := newFleet(t, func(name string, port int) []string {
		if !hasAdmin {
			return nil
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		admins[name] = "http://" + at
		return []string{"--admin", at}
	})
	counter := f.spawn("counter")
	f.eval(counter, counterLua)
	var starters []ao.ID
	for i := range 4 {
		p := f.spawn(fmt.Sprintf("starter %d", i))
		f.eval(p, fmt.Sprintf(starterLua, counter))
		starters = append(starters, p)
	}
	k := &soak{t: t, node: &gauge{name: "memory MiB", judged: true}, dir: t.TempDir()}
	for _, m := range f.members {
		k.every = append(k.every, newGauges(m, admins[m.name]))
	}
	l := &load{fleet: f, starters: starters}
	full := l.run(max(fullLoad, *soakFor/5), 0)
	t.Logf("full load: %.1f messages a second, half of it for %v", full, *soakFor)
	stop := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() { k.sample(stop) })
	rate := l.run(*soakFor, full/2)
	close(stop)
	sampling.Wait()
	k.profile("end")
	t.Logf("%.1f messages a second, %d in all, %d of them pushed more than once\n%s", rate, l.sent.Load(), l.repeats.Load(), k.table())
	k.judge()
}

// judge fails the test for whatever grows.
func (k *soak) judge() {
	k.t.Helper()
	look := func(name string, g *gauge) (ok bool) {
		if g.judged && len(g.times) < 3 {
			k.t.Errorf("%s: %s: measured %d times only", name, g.name, len(g.times))
		}
		l := g.fit()
		if ok = !g.judged || !l.grows(mayGrow, g.slack); !ok {
			k.t.Errorf("%s: %s grow by %.2f (± %.2f) from %.2f", name, g.name, l.growth, l.doubt, l.mean)
		}
		return ok
	}
	all := look("all units", k.node)
	for _, g := range k.every {
		ok := true
		for _, v := range g.all() {
			ok = look(g.m.name, v) && ok
		}
		if !ok || !all {
			k.grown(g)
		}
	}
}

// fit is the line through the last two thirds.
func (g *gauge) fit() line {
	from := lastPart(g.times)
	return fitLine(g.times[from:], g.values[from:])
}

// table shows the measurements to a person: from the beginning to the end, and how the last two thirds grow.
func (k *soak) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "process\tmeasured\tsamples\tfirst\tmean\tleast\tmost\tlast\tgrowth\t±\t%\tlimit\t")
	show := func(name string, g *gauge) {
		if len(g.times) == 0 {
			return
		}
		l, part, limit := g.fit(), g.values[lastPart(g.times):], "-"
		if g.judged {
			limit = fmt.Sprintf("%.2f", max(mayGrow*l.mean, g.slack))
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t\n", name, g.name, len(g.times), g.values[0],
			l.mean, slices.Min(part), slices.Max(part), part[len(part)-1], l.growth, l.doubt, 100*l.growth/l.mean, limit)
	}
	for _, g := range k.every {
		for _, v := range g.all() {
			show(g.m.name, v)
		}
	}
	show("all units", k.node)
	fmt.Fprintln(w, "\nmemory\tMiB at each tenth of the time\t")
	for _, g := range k.every {
		fmt.Fprintf(w, "%s\t%.0f\t\n", g.m.name, tenths(g.weight().values))
	}
	fmt.Fprintf(w, "all units\t%.0f\t\n", tenths(k.node.values))
	_ = w.Flush()
	return out.String()
}

// tenths are eleven of the values, from the first to the last.
func tenths(values []float64) (out []float64) {
	for i := range 11 {
		if n := len(values); n > 0 {
			out = append(out, values[i*(n-1)/10])
		}
	}
	return out
}

// weight is the best that is known of the memory a process takes.
func (g *gauges) weight() *gauge {
	if g.admin != "" {
		return g.memory
	}
	return g.resident
}

// load sends messages from a few clients at once.
type load struct {
	*fleet
	starters      []ao.ID
	sent, repeats atomic.Int64
}

// run sends for that long, that many a second, or as many as are taken if rate is 0; it returns how many were.
func (l *load) run(d time.Duration, rate float64) float64 {
	l.t.Helper()
	begin := time.Now()
	end := begin.Add(d)
	var senders sync.WaitGroup
	var turn, done atomic.Int64
	for range 16 {
		senders.Go(func() {
			for {
				due := begin
				if rate > 0 {
					due = begin.Add(time.Duration(float64(turn.Add(1)) / rate * float64(time.Second)))
				}
				if due.After(end) || time.Now().After(end) {
					return
				}
				<-time.After(time.Until(due))
				n := l.sent.Add(1)
				m, err := ao.SignMessage(l.client.Guest, l.starters[int(n)%len(l.starters)], ao.Tags{{Name: "Action", Value: "Start"}},
					[]byte(strconv.FormatInt(n, 10)), nil)
				if err != nil {
					l.t.Error(err)
					return
				}
				_, tries, err := l.push(m, time.Minute)
				if err != nil {
					l.t.Error(err)
					return
				}
				if done.Add(1); tries > 1 {
					l.repeats.Add(1)
				}
			}
		})
	}
	senders.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}

// sample measures all processes every few seconds.
func (k *soak) sample(stop <-chan struct{}) {
	begin := time.Now()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for profiled := false; ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if !profiled && time.Since(begin) >= *soakFor/3 {
			profiled = true
			k.profile("begin")
		}
		at, together := time.Since(begin).Seconds(), 0.0
		for _, g := range k.every {
			if err := g.measure(time.Since(begin).Seconds()); err != nil {
				k.t.Errorf("measure %s: %v", g.m.name, err)
				return
			}
			if memory := g.weight().values; g.m.name != "arweave" {
				together += memory[len(memory)-1]
			}
		}
		k.node.add(at, together)
	}
}

// profile keeps the heap profiles of all units, to tell what has grown.
func (k *soak) profile(when string) {
	for _, g := range k.every {
		if g.admin == "" {
			continue
		}
		raw, err := ask(g.admin + "/debug/pprof/heap?gc=1")
		if err == nil {
			err = os.WriteFile(filepath.Join(k.dir, g.m.name+"."+when), []byte(raw), 0o600)
		}
		if err != nil {
			k.t.Errorf("profile of %s: %v", g.m.name, err)
		}
	}
}

// grown logs by what the heap of a process has grown between the two profiles.
func (k *soak) grown(g *gauges) {
	if g.admin == "" {
		return
	}
	at := filepath.Join(k.dir, g.m.name)
	out, err := exec.Command("go", "tool", "pprof", "-sample_index=inuse_space", "-top", "-nodecount=15", "-base", at+".begin", at+".end").Output()
	if err != nil {
		k.t.Errorf("compare profiles of %s: %v", g.m.name, err)
	}
	k.t.Logf("what the heap of %s has grown by:\n%s", g.m.name, out)
}

func (g *gauges) measure(at float64) error {
	const mib = 1 << 20
	reserve := 0.0
	if g.admin != "" {
		heap, err := ask(g.admin + "/debug/pprof/heap?gc=1&debug=1")
		if err != nil {
			return err
		}
		reserve = memstat(heap, "HeapIdle") - memstat(heap, "HeapReleased")
		g.heap.add(at, memstat(heap, "HeapAlloc")/mib)
		routines, err := ask(g.admin + "/debug/pprof/goroutine?debug=1")
		if err != nil {
			return err
		}
		var n float64
		if _, err := fmt.Sscanf(routines, "goroutine profile: total %g", &n); err != nil {
			return fmt.Errorf("read goroutines: %w", err)
		}
		g.goroutines.add(at, n)
	} else if err := g.readTraces(); err != nil {
		return err
	} else if g.live > 0 {
		g.heap.add(at, g.live)
	}
	proc := filepath.Join("/proc", strconv.Itoa(g.m.cmd.Process.Pid))
	raw, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		return err
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(raw), &size, &pages); err != nil {
		return fmt.Errorf("read statm: %w", err)
	}
	resident := pages * float64(os.Getpagesize())
	g.resident.add(at, resident/mib)
	if g.admin != "" {
		g.memory.add(at, (resident-reserve)/mib)
	}
	open, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return err
	}
	g.files.add(at, float64(len(open)))
	return nil
}

func ask(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d", url, resp.StatusCode)
	}
	return string(b), err
}

// memstat is a number from the end of a heap profile.
func memstat(profile, name string) float64 {
	_, rest, _ := strings.Cut(profile, "# "+name+" = ")
	v, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseFloat(v, 64) // one that is missing is seen in the table
	return n
}

// readTraces finds the live heap after the collector's latest run in what the process printed since the last look.
func (g *gauges) readTraces() error {
	f, err := os.Open(g.m.log.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Seek(g.traced, io.SeekStart); err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	g.traced += int64(len(b))
	trace := regexp.MustCompile(`^gc \d+ @.* \d+->\d+->(\d+) MB`)
	var sum, n float64
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if m := trace.FindStringSubmatch(s.Text()); m != nil {
			mb, _ := strconv.ParseFloat(m[1], 64)
			sum, n = sum+mb, n+1
		}
	}
	if n > 0 {
		g.live = sum / n
	}
	return nil
}
