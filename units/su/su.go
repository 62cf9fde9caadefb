// Package su is the scheduler unit (§3.3, §5.3): it gives every message of the processes that name it one slot, once,
// and hands message and assignment on to Arweave.
//
// In come verified messages through Schedule; out go signed assignments, which are on disk before anybody sees them,
// entries to whoever reads or follows a log, and items to the Archive, in the order of each log.
//
// It never evaluates a message, never signs a slot for a process that names another scheduler, and never signs one slot
// twice: a signature leaves memory only after the store took the slot, and the store takes a slot only if it is next.
//
// Start with schedule.go, which reads downward; then head.go, record.go, settle.go.
package su

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// Config is what a scheduler unit is made of. Zero bounds mean the defaults named beside them.
type Config struct {
	Store   store.Store      // where the logs live; the caller closes it after Run has returned
	Signer  ans104.Signer    // the unit's key; what it signs is a promise that may be slashed
	Archive arweave.Archive  // where entries settle and where the block height comes from
	Now     func() time.Time // time.Now
	Log     *slog.Logger     // none

	// Funds says what the wallet can pay for; what it could not settle is refused. Nil means that settling costs nothing.
	Funds func(context.Context) (arweave.Funds, error)

	MaxMessage   int // bytes of one item: ao.MaxItem, which is also the most
	MaxSchedules int // Schedule calls at once: 1024
	MaxWaiting   int // of them for one process: 256
	MaxFollowers int // Follow calls at once: 4096
	CacheBytes   int // of recent entries, and again of heads: 32 MiB

	HeightEvery time.Duration // between two questions for the block height: 5 s
	FundsEvery  time.Duration // between two looks into the wallet: 30 s
	SettleDelay time.Duration // what is new waits that long for more to be settled together: 100 ms
	SettleRetry time.Duration // before the first repetition when the archive fails, doubling to a minute: 500 ms
}

// Validate fills the defaults in and says what cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Store == nil:
		return errors.New("scheduler unit: no store")
	case c.Signer == nil:
		return errors.New("scheduler unit: no signer")
	case c.Archive == nil:
		return errors.New("scheduler unit: no archive")
	case c.MaxMessage < 0 || c.MaxMessage > ao.MaxItem:
		return fmt.Errorf("scheduler unit: messages of %d bytes, at most %d", c.MaxMessage, ao.MaxItem)
	case c.MaxSchedules < 0 || c.MaxWaiting < 0 || c.MaxFollowers < 0 || c.CacheBytes < 0:
		return errors.New("scheduler unit: a bound is negative")
	case c.HeightEvery < 0 || c.FundsEvery < 0 || c.SettleDelay < 0 || c.SettleRetry < 0:
		return errors.New("scheduler unit: an interval is negative")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.MaxMessage, ao.MaxItem)
	setDefault(&c.MaxSchedules, 1024)
	setDefault(&c.MaxWaiting, 256)
	setDefault(&c.MaxFollowers, 4096)
	setDefault(&c.CacheBytes, 32<<20)
	setDefault(&c.HeightEvery, 5*time.Second)
	setDefault(&c.FundsEvery, 30*time.Second)
	setDefault(&c.SettleDelay, 100*time.Millisecond)
	setDefault(&c.SettleRetry, 500*time.Millisecond)
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Unit is a scheduler unit: a units.Scheduler and the units.Log of what it scheduled.
type Unit struct {
	cfg     Config
	address string

	lines   *lines                   // who may touch which process's head
	heads   *recent[ao.ID, head]     // where logs end; entries are used only in their process's line
	entries *recent[place, ao.Entry] // entries that are durable
	bells   *bells                   // wake followers
	height  *height                  // the newest block height
	backlog *backlog                 // what is not settled
	purse   *purse                   // what can be paid for

	lock      sync.Mutex    // held while an epoch begins
	epoch     atomic.Uint64 // of this unit on its store; 0 before its first write
	proven    atomic.Bool   // the archive knows of nothing that this unit has signed and forgotten
	ready     chan struct{} // closed once all is known that scheduling needs
	readyOnce sync.Once
	failed    chan error // one reason to stop

	fetching  chan struct{} // a token for each message that is being fetched
	unsettled chan struct{} // one token when the backlog has grown
	processes atomic.Int64  // logs in the store
	scheduled atomic.Uint64 // slots given since the start
	followers atomic.Int64
	running   atomic.Bool
}

