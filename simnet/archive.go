package simnet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

const (
	// blockEvery is the time between two blocks of a city's Arweave, and firstBlock its height at the beginning.
	blockEvery = 10 * time.Second
	firstBlock = 1_000_000
)

// archive is the Arweave of a city: what is put there is in the next block, as virtual time has it, and nothing is lost. It
// costs nothing and knows no transactions.
type archive struct {
	start time.Time

	lock  sync.Mutex // owns what follows
	items map[ans104.ID]int
	order []settled
}

// settled is an item with the height of its block.
type settled struct {
	item   *ans104.Item
	height uint64
}

var _ arweave.Archive = (*archive)(nil)

func newArchive() *archive {
	return &archive{start: time.Now(), items: make(map[ans104.ID]int)}
}

func (a *archive) now() uint64 { return firstBlock + uint64(time.Since(a.start)/blockEvery) }

// Put implements arweave.Archive.
func (a *archive) Put(_ context.Context, items ...*ans104.Item) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	for _, it := range items {
		if _, ok := a.items[it.ID()]; !ok {
			a.items[it.ID()] = len(a.order)
			a.order = append(a.order, settled{it, a.now() + 1})
		}
	}
	return nil
}

// Get implements arweave.Archive.
func (a *archive) Get(_ context.Context, id ans104.ID) (*ans104.Item, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	i, ok := a.items[id]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", id, arweave.ErrNotFound)
	}
	return a.order[i].item, nil
}

// Height implements arweave.Archive.
func (a *archive) Height(context.Context) (uint64, error) { return a.now(), nil }

// Confirm implements arweave.Archive.
func (a *archive) Confirm(_ context.Context, id ans104.ID) (arweave.Confirmation, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	i, ok := a.items[id]
	if !ok {
		return arweave.Confirmation{}, fmt.Errorf("confirm %s: %w", id, arweave.ErrNotFound)
	}
	c := arweave.Confirmation{ID: id}
	if at, now := a.order[i].height, a.now(); at <= now {
		c.Height, c.Block, c.Depth = at, blockHash(at), now-at+1
	}
	return c, nil
}

// Block implements arweave.Archive.
func (a *archive) Block(_ context.Context, height uint64) (arweave.Block, error) {
	if height > a.now() || height < firstBlock {
		return arweave.Block{}, fmt.Errorf("get block %d: %w", height, arweave.ErrNotFound)
	}
	return arweave.Block{
		Height: height, IndepHash: blockHash(height), Previous: blockHash(height - 1),
		Timestamp: a.start.Add(time.Duration(height-firstBlock) * blockEvery).Unix(),
	}, nil
}

func blockHash(height uint64) string { return "block-" + strconv.FormatUint(height, 10) }

// Tx implements arweave.Archive: there are none but bundles, which nobody looks at.
func (a *archive) Tx(_ context.Context, id ans104.ID) (*l1.Tx, error) {
	return nil, fmt.Errorf("get transaction %s: %w", id, arweave.ErrNotFound)
}

// PostTx implements arweave.Archive: no wallet, no transactions.
func (a *archive) PostTx(context.Context, arweave.TxDraft) (ans104.ID, error) {
	return ans104.ID{}, arweave.ErrNoBundler
}

// Query implements arweave.Archive. Cursors are places in the order of settling.
func (a *archive) Query(_ context.Context, q arweave.Query) (arweave.Page, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	first := q.First
	if first <= 0 {
		first = 100
	}
	var page arweave.Page
	now, passed := a.now(), q.After == ""
	for i := range a.order {
		if !q.Ascending {
			i = len(a.order) - 1 - i
		}
		cursor := strconv.Itoa(i)
		if !passed {
			passed = cursor == q.After
			continue
		}
		if !matches(q, a.order[i]) {
			continue
		}
		if len(page.Found) == min(first, arweave.MaxPage) {
			page.HasNext = true
			break
		}
		it, height := a.order[i].item, a.order[i].height
		if height > now {
			height = 0 // pending
		}
		page.Found = append(page.Found, arweave.Found{
			ID: it.ID(), Owner: it.OwnerAddress(), Tags: it.Tags(), Height: height, Cursor: cursor,
		})
	}
	return page, nil
}

func matches(q arweave.Query, s settled) bool {
	if len(q.IDs) > 0 && !slices.Contains(q.IDs, s.item.ID()) || len(q.Owners) > 0 && !slices.Contains(q.Owners, s.item.OwnerAddress()) ||
		s.height < q.MinHeight || q.MaxHeight > 0 && s.height > q.MaxHeight {
		return false
	}
	for _, want := range q.Tags {
		if !slices.ContainsFunc(s.item.Tags(), func(t ans104.Tag) bool {
			return t.Name == want.Name && slices.Contains(want.Values, t.Value)
		}) {
			return false
		}
	}
	return true
}
