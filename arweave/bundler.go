package arweave

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

const (
	defaultMaxAge      = 30 * time.Second
	defaultMaxBytes    = 8 << 20
	defaultMaxItems    = 1000
	defaultDepth       = 10
	defaultPoll        = 15 * time.Second
	defaultRepostAfter = 5 * time.Minute
	defaultKeepSeen    = 30 * 24 * time.Hour
	// defaultMaxFee is 1 AR: a gateway that lies about the price must not empty the wallet.
	defaultMaxFee = "1000000000000"
	// pauseMost bounds how long a failing step waits before it is tried again.
	pauseMost = time.Minute
)

// BundlerConfig says what a Bundler writes with and when it does.
type BundlerConfig struct {
	// Store keeps the queue and the transactions under way. The Bundler does not close it.
	Store store.Store
	// Client reaches the gateways.
	Client *Client
	// Wallet signs and pays.
	Wallet *Wallet
	// MaxAge is how long an item waits for company. 0 is 30 s.
	MaxAge time.Duration
	// MaxBytes closes a bundle by size; a single larger item is a bundle of its own. 0 is 8 MiB.
	MaxBytes int64
	// MaxItems closes a bundle by count. 0 is 1000.
	MaxItems int
	// Depth is how many confirmations end the watch over a transaction. 0 is 10.
	Depth uint64
	// MaxFee is the most winston one transaction may cost, whatever a gateway asks. "" is 1 AR.
	MaxFee string
	// Poll is the pause between two looks at a posted transaction. 0 is 15 s.
	Poll time.Duration
	// RepostAfter is how long a posted transaction may be unknown to the gateways before it is posted again. 0 is 5 min.
	RepostAfter time.Duration
	// KeepSeen is how long a duplicate of a settled item is recognised. 0 is 30 days.
	KeepSeen time.Duration
	// Log receives what went wrong and what was settled; nil discards.
	Log *slog.Logger
	// Clock is the time; nil is time.Now.
	Clock func() time.Time
}

// Validate checks the configuration.
func (c *BundlerConfig) Validate() error {
	if c.Store == nil || c.Client == nil || c.Wallet == nil {
		return errors.New("check arweave bundler: needs a store, a client and a wallet")
	}
	if c.MaxAge < 0 || c.MaxBytes < 0 || c.MaxItems < 0 || c.Poll < 0 || c.RepostAfter < 0 || c.KeepSeen < 0 {
		return errors.New("check arweave bundler: negative limit")
	}
	if c.MaxFee != "" {
		if _, err := l1.ParseWinston(c.MaxFee); err != nil {
			return fmt.Errorf("check arweave bundler: MaxFee: %w", err)
		}
	}
	return nil
}

// Bundler is the writing half of an Archive. Put and PostTx make things durable; Run takes them to Arweave and watches
// them until they are confirmed. Two Bundlers must not share one store.
type Bundler struct {
	cfg    BundlerConfig
	maxFee *big.Int
	wake   chan struct{}
	flush  atomic.Bool // items do not wait for company any more

	settled, reposts atomic.Uint64 // transactions, since the start

	stepLock sync.Mutex // one Step at a time

	lock    sync.Mutex
	loaded  bool                        // what the store holds is in the fields below
	claimed map[ans104.ID]chan struct{} // items that a Put is writing now; closed when it is done
	items   int                         // waiting in the queue
	bytes   int64                       // of those
	flights map[ans104.ID]*flight       // signed and not yet confirmed

	cutPause pause // after a failed attempt to close a bundle
	prunedAt time.Time
}

// NewBundler builds a Bundler; it reads nothing yet.
func NewBundler(cfg BundlerConfig) (*Bundler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.MaxAge = orDefault(cfg.MaxAge, defaultMaxAge)
	cfg.MaxBytes = orDefault(cfg.MaxBytes, int64(defaultMaxBytes))
	cfg.MaxItems = orDefault(cfg.MaxItems, defaultMaxItems)
	cfg.Depth = orDefault(cfg.Depth, defaultDepth)
	cfg.Poll = orDefault(cfg.Poll, defaultPoll)
	cfg.RepostAfter = orDefault(cfg.RepostAfter, defaultRepostAfter)
	cfg.KeepSeen = orDefault(cfg.KeepSeen, defaultKeepSeen)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	maxFee, err := l1.ParseWinston(orDefault(cfg.MaxFee, defaultMaxFee))
	if err != nil {
		return nil, err
	}
	return &Bundler{
		cfg: cfg, maxFee: maxFee, wake: make(chan struct{}, 1),
		claimed: map[ans104.ID]chan struct{}{}, flights: map[ans104.ID]*flight{},
	}, nil
}

// Backlog says what is not settled yet.
type Backlog struct {
	// Items and Bytes wait in the queue for a bundle.
	Items int   `json:"items"`
	Bytes int64 `json:"bytes"`
	// InFlight counts transactions that are signed but not confirmed to the configured depth.
	InFlight int `json:"inFlight"`
	// Unposted counts those of them that no gateway has taken yet.
	Unposted int `json:"unposted"`
	// Oldest is what has waited for longest, in the queue or in flight; nil when nothing waits.
	Oldest *Unsettled `json:"oldest,omitempty"`
}