// New makes a scheduler unit of what is in the store. It reads the store and starts nothing.
func New(c Config) (*Unit, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	address, err := ans104.Address(c.Signer.Type(), c.Signer.Owner())
	if err != nil {
		return nil, fmt.Errorf("address of the scheduler's key: %w", err)
	}
	u := &Unit{
		cfg:       c,
		address:   address,
		lines:     newLines(c.MaxSchedules, c.MaxWaiting),
		heads:     newRecent[ao.ID, head](c.CacheBytes),
		entries:   newRecent[place, ao.Entry](c.CacheBytes),
		bells:     newBells(),
		height:    newHeight(),
		backlog:   newBacklog(),
		purse:     newPurse(c.Funds != nil, c.Now()),
		ready:     make(chan struct{}),
		failed:    make(chan error, 1),
		fetching:  make(chan struct{}, maxFetching),
		unsettled: make(chan struct{}, 1),
	}
	if err := u.takeStock(); err != nil {
		return nil, err
	}
	return u, nil
}

// takeStock finds what the store holds, what of it is not settled, and the height it last knew.
func (u *Unit) takeStock() error {
	for after := ""; ; {
		names, err := u.cfg.Store.Logs(logPrefix, after, store.MaxScan)
		if err != nil {
			return fmt.Errorf("list logs: %w", err)
		}
		for _, name := range names {
			process, err := processOf(name)
			if err != nil {
				return err
			}
			if err := u.loadTail(process); err != nil {
				return fmt.Errorf("find what is not settled: %w", err)
			}
		}
		u.processes.Add(int64(len(names)))
		if len(names) < store.MaxScan {
			break
		}
		after = names[len(names)-1]
	}
	return u.loadHeight()
}

// Run keeps the block height and the wallet's balance fresh and settles what is scheduled, until ctx ends; then it returns
// nil. It returns an error when the unit must not go on: the store broke, another unit has started on it, or the archive
// holds what this unit's key has signed and its store lacks. It may be called once.
func (u *Unit) Run(ctx context.Context) error {
	if !u.running.CompareAndSwap(false, true) {
		return errors.New("run scheduler unit: it ran before")
	}
	if err := u.claim(); err != nil {
		return fmt.Errorf("run scheduler unit: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	workers.Go(func() { u.pollHeight(ctx) })
	workers.Go(func() { u.pollFunds(ctx) })
	workers.Go(func() { u.prove(ctx) })
	workers.Go(func() { u.settle(ctx) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-u.failed:
		return fmt.Errorf("run scheduler unit: %w", err)
	}
}

// maybeReady opens the door once all is known that a slot needs.
func (u *Unit) maybeReady() {
	if _, known, _ := u.height.get(); known && u.proven.Load() && u.purse.known() {
		u.readyOnce.Do(func() { close(u.ready) })
	}
}

// Address is the unit's address: what the Scheduler tag of its processes names.
func (u *Unit) Address() string { return u.address }

// Ready is closed once a block height and the wallet's balance are known and the archive has been asked what this unit
// has signed before; until then nothing new is scheduled.
func (u *Unit) Ready() <-chan struct{} { return u.ready }

// Status is what a scheduler unit says of itself.
type Status struct {
	Address     string    `json:"address"`
	Processes   int64     `json:"processes"`   // logs in the store
	Scheduled   uint64    `json:"scheduled"`   // slots given since the start
	Settled     uint64    `json:"settled"`     // entries that the archive has taken since the start
	Unsettled   int64     `json:"unsettled"`   // entries that the archive has not taken yet
	Epoch       uint64    `json:"epoch"`       // starts of a scheduler on this store, this one included
	Ready       bool      `json:"ready"`       // all is known that a slot needs
	Height      uint64    `json:"height"`      // newest block height
	HeightKnown bool      `json:"heightKnown"` // false until the archive has answered once
	HeightAt    time.Time `json:"heightAt"`    // when the archive last answered; zero if not since the start
	Scheduling  int       `json:"scheduling"`  // calls under way
	Followers   int64     `json:"followers"`   // calls under way
	Runway      *Runway   `json:"runway"`      // what the wallet can pay for; null if settling costs nothing
}

// Status is a snapshot; it costs nothing.
func (u *Unit) Status() Status {
	value, known, at := u.height.get()
	entries, _ := u.backlog.size()
	ready := false
	select {
	case <-u.ready:
		ready = true
	default:
	}
	return Status{
		Address:     u.address,
		Processes:   u.processes.Load(),
		Scheduled:   u.scheduled.Load(),
		Settled:     u.backlog.done(),
		Unsettled:   entries,
		Epoch:       u.epoch.Load(),
		Ready:       ready,
		Height:      value,
		HeightKnown: known,
		HeightAt:    at,
		Scheduling:  u.lines.busy(),
		Followers:   u.followers.Load(),
		Runway:      u.purse.runway(u.cfg.Now()),
	}
}

// trouble is the refusal for an error of the store. Its text may name folders, so it goes to our log and not abroad.
func (u *Unit) trouble(hop string, process ao.ID, err error) error {
	u.judge(err)
	u.cfg.Log.Error("store", "hop", hop, "process", process, "err", err)
	return ao.Refuse(hop, ao.StoreTrouble, "the log cannot be read or written")
}
