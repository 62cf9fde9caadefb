// Package mu is the messenger unit (§3.5, §5.5): it pushes a message to its scheduler, asks for the result, signs what
// is in the outbox and pushes that, until nothing is left.
//
// In come signed messages and spawns; out go assignments to the caller and, hop by hop, signed messages to the targets'
// schedulers. Every step is on disk before the next is taken, so a crash repeats a step and never loses one; repeating
// is harmless, because the same outbox element always becomes the same item. For the same reason other units may be asked
// for what the next step needs while the present one is being written.
//
// It never believes the result of a slot that its unit has not signed for, and never answers before the message is safe.
//
// Start with push.go, which is the whole loop; task.go is what is on disk, step.go how it changes, expand.go makes items
// of an outbox, retry.go says what a failure means; monitor.go and watch.go push what processes do by themselves.
package mu

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// Config is what a messenger needs. Store, Signer, Network, Directory and Archive must be set.
type Config struct {
	Store     store.Store
	Signer    ans104.Signer // the unit key; processes that trust this messenger name its address in Authority
	Abroad    ans104.Signer // signs what goes to schedulers of today's network, which do not take the unit key; nil for none
	Network   string        // network ID that answers must be claimed for
	Peer      string        // our own peer ID, for the hops
	Directory units.Directory
	Archive   arweave.Archive // takes messages to wallets, and is asked for messages to assign
	Now       func() time.Time
	Log       *slog.Logger

	Workers  int           // steps at once; default 64
	MaxTasks int           // open tasks beyond which new pushes are refused as busy; default 100 000
	Patience time.Duration // how long a push waits for its assignment if the caller sets no deadline; default 30 s
	Retry    time.Duration // first pause after a failed step, doubled up to RetryMax; default 200 ms
	RetryMax time.Duration // default 1 min
	GiveUp   time.Duration // how long a step is tried before its task is dropped; anybody can repush it; default 24 h
	Keep     time.Duration // how long hops and done marks are kept after a push has ended; default 7 days

	CronEvery   time.Duration // how often a computer is asked for ticks of one process, at most; default 10 s
	MaxMonitors int           // processes monitored, beyond which more are refused as busy; default 1024
}

func (c *Config) setDefaults() error {
	if c.Store == nil || c.Signer == nil || c.Network == "" || c.Directory == nil || c.Archive == nil {
		return fmt.Errorf("messenger: Store, Signer, Network, Directory and Archive must be set")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.Patience, 30 * time.Second},
		{&c.Retry, 200 * time.Millisecond},
		{&c.RetryMax, time.Minute},
		{&c.GiveUp, 24 * time.Hour},
		{&c.Keep, 7 * 24 * time.Hour},
		{&c.CronEvery, 10 * time.Second},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if c.Workers <= 0 {
		c.Workers = 64
	}
	if c.MaxTasks <= 0 {
		c.MaxTasks = 100_000
	}
	if c.MaxMonitors <= 0 {
		c.MaxMonitors = 1024
	}
	return nil
}

// Unit is a messenger. It implements units.Messenger.
type Unit struct {
	cfg     Config
	address string
	abroad  string // the address of the other key, "" without one

	asks    sync.WaitGroup // questions ahead; begun by workers only
	changed chan struct{}  // holds something when watch is to look again

	lock    sync.Mutex
	ready   []*task               // steps that can be taken now, oldest first
	wake    *sync.Cond            // a task became ready, or Run ends
	open    map[string]*task      // by key: every task that is not done
	roots   map[ao.ID]*root       // by the message that began the push
	waiters map[string][]chan end // by task key: pushes that wait for an assignment
	lastHop int64                 // number of the newest hop: strictly increasing
	working int                   // steps that are being taken
	count   Counters
	stopped bool
	asking  int   // questions ahead that are under way
	failure error // why it stopped, if not because it was told to

	monitors map[ao.ID]*monitor
}

// end is what a waiting push is told.
type end struct {
	assignment ao.Assignment
	err        error
}

var _ units.Messenger = (*Unit)(nil)

// New builds a messenger over its store and reads the tasks that are still open; nothing moves before Run.
func New(cfg Config) (*Unit, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	address, err := ans104.Address(cfg.Signer.Type(), cfg.Signer.Owner())
	if err != nil {
		return nil, fmt.Errorf("messenger key: %w", err)
	}
	u := &Unit{
		cfg:     cfg,
		address: address,
		open:    map[string]*task{},
		roots:   map[ao.ID]*root{},
		waiters: map[string][]chan end{},
		changed: make(chan struct{}, 1), monitors: map[ao.ID]*monitor{},
	}
	if cfg.Abroad != nil {
		if u.abroad, err = ans104.Address(cfg.Abroad.Type(), cfg.Abroad.Owner()); err != nil {
			return nil, fmt.Errorf("messenger key: %w", err)
		}
	}
	u.wake = sync.NewCond(&u.lock)
	return u, u.load()
}

// Address is what processes name in Authority to trust this messenger.
func (u *Unit) Address() string { return u.address }

// Counters are what the unit has done since it was made.
type Counters struct {
	Retries uint64 `json:"retries"` // steps set aside after a failure that may pass
	Dropped uint64 `json:"dropped"` // tasks ended because they cannot succeed
}

// Status is what the unit says of itself.
type Status struct {
	Open    int `json:"open"`    // tasks not done
	Ready   int `json:"ready"`   // of these, steps that wait for a worker
	Working int `json:"working"` // of these, steps that are being taken

	Monitored int `json:"monitored"` // processes whose ticks are pushed
	Counters
}

// Status counts the work at hand.
func (u *Unit) Status() Status {
	u.lock.Lock()
	defer u.lock.Unlock()
	return Status{Open: len(u.open), Ready: len(u.ready), Working: u.working, Monitored: len(u.monitors), Counters: u.count}
}

// Run takes steps until ctx ends or the store fails for good, and returns when every step under way has come to rest.
func (u *Unit) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { u.stop(nil) })()
	var workers sync.WaitGroup
	for range u.cfg.Workers {
		workers.Go(func() {
			for t := u.next(); t != nil; t = u.next() {
				u.work(ctx, t)
				u.lock.Lock()
				u.working--
				u.lock.Unlock()
			}
			cancel() // the others too, if this one was stopped by a failure
		})
	}
	workers.Go(func() { u.tidy(ctx) })
	workers.Go(func() { u.watch(ctx) })
	workers.Wait()
	u.asks.Wait()
	u.lock.Lock()
	defer u.lock.Unlock()
	for _, t := range u.open {
		if t.timer != nil {
			t.timer.Stop()
		}
	}
	if u.failure != nil {
		return u.failure
	}
	return ctx.Err()
}

// stop ends Run. What is open stays on disk as it is.
func (u *Unit) stop(failure error) {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.stopped {
		return
	}
	u.stopped, u.failure = true, failure
	u.wake.Broadcast()
	for key := range u.waiters {
		u.tell(key, end{err: ao.Refuse("push", ao.Queued, "the messenger stops; the message is safe and goes on when it starts")})
	}
}

// next waits for a step to take; nil means that Run ends.
func (u *Unit) next() *task {
	u.lock.Lock()
	defer u.lock.Unlock()
	for len(u.ready) == 0 && !u.stopped {
		u.wake.Wait()
	}
	if u.stopped {
		return nil
	}
	t := u.ready[0]
	u.ready[0] = nil
	u.ready = u.ready[1:]
	u.working++
	return t
}
