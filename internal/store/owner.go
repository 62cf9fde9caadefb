package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Owner says whether a process has the store in a folder open, and which: 0 if it did not leave its number. It opens
// nothing and changes nothing.
func Owner(dir string) (pid int, open bool, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return 0, false, fmt.Errorf("look at store %s: %w", dir, err)
	}
	if abs, err = filepath.EvalSymlinks(abs); errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	} else if err != nil {
		return 0, false, fmt.Errorf("look at store %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(abs, nameLock)); errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if held, err := vfs.Default.Lock(filepath.Join(abs, nameLock)); err == nil {
		return 0, false, held.Close()
	}
	if raw, err := readSmall(vfs.Default, filepath.Join(abs, nameOwner)); err == nil {
		pid, _ = strconv.Atoi(strings.TrimSpace(string(raw))) // without a number it stays 0
	}
	return pid, true, nil
}
