package node

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// diskFree is how many bytes can still be written where a folder is.
func diskFree(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
