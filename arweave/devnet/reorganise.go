package devnet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

// Reorganise replaces the last n blocks by as many empty ones of another branch. The transactions of the replaced blocks
// wait to be mined again, or with lose are gone, as if no node of the other branch had ever had them; those that name a
// replaced block as their anchor are gone in any case, since they are void on the other branch. Gone ones are refunded
// and may be posted again. Bundles of items that were Put here are never lost. It is one commit and outlives a restart.
func (d *Devnet) Reorganise(n int, lose bool) error {
	if !d.cfg.AllowFaults {
		return ErrFaults
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	d.acceptLock.Lock()
	defer d.acceptLock.Unlock()
	if n < 1 || n >= len(d.blocks) {
		return fmt.Errorf("reorganise %d of %d blocks: %w", n, len(d.blocks), ErrBlocks)
	}
	var batch store.Batch
	kept, replaced := d.blocks[:len(d.blocks)-n], d.blocks[len(d.blocks)-n:]
	tip := kept[len(kept)-1]
	for i, old := range replaced {
		next := &block{
			Height: old.Height, Previous: tip.Hash, Timestamp: old.Timestamp, Txs: []ans104.ID{}, Weave: tip.Weave,
			Branch: d.records, // never used before
		}
		next.Hash = hashBlock(next)
		raw, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("encode block: %w", err)
		}
		batch.Append(blockLog, d.records+uint64(i), raw)
		tip = next
	}
	d.dropTxs(replaced, lose, &batch)
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("reorganise: %w", err)
	}
	// What a restart would read is what is true from now on.
	after := &Devnet{cfg: d.cfg, store: d.store, wallet: d.wallet}
	if err := after.load(); err != nil {
		return fmt.Errorf("reorganise: %w", err)
	}
	d.lock.Lock()
	d.chain, d.index = after.chain, after.index
	d.lock.Unlock()
	d.cfg.Log.Debug("reorganised", "blocks", n, "height", tip.Height)
	return nil
}

// dropTxs takes out what has no place on the new branch, and gives the money back.
func (d *Devnet) dropTxs(replaced []*block, lose bool, batch *store.Batch) {
	void, mined := map[string]bool{}, map[*block]bool{}
	for _, b := range replaced {
		void[b.Hash], mined[b] = true, true
	}
	balances := map[string]*big.Int{}
	change := func(address string, by *big.Int) {
		if balances[address] == nil {
			balances[address] = d.Balance(address)
		}
		if balances[address].Add(balances[address], by).Sign() < 0 {
			balances[address].SetInt64(0) // spent already; a devnet makes up for it
		}
	}
	for id, t := range d.txs {
		waiting := t.block == nil
		if t.own || (!waiting && !mined[t.block]) {
			continue
		}
		if !void[base64.RawURLEncoding.EncodeToString(t.tx.Anchor)] && (waiting || !lose) {
			continue
		}
		batch.Delete(txKeys + hexID(id))
		change(t.tx.OwnerAddress(), new(big.Int).Add(t.tx.Reward, t.tx.Quantity))
		if to := base64.RawURLEncoding.EncodeToString(t.tx.Target); to != "" {
			change(to, new(big.Int).Neg(t.tx.Quantity))
		}
	}
	for address, balance := range balances {
		batch.Put(balanceKeys+address, []byte(balance.String()))
	}
}
