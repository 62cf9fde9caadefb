// Package trial measures a computing unit as its users meet it: over HTTP, on a log that it has never seen, beside the same
// module called with nothing around it (§5.4).
//
// In come a module and a unit, which may be anybody's; out goes a report: slots a second of a cold replay, of two at once,
// the time of a result and of a dry-run, and memory.
//
// It never looks into the unit: what it serves are the routes of a scheduler and of a gateway, what it asks are those of a
// computing unit. Its log is signed with keys that everybody knows, so nothing of it may be taken for real.
//
// Start with Run below; log.go makes the log, town.go serves it, rounds.go asks, alone.go calls the module itself.
package trial

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// Config is what is tried, and how hard.
type Config struct {
	Module   []byte // its code; its format is found out
	Slots    int    // of the cold replay; 5000
	Calls    int    // results and dry-runs that are timed; 200
	Idle     int    // processes whose memory is measured; 50
	Gateway  string // HOST:PORT that the stand-ins of Arweave and of the scheduler listen on; a free port of loopback
	Schedule string
	CacheDir string // for compiled code; empty keeps none
	// Start starts the unit, once the town is served, or finds it.
	Start    func(ctx context.Context, t Town) (Unit, error)
	Progress func(format string, args ...any) // hears what is done next
}

// Town is where a unit finds what it needs.
type Town struct {
	Gateway   string // URL
	Scheduler string // URL
	Address   string // of the scheduler's key
}

// Unit is what is tried.
type Unit struct {
	URL  string
	PID  int    // of its operating system process, for its memory; 0 if that is not known
	Stop func() // may be nil
}

// Report is what was measured. Times are in milliseconds; what is zero could not be measured.
type Report struct {
	Module string   `json:"module"`
	Format string   `json:"format"`
	Cores  int      `json:"cores"`
	Slots  int      `json:"slots"`
	Bare   Bare     `json:"bare"`
	Cold   Rate     `json:"cold"`
	Two    Rate     `json:"two"` // two processes at once, both counted
	Result Times    `json:"result"`
	DryRun Times    `json:"dryRun"`
	Beside Beside   `json:"beside"`
	Memory Memory   `json:"memory"`
	Failed []string `json:"failed,omitempty"` // what went wrong, the first of each kind
}

// Bare is the module alone: the same messages, the same engine, nothing kept.
type Bare struct {
	PerSecond float64 `json:"perSecond"` // of the log that is replayed
	Work      float64 `json:"work"`      // processor time of a call
	Pair      float64 `json:"pair"`      // calls a second of two at once, both counted
	P50       float64 `json:"p50"`       // of the messages whose results are timed
	P99       float64 `json:"p99"`
}

// Rate is slots a second, and how that compares with the module alone.
type Rate struct {
	PerSecond float64 `json:"perSecond"`
	OfBare    float64 `json:"ofBare"`
	// OfPair compares two with two of the module at once, on the same cores; 0 of a single one.
	OfPair float64 `json:"ofPair,omitempty"`
	// Work is the processor time that a slot takes, on all cores together and with all that goes on beside it.
	Work float64 `json:"work"`
}

// Times are those of single calls over HTTP.
type Times struct {
	Calls int     `json:"calls"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	// OverBare is what the median takes more than the module alone, OfBare how many times as long.
	OverBare float64 `json:"overBare"`
	OfBare   float64 `json:"ofBare"`
}

// Beside is how results fare while a hundred dry-runs of another process are under way.
type Beside struct {
	DryRuns int     `json:"dryRuns"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	OfIdle  float64 `json:"ofIdle"` // the p99, beside that without dry-runs
}

// Memory is what the unit keeps resident, in MiB.
type Memory struct {
	Resident  float64 `json:"resident"`  // after all of the above
	Processes int     `json:"processes"` // that were begun then
	Each      float64 `json:"each"`      // what one of those, idle, takes
}

func (c Config) withDefaults() Config {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&c.Slots, 5000)
	def(&c.Calls, 200)
	def(&c.Idle, 50)
	if c.Gateway == "" {
		c.Gateway = "127.0.0.1:0"
	}
	if c.Schedule == "" {
		c.Schedule = "127.0.0.1:0"
	}
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	return c
}

// trial is one run.
type trial struct {
	cfg    Config
	dir    string
	town   *town
	unit   Unit
	host   *wasmvm.Host
	client *http.Client
	report Report

	numbers atomic.Int64 // of questions
	lock    sync.Mutex
	failed  map[string]bool
}

// Run measures. Errors: the module does not run here, the unit does not start or gives no result.
func Run(ctx context.Context, cfg Config) (Report, error) {
	t, err := open(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer t.close()
	t.cfg.Progress("starting the unit")
	if t.unit, err = t.cfg.Start(ctx, t.town.Town); err != nil {
		return Report{}, fmt.Errorf("start unit: %w", err)
	}
	if t.unit.Stop != nil {
		defer t.unit.Stop()
	}
	err = t.rounds(ctx)
	return t.report, err
}

// open has everything ready but the unit.
func open(ctx context.Context, cfg Config) (*trial, error) {
	cfg = cfg.withDefaults()
	if cfg.Slots < 10 || cfg.Calls < 10 || cfg.Idle < 1 {
		return nil, errors.New("a trial takes 10 slots, 10 calls and one idle process at the least")
	}
	format, err := wasmvm.FormatOf(cfg.Module)
	if err != nil {
		return nil, err
	}
	module, err := ao.SignModule(key("owner"), format, "1-gb", "9000000000000", cfg.Module)
	if err != nil {
		return nil, err
	}
	t := &trial{
		cfg: cfg, client: newClient(), failed: map[string]bool{},
		report: Report{Module: module.ID().String(), Format: format, Cores: runtime.NumCPU(), Slots: cfg.Slots},
	}
	if t.dir, err = os.MkdirTemp("", "aopeer-trial-"); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if t.town, err = openTown(ctx, t.dir, module, cfg); err == nil {
		t.cfg.Progress("compiling the module")
		if t.host, err = wasmvm.NewHost(wasmvm.Config{CacheDir: t.cfg.CacheDir}); err == nil {
			err = t.host.Prepare(ctx, module)
		}
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *trial) close() {
	if t.host != nil {
		_ = t.host.Close() // it holds nothing that lasts
	}
	if t.town != nil {
		t.town.close()
	}
	_ = os.RemoveAll(t.dir)
}

// newClient keeps a connection for each of the questions that are asked at once.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: 2 * dryRunsAtOnce, MaxIdleConnsPerHost: 2 * dryRunsAtOnce}}
}
