package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// goodRecord is what record i of the flipped store holds: some that compress and some that do not.
func goodRecord(i int) []byte {
	if i%2 == 0 {
		return bytes.Repeat([]byte{byte(i)}, 300)
	}
	r := rand.New(rand.NewPCG(uint64(i), 1))
	b := make([]byte, 700)
	for j := range b {
		b[j] = byte(r.Uint32())
	}
	return b
}

const goodRecords = 200

// fillStore writes all that a store can hold, part of it in tables and part of it not yet.
func fillStore(t *testing.T, s Store) {
	t.Helper()
	for i := range goodRecords {
		commit(t, s, func(b *Batch) {
			b.Append("log", uint64(i), goodRecord(i))
			b.Put(fmt.Sprintf("key/%d", i), goodRecord(i))
			b.Push("q", goodRecord(i))
		})
		if i == goodRecords/2 {
			if err := s.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 {
		if err := s.PutFile(fmt.Sprintf("f/%d", i), bytes.NewReader(bytes.Repeat(goodRecord(1), 100*i+1))); err != nil {
			t.Fatal(err)
		}
	}
}

// readAll reads everything of a store and returns the first error, or what is wrong although there was none.
func readAll(s Store) (wrong string, err error) {
	if n, err := s.Len("log"); err != nil || n != goodRecords {
		return fmt.Sprintf("length %d", n), err
	}
	for from := 0; from < goodRecords; {
		records, err := s.Range("log", uint64(from), 50)
		if err != nil || len(records) == 0 {
			return fmt.Sprintf("no record %d", from), err
		}
		for _, r := range records {
			if !bytes.Equal(r, goodRecord(from)) {
				return fmt.Sprintf("record %d", from), nil
			}
			from++
		}
	}
	for i := range goodRecords {
		v, err := s.Get(fmt.Sprintf("key/%d", i))
		if err != nil || !bytes.Equal(v, goodRecord(i)) {
			return fmt.Sprintf("key %d", i), err
		}
	}
	queue, err := s.Pending("q", 0, 0)
	if err != nil || len(queue) != goodRecords {
		return fmt.Sprintf("%d queue entries", len(queue)), err
	}
	for i, q := range queue {
		if !bytes.Equal(q.Value, goodRecord(i)) {
			return fmt.Sprintf("queue entry %d", i), nil
		}
	}
	for i := range 3 {
		f, err := s.OpenFile(fmt.Sprintf("f/%d", i))
		if err != nil {
			return "file", err
		}
		got, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil || !bytes.Equal(got, bytes.Repeat(goodRecord(1), 100*i+1)) {
			return fmt.Sprintf("file %d", i), err
		}
	}
	return "", nil
}

// readDamaged opens a store and reads it, with whatever that ends.
func readDamaged(dir string) (wrong string, err error) {
	s, err := Open(dir, Options{})
	if err != nil {
		return "", err
	}
	wrong, err = readAll(s)
	return wrong, errors.Join(err, ignoreBroken(s.Close()))
}

// ignoreBroken: closing may meet the damage again; it was found, which is all that is asked.
func ignoreBroken(error) error { return nil }

// TestBitFlips changes one bit in each of many places of a store that was closed in order. Every read then gives the right
// bytes or an error, and Check finds whatever a read would meet.
func TestBitFlips(t *testing.T) {
	whole := t.TempDir()
	s := mustOpenDir(t, whole)
	fillStore(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	total := int64(0)
	err := filepath.WalkDir(whole, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(whole, path)
		if base := filepath.Base(name); base == nameLock || base == nameOwner {
			return err
		}
		info, ierr := e.Info()
		names, total = append(names, name), total+info.Size()
		return errors.Join(err, ierr)
	})
	if err != nil {
		t.Fatal(err)
	}
	each := 12
	if testing.Short() {
		each = 3
	}
	points, found := 0, 0
	r := rand.New(rand.NewPCG(7, 7))
	for _, name := range names {
		info, err := os.Stat(filepath.Join(whole, name))
		if err != nil {
			t.Fatal(err)
		}
		for i := range each {
			if info.Size() == 0 {
				break
			}
			at := r.Int64N(info.Size())
			switch i { // the ends are where headers and trailers are
			case 0:
				at = 0
			case 1:
				at = info.Size() - 1
			}
			bit := byte(1) << r.IntN(8)
			points++
			if flipAndRead(t, whole, name, at, bit) {
				found++
			}
		}
	}
	t.Logf("%d points in %d files, %d found, the others where nothing is read", points, len(names), found)
	if found < points/2 {
		t.Errorf("only %d of %d flips were found", found, points)
	}
}

// flipAndRead flips a bit in a copy of the store and says whether that was found.
func flipAndRead(t *testing.T, whole, name string, at int64, bit byte) bool {
	t.Helper()
	dir := t.TempDir()
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= bit
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := Check(dir, Options{})
	if err != nil {
		t.Errorf("%s at %d: check: %v", name, at, err)
	}
	wrong, err := readDamaged(dir)
	if err == nil && wrong != "" {
		t.Errorf("%s at %d, bit %#x: %s is served damaged", name, at, bit, wrong)
	}
	if err != nil && len(report.Damage) == 0 {
		t.Errorf("%s at %d, bit %#x: reading fails and check finds nothing: %v", name, at, bit, err)
	}
	return len(report.Damage) > 0
}

// TestCheckOfAWholeStore: nothing is found where nothing is wrong, after a clean end and after a crash, and nothing changes.
func TestCheckOfAWholeStore(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenDir(t, dir)
	fillStore(t, s)
	if _, err := Check(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("a store in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, err := Check(dir, Options{})
		if err != nil || len(r.Damage) != 0 || !r.Sealed || r.Logs != 1 || r.Files != 3 || r.Tables == 0 || r.Entries < 3*goodRecords {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if wrong, err := readDamaged(dir); wrong != "" || err != nil {
		t.Errorf("after checking: %s, %v", wrong, err)
	}

	c := NewCrashable()
	fillStore(t, c)
	after := c.disk.CrashClone(vfs.CrashCloneCfg{})
	_ = c.Close()
	r, err := check(after, memoryDir, Options{})
	if err != nil || len(r.Damage) != 0 || r.Sealed {
		t.Errorf("after a crash: %+v, %v", r, err)
	}
	if _, err := Check(t.TempDir(), Options{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestMissingAndTornFiles: a store that lost a file, or the end of one, says so.
func TestMissingAndTornFiles(t *testing.T) {
	whole := t.TempDir()
	s := mustOpenDir(t, whole)
	fillStore(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"db/*.sst", "db/MANIFEST-*", "files/f+2", "FORMAT"} {
		for _, torn := range []bool{false, true} {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			match, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(match) == 0 {
				t.Fatalf("%s: %v, %v", pattern, match, err)
			}
			if torn {
				info, err := os.Stat(match[0])
				if err != nil {
					t.Fatal(err)
				}
				err = os.Truncate(match[0], info.Size()*2/3)
				if err != nil {
					t.Fatal(err)
				}
			} else if err := os.Remove(match[0]); err != nil {
				t.Fatal(err)
			}
			if wrong, err := readDamaged(dir); err == nil {
				t.Errorf("%s, torn %v: read without an error, %q wrong", pattern, torn, wrong)
			}
		}
	}
}

// TestSwappedFiles: the checksums belong to a name.
func TestSwappedFiles(t *testing.T) {
	dir := t.TempDir()
	s := mustOpenDir(t, dir)
	for _, name := range []string{"a", "b"} {
		if err := s.PutFile(name, strings.NewReader("content of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	files := filepath.Join(dir, nameFiles)
	if err := os.Rename(filepath.Join(files, "a"), filepath.Join(files, "b")); err != nil {
		t.Fatal(err)
	}
	_, err := s.OpenFile("b")
	wantErr(t, err, ErrCorrupt)
	if err := s.RemoveFile("b"); err != nil { // whoever can make it again throws it away
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSizeOfContent(t *testing.T) {
	sizes := make(map[int64]bool)
	for _, n := range []int64{0, 1, 5, sumBlock - 1, sumBlock, sumBlock + 1, 10 * sumBlock, 10*sumBlock + 1} {
		if got, ok := sizeOfContent(sizeOnDisk(n)); got != n || !ok {
			t.Errorf("%d bytes become %d, %v", n, got, ok)
		}
		sizes[sizeOnDisk(n)] = true
	}
	for _, n := range []int64{0, 1, int64(footSize) - 1, int64(footSize) + 1, int64(footSize) + 4} {
		if _, ok := sizeOfContent(n); ok {
			t.Errorf("%d bytes on disk are a file", n)
		}
	}
}

// fullDisk is a disk that says how much is free, and one that has no room once it is told so.
type fullDisk struct {
	vfs.FS
	free atomic.Uint64
	full atomic.Bool
}

type fullFile struct {
	vfs.File
	disk *fullDisk
}

func (d *fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &fullFile{f, d}, err
}

func (d *fullDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return &fullFile{f, d}, err
}

func (f *fullFile) refuse() error {
	if f.disk.full.Load() {
		return syscall.ENOSPC
	}
	return nil
}

func (f *fullFile) Write(p []byte) (int, error) {
	if err := f.refuse(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *fullFile) WriteAt(p []byte, at int64) (int, error) {
	if err := f.refuse(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

// TestNearlyFullDisk: what is new is refused before the engine runs out of room, what makes room is not, and it heals.
func TestNearlyFullDisk(t *testing.T) {
	disk := &fullDisk{FS: vfs.NewMem()}
	disk.free.Store(1 << 40)
	d, err := open(disk, "/s", Options{})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, d, func(b *Batch) { b.Push("q", nil); b.Append("l", 0, nil) })
	now := func(free uint64) { disk.free.Store(free); d.space.asked.Store(0) }

	now(100 << 20)
	var b Batch
	b.Append("l", 1, []byte("x"))
	wantErr(t, d.Commit(&b), ErrFull)
	wantErr(t, d.PutFile("f", strings.NewReader("x")), ErrFull)
	if n, err := d.Len("l"); n != 1 || err != nil {
		t.Errorf("length %d, %v", n, err)
	}
	commit(t, d, func(b *Batch) { b.Done("q", 1); b.Delete("k") })

	now(1 << 40)
	if err := d.Commit(&b); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFullDisk: a disk that is full all of a sudden breaks the store and takes nothing that was acknowledged.
func TestFullDisk(t *testing.T) {
	mem := vfs.NewCrashableMem()
	disk := &fullDisk{FS: mem}
	disk.free.Store(1 << 40)
	d, err := open(disk, memoryDir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, d, func(b *Batch) { b.Append("l", 0, []byte("kept")) })
	disk.full.Store(true)
	wantErr(t, d.PutFile("f", strings.NewReader("x")), ErrFull)
	if list, err := d.ListFiles(""); len(list) != 0 || err != nil {
		t.Errorf("half a file is left: %v, %v", list, err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			var b Batch
			b.Append("l", 1, []byte("lost"))
			b.Put("k", nil)
			if err := d.Commit(&b); !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNotNext) {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	_, err = d.Get("k")
	wantErr(t, err, ErrBroken)
	wantErr(t, d.Datastore("x").Put(t.Context(), keyOf("/a"), nil), ErrBroken)
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	_ = d.Close() // it cannot flush; what counts is what the next one finds
	d, err = open(after, memoryDir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	records, err := d.Range("l", 0, 0)
	if err != nil || len(records) != 1 || string(records[0]) != "kept" {
		t.Errorf("found %q, %v", records, err)
	}
	if _, err := d.Get("k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("half a batch was written: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGroupCommit: callers who share a write get each their own answer.
func TestGroupCommit(t *testing.T) {
	d, disk := openSlow(t)
	hold := make(chan error)
	disk.hold.Store(&hold)
	first := make(chan error, 1)
	go func() {
		var b Batch
		b.Put("first", nil)
		first <- d.Commit(&b)
	}()
	for d.flights.current.Load() == nil { // the first is on its way to the disk
		_, _ = d.get(plainKey(spaceValue, "other"))
	}
	answers := make([]error, 12)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			var b Batch
			switch i % 3 {
			case 0:
				b.Append(fmt.Sprint("log", i), 0, []byte{byte(i)})
			case 1:
				b.Put(fmt.Sprint("refused", i), nil)
				b.Append("l", 9, nil)
			default:
				b.Append("l", 1, []byte{byte(i)}) // one of them wins
			}
			answers[i] = d.Commit(&b)
		})
	}
	waiting := func() int {
		d.lock.Lock()
		defer d.lock.Unlock()
		return len(d.waiting)
	}
	for waiting() < len(answers) {
		_, _ = d.get(plainKey(spaceValue, "other"))
	}
	before := d.commits.Load()
	disk.hold.Store(nil)
	close(hold)
	all.Wait()
	if err := <-first; err != nil {
		t.Error(err)
	}
	won := 0
	for i, err := range answers {
		switch {
		case i%3 == 0 && err != nil, i%3 == 1 && !errors.Is(err, ErrNotNext), i%3 == 2 && err != nil && !errors.Is(err, ErrNotNext):
			t.Errorf("caller %d got %v", i, err)
		case i%3 == 2 && err == nil:
			won++
		}
		if _, err := d.Get(fmt.Sprint("refused", i)); !errors.Is(err, ErrNotFound) {
			t.Errorf("a refused batch was written: %v", err)
		}
	}
	if n, err := d.Len("l"); won != 1 || n != 2 || err != nil {
		t.Errorf("%d won, length %d, %v", won, n, err)
	}
	if n := d.commits.Load() - before; n != 2 {
		t.Errorf("%d synced writes, want the first and one for all others", n)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
