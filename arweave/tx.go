package arweave

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"

	"github.com/everFinance/goar/types"
	"github.com/everFinance/goar/utils"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// txFormat is the format of the transactions that are signed here.
const txFormat = 2

// SignTx builds and signs a transaction. The result carries the draft's data inline and is known to verify.
func (w *Wallet) SignTx(draft TxDraft, anchor []byte, reward *big.Int) (*l1.Tx, error) {
	if err := draft.validate(); err != nil {
		return nil, err
	}
	quantity := draft.Quantity
	if quantity == "" {
		quantity = "0"
	}
	tags := make([]types.Tag, len(draft.Tags))
	for i, t := range draft.Tags {
		tags[i] = types.Tag(t)
	}
	built := &types.Transaction{
		Format: txFormat, LastTx: l1.Encode64(anchor), Target: draft.Target, Quantity: quantity, Tags: utils.TagsEncode(tags),
		DataSize: strconv.Itoa(len(draft.Data)), Reward: reward.String(),
	}
	if err := utils.PrepareChunks(built, draft.Data, len(draft.Data)); err != nil {
		return nil, fmt.Errorf("cut chunks: %w", err)
	}
	if err := w.signTx(built); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(built)
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	tx, err := l1.ParseJSON(raw)
	if err != nil {
		return nil, err
	}
	tx.Data = draft.Data
	if err := tx.Verify(); err != nil {
		return nil, fmt.Errorf("verify own transaction: %w", err)
	}
	return tx, nil
}

func (d *TxDraft) validate() error {
	if d.Target != "" {
		if _, err := ans104.ParseID(d.Target); err != nil {
			return fmt.Errorf("%w: target %.50q is not an address", l1.ErrTx, d.Target)
		}
	}
	if d.Quantity != "" {
		if _, err := l1.ParseWinston(d.Quantity); err != nil {
			return fmt.Errorf("%w: quantity: %w", l1.ErrTx, err)
		}
	}
	return l1.CheckTags(d.Tags)
}
