package devnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// load rebuilds the chain and the index from the store. It runs before anything else has the Devnet.
func (d *Devnet) load() error {
	d.chain = chain{
		byHash: map[string]*block{}, txs: map[ans104.ID]*txState{}, roots: map[string][]*txState{},
		chunks: map[string]*chunkSet{}, balances: map[string]*big.Int{},
	}
	d.index = index{byID: map[ans104.ID]*entry{}, postings: map[string][]*entry{}}
	for _, part := range []func() error{d.loadClock, d.loadBalances, d.loadTxs, d.loadBlocks, d.loadEntries, d.loadQueue, d.loadChunks, d.sweep} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Devnet) loadClock() error {
	raw, err := d.store.Get(clockKey)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		d.shift, err = strconv.ParseInt(string(raw), 10, 64)
	}
	if err != nil {
		return fmt.Errorf("load clock: %w", err)
	}
	return nil
}

func (d *Devnet) loadBalances() error {
	err := d.scan(balanceKeys, func(key string, value []byte) error {
		amount, err := l1.ParseWinston(string(value))
		if err != nil {
			return err
		}
		d.balances[key] = amount
		return nil
	})
	if err != nil {
		return fmt.Errorf("load balances: %w", err)
	}
	if d.balances[d.wallet.Address()] != nil {
		return nil
	}
	amount, err := l1.ParseWinston(endowment)
	if err != nil {
		return err
	}
	var batch store.Batch
	batch.Put(balanceKeys+d.wallet.Address(), []byte(endowment))
	d.balances[d.wallet.Address()] = amount
	return d.store.Commit(&batch)
}

// scan calls f with each key, less its prefix, and value.
func (d *Devnet) scan(prefix string, f func(key string, value []byte) error) error {
	for after := ""; ; {
		page, err := d.store.Scan(prefix, after, 1024)
		if err != nil {
			return err
		}
		for _, p := range page {
			if err := f(strings.TrimPrefix(p.Key, prefix), p.Value); err != nil {
				return fmt.Errorf("%s: %w", p.Key, err)
			}
			after = p.Key
		}
		if len(page) < 1024 {
			return nil
		}
	}
}

// eachRecord calls f with each record of a log.
func (d *Devnet) eachRecord(log string, f func(record []byte) error) error {
	for from := uint64(0); ; {
		page, err := d.store.Range(log, from, 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		for _, r := range page {
			if err := f(r); err != nil {
				return fmt.Errorf("record %d: %w", from, err)
			}
			from++
		}
	}
}

func (d *Devnet) loadTxs() error {
	var all []*txState
	err := d.scan(txKeys, func(_ string, value []byte) error {
		var r txRecord
		if err := json.Unmarshal(value, &r); err != nil {
			return err
		}
		tx, err := l1.ParseJSON(r.Tx)
		if err != nil {
			return err
		}
		all = append(all, &txState{tx: tx, seq: r.Seq, complete: r.Complete, own: r.Own})
		return nil
	})
	if err != nil {
		return fmt.Errorf("load transactions: %w", err)
	}
	slices.SortFunc(all, func(a, b *txState) int { return int(a.seq) - int(b.seq) })
	for _, t := range all {
		d.applyTx(t)
	}
	return nil
}

func (d *Devnet) loadBlocks() error {
	var branch []*block
	err := d.eachRecord(blockLog, func(record []byte) error {
		b := &block{}
		if err := json.Unmarshal(record, b); err != nil {
			return err
		}
		if b.Height > uint64(len(branch)) {
			return fmt.Errorf("block %d: %w", b.Height, store.ErrCorrupt)
		}
		branch = append(branch[:b.Height], b)
		d.records++
		return nil
	})
	if err != nil {
		return fmt.Errorf("load blocks: %w", err)
	}
	for _, b := range branch {
		for _, id := range b.Txs {
			if d.txs[id] == nil {
				return fmt.Errorf("load block %d: transaction %s: %w", b.Height, id, store.ErrCorrupt)
			}
		}
		d.applyBlock(b)
	}
	if len(d.blocks) > 0 {
		return nil
	}
	genesis := &block{Timestamp: d.cfg.Clock().Unix() + d.shift, Txs: []ans104.ID{}}
	genesis.Hash = hashBlock(genesis)
	raw, err := json.Marshal(genesis)
	if err != nil {
		return err
	}
	var batch store.Batch
	batch.Append(blockLog, 0, raw)
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("keep first block: %w", err)
	}
	d.applyBlock(genesis)
	d.records++
	return nil
}

func (d *Devnet) loadEntries() error {
	err := d.eachRecord(entryLog, func(record []byte) error {
		r, err := decodeEntry(record)
		if err != nil {
			return err
		}
		// Written ahead for a transaction that was not completed; it will be unbundled again.
		if root := d.txs[r.root]; root == nil || !root.complete {
			return nil
		}
		d.applyEntries([]entryRecord{r})
		return nil
	})
	if err != nil {
		return fmt.Errorf("load entries: %w", err)
	}
	return nil
}

// loadQueue indexes the items that wait for a block.
func (d *Devnet) loadQueue() error {
	for after := uint64(0); ; {
		page, err := d.store.Pending(itemQueue, after, queuePage)
		if err != nil {
			return fmt.Errorf("load queue: %w", err)
		}
		for _, q := range page {
			it, _, err := d.queuedItem(q.Value)
			if err != nil {
				return fmt.Errorf("load queue: %w", err)
			}
			d.add(&entry{id: it.ID(), whole: it})
			after = q.Seq
		}
		if len(page) < queuePage {
			return nil
		}
	}
}

// sweep removes files that a crash left between their writing and their commit.
func (d *Devnet) sweep() error {
	used := map[string]bool{}
	for id, t := range d.txs {
		if t.complete {
			used[dataFiles+hexID(id)] = true
		}
	}
	for _, e := range d.entries {
		if e.whole != nil {
			used[itemFiles+hexID(e.id)] = true
		}
	}
	for _, prefix := range []string{dataFiles, itemFiles} {
		files, err := d.store.ListFiles(prefix)
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
		for _, f := range files {
			if used[f.Name] {
				continue
			}
			if err := d.store.RemoveFile(f.Name); err != nil {
				return fmt.Errorf("remove file: %w", err)
			}
		}
	}
	return nil
}
