// Package cu is the computing unit (§3.4, §5.4): it replays the log of a process, slot by slot, and signs for every
// result. Verify is the same replay for somebody who believes nobody.
//
// In come slots to evaluate and, from a units.Log, the entries that hold them; out go answers with a claim that was
// journaled before it was signed, state roots, dry-runs, and batches of claims for Arweave.
//
// It never evaluates an entry before its signature, nonce and link are checked, never lets two goroutines touch one
// state, never signs a second claim for a slot, and never gives an answer that a crash could take back.
//
// Start with compute.go, then process.go (who owns a state) and replay.go (what a slot must be to be evaluated).
package cu

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/wasmvm"
)

// ErrConfig says that a Config or VerifyConfig lacks something or holds a value out of range.
var ErrConfig = errors.New("the computing unit is not configured")

// hop is the word of this unit in refusals.
const hop = "compute"

// Config is what a unit is made of. Zero numbers mean the defaults named beside them.
type Config struct {
	Store     store.Store
	Signer    ans104.Signer // Ed25519: its signatures repeat, so that a claim asked for twice is the same item
	Network   string        // network ID that claims name
	Machine   wasmvm.Machine
	Directory units.Directory
	Archive   arweave.Archive  // where claims are settled; nil leaves them unsettled
	Now       func() time.Time // time.Now; ages only, nothing that is signed
	Log       *slog.Logger     // silent

	MaxHot          int           // states held in memory; 64
	Workers         int           // processes evaluated at one moment; as many as there are cores
	MaxWaiting      int           // callers waiting at once, more are refused as busy; 4096
	PageSize        int           // entries read from a log at once; 128
	CheckpointEvery int           // slots between two checkpoints; 1000
	KeepCheckpoints int           // checkpoints kept of each process; 3
	BatchAge        time.Duration // the longest that a claim waits for its settlement; 2 s
	RetryBad        time.Duration // how long a bad log or module is refused without looking again; 10 s
}

// Validate says what is missing. Errors: ErrConfig.
func (c Config) Validate() error {
	switch {
	case c.Store == nil:
		return fmt.Errorf("%w: no store", ErrConfig)
	case c.Signer == nil || c.Signer.Type() != ans104.Ed25519:
		return fmt.Errorf("%w: no Ed25519 key", ErrConfig)
	case c.Network == "" || len(c.Network) > attest.MaxNetwork:
		return fmt.Errorf("%w: network ID of %d bytes", ErrConfig, len(c.Network))
	case c.Machine == nil || c.Directory == nil:
		return fmt.Errorf("%w: no machine or no directory", ErrConfig)
	case min(c.MaxHot, c.Workers, c.MaxWaiting, c.PageSize, c.CheckpointEvery, c.KeepCheckpoints) < 0:
		return fmt.Errorf("%w: a negative number", ErrConfig)
	case c.BatchAge < 0 || c.RetryBad < 0:
		return fmt.Errorf("%w: a negative duration", ErrConfig)
	}
	return nil
}

