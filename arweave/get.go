package arweave

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// Get fetches an item and verifies it. Three ways lead to its bytes, tried in this order: our own gateways give them as
// they are; any gateway gives the parts, from which they are put together; and the bundle that carries the item holds
// them, for items whose parts do not survive the index. Where the index does not say which bundle that is, those of the
// item's block are looked through.
func (c *Client) Get(ctx context.Context, id ans104.ID) (*ans104.Item, error) {
	item, err := anyGateway(ctx, c, func(ctx context.Context, g *gateway) (*ans104.Item, error) {
		return c.itemFrom(ctx, g, id)
	})
	if err != nil {
		return nil, fmt.Errorf("get item %s: %w", id, err)
	}
	return item, nil
}

func (c *Client) itemFrom(ctx context.Context, g *gateway, id ans104.ID) (*ans104.Item, error) {
	var first error
	if !g.lacksItems.Load() {
		item, err := c.wholeItem(ctx, g, id)
		if err == nil {
			g.servesItems.Store(true)
			return item, nil
		}
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		if errors.Is(err, ErrNotFound) && g.servesItems.Load() {
			return nil, err
		}
		first = err
	}
	node, err := c.nodeByID(ctx, g, id)
	if err != nil {
		return nil, stronger(first, err)
	}
	item, partsErr := c.itemFromParts(ctx, g, id, node)
	if partsErr == nil {
		g.lacksItems.Store(true)
		return item, nil
	}
	cause := stronger(first, partsErr)
	carriers, err := c.carriers(ctx, g, id, node, cause)
	if err != nil {
		return nil, err
	}
	for _, carrier := range carriers {
		item, err := c.itemFromBundle(ctx, g, id, carrier)
		if err == nil {
			return item, nil
		}
		cause = stronger(cause, err)
	}
	return nil, cause
}

// maxCarriers is in how many bundles an item is looked for.
const maxCarriers = 16

// carriers are the bundles that may carry an item: the one that the index names or, where it names none, those of the item's
// block and of the one after it, for arlocal may index an item while its bundle still waits for a block. cause is why they are
// needed; it is the error where there are none.
func (c *Client) carriers(ctx context.Context, g *gateway, id ans104.ID, node *graphNode, cause error) ([]ans104.ID, error) {
	if named := node.bundledIn(); named != nil {
		return []ans104.ID{*named}, nil
	}
	if c.isBaseLayer(ctx, g, id) {
		return nil, fmt.Errorf("%w: %s is a base-layer transaction, not an item", ErrNotFound, id)
	}
	if node.Block == nil || node.Block.Height == 0 {
		return nil, cause
	}
	q := Query{MinHeight: node.Block.Height, MaxHeight: node.Block.Height + 1, First: maxCarriers}
	for _, t := range BundleTags() {
		q.Tags = append(q.Tags, TagFilter{Name: t.Name, Values: []string{t.Value}})
	}
	body, err := encodeQuery(q)
	if err != nil {
		return nil, err
	}
	answer, err := c.graphql(ctx, g, body)
	if err != nil {
		return nil, stronger(cause, err)
	}
	page, err := answer.page(g)
	if err != nil {
		return nil, stronger(cause, err)
	}
	var out []ans104.ID
	for _, f := range page.Found[:min(len(page.Found), maxCarriers)] {
		out = append(out, f.ID)
	}
	return out, nil
}

// stronger keeps the more telling of two failures of one gateway; a may be nil.
func stronger(a, b error) error {
	if a == nil {
		return b
	}
	return strongest([]error{b, a})
}

// isBaseLayer tells a base-layer transaction, which is no item, from an item that is not intact.
func (c *Client) isBaseLayer(ctx context.Context, g *gateway, id ans104.ID) bool {
	body, err := c.get(ctx, g, "/tx/"+id.String(), maxAnswer)
	if err != nil {
		return false
	}
	tx, err := l1.ParseJSON(body)
	return err == nil && tx.ID == id && tx.Bare().Verify() == nil
}

// checkItem is the one place where bytes of a gateway become an item.
func checkItem(raw []byte, id ans104.ID) (*ans104.Item, error) {
	item, err := ans104.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if item.ID() != id {
		return nil, fmt.Errorf("%w: another item, %s", ErrCorrupt, item.ID())
	}
	if err := item.Verify(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return item, nil
}

func (c *Client) wholeItem(ctx context.Context, g *gateway, id ans104.ID) (*ans104.Item, error) {
	raw, err := c.get(ctx, g, "/item/"+id.String(), c.maxItem)
	if err != nil {
		return nil, err
	}
	return checkItem(raw, id)
}

// itemFromParts puts an item together from the index and its data. Nothing of it is trusted: a part that is not the
// original gives bytes that do not verify.
func (c *Client) itemFromParts(ctx context.Context, g *gateway, id ans104.ID, node *graphNode) (*ans104.Item, error) {
	if err := textTags(node.Tags); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	signature, err := l1.Decode64(node.Signature)
	if err != nil {
		return nil, fmt.Errorf("%w: the index has no signature", ErrCorrupt)
	}
	owner, err := l1.Decode64(node.Owner.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: the index has no owner key", ErrCorrupt)
	}
	target, err := l1.Decode64(node.Recipient)
	if err != nil || (len(target) != 0 && len(target) != hashSize) {
		return nil, fmt.Errorf("%w: recipient malformed", ErrCorrupt)
	}
	anchor, err := indexAnchor(node.Anchor)
	if err != nil {
		return nil, err
	}
	data, err := c.rawData(ctx, g, id, c.maxItem)
	if err != nil {
		return nil, err
	}
	item, err := ans104.Assemble(signature, owner, ans104.Fields{Target: target, Anchor: anchor, Tags: node.Tags, Data: data})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if item.ID() != id {
		return nil, fmt.Errorf("%w: another item, %s", ErrCorrupt, item.ID())
	}
	return item, nil
}

// indexAnchor reads an anchor as gateways spell it: base64url, or the bytes as they are when those are text.
func indexAnchor(text string) ([]byte, error) {
	if len(text) == 0 || len(text) == hashSize {
		return []byte(text), nil
	}
	anchor, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(anchor) != hashSize {
		return nil, fmt.Errorf("%w: anchor malformed", ErrCorrupt)
	}
	return anchor, nil
}

// itemFromBundle fetches the carrier's data and picks the item out of it.
func (c *Client) itemFromBundle(ctx context.Context, g *gateway, id, bundle ans104.ID) (*ans104.Item, error) {
	data, err := c.dataOf(ctx, g, bundle)
	if err != nil {
		return nil, err
	}
	entries, err := ans104.ParseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("%w: bundle %s: %w", ErrCorrupt, bundle, err)
	}
	for _, e := range entries {
		if e.ID == id {
			// A copy, so that one item does not keep its whole bundle in memory.
			return checkItem(append([]byte(nil), e.Raw...), id)
		}
	}
	return nil, fmt.Errorf("%w: bundle %s does not carry the item", ErrCorrupt, bundle)
}
