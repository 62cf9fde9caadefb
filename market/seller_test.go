package market

import (
	"testing"
)

func TestPricing(t *testing.T) {
	list := Parts{CUBase: 1000, CUSlot: 3}
	fixed := Pricing{Plan: Fixed, Prices: list}
	if fixed.At(fixed.Next(fixed.Start(), 1000, 1)) != list {
		t.Error("fixed prices move")
	}
	plus := Pricing{Plan: CostPlus, Prices: list, Margin: 150_000}
	if got := plus.At(plus.Start()); got != (Parts{CUBase: 1150, CUSlot: 4}) {
		t.Errorf("%v", got)
	}
	plus.Margin = -million
	if got := plus.At(plus.Start()); got != (Parts{}) {
		t.Errorf("%v", got)
	}
	dear := Pricing{Plan: CostPlus, Prices: Parts{CUBase: maxPrice}, Margin: 5 * million}
	if got := dear.At(dear.Start()); got[CUBase] != maxPrice {
		t.Errorf("an absurd price %d", got[CUBase])
	}

	follow := FollowLoad(list)
	run := func(level int64, backlog uint64, n int) int64 {
		for range n {
			before := level
			level = follow.Next(level, backlog, 10)
			if level-before > before/10+1 || before-level > before/10+1 {
				t.Fatalf("from %d to %d in one step", before, level)
			}
		}
		return level
	}
	if got := run(follow.Start(), 5, 100); got != million {
		t.Errorf("at the aim %d", got)
	}
	high := run(million, 7, 5)
	if higher := run(million, 20, 5); high <= million || higher <= high {
		t.Errorf("%d with a backlog, %d with a longer one", high, higher)
	}
	if got := run(million, 1<<62, 200); got != follow.Most {
		t.Errorf("full: %d", got)
	}
	if got := run(follow.Most, 0, 200); got != follow.Floor {
		t.Errorf("idle: %d", got)
	}
	if got := follow.Next(million, 1, 0); got <= million {
		t.Errorf("without capacity: %d", got)
	}
	for p := range plans {
		got, err := ParsePlan(p.String())
		if err != nil || got != p {
			t.Errorf("%s: %v", p, err)
		}
	}
	for _, bad := range []Pricing{
		{Plan: plans},
		{Plan: CostPlus, Margin: -million - 1},
		{Plan: LoadFollowing},
		{Plan: LoadFollowing, Floor: 5, Most: 4, Aim: 1, Step: 1},
		{Prices: Parts{1 << 63}},
		{Prices: Parts{4: 1}},
	} {
		if ReasonOf(bad.Check(Computer)) == "" {
			t.Errorf("%+v passes", bad)
		}
	}
	check(t, follow.Check(Computer))
}

