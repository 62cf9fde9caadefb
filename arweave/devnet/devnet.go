// Package devnet is an embedded Arweave: a chain, a gateway and an index in one process, for development, demonstrations
// and tests of settlement (§3.3).
//
// Transactions, chunks and items come in, over HTTP or as an arweave.Archive; blocks come out, by the clock or on demand,
// and with them everything a gateway serves: data by range, status, GraphQL.
//
// It never accepts what a real network would refuse for its form: signatures, data roots and chunk proofs are checked. It
// has no consensus, no mining work and no peers, and its tokens come from /mint: never expose it to people you distrust.
//
// Start at New and Mine, then chain.go (blocks), accept.go (what comes in), http.go (the routes).
package devnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"sync"
	"time"

	"github.com/graphql-go/graphql"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

const (
	defaultMaxBytes = 256 << 20
	// endowment is what the devnet's own wallet starts with, in winston.
	endowment = "1000000000000000000000000"
)

// ErrBlocks says that a request to mine is out of bounds.
var ErrBlocks = errors.New("mine between 1 and 10000 blocks, forward in time")

// Config says where a Devnet keeps its chain and how it makes blocks.
type Config struct {
	// Store keeps the chain; whoever opened it closes it, after the Devnet.
	Store store.Store
	// Dir is opened as a store of its own when Store is nil; Close closes it.
	Dir string
	// Wallet signs the bundles of items that were posted directly. Nil is a key made at the first start and kept in the
	// store.
	Wallet *arweave.Wallet
	// BlockEvery is how often Run makes a block; 0 leaves that to Mine.
	BlockEvery time.Duration
	// Clock is the time; nil is time.Now.
	Clock func() time.Time
	// MaxBytes bounds one transaction's data and one item. 0 is 256 MiB.
	MaxBytes int64
	// AllowFaults lets SetFaults and Reorganise, and the routes of the same names, spoil the gateway for tests.
	AllowFaults bool
	// Log receives each block at debug level; nil discards.
	Log *slog.Logger
}

// Devnet is an embedded Arweave. It is safe for concurrent use.
type Devnet struct {
	cfg     Config
	store   store.Store
	owned   bool // the store is ours to close
	wallet  *arweave.Wallet
	schema  graphql.Schema
	handler http.Handler

	misconduct misconduct

	// writeLock is held by everything that changes the chain; items that wait for a block only need lock.
	writeLock sync.Mutex
	// acceptLock is held for reading while items are queued, so that a reorganisation misses none; taken after writeLock.
	acceptLock sync.RWMutex

	lock sync.RWMutex // guards chain and index; held briefly, never while the store works
	chain
	index
}

var _ arweave.Archive = (*Devnet)(nil)

// New opens a Devnet and reads its chain; an empty store gets a first block. Close it when done.
func New(cfg Config) (*Devnet, error) {
	if cfg.BlockEvery < 0 || cfg.MaxBytes < 0 {
		return nil, errors.New("check devnet: negative limit")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Devnet{cfg: cfg, store: cfg.Store}
	if d.store == nil {
		if cfg.Dir == "" {
			return nil, errors.New("check devnet: needs a store or a folder")
		}
		opened, err := store.Open(cfg.Dir, store.Options{})
		if err != nil {
			return nil, fmt.Errorf("open devnet: %w", err)
		}
		d.store, d.owned = opened, true
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open devnet: %w", err), d.Close())
	}
	return d, nil
}

func (d *Devnet) open() error {
	var err error
	if d.schema, err = d.newSchema(); err != nil {
		return err
	}
	d.handler = d.routes()
	if err := d.openWallet(); err != nil {
		return err
	}
	if err := d.openFaults(); err != nil {
		return err
	}
	return d.load()
}

// openWallet takes the configured wallet, or the one in the store, or a new one.
func (d *Devnet) openWallet() error {
	if d.cfg.Wallet != nil {
		d.wallet = d.cfg.Wallet
		return nil
	}
	raw, err := d.store.Get(walletKey)
	if err == nil {
		d.wallet, err = arweave.ParseWallet(raw)
		return err
	}
	if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read wallet: %w", err)
	}
	if d.wallet, err = arweave.NewWallet(); err != nil {
		return err
	}
	if raw, err = d.wallet.MarshalJWK(); err != nil {
		return err
	}
	var batch store.Batch
	batch.Put(walletKey, raw)
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("keep wallet: %w", err)
	}
	return nil
}

// Wallet is the wallet that signs the devnet's own bundles; it has tokens from the first block on.
func (d *Devnet) Wallet() *arweave.Wallet { return d.wallet }

// Close releases what New opened. Nothing is lost without it: what was answered is durable.
func (d *Devnet) Close() error {
	if !d.owned {
		return nil
	}
	return d.store.Close()
}

// Run makes blocks until ctx ends, then returns nil; an error means that the store no longer works.
func (d *Devnet) Run(ctx context.Context) error {
	if d.cfg.BlockEvery == 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(d.cfg.BlockEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := d.Mine(1); err != nil {
				return err
			}
		}
	}
}

