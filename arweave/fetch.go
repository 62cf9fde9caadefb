package arweave

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// Tx fetches a base-layer transaction with its data and verifies both; see Archive.
func (c *Client) Tx(ctx context.Context, id ans104.ID) (*l1.Tx, error) {
	tx, err := anyGateway(ctx, c, func(ctx context.Context, g *gateway) (*l1.Tx, error) { return c.txFrom(ctx, g, id) })
	if err != nil {
		return nil, fmt.Errorf("get transaction %s: %w", id, err)
	}
	return tx, nil
}

func (c *Client) txFrom(ctx context.Context, g *gateway, id ans104.ID) (*l1.Tx, error) {
	tx, err := c.headOf(ctx, g, id)
	if err != nil {
		return nil, err
	}
	if tx.DataSize > uint64(c.maxItem) {
		return nil, fmt.Errorf("%w: transaction with %d bytes of data", ErrTooLarge, tx.DataSize)
	}
	if len(tx.Data) > 0 || tx.DataSize == 0 {
		return tx, nil
	}
	if tx.Data, err = c.dataOf(ctx, g, id); err != nil {
		return nil, err
	}
	if err := tx.VerifyData(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return tx, nil
}

// headOf is the transaction as its node spells it, verified; its data may be missing.
func (c *Client) headOf(ctx context.Context, g *gateway, id ans104.ID) (*l1.Tx, error) {
	body, err := c.get(ctx, g, "/tx/"+id.String(), maxAnswer)
	if err != nil {
		return nil, err
	}
	tx, err := l1.ParseJSON(body)
	if errors.Is(err, l1.ErrFormat) { // no fault of the gateway's
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if tx.ID != id {
		return nil, fmt.Errorf("%w: another transaction, %s", ErrCorrupt, tx.ID)
	}
	if err := tx.Verify(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return tx, nil
}

// dataOf is what a gateway serves as a transaction's data: as it is, or, by nodes, in base64url.
func (c *Client) dataOf(ctx context.Context, g *gateway, id ans104.ID) ([]byte, error) {
	data, err := c.rawData(ctx, g, id, c.maxItem)
	if !errors.Is(err, ErrNotFound) {
		return data, err
	}
	text, err := c.get(ctx, g, "/tx/"+id.String()+"/data", base64Size(c.maxItem))
	if err != nil {
		return nil, err
	}
	if data, err = l1.Decode64(string(text)); err != nil {
		return nil, fmt.Errorf("%w: the data is not base64url", ErrCorrupt)
	}
	return data, nil
}

// rawData is what a gateway serves as the data of an item or transaction, as it is. Some do so under the bare ID alone.
func (c *Client) rawData(ctx context.Context, g *gateway, id ans104.ID, limit int64) ([]byte, error) {
	data, err := c.get(ctx, g, "/raw/"+id.String(), limit)
	if err == nil {
		g.servesRaw.Store(true)
		return data, nil
	}
	if !errors.Is(err, ErrNotFound) || g.servesRaw.Load() {
		return nil, err
	}
	return c.get(ctx, g, "/"+id.String(), limit)
}
