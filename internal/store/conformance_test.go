package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// TestConformance runs the contract of Store over every way to open one.
func TestConformance(t *testing.T) {
	kinds := map[string]func(t *testing.T) Store{
		"disk": func(t *testing.T) Store {
			s, err := Open(t.TempDir(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		"memory":    func(*testing.T) Store { return NewMemory() },
		"crashable": func(*testing.T) Store { return NewCrashable() },
		"faulty":    func(*testing.T) Store { return &Faulty{Store: NewMemory()} },
	}
	for kind, fresh := range kinds {
		for name, check := range contract() {
			t.Run(kind+"/"+name, func(t *testing.T) {
				s := fresh(t)
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				check(t, s)
			})
		}
	}
}

// contract lists what every Store must pass.
func contract() map[string]func(*testing.T, Store) {
	return map[string]func(*testing.T, Store){
		"keys":              checkKeys,
		"scan":              checkScan,
		"append":            checkAppend,
		"append atomic":     checkAppendAtomic,
		"append concurrent": checkAppendConcurrent,
		"require":           checkRequire,
		"usage":             checkUsage,
		"large files":       checkLargeFiles,
		"range bytes":       checkRangeBytes,
		"logs":              checkLogs,
		"similar names":     checkSimilarNames,
		"queue":             checkQueue,
		"queue cursor":      checkQueueCursor,
		"limits":            checkLimits,
		"files":             checkFiles,
		"file names":        checkFileNames,
		"file read fails":   checkFileReadFails,
		"datastore":         checkDatastore,
		"closed":            checkClosed,
	}
}

func commit(t *testing.T, s Store, build func(*Batch)) {
	t.Helper()
	var b Batch
	build(&b)
	if err := s.Commit(&b); err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func checkKeys(t *testing.T, s Store) {
	_, err := s.Get("a")
	wantErr(t, err, ErrNotFound)
	commit(t, s, func(b *Batch) { b.Put("a", []byte("1")); b.Put("b", nil); b.Put("a", []byte("2")) })
	got, err := s.Get("a")
	if err != nil || string(got) != "2" {
		t.Fatalf("got %q, %v: the later Put of a batch wins", got, err)
	}
	got[0] = 'x' // ours to change
	if again, _ := s.Get("a"); string(again) != "2" {
		t.Fatalf("got %q after changing an earlier answer", again)
	}
	if got, err := s.Get("b"); err != nil || len(got) != 0 {
		t.Fatalf("got %q, %v for an empty value", got, err)
	}
	commit(t, s, func(b *Batch) { b.Delete("a"); b.Delete("never") })
	_, err = s.Get("a")
	wantErr(t, err, ErrNotFound)
	if err := s.Commit(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(&Batch{}); err != nil {
		t.Fatal(err)
	}
}

func checkScan(t *testing.T, s Store) {
	commit(t, s, func(b *Batch) {
		for _, k := range []string{"p/2", "p/1", "p/3", "o/9", "q", "p", "p/\xff", "p/\xff\xff"} {
			b.Put(k, []byte("v"+k))
		}
	})
	keys := func(prefix, after string, limit int) []string {
		t.Helper()
		pairs, err := s.Scan(prefix, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range pairs {
			if string(p.Value) != "v"+p.Key {
				t.Fatalf("key %q has value %q", p.Key, p.Value)
			}
			out = append(out, p.Key)
		}
		return out
	}
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"p/", "", 0, []string{"p/1", "p/2", "p/3", "p/\xff", "p/\xff\xff"}},
		{"p/", "p/1", 1, []string{"p/2"}},
		{"p/", "p/1x", 2, []string{"p/2", "p/3"}},
		{"p/", "a", 1, []string{"p/1"}},
		{"p/", "z", 0, nil},
		{"p/\xff", "", 0, []string{"p/\xff", "p/\xff\xff"}},
		{"p", "", 2, []string{"p", "p/1"}},
		{"", "", 0, []string{"o/9", "p", "p/1", "p/2", "p/3", "p/\xff", "p/\xff\xff", "q"}},
		{"", "p/\xff\xff", 0, []string{"q"}},
		{"none", "", 0, nil},
	} {
		if got := keys(c.prefix, c.after, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("scan %q after %q limit %d: got %q, want %q", c.prefix, c.after, c.limit, got, c.want)
		}
	}
}

func checkAppend(t *testing.T, s Store) {
	if n, err := s.Len("l"); err != nil || n != 0 {
		t.Fatalf("got length %d, %v of a new log", n, err)
	}
	commit(t, s, func(b *Batch) { b.Append("l", 0, []byte("r0")); b.Append("l", 1, []byte("r1")) })
	for _, index := range []uint64{0, 1, 3, ^uint64(0)} {
		var b Batch
		b.Append("l", index, []byte("no"))
		wantErr(t, s.Commit(&b), ErrNotNext)
	}
	// More than 255 records show that indexes are ordered as numbers.
	for i := uint64(2); i < 300; i++ {
		commit(t, s, func(b *Batch) { b.Append("l", i, fmt.Appendf(nil, "r%d", i)) })
	}
	if n, err := s.Len("l"); err != nil || n != 300 {
		t.Fatalf("got length %d, %v", n, err)
	}
	var at uint64
	for {
		recs, err := s.Range("l", at, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		for _, r := range recs {
			if want := fmt.Sprintf("r%d", at); string(r) != want {
				t.Fatalf("got %q, want %q", r, want)
			}
			at++
		}
	}
	if at != 300 {
		t.Fatalf("read %d records, want 300", at)
	}
	for _, from := range []uint64{300, 301, ^uint64(0)} {
		if recs, err := s.Range("l", from, 1); err != nil || len(recs) != 0 {
			t.Fatalf("got %d records, %v from %d", len(recs), err, from)
		}
	}
}

func checkAppendAtomic(t *testing.T, s Store) {
	commit(t, s, func(b *Batch) { b.Append("l", 0, []byte("r0")) })
	var b Batch
	b.Put("k", []byte("v"))
	b.Append("m", 0, []byte("r"))
	b.Push("q", []byte("v"))
	b.Append("l", 0, []byte("again"))
	wantErr(t, s.Commit(&b), ErrNotNext)
	_, err := s.Get("k")
	wantErr(t, err, ErrNotFound)
	if n, err := s.Len("m"); err != nil || n != 0 {
		t.Fatalf("got length %d, %v after a refused batch", n, err)
	}
	if q, err := s.Pending("q", 0, 0); err != nil || len(q) != 0 {
		t.Fatalf("got %d entries, %v after a refused batch", len(q), err)
	}
	recs, err := s.Range("l", 0, 0)
	if err != nil || len(recs) != 1 || string(recs[0]) != "r0" {
		t.Fatalf("got %q, %v", recs, err)
	}
	// The refused batch left no count behind either.
	commit(t, s, func(b *Batch) { b.Append("m", 0, nil); b.Push("q", nil) })
	if q, err := s.Pending("q", 0, 0); err != nil || len(q) != 1 || q[0].Seq != 1 {
		t.Fatalf("got %v, %v, want one entry numbered 1", q, err)
	}
}

func checkAppendConcurrent(t *testing.T, s Store) {
	const writers, each = 8, 25
	var (
		wg   sync.WaitGroup
		lock sync.Mutex
		won  = make(map[uint64]string)
	)
	for w := range writers {
		wg.Go(func() {
			for i := 0; i < each; {
				n, err := s.Len("l")
				if err != nil {
					t.Error(err)
					return
				}
				record := fmt.Sprintf("w%d-%d", w, i)
				var b Batch
				b.Append("l", n, []byte(record))
				b.Push("q", []byte(record))
				err = s.Commit(&b)
				if errors.Is(err, ErrNotNext) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				lock.Lock()
				if other, taken := won[n]; taken {
					t.Errorf("index %d was given to %s and to %s", n, other, record)
				}
				won[n] = record
				lock.Unlock()
				i++
			}
		})
	}
	wg.Wait()
	recs, err := s.Range("l", 0, 0)
	if err != nil || len(recs) != writers*each {
		t.Fatalf("got %d records, %v, want %d", len(recs), err, writers*each)
	}
	queued, err := s.Pending("q", 0, 0)
	if err != nil || len(queued) != len(recs) {
		t.Fatalf("got %d entries, %v, want %d", len(queued), err, len(recs))
	}
	for i, r := range recs {
		if won[uint64(i)] != string(r) {
			t.Fatalf("record %d is %q, acknowledged was %q", i, r, won[uint64(i)])
		}
		if q := queued[i]; q.Seq != uint64(i)+1 || !bytes.Equal(q.Value, r) {
			t.Fatalf("entry %d is %d %q, want %d %q: one order for both", i, q.Seq, q.Value, i+1, r)
		}
	}
}

func checkRangeBytes(t *testing.T, s Store) {
	big := make([]byte, MaxRangeBytes/2)
	commit(t, s, func(b *Batch) {
		for i := range uint64(3) {
			b.Append("l", i, big)
		}
		b.Append("l", 3, make([]byte, MaxRangeBytes+1))
		b.Append("l", 4, []byte("end"))
	})
	for from, want := range []int{2, 2, 1, 1, 1} {
		if recs, err := s.Range("l", uint64(from), 0); err != nil || len(recs) != want {
			t.Errorf("got %d records, %v from %d, want %d", len(recs), err, from, want)
		}
	}
}

func checkLogs(t *testing.T, s Store) {
	commit(t, s, func(b *Batch) {
		for _, l := range []string{"p/b", "p/a", "p/c", "q"} {
			b.Append(l, 0, nil)
		}
	})
	for _, c := range []struct {
		prefix, after string
		limit         int
		want          []string
	}{
		{"p/", "", 0, []string{"p/a", "p/b", "p/c"}},
		{"p/", "p/a", 1, []string{"p/b"}},
		{"", "p/c", 0, []string{"q"}},
		{"z", "", 0, nil},
	} {
		if got, err := s.Logs(c.prefix, c.after, c.limit); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("logs %q after %q: got %q, %v, want %q", c.prefix, c.after, got, err, c.want)
		}
	}
}

// checkSimilarNames shows that one name being the beginning of another mixes nothing up.
func checkSimilarNames(t *testing.T, s Store) {
	names := []string{"a", "a\x01", "aa", "a\xff", "b"}
	commit(t, s, func(b *Batch) {
		for _, n := range names {
			b.Put(n, []byte(n))
			b.Append(n, 0, []byte(n))
			b.Push(n, []byte(n))
		}
	})
	for _, n := range names {
		if v, err := s.Get(n); err != nil || string(v) != n {
			t.Errorf("key %q: got %q, %v", n, v, err)
		}
		if r, err := s.Range(n, 0, 0); err != nil || len(r) != 1 || string(r[0]) != n {
			t.Errorf("log %q: got %q, %v", n, r, err)
		}
		if q, err := s.Pending(n, 0, 0); err != nil || len(q) != 1 || string(q[0].Value) != n {
			t.Errorf("queue %q: got %v, %v", n, q, err)
		}
	}
}

func checkQueue(t *testing.T, s Store) {
	if q, err := s.Pending("q", 0, 0); err != nil || len(q) != 0 {
		t.Fatalf("got %v, %v of a new queue", q, err)
	}
	commit(t, s, func(b *Batch) { b.Push("q", []byte("a")); b.Push("q", []byte("b")); b.Push("other", []byte("x")) })
	commit(t, s, func(b *Batch) { b.Push("q", []byte("c")) })
	pending := func(after uint64, limit int) string {
		t.Helper()
		q, err := s.Pending("q", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for _, e := range q {
			fmt.Fprintf(&out, "%d%s ", e.Seq, e.Value)
		}
		return out.String()
	}
	if got := pending(0, 0); got != "1a 2b 3c " {
		t.Fatalf("got %q", got)
	}
	if got := pending(1, 1); got != "2b " {
		t.Fatalf("got %q after 1", got)
	}
	commit(t, s, func(b *Batch) { b.Done("q", 1); b.Done("q", 3); b.Done("q", 99) })
	if got := pending(0, 0); got != "2b " {
		t.Fatalf("got %q after Done", got)
	}
	commit(t, s, func(b *Batch) { b.Done("q", 1); b.Done("q", 2); b.Push("q", []byte("d")) })
	if got := pending(0, 0); got != "4d " {
		t.Fatalf("got %q: a number is never given twice", got)
	}
	if got := pending(^uint64(0), 0); got != "" {
		t.Fatalf("got %q after the last number", got)
	}
}

// checkQueueCursor follows a queue with a cursor while writers push: no entry may appear behind the cursor.
func checkQueueCursor(t *testing.T, s Store) {
	const writers, each = 4, 40
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				var b Batch
				b.Push("q", nil)
				if err := s.Commit(&b); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var after uint64
	for after < writers*each && !t.Failed() {
		q, err := s.Pending("q", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range q {
			if e.Seq != after+1 {
				t.Fatalf("got number %d after %d", e.Seq, after)
			}
			after = e.Seq
		}
	}
	wg.Wait()
}

func checkLimits(t *testing.T, s Store) {
	for name, c := range map[string]struct {
		build func(*Batch)
		want  error
	}{
		"empty key":     {func(b *Batch) { b.Put("", nil) }, ErrKey},
		"long key":      {func(b *Batch) { b.Put(strings.Repeat("k", MaxKey+1), nil) }, ErrKey},
		"delete key":    {func(b *Batch) { b.Delete("") }, ErrKey},
		"empty log":     {func(b *Batch) { b.Append("", 0, nil) }, ErrName},
		"long log":      {func(b *Batch) { b.Append(strings.Repeat("l", MaxName+1), 0, nil) }, ErrName},
		"zero in log":   {func(b *Batch) { b.Append("a\x00b", 0, nil) }, ErrName},
		"zero in queue": {func(b *Batch) { b.Push("a\x00b", nil) }, ErrName},
		"done queue":    {func(b *Batch) { b.Done("", 1) }, ErrName},
		"value":         {func(b *Batch) { b.Put("k", make([]byte, MaxValue+1)) }, ErrTooLarge},
		"record":        {func(b *Batch) { b.Append("l", 0, make([]byte, MaxValue+1)) }, ErrTooLarge},
		"batch": {func(b *Batch) {
			for i := range MaxBatch/MaxValue + 1 {
				b.Push("q", make([]byte, MaxValue)[:MaxValue-i])
			}
		}, ErrTooLarge},
	} {
		var b Batch
		b.Put("witness", []byte("w"))
		c.build(&b)
		if err := s.Commit(&b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	_, err := s.Get("witness")
	wantErr(t, err, ErrNotFound)
	_, err = s.Get("")
	wantErr(t, err, ErrKey)
	_, err = s.Len("a\x00")
	wantErr(t, err, ErrName)
	_, err = s.Range("", 0, 1)
	wantErr(t, err, ErrName)
	_, err = s.Pending("", 0, 1)
	wantErr(t, err, ErrName)
	commit(t, s, func(b *Batch) {
		b.Put(strings.Repeat("k", MaxKey), make([]byte, MaxValue))
		b.Append(strings.Repeat("l", MaxName), 0, nil)
	})
	if v, err := s.Get(strings.Repeat("k", MaxKey)); err != nil || len(v) != MaxValue {
		t.Fatalf("got %d bytes, %v of the largest value", len(v), err)
	}
	var many Batch
	for i := range MaxScan + 1 {
		many.Put(fmt.Sprintf("many/%05d", i), nil)
	}
	if err := s.Commit(&many); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, -1, MaxScan + 1} {
		if p, err := s.Scan("many/", "", limit); err != nil || len(p) != MaxScan {
			t.Fatalf("got %d pairs, %v with limit %d", len(p), err, limit)
		}
	}
}

func readFile(t *testing.T, s Store, name string) string {
	t.Helper()
	f, err := s.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if f.Size() != int64(len(raw)) {
		t.Fatalf("size %d of %d bytes", f.Size(), len(raw))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func checkFiles(t *testing.T, s Store) {
	_, err := s.OpenFile("a")
	wantErr(t, err, ErrNotFound)
	for name, body := range map[string]string{"c/p1/2": "two", "c/p1/1": "one", "c/p2/1": "other", "c": "both", "empty": ""} {
		if err := s.PutFile(name, strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, s, name); got != body {
			t.Fatalf("got %q, want %q", got, body)
		}
	}
	old, err := s.OpenFile("c/p1/1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Close() }()
	if err := s.PutFile("c/p1/1", strings.NewReader("new one")); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, s, "c/p1/1"); got != "new one" {
		t.Fatalf("got %q after replacing", got)
	}
	part := make([]byte, 2)
	if _, err := old.ReadAt(part, 1); err != nil || string(part) != "ne" || old.Size() != 3 {
		t.Fatalf("got %q, %v, size %d from the replaced file", part, err, old.Size())
	}
	list, err := s.ListFiles("c/p1/")
	if err != nil || !slices.Equal(list, []FileInfo{{"c/p1/1", 7}, {"c/p1/2", 3}}) {
		t.Fatalf("got %v, %v", list, err)
	}
	if err := s.RemoveFile("c/p1/1"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveFile("c/p1/1"); err != nil {
		t.Fatalf("removing again: %v", err)
	}
	_, err = s.OpenFile("c/p1/1")
	wantErr(t, err, ErrNotFound)
	if list, err := s.ListFiles(""); err != nil || len(list) != 4 {
		t.Fatalf("got %v, %v", list, err)
	}
}

func checkFileNames(t *testing.T, s Store) {
	for _, name := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "A", "a b", "a+b", "~1", "a\x00", "ä",
		strings.Repeat("a", MaxFileName+1),
	} {
		wantErr(t, s.PutFile(name, strings.NewReader("x")), ErrName)
		wantErr(t, s.RemoveFile(name), ErrName)
		_, err := s.OpenFile(name)
		wantErr(t, err, ErrName)
	}
	for _, name := range []string{"...", "a..b", ".a", "-", "_", strings.Repeat("a", MaxFileName)} {
		if err := s.PutFile(name, strings.NewReader(name)); err != nil {
			t.Fatal(err)
		}
		if got := readFile(t, s, name); got != name {
			t.Fatalf("got %q, want %q", got, name)
		}
	}
}

// failingReader gives some bytes and then its error.
type failingReader struct{ err error }

func (r failingReader) Read(p []byte) (int, error) { return copy(p, "half"), r.err }

func checkFileReadFails(t *testing.T, s Store) {
	if err := s.PutFile("a", strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	broke := errors.New("line cut")
	wantErr(t, s.PutFile("a", failingReader{broke}), broke)
	if got := readFile(t, s, "a"); got != "whole" {
		t.Fatalf("got %q after a put that failed midway", got)
	}
	if list, err := s.ListFiles(""); err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v: half a file stayed", list, err)
	}
}

func checkDatastore(t *testing.T, s Store) {
	ctx := context.Background()
	one, two := s.Datastore("dht"), s.Datastore("dht2")
	commit(t, s, func(b *Batch) { b.Put("/k", []byte("ours")) })
	key := datastore.NewKey("/k")
	if err := one.Put(ctx, key, []byte("1")); err != nil {
		t.Fatal(err)
	}
	if has, err := two.Has(ctx, key); err != nil || has {
		t.Fatalf("got %v, %v: namespaces share nothing", has, err)
	}
	batch, err := two.Batch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"/k", "/m/1", "/m/2"} {
		if err := batch.Put(ctx, datastore.NewKey(k), []byte("2"+k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := two.Query(ctx, query.Query{Prefix: "/m", Orders: []query.Order{query.OrderByKey{}}})
	if err != nil {
		t.Fatal(err)
	}
	entries, err := res.Rest()
	if err != nil || len(entries) != 2 || entries[0].Key != "/m/1" || string(entries[1].Value) != "2/m/2" {
		t.Fatalf("got %v, %v", entries, err)
	}
	if v, err := one.Get(ctx, key); err != nil || string(v) != "1" {
		t.Fatalf("got %q, %v", v, err)
	}
	if n, err := two.GetSize(ctx, key); err != nil || n != 3 {
		t.Fatalf("got size %d, %v", n, err)
	}
	if err := one.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	_, err = one.Get(ctx, key)
	wantErr(t, err, datastore.ErrNotFound)
	if err := one.Sync(ctx, datastore.NewKey("/")); err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get("/k"); err != nil || string(v) != "ours" {
		t.Fatalf("got %q, %v: closing a view closes nothing", v, err)
	}
}

func checkClosed(t *testing.T, s Store) {
	ctx := context.Background()
	view := s.Datastore("v")
	batch, err := view.Batch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var b Batch
	b.Put("k", nil)
	wantErr(t, s.Commit(&b), ErrClosed)
	_, err = s.Get("k")
	wantErr(t, err, ErrClosed)
	_, err = s.Scan("", "", 1)
	wantErr(t, err, ErrClosed)
	_, err = s.Len("l")
	wantErr(t, err, ErrClosed)
	_, err = s.Range("l", 0, 1)
	wantErr(t, err, ErrClosed)
	_, err = s.Logs("", "", 1)
	wantErr(t, err, ErrClosed)
	_, err = s.Pending("q", 0, 1)
	wantErr(t, err, ErrClosed)
	wantErr(t, s.PutFile("f", strings.NewReader("")), ErrClosed)
	wantErr(t, s.RemoveFile("f"), ErrClosed)
	_, err = s.OpenFile("f")
	wantErr(t, err, ErrClosed)
	_, err = s.ListFiles("")
	wantErr(t, err, ErrClosed)
	wantErr(t, view.Put(ctx, datastore.NewKey("k"), nil), ErrClosed)
	_, err = view.Get(ctx, datastore.NewKey("k"))
	wantErr(t, err, ErrClosed)
	_, err = view.Query(ctx, query.Query{})
	wantErr(t, err, ErrClosed)
	wantErr(t, batch.Commit(ctx), ErrClosed)
}

func checkRequire(t *testing.T, s Store) {
	commit(t, s, func(b *Batch) { b.Require("new", 0); b.Append("l", 0, nil); b.Require("l", 1) })
	for name, build := range map[string]func(*Batch){
		"too short":           func(b *Batch) { b.Require("l", 2) },
		"too long":            func(b *Batch) { b.Require("l", 0) },
		"before the append":   func(b *Batch) { b.Require("l", 2); b.Append("l", 1, nil) },
		"after the append":    func(b *Batch) { b.Append("l", 1, nil); b.Require("l", 1) },
		"of another log":      func(b *Batch) { b.Append("l", 1, nil); b.Require("m", 1) },
		"behind a good queue": func(b *Batch) { b.Push("q", nil); b.Put("k", nil); b.Require("l", 7) },
	} {
		var b Batch
		build(&b)
		if err := s.Commit(&b); !errors.Is(err, ErrNotNext) {
			t.Errorf("%s: got %v, want ErrNotNext", name, err)
		}
	}
	if n, err := s.Len("l"); n != 1 || err != nil {
		t.Errorf("length %d, %v", n, err)
	}
	if q, err := s.Pending("q", 0, 0); len(q) != 0 || err != nil {
		t.Errorf("%d entries, %v", len(q), err)
	}
	if _, err := s.Get("k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused batch was written: %v", err)
	}
	commit(t, s, func(b *Batch) { b.Append("l", 1, nil); b.Require("l", 2); b.Append("l", 2, nil) })
}

func checkUsage(t *testing.T, s Store) {
	commit(t, s, func(b *Batch) {
		b.Put("keys/a", make([]byte, 100))
		b.Put("keys/b", nil)
		b.Append("logs/x", 0, make([]byte, 1000))
		b.Append("logs/y", 0, nil)
		b.Push("q", nil)
	})
	if err := s.PutFile("f/1", strings.NewReader("12345")); err != nil {
		t.Fatal(err)
	}
	if err := s.Datastore("dht").Put(context.Background(), datastore.NewKey("/x"), []byte("y")); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range u.Parts {
		got = append(got, fmt.Sprintf("%s %s %d", p.Kind, p.Name, p.Count))
		if p.Kind == "log" && p.Bytes < 1000 || p.Kind == "file" && p.Bytes != 5 {
			t.Errorf("%+v", p)
		}
	}
	if want := []string{"file f 1", "key keys 2", "log logs 2", "queue q 1", "view dht 1"}; !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
	if u.Disk == 0 || u.Files != uint64(sizeOnDisk(5)) {
		t.Errorf("%+v", u)
	}
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get("keys/a"); err != nil || len(v) != 100 {
		t.Errorf("after compacting: %d bytes, %v", len(v), err)
	}
}

// checkLargeFiles reads files around the size of a checksum's block in every manner.
func checkLargeFiles(t *testing.T, s Store) {
	for _, n := range []int{0, 1, sumBlock - 1, sumBlock, sumBlock + 1, 3*sumBlock + 17} {
		body := make([]byte, n)
		for i := range body {
			body[i] = byte(i ^ i>>8 ^ i>>16)
		}
		if err := s.PutFile("f", iotest.HalfReader(bytes.NewReader(body))); err != nil {
			t.Fatal(err)
		}
		list, err := s.ListFiles("f")
		if err != nil || len(list) != 1 || list[0].Size != int64(n) {
			t.Errorf("%d bytes are listed as %v, %v", n, list, err)
		}
		f, err := s.OpenFile("f")
		if err != nil {
			t.Fatal(err)
		}
		if f.Size() != int64(n) {
			t.Errorf("size %d, want %d", f.Size(), n)
		}
		for _, step := range []int{1000, sumBlock, 1 << 20} {
			var got []byte
			for at := 0; at < n; at += step {
				p := make([]byte, min(step, n-at))
				if k, err := f.ReadAt(p, int64(at)); err != nil || k != len(p) {
					t.Fatalf("%d of %d at %d: %v", k, len(p), at, err)
				}
				got = append(got, p...)
			}
			if !bytes.Equal(got, body) {
				t.Errorf("%d bytes in steps of %d come back otherwise", n, step)
			}
		}
		if _, err := f.ReadAt(make([]byte, 1), int64(n)); !errors.Is(err, io.EOF) {
			t.Errorf("behind the end: %v", err)
		}
		if err := iotest.TestReader(f, body); err != nil && n < sumBlock {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func keyOf(s string) datastore.Key { return datastore.NewKey(s) }
