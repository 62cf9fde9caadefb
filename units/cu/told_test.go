package cu_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// telling is a directory with one process, whose log a HyperBEAM node tells.
type telling struct {
	*directory
	node    *unitstest.HyperBEAM
	process ao.ID
	slots   ao.Slot
	reads   int
}

// tell is a process on a node, with messages of these texts.
func (w *world) tell(t testing.TB, height uint64, texts ...string) *telling {
	t.Helper()
	d := &telling{directory: w.directory, node: unitstest.NewHyperBEAM()}
	d.process = d.node.Spawn("p", w.module.ID(), height)
	for d.slots = 1; int(d.slots) <= len(texts); {
		d.add(texts[d.slots-1], nil)
	}
	return d
}

func (d *telling) add(text string, change func(message, assignment map[string]any), tags ...ao.Tag) {
	d.slots = d.node.Add(d.process, "message "+d.slots.String(), text, change, tags...) + 1
}

func (d *telling) entry(slot ao.Slot) ao.Entry {
	p, err := ao.ParseTold([]byte(d.node.Body(d.process, slot)))
	if err != nil {
		panic(err)
	}
	return p.Entries[0]
}

func (d *telling) Process(context.Context, ao.ID) (ao.Process, error) {
	return d.entry(0).Message.Process()
}

func (d *telling) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{}, errors.New("nobody signs here")
}
func (d *telling) Log(context.Context, ao.ID) (units.Log, error)       { return d, nil }
func (d *telling) Next(context.Context, ao.ID) (ao.Slot, error)        { return d.slots, nil }
func (d *telling) Find(context.Context, ao.ID, ao.ID) (ao.Slot, error) { panic("not asked") }
func (d *telling) Follow(context.Context, ao.ID, ao.Slot, func(ao.Entry) error) error {
	panic("not asked")
}

func (d *telling) Range(_ context.Context, _ ao.ID, from ao.Slot, limit int) (out []ao.Entry, _ error) {
	d.reads++
	for slot := from; slot < d.slots && len(out) < limit; slot++ {
		out = append(out, d.entry(slot))
	}
	return out, nil
}

func (d *telling) configure(c *cu.Config) { c.Directory, c.Told, c.KeepsClaims = d, true, true }

// answered is a slot's output, of a unit that must not have signed it.
func (d *telling) answered(t testing.TB, u units.Computer, slot ao.Slot, hand bool) string {
	t.Helper()
	ctx := unitstest.Context(t)
	if hand {
		ctx = units.Hand(ctx, d.entry(slot))
	}
	a, err := u.Compute(ctx, d.process, slot)
	if err != nil {
		t.Fatalf("slot %d: %v", slot, err)
	}
	if !a.Claim.IsZero() || a.Slot != slot {
		t.Errorf("slot %d is signed, or another: %+v", slot, a)
	}
	return string(a.Result.Output)
}

// TestToldLog: a log that is only told is evaluated, again after a restart, by a unit that signs and settles nothing. What is
// handed over is used where it is next; else the log is read.
func TestToldLog(t *testing.T) {
	w := newWorld(t)
	d := w.tell(t, ao.ChainedSince, "a", "b")
	configure := func(c *cu.Config) {
		d.configure(c)
		c.Archive, c.BatchAge = w.archive, time.Millisecond
	}
	u := w.run(t, configure)
	for slot, want := range []string{`"1 after "`, `"2 after a"`} {
		if got := d.answered(t, u, ao.Slot(slot), true); got != want || d.reads != 0 {
			t.Errorf("slot %d: %s after %d readings, want %s", slot, got, d.reads, want)
		}
	}
	d.add("c", nil)
	d.add("d", nil)
	if got := d.answered(t, u, 4, true); got != `"5 after d"` || d.reads == 0 {
		t.Errorf("after slots that nobody handed over: %s, %d readings", got, d.reads)
	}
	if got := d.answered(t, u, 2, false); got != `"3 after b"` {
		t.Errorf("on the way: %s", got)
	}
	u.stop()
	u = w.run(t, configure)
	d.add("e", nil)
	if got := d.answered(t, u, 4, false); got != `"5 after d"` {
		t.Errorf("after a restart: %s", got)
	}
	if got := d.answered(t, u, 5, true); got != `"6 after e"` {
		t.Errorf("after a restart: %s", got)
	}
	r, err := u.DryRun(unitstest.Context(t), d.process, ao.Query{Data: []byte("q")})
	if err != nil || string(r.Output) != `"6 q at 5"` {
		t.Errorf("dry-run: %s, %v", r.Output, err)
	}
	last, err := u.Save(unitstest.Context(t), d.process)
	if err != nil || last.Nonce != 5 || last.BlockHeight != ao.ChainedSince+5 {
		t.Errorf("saved: %+v, %v", last, err)
	}
	if _, err := u.Save(unitstest.Context(t), unitstest.ID("unknown")); !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) {
		t.Errorf("saved what is not there: %v", err)
	}
	u.stop()
	if n := len(w.archive.batches()); n != 0 {
		t.Errorf("%d batches are settled", n)
	}
}

