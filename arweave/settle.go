package arweave

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

const (
	// anchorWindow is how many blocks after its anchor a transaction can be mined.
	anchorWindow = 50
	// maxChunkAnswer holds a chunk and its proof in base64url.
	maxChunkAnswer = (l1.MaxChunk+l1.MaxDataPath)/3*4 + maxShortAnswer
)

// advance takes one transaction one step on. Only a failing store is an error.
func (b *Bundler) advance(ctx context.Context, f *flight) error {
	now := b.cfg.Clock()
	var err error
	if f.unseen {
		err = b.send(ctx, f)
	} else {
		err = b.watch(ctx, f, now)
	}
	if err == nil || isStoreError(err) {
		return err
	}
	if ctx.Err() == nil {
		b.cfg.Log.Warn("settle transaction", "tx", f.tx.ID, "err", err)
	}
	f.pause.failed(now)
	return nil
}

// send posts a transaction and sees to a refusal.
func (b *Bundler) send(ctx context.Context, f *flight) error {
	err := b.post(ctx, f)
	if errors.Is(err, ErrRejected) {
		return b.refused(ctx, f, err)
	}
	return err
}

// watch looks how deep a transaction is that may have been posted. The watch ends at the configured depth and not before:
// what a reorganisation or a forgetful gateway takes back is posted again.
func (b *Bundler) watch(ctx context.Context, f *flight, now time.Time) error {
	conf, err := anyGateway(ctx, b.cfg.Client, func(ctx context.Context, g *gateway) (Confirmation, error) {
		conf, known, err := b.cfg.Client.txStatus(ctx, g, f.tx.ID)
		if err == nil && !known {
			err = ErrNotFound
		}
		return conf, err
	})
	unknown := errors.Is(err, ErrNotFound)
	if err != nil && !unknown {
		return err
	}
	if conf.Depth < f.depth {
		b.cfg.Log.Warn("the network reorganised a transaction away", "tx", f.tx.ID, "depth", f.depth, "now", conf.Depth)
	}
	lost := f.depth > 0 || now.Sub(time.UnixMilli(f.record.Posted)) >= b.cfg.RepostAfter
	f.depth = conf.Depth
	switch {
	case unknown && lost:
		if f.record.Posted != 0 {
			b.cfg.Log.Warn("transaction dropped by the network, posting it again", "tx", f.tx.ID)
			b.reposts.Add(1)
		}
		f.record.Posted = 0
		f.posted.Store(false)
		return b.send(ctx, f)
	case unknown:
		f.pause.wait(now, b.cfg.Poll)
		return nil
	case f.record.Posted == 0:
		return b.noteTaken(f) // by a post whose answer was lost
	case conf.Depth >= b.cfg.Depth:
		return b.conclude(ctx, f, now)
	}
	f.pause.wait(now, b.cfg.Poll)
	return nil
}

// conclude ends the watch over a transaction once more of the gateways that answer show it deep enough than do not, and one
// shows all its data. Missing chunks are posted again.
func (b *Bundler) conclude(ctx context.Context, f *flight, now time.Time) error {
	client := b.cfg.Client
	var yes, no int
	var at []*gateway
	var height uint64
	for _, g := range client.inOrder() {
		if client.isHeld(g) && yes+no > 0 {
			continue
		}
		mined, err := client.minedAt(ctx, g, f.tx.ID, b.cfg.Depth)
		client.heard(ctx, g, err)
		switch {
		case err != nil:
		case mined > 0:
			yes, height, at = yes+1, mined, append(at, g)
		default:
			no++
		}
	}
	if yes <= no {
		b.cfg.Log.Debug("depth not agreed on", "tx", f.tx.ID, "yes", yes, "no", no)
		f.pause.wait(now, b.cfg.Poll)
		return nil
	}
	data, err := b.data(f)
	if err != nil {
		return err
	}
	var failures []error
	for _, g := range at {
		missing, err := client.missingData(ctx, g, f.tx, data)
		if err == nil && len(missing) == 0 {
			b.cfg.Log.Info("settled", "tx", f.tx.ID, "block", height)
			b.settled.Add(1)
			return b.forget(f)
		}
		if err == nil {
			b.cfg.Log.Warn("chunks dropped by the network, posting them again", "tx", f.tx.ID, "chunks", len(missing))
			b.reposts.Add(1)
			err = client.postMissing(ctx, g, f.tx, data, missing)
		}
		client.heard(ctx, g, err)
		failures = append(failures, err)
	}
	if err := strongest(failures); err != nil {
		return err
	}
	f.pause.wait(now, b.cfg.Poll)
	return nil
}

// minedAt is the height of the block in which a gateway has a transaction at least so deep, 0 if not. It does not rest on
// one answer: the block has to list the transaction, and the chain to be long enough. Where blocks list nothing, as
// arlocal's do, the index has to know the transaction in that block.
func (c *Client) minedAt(ctx context.Context, g *gateway, id ans104.ID, depth uint64) (uint64, error) {
	conf, known, err := c.txStatus(ctx, g, id)
	if err != nil || !known || conf.Depth < depth {
		return 0, err
	}
	newest, err := c.heightFrom(ctx, g)
	if err != nil || newest+1 < conf.Height+depth {
		return 0, err
	}
	block, err := c.blockFrom(ctx, g, conf.Height)
	if errors.Is(err, errNoList) {
		var node *graphNode
		if node, err = c.nodeByID(ctx, g, id); err == nil && node.Block != nil && node.Block.ID == conf.Block && node.Block.Height == conf.Height {
			block.Txs = append(block.Txs, id)
		}
	}
	if err != nil {
		return 0, err
	}
	if block.IndepHash != conf.Block || !slices.Contains(block.Txs, id) {
		return 0, fmt.Errorf("%w: status and block disagree", ErrCorrupt)
	}
	return conf.Height, nil
}

