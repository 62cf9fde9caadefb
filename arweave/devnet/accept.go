package devnet

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// spillOver is the item size above which the queue holds a file's name.
const spillOver = 64 << 10

// errKnown says that a transaction was accepted before; it is not a failure.
var errKnown = errors.New("already known")

// acceptItems verifies items and queues those that are new. Nothing is queued if one of them is not valid.
func (d *Devnet) acceptItems(items []*ans104.Item) error {
	fresh := make([]*ans104.Item, 0, len(items))
	seen := map[ans104.ID]bool{}
	d.lock.RLock()
	for _, it := range items {
		if !seen[it.ID()] && !d.hasItem(it.ID()) {
			fresh = append(fresh, it)
		}
		seen[it.ID()] = true
	}
	d.lock.RUnlock()
	for _, it := range fresh {
		if int64(len(it.Raw())) > d.cfg.MaxBytes {
			return fmt.Errorf("accept item %s: %w: %d bytes", it.ID(), arweave.ErrTooLarge, len(it.Raw()))
		}
	}
	for i, err := range ans104.VerifyBatch(fresh) {
		if err != nil {
			return fmt.Errorf("accept item %s: %w", fresh[i].ID(), err)
		}
	}
	d.acceptLock.RLock()
	defer d.acceptLock.RUnlock()
	var batch store.Batch
	for _, it := range fresh {
		if len(it.Raw()) <= spillOver {
			batch.Push(itemQueue, append([]byte{0}, it.Raw()...))
			continue
		}
		name := itemFiles + hexID(it.ID())
		if err := d.store.PutFile(name, bytes.NewReader(it.Raw())); err != nil {
			return fmt.Errorf("accept item %s: %w", it.ID(), err)
		}
		batch.Push(itemQueue, append([]byte{1}, name...))
	}
	if batch.Len() == 0 {
		return nil
	}
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("accept items: %w", err)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, it := range fresh {
		d.add(&entry{id: it.ID(), whole: it}) // unless a block was faster
	}
	return nil
}

// queuedItem reads an entry of the item queue and says which file it needs.
func (d *Devnet) queuedItem(value []byte) (*ans104.Item, string, error) {
	if len(value) == 0 {
		return nil, "", store.ErrCorrupt
	}
	if value[0] == 0 {
		it, err := ans104.Parse(value[1:])
		return it, "", err
	}
	name := string(value[1:])
	raw, err := d.readFile(name, 0, -1)
	if err != nil {
		return nil, "", err
	}
	it, err := ans104.Parse(raw)
	return it, name, err
}

