package gateway

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestAssignedTransaction: a transaction of Arweave is refused as the reference refuses it while it is young; in the log it is
// an assignment alone.
func TestAssignedTransaction(t *testing.T) {
	f := newFixture(t)
	other, tx := f.other(t).String(), unitstest.Transaction(t)
	path := "/?process-id=" + other + "&assign=" + tx.ID.String() + "&base-layer=&exclude=Data"
	f.scheduler.Bury(tx, 19)
	for s, says := range map[Surface]string{Scheduler: `{"error":"Not enough confirmations to assign"}`, Messenger: "unconfirmed"} {
		if w := f.ask(s, "POST", path, ""); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), says) {
			t.Errorf("surface %v: %d %s", s, w.Code, w.Body)
		}
	}
	f.scheduler.Bury(tx, 20)
	if w := f.ask(Messenger, "POST", path, ""); w.Code != http.StatusAccepted {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := f.ask(Scheduler, "POST", path, ""); w.Code != http.StatusOK {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
	for _, at := range []string{"/" + other + "/latest", "/" + tx.ID.String() + "?process-id=" + other} {
		n := get[node](t, f, Scheduler, at)
		tags := map[string]string{}
		for _, tag := range n.Assignment.Tags {
			tags[tag.Name] = tag.Value
		}
		if n.Message != nil || tags["Message"] != tx.ID.String() || tags["Exclude"] != "Data" || tags["Nonce"] != "1" {
			t.Errorf("%s: %+v", at, n)
		}
	}
	if p := get[page](t, f, Scheduler, "/"+other); len(p.Edges) != 2 || p.Edges[0].Node.Message == nil || p.Edges[1].Node.Message != nil {
		t.Errorf("page %+v", p)
	}
	if w := f.ask(Computer, "GET", "/result/"+tx.ID.String()+"?process-id="+other, ""); w.Code != http.StatusOK {
		t.Errorf("its result: %d %s", w.Code, w.Body)
	}
}

// TestPagesOfALog: every way to ask for a part of a log of ten slots, whose slot n is of the time ChainStart+n.
func TestPagesOfALog(t *testing.T) {
	f := newFixture(t)
	pid := f.chain.Process().String()
	at := func(n int) string { return strconv.FormatInt(unitstest.ChainStart+int64(n), 10) }
	for _, c := range []struct {
		query string
		from  int // the first slot of the page
		count int
		more  bool
	}{
		{"", 0, 10, false},
		{"limit=10", 0, 10, true}, // a full page says that there is more
		{"limit=3", 0, 3, true},
		{"limit=100000", 0, 10, false},
		{"from=0", 1, 9, false}, // the process is for whoever asks from the beginning
		{"from=" + at(3), 4, 6, false},
		{"from=" + at(3) + "&limit=2", 4, 2, true},
		{"to=" + at(3), 0, 4, false},
		{"from=" + at(3) + "&to=" + at(5), 4, 2, false},
		{"from=" + at(9), 0, 0, false},
		{"from=" + at(5) + "&to=" + at(4), 0, 0, false},
		{"to=5", 0, 0, false},
		{"from-nonce=-1", 0, 10, false},
		{"from-nonce=-7", 1, 9, false},
		{"from-nonce=0", 1, 9, false},
		{"from-nonce=7", 8, 2, false},
		{"from-nonce=3&to-nonce=5", 4, 2, false},
		{"to-nonce=2", 0, 3, false},
		{"to-nonce=-1", 0, 0, false},
		{"from-nonce=9", 0, 0, false},
		{"from-nonce=9000000000&to-nonce=9000000001", 0, 0, false},
		{"from-nonce=7&from=" + at(1), 8, 2, false},
	} {
		for _, process := range []string{"process-id=" + pid + "&", ""} { // stock getMessages leaves it out
			p := get[page](t, f, Scheduler, "/"+pid+"?"+process+c.query)
			if len(p.Edges) != c.count || p.Info.HasNext != c.more {
				t.Errorf("%s: %d entries, more %v; want %d, %v", c.query, len(p.Edges), p.Info.HasNext, c.count, c.more)
				continue
			}
			for i, e := range p.Edges {
				want := f.chain.Entries()[c.from+i]
				if e.Node.Assignment.ID != want.Assignment.ID().String() || e.Node.Message.ID != want.Message.ID().String() {
					t.Errorf("%s: entry %d is another", c.query, i)
				}
			}
		}
	}
}

// TestWalkALog: following cursors from page to page gives every entry once, by time and by slot, also where pages are cut by
// their bytes.
func TestWalkALog(t *testing.T) {
	for _, bytes := range []int64{0, 1500} {
		f := newFixture(t, func(f *fixture) { f.cfg.Limits.Page = bytes })
		pid := f.chain.Process().String()
		for _, by := range []string{"from", "from-nonce"} {
			var got []string
			query := ""
			if by == "from-nonce" {
				query = "&from-nonce=-1"
			}
			for {
				p := get[page](t, f, Scheduler, "/"+pid+"?process-id="+pid+"&limit=3"+query)
				for _, e := range p.Edges {
					got = append(got, e.Node.Message.ID)
					query = "&" + by + "=" + e.Cursor
				}
				if !p.Info.HasNext {
					break
				}
			}
			if len(got) != 10 {
				t.Fatalf("by %s with %d bytes: %d entries", by, bytes, len(got))
			}
			for i, e := range f.chain.Entries() {
				if got[i] != e.Message.ID().String() {
					t.Errorf("by %s: entry %d is another", by, i)
				}
			}
		}
	}
}

func slotsOf(t *testing.T, p resultPage) (out []string) {
	t.Helper()
	for _, e := range p.Edges {
		b, err := parseBound(map[string][]string{"x": {e.Cursor}}, "x")
		if err != nil {
			t.Fatal(err)
		}
		name := b.slot.String()
		if b.cron != "" {
			name += "/" + strconv.FormatInt(b.time-unitstest.ChainStart, 10) + "/" + b.cron
		}
		out = append(out, name)
	}
	return out
}

// TestPagesOfResults: bounds are cursors or times, the order of a cursor goes before the one that is asked for.
func TestPagesOfResults(t *testing.T) {
	f := newFixture(t)
	pid := f.chain.Process().String()
	at := func(slot int, sort string) string {
		return cursor{Timestamp: unitstest.ChainStart + int64(slot), Ordinate: strconv.Itoa(slot), Sort: sort}.String()
	}
	old := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"timestamp":%d,"ordinate":6,"cron":null}`, int64(unitstest.ChainStart+6)))
	for _, c := range []struct {
		query, want string
		more        bool
	}{
		{"", "[0 1 2 3 4 5 6 7 8 9]", false},
		{"limit=3", "[0 1 2]", true},
		{"limit=10", "[0 1 2 3 4 5 6 7 8 9]", false},
		{"limit=3&sort=DESC", "[9 8 7]", true},
		{"sort=DESC&limit=100000", "[9 8 7 6 5 4 3 2 1 0]", false},
		{"from=" + at(7, ascending), "[8 9]", false},
		{"from=" + at(7, descending), "[9 8]", false},
		{"from=" + at(7, descending) + "&sort=ASC", "[9 8]", false},
		{"to=" + at(2, descending) + "&limit=2", "[2 1]", true},
		{"from=" + at(2, ascending) + "&to=" + at(4, descending), "[3 4]", false},
		{"from=" + old + "&sort=DESC", "[9 8 7]", false},
		{"from=" + strconv.FormatInt(unitstest.ChainStart+7, 10), "[8 9]", false},
		{"to=" + strconv.FormatInt(unitstest.ChainStart+1, 10), "[0 1]", false},
		{"from=" + at(9, ascending), "[]", false},
	} {
		p := get[resultPage](t, f, Computer, "/results/"+pid+"?"+c.query)
		if got := fmt.Sprint(slotsOf(t, p)); got != c.want || p.Info.HasNext != c.more {
			t.Errorf("%s: slots %s, more %v; want %s, %v", c.query, got, p.Info.HasNext, c.want, c.more)
		}
	}
}

// stuck is a computer that gets no further than a slot.
type stuck struct {
	units.Computer
	until ao.Slot
}

func (s stuck) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	if slot < s.until {
		return s.Computer.Compute(context.WithoutCancel(ctx), process, slot)
	}
	<-ctx.Done()
	return units.Answer{}, ao.Refuse("compute", ao.Deadline, "slot %d", slot)
}

// TestBusy: whoever would wait too long hears how much is left, and gets of a list what is there.
func TestBusy(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.Computer = stuck{f.computer, 4}
		f.cfg.Limits.AnswerTime = 10 * time.Millisecond
		f.cfg.Standing = func(ao.ID) (units.Standing, error) { return units.Standing{Recorded: 3, Next: 3}, nil }
	})
	pid := f.chain.Process().String()
	for path, left := range map[string]string{
		"/result/" + f.chain.Entries()[8].Message.ID().String() + "?process-id=" + pid: "5 slots are left",
		"/results/" + pid + "?sort=DESC":                                               "6 slots are left",
	} {
		w := f.ask(Computer, "GET", path, "")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), left) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	p := get[resultPage](t, f, Computer, "/results/"+pid)
	if got := fmt.Sprint(slotsOf(t, p)); got != "[0 1 2 3]" || !p.Info.HasNext {
		t.Errorf("slots %s, more %v", got, p.Info.HasNext)
	}
}

// TestTicks: what a process does by its own clock stands among the results of its slots, and alone under /cron.
func TestTicks(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.Now = func() time.Time { return time.UnixMilli(unitstest.ChainStart + 5_000) }
		spawn := unitstest.Spawn(t, f.owner, f.scheduler.Address(), "ticking", unitstest.TickingTags()...)
		f.chain = unitstest.MakeTicking(t, unitstest.Signer("gateway/scheduler"), spawn)
		f.scheduler.Load(f.chain)
	})
	pid := f.chain.Process().String()
	for _, c := range []struct{ path, want string }{
		{"/cron/" + pid, "[0/1000/0-1-second 0/2000/0-1-second 0/2000/1-2-seconds 2/3000/0-1-second 2/4000/0-1-second 2/4000/1-2-seconds]"},
		{"/cron/" + pid + "?to=" + strconv.Itoa(unitstest.ChainStart+2000), "[0/1000/0-1-second 0/2000/0-1-second 0/2000/1-2-seconds]"},
		{"/results/" + pid + "?limit=1000", "[0 0/1000/0-1-second 0/2000/0-1-second 0/2000/1-2-seconds 1 2 2/3000/0-1-second 2/4000/0-1-second 2/4000/1-2-seconds 3]"},
		{"/results/" + pid + "?limit=4&sort=DESC", "[3 2/4000/1-2-seconds 2/4000/0-1-second 2/3000/0-1-second]"},
	} {
		if got := fmt.Sprint(slotsOf(t, get[resultPage](t, f, Computer, c.path))); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	for _, list := range []struct {
		path string
		want int
	}{{"/cron/", 6}, {"/results/", 10}} {
		whole := slotsOf(t, get[resultPage](t, f, Computer, list.path+pid+"?limit=1000"))
		for _, limit := range []string{"1", "2", "3"} { // walked by cursors, a list gives each result once
			var got []string
			for from := ""; ; {
				p := get[resultPage](t, f, Computer, list.path+pid+"?limit="+limit+"&from="+from)
				got = append(got, slotsOf(t, p)...)
				if !p.Info.HasNext {
					break
				}
				from = p.Edges[len(p.Edges)-1].Cursor
			}
			if len(whole) != list.want || fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Errorf("%s by %s: %s, want %s", list.path, limit, got, whole)
			}
		}
	}
}

// TestTicksInBlocks: they stand right before the slot that tells of them, and however long ago that was the newest are found.
func TestTicksInBlocks(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.cfg.Now = func() time.Time { return time.UnixMilli(unitstest.ChainStart).AddDate(3, 0, 0) }
		signer := unitstest.Signer("gateway/scheduler")
		spawn := unitstest.Spawn(t, f.owner, unitstest.Address(signer), "ticking", ans104.Tag{Name: "Cron-Interval", Value: "1-block"})
		f.chain = unitstest.NewChain(t, signer, spawn)
		for i := 1; i < 32; i++ {
			if i == 25 {
				f.chain.Wait(365 * 24 * time.Hour)
			}
			f.chain.Add(t, unitstest.Message(t, f.owner, f.chain.Process(), ao.Slot(i).String()))
		}
		f.scheduler.Load(f.chain)
	})
	pid := f.chain.Process().String()
	const last = "29/31536000030/0-1-block"
	for _, c := range []struct{ path, want string }{
		{"/cron/" + pid, "[9/10/0-1-block 19/20/0-1-block " + last + "]"},
		{"/results/" + pid + "?limit=4&sort=DESC", "[31 30 " + last + " 29]"},
		{"/results/" + pid + "?limit=3&from=" + strconv.Itoa(unitstest.ChainStart+8), "[9 9/10/0-1-block 10]"},
	} {
		if got := fmt.Sprint(slotsOf(t, get[resultPage](t, f, Computer, c.path))); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
	forwards := slotsOf(t, get[resultPage](t, f, Computer, "/results/"+pid+"?limit=1000"))
	backwards := slotsOf(t, get[resultPage](t, f, Computer, "/results/"+pid+"?limit=1000&sort=DESC"))
	slices.Reverse(backwards)
	if len(forwards) != 35 || !slices.Equal(forwards, backwards) {
		t.Errorf("forwards %s, backwards %s", forwards, backwards)
	}
}
