// Package cu is the computing unit (§3.4, §5.4): it replays the log of a process, slot by slot, and signs for every
// result. Verify is the same replay for somebody who believes nobody.
//
// In come slots to evaluate and, from a units.Log, the entries that hold them; out go answers with a claim that was
// journaled before it was signed, state roots, dry-runs, and batches of claims for Arweave.
//
// It never evaluates an entry before its signature, nonce and link are checked, never lets two goroutines touch one
// state, never signs a second claim for a slot, and never gives an answer that a crash could take back. A unit that is
// configured for logs without signatures signs nothing.
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
	Store       store.Store
	Signer      ans104.Signer // Ed25519: its signatures repeat, so that a claim asked for twice is the same item
	Network     string        // network ID that claims name
	Machine     wasmvm.Machine
	Directory   units.Directory
	Archive     arweave.Archive  // where claims are settled; nil leaves them unsettled
	KeepsClaims bool             // the archive is read and takes nothing: claims stay here
	Told        bool             // logs are told and not signed (ao.ProofTold): no other entry is evaluated, and nothing is signed
	Now         func() time.Time // time.Now; ages only, nothing that is signed
	Log         *slog.Logger     // silent

	MaxHot          int           // processes in the machine at once; 256
	MaxMemory       uint64        // bytes that they may take, those set aside for what is evaluated included; 4 GiB
	MaxPacked       uint64        // bytes of idle processes that are kept packed besides; 1 GiB
	Workers         int           // processes evaluated at one moment; as many as there are cores
	MaxWaiting      int           // callers waiting at once, more are refused as busy; 4096
	MaxWaitingEach  int           // of them for one process; 256
	MaxWait         time.Duration // the longest that one waits, however long it would; 10 min
	PageSize        int           // entries read from a log at once; 128
	CheckpointEvery int           // slots between two checkpoints; 1000
	KeepCheckpoints int           // checkpoints kept of each process; 3
	BatchAge        time.Duration // the longest that a claim waits for its settlement; 2 s
	SaveIdle        time.Duration // the pause between two rounds of checkpoints of idle processes; 10 s
	CompileWait     time.Duration // how long a process waits for its module's compilation before its callers are refused; 1 min
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
	case c.Told && c.Archive != nil && !c.KeepsClaims:
		return fmt.Errorf("%w: what is only told is not settled", ErrConfig)
	case c.Machine == nil || c.Directory == nil:
		return fmt.Errorf("%w: no machine or no directory", ErrConfig)
	case min(c.MaxHot, c.Workers, c.MaxWaiting, c.MaxWaitingEach, c.PageSize, c.CheckpointEvery, c.KeepCheckpoints) < 0:
		return fmt.Errorf("%w: a negative number", ErrConfig)
	case min(c.BatchAge, c.RetryBad, c.SaveIdle, c.CompileWait, c.MaxWait) < 0:
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
	def(&c.MaxHot, 256)
	def(&c.Workers, runtime.GOMAXPROCS(0))
	def(&c.MaxWaiting, 4096)
	def(&c.MaxWaitingEach, 256)
	def(&c.PageSize, 128)
	def(&c.CheckpointEvery, 1000)
	def(&c.KeepCheckpoints, 3)
	if c.MaxMemory == 0 {
		c.MaxMemory = 4 << 30
	}
	if c.MaxPacked == 0 {
		c.MaxPacked = 1 << 30
	}
	last := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	last(&c.BatchAge, 2*time.Second)
	last(&c.SaveIdle, 10*time.Second)
	last(&c.CompileWait, time.Minute)
	last(&c.MaxWait, 10*time.Minute)
	last(&c.RetryBad, 10*time.Second)
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
	attic   *wasmvm.Attic
	settler *settler
	workers chan struct{} // places for work
	heavy   chan struct{} // of them, those that processes may have that are not known to be light
	patient chan struct{} // heavy processes that stand in line for those
	tight   chan struct{} // memory runs short
	reading chan struct{} // places for dry-runs
	polite  *polite       // who evaluates those
	quiet   quiet         // tells when nobody has a place for work
	dumps   chan struct{} // places for copies of states that are read
	backing chan struct{} // and for processes that are taken back to an earlier slot
	started chan struct{}

	lock      sync.Mutex
	life      context.Context // of Run; set before started is closed
	stop      context.CancelCauseFunc
	stopped   bool
	processes map[ao.ID]*worker
	idle      *list.List // of hot processes that nobody works on, the least recently used first
	packed    *list.List // of packed ones, likewise
	stalled   *list.List // of hot processes that wait for their log, and whose state may be taken meanwhile
	queued    *list.List // of those that wait for a place to work, likewise
	expecting int        // hot processes that wait for memory before they begin
	hot       int        // processes in the machine, or about to be
	memory    uint64     // bytes that they take or have set aside
	claims    int        // processes that have set memory aside
	room      chan struct{}
	waiting   int
	bad       map[ao.ID]badMark
	count     Counters
	slowAt    time.Time // when an entry was slow for the last time

	readers *copies // for dry-runs
	aheads  *copies // for ticks that no slot has come after yet
	backs   *copies // for states of earlier slots

	all sync.WaitGroup // the goroutines of processes, and dry-runs
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
	attic, err := wasmvm.NewAttic()
	if err != nil {
		return nil, err
	}
	u := &Unit{
		cfg:       cfg,
		address:   address,
		journal:   newJournal(cfg.Store),
		shelf:     shelf{store: cfg.Store, keep: cfg.KeepCheckpoints, log: cfg.Log},
		attic:     attic,
		workers:   make(chan struct{}, cfg.Workers),
		heavy:     make(chan struct{}, max(1, cfg.Workers-1)),
		patient:   make(chan struct{}, max(1, cfg.Workers-1)),
		tight:     make(chan struct{}, 1),
		reading:   make(chan struct{}, max(1, cfg.Workers/2)),
		polite:    newPolite(max(1, cfg.Workers/2)),
		dumps:     make(chan struct{}, maxDumps),
		backing:   make(chan struct{}, maxBacking),
		started:   make(chan struct{}),
		processes: make(map[ao.ID]*worker),
		idle:      list.New(),
		packed:    list.New(),
		stalled:   list.New(),
		queued:    list.New(),
		room:      make(chan struct{}),
		bad:       make(map[ao.ID]badMark),
	}
	u.readers, u.aheads, u.backs = newCopies(u, maxReaders), newCopies(u, maxAheads), newCopies(u, maxBacks)
	u.settler = newSettler(u)
	return u, nil
}

