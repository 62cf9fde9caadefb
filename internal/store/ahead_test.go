package store

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestJournalHasRoom: a journal grows in steps that are rarer than its writes, holds what was written to it, and an old one
// that is used again does not grow before its end is reached.
func TestJournalHasRoom(t *testing.T) {
	fs := aheadFS{vfs.NewMem()}
	write := func(f vfs.File, p []byte) (size int64) {
		t.Helper()
		if n, err := f.Write(bytes.Clone(p)); err != nil || n != len(p) {
			t.Fatalf("%d of %d bytes, %v", n, len(p), err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	f, err := fs.Create("1.log", journalCategory)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("journal."), 1<<12)
	var want []byte
	sizes := map[int64]bool{}
	for range 3 * journalAhead / len(block) {
		sizes[write(f, block)] = true
		want = append(want, block...)
	}
	if len(sizes) != 3 {
		t.Errorf("grew %d times for %d bytes", len(sizes), len(want))
	}
	huge := bytes.Repeat(block, 2*journalAhead/len(block))
	size := write(f, huge)
	want = append(want, huge...)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	f, err = fs.ReuseForWrite("1.log", "2.log", journalCategory)
	if err != nil {
		t.Fatal(err)
	}
	copy(want, "again")
	if got := write(f, []byte("again")); got != size {
		t.Errorf("a journal of %d bytes that is used again has %d", size, got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = fs.Open("2.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("not what was written, %v", err)
	}

	table, err := fs.Create("3.sst", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if got := write(table, block); got != int64(len(block)) {
		t.Errorf("a table of %d bytes has %d", len(block), got)
	}
}