// missingData says which chunks of a mined transaction a gateway does not have as they were posted.
func (c *Client) missingData(ctx context.Context, g *gateway, tx *l1.Tx, data []byte) ([]l1.Chunk, error) {
	chunks, err := Chunks(data)
	if err != nil || len(chunks) == 0 {
		return nil, err
	}
	start, err := c.weaveStart(ctx, g, tx)
	var missing []l1.Chunk
	for i := 0; i < len(chunks) && err == nil; i++ {
		if len(chunks[i].Data) == 0 {
			continue
		}
		var has bool
		if has, err = c.hasChunk(ctx, g, start+1, chunks[i].Data); err == nil && !has {
			missing = append(missing, chunks[i])
		}
		start += uint64(len(chunks[i].Data))
	}
	if err == nil && len(missing) < len(chunks) {
		return missing, nil
	}
	if err != nil && !isVerdict(err) {
		return nil, err
	}
	// Gateways without the chunk interface serve the data as a whole.
	raw, err := c.rawData(ctx, g, tx.ID, int64(len(data)))
	switch {
	case err == nil && bytes.Equal(raw, data):
		return nil, nil
	case err == nil || isVerdict(err):
		return chunks, nil
	}
	return nil, err
}

// weaveStart is the position before a mined transaction's first byte.
func (c *Client) weaveStart(ctx context.Context, g *gateway, tx *l1.Tx) (uint64, error) {
	body, err := c.get(ctx, g, "/tx/"+tx.ID.String()+"/offset", maxShortAnswer)
	if err != nil {
		return 0, err
	}
	var doc struct {
		Size   json.Number `json:"size"`
		Offset json.Number `json:"offset"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return 0, fmt.Errorf("%w: offset is not JSON", ErrCorrupt)
	}
	size, sizeErr := strconv.ParseUint(doc.Size.String(), 10, 63)
	end, endErr := strconv.ParseUint(doc.Offset.String(), 10, 63)
	if sizeErr != nil || endErr != nil || size != tx.DataSize || end < size {
		return 0, fmt.Errorf("%w: offset out of bounds", ErrCorrupt)
	}
	return end - size, nil
}

func (c *Client) hasChunk(ctx context.Context, g *gateway, at uint64, want []byte) (bool, error) {
	body, err := c.get(ctx, g, "/chunk/"+strconv.FormatUint(at, 10), maxChunkAnswer)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var doc struct {
		Chunk string `json:"chunk"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return false, nil
	}
	data, err := l1.Decode64(doc.Chunk)
	return err == nil && bytes.Equal(data, want), nil
}

// postMissing posts chunks again. Data of a single chunk goes with its transaction, which some gateways then take anew.
func (c *Client) postMissing(ctx context.Context, g *gateway, tx *l1.Tx, data []byte, missing []l1.Chunk) error {
	if uint64(len(data)) <= l1.MaxChunk {
		whole := *tx
		whole.Data = data
		if err := c.postTxTo(ctx, g, &whole); err != nil && !errors.Is(err, ErrRejected) {
			return err
		}
	}
	return c.postChunks(ctx, g, missing)
}

// refused answers a no. A bundle is signed anew when its transaction cannot be mined any more: because nobody can have it,
// or because the blocks that could hold it are buried without it. Until then it is posted again and again, and two
// transactions with the same items are never on their way at once: an item is on the chain once, unless the network gives
// up a branch for that long and returns to it.
func (b *Bundler) refused(ctx context.Context, f *flight, cause error) error {
	if !f.unseen {
		height, err := b.cfg.Client.Height(ctx)
		if err != nil {
			return err
		}
		if height < f.record.SignedAt+anchorWindow+b.cfg.Depth {
			return fmt.Errorf("wait until it cannot be mined any more: %w", cause)
		}
	}
	if f.record.Fixed {
		b.cfg.Log.Error("transaction lost: the network refuses it for good", "tx", f.tx.ID, "err", cause)
		return b.forget(f)
	}
	b.cfg.Log.Warn("transaction refused, signing its bundle anew", "tx", f.tx.ID, "err", cause)
	data, err := b.data(f)
	if err != nil {
		return err
	}
	tx, height, err := b.sign(ctx, TxDraft{Tags: f.tx.Tags, Data: data})
	if err != nil {
		return err
	}
	var batch store.Batch
	batch.Delete(flightKeys + hexID(f.tx.ID))
	renewed, err := b.keep(tx, &batch, flightRecord{SignedAt: height, Oldest: f.record.Oldest, Since: f.record.Since})
	if err != nil {
		return err
	}
	b.lock.Lock()
	delete(b.flights, f.tx.ID)
	b.lock.Unlock()
	renewed.pause = f.pause // one that is refused again and again is tried ever more rarely
	renewed.pause.failed(b.cfg.Clock())
	b.release(renewed)
	if err := b.cfg.Store.RemoveFile(f.record.Data); err != nil {
		return storeError("remove transaction data", err)
	}
	return nil
}
