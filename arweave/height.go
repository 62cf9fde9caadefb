package arweave

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// heightGrace is how long the slower gateways are waited for once one has said its height.
	heightGrace = 2 * time.Second
	// enoughHeights vouch for each other: the middle one of so many is no single gateway's word.
	enoughHeights = 3
	// freeBlocks may come at once, and then twice as many as the block time says: blocks come irregularly, and a gateway
	// may have lagged behind.
	freeBlocks = 50
	// slowChain is the block time from which on a chain is taken to be Arweave itself, which began when firstBlock says;
	// a chain that began later is lower.
	slowChain  = time.Minute
	firstBlock = 1528500720
)

// Height returns the height of the newest block. All gateways are asked that have not failed of late. Of three and more
// answers the middle one counts, so that no gateway by itself moves it; of two the lower. A height that fewer than three
// vouch for must be one that the clock allows: who follows a height that is too high cannot go back.
func (c *Client) Height(ctx context.Context) (uint64, error) {
	height, err := retry(ctx, c, func() (uint64, error) { return c.agreedHeight(ctx) })
	if err != nil {
		return 0, fmt.Errorf("get height: %w", err)
	}
	return height, nil
}

// said is one gateway's answer.
type said struct {
	by     *gateway
	height uint64
	err    error
}

func (c *Client) agreedHeight(ctx context.Context) (uint64, error) {
	var heights []uint64
	var failures []error
	var by []*gateway
	for _, s := range c.askHeights(ctx) {
		c.heard(ctx, s.by, s.err)
		if s.err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.by.base, s.err))
			continue
		}
		heights, by = append(heights, s.height), append(by, s.by)
	}
	if len(heights) == 0 {
		return 0, strongest(failures)
	}
	slices.Sort(heights)
	now := c.clock()
	if len(heights) >= enoughHeights {
		middle := heights[(len(heights)-1)/2]
		c.heights.accept(middle, now)
		return middle, nil
	}
	if err := c.heights.check(heights[0], now); err != nil {
		for _, g := range by {
			c.heard(ctx, g, err)
		}
		return 0, fmt.Errorf("%s: %w", by[0].base, err)
	}
	return heights[0], nil
}

// askHeights asks all gateways at once, but those that are held back only if there is no other, and returns when all
// have answered or the slow ones are not worth waiting for.
func (c *Client) askHeights(ctx context.Context) []said {
	asked := slices.DeleteFunc(slices.Clone(c.gateways), c.isHeld)
	if len(asked) == 0 {
		asked = c.gateways
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan said, len(asked))
	for _, g := range asked {
		go func() {
			h, err := c.heightFrom(ctx, g)
			answers <- said{g, h, err}
		}()
	}
	var out []said
	var grace *time.Timer
	for range asked {
		s := <-answers
		if s.err == nil && grace == nil {
			grace = time.AfterFunc(heightGrace, cancel)
			defer grace.Stop()
		}
		out = append(out, s)
	}
	return out
}

// heightGuard holds a height against the last one and the clock.
type heightGuard struct {
	blockTime time.Duration

	lock   sync.Mutex // owns what follows
	height uint64
	at     time.Time // zero before the first
}

// accept takes a height that needs no checking.
func (g *heightGuard) accept(height uint64, now time.Time) {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.height, g.at = height, now
}

// check takes a height if there was time for so many blocks. Falling it may: chains are reorganised.
func (g *heightGuard) check(height uint64, now time.Time) error {
	g.lock.Lock()
	defer g.lock.Unlock()
	if g.blockTime > 0 {
		if most := g.most(now); height > most {
			return fmt.Errorf("%w: height %d, and the clock allows %d at most", ErrCorrupt, height, most)
		}
	}
	g.height, g.at = height, now
	return nil
}

func (g *heightGuard) most(now time.Time) uint64 {
	if g.at.IsZero() {
		if g.blockTime < slowChain {
			return maxHeight
		}
		return uint64(max(now.Sub(time.Unix(firstBlock, 0)), 0)/(g.blockTime*4/5)) + freeBlocks
	}
	return g.height + uint64(max(now.Sub(g.at), 0)/(g.blockTime/2+1)) + freeBlocks
}
