package bench

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/su"
	"github.com/aopeer/aopeer/units/unitstest"
)

const callers = 16

// silence is an archive that knows a height and takes what it is given.
type silence struct{ arweave.Archive }

func (silence) Height(context.Context) (uint64, error) { return 1_500_000, nil }

func (silence) Query(context.Context, arweave.Query) (arweave.Page, error) {
	return arweave.Page{}, nil
}

func (silence) Put(context.Context, ...*ans104.Item) error { return nil }

func openStore(t testing.TB, dir string) store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func storeRows(t *testing.T) []Row {
	ours, engine := openStore(t, filepath.Join(t.TempDir(), "ours")), openEngine(filepath.Join(t.TempDir(), "engine"))
	defer engine.Close()
	record := make([]byte, itemSize)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}
	return []Row{pair{
		rounds: 11, n: 4096,
		ours: func(round, n int) work {
			return func(n int) {
				spread(n, callers, func(i int) {
					var b store.Batch
					b.Append(names[i%callers], uint64(round*(n/callers)+i/callers), record)
					must(ours.Commit(&b))
				})
			}
		},
		primitive: func(round, n int) work {
			return func(n int) {
				spread(n, callers, func(i int) {
					at := round*(n/callers) + i/callers
					setSynced(engine, []byte{'x', byte(i % callers), byte(at >> 24), byte(at >> 16), byte(at >> 8), byte(at)}, record)
				})
			}
		},
	}.row(t, "synced commit of 1 KiB, 16 writers", "cpu us", 0)}
}

// scheduler is a running scheduler unit with processes.
type scheduler struct {
	unit      *su.Unit
	processes []ao.ID
	verifier  ans104.Verifier
	dir       string
	stop      func()
}

