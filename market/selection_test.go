package market

import (
	"container/heap"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// simUnit is a computer of testdata/selection.csv.
type simUnit struct {
	price, capacity, service, rtt uint64 // service and rtt in µs
	bad                           uint64 // millionths of requests that fail; half of those stall
	peer                          Peer

	queue  []func()
	atWork uint64
	served uint64
}

// simJob is one need on its way.
type simJob struct {
	buyer    int
	choices  []Choice
	next     int // the choice that is asked
	began    int64
	attempt  int // counts up, so that an answer after its timeout is recognised
	finished bool
}

type simEvent struct {
	at, number int64
	do         func()
}

type simEvents []simEvent

func (e simEvents) Len() int { return len(e) }
func (e simEvents) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e simEvents) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *simEvents) Push(x any)   { *e = append(*e, x.(simEvent)) }
func (e *simEvents) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// sim is a market of buyers with books of their own and units that queue what they cannot serve at once. Time is in µs.
type sim struct {
	now    int64
	number int64
	events simEvents
	chance *Rand
	units  []*simUnit
	byPeer map[Peer]*simUnit
	books  []*Book
	rands  []*Rand
	choose func(s *sim, buyer int) []Choice
	turn   int
	took   []int64
	cost   uint64
	failed int
	jobs   int
}

const (
	simBuyers  = 8
	simJobs    = 20_000
	simTimeout = 1_000_000 // µs that a unit is waited for
	simPlaces  = 3         // first choice, and who takes over
)

// simUnits reads the distributions, or draws them anew for -update: they are fixed so that numbers compare.
func simUnits(t *testing.T) []*simUnit {
	const file = "testdata/selection.csv"
	if *update {
		r := NewRand(2026)
		var b strings.Builder
		b.WriteString("price,capacity,service_us,rtt_us,bad_ppm\n")
		for i := range 100 {
			price, bad := 500+r.Below(1000), uint64(0)
			if i%10 == 9 { // bad ones are bait: cheap, and they fail
				price, bad = price*6/10, 400_000+r.Below(500_000)
			}
			fmt.Fprintf(&b, "%d,%d,%d,%d,%d\n", price, 2+r.Below(7), 20_000+r.Below(60_000), 20_000+r.Below(130_000), bad)
		}
		check(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	raw, err := os.ReadFile(file)
	check(t, err)
	var out []*simUnit
	for i, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		u := &simUnit{peer: PeerOf([]byte(name(i)))}
		if n, err := fmt.Sscanf(line, "%d,%d,%d,%d,%d", &u.price, &u.capacity, &u.service, &u.rtt, &u.bad); n != 5 || err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, u)
	}
	return out
}

func newSim(t *testing.T, choose func(s *sim, buyer int) []Choice) *sim {
	s := &sim{chance: NewRand(1), units: simUnits(t), byPeer: map[Peer]*simUnit{}, choose: choose}
	for _, u := range s.units {
		s.byPeer[u.peer] = u
	}
	for i := range simBuyers {
		cfg := DefaultConfig(testnet, uint64(i))
		cfg.PerBlock = len(s.units)
		b := NewBook(cfg)
		for k, u := range s.units {
			tm := terms(0)
			tm.Prices = Parts{CUBase: u.price}
			tm.Expires = start + MaxOfferLife
			o := fake(k, tm)
			o.peer, o.item = u.peer, &ans104.Item{}
			check(t, b.Add(o, start))
			b.Observe(u.peer, Computer, Measured, 0, u.rtt, start)
		}
		s.books, s.rands = append(s.books, b), append(s.rands, NewRand(uint64(100+i)))
	}
	return s
}

func (s *sim) after(delay uint64, do func()) {
	s.number++
	heap.Push(&s.events, simEvent{s.now + int64(delay), s.number, do})
}

// run lets needs arrive so often that half of the good units' capacity is used.
func (s *sim) run() {
	var perSecond uint64
	for _, u := range s.units {
		if u.bad == 0 {
			perSecond += u.capacity * 1_000_000 / u.service
		}
	}
	gap := 1_000_000 / (perSecond / 2)
	var arrive func()
	arrive = func() {
		s.jobs++
		buyer := int(s.chance.Below(simBuyers))
		s.ask(&simJob{buyer: buyer, choices: s.choose(s, buyer), began: s.now})
		if s.jobs < simJobs {
			s.after(s.spread(gap), arrive)
		}
	}
	s.after(0, arrive)
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		e.do()
	}
}

// spread is an exponential delay of that mean: as many means as the logarithm of a chance.
func (s *sim) spread(mean uint64) uint64 {
	x := s.chance.Uint64() | 1
	lead := uint64(bits.LeadingZeros64(x)) // -log2, its fraction from the next bits, near enough
	frac := x << (lead + 1) >> 48
	return mean * (lead*65536 + 65536 - frac) * 45426 >> 32 // ln 2
}

func (s *sim) ms() int64 { return start + s.now/1000 }

// ask goes to the next choice; without one the need has failed.
func (s *sim) ask(j *simJob) {
	if j.next == len(j.choices) {
		j.finished = true
		s.failed++
		s.took = append(s.took, s.now-j.began)
		return
	}
	c := j.choices[j.next]
	if c.Try { // tried beside the first choice: what it answers is noted, and changes nothing for the buyer
		j.next++
		s.ask(j)
		return
	}
	if j.next == 0 && len(j.choices) > 1 && j.choices[1].Try {
		s.send(&simJob{buyer: j.buyer, choices: j.choices[1:2], began: s.now, finished: true})
	}
	s.send(j)
}

