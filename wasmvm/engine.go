package wasmvm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
	"golang.org/x/sys/cpu"
)

// EngineVersion is the wasmtime release that every result depends on.
const EngineVersion = "44.0.0"

// MaxWasmStack bounds the native stack of one call into a module, host frames included.
const MaxWasmStack = 1 << 20

// dialect is the set of wasm features that one module format may use. What is off cannot hold state that an
// Image would miss: without bulk memory and reference types, tables and segments never change.
type dialect int

const (
	dialectEmscripten dialect = iota
	dialectWASI
	dialects
)

func (d dialect) String() string {
	features := "mem64"
	if d == dialectWASI {
		features = "bulk-memory"
	}
	// The architecture is named because it decides how deep a native stack of that size reaches.
	return "wasmtime/" + EngineVersion + ";" + runtime.GOARCH + ";" + features + ";nan-canon;simd;no-threads;no-relaxed-simd;no-ref-types;no-tail-call" +
		";no-multi-memory;no-gc;stack=" + strconv.Itoa(MaxWasmStack) + ";fuel"
}

func (d dialect) config() *wt.Config {
	c := wt.NewConfig()
	c.SetStrategy(wt.StrategyCranelift)
	c.SetCraneliftOptLevel(wt.OptLevelSpeed)
	c.SetCraneliftNanCanonicalization(true)
	c.SetConsumeFuel(true)
	c.SetEpochInterruption(false)
	c.SetMaxWasmStack(MaxWasmStack)
	c.SetMemoryInitCOWSet(true)
	c.SetNativeUnwindInfo(false)
	c.SetWasmSIMD(true)
	c.SetWasmRelaxedSIMD(false)
	c.SetWasmRelaxedSIMDDeterministic(true)
	c.SetWasmThreads(false)
	c.SetWasmReferenceTypes(false)
	c.SetWasmFunctionReferences(false)
	c.SetWasmGC(false)
	c.SetWasmTailCall(false)
	c.SetWasmMultiMemory(false)
	c.SetWasmMultiValue(true)
	c.SetWasmWideArithmetic(false)
	c.SetWasmMemory64(d == dialectEmscripten)
	c.SetWasmBulkMemory(d == dialectWASI)
	return c
}

// engineConfig says where compiled code is kept.
type engineConfig struct {
	// CacheDir is a private folder for compiled code; empty keeps none.
	CacheDir string
	// MaxCache bounds the files there, in bytes: the least recently used ones go. 0 means 2 GiB.
	MaxCache uint64
	// Log hears about compilations, which take seconds; nil is silent.
	Log *slog.Logger
}

// engine compiles modules, each at most once at a time, and keeps the machine code on disk. It is safe for
// concurrent use.
type engine struct {
	wt  [dialects]*wt.Engine
	dir string
	max uint64
	log *slog.Logger

	lock    sync.Mutex
	flights map[string]*flight
}

// flight is a compilation that others wait for.
type flight struct {
	done     chan struct{}
	artifact []byte
	err      error
}

func newEngine(cfg engineConfig) (*engine, error) {
	e := &engine{dir: cfg.CacheDir, max: cfg.MaxCache, log: cfg.Log, flights: map[string]*flight{}}
	if e.max == 0 {
		e.max = 2 << 30
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.dir != "" {
		if err := os.MkdirAll(e.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make code cache: %w", err)
		}
		// Loading a file means running it, so nobody else may write here.
		if err := os.Chmod(e.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make code cache private: %w", err)
		}
	}
	for d := range dialects {
		e.wt[d] = wt.NewEngineWithConfig(d.config())
	}
	return e, nil
}

func (e *engine) close() {
	for _, w := range e.wt {
		w.Close()
	}
}

// compile returns a module of the caller's own, to be closed by it, and the size of its machine code. ctx only ends the
// wait for somebody else's compilation of the same module.
func (e *engine) compile(ctx context.Context, d dialect, wasm []byte) (*wt.Module, uint64, error) {
	if len(wasm) > MaxModule+maxGlobals*(len(globalPrefix)+8) {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrModule, len(wasm))
	}
	key := cacheKey(d, wasm)
	for {
		if m, size := e.load(d, key); m != nil {
			return m, size, nil
		}
		e.lock.Lock()
		f := e.flights[key]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			e.flights[key] = f
			e.lock.Unlock()
			m, err := e.lead(d, key, wasm, f)
			e.lock.Lock()
			delete(e.flights, key)
			e.lock.Unlock()
			close(f.done)
			return m, uint64(len(f.artifact)), err
		}
		e.lock.Unlock()
		select {
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("wait for compilation: %w", ctx.Err())
		case <-f.done:
		}
		if f.err != nil {
			return nil, 0, f.err
		}
		m, err := wt.NewModuleDeserialize(e.wt[d], f.artifact)
		if err == nil {
			return m, uint64(len(f.artifact)), nil
		}
	}
}

// lead compiles for everybody who waits on f.
func (e *engine) lead(d dialect, key string, wasm []byte, f *flight) (*wt.Module, error) {
	e.log.Info("compile wasm module", "module", key[:16], "bytes", len(wasm))
	m, err := wt.NewModule(e.wt[d], wasm)
	if err != nil {
		// The engine's words differ between versions; they go to the log, not into a refusal.
		e.log.Info("refuse wasm module", "module", key[:16], "err", err)
		f.err = fmt.Errorf("%w: rejected by the compiler", ErrModule)
		return nil, f.err
	}
	f.artifact, err = m.Serialize()
	if err != nil {
		f.err = errors.New("serialize compiled module")
		m.Close()
		return nil, f.err
	}
	if err := e.store(key, f.artifact); err != nil {
		e.log.Warn("keep compiled module", "module", key[:16], "err", err)
	}
	e.log.Info("compiled wasm module", "module", key[:16], "bytes", len(f.artifact))
	return m, nil
}

// cacheKey names the machine code of a module: everything it depends on goes in.
func cacheKey(d dialect, wasm []byte) string {
	sum := sha256.Sum256(wasm)
	h := sha256.New()
	fmt.Fprintf(h, "%x\n%s\n%s/%s\n%s", sum, d, runtime.GOOS, runtime.GOARCH, cpuFeatures())
	return hex.EncodeToString(h.Sum(nil))
}

func cpuFeatures() string {
	if runtime.GOARCH == "arm64" {
		return fmt.Sprintf("%+v", cpu.ARM64)
	}
	return fmt.Sprintf("%+v", cpu.X86)
}
