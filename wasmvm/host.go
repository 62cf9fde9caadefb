package wasmvm

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	MaxCode   uint64            // compiled code kept in memory beyond what is in use, in bytes; 0 means 512 MiB
	MaxCache  uint64            // compiled code kept in CacheDir, in bytes; 0 means 2 GiB
	Compilers int               // modules compiled at one moment, each on all cores; 0 means 1
	Log       *slog.Logger
}

// maxQueued is how many modules may wait for their compilation; further ones are refused.
const maxQueued = 64

// Host is the Machine that runs every format of this package. It is safe for concurrent use; each State is not.
type Host struct {
	cfg       Config
	engine    *engine
	scan      *pageScan
	compilers chan struct{}
	swinging  swinging

	lock     sync.Mutex
	programs map[ao.ID]*load
	unused   *list.List // of loads without a State, the least recently used first
	code     uint64     // bytes of the programs that are compiled
	queued   int
}

// load is a module that is compiled, or being compiled, for everybody who asks.
type load struct {
	id      ao.ID
	done    chan struct{}
	program program
	err     error
	refs    int           // States and callers; under the host's lock
	place   *list.Element // in unused
}

var (
	_ Machine = (*Host)(nil)
	_ Sizer   = (*Host)(nil)
)

// NewHost makes a host. Errors: the cache folder cannot be made private.
func NewHost(cfg Config) (*Host, error) {
	if cfg.MaxMemory == 0 {
		cfg.MaxMemory = MaxMemory
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxCode == 0 {
		cfg.MaxCode = 512 << 20
	}
	e, err := newEngine(engineConfig{CacheDir: cfg.CacheDir, MaxCache: cfg.MaxCache, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	scan, err := newPageScan()
	if err != nil { // slower, but right: every page is compared
		cfg.Log.Debug("no page map", "err", err)
		scan = nil
	}
	return &Host{
		cfg: cfg, engine: e, scan: scan, compilers: make(chan struct{}, max(1, cfg.Compilers)),
		programs: map[ao.ID]*load{}, unused: list.New(),
	}, nil
}

// Close releases the compiled code. Every State must have been closed.
func (h *Host) Close() error {
	h.lock.Lock()
	loads := slices.Collect(maps.Values(h.programs))
	h.programs = nil
	h.lock.Unlock()
	for _, l := range loads {
		<-l.done
		if l.program != nil {
			l.program.close()
		}
	}
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
	l, err := h.acquire(ctx, m)
	if err != nil {
		return err
	}
	h.release(l)
	return nil
}

// acquire compiles a module once, however many ask for it, and keeps it until release. ctx ends the wait and not the
// compilation: others may wait for it, or come back.
func (h *Host) acquire(ctx context.Context, m ao.Module) (*load, error) {
	h.lock.Lock()
	if h.programs == nil {
		h.lock.Unlock()
		return nil, errors.New("machine is closed")
	}
	l, ok := h.programs[m.ID()]
	if !ok {
		if h.queued >= maxQueued {
			h.lock.Unlock()
			return nil, fmt.Errorf("%w: %d modules", ErrBusy, maxQueued)
		}
		l = &load{id: m.ID(), done: make(chan struct{})}
		h.programs[l.id] = l
		h.queued++
		go h.fill(l, m)
	}
	l.refs++
	if l.place != nil {
		h.unused.Remove(l.place)
		l.place = nil
	}
	h.lock.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
		h.release(l)
		return nil, fmt.Errorf("wait for compilation: %w", ctx.Err())
	}
	if l.err != nil {
		h.release(l)
		return nil, l.err
	}
	return l, nil
}

// release gives a program back; those that nobody uses stay while there is room for them.
func (h *Host) release(l *load) {
	h.lock.Lock()
	defer h.lock.Unlock()
	if l.refs--; l.refs > 0 || h.programs[l.id] != l {
		return
	}
	l.place = h.unused.PushBack(l)
	h.trim()
}

// trim closes programs that nobody uses, the least recently used first, until the rest fits. The lock is held.
func (h *Host) trim() {
	for at := h.unused.Front(); at != nil && h.code > h.cfg.MaxCode; {
		l := at.Value.(*load)
		at = at.Next()
		if l.program == nil { // being compiled, and everybody has left
			continue
		}
		h.unused.Remove(l.place)
		delete(h.programs, l.id)
		h.code -= l.program.size()
		l.program.close()
	}
}

// fill compiles a module when its turn has come.
func (h *Host) fill(l *load, m ao.Module) {
	h.compilers <- struct{}{}
	p, err := h.compile(context.Background(), m)
	<-h.compilers
	h.lock.Lock()
	defer h.lock.Unlock()
	l.program, l.err = p, err
	h.queued--
	switch {
	case h.programs == nil: // Close waits, and closes it
	case err != nil:
		delete(h.programs, l.id)
		if l.place != nil {
			h.unused.Remove(l.place)
		}
	default:
		h.code += p.size()
		h.trim()
	}
	close(l.done)
}

func (h *Host) compile(ctx context.Context, m ao.Module) (program, error) {
	switch m.Format() {
	case FormatAOS, FormatAOS32:
		p, err := newEmscripten(ctx, h.engine, m.Code(), m.Format() == FormatAOS)
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
	return nil, refuseFormat(m.Format())
}

// Profile names how results of g come about. See Machine.
func (h *Host) Profile(g Genesis) string {
	profile := ""
	switch f := g.Module.Format(); f {
	case FormatAOS, FormatAOS32:
		profile = emscriptenProfile()
	case FormatDefault:
		profile = wasiProfile()
	case FormatNative:
		profile = FormatNative + ";" + string(g.Module.Code())
	}
	if _, boots := BootOf(g.Process, g.Module); boots {
		profile += bootRules
	}
	if cron, err := g.Process.Cron(); err == nil && len(cron) > 0 {
		profile += cronRules
	}
	return profile
}

// bootRules names, in the profile of a process that boots from Arweave, what it can read there.
const bootRules = ";boot/1"

// cronRules names, in the profile of a process that ticks, which ticks its log implies.
const cronRules = ";cron/1"

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

// Most bounds what a process takes of this machine's memory. See Sizer.
func (h *Host) Most(g Genesis) uint64 {
	if g.Module.Format() == FormatNative {
		return 0
	}
	memory, _, err := h.limits(g)
	if err != nil {
		return 0 // it will not begin
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	if l := h.programs[g.Module.ID()]; l != nil && l.program != nil {
		memory = min(memory, l.program.ceiling())
	}
	return 2*memory + maxFormers*PageSize + instanceBytes // the pages, and the copy that is rolled back to
}