// Two payers of one price share the unit by work, whatever the number of their jobs; one who pays twice goes twice as
// fast, one who pays a hundredfold four times.
func TestQueueIsFair(t *testing.T) {
	served := func(a, b Job, na, nb, pops int) (wa, wb uint64) {
		q := NewQueue(Limits{Jobs: 10_000, PerPayer: 5000, Price: 10, Bounds: 4})
		for i := range max(na, nb) {
			for _, j := range []struct {
				Job
				n int
			}{{a, na}, {b, nb}} {
				if i < j.n {
					_, _, err := q.Push(j.Job)
					check(t, err)
				}
			}
		}
		for range pops {
			j, ok := q.Pop()
			if !ok {
				t.Fatal("empty")
			}
			if j.Payer == a.Payer {
				wa += j.Work
			} else {
				wb += j.Work
			}
		}
		return wa, wb
	}
	job := func(p byte, price, work uint64) Job { return Job{Payer: Peer{p}, Price: price, Work: work} }
	for _, c := range []struct {
		name   string
		a, b   Job
		na, nb int
		ratio  uint64 // of a to b, in percent
	}{
		{"alike", job(1, 10, 1), job(2, 10, 1), 900, 900, 100},
		{"many jobs", job(1, 10, 1), job(2, 10, 1), 4000, 450, 100},
		{"large jobs", job(1, 10, 9), job(2, 10, 1), 900, 900, 100},
		{"twice the price", job(1, 20, 1), job(2, 10, 1), 900, 900, 200},
		{"a hundredfold", job(1, 1000, 1), job(2, 10, 1), 900, 900, 400},
		{"below the price", job(1, 10, 1), job(2, 1, 1), 900, 900, 100},
	} {
		wa, wb := served(c.a, c.b, c.na, c.nb, 600)
		if got := wa * 100 / wb; got < c.ratio*95/100 || got > c.ratio*105/100 {
			t.Errorf("%s: %d to %d", c.name, wa, wb)
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := NewQueue(Limits{Jobs: 20, PerPayer: 15, Price: 10, Bounds: 4})
	push := func(p byte, id, price uint64) (Job, bool, error) {
		return q.Push(Job{Payer: Peer{p}, ID: id, Price: price, Work: 1})
	}
	for i := range uint64(15) {
		_, _, err := push(1, i, 10)
		check(t, err)
	}
	_, _, err := push(1, 15, 1000)
	wantErr(t, err, PayerBusy)
	if b := q.Backlog(Peer{1}); b.Open || b.Ahead != 15 || b.Work != 15 {
		t.Errorf("%+v", b)
	}
	_, _, err = push(2, 0, 9)
	wantErr(t, err, Underpaid)
	if b := q.Backlog(Peer{2}); !b.Open || b.Price != 10 {
		t.Errorf("%+v", b)
	}
	for i := range uint64(5) {
		_, _, err := push(2, i, 10)
		check(t, err)
	}
	// Full: the payer with most gives its last job's place away, until all have alike.
	for i := range uint64(4) {
		out, is, err := push(2, 5+i, 10)
		check(t, err)
		if !is || out.Payer != (Peer{1}) || out.ID != 14-i {
			t.Fatalf("%+v gave its place", out)
		}
	}
	out, is, err := push(3, 0, 10)
	check(t, err)
	if !is || out.Payer != (Peer{1}) || q.Len() != 20 {
		t.Errorf("%+v, %d jobs", out, q.Len())
	}
	_, _, err = push(2, 20, 10)
	wantErr(t, err, Busy)
	if b := q.Backlog(Peer{2}); b.Open {
		t.Errorf("%+v", b)
	}
	if b := q.Backlog(Peer{9}); !b.Open {
		t.Errorf("%+v", b)
	}
	seen := map[Job]bool{}
	for j, ok := q.Pop(); ok; j, ok = q.Pop() {
		key := Job{Payer: j.Payer, ID: j.ID}
		if seen[key] {
			t.Fatal("a job twice")
		}
		seen[key] = true
	}
	if len(seen) != 20 || q.Len() != 0 || len(q.payers) != 0 || q.waiting != 0 {
		t.Errorf("%d jobs, %d payers remembered", len(seen), len(q.payers))
	}
}

// A flood of payers with a job each holds no more than the bound, and what was let in comes out.
func TestQueueUnderFlood(t *testing.T) {
	q := NewQueue(DefaultLimits(10))
	r := NewRand(1)
	in, out, gone := 0, 0, 0
	for i := range 20_000 {
		j := Job{Payer: Peer{byte(r.Below(200)), byte(r.Below(3))}, ID: uint64(i), Price: r.Below(50), Work: r.Below(1 << 40)}
		_, displaced, err := q.Push(j)
		if err == nil {
			in++
		}
		if displaced {
			gone++
		}
		if r.Below(3) == 0 {
			if _, ok := q.Pop(); ok {
				out++
			}
		}
		if q.Len() > 1024 || len(q.payers) > 2*1024 || in-out-gone != q.Len() {
			t.Fatalf("%d jobs, %d payers; %d in, %d out, %d displaced", q.Len(), len(q.payers), in, out, gone)
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	q := NewQueue(DefaultLimits(10))
	for i := range 500 {
		_, _, _ = q.Push(Job{Payer: Peer{byte(i)}, Price: 10, Work: 1})
	}
	b.ReportAllocs()
	for b.Loop() {
		j, _ := q.Pop()
		_, _, _ = q.Push(j)
	}
}
