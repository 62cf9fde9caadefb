package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	pebbleds "github.com/ipfs/go-ds-pebble"
)

// stamp is the whole content of the format file. A store that changes its keys or layout changes the number.
const stamp = "aopeer store 2\n"

// stampBefore is what the version before wrote. Its logs keep their lengths elsewhere and its files have no checksums.
const stampBefore = "aopeer store 1\n"

// What a store's folder holds.
const (
	nameFormat = "FORMAT" // the stamp
	nameLock   = "LOCK"   // locked while open
	nameOwner  = "OWNER"  // process id of the opener, for the message of the next one
	nameDB     = "db"     // the engine's folder
	nameFiles  = "files"  // stored files
)

// defaultCache is small, because a hundred peers may share one process.
const defaultCache = 16 << 20

// memTable is the most that a table in memory grows to before it is written out. Each rewriting of a record costs as much
// as its first writing, and small tables are merged more often.
const memTable = 16 << 20

// spillEvery is how long what was written stays in memory at most while writing goes on. A peer with little to do then needs
// little memory, however long it runs, and has a minute of its journal to read when it starts again.
const spillEvery = time.Minute

// tableFile is how large the engine's files may become. With its own 2 MiB a log of a gigabyte would be five hundred files,
// each with a descriptor and its index in memory.
const tableFile = 16 << 20

// filtered are the engine's levels with a filter on each. Most keys that are asked for are not there, because every new
// message is looked up first; a filter answers that without reading a block.
func filtered() (levels [7]pebble.LevelOptions) {
	for i := range levels {
		levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return levels
}

// Options are the choices left to whoever opens a store. The zero value is good for a production peer.
type Options struct {
	// Log receives the engine's errors, and its chatter at debug level. Nil discards both.
	Log *slog.Logger
	// CacheBytes is the engine's cache of blocks read from disk; 0 means 16 MiB.
	CacheBytes int64
	// MinFree is what writers leave free on the disk, in bytes; 0 means 128 MiB.
	MinFree uint64
}

// database is a Store on pebble, on whatever file system it was opened.
type database struct {
	dir    string
	fs     vfs.FS
	db     *pebble.DB
	cache  *pebble.Cache
	view   *pebbleds.Datastore
	locked io.Closer

	gate    gate
	failure atomic.Pointer[error] // why the store is broken, nil while it is not
	wedged  atomic.Bool           // the engine stopped with its locks held: it must not be asked again, not even to close
	flights flights
	numbers numbers
	space   space
	temp    atomic.Uint64 // numbers temporary files
	commits atomic.Uint64 // synced writes so far

	lock    sync.Mutex // guards who leads and who waits; not held while anything is written
	leading bool
	waiting []*ticket

	spilled time.Time // when the table in memory was written out last; the leader's
}

var _ Store = (*database)(nil)

// Open opens the store in a folder, making it when it is not there. The folder belongs to the opener until Close:
// a second opener gets ErrLocked.
func Open(dir string, opts Options) (Store, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	// Two spellings of one folder must meet at one lock, so links are resolved once the folder exists.
	if err := makeFolder(vfs.Default, abs); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	d, err := open(vfs.Default, abs, opts)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return d, nil
}

func open(disk vfs.FS, dir string, opts Options) (_ *database, err error) {
	if err := makeFolder(disk, dir); err != nil {
		return nil, err
	}
	d := &database{dir: dir, fs: disk, numbers: newNumbers(), space: space{disk: disk, dir: dir, min: opts.MinFree}}
	d.spilled = time.Now()
	if d.space.min == 0 {
		d.space.min = defaultMinFree
	}
	if d.locked, err = lockFolder(disk, dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.locked.Close())
		}
	}()
	if err := checkFormat(disk, dir); err != nil {
		return nil, err
	}
	if err := breakSeal(disk, dir); err != nil {
		return nil, err
	}
	if err := d.prepareFiles(); err != nil {
		return nil, err
	}
	size := opts.CacheBytes
	if size <= 0 {
		size = defaultCache
	}
	d.cache = pebble.NewCache(size)
	d.db, err = pebble.Open(disk.PathJoin(dir, nameDB), engineOptions(disk, d.cache, opts))
	if err != nil {
		d.cache.Unref()
		return nil, fmt.Errorf("open engine: %w", damaged(err))
	}
	if d.view, err = pebbleds.NewDatastore("", pebbleds.WithPebbleDB(d.db), pebbleds.WithPebbleWriteOptions(pebble.Sync)); err != nil {
		err = errors.Join(fmt.Errorf("open datastore view: %w", err), d.db.Close())
		d.cache.Unref()
		return nil, err
	}
	return d, nil
}

