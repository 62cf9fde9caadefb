package market

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// TypeDeal is the Type tag of deals.
const TypeDeal = "Deal"

// MaxDeal bounds the bytes of a deal, whose buyer may sign with an RSA key.
const MaxDeal = MaxQuote + MaxNeed + 2<<10

// Deal is a quote that the buyer accepted: the buyer's signature over need and quote. It shows by itself who owes
// what to whom, and for what. It exists only parsed and verified, or just signed.
type Deal struct {
	item  *ans104.Item
	need  Need
	quote Quote
}

// SignDeal accepts a quote for a need with the buyer's key. Errors: those of Check, the signer's.
func SignDeal(s ans104.Signer, n Need, q Quote) (Deal, error) {
	if q.IsZero() {
		return Deal{}, refuse(BadShape, "a deal without a quote")
	}
	need := n.Bytes()
	data := binary.BigEndian.AppendUint16(nil, uint16(len(need)))
	data = append(append(data, need...), q.Raw()...)
	it, err := sign(s, dealTags(n, q), data)
	if err != nil {
		return Deal{}, fmt.Errorf("sign deal: %w", err)
	}
	return shapeDeal(it)
}

func dealTags(n Need, q Quote) []ans104.Tag {
	return []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeDeal},
		{Name: "Network", Value: n.Network},
		{Name: "Quote", Value: q.ID().String()},
		{Name: "Seller", Value: q.Peer().String()},
		{Name: "Amount", Value: q.bid.Price.String()},
	}
}

// ParseDeal parses and verifies a deal, its need and its quote. Errors: BadShape, BadSignature, TooLarge, BadSum,
// OtherNetwork, WrongRole, OtherNeed, OtherBuyer.
func ParseDeal(raw []byte) (Deal, error) {
	if len(raw) > MaxDeal {
		return Deal{}, refuse(TooLarge, "a deal of %d bytes", len(raw))
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Deal{}, fmt.Errorf("%w: %w", BadShape, err)
	}
	d, err := shapeDeal(it)
	if err != nil {
		return Deal{}, err
	}
	if err := it.Verify(); err != nil {
		return Deal{}, fmt.Errorf("%w: %w", BadSignature, err)
	}
	if err := d.quote.item.Verify(); err != nil {
		return Deal{}, fmt.Errorf("%w: %w", BadSignature, err)
	}
	return d, nil
}

// shapeDeal checks all but the two signatures.
func shapeDeal(it *ans104.Item) (Deal, error) {
	r := reader{b: it.Data()}
	n, err := ParseNeed(bytes.Clone(r.take(int(r.uint(2)))))
	if err != nil {
		return Deal{}, err
	}
	if len(r.b) > MaxQuote {
		return Deal{}, refuse(TooLarge, "a quote of %d bytes", len(r.b))
	}
	inner, err := ans104.Parse(bytes.Clone(r.b))
	if err != nil {
		return Deal{}, fmt.Errorf("%w: %w", BadShape, err)
	}
	q, err := shapeQuote(inner)
	if err != nil {
		return Deal{}, err
	}
	switch {
	case q.bid.Network != n.Network:
		return Deal{}, refuse(OtherNetwork, "%s", q.bid.Network)
	case q.bid.Role != n.Role:
		return Deal{}, refuse(WrongRole, "%s", q.bid.Role)
	case q.bid.Need != n.Digest():
		return Deal{}, refuse(OtherNeed, "%s", q.bid.Need)
	case n.Buyer != PeerOf(it.Owner()):
		return Deal{}, refuse(OtherBuyer, "%s", it.OwnerAddress())
	case !isExactly(it, dealTags(n, q)):
		return Deal{}, refuse(BadShape, "the deal's tags")
	}
	return Deal{item: it, need: n, quote: q}, nil
}

// Need is what is to be done.
func (d Deal) Need() Need { return d.need }

// Quote is the price agreed.
func (d Deal) Quote() Quote { return d.quote }

// Buyer is who owes.
func (d Deal) Buyer() Peer { return d.need.Buyer }

// Seller is who is owed.
func (d Deal) Seller() Peer { return d.quote.peer }

// Owed is how much, once the work is done.
func (d Deal) Owed() ao.Amount { return d.quote.bid.Price }

// ID is the item's.
func (d Deal) ID() ao.ID { return d.item.ID() }

// Raw is the item's bytes; they must not be changed.
func (d Deal) Raw() []byte { return d.item.Raw() }

// maxTabs bounds the pairs and the open quotes that a tab remembers.
const maxTabs = 1 << 16

// Tab adds up what is owed by deals, each counted once. Not safe for concurrent use.
type Tab struct {
	owed  map[pair]ao.Amount
	dealt map[ao.ID]int64 // quotes, and when they expire: after that they cannot be dealt
}

type pair struct{ buyer, seller Peer }

// NewTab is an empty tab.
func NewTab() *Tab { return &Tab{owed: map[pair]ao.Amount{}, dealt: map[ao.ID]int64{}} }

// Add counts a deal that is made at that time. Errors: Expired, TooLongLived, DealtTwice, Busy when it remembers as much
// as it may.
func (t *Tab) Add(d Deal, now int64) error {
	q := d.quote.ID()
	expires := d.quote.bid.Expires
	if _, twice := t.dealt[q]; twice {
		return refuse(DealtTwice, "quote %s", q)
	}
	switch {
	case expires <= now:
		return refuse(Expired, "%d ms ago", now-expires)
	case expires-now > MaxQuoteLife:
		return refuse(TooLongLived, "%d ms", expires-now)
	}
	p := pair{d.Buyer(), d.Seller()}
	sum, known := t.owed[p]
	if len(t.dealt) >= maxTabs {
		t.forget(now)
	}
	if len(t.dealt) >= maxTabs || !known && len(t.owed) >= maxTabs {
		return refuse(Busy, "%d deals, %d pairs", len(t.dealt), len(t.owed))
	}
	sum, err := sum.Add(d.Owed())
	if err != nil {
		return refuse(Absurd, "a sum")
	}
	t.owed[p], t.dealt[q] = sum, expires
	return nil
}

func (t *Tab) forget(now int64) {
	for q, expires := range t.dealt {
		if expires <= now {
			delete(t.dealt, q)
		}
	}
}

// Owes is what one peer owes another.
func (t *Tab) Owes(buyer, seller Peer) ao.Amount { return t.owed[pair{buyer, seller}] }

// OwedBy is all that a peer owes, and OwedTo all that it is owed. Errors: Absurd.
func (t *Tab) OwedBy(buyer Peer) (ao.Amount, error) {
	return t.sum(func(p pair) bool { return p.buyer == buyer })
}

// OwedTo is all that a peer is owed. Errors: Absurd.
func (t *Tab) OwedTo(seller Peer) (ao.Amount, error) {
	return t.sum(func(p pair) bool { return p.seller == seller })
}

// Total is all that is owed. Errors: Absurd.
func (t *Tab) Total() (ao.Amount, error) { return t.sum(func(pair) bool { return true }) }

func (t *Tab) sum(which func(pair) bool) (sum ao.Amount, err error) {
	for p, a := range t.owed { // a sum is the same in any order
		if which(p) {
			if sum, err = sum.Add(a); err != nil {
				return ao.Amount{}, refuse(Absurd, "a sum")
			}
		}
	}
	return sum, nil
}