// ServeHTTP serves the gateway.
func (d *Devnet) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Put accepts items; the next block carries them in a bundle.
func (d *Devnet) Put(ctx context.Context, items ...*ans104.Item) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.acceptItems(items)
}

// Get returns an item, mined or waiting.
func (d *Devnet) Get(ctx context.Context, id ans104.ID) (*ans104.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	raw, err := d.itemBytes(id)
	if err != nil {
		return nil, fmt.Errorf("get item %s: %w", id, err)
	}
	item, err := ans104.Parse(raw)
	if err == nil && item.ID() != id {
		err = ans104.ErrID
	}
	if err == nil {
		err = item.Verify()
	}
	if err != nil {
		return nil, fmt.Errorf("get item %s: %w: %w", id, arweave.ErrCorrupt, err)
	}
	return item, nil
}

// Tx returns a mined transaction with its data, and verifies it.
func (d *Devnet) Tx(ctx context.Context, id ans104.ID) (*l1.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.lock.RLock()
	e := d.byID[id]
	isThere := e != nil && e.isTx() && e.root.complete && e.root.block != nil
	d.lock.RUnlock()
	if !isThere {
		return nil, fmt.Errorf("get transaction %s: %w", id, arweave.ErrNotFound)
	}
	tx := *e.root.tx
	if tx.DataSize > 0 {
		var err error
		if tx.Data, err = d.readFile(dataFiles+hexID(id), 0, -1); err != nil {
			return nil, fmt.Errorf("get transaction %s: %w", id, err)
		}
	}
	if err := tx.Verify(); err != nil {
		return nil, fmt.Errorf("get transaction %s: %w: %w", id, arweave.ErrCorrupt, err)
	}
	return &tx, nil
}

// Height returns the newest block's height.
func (d *Devnet) Height(context.Context) (uint64, error) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	return d.tip().Height, nil
}

// Confirm says how deep an item or transaction is.
func (d *Devnet) Confirm(_ context.Context, id ans104.ID) (arweave.Confirmation, error) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	e := d.byID[id]
	if e == nil {
		return arweave.Confirmation{}, fmt.Errorf("confirm %s: %w", id, arweave.ErrNotFound)
	}
	conf := arweave.Confirmation{ID: id}
	if b := e.block(); b != nil {
		conf.Height, conf.Block, conf.Depth = b.Height, b.Hash, d.tip().Height-b.Height+1
	}
	return conf, nil
}

// Block returns a block.
func (d *Devnet) Block(_ context.Context, height uint64) (arweave.Block, error) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	if height >= uint64(len(d.blocks)) {
		return arweave.Block{}, fmt.Errorf("get block %d: %w", height, arweave.ErrNotFound)
	}
	b := d.blocks[height]
	return arweave.Block{
		Height: b.Height, IndepHash: b.Hash, Previous: b.Previous, Timestamp: b.Timestamp, Txs: append([]ans104.ID(nil), b.Txs...),
	}, nil
}

// PostTx signs a transaction with the devnet's wallet and accepts it.
func (d *Devnet) PostTx(ctx context.Context, draft arweave.TxDraft) (ans104.ID, error) {
	if err := ctx.Err(); err != nil {
		return ans104.ID{}, err
	}
	if int64(len(draft.Data)) > d.cfg.MaxBytes {
		return ans104.ID{}, fmt.Errorf("post transaction: %w: %d bytes", arweave.ErrTooLarge, len(draft.Data))
	}
	tx, err := d.wallet.SignTx(draft, d.anchor(), d.price(uint64(len(draft.Data))))
	if err != nil {
		return ans104.ID{}, err
	}
	if err := d.acceptTx(tx); err != nil {
		return ans104.ID{}, err
	}
	return tx.ID, nil
}

// Query searches the index.
func (d *Devnet) Query(_ context.Context, q arweave.Query) (arweave.Page, error) {
	f := filter{
		ids: q.IDs, byIDs: len(q.IDs) > 0, owners: q.Owners, ascending: q.Ascending, first: pageSize(q.First),
		min: q.MinHeight, max: q.MaxHeight,
	}
	for _, t := range q.Tags {
		f.tags = append(f.tags, tagFilter{name: t.Name, values: t.Values})
	}
	if err := f.setAfter(q.After); err != nil {
		return arweave.Page{}, fmt.Errorf("query devnet: %w", err)
	}
	nodes, more := d.find(f)
	page := arweave.Page{HasNext: more}
	for _, n := range nodes {
		found := arweave.Found{ID: n.id, Owner: n.address, Tags: n.tags, Cursor: n.cursor}
		if n.block != nil {
			found.Height = n.block.Height
		}
		if n.parent != nil {
			parent := *n.parent
			found.BundledIn = &parent
		}
		page.Found = append(page.Found, found)
	}
	return page, nil
}

// price is the fee for so many bytes: small, but not nothing, so that wallets without tokens are noticed.
func (d *Devnet) price(size uint64) *big.Int {
	fee := new(big.Int).Add(big.NewInt(1000), new(big.Int).SetUint64(size))
	return fee.Mul(fee, new(big.Int).SetUint64(max(d.Faults().PriceTimes, 1)))
}
