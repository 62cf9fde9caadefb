package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Stored files live in one flat folder, so that one sync of it makes any of them durable: a slash of the name is a
// plus sign on disk. Files being written begin with a tilde. Neither sign can be in a name.
const (
	diskSlash = "+"
	tempSign  = "~"
)

// prepareFiles makes the folder and clears what a crash left half-written.
func (d *database) prepareFiles() error {
	dir := d.filesDir()
	if err := makeFolder(d.fs, dir); err != nil {
		return err
	}
	names, err := d.fs.List(dir)
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempSign) {
			if err := d.fs.Remove(d.fs.PathJoin(dir, name)); err != nil {
				return fmt.Errorf("clear files: %w", err)
			}
		}
	}
	return nil
}

// PutFile implements Store.
func (d *database) PutFile(name string, r io.Reader) error {
	if err := checkFileName(name); err != nil {
		return fmt.Errorf("put file: %w", err)
	}
	if err := d.enter(); err != nil {
		return fmt.Errorf("put file %s: %w", name, err)
	}
	defer d.gate.leave()
	temp := d.fs.PathJoin(d.filesDir(), tempSign+strconv.FormatUint(d.temp.Add(1), 10))
	if d.space.left() < d.space.min {
		return fmt.Errorf("put file %s: %w", name, d.space.full())
	}
	if err := writeSynced(d.fs, temp, &summed{name: name, from: r}); err != nil {
		return fmt.Errorf("put file %s: %w", name, errors.Join(noRoom(err), ignoreAbsent(d.fs.Remove(temp))))
	}
	if err := d.fs.Rename(temp, d.filePath(name)); err != nil {
		return fmt.Errorf("put file %s: %w", name, errors.Join(err, ignoreAbsent(d.fs.Remove(temp))))
	}
	if err := syncFolder(d.fs, d.filesDir()); err != nil {
		return fmt.Errorf("put file %s: %w", name, err)
	}
	return d.acknowledge("put file", name)
}

// OpenFile implements Store.
func (d *database) OpenFile(name string) (File, error) {
	if err := checkFileName(name); err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("open file %s: %w", name, err)
	}
	defer d.gate.leave()
	f, err := d.fs.Open(d.filePath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open file %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open file %s: %w", name, err)
	}
	o, err := openSummed(f, name)
	if err != nil {
		return nil, fmt.Errorf("open file %s: %w", name, errors.Join(err, f.Close()))
	}
	return o, nil
}

// RemoveFile implements Store.
func (d *database) RemoveFile(name string) error {
	if err := checkFileName(name); err != nil {
		return fmt.Errorf("remove file: %w", err)
	}
	if err := d.enter(); err != nil {
		return fmt.Errorf("remove file %s: %w", name, err)
	}
	defer d.gate.leave()
	if err := ignoreAbsent(d.fs.Remove(d.filePath(name))); err != nil {
		return fmt.Errorf("remove file %s: %w", name, err)
	}
	if err := syncFolder(d.fs, d.filesDir()); err != nil {
		return fmt.Errorf("remove file %s: %w", name, err)
	}
	return d.acknowledge("remove file", name)
}

// ListFiles implements Store.
func (d *database) ListFiles(prefix string) ([]FileInfo, error) {
	if err := d.enter(); err != nil {
		return nil, fmt.Errorf("list files %q: %w", prefix, err)
	}
	defer d.gate.leave()
	out, err := d.listFiles(prefix)
	if err != nil {
		return nil, fmt.Errorf("list files %q: %w", prefix, err)
	}
	return out, nil
}

func (d *database) listFiles(prefix string) ([]FileInfo, error) {
	onDisk, err := d.fs.List(d.filesDir())
	if err != nil {
		return nil, err
	}
	var out []FileInfo
	for _, entry := range onDisk {
		name := strings.ReplaceAll(entry, diskSlash, "/")
		if strings.HasPrefix(entry, tempSign) || !strings.HasPrefix(name, prefix) {
			continue
		}
		info, err := d.fs.Stat(d.fs.PathJoin(d.filesDir(), entry))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		size, _ := sizeOfContent(info.Size()) // one that is damaged is listed all the same, for whoever removes it
		out = append(out, FileInfo{Name: name, Size: size})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out, nil
}

// acknowledge refuses success once the store has stopped: what was synced since may be on a disk that is gone.
func (d *database) acknowledge(verb, name string) error {
	if err := d.broken(); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	return nil
}

func (d *database) filesDir() string { return d.fs.PathJoin(d.dir, nameFiles) }

func (d *database) filePath(name string) string {
	return d.fs.PathJoin(d.filesDir(), strings.ReplaceAll(name, "/", diskSlash))
}

// checkFileName admits relative slash-separated names without empty or dotted parts.
func checkFileName(name string) error {
	if name == "" || len(name) > MaxFileName {
		return fmt.Errorf("check name of %d bytes: %w", len(name), ErrName)
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("check name %q: %w", name, ErrName)
		}
		for i := 0; i < len(part); i++ {
			c := part[i]
			if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
				return fmt.Errorf("check name %q: %w", name, ErrName)
			}
		}
	}
	return nil
}

// writeSynced writes a new file and syncs its content; the folder entry is the caller's to sync.
func writeSynced(disk vfs.FS, name string, r io.Reader) error {
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	// Only the bare halves are shown: io.Copy must move bytes through the file system we were given, and through a buffer
	// of its own, because the in-memory file system scribbles over what it is handed when races are looked for.
	if _, err := io.Copy(struct{ io.Writer }{f}, struct{ io.Reader }{r}); err != nil {
		return errors.Join(fmt.Errorf("write: %w", err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync: %w", err), f.Close())
	}
	return f.Close()
}

// makeFolder makes a folder and the missing ones above it, each entry synced in its parent.
func makeFolder(disk vfs.FS, dir string) error {
	if info, err := disk.Stat(dir); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("make folder %s: a file is in the way: %w", dir, fs.ErrExist)
		}
		return nil
	}
	parent := disk.PathDir(dir)
	if parent != dir {
		if err := makeFolder(disk, parent); err != nil {
			return err
		}
	}
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return syncFolder(disk, parent)
}

// syncFolder makes the entries of a folder durable.
func syncFolder(disk vfs.FS, dir string) error {
	f, err := disk.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
