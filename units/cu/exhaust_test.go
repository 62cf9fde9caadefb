package cu_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// wasmWorld is processes of real modules on a real host.
type wasmWorld struct {
	*world
	host    *wasmvm.Host
	modules map[ao.ID]ao.Module
}

func newWasmWorld(t testing.TB) *wasmWorld {
	t.Helper()
	host, err := wasmvm.NewHost(wasmvm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return &wasmWorld{world: newWorld(t), host: host, modules: map[ao.ID]ao.Module{}}
}

// Module finds what sign has made.
func (w *wasmWorld) Module(_ context.Context, id ao.ID) (ao.Module, error) { return w.modules[id], nil }

// twoModules is the test's directory, with modules of its own.
type twoModules struct {
	*directory
	w *wasmWorld
}

func (d twoModules) Module(ctx context.Context, id ao.ID) (ao.Module, error) {
	return d.w.Module(ctx, id)
}

// sign makes a module of one of those that testdata/glutton.wat describes.
func (w *wasmWorld) sign(t testing.TB, name, memory string) ao.Module {
	t.Helper()
	code, err := os.ReadFile("testdata/" + name + ".wasm")
	if err != nil {
		t.Fatal(err)
	}
	m, err := ao.SignModule(w.owner, wasmvm.FormatAOS, memory, "9000000000", code)
	if err != nil {
		t.Fatal(err)
	}
	w.modules[m.ID()] = m
	return m
}

// processes have logs of so many slots.
func (w *wasmWorld) processes(t testing.TB, m ao.Module, n, slots int) (ids []ao.ID) {
	t.Helper()
	for i := range n {
		spawn, err := ao.SignProcess(w.owner, m.ID(), unitstest.Address(w.scheduler), ao.Tags{{Name: "Name", Value: fmt.Sprint(i)}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := unitstest.NewChain(t, w.scheduler, spawn)
		for k := 1; k < slots; k++ {
			w.add(t, c, fmt.Sprintf("message %d", k))
		}
		w.directory.put(c.Entries())
		ids = append(ids, c.Process())
	}
	return ids
}

func (w *wasmWorld) start(t testing.TB, change func(*cu.Config)) *running {
	return w.run(t, func(c *cu.Config) {
		c.Machine, c.Directory, c.CheckpointEvery, c.PageSize = w.host, twoModules{w.directory, w}, 1000, 128
		change(c)
	})
}

// resident is what the kernel counts for this program after garbage is gone, 0 if it does not tell.
func resident() (bytes int64) {
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// TestExhaustion: modules that take all the memory they may have, in 16 processes at once, whether their messages then
// succeed or fail, do not take more of the machine than the unit may have, and leave nothing behind.
func TestExhaustion(t *testing.T) {
	const gluttons, limit = 16, 24 << 20
	for _, name := range []string{"kept", "rolledback"} {
		t.Run(name, func(t *testing.T) {
			w := newWasmWorld(t)
			ids := w.processes(t, w.sign(t, name, "24-mb"), gluttons, 2)
			others := w.processes(t, w.sign(t, "quick", "1-mb"), 1, 40)
			const most = 2*limit + 32<<20
			u := w.start(t, func(c *cu.Config) { c.MaxMemory, c.MaxPacked, c.Workers = 2*most, 64<<20, 2 })
			compute(t, u, others[0], 0)
			before, goroutines := resident(), runtime.NumGoroutine()
			var all sync.WaitGroup
			for _, id := range ids {
				all.Go(func() {
					for slot := range ao.Slot(2) {
						a := compute(t, u, id, slot)
						if failed := a.Result.Error != nil; failed != (slot > 0 && name == "rolledback") {
							t.Errorf("slot %d: %s", slot, a.Result.Error)
						}
						// One that is opened and one that is evaluated may always go on: claim, expect.
						if s := u.Status(); s.Memory > 2*most+4*limit || s.PackedMem > 64<<20+limit {
							t.Errorf("status %+v is beyond what the unit may have", s)
						}
					}
				})
			}
			for slot := range ao.Slot(39) { // others are served meanwhile
				compute(t, u, others[0], slot+1)
			}
			all.Wait()
			await(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
			if name == "rolledback" {
				if after := resident(); after > before+128<<20 {
					t.Errorf("%d MiB are resident, before it were %d", after>>20, before>>20)
				}
			}
			for _, id := range ids { // still there, wherever they were put
				stateOf(t, u, id)
			}
		})
	}
}

// BenchmarkOthers is what a user of another process waits for a slot, alone and while 16 processes exhaust their memory
// again and again: the ratio of the 99th percentiles is reported.
func BenchmarkOthers(b *testing.B) {
	const slots, gluttons = 2000, 16
	p99 := func(attack bool) time.Duration {
		w := newWasmWorld(b)
		ids := w.processes(b, w.sign(b, "rolledback", "512-mb"), gluttons, 200)
		other := w.processes(b, w.sign(b, "quick", "1-mb"), 1, slots)[0]
		u := w.start(b, func(*cu.Config) {})
		for slot := range ao.Slot(10) {
			compute(b, u, other, slot)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var all sync.WaitGroup
		if attack {
			for _, id := range ids {
				all.Go(func() {
					for slot := ao.Slot(0); ctx.Err() == nil && slot < 200; slot++ {
						_, _ = u.Compute(ctx, id, slot)
					}
				})
			}
			await(b, "they are at it", func() bool { return u.Status().Working >= gluttons })
		}
		var took []time.Duration
		for slot := ao.Slot(10); slot < slots; slot++ {
			began := time.Now()
			compute(b, u, other, slot)
			took = append(took, time.Since(began))
		}
		cancel()
		all.Wait()
		u.stop()
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	for b.Loop() {
		alone, attacked := p99(false), p99(true)
		b.ReportMetric(float64(attacked)/float64(alone), "p99-ratio")
		b.ReportMetric(float64(alone.Microseconds()), "p99-us-alone")
		b.ReportMetric(float64(attacked.Microseconds()), "p99-us-attacked")
	}
}