func (s *sim) send(j *simJob) {
	c := j.choices[j.next]
	u, book := s.byPeer[c.Offer.Peer()], s.books[j.buyer]
	book.Begin(u.peer, Computer)
	j.attempt++
	attempt, asked := j.attempt, s.now
	end := func(o Outcome) {
		if j.attempt != attempt {
			return // its time was over
		}
		j.attempt++
		took := uint64(s.now - asked)
		book.End(u.peer, Computer, o, c.Price, took, s.ms())
		if o == Served {
			s.cost += c.Price
			u.served++
		}
		if j.finished {
			return
		}
		if o == Served {
			j.finished = true
			s.took = append(s.took, s.now-j.began)
			return
		}
		j.next++
		s.ask(j)
	}
	s.after(simTimeout, func() { end(Failed) })
	if s.chance.Below(1_000_000) < u.bad {
		if s.chance.Below(2) == 0 {
			s.after(u.rtt, func() { end(Failed) })
		}
		return
	}
	s.after(u.rtt/2, func() { s.enqueue(u, func() { s.after(u.rtt/2, func() { end(Served) }) }) })
}

func (s *sim) enqueue(u *simUnit, done func()) {
	if u.atWork >= u.capacity {
		u.queue = append(u.queue, done)
		return
	}
	u.atWork++
	s.after(s.spread(u.service), func() {
		u.atWork--
		done()
		if len(u.queue) > 0 {
			next := u.queue[0]
			u.queue = u.queue[1:]
			s.enqueue(u, next)
		}
	})
}

// verdict is the outcome of a run: failures in millionths, the median and 99th percentile in µs, cost for each need that
// was served, and the Herfindahl-Hirschman index of who served, of 10 000.
type simVerdict struct {
	name             string
	failures         int
	median, p99      int64
	cost, hhi, calls uint64
}

func (s *sim) verdict(name string) simVerdict {
	slices.Sort(s.took)
	v := simVerdict{name: name, failures: s.failed * 1_000_000 / s.jobs, median: s.took[len(s.took)/2], p99: s.took[len(s.took)*99/100]}
	v.cost = s.cost / uint64(max(s.jobs-s.failed, 1))
	for _, u := range s.units {
		v.calls += u.served
	}
	for _, u := range s.units {
		share := u.served * 1_000_000 / max(v.calls, 1)
		v.hhi += share * share / 100_000_000
	}
	return v
}

func byStrategy(strategy Strategy) func(*sim, int) []Choice {
	return func(s *sim, buyer int) []Choice {
		n, taste := plain(), DefaultTaste(NoCap)
		taste.Strategy, taste.Fresh = strategy, true
		return s.books[buyer].Rank(&n, &taste, s.ms(), s.rands[buyer], make([]Choice, 0, simPlaces))
	}
}

// blind takes units by a number, whatever is known of them.
func blind(which func(s *sim, place int) int) func(*sim, int) []Choice {
	return func(s *sim, buyer int) (out []Choice) {
		for place := 0; len(out) < simPlaces; place++ {
			u := s.units[which(s, place)%len(s.units)]
			e := s.books[buyer].entry(u.peer, Computer)
			if !slices.ContainsFunc(out, func(c Choice) bool { return c.Offer.Peer() == u.peer }) {
				out = append(out, choiceOf(held{e, u.price}))
			}
		}
		return out
	}
}

// TestSelection: among 100 computers, ten of them bad and cheap, balanced keeps its promises beside what else one could do.
func TestSelection(t *testing.T) {
	var all []simVerdict
	for _, c := range []struct {
		name   string
		choose func(*sim, int) []Choice
	}{
		{"balanced", byStrategy(Balanced)},
		{"cheapest", byStrategy(Cheapest)},
		{"fastest", byStrategy(Fastest)},
		{"random", blind(func(s *sim, _ int) int { return int(s.chance.Below(100)) })},
		{"round robin", blind(func(s *sim, _ int) int { s.turn++; return s.turn })},
	} {
		s := newSim(t, c.choose)
		s.run()
		all = append(all, s.verdict(c.name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %12s %10s %10s %6s %6s\n", "strategy", "failures ppm", "median us", "p99 us", "cost", "HHI")
	for _, v := range all {
		fmt.Fprintf(&b, "%-12s %12d %10d %10d %6d %6d\n", v.name, v.failures, v.median, v.p99, v.cost, v.hhi)
	}
	t.Logf("\n%s", b.String())
	golden(t, "testdata/selection.txt", b.String())

	const most = 5000 // millionths
	own := all[0]
	if own.failures >= most {
		t.Errorf("%d millionths of needs fail", own.failures)
	}
	p99, cost := int64(1)<<62, uint64(1)<<62
	for _, v := range all[1:] {
		if v.failures < most {
			p99, cost = min(p99, v.p99), min(cost, v.cost)
		}
	}
	if own.p99*2 > p99*3 {
		t.Errorf("p99 of %d µs, the best has %d", own.p99, p99)
	}
	if own.cost*100 > cost*115 {
		t.Errorf("a need costs %d, the best makes it %d", own.cost, cost)
	}
}

// docs/market.md prints the table.
func TestMarketPage(t *testing.T) {
	table, err := os.ReadFile("testdata/selection.txt")
	check(t, err)
	page, err := os.ReadFile("../docs/market.md")
	check(t, err)
	if !strings.Contains(string(page), string(table)) {
		t.Error("docs/market.md has other numbers than testdata/selection.txt")
	}
}
