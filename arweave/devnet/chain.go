package devnet

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// What a devnet keeps in its store.
const (
	walletKey   = "devnet/wallet"
	clockKey    = "devnet/clock"     // how far time was moved forward, in seconds
	txKeys      = "devnet/tx/"       // accepted transactions without data, by ID
	balanceKeys = "devnet/balances/" // winston, decimal, by address
	blockLog    = "devnet/blocks"    // a block replaces the one of its height and all above
	entryLog    = "devnet/entries"   // items found in bundles: see entryRecord
	itemQueue   = "devnet/items"     // items that wait for a block
	itemFiles   = "devnet/items/"    // those too large for the queue
	dataFiles   = "devnet/data/"     // complete data of transactions
	chunkFiles  = "devnet/chunks/"   // chunks of data that is not complete, by root and position
	anchorDepth = 50                 // blocks that a transaction's anchor may be old
	maxBlockTxs = 1000
	maxMine     = 10_000
	maxShift    = 8 * 365 * 24 * 3600 // seconds; GraphQL has 31 bits for a time
	queuePage   = 64
)

// chain is the state of the chain; guarded by Devnet.lock.
type chain struct {
	blocks   []*block
	records  uint64 // of the log, with the replaced ones
	byHash   map[string]*block
	txs      map[ans104.ID]*txState
	mempool  []*txState            // accepted and not mined, oldest first
	roots    map[string][]*txState // by data root, those whose data is not complete
	chunks   map[string]*chunkSet  // by data root
	balances map[string]*big.Int
	shift    int64 // seconds that time was moved forward
	nextSeq  uint64
}

// block is a block as it is kept.
type block struct {
	Height    uint64      `json:"height"`
	Hash      string      `json:"hash"`
	Previous  string      `json:"previous"`
	Timestamp int64       `json:"timestamp"`
	Txs       []ans104.ID `json:"txs"`
	Weave     uint64      `json:"weave"` // bytes of data up to and with this block
	Size      uint64      `json:"size"`
	Branch    uint64      `json:"branch,omitempty"` // tells it from the block that it replaced
}

// txState is an accepted transaction.
type txState struct {
	tx       *l1.Tx // without data
	seq      uint64 // order of acceptance
	complete bool   // its data is here
	own      bool   // the bundle of items that were Put here
	block    *block // nil while pending
	end      uint64 // position of its last byte in the weave, counted from 1; 0 while pending
}

// txRecord is a transaction as it is kept.
type txRecord struct {
	Tx       json.RawMessage `json:"tx"`
	Seq      uint64          `json:"seq"`
	Complete bool            `json:"complete"`
	Own      bool            `json:"own,omitempty"`
}

func (c *chain) tip() *block { return c.blocks[len(c.blocks)-1] }

