package wasmvm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// load maps a cached file, after comparing it with the digest in its name. Whatever is wrong with a file, it
// is removed and the module compiled again.
func (e *engine) load(d dialect, key string) (*wt.Module, uint64) {
	if e.dir == "" {
		return nil, 0
	}
	names, err := filepath.Glob(filepath.Join(globEscape(e.dir), key+".*.cwasm"))
	if err != nil {
		return nil, 0
	}
	for _, name := range names {
		artifact, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(artifact)
		if strings.HasSuffix(name, "."+hex.EncodeToString(sum[:])+".cwasm") {
			if m, err := wt.NewModuleDeserializeFile(e.wt[d], name); err == nil {
				now := time.Now() // of use for nothing but which file goes first
				_ = os.Chtimes(name, now, now)
				return m, uint64(len(artifact))
			}
		}
		e.log.Warn("drop damaged compiled module", "module", key[:16])
		os.Remove(name)
	}
	return nil, 0
}

func (e *engine) store(key string, artifact []byte) error {
	if e.dir == "" {
		return nil
	}
	tmp, err := os.CreateTemp(e.dir, "new-*")
	if err != nil {
		return fmt.Errorf("create cache file: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(artifact)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write cache file: %w", err)
	}
	sum := sha256.Sum256(artifact)
	name := filepath.Join(e.dir, key+"."+hex.EncodeToString(sum[:])+".cwasm")
	if err := os.Rename(tmp.Name(), name); err != nil {
		return fmt.Errorf("name cache file: %w", err)
	}
	return e.prune(name)
}

// prune removes the least recently used files beyond the bound, those that a crash left half-written among them. What is
// mapped by a running module stays mapped.
func (e *engine) prune(keep string) error {
	entries, err := os.ReadDir(e.dir)
	if err != nil {
		return fmt.Errorf("list code cache: %w", err)
	}
	var files []os.FileInfo
	var sum uint64
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		files = append(files, info)
		sum += uint64(info.Size())
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		name := filepath.Join(e.dir, f.Name())
		if sum <= e.max {
			break
		}
		if name == keep {
			continue
		}
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove old cache file: %w", err)
		}
		sum -= uint64(f.Size())
	}
	return nil
}

func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
