package arweave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/aopeer/aopeer/arweave/l1"
)

// postTx gives a transaction, and its data, to the first gateway that takes both, or with everywhere to all. It is safe
// to repeat. Unless maybe, every gateway that was asked has refused it, so that nobody has it on our account.
func (c *Client) postTx(ctx context.Context, tx *l1.Tx, everywhere bool) (maybe bool, err error) {
	_, err = retry(ctx, c, func() (struct{}, error) {
		failures := make([]error, 0, len(c.gateways))
		for _, g := range c.inOrder() {
			err := c.postTxTo(ctx, g, tx)
			c.heard(ctx, g, err)
			if !errors.Is(err, ErrRejected) {
				maybe = true
			}
			if err == nil && !everywhere {
				return struct{}{}, nil
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %w", g.base, err))
			}
			if ctx.Err() != nil {
				break
			}
		}
		if everywhere && len(failures) < len(c.gateways) && ctx.Err() == nil {
			return struct{}{}, nil
		}
		return struct{}{}, strongest(failures)
	})
	if err != nil {
		return maybe, fmt.Errorf("post transaction %s: %w", tx.ID, err)
	}
	return maybe, nil
}

func (c *Client) postTxTo(ctx context.Context, g *gateway, tx *l1.Tx) error {
	chunks, err := Chunks(tx.Data)
	if err != nil {
		return err
	}
	header := tx
	if len(chunks) > 1 {
		header = tx.Bare()
	}
	if err := c.postJSON(ctx, g, "/tx", header); err != nil {
		return err
	}
	if len(chunks) <= 1 {
		return nil
	}
	return c.postChunks(ctx, g, chunks)
}

func (c *Client) postChunks(ctx context.Context, g *gateway, chunks []l1.Chunk) error {
	// One at a time: some gateways assemble by arrival.
	for i := range chunks {
		if err := c.postJSON(ctx, g, "/chunk", &chunks[i]); err != nil {
			// Not a refusal of the transaction, whatever the gateway says: that was taken.
			return fmt.Errorf("chunk %d of %d: %v", i+1, len(chunks), err)
		}
	}
	return nil
}

func (c *Client) postJSON(ctx context.Context, g *gateway, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	resp, err := c.send(ctx, g, request{
		method: http.MethodPost, path: path, contentType: "application/json", body: body, limit: maxShortAnswer,
	})
	if err != nil {
		return err
	}
	switch resp.status {
	case http.StatusOK, http.StatusAccepted, http.StatusAlreadyReported:
		return nil
	case http.StatusBadRequest, http.StatusPaymentRequired, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrRejected, statusError(path, resp))
	}
	return statusError(path, resp)
}
