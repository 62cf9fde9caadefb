package arweave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

const (
	blockHashSize  = 48
	hashSize       = 32 // of all other hashes
	maxHeight      = 1 << 40
	maxBlockTxs    = 10_000
	maxUnixSeconds = 1 << 40
)

func (c *Client) heightFrom(ctx context.Context, g *gateway) (uint64, error) {
	body, err := c.get(ctx, g, "/info", maxShortAnswer)
	if err != nil {
		return 0, err
	}
	var info struct {
		Height *int64 `json:"height"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return 0, fmt.Errorf("%w: /info is not JSON", ErrCorrupt)
	}
	if info.Height == nil || *info.Height < 0 || *info.Height > maxHeight {
		return 0, fmt.Errorf("%w: /info has no height", ErrCorrupt)
	}
	return uint64(*info.Height), nil
}

// Block returns the block at a height.
func (c *Client) Block(ctx context.Context, height uint64) (Block, error) {
	block, err := anyGateway(ctx, c, func(ctx context.Context, g *gateway) (Block, error) { return c.blockFrom(ctx, g, height) })
	if err != nil {
		return Block{}, fmt.Errorf("get block %d: %w", height, err)
	}
	return block, nil
}

func (c *Client) blockFrom(ctx context.Context, g *gateway, height uint64) (Block, error) {
	body, err := c.get(ctx, g, "/block/height/"+strconv.FormatUint(height, 10), maxBlockAnswer)
	if err != nil {
		return Block{}, err
	}
	return parseBlock(body, height)
}

// errNoList says that what a block has in place of its transactions is no list of IDs; the block is sound but for that.
var errNoList = errors.New("the block does not list transactions")

// parseBlock reads the fields of a block that settlement uses and insists on their form. With errNoList, which is an
// ErrCorrupt too, it gives the block without transactions.
func parseBlock(raw []byte, height uint64) (Block, error) {
	var doc struct {
		Height    *uint64  `json:"height"`
		IndepHash string   `json:"indep_hash"`
		Previous  string   `json:"previous_block"`
		Timestamp int64    `json:"timestamp"`
		Txs       []string `json:"txs"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return Block{}, fmt.Errorf("%w: block is not JSON: %w", ErrCorrupt, err)
	}
	if doc.Height == nil || *doc.Height != height {
		return Block{}, fmt.Errorf("%w: block of another height", ErrCorrupt)
	}
	if doc.Timestamp < 0 || doc.Timestamp > maxUnixSeconds || len(doc.Txs) > maxBlockTxs {
		return Block{}, fmt.Errorf("%w: block fields out of bounds", ErrCorrupt)
	}
	if !isBlockHash(doc.IndepHash) || (!isBlockHash(doc.Previous) && (height != 0 || doc.Previous != "")) {
		return Block{}, fmt.Errorf("%w: block hash malformed", ErrCorrupt)
	}
	block := Block{Height: height, IndepHash: doc.IndepHash, Previous: doc.Previous, Timestamp: doc.Timestamp}
	for _, text := range doc.Txs {
		id, err := ans104.ParseID(text)
		if err != nil {
			block.Txs = nil
			return block, fmt.Errorf("%w: %w but %.50q", ErrCorrupt, errNoList, text)
		}
		block.Txs = append(block.Txs, id)
	}
	return block, nil
}

func isBlockHash(s string) bool {
	b, err := l1.Decode64(s)
	return err == nil && len(b) == blockHashSize
}

// Confirm says how deep an item or transaction is buried.
func (c *Client) Confirm(ctx context.Context, id ans104.ID) (Confirmation, error) {
	conf, err := anyGateway(ctx, c, func(ctx context.Context, g *gateway) (Confirmation, error) {
		conf, known, err := c.txStatus(ctx, g, id)
		if err != nil || known {
			return conf, err
		}
		return c.confirmByIndex(ctx, g, id)
	})
	if err != nil {
		return Confirmation{}, fmt.Errorf("confirm %s: %w", id, err)
	}
	return conf, nil
}

