package arweave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// chunkJSON is a chunk on Arweave's HTTP interface.
type chunkJSON struct {
	DataRoot string `json:"data_root"`
	DataSize string `json:"data_size"`
	DataPath string `json:"data_path"`
	Offset   string `json:"offset"`
	Chunk    string `json:"chunk"`
}

// ParseChunk reads a posted chunk's JSON; Chunk.Verify says whether it is genuine.
func ParseChunk(raw []byte) (*Chunk, error) {
	var doc chunkJSON
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: chunk is not JSON: %w", ErrTx, err)
	}
	var c Chunk
	var err error
	for _, f := range []struct {
		text string
		into *[]byte
	}{{doc.DataRoot, &c.Root}, {doc.DataPath, &c.Path}, {doc.Chunk, &c.Data}} {
		if *f.into, err = decode64(f.text); err != nil {
			return nil, fmt.Errorf("%w: chunk is not base64url", ErrTx)
		}
	}
	if c.Size, err = parseDecimal(doc.DataSize); err != nil {
		return nil, fmt.Errorf("%w: chunk data_size: %w", ErrTx, err)
	}
	if c.Offset, err = parseDecimal(doc.Offset); err != nil {
		return nil, fmt.Errorf("%w: chunk offset: %w", ErrTx, err)
	}
	return &c, nil
}

// MarshalJSON spells the chunk as POST /chunk takes it.
func (c *Chunk) MarshalJSON() ([]byte, error) {
	return json.Marshal(chunkJSON{
		DataRoot: encode64(c.Root), DataSize: strconv.FormatUint(c.Size, 10), DataPath: encode64(c.Path),
		Offset: strconv.FormatUint(c.Offset, 10), Chunk: encode64(c.Data),
	})
}

// postTx gives a transaction, and its data, to the first gateway that takes both, or with everywhere to all. It is safe
// to repeat. Unless maybe, every gateway that was asked has refused it, so that nobody has it on our account.
func (c *Client) postTx(ctx context.Context, tx *Tx, everywhere bool) (maybe bool, err error) {
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

func (c *Client) postTxTo(ctx context.Context, g *gateway, tx *Tx) error {
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

func (c *Client) postChunks(ctx context.Context, g *gateway, chunks []Chunk) error {
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
