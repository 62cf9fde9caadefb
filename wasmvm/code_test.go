package wasmvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	wt "github.com/bytecodealliance/wasmtime-go/v44"

	"github.com/aopeer/aopeer/ao"
)

// tinyGenesis is a process of a module that differs from others by its number alone.
func tinyGenesis(tb testing.TB, n int) Genesis {
	tb.Helper()
	code, err := wt.Wat2Wasm(watModule(map[string]string{"handle": fmt.Sprintf("i64.const %d", 1000+n)}))
	if err != nil {
		tb.Fatal(err)
	}
	user := testSigner(tb, 1)
	m, err := ao.SignModule(user, FormatAOS, "1-mb", "1000000000", code)
	if err != nil {
		tb.Fatal(err)
	}
	spawn, err := ao.SignProcess(user, m.ID(), "scheduler", nil, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := spawn.Process()
	if err != nil {
		tb.Fatal(err)
	}
	return Genesis{Process: p, Module: m}
}

// TestCodeIsBounded: compiled code that nobody uses goes, the least recently used first; what a state uses stays.
func TestCodeIsBounded(t *testing.T) {
	h, err := NewHost(Config{MaxCode: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	held := func() (int, uint64) {
		h.lock.Lock()
		defer h.lock.Unlock()
		return len(h.programs), h.code
	}
	used := tinyGenesis(t, 0)
	s, err := h.Begin(t.Context(), used, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		if err := h.Prepare(t.Context(), tinyGenesis(t, 1+n).Module); err != nil {
			t.Fatal(err)
		}
	}
	if n, code := held(); n != 1 || code == 0 {
		t.Errorf("%d programs of %d bytes are held beside a state, want its own", n, code)
	}
	other, err := h.Begin(t.Context(), used, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if n, _ := held(); n != 1 {
		t.Error("the code of a state that is left has gone")
	}
	other.Close()
	if n, code := held(); n != 0 || code != 0 {
		t.Errorf("%d programs of %d bytes are held for nobody", n, code)
	}
	// With room for some, those used last stay.
	h.cfg.MaxCode = 1 << 30
	for n := range 3 {
		if err := h.Prepare(t.Context(), tinyGenesis(t, n).Module); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Prepare(t.Context(), tinyGenesis(t, 0).Module); err != nil {
		t.Fatal(err)
	}
	n, code := held()
	if n != 3 {
		t.Fatalf("%d programs are held, want 3", n)
	}
	h.cfg.MaxCode = code
	if err := h.Prepare(t.Context(), tinyGenesis(t, 3).Module); err != nil {
		t.Fatal(err)
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	for n, want := range map[int]bool{0: true, 1: false, 2: true, 3: true} {
		if _, ok := h.programs[tinyGenesis(t, n).Module.ID()]; ok != want {
			t.Errorf("module %d is held: %v", n, ok)
		}
	}
}

// TestCompilationsAreBounded: one at a time, so many in the queue, and nobody who waits has to.
func TestCompilationsAreBounded(t *testing.T) {
	h, err := NewHost(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	h.compilers <- struct{}{} // a long compilation
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, maxQueued)
	for n := range maxQueued {
		go func() { left <- h.Prepare(ctx, tinyGenesis(t, n).Module) }()
	}
	for queued := 0; queued < maxQueued; {
		h.lock.Lock()
		queued = h.queued
		h.lock.Unlock()
		runtime.Gosched()
	}
	if err := h.Prepare(t.Context(), tinyGenesis(t, maxQueued).Module); !errors.Is(err, ErrBusy) {
		t.Errorf("one too many: %v, want ErrBusy", err)
	}
	cancel()
	for range maxQueued {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
	}
	<-h.compilers
	if err := h.Prepare(t.Context(), tinyGenesis(t, 5).Module); err != nil {
		t.Errorf("after the queue: %v", err)
	}
}

// TestCodeCacheIsBounded: files go from the folder, the least recently used first, and the newest never.
func TestCodeCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	prepare := func(max uint64, n int) {
		t.Helper()
		h, err := NewHost(Config{CacheDir: dir, MaxCache: max})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := h.Prepare(t.Context(), tinyGenesis(t, n).Module); err != nil {
			t.Fatal(err)
		}
	}
	list := func() map[string]bool {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, n := range names {
			out[n] = true
		}
		return out
	}
	prepare(0, 0)
	var first string
	for name := range list() {
		first = name
	}
	info, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	torn := filepath.Join(dir, "new-1")
	if err := os.WriteFile(torn, make([]byte, 10), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1, 0)
	if err := os.Chtimes(torn, old, old); err != nil {
		t.Fatal(err)
	}
	prepare(0, 1)
	if err := os.Chtimes(first, old.Add(1), old.Add(1)); err != nil {
		t.Fatal(err)
	}
	prepare(0, 0) // is used again
	room := uint64(info.Size())*2 + uint64(info.Size())/2
	prepare(room, 2)
	now := list()
	if len(now) != 2 || !now[first] || now[torn] {
		t.Errorf("the folder holds %v, want the file that was used again and the newest", now)
	}
	prepare(1, 3)
	if now := list(); len(now) != 1 || now[first] {
		t.Errorf("the folder holds %v, want the newest alone", now)
	}
}
