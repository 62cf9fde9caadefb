package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestCrash cuts the power under concurrent writers, keeping none, some or all of what was not synced.
func TestCrash(t *testing.T) {
	const writers = 6
	for seed := range uint64(9) {
		unsynced := int(seed%3) * 50
		t.Run(fmt.Sprintf("seed %d unsynced %d", seed, unsynced), func(t *testing.T) {
			c := NewCrashable()
			var (
				wg    sync.WaitGroup
				acked [writers]atomic.Int64
				total atomic.Int64
				ready = make(chan struct{})
			)
			for w := range writers {
				wg.Go(func() {
					for n := uint64(0); ; n++ {
						var b Batch
						b.Append(fmt.Sprint("log", w), n, fmt.Append(nil, n))
						b.Push("q", nil)
						if err := c.Commit(&b); err != nil {
							if !errors.Is(err, ErrBroken) && !errors.Is(err, ErrClosed) {
								t.Error(err)
							}
							return
						}
						acked[w].Store(int64(n) + 1)
						if total.Add(1) == 100+20*int64(seed) {
							close(ready)
						}
					}
				})
			}
			<-ready
			after, err := c.Crash(unsynced, seed)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = after.Close() }()
			wg.Wait()
			var records uint64
			for w := range writers {
				n, err := after.Len(fmt.Sprint("log", w))
				if err != nil {
					t.Fatal(err)
				}
				if int64(n) < acked[w].Load() {
					t.Fatalf("log %d has %d records, %d were acknowledged", w, n, acked[w].Load())
				}
				recs, err := after.Range(fmt.Sprint("log", w), 0, 0)
				if err != nil || uint64(len(recs)) != n {
					t.Fatalf("got %d records, %v of length %d", len(recs), err, n)
				}
				records += n
			}
			q, err := after.Pending("q", 0, 0)
			if err != nil || uint64(len(q)) != records {
				t.Fatalf("got %d entries, %v with %d records", len(q), err, records)
			}
			// The store found afterwards is a store like any other.
			commit(t, after, func(b *Batch) { b.Push("q", nil) })
		})
	}
}

func TestCrashFiles(t *testing.T) {
	c := NewCrashable()
	if err := c.PutFile("a/b", strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	if err := c.PutFile("gone", strings.NewReader("one")); err != nil {
		t.Fatal(err)
	}
	if err := c.PutFile("a/b", strings.NewReader("two")); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveFile("gone"); err != nil {
		t.Fatal(err)
	}
	after, err := c.Crash(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = after.Close() }()
	if got := readFile(t, after, "a/b"); got != "two" {
		t.Fatalf("got %q", got)
	}
	_, err = after.OpenFile("gone")
	wantErr(t, err, ErrNotFound)
	wantErr(t, c.PutFile("late", strings.NewReader("")), ErrClosed)
}

// slowDisk holds the syncs of the engine's journal until they are let go, or fails them.
type slowDisk struct {
	vfs.FS
	hold atomic.Pointer[chan error] // nil: syncs pass
}

type slowFile struct {
	vfs.File
	disk *slowDisk
}

func (s *slowDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return f, err
	}
	return &slowFile{f, s}, nil
}

func (f *slowFile) wait() error {
	if c := f.disk.hold.Load(); c != nil {
		return <-*c
	}
	return nil
}

func (f *slowFile) Sync() error     { return errors.Join(f.wait(), f.File.Sync()) }
func (f *slowFile) SyncData() error { return errors.Join(f.wait(), f.File.SyncData()) }

// unacknowledged starts a Commit whose sync is held, and returns once its changes are inside the engine.
func unacknowledged(t *testing.T, d *database, hold *chan error, disk *slowDisk) <-chan error {
	t.Helper()
	disk.hold.Store(hold)
	done := make(chan error, 1)
	go func() {
		var b Batch
		b.Put("k", []byte("new"))
		b.Append("l", 1, []byte("new"))
		b.Push("q", []byte("new"))
		done <- d.Commit(&b)
	}()
	for {
		if raw, err := d.get(plainKey(spaceValue, "k")); err != nil {
			t.Error(err)
			return done
		} else if string(raw) == "new" {
			return done
		}
	}
}

