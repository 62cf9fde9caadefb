// Package arweave settles items on Arweave and reads them back: the permanent storage layer under the scheduler's log
// (§3.3, §5.3).
//
// Signed ANS-104 items come in through Archive.Put, wait in a durable queue, and leave as bundles inside base-layer
// transactions; what comes out is items again, each checked against its ID and its signature, and the chain's blocks.
//
// It never believes a gateway: an index answer is a hint of what to fetch, and bytes that do not verify are ErrCorrupt.
// goar builds, chunks and signs transactions; it never sees bytes from the network and never opens a connection.
//
// Start at Archive, then client.go (reading) and bundler.go (writing); the base-layer transaction is in l1.
package arweave

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// Errors that callers tell apart. Everything else is a local or transport failure that may pass.
var (
	// ErrNotFound says that every gateway that answered does not know the item, transaction or block.
	ErrNotFound = errors.New("not found on arweave")
	// ErrCorrupt says that a gateway served something that is not what was asked for: a wrong ID, a signature that does
	// not verify, or an answer that cannot be parsed, and no other gateway served it intact.
	ErrCorrupt = errors.New("served by the gateway but not intact")
	// ErrUnavailable says that no gateway answered in time; the same call may succeed later.
	ErrUnavailable = errors.New("no arweave gateway answered")
	// ErrRejected says that the network refuses a transaction for good: unpaid, malformed, or its anchor has expired.
	ErrRejected = errors.New("rejected by arweave")
	// ErrTooLarge says that an item, a transaction or an answer is over the configured limit.
	ErrTooLarge = errors.New("too large")
	// ErrWallet says that a wallet file is unreadable, unsafe or not an RSA-4096 Arweave key.
	ErrWallet = errors.New("unusable arweave wallet")
	// ErrNoBundler says that this Archive only reads.
	ErrNoBundler = errors.New("this archive cannot write: no wallet is configured")
)

// Archive is the door to Arweave. It is safe for concurrent use. Whoever created it closes what is under it (the store);
// the Archive has nothing of its own to close.
type Archive interface {
	// Put hands items over for settlement. When it returns nil every item is in the durable queue and reaches Arweave
	// even after a crash. It is idempotent by ID: an item already queued or settled is not taken twice. The caller
	// vouches that the items verify. On an error some of the items may have been taken; repeating the call is safe.
	Put(ctx context.Context, items ...*ans104.Item) error

	// Get returns an item whose ID and signature have been verified here. ErrNotFound: no gateway has it. ErrCorrupt:
	// it was served, but no gateway served it intact. ErrUnavailable: nobody answered.
	Get(ctx context.Context, id ans104.ID) (*ans104.Item, error)

	// Tx returns a base-layer transaction and its data, whose ID, signature and data root have been verified here. Its
	// errors are Get's, and ErrTooLarge.
	Tx(ctx context.Context, id ans104.ID) (*l1.Tx, error)

	// Query asks the index. Its answer is never believed: it may lack items, list false ones, or mislabel them; callers
	// Get and judge what they rely on. Pages follow each other by the last Cursor of the previous one.
	Query(ctx context.Context, q Query) (Page, error)

	// Height returns the height of the newest block.
	Height(ctx context.Context) (uint64, error)

	// Confirm says how deep an item or base-layer transaction is buried: Depth 0 while pending, 1 in the newest block.
	// ErrNotFound when it is unknown. It is the gateway's word.
	Confirm(ctx context.Context, id ans104.ID) (Confirmation, error)

	// Block returns the block at a height. ErrNotFound above the newest one.
	Block(ctx context.Context, height uint64) (Block, error)

	// PostTx signs a base-layer transaction with the archive's wallet, keeps it durably, posts it, and posts it again
	// until it is confirmed; if the network has not taken it within 50 blocks it is lost, and Confirm says ErrNotFound.
	// It is not idempotent: every call is a new transaction. ErrRejected when refused at once.
	PostTx(ctx context.Context, draft TxDraft) (ans104.ID, error)
}

// Query selects items and transactions in a gateway's index. Criteria are joined by and; the values of one criterion by
// or. Empty criteria do not restrict.
type Query struct {
	// IDs restricts to these items.
	IDs []ans104.ID
	// Owners restricts to signers with these addresses.
	Owners []string
	// Tags restricts to items that carry, for each filter, a tag of that name with one of the values.
	Tags []TagFilter
	// MinHeight and MaxHeight restrict to blocks, both inclusive; 0 leaves that end open.
	MinHeight, MaxHeight uint64
	// After continues behind the entry with this cursor; "" starts.
	After string
	// First is the page size: 0 is 100, more than MaxPage is MaxPage.
	First int
	// Ascending lists the oldest block first; otherwise the newest, with pending ones in front.
	Ascending bool
}

// MaxPage is the largest page of a Query.
const MaxPage = 1000

// TagFilter asks for a tag of this name with any of these values.
type TagFilter struct {
	Name   string
	Values []string
}

// Page is one page of a Query's answer.
type Page struct {
	Found   []Found
	HasNext bool
}

// Found is what an index says about an item or transaction: unverified.
type Found struct {
	ID    ans104.ID
	Owner string
	Tags  []ans104.Tag
	// Height is the block's; 0 while pending.
	Height uint64
	// Cursor continues a Query behind this entry.
	Cursor string
	// BundledIn is the item or transaction that carries this one; nil for a base-layer transaction.
	BundledIn *ans104.ID
}

// Confirmation says where an item or transaction is settled.
type Confirmation struct {
	ID     ans104.ID
	Height uint64
	// Block is the independent hash of that block.
	Block string
	// Depth counts blocks from that one to the newest, both included; 0 while pending.
	Depth uint64
}

// Block is the part of an Arweave block that settlement looks at.
type Block struct {
	Height    uint64
	IndepHash string
	Previous  string
	// Timestamp is in seconds.
	Timestamp int64
	Txs       []ans104.ID
}

// TxDraft is a base-layer transaction before the wallet signs it. All fields are optional.
type TxDraft struct {
	// Target is the address that receives Quantity.
	Target string
	// Quantity is in winston, decimal; "" is 0.
	Quantity string
	Tags     []ans104.Tag
	Data     []byte
}

// NewArchive joins the reading and the writing half. With a nil bundler, Put and PostTx answer ErrNoBundler.
func NewArchive(client *Client, bundler *Bundler) Archive {
	return &archive{Client: client, bundler: bundler}
}

type archive struct {
	*Client
	bundler *Bundler
}

// Put queues items with the bundler.
func (a *archive) Put(ctx context.Context, items ...*ans104.Item) error {
	if a.bundler == nil {
		return ErrNoBundler
	}
	return a.bundler.Put(ctx, items...)
}

// PostTx posts a transaction with the bundler.
func (a *archive) PostTx(ctx context.Context, draft TxDraft) (ans104.ID, error) {
	if a.bundler == nil {
		return ans104.ID{}, ErrNoBundler
	}
	return a.bundler.PostTx(ctx, draft)
}
