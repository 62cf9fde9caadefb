package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// nameSeal is the file that closing leaves and opening takes away. The engine has checksums over its tables, and takes
// a damaged end of its journal or of its list of tables for one that a crash cut off. After a clean end there is no such
// excuse: the seal holds the checksum of every small file, and opening compares.
const nameSeal = "SEAL"

// sealHead begins a seal; its last line is the checksum of all before it.
const sealHead = "aopeer seal 1\n"

// maxSeal bounds a seal that is read.
const maxSeal = 1 << 20

// castagnoli is constant.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealed are the files a seal speaks for: the stamp and all of the engine's that have no checksums of their own.
func sealed(disk vfs.FS, dir string) ([]string, error) {
	names, err := disk.List(disk.PathJoin(dir, nameDB))
	if err != nil {
		return nil, fmt.Errorf("list engine: %w", err)
	}
	out := []string{nameFormat}
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob") && name != nameLock {
			out = append(out, nameDB+"/"+name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// makeSeal is the text of a seal over what is in the folder now.
func makeSeal(disk vfs.FS, dir string) (string, error) {
	names, err := sealed(disk, dir)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	s.WriteString(sealHead)
	for _, name := range names {
		sum, size, err := sumFile(disk, disk.PathJoin(dir, name))
		if err != nil {
			return "", fmt.Errorf("seal %s: %w", name, err)
		}
		fmt.Fprintf(&s, "%08x %d %s\n", sum, size, name)
	}
	fmt.Fprintf(&s, "%08x\n", crc32.Checksum([]byte(s.String()), castagnoli))
	return s.String(), nil
}

func sumFile(disk vfs.FS, name string) (sum uint32, size int64, err error) {
	f, err := disk.Open(name)
	if err != nil {
		return 0, 0, err
	}
	h := crc32.New(castagnoli)
	size, err = io.Copy(h, struct{ io.Reader }{f})
	return h.Sum32(), size, errors.Join(err, f.Close())
}

// putSeal seals a folder whose engine is closed.
func putSeal(disk vfs.FS, dir string) error {
	text, err := makeSeal(disk, dir)
	if err != nil {
		return err
	}
	name := disk.PathJoin(dir, nameSeal)
	if err := writeSynced(disk, name+".new", strings.NewReader(text)); err != nil {
		return fmt.Errorf("write %s: %w", nameSeal, err)
	}
	if err := disk.Rename(name+".new", name); err != nil {
		return fmt.Errorf("write %s: %w", nameSeal, err)
	}
	return syncFolder(disk, dir)
}

// checkSeal compares the folder with its seal. There is none in a new folder, and after a crash.
func checkSeal(disk vfs.FS, dir string) (found bool, err error) {
	f, err := disk.Open(disk.PathJoin(dir, nameSeal))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", nameSeal, err)
	}
	was, err := io.ReadAll(io.LimitReader(f, maxSeal))
	if err = errors.Join(err, f.Close()); err != nil {
		return true, fmt.Errorf("read %s: %w", nameSeal, err)
	}
	is, err := makeSeal(disk, dir)
	if err != nil {
		return true, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if is == string(was) {
		return true, nil
	}
	return true, fmt.Errorf("%w: the folder changed since it was closed: %s", ErrCorrupt, differ(string(was), is))
}

// differ names the first file that is not what it was.
func differ(was, is string) string {
	now := strings.Split(is, "\n")
	for _, line := range strings.Split(was, "\n") {
		if !slices.Contains(now, line) {
			if _, name, ok := strings.Cut(line, " "); ok {
				_, name, _ = strings.Cut(name, " ")
				return fmt.Sprintf("%.100q", name)
			}
			return nameSeal
		}
	}
	return "a file has come to it"
}

// breakSeal checks the seal and takes it away, durably, before anything else is written.
func breakSeal(disk vfs.FS, dir string) error {
	found, err := checkSeal(disk, dir)
	if err != nil || !found {
		return err
	}
	if err := disk.Remove(disk.PathJoin(dir, nameSeal)); err != nil {
		return fmt.Errorf("remove %s: %w", nameSeal, err)
	}
	return syncFolder(disk, dir)
}