// readers are all the ways to see a change of unacknowledged.
func readers(d *database) map[string]func() (bool, error) {
	return map[string]func() (bool, error){
		"get": func() (bool, error) { v, err := d.Get("k"); return string(v) == "new", err },
		"scan": func() (bool, error) {
			p, err := d.Scan("k", "", 0)
			return len(p) == 1 && string(p[0].Value) == "new", err
		},
		"len":     func() (bool, error) { n, err := d.Len("l"); return n == 2, err },
		"range":   func() (bool, error) { r, err := d.Range("l", 1, 0); return len(r) == 1, err },
		"pending": func() (bool, error) { q, err := d.Pending("q", 1, 0); return len(q) == 1, err },
		"logs":    func() (bool, error) { l, err := d.Logs("", "", 0); return len(l) == 1, err },
	}
}

func openSlow(t *testing.T) (*database, *slowDisk) {
	t.Helper()
	disk := &slowDisk{FS: vfs.NewMem()}
	d, err := open(disk, "/s", Options{})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, d, func(b *Batch) {
		b.Put("k", []byte("old"))
		b.Put("other", []byte("x"))
		b.Append("l", 0, nil)
		b.Push("q", nil)
	})
	return d, disk
}

// TestReadWaitsForDisk shows that no reader answers from a change whose sync is still under way.
func TestReadWaitsForDisk(t *testing.T) {
	for name := range readers(nil) {
		t.Run(name, func(t *testing.T) {
			d, disk := openSlow(t)
			hold := make(chan error)
			done := unacknowledged(t, d, &hold, disk)
			// A key that the batch does not touch is answered meanwhile.
			if v, err := d.Get("other"); err != nil || string(v) != "x" {
				t.Fatalf("got %q, %v", v, err)
			}
			var released atomic.Bool
			answered := make(chan error, 1)
			go func() {
				saw, err := readers(d)[name]()
				if err == nil && !saw {
					err = errors.New("the change was not seen")
				}
				if err == nil && !released.Load() {
					err = errors.New("answered before the disk did")
				}
				answered <- err
			}()
			waitForFlightReader(d)
			select {
			case err := <-answered:
				t.Fatalf("answered while the sync was held: %v", err)
			default:
			}
			released.Store(true)
			disk.hold.Store(nil)
			close(hold)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if err := <-answered; err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// waitForFlightReader gives a reader that does not wait the chance to answer: it returns after as much reading of
// our own as such a reader does, many times over.
func waitForFlightReader(d *database) {
	for range 2000 {
		_, _ = d.get(plainKey(spaceValue, "other"))
	}
}

// TestFailedSync shows what a disk that fails a sync leaves: no success, no answer from what may be lost, no further
// writes.
func TestFailedSync(t *testing.T) {
	d, disk := openSlow(t)
	hold := make(chan error)
	done := unacknowledged(t, d, &hold, disk)
	waiting := make(chan error, 1)
	go func() {
		_, err := d.Get("k")
		waiting <- err
	}()
	broke := errors.New("disk broke")
	hold <- broke
	close(hold)
	err := <-done
	wantErr(t, err, ErrBroken)
	wantErr(t, err, broke)
	wantErr(t, <-waiting, ErrBroken)
	for name, read := range readers(d) {
		if _, err := read(); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: got %v, want ErrBroken", name, err)
		}
	}
	var b Batch
	b.Put("k2", nil)
	wantErr(t, d.Commit(&b), ErrBroken)
	wantErr(t, d.PutFile("f", strings.NewReader("")), ErrBroken)
}

func TestFaulty(t *testing.T) {
	lost, kept := errors.New("lost"), errors.New("kept")
	f := &Faulty{Store: NewMemory()}
	defer func() { _ = f.Close() }()
	f.Before = func(*Batch) error { return lost }
	var b Batch
	b.Append("l", 0, nil)
	wantErr(t, f.Commit(&b), lost)
	if n, err := f.Len("l"); err != nil || n != 0 {
		t.Fatalf("got length %d, %v after failed-and-not-written", n, err)
	}
	f.Before, f.After = nil, func(*Batch) error { return kept }
	wantErr(t, f.Commit(&b), kept)
	if n, err := f.Len("l"); err != nil || n != 1 {
		t.Fatalf("got length %d, %v after failed-but-written", n, err)
	}
	wantErr(t, f.Commit(&b), ErrNotNext)
}