// engineOptions are the same whether a store is opened to be used or to be checked.
func engineOptions(disk vfs.FS, cache *pebble.Cache, opts Options) *pebble.Options {
	log := newEngineLog(opts.Log)
	return &pebble.Options{
		FS:                 aheadFS{disk},
		Cache:              cache,
		MemTableSize:       memTable,
		TargetFileSizes:    [7]int64{tableFile, tableFile, tableFile, tableFile, tableFile, tableFile, tableFile},
		FormatMajorVersion: pebble.FormatValueSeparation,
		Logger:             log,
		Levels:             filtered(),
		// Whoever reads the damaged place gets an error; the rest of the store is as good as before.
		EventListener: &pebble.EventListener{DataCorruption: func(info pebble.DataCorruptionInfo) {
			log.Errorf("damage: %s", info)
		}},
	}
}

// damaged marks what the engine found to be damaged as ErrCorrupt.
func damaged(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// Close implements Store.
func (d *database) Close() error {
	if !d.gate.close() {
		return nil
	}
	if d.wedged.Load() {
		// The folder stays locked until the process ends: what is left of the engine may still write to it.
		return fmt.Errorf("close store: %w", d.broken())
	}
	var err error
	if broken := d.broken(); broken == nil || errors.Is(broken, errPowerCut) {
		// The view ends its running queries, flushes and closes the engine, which it shares with us.
		err = d.view.Close()
	} else {
		err = d.db.Close() // a flush would need the journal, which is what broke
	}
	d.cache.Unref()
	if err == nil && d.broken() == nil {
		err = putSeal(d.fs, d.dir)
	}
	if err = errors.Join(err, d.locked.Close()); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// enter admits a call unless the store is closed or broken; the caller leaves the gate.
func (d *database) enter() error {
	if err := d.gate.enter(); err != nil {
		return err
	}
	if err := d.broken(); err != nil {
		d.gate.leave()
		return err
	}
	return nil
}

// broken returns why the store stopped, or nil.
func (d *database) broken() error {
	if p := d.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// errLeaderGone is why a store stops whose writer panicked.
var errLeaderGone = errors.New("the writer of a group is gone")

// breakDown stops the store; the first reason stays.
func (d *database) breakDown(cause error) {
	err := fmt.Errorf("%w: %w", ErrBroken, cause)
	d.failure.CompareAndSwap(nil, &err)
}

// lockFolder takes the folder for this process, or says who has it.
func lockFolder(disk vfs.FS, dir string) (io.Closer, error) {
	held, err := disk.Lock(disk.PathJoin(dir, nameLock))
	owner := disk.PathJoin(dir, nameOwner)
	if err != nil {
		who := "another process"
		if raw, rerr := readSmall(disk, owner); rerr == nil && len(raw) > 0 {
			who = "process " + strings.TrimSpace(string(raw))
		}
		return nil, fmt.Errorf("%w by %s: stop it first, or use another folder (%w)", ErrLocked, who, err)
	}
	// The owner's number only helps the message above, so it is neither synced nor a reason to fail.
	if f, err := disk.Create(owner, vfs.WriteCategoryUnspecified); err == nil {
		_, _ = io.WriteString(f, strconv.Itoa(os.Getpid())+"\n")
		_ = f.Close()
	}
	return held, nil
}

// checkFormat refuses a folder that another program or a later version wrote, and stamps a new one.
func checkFormat(disk vfs.FS, dir string) error {
	name := disk.PathJoin(dir, nameFormat)
	raw, err := readSmall(disk, name)
	switch {
	case err == nil && string(raw) == stamp:
		return nil
	case err == nil && string(raw) == stampBefore:
		return fmt.Errorf("%w: %s was written by an earlier version, whose stores this one does not read: run that version, "+
			"or start with an empty home and let the log come back from Arweave", ErrFormat, dir)
	case err == nil:
		return fmt.Errorf("%w: %s says %q, this version reads %q", ErrFormat, nameFormat, raw, stamp)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read %s: %w", nameFormat, err)
	}
	if _, err := disk.Stat(disk.PathJoin(dir, nameDB)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s holds a database without a %s file", ErrFormat, dir, nameFormat)
	}
	temp := name + ".new"
	if err := writeSynced(disk, temp, strings.NewReader(stamp)); err != nil {
		return fmt.Errorf("write %s: %w", nameFormat, err)
	}
	if err := disk.Rename(temp, name); err != nil {
		return fmt.Errorf("write %s: %w", nameFormat, err)
	}
	return syncFolder(disk, dir)
}

// readSmall reads the beginning of a file that we know to be short.
func readSmall(disk vfs.FS, name string) ([]byte, error) {
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, 256))
	return raw, errors.Join(err, f.Close())
}
