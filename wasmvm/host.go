package wasmvm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/aopeer/aopeer/ao"
)

// MaxMemory is the most linear memory that one process may ask for, in bytes.
const MaxMemory = 16 << 30

// Config is what a Host is built from; all of it may be left out.
type Config struct {
	CacheDir  string            // private folder for compiled code; empty keeps none
	Natives   map[string]Native // Go state machines by name@version
	MaxMemory uint64            // the most a process may ask for; 0 means MaxMemory
	Log       *slog.Logger
}

// Host is the Machine that runs every format of this package. It is safe for concurrent use; each State is not.
type Host struct {
	cfg    Config
	engine *engine
	scan   *pageScan

	lock     sync.Mutex
	programs map[ao.ID]*load
}

// load is a module that is compiled, or being compiled, for everybody who asks.
type load struct {
	done    chan struct{}
	program program
	err     error
}

var _ Machine = (*Host)(nil)

// NewHost makes a host. Errors: the cache folder cannot be made private.
func NewHost(cfg Config) (*Host, error) {
	if cfg.MaxMemory == 0 {
		cfg.MaxMemory = MaxMemory
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e, err := newEngine(engineConfig{CacheDir: cfg.CacheDir, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	scan, err := newPageScan()
	if err != nil { // slower, but right: every page is compared
		cfg.Log.Debug("no page map", "err", err)
		scan = nil
	}
	return &Host{cfg: cfg, engine: e, scan: scan, programs: map[ao.ID]*load{}}, nil
}

// Close releases the compiled code. Every State must have been closed.
func (h *Host) Close() error {
	h.lock.Lock()
	defer h.lock.Unlock()
	for _, l := range h.programs {
		<-l.done
		if l.program != nil {
			l.program.close()
		}
	}
	h.programs = nil
	if h.scan != nil {
		h.scan.close()
	}
	h.engine.close()
	return nil
}

// Prepare compiles a module or finds it in the cache. See Machine.
func (h *Host) Prepare(ctx context.Context, m ao.Module) error {
	if m.Format() == FormatNative {
		_, err := h.native(m)
		return err
	}
	_, err := h.program(ctx, m)
	return err
}

// program compiles a module once, however many ask for it.
func (h *Host) program(ctx context.Context, m ao.Module) (program, error) {
	h.lock.Lock()
	if h.programs == nil {
		h.lock.Unlock()
		return nil, errors.New("machine is closed")
	}
	l, ok := h.programs[m.ID()]
	if !ok {
		l = &load{done: make(chan struct{})}
		h.programs[m.ID()] = l
	}
	h.lock.Unlock()
	if ok {
		select {
		case <-l.done:
			return l.program, l.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	// Others may wait for this compilation, so the first one's giving up does not end it.
	l.program, l.err = h.compile(context.WithoutCancel(ctx), m)
	close(l.done) // before the lock: Close holds it while it waits
	if l.err != nil {
		h.lock.Lock()
		if h.programs[m.ID()] == l {
			delete(h.programs, m.ID())
		}
		h.lock.Unlock()
	}
	return l.program, l.err
}

func (h *Host) compile(ctx context.Context, m ao.Module) (program, error) {
	switch m.Format() {
	case FormatAOS:
		p, err := newEmscripten(ctx, h.engine, m.Code())
		if err != nil { // a typed nil must not become a program
			return nil, err
		}
		return p, nil
	case FormatDefault:
		p, err := newWASI(ctx, h.engine, m.Code())
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	return nil, fmt.Errorf("%w: %.64q", ErrFormat, m.Format())
}

// Profile names how results of g come about. See Machine.
func (h *Host) Profile(g Genesis) string {
	switch f := g.Module.Format(); f {
	case FormatAOS:
		return emscriptenProfile()
	case FormatDefault:
		return wasiProfile()
	case FormatNative:
		return FormatNative + ";" + string(g.Module.Code())
	default:
		return ""
	}
}

// limits is what one evaluation of g may use. Errors: ErrLimit.
func (h *Host) limits(g Genesis) (memory, fuel uint64, err error) {
	l, err := ao.LimitsOf(g.Process, g.Module)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", ErrLimit, err)
	}
	if l.Memory > h.cfg.MaxMemory {
		return 0, 0, fmt.Errorf("%w: %d bytes of memory, at most %d", ErrLimit, l.Memory, h.cfg.MaxMemory)
	}
	return l.Memory, min(l.Compute, MaxFuel), nil
}
