package market

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// TypeQuote is the Type tag of quotes.
const TypeQuote = "Quote"

// The bounds of a quote.
const (
	MaxQuote     = 2 << 10   // bytes of an item
	MaxQuoteLife = 60 * 1000 // ms that a quote binds from when it is read, clocks' difference included
)

// Bid is what a seller binds itself to: to serve one need, before Expires, for Price.
type Bid struct {
	Network  string
	Role     Role
	Need     ao.ID // its digest
	Sequence int64 // of the offer whose prices it uses
	Expires  int64 // ms
	Price    ao.Amount
	Parts    []ao.Amount // of the price, in the order of the role's components
	Behind   uint64      // slots that must be replayed first
	Hot      bool        // the process is in memory
	Backlog  uint64      // jobs that wait before this one
}

// Quote is a signed bid. It exists only parsed and verified, or just signed.
type Quote struct {
	item *ans104.Item
	bid  Bid
	peer Peer
}

type quoteBody struct {
	Price   ao.Amount   `json:"price"`
	Parts   []ao.Amount `json:"parts"`
	Behind  uint64      `json:"behind"`
	Hot     bool        `json:"hot"`
	Backlog uint64      `json:"backlog"`
}

// Standing is how a seller stands towards a need: what makes serving it dear or cheap to this unit.
type Standing struct {
	Behind  uint64
	Hot     bool
	Backlog uint64
}

// PriceNeed is the bid of a unit with these terms for a need: the terms' prices times what this unit will really have to
// do. Errors: the reason for which it cannot serve the need, Absurd.
func PriceNeed(t Terms, n Need, at Standing, expires int64) (Bid, error) {
	if r := n.suits(&t); r != "" {
		return Bid{}, refuse(r, "the need of %s", n.Buyer)
	}
	counts := n.charged(at.Behind)
	parts, sum, err := bill(t.Role, &t.Prices, &counts)
	if err != nil {
		return Bid{}, err
	}
	return Bid{
		Network: t.Network, Role: t.Role, Need: n.Digest(), Sequence: t.Sequence, Expires: expires,
		Price: sum, Parts: parts, Behind: at.Behind, Hot: at.Hot, Backlog: at.Backlog,
	}, nil
}

// SignQuote makes a quote with a unit's key. Errors: BadShape, BadSum, the signer's.
func SignQuote(s ans104.Signer, b Bid) (Quote, error) {
	if err := b.check(); err != nil {
		return Quote{}, fmt.Errorf("sign quote: %w", err)
	}
	data, err := json.Marshal(quoteBody{b.Price, slices.Concat([]ao.Amount{}, b.Parts), b.Behind, b.Hot, b.Backlog})
	if err != nil {
		return Quote{}, fmt.Errorf("sign quote: %w", err)
	}
	it, err := sign(s, quoteTags(b), data)
	if err != nil {
		return Quote{}, fmt.Errorf("sign quote: %w", err)
	}
	return shapeQuote(it)
}

func quoteTags(b Bid) []ans104.Tag {
	return []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeQuote},
		{Name: "Network", Value: b.Network},
		{Name: "Role", Value: b.Role.String()},
		{Name: "Need", Value: b.Need.String()},
		{Name: "Sequence", Value: strconv.FormatInt(b.Sequence, 10)},
		{Name: "Expires", Value: strconv.FormatInt(b.Expires, 10)},
	}
}

// ParseQuote parses and verifies a quote. Whether it answers a need is for Check to say. Errors: BadShape,
// BadSignature, TooLarge, BadSum.
func ParseQuote(raw []byte) (Quote, error) {
	if len(raw) > MaxQuote {
		return Quote{}, refuse(TooLarge, "a quote of %d bytes", len(raw))
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Quote{}, fmt.Errorf("%w: %w", BadShape, err)
	}
	q, err := shapeQuote(it)
	if err != nil {
		return Quote{}, err
	}
	if err := it.Verify(); err != nil {
		return Quote{}, fmt.Errorf("%w: %w", BadSignature, err)
	}
	return q, nil
}

