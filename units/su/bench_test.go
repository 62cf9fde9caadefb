package su

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

const benchBytes = 1024

// BenchmarkSchedule is the unit's hot path as a peer sees it: an item of 1 KiB comes in as bytes, is verified, and leaves
// as a durable assignment; 16 callers, many processes.
func BenchmarkSchedule(b *testing.B) {
	s, err := store.Open(filepath.Join(b.TempDir(), "store"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	u := newUnit(b, s, newFakeArchive(100))
	var ps [64]ao.ID
	for i := range ps {
		ps[i] = spawn(b, u, fmt.Sprint(i))
	}
	raws := benchItems(b, ps[:])
	var next atomic.Int64
	var together ans104.Verifier
	b.SetParallelism(8)
	defer reportCPU(b)()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := int(next.Add(1) - 1)
			m, err := ao.ParseMessageBy(&together, raws[i])
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := u.Schedule(b.Context(), ps[i%len(ps)], m); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// benchItems are the items of one run, signed beforehand.
func benchItems(b *testing.B, ps []ao.ID) [][]byte {
	b.Helper()
	user := unitstest.Signer("user")
	raws := make([][]byte, b.N)
	for i := range raws {
		data := fmt.Sprintf("%0*d", benchBytes-300, i)
		raws[i] = unitstest.Message(b, user, ps[i%len(ps)], data).Raw()
	}
	return raws
}

// reportCPU reports the processor time of an operation, which waiting for the disk is no part of.
func reportCPU(b *testing.B) func() {
	b.Helper()
	used := func() int64 {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			b.Fatal(err)
		}
		return r.Utime.Nano() + r.Stime.Nano()
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkVerifyAndSign is the primitive beside BenchmarkSchedule: one verification and one signature.
func BenchmarkVerifyAndSign(b *testing.B) {
	raws := benchItems(b, []ao.ID{unitstest.ID("process")})
	defer reportCPU(b)()
	b.ResetTimer()
	for i := range b.N {
		m, err := ao.ParseMessage(raws[i])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := unitKey.Sign(m.Raw()[:48]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSyncedWrite is the other primitive: one record of an item's size, written and synced.
func BenchmarkSyncedWrite(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "file"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	record := make([]byte, benchBytes+500)
	for b.Loop() {
		if _, err := f.Write(record); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
