package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Report is what Check found.
type Report struct {
	Sealed  bool     `json:"sealed"`  // the store was closed in order, so that every byte of it could be checked
	Tables  int      `json:"tables"`  // of the engine
	Entries int      `json:"entries"` // keys, records and queue entries
	Logs    int      `json:"logs"`
	Files   int      `json:"files"`
	Damage  []Damage `json:"damage"` // empty if all is whole
}

// Damage is one thing that is not what was written.
type Damage struct {
	Where string `json:"where"` // a file of the folder, a stored file or a log
	Why   string `json:"why"`
}

func (r *Report) found(where string, err error) {
	r.Damage = append(r.Damage, Damage{Where: where, Why: err.Error()})
}

// Check reads every block and every file of a closed store, and changes nothing. An error means that it could not look;
// what it found is in the report.
func Check(dir string, opts Options) (Report, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return Report{}, fmt.Errorf("check store %s: %w", dir, err)
	}
	r, err := check(vfs.Default, abs, opts)
	if err != nil {
		return r, fmt.Errorf("check store %s: %w", dir, err)
	}
	return r, nil
}

func check(disk vfs.FS, dir string, opts Options) (r Report, err error) {
	if _, err := disk.Stat(disk.PathJoin(dir, nameFormat)); errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%w: there is no store in it", ErrNotFound)
	}
	locked, err := lockFolder(disk, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, locked.Close()) }()
	if err := checkFormat(disk, dir); err != nil {
		r.found(nameFormat, err)
		return r, nil
	}
	if r.Sealed, err = checkSeal(disk, dir); err != nil {
		r.found(nameSeal, err)
	}
	if err := r.files(disk, dir); err != nil {
		return r, err
	}
	cache := pebble.NewCache(defaultCache)
	defer cache.Unref()
	o := engineOptions(disk, cache, opts)
	o.ReadOnly, o.ErrorIfNotExists = true, true
	db, err := pebble.Open(disk.PathJoin(dir, nameDB), o)
	if err != nil {
		r.found(nameDB, err)
		return r, nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := r.tables(disk, dir, db, o); err != nil {
		return r, err
	}
	if err := r.entries(db); err != nil {
		r.found(nameDB, err)
	}
	return r, nil
}

// files reads every stored file.
func (r *Report) files(disk vfs.FS, dir string) error {
	folder := disk.PathJoin(dir, nameFiles)
	names, err := disk.List(folder)
	if errors.Is(err, fs.ErrNotExist) {
		r.found(nameFiles, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, entry := range names {
		if strings.HasPrefix(entry, tempSign) {
			continue // half-written, and cleared at the next start
		}
		r.Files++
		if err := readThrough(disk, disk.PathJoin(folder, entry), strings.ReplaceAll(entry, diskSlash, "/")); err != nil {
			r.found(nameFiles+"/"+entry, err)
		}
	}
	return nil
}

func readThrough(disk vfs.FS, path, name string) error {
	f, err := disk.Open(path)
	if err != nil {
		return err
	}
	o, err := openSummed(f, name)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = io.Copy(io.Discard, struct{ io.Reader }{o})
	return errors.Join(err, o.Close())
}

// tables reads every block of every table, those that no key leads to as well.
func (r *Report) tables(disk vfs.FS, dir string, db *pebble.DB, o *pebble.Options) error {
	levels, err := db.SSTables()
	if err != nil {
		r.found(nameDB, err)
		return nil
	}
	for _, level := range levels {
		for _, t := range level {
			r.Tables++
			name := fmt.Sprintf("%06d.sst", uint64(t.BackingSSTNum))
			if err := checkTable(disk, disk.PathJoin(dir, nameDB, name), o.MakeReaderOptions()); err != nil {
				r.found(nameDB+"/"+name, err)
			}
		}
	}
	return nil
}

func checkTable(disk vfs.FS, name string, o sstable.ReaderOptions) error {
	f, err := disk.Open(name)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	reader, err := sstable.NewReader(context.Background(), readable, o) // it closes readable if it fails
	if err != nil {
		return err
	}
	return errors.Join(reader.ValidateBlockChecksums(), reader.Close())
}

// entries reads every key and value, and checks that logs have no gaps.
func (r *Report) entries(db *pebble.DB) error {
	known := make(map[string]bool) // logs that are said to exist: 'l' sorts before 'n'
	var log string
	var next uint64
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		r.Entries++
		if _, err = it.ValueAndErr(); err != nil {
			break
		}
		key := it.Key()
		switch {
		case key[0] == spaceRecord && len(key) > 10:
			name := string(key[1 : len(key)-9])
			if name != log || !known[name] {
				log, next = name, 0
				known[log] = true
				r.Logs++
			}
			index, _ := keyNumber(key, name)
			if index != next {
				r.found("log "+name, fmt.Errorf("%w: record %d follows %d records", ErrCorrupt, index, next))
			}
			next = index + 1
		case key[0] == spaceLog:
			name := string(key[1:])
			if !known[name] {
				r.found("log "+name, fmt.Errorf("%w: its records are missing", ErrCorrupt))
			}
			delete(known, name)
		}
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return err
	}
	for name := range known {
		r.found("log "+name, fmt.Errorf("%w: records of a log that is not there", ErrCorrupt))
	}
	return nil
}
