// Package store is the one durable door of a peer: everything that must outlive a crash (paper §5.3.1 asks it
// of every assignment, §5.5.2 of every message on its way) goes through it, and nothing else knows the engine behind it.
//
// In come batches of intentions (keys, records of named logs, queue entries) and whole files; out come the same
// bytes, in order, and only after they are on stable storage. A Commit is all or nothing.
//
// It never shows a reader what a power cut could still take back, never leaves a gap in a log, and never
// guesses: an index that is not the next one, an unknown format, a second owner of the folder are refused.
//
// Start reading at the Store interface below, then commit.go for how many callers share one synced write.
package store

import (
	"context"
	"errors"
	"io"

	"github.com/ipfs/go-datastore"
)

// Limits of the door. They bound what one caller can make the engine hold, not what a peer may store in all.
const (
	// MaxKey is the longest key in bytes.
	MaxKey = 1024
	// MaxName is the longest name of a log or a queue in bytes.
	MaxName = 512
	// MaxValue is the longest value, record or queue entry in bytes; larger things are files.
	MaxValue = 16 << 20
	// MaxBatch is the most bytes of keys and values in one batch.
	MaxBatch = 64 << 20
	// MaxScan is the most entries one read answers with; a limit that is not positive, or above it, means MaxScan.
	MaxScan = 4096
	// MaxRangeBytes ends a Range early, after at least one record.
	MaxRangeBytes = 8 << 20
	// MaxFileName is the longest file name in bytes.
	MaxFileName = 200
)

// What the store refuses. Compare with errors.Is: the errors returned say which key, log or folder.
var (
	// ErrNotFound is returned for a key or a file that is not there.
	ErrNotFound = errors.New("not found")
	// ErrNotNext is returned by Commit when an index is not the length of its log; nothing is written.
	ErrNotNext = errors.New("not the next index of the log")
	// ErrKey is returned for a key that is empty or longer than MaxKey.
	ErrKey = errors.New("key is empty or too long")
	// ErrName is returned for a log, queue or file name that is empty, too long or holds forbidden bytes.
	ErrName = errors.New("name is empty, too long or malformed")
	// ErrTooLarge is returned for a value beyond MaxValue or a batch beyond MaxBatch.
	ErrTooLarge = errors.New("too large")
	// ErrLocked is returned by Open when another process, or this one, already has the folder open.
	ErrLocked = errors.New("folder is in use")
	// ErrFormat is returned by Open for a folder written by something else or by a later version.
	ErrFormat = errors.New("unknown storage format")
	// ErrCorrupt is returned when what was read cannot have been written by this package.
	ErrCorrupt = errors.New("corrupt")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store is closed")
	// ErrFull is returned for what would add to a disk that is nearly full. Nothing is written, and the same call succeeds
	// once there is room.
	ErrFull = errors.New("disk is full")
	// ErrBroken is returned by every method once a write may not have reached the disk: what is in memory can
	// no longer be told from what is durable, and only reopening settles it.
	ErrBroken = errors.New("store stopped after a failed write; reopen it")
)

// Store is the one durable door of a peer.
//
// Durability: when Commit, PutFile or RemoveFile return nil, the change survives kill -9 and power loss. Reads see only
// such changes: a read that meets a change still on its way to the disk waits for it.
//
// Repeating: Put, Delete, Done, PutFile and RemoveFile may be repeated; Append is refused with ErrNotNext when
// repeated; Push adds a second entry.
//
// Damage: bytes that changed on the disk are found by their checksums when they are read, and are ErrCorrupt instead of
// an answer. Only the very last write before a crash cannot be told from one that the crash cut off.
//
// Concurrency: all methods may be called from many goroutines; concurrent Commits share synced writes. Bytes returned
// belong to the caller. Whoever opened the store closes it; Close waits for calls under way.
type Store interface {
	// Get returns the value of key, or ErrNotFound.
	Get(key string) ([]byte, error)
	// Scan returns the pairs whose keys start with prefix and sort strictly after `after` (from the start when
	// it is empty), ascending. Fewer than limit pairs means that there are no more.
	Scan(prefix, after string, limit int) ([]Pair, error)
	// Len returns the number of records of a log, 0 for one never written.
	Len(log string) (uint64, error)
	// Range returns records of a log in order, beginning with index from. It ends at the log's end, at limit, or once
	// MaxRangeBytes are gathered; an empty answer means that from is at or past the end.
	Range(log string, from uint64, limit int) ([][]byte, error)
	// Logs returns the names of logs that start with prefix and sort strictly after `after`, ascending.
	Logs(prefix, after string, limit int) ([]string, error)
	// Pending returns the entries of a queue with a number above after, oldest first. Numbers start at 1,
	// grow in commit order, with gaps, and are never given twice. Fewer than limit entries means that there are no more.
	Pending(queue string, after uint64, limit int) ([]Queued, error)
	// Commit applies a batch, all of it or nothing, and returns once it is durable. It refuses with ErrNotNext when
	// an Append's index, or the length that Require names, is not the log's length at that moment, counting earlier
	// appends of the same batch.
	// After ErrBroken the batch may or may not have been written; reopening tells.
	Commit(b *Batch) error
	// PutFile stores a file under a name of the characters a-z 0-9 . _ - and /, whole or not at all.
	PutFile(name string, r io.Reader) error
	// OpenFile opens a stored file for reading, or returns ErrNotFound. The caller closes it; a file that is
	// replaced or removed meanwhile stays readable.
	OpenFile(name string) (File, error)
	// RemoveFile removes a file; one that is not there is not an error.
	RemoveFile(name string) error
	// ListFiles returns the files whose names start with prefix, in order of name.
	ListFiles(prefix string) ([]FileInfo, error)
	// Usage says what the store holds, by reading all of it.
	Usage() (Usage, error)
	// Compact makes the engine's files as small as they can be, and returns once they are.
	Compact(ctx context.Context) error
	// Datastore returns a view of the same database for libraries that want a go-datastore. Its writes are synced one by
	// one, or once per batch. Closing the view does nothing.
	Datastore(namespace string) datastore.Batching
	// Close waits for calls under way and releases the folder. Closing twice is harmless.
	Close() error
}

// Pair is a key and its value.
type Pair struct {
	Key   string
	Value []byte
}

// Queued is an entry of a queue; Seq is what Batch.Done takes.
type Queued struct {
	Seq   uint64
	Value []byte
}

// File is a stored file open for reading.
type File interface {
	io.ReaderAt
	io.ReadCloser
	// Size is the length in bytes.
	Size() int64
}

// FileInfo describes a stored file.
type FileInfo struct {
	Name string
	Size int64
}