// txStatus asks a node about a base-layer transaction; known is false when it has never seen it.
func (c *Client) txStatus(ctx context.Context, g *gateway, id ans104.ID) (conf Confirmation, known bool, err error) {
	path := "/tx/" + id.String() + "/status"
	resp, err := c.send(ctx, g, request{method: http.MethodGet, path: path, limit: maxShortAnswer})
	if err != nil {
		return Confirmation{}, false, err
	}
	switch resp.status {
	case http.StatusOK:
	case http.StatusAccepted:
		return Confirmation{ID: id}, true, nil
	case http.StatusNotFound, http.StatusGone, http.StatusBadRequest:
		return Confirmation{}, false, nil
	default:
		return Confirmation{}, false, statusError(path, resp)
	}
	if strings.TrimSpace(string(resp.body)) == "Pending" {
		return Confirmation{ID: id}, true, nil
	}
	var doc struct {
		Height int64  `json:"block_height"`
		Block  string `json:"block_indep_hash"`
		Depth  int64  `json:"number_of_confirmations"`
	}
	if err := json.Unmarshal(resp.body, &doc); err != nil {
		return Confirmation{}, false, fmt.Errorf("%w: status is not JSON", ErrCorrupt)
	}
	if doc.Height < 0 || doc.Height > maxHeight || doc.Depth < 0 || doc.Depth > maxHeight || !isBlockHash(doc.Block) {
		return Confirmation{}, false, fmt.Errorf("%w: status fields out of bounds", ErrCorrupt)
	}
	return Confirmation{ID: id, Height: uint64(doc.Height), Block: doc.Block, Depth: uint64(doc.Depth)}, true, nil
}

// confirmByIndex asks the gateway's index, the only place that knows which block an item's bundle is in.
func (c *Client) confirmByIndex(ctx context.Context, g *gateway, id ans104.ID) (Confirmation, error) {
	node, err := c.nodeByID(ctx, g, id)
	if err != nil {
		return Confirmation{}, err
	}
	conf := Confirmation{ID: id}
	if node.Block == nil {
		return conf, nil
	}
	newest, err := c.heightFrom(ctx, g)
	if err != nil {
		return Confirmation{}, err
	}
	conf.Height, conf.Block = node.Block.Height, node.Block.ID
	if !isBlockHash(conf.Block) {
		return Confirmation{}, fmt.Errorf("%w: block hash malformed", ErrCorrupt)
	}
	if newest >= conf.Height {
		conf.Depth = newest - conf.Height + 1
	} else {
		conf.Depth = 1 // the height is cached behind the index
	}
	return conf, nil
}

// anchor fetches what a new transaction must name to be accepted within the next 50 blocks.
func (c *Client) anchor(ctx context.Context) ([]byte, error) {
	return anyGateway(ctx, c, func(ctx context.Context, g *gateway) ([]byte, error) {
		body, err := c.get(ctx, g, "/tx_anchor", maxShortAnswer)
		if err != nil {
			return nil, err
		}
		anchor, err := l1.Decode64(strings.TrimSpace(string(body)))
		if err != nil || (len(anchor) != blockHashSize && len(anchor) != hashSize) {
			return nil, fmt.Errorf("%w: anchor malformed", ErrCorrupt)
		}
		return anchor, nil
	})
}

// price fetches the fee in winston for so many bytes, sent to target if it is not empty.
func (c *Client) price(ctx context.Context, size int, target string) (*big.Int, error) {
	path := "/price/" + strconv.Itoa(size)
	if target != "" {
		path += "/" + target
	}
	return anyGateway(ctx, c, func(ctx context.Context, g *gateway) (*big.Int, error) {
		body, err := c.get(ctx, g, path, maxShortAnswer)
		if err != nil {
			return nil, err
		}
		fee, err := l1.ParseWinston(strings.TrimSpace(string(body)))
		if err != nil {
			return nil, fmt.Errorf("%w: price: %w", ErrCorrupt, err)
		}
		return fee, nil
	})
}
