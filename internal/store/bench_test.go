package store

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// BenchmarkCommit is one 1 KiB append by 16 writers, each on its own log. Beside it, the primitive: the engine's own
// synced Set of the same bytes by as many writers.
func BenchmarkCommit(b *testing.B) {
	record := make([]byte, 1024)
	for name, writers := range map[string]int{"writers=1": 1, "writers=16": 16} {
		b.Run("append/"+name, func(b *testing.B) {
			d := benchOpen(b)
			var id atomic.Int64
			runParallel(b, writers, func(next func() bool) {
				log := fmt.Sprintf("log%d", id.Add(1))
				for n := uint64(0); next(); n++ {
					var batch Batch
					batch.Append(log, n, record)
					if err := d.Commit(&batch); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
		b.Run("raw/"+name, func(b *testing.B) {
			d := benchOpen(b)
			var id atomic.Int64
			runParallel(b, writers, func(next func() bool) {
				log := fmt.Sprintf("log%d", id.Add(1))
				for n := uint64(0); next(); n++ {
					if err := d.db.Set(numberedKey(spaceRecord, log, n), record, pebble.Sync); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkGet is one read of a hot key beside the engine's own.
func BenchmarkGet(b *testing.B) {
	d := benchOpen(b)
	var batch Batch
	batch.Put("key", make([]byte, 1024))
	if err := d.Commit(&batch); err != nil {
		b.Fatal(err)
	}
	b.Run("store", func(b *testing.B) {
		for b.Loop() {
			if _, err := d.Get("key"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("raw", func(b *testing.B) {
		key := plainKey(spaceValue, "key")
		for b.Loop() {
			_, closer, err := d.db.Get(key)
			if err != nil {
				b.Fatal(err)
			}
			_ = closer.Close()
		}
	})
}

// BenchmarkRange is 256 records of 1 KiB at a time from a log of 4096.
func BenchmarkRange(b *testing.B) {
	d := benchOpen(b)
	var batch Batch
	for i := range uint64(4096) {
		batch.Append("log", i, make([]byte, 1024))
	}
	if err := d.Commit(&batch); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(256 * 1024)
	var from uint64
	for b.Loop() {
		if recs, err := d.Range("log", from%3840, 256); err != nil || len(recs) != 256 {
			b.Fatalf("got %d records, %v", len(recs), err)
		}
		from += 256
	}
}

func benchOpen(b *testing.B) *database {
	b.Helper()
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s.(*database)
}

// runParallel shares b.N calls among exactly so many goroutines, whatever the number of cores.
func runParallel(b *testing.B, goroutines int, body func(next func() bool)) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan struct{})
	b.ResetTimer()
	for range goroutines {
		go func() {
			defer func() { done <- struct{}{} }()
			body(func() bool { return left.Add(-1) >= 0 })
		}()
	}
	for range goroutines {
		<-done
	}
}
