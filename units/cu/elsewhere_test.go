package cu_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// abroad is a directory with one process whose log is a reference scheduler's.
type abroad struct {
	*directory
	process ao.Message
	entries []ao.Entry
}

func (a abroad) Process(context.Context, ao.ID) (ao.Process, error) { return a.process.Process() }

func (a abroad) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{Keys: []string{a.process.Tags().Get("Scheduler")}, Threshold: 1}, nil
}

func (a abroad) Log(context.Context, ao.ID) (units.Log, error) { return a, nil }

func (a abroad) Next(context.Context, ao.ID) (ao.Slot, error) {
	return a.entries[len(a.entries)-1].Assignment.Nonce() + 1, nil
}

func (a abroad) Range(_ context.Context, _ ao.ID, from ao.Slot, limit int) (out []ao.Entry, _ error) {
	for _, e := range a.entries {
		if e.Assignment.Nonce() >= from && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

// reference is a scheduler elsewhere with a process.
func (w *world) reference(t testing.TB, height uint64) (*unitstest.Reference, ao.Message) {
	t.Helper()
	su := unitstest.NewReference(unitstest.Wallet("su"))
	su.Age(height)
	p, err := ao.SignProcess(unitstest.Wallet("owner"), w.module.ID(), su.Address(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, su, p)
	return su, p
}

func put(t testing.TB, su *unitstest.Reference, m ao.Message) {
	t.Helper()
	if _, err := su.Put(m.Raw()); err != nil {
		t.Fatal(err)
	}
}

func (w *world) abroad(t testing.TB, su *unitstest.Reference, p ao.Message) abroad {
	t.Helper()
	return abroad{w.directory, p, su.Entries(t, p.ID())}
}

// outputs are the results of all slots from first on, as the unit gives them and as a verification finds them.
func outputs(t testing.TB, w *world, a abroad, n ao.Slot) (out []string) {
	t.Helper()
	u := w.run(t, func(c *cu.Config) { c.Directory = a })
	for slot := range n {
		ans := compute(t, u, a.process.ID(), slot)
		out = append(out, fmt.Sprintf("%s%d", ans.Result.Output, ans.Result.Decision))
	}
	u.stop()
	cfg := w.verification(a.process.ID())
	cfg.Log, cfg.Directory = a, a
	if r := verify(t, cfg); !r.OK || r.Slots != uint64(n) || len(r.Disputed) > 0 {
		t.Errorf("report %+v", r)
	}
	return out
}

// TestLogElsewhere: logs of today's network come out as their schedulers made them.
func TestLogElsewhere(t *testing.T) {
	user := unitstest.Wallet("user")
	say := func(su *unitstest.Reference, p ao.Message, text string) {
		put(t, su, unitstest.Message(t, user, p.ID(), text))
	}
	for name, c := range map[string]struct {
		height uint64
		script func(su *unitstest.Reference, p ao.Message)
		want   []string
	}{
		"as of today": {ao.ChainedSince, func(su *unitstest.Reference, p ao.Message) {
			say(su, p, "a")
		}, []string{`"1 after  "0`, `"2 after a"0`}},
		"broken links": {ao.ChainedSince - 1, func(su *unitstest.Reference, p ao.Message) {
			say(su, p, "a")
			say(su, p, "b")
		}, []string{`"1 after  "0`, `"2 after a"0`, `"3 after b"0`}},
		"without the process": {1, func(su *unitstest.Reference, p ao.Message) {
			su.Old(p.ID())
			say(su, p, "a")
			say(su, p, "b")
		}, []string{`"2 after a"0`, `"3 after b"0`}}, // the process was evaluated all the same
		"slots left out": {ao.ChainedSince, func(su *unitstest.Reference, p ao.Message) {
			say(su, p, "a")
			su.Skip(p.ID(), 2)
			say(su, p, "b")
		}, []string{`"1 after  "0`, `"2 after a"0`, "2", "2", `"3 after b"0`}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			su, p := w.reference(t, c.height)
			c.script(su, p)
			if got := outputs(t, w, w.abroad(t, su, p), ao.Slot(len(c.want))); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("results %q, want %q", got, c.want)
			}
		})
	}
}

// TestBadLogElsewhere: what a scheduler elsewhere may not do either.
func TestBadLogElsewhere(t *testing.T) {
	user := unitstest.Wallet("user")
	grown := func(su *unitstest.Reference, p ao.Message) {
		for i := range 4 {
			put(t, su, unitstest.Message(t, user, p.ID(), fmt.Sprint(i)))
		}
	}
	for name, c := range map[string]struct {
		height uint64
		slot   ao.Slot // the first without a result
		named  ao.Slot
		spoil  func(a *abroad, other abroad)
	}{
		"a broken link":       {ao.ChainedSince, 2, 2, func(a *abroad, other abroad) { a.entries[2] = other.entries[2] }},
		"another's signature": {1, 3, 3, func(a *abroad, _ abroad) { a.entries = append(a.entries[:3:3], strangers(t, a.process)) }},
		"a lost beginning":    {1, 0, 0, func(a *abroad, _ abroad) { a.entries = a.entries[1:] }},
		"a lost entry":        {ao.ChainedSince, 2, 3, func(a *abroad, _ abroad) { a.entries = append(a.entries[:2:2], a.entries[3:]...) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			su, p := w.reference(t, c.height)
			grown(su, p)
			other := unitstest.NewReference(unitstest.Wallet("su"))
			put(t, other, p)
			put(t, other, unitstest.Message(t, user, p.ID(), "another history"))
			grown(other, p)
			a := w.abroad(t, su, p)
			c.spoil(&a, w.abroad(t, other, p))
			u := w.run(t, func(c *cu.Config) { c.Directory = a })
			_, err := u.Compute(unitstest.Context(t), p.ID(), 4)
			unitstest.WantRefusal(t, err, ao.BadLog)
			if !strings.Contains(fmt.Sprint(err), fmt.Sprintf("slot %d", c.named)) {
				t.Errorf("%v does not name slot %d", err, c.named)
			}
			if c.slot > 0 { // nothing beyond it was claimed, not even that slots are left out
				compute(t, u, p.ID(), c.slot-1)
				_, err = u.Compute(unitstest.Context(t), p.ID(), c.slot)
				unitstest.WantRefusal(t, err, ao.BadLog)
			}
		})
	}
}

// strangers is an entry in the far middle of a log that somebody else signed.
func strangers(t testing.TB, p ao.Message) ao.Entry {
	t.Helper()
	su := unitstest.NewReference(unitstest.Wallet("another su"))
	put(t, su, p)
	su.Skip(p.ID(), 20)
	put(t, su, unitstest.Message(t, unitstest.Wallet("user"), p.ID(), "x"))
	es := su.Entries(t, p.ID())
	return es[1]
}

// TestClaimsThatStay: a unit whose archive takes nothing keeps its claims, and answers with them.
func TestClaimsThatStay(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 3)
	w.directory.put(c.Entries())
	u := w.run(t, w.settling, func(c *cu.Config) { c.KeepsClaims = true })
	if ans := compute(t, u, c.Process(), 2); ans.Check(network, c.Process(), 2) != nil {
		t.Error("the answer has no claim")
	}
	if n := u.Status().Unsettled; n != 0 {
		t.Errorf("%d processes are to be settled", n)
	}
	u.stop()
	if n := len(w.archive.batches()); n != 0 {
		t.Errorf("%d batches left", n)
	}
}
