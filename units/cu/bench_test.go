package cu_test

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
)

// benchSlots is the length of the logs that benchmarks replay.
const benchSlots = 2000

// BenchmarkReplay is what a slot costs beside its evaluation: checks, duplicates, digest. The machine does
// nothing, so ns/slot is ours.
func BenchmarkReplay(b *testing.B) {
	w := newWorld(b)
	w.machine.noop = true
	p := w.serve(b, "p", benchSlots)
	for b.Loop() {
		if r, err := cu.Verify(unitstest.Context(b), w.verification(p)); err != nil || r.Slots != benchSlots {
			b.Fatalf("%+v, %v", r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSlots, "ns/slot")
}

// BenchmarkCatchUp is the same in a unit: with the journal, the answers and their synced writes.
func BenchmarkCatchUp(b *testing.B) {
	w := newWorld(b)
	w.machine.noop = true
	log := w.chain(b, "p", benchSlots).Entries()
	w.directory.put(log)
	for b.Loop() {
		w.store = store.NewMemory()
		u := w.run(b, func(c *cu.Config) { c.PageSize, c.CheckpointEvery = 128, 1000 })
		compute(b, u, log[0].Message.ID(), benchSlots-1)
		u.stop()
		w.store.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSlots, "ns/slot")
}

// BenchmarkStored is an answer that is there already: read, checked, signed.
func BenchmarkStored(b *testing.B) {
	w := newWorld(b)
	p := w.serve(b, "p", 10)
	u := w.run(b)
	compute(b, u, p, 9)
	ctx := unitstest.Context(b)
	for b.Loop() {
		if _, err := u.Compute(ctx, p, ao.Slot(4)); err != nil {
			b.Fatal(err)
		}
	}
}
