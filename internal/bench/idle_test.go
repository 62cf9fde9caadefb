package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// How many idle processes a computing unit holds, and within what.
const (
	idleDefault = 1000
	idleAOS     = 200
	idleMemory  = 4096 // MiB
	idleMillis  = 100
	idleSlots   = 3
)

// crowd is many processes of a few modules, and their logs.
type crowd struct {
	units.Directory
	processes map[ao.ID]ao.Process
	modules   map[ao.ID]ao.Module
	log       *unitstest.Memory
}

func (c *crowd) Process(_ context.Context, id ao.ID) (ao.Process, error) { return c.processes[id], nil }

func (c *crowd) Module(_ context.Context, id ao.ID) (ao.Module, error) { return c.modules[id], nil }
func (c *crowd) Log(context.Context, ao.ID) (units.Log, error)         { return c.log, nil }
func (c *crowd) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{Keys: []string{unitstest.Address(unitstest.Signer("unit"))}, Threshold: 1}, nil
}

// spawn adds processes that have taken a few messages each, alike and not the same.
func (c *crowd) spawn(t *testing.T, module ao.Module, n int) (ids []ao.ID) {
	owner, scheduler := unitstest.Signer("owner"), unitstest.Signer("unit")
	c.modules[module.ID()] = module
	for i := range n {
		tags := ao.Tags{{Name: "Name", Value: fmt.Sprintf("bench %d", i)}, {Name: "Authority", Value: unitstest.Address(owner)}}
		spawn, err := ao.SignProcess(owner, module.ID(), unitstest.Address(scheduler), tags, nil, nil)
		must(err)
		process, err := spawn.Process()
		must(err)
		chain := unitstest.NewChain(t, scheduler, spawn)
		for k := range idleSlots - 1 {
			code := fmt.Sprintf("T = T or {} for i = 1, 100 do T[#T+1] = 'value %d of %d ' .. i end return #T", k, i)
			chain.Add(t, unitstest.Message(t, owner, chain.Process(), code, ao.Tag{Name: "Action", Value: "Eval"}))
		}
		c.log.Load(chain)
		c.processes[process.ID()] = process
		ids = append(ids, process.ID())
	}
	return ids
}

// resident is what the kernel counts for this program, in MiB.
func resident() float64 {
	b, err := os.ReadFile("/proc/self/status")
	must(err)
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			must(err)
			return float64(kib) / 1024
		}
	}
	panic("the kernel does not say what is resident")
}

// idleRows holds the crowd in a unit as a peer configures it, then wakes processes that are packed.
func idleRows(t *testing.T) []Row {
	wasm, err := aosModule(t.TempDir())
	if err != nil {
		t.Logf("rows of idle processes are left out: %v", err)
		return nil
	}
	host, err := wasmvm.NewHost(wasmvm.Config{CacheDir: t.TempDir()})
	must(err)
	defer func() { must(host.Close()) }()
	owner := unitstest.Signer("owner")
	own, err := ao.SignModule(owner, wasmvm.FormatDefault, "512-mb", "9000000000000", wasmvm.DefaultModule())
	must(err)
	aos, err := ao.SignModule(owner, wasmvm.FormatAOS, "1-gb", "9000000000000", wasm)
	must(err)
	must(host.Prepare(t.Context(), own))
	must(host.Prepare(t.Context(), aos))
	debug.FreeOSMemory()
	before := resident()
	c := &crowd{
		processes: map[ao.ID]ao.Process{}, modules: map[ao.ID]ao.Module{}, log: unitstest.NewMemory(unitstest.Signer("unit")),
	}
	kinds := map[string][]ao.ID{"default module": c.spawn(t, own, idleDefault), "aos": c.spawn(t, aos, idleAOS)}
	all := slices.Concat(kinds["default module"], kinds["aos"])
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })

	st := openStore(t, filepath.Join(t.TempDir(), "store"))
	u, err := cu.New(cu.Config{
		Store: st, SaveIdle: time.Hour, Signer: unitstest.Signer("computer"), Network: "bench",
		Machine: host, Directory: c, MaxHot: idleAOS / 2, // so that each of either kind is packed when it is asked for again
	})
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	defer cancel()
	want := map[ao.ID][32]byte{}
	for _, id := range all {
		_, err := u.Compute(context.Background(), id, idleSlots-1)
		must(err)
	}
	s := u.Status()
	for ; s.Hot+s.Packed < len(all); s = u.Status() { // the last one is on its way
		runtime.Gosched()
	}
	held := resident()
	s = u.Status() // with no more claim of what the last one might have taken
	t.Logf("%d hot take %d MiB, %d packed take %d MiB, the program without them %.0f MiB",
		s.Hot, s.Memory>>20, s.Packed, s.PackedMem>>20, before)
	rows := []Row{makeRow("1200 idle processes, resident in all (primitive: what is allowed)", held, idleMemory, "MiB", 1)}
	for _, kind := range []string{"default module", "aos"} {
		rows = append(rows, turnRows(t, u, kind, kinds[kind], want)...)
	}
	must(st.Close()) // so that the unit ends at once: saving all of them is no part of this
	if _, err := u.Compute(context.Background(), all[0], 0); err == nil {
		t.Error("a unit computes without a store")
	}
	if err := <-done; !errors.Is(err, store.ErrClosed) {
		t.Errorf("the unit has ended with %v", err)
	}
	return rows
}

// turnRows times what happens to an idle process: by itself, and in the unit, where one is packed for each that returns.
func turnRows(t *testing.T, u *cu.Unit, kind string, ids []ao.ID, want map[ao.ID][32]byte) (rows []Row) {
	var turns []time.Duration
	before := u.Status().Returns
	for round := range 2 { // the second asks for every process again, long after it has been packed
		for _, id := range ids {
			began := time.Now()
			info, err := u.State(context.Background(), id)
			must(err)
			turns = append(turns, time.Since(began))
			if root, ok := want[id]; ok && root != info.Root || info.Slot != idleSlots-1 {
				t.Fatalf("%s has returned with another state", id)
			}
			want[id] = info.Root
		}
		if round == 0 {
			turns = nil // roots that had to be computed
		}
	}
	if n := u.Status().Returns - before; n < uint64(len(ids)) {
		t.Fatalf("only %d of %d returned", n, 2*len(ids))
	}
	slices.Sort(turns)
	p99 := turns[len(turns)*99/100]
	t.Logf("%s: return in the unit: median %v, p99 %v, worst %v", kind, median(turns), p99, turns[len(turns)-1])
	return []Row{makeRow("evict one idle process and return another, "+kind+", p99 (primitive: what is allowed)",
		float64(p99)/float64(time.Millisecond), idleMillis, "ms", 1)}
}
