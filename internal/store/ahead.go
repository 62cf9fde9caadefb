package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// journalCategory is how the engine marks the files that are its journal.
const journalCategory vfs.DiskWriteCategory = "pebble-wal"

// journalAhead is how many zeros are written at once in front of the journal's end.
const journalAhead = 256 << 10

// aheadFS writes zeros in front of the journal's end. A write inside of what a file holds already is synced without a change
// of its size and of its blocks, which on the usual file systems takes half the time and half the processor. The engine
// reads zeros at the end of its last journal as the end, for that is what it finds after a crash in any case.
type aheadFS struct{ vfs.FS }

// Create implements vfs.FS.
func (fs aheadFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || category != journalCategory {
		return f, err
	}
	return &aheadFile{File: f}, nil
}

// ReuseForWrite implements vfs.FS.
func (fs aheadFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(old, name, category)
	if err != nil || category != journalCategory {
		return f, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reuse journal: %w", err)
	}
	return &aheadFile{File: f, size: info.Size()}, nil
}

// Unwrap implements vfs.FS.
func (fs aheadFS) Unwrap() vfs.FS { return fs.FS }

// aheadFile is a journal. The engine writes it from beginning to end, one write at a time.
type aheadFile struct {
	vfs.File
	at, size int64
	zeros    []byte
}

// Write implements vfs.File.
func (f *aheadFile) Write(p []byte) (int, error) {
	if end := f.at + int64(len(p)); end > f.size {
		if f.zeros == nil {
			f.zeros = make([]byte, journalAhead)
		}
		// What fails here fails as the write that it makes room for would.
		n, err := f.WriteAt(f.zeros, f.size)
		f.size += int64(n)
		if err != nil {
			return 0, fmt.Errorf("make room in the journal: %w", err)
		}
	}
	n, err := f.File.Write(p)
	f.at += int64(n)
	f.size = max(f.size, f.at)
	return n, err
}
