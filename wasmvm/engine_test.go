package wasmvm

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "wasmtime-go/v44 v"+EngineVersion+"\n") {
		t.Errorf("go.mod pins another wasmtime than %s", EngineVersion)
	}
	if p := emscriptenProfile(); !strings.HasPrefix(p, "wasmtime/"+EngineVersion+";"+runtime.GOARCH+";mem64;nan-canon;") || strings.ContainsAny(p, " \n") {
		t.Errorf("profile %q", p)
	}
}

// TestEngineCache compiles once, then loads, then meets a damaged file and compiles again.
func TestEngineCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code [1]")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var lock sync.Mutex
	var log bytes.Buffer
	e, err := newEngine(engineConfig{CacheDir: dir, Log: slog.New(slog.NewTextHandler(lockedWriter{&lock, &log}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("cache folder has mode %v", info.Mode())
	}
	wasm, err := wt.Wat2Wasm(watModule(nil))
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			m, _, err := e.compile(t.Context(), dialectEmscripten, wasm)
			if err != nil {
				t.Error(err)
				return
			}
			m.Close()
		})
	}
	wait.Wait()
	compiled := func() int {
		lock.Lock()
		defer lock.Unlock()
		return strings.Count(log.String(), "compile wasm module")
	}
	if n := compiled(); n != 1 {
		t.Errorf("compiled %d times for 8 callers", n)
	}
	files, _ := filepath.Glob(filepath.Join(globEscape(dir), "*.cwasm"))
	if len(files) != 1 {
		t.Fatalf("cache holds %d files", len(files))
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	for want := 2; want <= 3; want++ { // damaged, then whole again
		m, _, err := e.compile(t.Context(), dialectEmscripten, wasm)
		if err != nil {
			t.Fatal(err)
		}
		m.Close()
		if n := compiled(); n != 2 {
			t.Errorf("compiled %d times, want 2", n)
		}
	}
}

type lockedWriter struct {
	lock *sync.Mutex
	w    *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.w.Write(p)
}