func newScheduler(t testing.TB, processes int) *scheduler {
	t.Helper()
	s := &scheduler{dir: filepath.Join(t.TempDir(), "store")}
	st, err := store.Open(s.dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.unit, err = su.New(su.Config{
		Store: st, Signer: unitstest.Signer("unit"), Archive: silence{},
		HeightEvery: time.Hour, SettleDelay: time.Hour, // settling is another row's
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.unit.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		must(<-done)
		must(st.Close())
	})
	t.Cleanup(s.stop)
	<-s.unit.Ready()
	for i := range processes {
		m := unitstest.Spawn(t, unitstest.Signer("owner"), s.unit.Address(), string(rune('a'+i)))
		if _, err := s.unit.Schedule(ctx, m.ID(), m); err != nil {
			t.Fatal(err)
		}
		s.processes = append(s.processes, m.ID())
	}
	return s
}

// schedule takes items as they come from the network: verified, and given a durable slot.
func (s *scheduler) schedule(raws [][]byte) {
	spread(len(raws), callers, func(i int) {
		m, err := ao.ParseMessageBy(&s.verifier, raws[i])
		must(err)
		_, err = s.unit.Schedule(context.Background(), m.Target(), m)
		must(err)
	})
}

func suRows(t *testing.T) []Row {
	s := newScheduler(t, 64)
	key := voiKey(1)
	user := unitstest.Signer("user")
	var list []signed
	m := compareAll(
		t,
		pair{
			rounds: 21, n: 2048,
			ours: func(round, n int) work {
				raws := messages(t, user, s.processes, round, n)
				list = signedOf(raws)
				return func(int) { s.schedule(raws) }
			},
			primitive: func(_, n int) work {
				return func(int) {
					spread(n, callers, func(i int) {
						verifyOne(list[i])
						signOne(key, list[i].message)
					})
				}
			},
		},
		pair{
			rounds: 21, n: 512,
			ours: func(round, n int) work {
				raws := messages(t, wallet(), s.processes, round, n)
				list = signedOf(raws)
				return func(int) { s.schedule(raws) }
			},
			// The goal is against our own verification, which is the row "rsa-4096 verify" and measured there.
			primitive: func(_, n int) work {
				raws := messages(t, wallet(), s.processes, -1, min(n, 32))
				return func(int) {
					spread(n, callers, func(i int) { must(parse(raws[i%len(raws)]).Verify()) })
				}
			},
		},
	)
	out := []Row{
		m[0].row("su schedule, ed25519 message", "cpu us", 1.8),
		m[1].row("su schedule, rsa message (primitive: our rsa verify)", "cpu us", 1.5),
	}
	out = append(out, latencyRow(t, s), diskRow(t))
	return out
}

// diskRow is what a message costs on disk for as long as it is not settled.
func diskRow(t *testing.T) Row {
	s := newScheduler(t, 16)
	const n = 8192
	raws := messages(t, unitstest.Signer("user"), s.processes, 0, n)
	s.schedule(raws)
	s.stop()
	items := 0
	for _, raw := range raws {
		items += len(raw)
	}
	size := compactedSize(filepath.Join(s.dir, "db"))
	return makeRow("bytes on disk a message", float64(size)/n, float64(items)/n, "bytes", 1.6)
}

// latencyRow is the 99th percentile for callers who together come at half the rate that was served to them just before,
// evenly spread, beside the 99th percentile of one synced write of as many bytes to a file, for the same callers at the
// same moments: a percentile held against a median would compare a rare event with a common one. Both are taken in each
// of several windows, by turns, and the medians of the windows count: a neighbour who stalls the machine spoils a
// window, not the row. What else stands in between is logged beside it, and a synced write in the median.
func latencyRow(t *testing.T, s *scheduler) Row {
	const windows, n = 31, 400
	user := unitstest.Signer("user")
	record := make([]byte, itemSize)
	files := make([]*os.File, callers)
	for c := range files {
		var err error
		files[c], err = os.Create(filepath.Join(t.TempDir(), "file"))
		must(err)
		defer files[c].Close()
	}
	engine := openEngine(filepath.Join(t.TempDir(), "engine"))
	defer engine.Close()
	key := voiKey(1)
	var raws [][]byte
	var list []signed
	sides := []struct {
		name     string
		call     func(i int)
		p50, p99 []time.Duration // of each window
	}{
		{name: "ours", call: func(i int) {
			m, err := ao.ParseMessageBy(&s.verifier, raws[i])
			must(err)
			_, err = s.unit.Schedule(context.Background(), m.Target(), m)
			must(err)
		}},
		{name: "synced write to a file", call: func(i int) { writeSynced(files[i%callers], record) }},
		{name: "the same after verification and signature", call: func(i int) {
			verifyOne(list[i])
			signOne(key, list[i].message)
			writeSynced(files[i%callers], record)
		}},
		{name: "synced write of the bare engine", call: func(i int) { setSynced(engine, raws[i][2:66], raws[i]) }},
	}
	var alone []time.Duration
	for w := range windows {
		full := messages(t, user, s.processes, 1000+2*w, n)
		raws = messages(t, user, s.processes, 1001+2*w, n)
		list = signedOf(raws)
		runtime.GC()
		began := time.Now()
		s.schedule(full)
		gap := 2 * time.Since(began) / n
		for range 100 {
			began := time.Now()
			writeSynced(files[0], record)
			alone = append(alone, time.Since(began))
		}
		for i := range sides {
			side := &sides[(i+w)%len(sides)]
			took := arrivals(n, gap, side.call)
			side.p50 = append(side.p50, median(took)) // which sorts
			side.p99 = append(side.p99, took[n*99/100])
		}
	}
	var ratios []float64
	for w := range windows {
		ratios = append(ratios, float64(sides[0].p99[w])/float64(sides[1].p99[w]))
	}
	t.Logf("a synced write to a file with nobody beside it: median %v", median(alone))
	for _, side := range sides {
		t.Logf("half load: %s: median %v, p99 %v", side.name, median(side.p50), median(side.p99))
	}
	r := makeRow("su schedule p99 at half load (primitive: p99 of a synced write at the same moments)",
		float64(median(sides[0].p99))/1e3, float64(median(sides[1].p99))/1e3, "us", 4)
	r.Ratio = median(ratios)
	return r
}

// arrivals are n calls, one every gap, and how long each took. A caller who is late does not hurry: a stall of the
// machine counts once.
func arrivals(n int, gap time.Duration, call func(i int)) []time.Duration {
	took := make([]time.Duration, n)
	var all sync.WaitGroup
	began := time.Now()
	for c := range callers {
		all.Go(func() {
			next := newPace(time.Until(began.Add(time.Duration(c+1)*gap)), callers*gap) // not all at the same moment
			defer next.stop()
			for i := c; i < n; i += callers {
				next.wait()
				began := time.Now()
				call(i)
				took[i] = time.Since(began)
			}
		})
	}
	all.Wait()
	return took
}