// Unsettled is an item, or a transaction of PostTx, that is not confirmed to the configured depth.
type Unsettled struct {
	ID ans104.ID `json:"id"`
	// Age is the time since it was Put or posted, nanoseconds in JSON.
	Age time.Duration `json:"age"`
}

// Settlements is what a Bundler has done since it was made, in transactions.
type Settlements struct {
	// Confirmed are those that reached the configured depth.
	Confirmed uint64
	// Reposts counts how often one was posted again, or its data, because the network had lost it.
	Reposts uint64
}

// Settlements counts the work done.
func (b *Bundler) Settlements() Settlements {
	return Settlements{Confirmed: b.settled.Load(), Reposts: b.reposts.Load()}
}

// Backlog reports the work ahead.
func (b *Bundler) Backlog() (Backlog, error) {
	if err := b.load(); err != nil {
		return Backlog{}, err
	}
	head, err := b.cfg.Store.Pending(itemQueue, 0, 1)
	if err != nil {
		return Backlog{}, storeError("read queue", err)
	}
	var oldest ans104.ID
	var since time.Time
	older := func(at time.Time) bool { return since.IsZero() || at.Before(since) }
	if len(head) > 0 {
		if id, ok := queuedID(head[0].Value); ok {
			oldest, since = id, queuedAt(head[0].Value)
		}
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	unposted := 0
	for _, f := range b.flights {
		if !f.posted.Load() {
			unposted++
		}
		if at := time.UnixMilli(f.record.Since); f.record.Since > 0 && older(at) {
			oldest, since = f.record.Oldest, at
		}
	}
	log := Backlog{Items: b.items, Bytes: b.bytes, InFlight: len(b.flights), Unposted: unposted}
	if !since.IsZero() {
		log.Oldest = &Unsettled{ID: oldest, Age: max(b.cfg.Clock().Sub(since), 0)}
	}
	return log, nil
}

// Run settles what is queued until ctx ends, then returns nil. An error means that the store no longer works.
func (b *Bundler) Run(ctx context.Context) error {
	for {
		next, err := b.Step(ctx)
		if err != nil {
			return err
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-b.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Step does everything that is due now, once, and says how long nothing more will be. Run calls it; tests may, to go
// through time by hand. Only a failing store is an error: what Arweave refuses or does not answer is logged and tried
// again later.
func (b *Bundler) Step(ctx context.Context) (time.Duration, error) {
	b.stepLock.Lock()
	defer b.stepLock.Unlock()
	if err := b.load(); err != nil {
		return 0, err
	}
	now := b.cfg.Clock()
	wait := b.cfg.MaxAge
	for ctx.Err() == nil {
		due, err := b.dueIn(now)
		if err != nil {
			return 0, err
		}
		if due > 0 {
			wait = min(wait, due)
			break
		}
		if err := b.cut(ctx); err != nil {
			if isStoreError(err) {
				return 0, err
			}
			b.cfg.Log.Warn("close bundle", "err", err)
			wait = min(wait, b.cutPause.failed(now))
			break
		}
		b.cutPause.reset()
	}
	var failure error
	for _, f := range b.dueFlights(now) {
		if ctx.Err() == nil && failure == nil {
			failure = b.advance(ctx, f)
		}
		b.release(f)
	}
	if failure != nil {
		return 0, failure
	}
	if err := b.prune(now); err != nil {
		return 0, err
	}
	return max(min(wait, b.nextFlight(now)), time.Millisecond), nil
}

// dueIn says how long until the queue makes a bundle; 0 or less is now.
func (b *Bundler) dueIn(now time.Time) (time.Duration, error) {
	head, err := b.cfg.Store.Pending(itemQueue, 0, 1)
	if err != nil {
		return 0, storeError("read queue", err)
	}
	if len(head) == 0 {
		return b.cfg.MaxAge, nil
	}
	if held := b.cutPause.left(now); held > 0 {
		return held, nil
	}
	b.lock.Lock()
	full := b.items >= b.cfg.MaxItems || b.bytes >= b.cfg.MaxBytes || b.flush.Load()
	b.lock.Unlock()
	if full {
		return 0, nil
	}
	since := now.Sub(queuedAt(head[0].Value))
	if since < 0 { // the clock was set back: better early than late
		return 0, nil
	}
	return b.cfg.MaxAge - since, nil
}

// Flush makes bundles from now on of whatever there is, at once: the peer is about to stop.
func (b *Bundler) Flush() {
	b.flush.Store(true)
	b.poke()
}

// poke lets Run look again soon.
func (b *Bundler) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// errStore marks failures of the store, which end Run.
var errStore = errors.New("arweave store")

func storeError(doing string, err error) error { return fmt.Errorf("%w: %s: %w", errStore, doing, err) }

func isStoreError(err error) bool { return errors.Is(err, errStore) }