// shapeQuote checks all but the signature.
func shapeQuote(it *ans104.Item) (Quote, error) {
	if len(it.Raw()) > MaxQuote {
		return Quote{}, refuse(TooLarge, "a quote of %d bytes", len(it.Raw()))
	}
	if it.SignatureType() != ans104.Ed25519 {
		return Quote{}, refuse(BadSignature, "a quote signed by %s", it.SignatureType())
	}
	var b Bid
	var err, err1, err2, err3 error
	tags := ao.Tags(it.Tags())
	b.Network = tags.Get("Network")
	b.Role, err = ParseRole(tags.Get("Role"))
	b.Need, err1 = ao.ParseID(tags.Get("Need"))
	b.Sequence, err2 = strconv.ParseInt(tags.Get("Sequence"), 10, 64)
	b.Expires, err3 = strconv.ParseInt(tags.Get("Expires"), 10, 64)
	if err != nil || err1 != nil || err2 != nil || err3 != nil || !isExactly(it, quoteTags(b)) {
		return Quote{}, refuse(BadShape, "the quote's tags")
	}
	var body quoteBody
	if err := json.Unmarshal(it.Data(), &body); err != nil {
		return Quote{}, refuse(BadShape, "the quote's data")
	}
	b.Price, b.Parts, b.Behind, b.Hot, b.Backlog = body.Price, body.Parts, body.Behind, body.Hot, body.Backlog
	if err := b.check(); err != nil {
		return Quote{}, err
	}
	return Quote{item: it, bid: b, peer: PeerOf(it.Owner())}, nil
}

func (b *Bid) check() error {
	switch {
	case !isLabel(b.Network, maxNetwork) || b.Role >= roles || b.Need.IsZero():
		return refuse(BadShape, "network %.40q, %s", b.Network, b.Role)
	case b.Sequence < 0 || b.Sequence > maxNumber || b.Expires < 0 || b.Expires > maxNumber:
		return refuse(BadShape, "sequence %d, expires %d", b.Sequence, b.Expires)
	case len(b.Parts) != len(PartNames(b.Role)):
		return refuse(BadShape, "%d parts", len(b.Parts))
	}
	sum, err := total(b.Parts)
	if err != nil {
		return err
	}
	if sum.Cmp(b.Price) != 0 {
		return refuse(BadSum, "%s, not %s", sum, b.Price)
	}
	return nil
}

// Check says whether the quote binds its seller to this need at that time, and asks no more than the seller's offer
// allows. Errors: OtherNetwork, WrongRole, OtherSeller, OtherNeed, Expired, TooLongLived,
// StaleOffer, FarBehind, OverOffer.
func (q Quote) Check(n Need, o Offer, now int64) error {
	b, t := &q.bid, o.terms
	switch {
	case t == nil || q.IsZero():
		return refuse(OtherSeller, "no offer or no quote")
	case b.Network != n.Network:
		return refuse(OtherNetwork, "%s", b.Network)
	case b.Role != n.Role:
		return refuse(WrongRole, "%s", b.Role)
	case q.peer != o.peer:
		return refuse(OtherSeller, "%s", q.peer)
	case b.Need != n.Digest():
		return refuse(OtherNeed, "%s", b.Need)
	case b.Expires <= now:
		return refuse(Expired, "%d ms ago", now-b.Expires)
	case b.Expires-now > MaxQuoteLife:
		return refuse(TooLongLived, "%d ms", b.Expires-now)
	case b.Sequence != t.Sequence || b.Role != t.Role || b.Network != t.Network:
		return refuse(StaleOffer, "offer %d, not %d", b.Sequence, t.Sequence)
	case b.Role == Computer && b.Behind > uint64(n.Slot)+1:
		return refuse(FarBehind, "%d slots of %d", b.Behind, uint64(n.Slot)+1)
	}
	counts := n.charged(b.Behind)
	_, most, err := bill(t.Role, &t.Prices, &counts)
	if err != nil {
		return err
	}
	if b.Price.Cmp(most) > 0 {
		return refuse(OverOffer, "%s, not %s", b.Price, most)
	}
	return nil
}

// IsZero says whether this is the zero value, which is no quote.
func (q Quote) IsZero() bool { return q.item == nil }

// Bid is what the seller is bound to.
func (q Quote) Bid() Bid { return q.bid }

// Peer is the seller.
func (q Quote) Peer() Peer { return q.peer }

// ID is the item's.
func (q Quote) ID() ao.ID { return q.item.ID() }

// Raw is the item's bytes; they must not be changed.
func (q Quote) Raw() []byte { return q.item.Raw() }