// Run works until ctx ends, then checkpoints every state in memory and returns nil. It ends by itself, with an error, once
// the store takes nothing more. It is called once.
func (u *Unit) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	u.lock.Lock()
	if u.life != nil {
		u.lock.Unlock()
		return errors.New("run computing unit: it ran before")
	}
	u.life, u.stop = ctx, stop
	u.lock.Unlock()
	close(u.started)
	var background sync.WaitGroup
	background.Go(func() { u.saveIdle(ctx) })
	u.settler.run(ctx)
	background.Wait()
	u.lock.Lock()
	u.stopped = true
	u.lock.Unlock()
	u.all.Wait()
	broken := u.broken()
	u.polite.close()
	u.readers.close()
	u.aheads.close()
	u.backs.close()
	u.coolAll(broken == nil)
	return broken
}

// checkStore ends Run when the store will take nothing more until it is opened again: whatever the unit computes could
// neither be kept nor claimed.
func (u *Unit) checkStore(err error) {
	if !errors.Is(err, store.ErrBroken) && !errors.Is(err, store.ErrClosed) {
		return
	}
	u.lock.Lock()
	stop := u.stop
	u.lock.Unlock()
	if stop != nil {
		stop(fmt.Errorf("computing unit: %w", err))
	}
}

// broken is why the unit has ended by itself; nil if it has not.
func (u *Unit) broken() error {
	if cause := context.Cause(u.life); errors.Is(cause, store.ErrBroken) || errors.Is(cause, store.ErrClosed) {
		return cause
	}
	return nil
}

// closed is what callers hear once the unit has ended. The lock is held, or life is known to be set.
func (u *Unit) closed() error {
	if err := u.broken(); err != nil {
		return storeFault("stop", err)
	}
	return errClosed
}

// coolAll checkpoints and closes what is in memory. No goroutine works on a process any more.
func (u *Unit) coolAll(save bool) {
	var all sync.WaitGroup
	for _, p := range u.processes {
		all.Go(func() {
			if save {
				u.work(false, p.save)
			}
			p.cool()
		})
	}
	all.Wait()
	u.lock.Lock()
	defer u.lock.Unlock()
	u.processes = make(map[ao.ID]*worker)
	u.idle.Init()
	u.packed.Init()
}

// Address is the address of the unit's key, which its claims carry.
func (u *Unit) Address() string { return u.address }

// Flush settles claims from now on without waiting for others to share a batch: the unit is about to stop.
func (u *Unit) Flush() { u.settler.hurryOnce.Do(func() { close(u.settler.hurry) }) }

// Counters are what the unit has done since it was made.
type Counters struct {
	Evaluated      uint64 `json:"evaluated"`  // slots
	Duplicates     uint64 `json:"duplicates"` // of them, not evaluated because their message took effect before
	Stored         uint64 `json:"stored"`     // answers served from the store
	Ticks          uint64 `json:"ticks"`      // of processes that tick by themselves, whether a slot has come after them or not
	Checkpoints    uint64 `json:"checkpoints"`
	Evictions      uint64 `json:"evictions"` // hot processes that were packed
	Returns        uint64 `json:"returns"`   // packed ones that became hot again
	Batches        uint64 `json:"batches"`   // of claims, handed to the archive
	BadLogs        uint64 `json:"badLogs"`
	Contradictions uint64 `json:"contradictions"`

	Seconds float64 `json:"seconds"` // that evaluations took, all together
}

// Status is the unit at one moment, for the status command.
type Status struct {
	Unit      string `json:"unit"`
	Hot       int    `json:"hot"`          // processes in the machine
	Memory    uint64 `json:"memory"`       // bytes that they take or have set aside
	Packed    int    `json:"packed"`       // idle processes that are kept packed
	PackedMem uint64 `json:"packedMemory"` // bytes that those take
	Working   int    `json:"working"`      // processes that are worked on
	Waiting   int    `json:"waiting"`      // callers
	Unsettled int    `json:"unsettled"`    // processes with claims to settle
	Counters
}

// Status is what the unit is doing now.
func (u *Unit) Status() Status {
	unsettled := u.settler.size()
	u.lock.Lock()
	defer u.lock.Unlock()
	s := Status{
		Unit: u.address, Hot: u.hot, Memory: u.memory, Packed: u.packed.Len(), PackedMem: u.attic.Size(),
		Waiting: u.waiting, Unsettled: unsettled, Counters: u.count,
	}
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