func (c Config) withDefaults() Config {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&c.MaxHot, 64)
	def(&c.Workers, runtime.GOMAXPROCS(0))
	def(&c.MaxWaiting, 4096)
	def(&c.PageSize, 128)
	def(&c.CheckpointEvery, 1000)
	def(&c.KeepCheckpoints, 3)
	if c.BatchAge == 0 {
		c.BatchAge = 2 * time.Second
	}
	if c.RetryBad == 0 {
		c.RetryBad = 10 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Unit is a computing unit; it is a units.Computer. Answers that are stored are served at any time, everything else
// waits for Run. Closing the store and the machine is for whoever made them, after Run has returned.
type Unit struct {
	cfg     Config
	address string
	journal *journal
	shelf   shelf
	settler *settler
	workers chan struct{}
	started chan struct{}

	lock      sync.Mutex
	life      context.Context // of Run; set before started is closed
	stopped   bool
	processes map[ao.ID]*worker
	idle      *list.List // of hot processes that nobody works on, the least recently used first
	hot       int        // states in memory, or about to be
	room      chan struct{}
	waiting   int
	bad       map[ao.ID]badMark
	count     Counters

	work sync.WaitGroup // the goroutines of processes
}

var _ units.Computer = (*Unit)(nil)

// badMark remembers a log or a module that was found bad, from which slot on.
type badMark struct {
	slot  ao.Slot
	err   *ao.Refusal
	until time.Time
}

// maxBad bounds the marks; they only save work, so forgetting one is harmless.
const maxBad = 1024

// New builds a unit. It opens nothing and starts nothing.
func New(cfg Config) (*Unit, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	address, err := ans104.Address(cfg.Signer.Type(), cfg.Signer.Owner())
	if err != nil {
		return nil, fmt.Errorf("derive address: %w", err)
	}
	u := &Unit{
		cfg:       cfg,
		address:   address,
		journal:   newJournal(cfg.Store),
		shelf:     shelf{store: cfg.Store, keep: cfg.KeepCheckpoints, log: cfg.Log},
		workers:   make(chan struct{}, cfg.Workers),
		started:   make(chan struct{}),
		processes: make(map[ao.ID]*worker),
		idle:      list.New(),
		room:      make(chan struct{}),
		bad:       make(map[ao.ID]badMark),
	}
	u.settler = newSettler(u)
	return u, nil
}

// Run works until ctx ends, then checkpoints every state in memory and returns nil. It is called once.
func (u *Unit) Run(ctx context.Context) error {
	u.lock.Lock()
	if u.life != nil {
		u.lock.Unlock()
		return errors.New("run computing unit: it ran before")
	}
	u.life = ctx
	u.lock.Unlock()
	close(u.started)
	u.settler.run(ctx)
	u.lock.Lock()
	u.stopped = true
	u.lock.Unlock()
	u.work.Wait()
	u.coolAll()
	return nil
}

// coolAll checkpoints and closes what is in memory. No goroutine works on a process any more.
func (u *Unit) coolAll() {
	var all sync.WaitGroup
	for _, p := range u.processes {
		all.Go(func() { p.cool(true) })
	}
	all.Wait()
	u.lock.Lock()
	defer u.lock.Unlock()
	u.processes = make(map[ao.ID]*worker)
	u.idle.Init()
}

// Address is the address of the unit's key, which its claims carry.
func (u *Unit) Address() string { return u.address }

// Counters are what the unit has done since it was made.
type Counters struct {
	Evaluated      uint64 `json:"evaluated"`  // slots
	Duplicates     uint64 `json:"duplicates"` // of them, not evaluated because their message took effect before
	Stored         uint64 `json:"stored"`     // answers served from the store
	Checkpoints    uint64 `json:"checkpoints"`
	Evictions      uint64 `json:"evictions"`
	Batches        uint64 `json:"batches"` // of claims, handed to the archive
	BadLogs        uint64 `json:"badLogs"`
	Contradictions uint64 `json:"contradictions"`
}

// Status is the unit at one moment, for the status command.
type Status struct {
	Unit      string `json:"unit"`
	Hot       int    `json:"hot"`       // states in memory
	Working   int    `json:"working"`   // processes that are worked on
	Waiting   int    `json:"waiting"`   // callers
	Unsettled int    `json:"unsettled"` // processes with claims to settle
	Counters
}

// Status is what the unit is doing now.
func (u *Unit) Status() Status {
	unsettled := u.settler.size()
	u.lock.Lock()
	defer u.lock.Unlock()
	s := Status{Unit: u.address, Hot: u.hot, Waiting: u.waiting, Unsettled: unsettled, Counters: u.count}
	for _, p := range u.processes {
		if p.busy {
			s.Working++
		}
	}
	return s
}

// tally changes the counters.
func (u *Unit) tally(change func(*Counters)) {
	u.lock.Lock()
	defer u.lock.Unlock()
	change(&u.count)
}