// acceptTx checks a transaction as a node would and keeps it, with its data if that is inline. errKnown when repeated.
func (d *Devnet) acceptTx(tx *l1.Tx) error {
	if err := tx.Verify(); err != nil {
		return err
	}
	if tx.DataSize > uint64(d.cfg.MaxBytes) {
		return fmt.Errorf("%w: data of %d bytes", arweave.ErrTooLarge, tx.DataSize)
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	if d.txs[tx.ID] != nil {
		return errKnown
	}
	if !d.isAnchor(tx.Anchor) {
		return fmt.Errorf("%w: last_tx is not a block of the last %d", arweave.ErrRejected, anchorDepth)
	}
	if least := d.price(tx.DataSize); tx.Reward.Cmp(least) < 0 {
		return fmt.Errorf("%w: the reward is %s winston, the price %s", arweave.ErrRejected, tx.Reward, least)
	}
	var batch store.Batch
	balances, err := d.pay(tx, &batch)
	if err != nil {
		return err
	}
	state := &txState{tx: tx.Bare(), seq: d.nextSeq, complete: uint64(len(tx.Data)) == tx.DataSize}
	found, err := d.keepTx(state, tx.Data, &batch)
	if err != nil {
		return err
	}
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("keep transaction: %w", err)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	for address, balance := range balances {
		d.balances[address] = balance
	}
	d.applyTx(state)
	d.applyEntries(found)
	return nil
}

func (d *Devnet) isAnchor(anchor []byte) bool {
	b := d.byHash[base64.RawURLEncoding.EncodeToString(anchor)]
	return b != nil && b.Height+anchorDepth >= d.tip().Height
}

// pay moves reward and quantity; it returns the balances that change.
func (d *Devnet) pay(tx *l1.Tx, batch *store.Batch) (map[string]*big.Int, error) {
	from := tx.OwnerAddress()
	cost := new(big.Int).Add(tx.Reward, tx.Quantity)
	rest := new(big.Int).Sub(d.Balance(from), cost)
	if rest.Sign() < 0 {
		return nil, fmt.Errorf("%w: %s has too few tokens for %s winston; a devnet gives some by GET /mint/%s/%s",
			arweave.ErrRejected, from, cost, from, endowment)
	}
	balances := map[string]*big.Int{from: rest}
	if to := base64.RawURLEncoding.EncodeToString(tx.Target); to != "" {
		had := balances[to]
		if had == nil {
			had = d.Balance(to)
		}
		balances[to] = new(big.Int).Add(had, tx.Quantity)
	}
	for address, balance := range balances {
		batch.Put(balanceKeys+address, []byte(balance.String()))
	}
	return balances, nil
}

// keepTx writes a transaction's data and puts its record, and what is found in its data, into batch.
func (d *Devnet) keepTx(state *txState, data []byte, batch *store.Batch) ([]entryRecord, error) {
	var found []entryRecord
	if state.complete && len(data) > 0 {
		if err := d.store.PutFile(dataFiles+hexID(state.tx.ID), bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("keep data: %w", err)
		}
		if isBundle(state.tx.Tags) {
			found = unbundle(state.tx.ID, data)
		}
	}
	if err := d.saveTx(state, batch); err != nil {
		return nil, err
	}
	return found, d.saveEntries(found, batch)
}

func (d *Devnet) saveTx(state *txState, batch *store.Batch) error {
	raw, err := json.Marshal(state.tx)
	if err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	if raw, err = json.Marshal(txRecord{Tx: raw, Seq: state.seq, Complete: state.complete, Own: state.own}); err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	batch.Put(txKeys+hexID(state.tx.ID), raw)
	return nil
}

// bundled is a bundle that mineOne is about to commit.
type bundled struct {
	state   *txState
	entries []entryRecord
	files   []string // of the items, to be removed after the commit
}

// bundleQueue puts the items that wait, up to a bundle's size, into a transaction of the devnet's own; nil if none wait.
func (d *Devnet) bundleQueue(batch *store.Batch) (*bundled, error) {
	var items []*ans104.Item
	var files []string
	var size int64
	taken := map[ans104.ID]bool{}
	for after, more := uint64(0), true; more; {
		page, err := d.store.Pending(itemQueue, after, queuePage)
		if err != nil {
			return nil, fmt.Errorf("read queue: %w", err)
		}
		for _, q := range page {
			it, file, err := d.queuedItem(q.Value)
			if err != nil {
				return nil, fmt.Errorf("read queued item: %w", err)
			}
			if len(items) > 0 && size+int64(len(it.Raw())) > maxOwnBundle {
				return d.signBundle(items, files, batch)
			}
			batch.Done(itemQueue, q.Seq)
			after = q.Seq
			if file != "" {
				files = append(files, file)
			}
			// Two Puts of one item at the same moment both queue it; and a bundle may have brought it meanwhile.
			if !taken[it.ID()] && !d.inBundle(it.ID()) {
				taken[it.ID()] = true
				items, size = append(items, it), size+int64(len(it.Raw()))
			}
		}
		more = len(page) == queuePage
	}
	return d.signBundle(items, files, batch)
}

func (d *Devnet) signBundle(items []*ans104.Item, files []string, batch *store.Batch) (*bundled, error) {
	if len(items) == 0 {
		return nil, nil
	}
	data := ans104.BuildBundle(items)
	draft := arweave.TxDraft{Tags: arweave.BundleTags(), Data: data}
	// The devnet charges itself nothing, so that it never runs dry.
	tx, err := d.wallet.SignTx(draft, d.anchor(), new(big.Int))
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	b := &bundled{state: &txState{tx: tx.Bare(), seq: d.nextSeq, complete: true, own: true}, files: files}
	b.entries, err = d.keepTx(b.state, data, batch)
	return b, err
}

// inBundle says whether an item is already in a transaction.
func (d *Devnet) inBundle(id ans104.ID) bool {
	d.lock.RLock()
	defer d.lock.RUnlock()
	e := d.byID[id]
	return e != nil && e.root != nil
}

func hexID(id ans104.ID) string { return hex.EncodeToString(id[:]) }

func isBundle(tags []ans104.Tag) bool {
	want := arweave.BundleTags()
	found := 0
	for _, w := range want {
		for _, t := range tags {
			if t == w {
				found++
				break
			}
		}
	}
	return found == len(want)
}