// hashBlock is the independent hash: SHA-384 over the previous hash, height, timestamp and transaction IDs.
func hashBlock(b *block) string {
	h := sha512.New384()
	h.Write([]byte(b.Previous))
	var head [16]byte
	binary.BigEndian.PutUint64(head[:8], b.Height)
	binary.BigEndian.PutUint64(head[8:], uint64(b.Timestamp))
	h.Write(head[:])
	for _, id := range b.Txs {
		h.Write(id[:])
	}
	if b.Branch != 0 {
		h.Write(binary.BigEndian.AppendUint64(nil, b.Branch))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Mine makes n blocks now. The first of them carries all that waits.
func (d *Devnet) Mine(n int) error { return d.MineAfter(n, 0) }

// MineAfter moves time forward and makes n blocks, spread evenly over that span. Time stays moved.
func (d *Devnet) MineAfter(n int, span time.Duration) error {
	seconds := int64(span / time.Second)
	if n < 1 || n > maxMine || seconds < 0 {
		return ErrBlocks
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	start := d.shift // only changed under write
	if start+seconds > maxShift {
		return ErrBlocks
	}
	for i := range n {
		shift := start + seconds*int64(i+1)/int64(n)
		if err := d.mineOne(shift); err != nil {
			return fmt.Errorf("mine block: %w", err)
		}
	}
	return nil
}

// mineOne bundles the items that wait, makes a block and commits both at once.
func (d *Devnet) mineOne(shift int64) error {
	var batch store.Batch
	bundle, err := d.bundleQueue(&batch)
	if err != nil {
		return err
	}
	txs := append([]*txState(nil), d.mempool...)
	if bundle != nil {
		txs = append(txs, bundle.state)
	}
	if len(txs) > maxBlockTxs {
		txs = txs[:maxBlockTxs]
	}
	tip := d.tip()
	next := &block{
		Height: tip.Height + 1, Previous: tip.Hash, Weave: tip.Weave, Txs: make([]ans104.ID, 0, len(txs)),
		// Never behind the block before, and never ahead of the clock for longer than the clock was set back.
		Timestamp: max(tip.Timestamp, d.cfg.Clock().Unix()+shift),
	}
	for _, t := range txs {
		next.Txs = append(next.Txs, t.tx.ID)
		next.Size += t.tx.DataSize
	}
	next.Weave += next.Size
	next.Hash = hashBlock(next)
	raw, err := json.Marshal(next)
	if err != nil {
		return err
	}
	batch.Append(blockLog, d.records, raw)
	if shift != d.shift {
		batch.Put(clockKey, fmt.Appendf(nil, "%d", shift))
	}
	if err := d.store.Commit(&batch); err != nil {
		return err
	}
	d.lock.Lock()
	d.shift = shift
	if bundle != nil {
		d.applyTx(bundle.state)
		d.applyEntries(bundle.entries)
	}
	d.applyBlock(next)
	d.records++
	d.lock.Unlock()
	if bundle != nil {
		for _, name := range bundle.files {
			if err := d.store.RemoveFile(name); err != nil {
				return err
			}
		}
	}
	d.cfg.Log.Debug("block", "height", next.Height, "txs", len(next.Txs))
	return nil
}

// applyBlock adds a committed block and mines its transactions.
func (d *Devnet) applyBlock(b *block) {
	end := b.Weave - b.Size
	mined := make(map[ans104.ID]bool, len(b.Txs))
	for _, id := range b.Txs {
		t := d.txs[id]
		end += t.tx.DataSize
		t.block, t.end = b, end
		mined[id] = true
	}
	waiting := d.mempool[:0]
	for _, t := range d.mempool {
		if !mined[t.tx.ID] {
			waiting = append(waiting, t)
		}
	}
	d.mempool = waiting
	d.blocks = append(d.blocks, b)
	d.byHash[b.Hash] = b
}

// applyTx adds a committed transaction to the mempool and the index.
func (d *Devnet) applyTx(t *txState) {
	d.txs[t.tx.ID] = t
	d.nextSeq = max(d.nextSeq, t.seq+1)
	d.mempool = append(d.mempool, t)
	if !t.complete {
		root := string(t.tx.DataRoot)
		d.roots[root] = append(d.roots[root], t)
	}
	d.add(&entry{id: t.tx.ID, root: t})
}

// anchor is the newest block's hash.
func (d *Devnet) anchor() []byte {
	d.lock.RLock()
	defer d.lock.RUnlock()
	raw, _ := base64.RawURLEncoding.DecodeString(d.tip().Hash) // our own encoding
	return raw
}

// Mint gives an address tokens, in winston.
func (d *Devnet) Mint(address string, amount *big.Int) (*big.Int, error) {
	if _, err := ans104.ParseID(address); err != nil {
		return nil, fmt.Errorf("mint to %.50q: not an address", address)
	}
	if amount.Sign() < 0 || amount.BitLen() > 96 {
		return nil, fmt.Errorf("mint %.40s winston: out of bounds", amount)
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	balance := new(big.Int).Add(d.Balance(address), amount)
	if balance.BitLen() > 96 {
		return nil, fmt.Errorf("mint %.40s winston: out of bounds", amount)
	}
	var batch store.Batch
	batch.Put(balanceKeys+address, []byte(balance.String()))
	if err := d.store.Commit(&batch); err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	d.lock.Lock()
	d.balances[address] = balance
	d.lock.Unlock()
	return balance, nil
}

// Balance is what an address holds, in winston.
func (d *Devnet) Balance(address string) *big.Int {
	d.lock.RLock()
	defer d.lock.RUnlock()
	if b := d.balances[address]; b != nil {
		return new(big.Int).Set(b)
	}
	return new(big.Int)
}