// TestToldTwice: what the node has found to be there before takes no effect, nor does a copy that it has not.
func TestToldTwice(t *testing.T) {
	w := newWorld(t)
	d := w.tell(t, ao.ChainedSince, "a")
	original := d.entry(1).Assignment.ID()
	d.add("a", func(message, assignment map[string]any) {
		unitstest.SetTag(assignment, "Skip", "true")
		unitstest.SetTag(assignment, "Original-Assignment-Id", assignment["Id"])
		assignment["Id"] = unitstest.ID("another").String()
	})
	d.add("a", func(message, _ map[string]any) { message["Id"] = unitstest.ID("message 1").String() })
	from := ao.Tag{Name: "From-Process", Value: unitstest.ID("q").String()}
	d.add("pushed", nil, from)
	d.add("pushed", nil, from)
	d.add("b", nil)
	u := w.run(t, d.configure)
	if got := d.answered(t, u, 6, false); got != `"4 after b"` {
		t.Errorf("after three that take no effect: %s", got)
	}
	for _, slot := range []ao.Slot{2, 3, 5} {
		a, err := u.Compute(unitstest.Context(t), d.process, slot)
		if err != nil || a.Result.Decision != ao.Duplicate {
			t.Errorf("slot %d: %+v, %v", slot, a.Result, err)
		}
	}
	if d.entry(2).Assignment.ID() == original {
		t.Error("the void one stands for the first")
	}
}

// TestToldBadLog: slots follow each other, and from the block of the change on they are chained.
func TestToldBadLog(t *testing.T) {
	for name, c := range map[string]struct {
		height uint64
		spoil  func(message, assignment map[string]any)
		bad    bool
	}{
		"a broken link":           {ao.ChainedSince, func(_, a map[string]any) { unitstest.SetTag(a, "Hash-Chain", unitstest.ID("x").String()) }, true},
		"a broken link long ago":  {ao.ChainedSince - 100, func(_, a map[string]any) { unitstest.SetTag(a, "Hash-Chain", unitstest.ID("x").String()) }, false},
		"a slot that is left out": {ao.ChainedSince, func(_, a map[string]any) { unitstest.SetTag(a, "Slot", 3) }, true},
		"another epoch":           {ao.ChainedSince, func(_, a map[string]any) { unitstest.SetTag(a, "Epoch", "1") }, true},
		"another process":         {ao.ChainedSince, func(_, a map[string]any) { unitstest.SetTag(a, "Process", unitstest.ID("x").String()) }, true},
	} {
		w := newWorld(t)
		d := w.tell(t, c.height, "a")
		d.add("b", c.spoil)
		_, err := w.run(t, d.configure).Compute(unitstest.Context(t), d.process, 2)
		if errors.Is(err, &ao.Refusal{Code: ao.BadLog}) != c.bad || !c.bad && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestToldOnlyWhereItIsWanted: no unit evaluates what is told unless it is made for that, and then nothing else.
func TestToldOnlyWhereItIsWanted(t *testing.T) {
	w := newWorld(t)
	d := w.tell(t, ao.ChainedSince)
	bad := &ao.Refusal{Code: ao.BadLog}
	if _, err := w.run(t, func(c *cu.Config) { c.Directory = d }).Compute(unitstest.Context(t), d.process, 0); !errors.Is(err, bad) {
		t.Errorf("told to a unit that signs: %v", err)
	}
	other := newWorld(t)
	p := other.serve(t, "p", 2)
	if _, err := other.run(t, func(c *cu.Config) { c.Told, c.KeepsClaims = true, true }).Compute(unitstest.Context(t), p, 0); !errors.Is(err, bad) {
		t.Errorf("signed, to a unit that is told: %v", err)
	}
	cfg := w.config()
	if cfg.Told, cfg.Archive = true, w.archive; cfg.Validate() == nil {
		t.Error("what is only told may be settled")
	}
}
