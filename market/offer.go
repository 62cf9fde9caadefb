package market

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// TypeOffer is the Type tag of offers.
const TypeOffer = "Offer"

// The bounds of an offer. A sequence number is the time of signing in milliseconds.
const (
	MaxOffer     = 4 << 10        // bytes of an item
	MaxOfferLife = 30 * 60 * 1000 // ms from the sequence number to the expiry
	MaxAhead     = 2 * 60 * 1000  // ms that a sequence number may lie in the future: clocks differ

	maxNetwork    = 32
	maxFormats    = 8
	maxExtensions = 16
	maxLedgers    = 8
	maxAddrs      = 8
	maxWord       = 64  // bytes of a format or extension
	maxRegion     = 16  // bytes of a region label
	maxAddr       = 128 // bytes of a multiaddr
	maxNumber     = 1 << 53
)

// Terms are what a unit offers: at what prices it serves in a role, and what it can do.
type Terms struct {
	Network    string
	Role       Role
	Sequence   int64 // ms; the highest counts
	Expires    int64 // ms
	Prices     Parts
	Formats    []string // Module-Formats that it runs; of computers
	Extensions []string
	Memory     uint64 // the most bytes of memory a process may have, 0 for no statement
	Compute    uint64 // the most units of compute a message may take, 0 for no statement
	Region     string // a label, "" for none
	Capacity   uint32 // how much work it takes at once; 0 says that it takes none
	Ledgers    []ao.ID
	Addrs      []string // multiaddrs
}

// Offer is signed terms. It exists only parsed and verified, or just signed. It is standing: it binds nobody, but a
// quote may not ask more.
type Offer struct {
	item  *ans104.Item
	terms *Terms
	peer  Peer
}

// offerBody is an offer's data: the prices are written by the role's names and read into pricesBody.
type offerBody[P json.RawMessage | *pricesBody] struct {
	Prices     P        `json:"prices"`
	Formats    []string `json:"formats,omitempty"`
	Extensions []string `json:"extensions,omitempty"`
	Memory     uint64   `json:"memory,omitempty"`
	Compute    uint64   `json:"compute,omitempty"`
	Region     string   `json:"region,omitempty"`
	Capacity   uint32   `json:"capacity"`
	Ledgers    []ao.ID  `json:"ledgers,omitempty"`
	Addrs      []string `json:"addrs"`
}

// SignOffer makes an offer with a unit's key. Errors: BadShape, TooLarge, Absurd, TooLongLived, the signer's.
func SignOffer(s ans104.Signer, t Terms) (Offer, error) {
	if err := t.Check(); err != nil {
		return Offer{}, fmt.Errorf("sign offer: %w", err)
	}
	if s.Type() != ans104.Ed25519 {
		return Offer{}, fmt.Errorf("sign offer: %w", BadSignature)
	}
	data, err := json.Marshal(offerBody[json.RawMessage]{
		encodeParts(t.Role, t.Prices), t.Formats, t.Extensions, t.Memory, t.Compute, t.Region, t.Capacity, t.Ledgers, append([]string{}, t.Addrs...),
	})
	if err != nil {
		return Offer{}, fmt.Errorf("sign offer: %w", err)
	}
	it, err := sign(s, offerTags(t), data)
	if err != nil {
		return Offer{}, fmt.Errorf("sign offer: %w", err)
	}
	return shapeOffer(it)
}

func offerTags(t Terms) []ans104.Tag {
	return []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeOffer},
		{Name: "Network", Value: t.Network},
		{Name: "Role", Value: t.Role.String()},
		{Name: "Sequence", Value: strconv.FormatInt(t.Sequence, 10)},
		{Name: "Expires", Value: strconv.FormatInt(t.Expires, 10)},
	}
}

// ParseOffer parses and verifies an offer. Whether it is fresh is for Fresh to say. Errors: BadShape, BadSignature,
// TooLarge, Absurd, TooLongLived.
func ParseOffer(raw []byte) (Offer, error) {
	o, err := openOffer(raw)
	if err != nil {
		return Offer{}, err
	}
	if err := o.item.Verify(); err != nil {
		return Offer{}, fmt.Errorf("%w: %w", BadSignature, err)
	}
	return o, nil
}

// ParseOfferBy is ParseOffer for one of many goroutines: v takes their signatures together. worth, unless it is nil, is
// asked before the signature is looked at, which costs most; an error of it ends the matter.
func ParseOfferBy(v *ans104.Verifier, raw []byte, worth func(Peer, Terms) error) (Offer, error) {
	o, err := openOffer(raw)
	if err != nil {
		return Offer{}, err
	}
	if worth != nil {
		if err := worth(o.peer, *o.terms); err != nil {
			return Offer{}, err
		}
	}
	if err := v.Verify(o.item); err != nil {
		return Offer{}, fmt.Errorf("%w: %w", BadSignature, err)
	}
	return o, nil
}

// ParseOffers parses and verifies many at once, which is cheaper than each by itself; one error each.
func ParseOffers(raws [][]byte) ([]Offer, []error) {
	offers, errs := make([]Offer, len(raws)), make([]error, len(raws))
	var items []*ans104.Item
	var at []int
	for i, raw := range raws {
		if offers[i], errs[i] = openOffer(raw); errs[i] == nil {
			items, at = append(items, offers[i].item), append(at, i)
		}
	}
	for k, err := range ans104.VerifyBatch(items) {
		if err != nil {
			offers[at[k]], errs[at[k]] = Offer{}, fmt.Errorf("%w: %w", BadSignature, err)
		}
	}
	return offers, errs
}

// openOffer checks all but the signature.
func openOffer(raw []byte) (Offer, error) {
	if len(raw) > MaxOffer {
		return Offer{}, refuse(TooLarge, "an offer of %d bytes", len(raw))
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Offer{}, fmt.Errorf("%w: %w", BadShape, err)
	}
	return shapeOffer(it)
}

func shapeOffer(it *ans104.Item) (Offer, error) {
	if len(it.Raw()) > MaxOffer {
		return Offer{}, refuse(TooLarge, "an offer of %d bytes", len(it.Raw()))
	}
	if it.SignatureType() != ans104.Ed25519 {
		return Offer{}, refuse(BadSignature, "an offer signed by %s", it.SignatureType())
	}
	t, err := readOfferTags(it)
	if err != nil {
		return Offer{}, err
	}
	b, ok := plainOffer(it.Data(), t.Role)
	if !ok {
		if b, err = anyOffer(it.Data(), t.Role); err != nil {
			return Offer{}, err
		}
	}
	b.Network, b.Role, b.Sequence, b.Expires = t.Network, t.Role, t.Sequence, t.Expires
	t = b
	if err := t.Check(); err != nil {
		return Offer{}, err
	}
	return Offer{item: it, terms: &t, peer: PeerOf(it.Owner())}, nil
}

// anyOffer reads an offer's data. Errors: BadShape, Absurd.
func anyOffer(data []byte, r Role) (t Terms, err error) {
	var body offerBody[*pricesBody]
	if err := json.Unmarshal(data, &body); ReasonOf(err) != "" {
		return t, err
	} else if err != nil || body.Prices == nil {
		return t, refuse(BadShape, "the offer's data")
	}
	t.Prices = body.Prices.parts(r)
	t.Formats, t.Extensions, t.Memory, t.Compute = body.Formats, body.Extensions, body.Memory, body.Compute
	t.Region, t.Capacity, t.Ledgers, t.Addrs = body.Region, body.Capacity, body.Ledgers, body.Addrs
	return t, nil
}

func readOfferTags(it *ans104.Item) (t Terms, err error) {
	tags := ao.Tags(it.Tags())
	t.Network = tags.Get("Network")
	if t.Role, err = ParseRole(tags.Get("Role")); err != nil {
		return t, err
	}
	var err1, err2 error
	t.Sequence, err1 = strconv.ParseInt(tags.Get("Sequence"), 10, 64)
	t.Expires, err2 = strconv.ParseInt(tags.Get("Expires"), 10, 64)
	if err1 != nil || err2 != nil {
		return t, refuse(BadShape, "Sequence or Expires")
	}
	if !isExactly(it, offerTags(t)) {
		return t, refuse(BadShape, "the offer's tags")
	}
	return t, nil
}

// isExactly says whether the item has these tags in this order and neither target nor anchor.
func isExactly(it *ans104.Item, tags []ans104.Tag) bool {
	want, err := ans104.EncodeTags(tags)
	return err == nil && bytes.Equal(want, it.RawTags()) && len(it.Target())+len(it.Anchor()) == 0
}

// Check refuses what no offer may say. Errors: BadShape, TooLarge, Absurd, TooLongLived.
func (t *Terms) Check() error {
	switch {
	case !isLabel(t.Network, maxNetwork) || t.Role >= roles:
		return refuse(BadShape, "network %.40q, %s", t.Network, t.Role)
	case t.Sequence < 0 || t.Sequence > maxNumber || t.Expires < t.Sequence:
		return refuse(BadShape, "sequence %d, expires %d", t.Sequence, t.Expires)
	case t.Expires-t.Sequence > MaxOfferLife:
		return refuse(TooLongLived, "%d ms", t.Expires-t.Sequence)
	case t.Memory > maxNumber || t.Compute > maxNumber:
		return refuse(Absurd, "memory %d, compute %d", t.Memory, t.Compute)
	case t.Region != "" && !isLabel(t.Region, maxRegion):
		return refuse(BadShape, "region %.20q", t.Region)
	case len(t.Formats) > maxFormats || len(t.Extensions) > maxExtensions || len(t.Ledgers) > maxLedgers || len(t.Addrs) > maxAddrs:
		return refuse(TooLarge, "%d formats, %d extensions, %d ledgers, %d addresses", len(t.Formats), len(t.Extensions), len(t.Ledgers), len(t.Addrs))
	}
	for _, w := range slices.Concat(t.Formats, t.Extensions) {
		if !isWord(w, maxWord) {
			return refuse(BadShape, "format or extension %.70q", w)
		}
	}
	for _, a := range t.Addrs {
		if !isWord(a, maxAddr) || a[0] != '/' {
			return refuse(BadShape, "address %.140q", a)
		}
	}
	return t.Prices.check(t.Role)
}

// Fresh says whether the offer is of the network and holds at that time. Errors: OtherNetwork, Expired, FromFuture.
func (o Offer) Fresh(network string, now int64) error {
	switch {
	case o.terms.Network != network:
		return refuse(OtherNetwork, "%s", o.terms.Network)
	case o.terms.Expires <= now:
		return refuse(Expired, "%d ms ago", now-o.terms.Expires)
	case o.terms.Sequence-now > MaxAhead:
		return refuse(FromFuture, "%d ms", o.terms.Sequence-now)
	}
	return nil
}

// IsZero says whether this is the zero value, which is no offer.
func (o Offer) IsZero() bool { return o.item == nil }

// Terms are what is offered; what they point to must not be changed.
func (o Offer) Terms() Terms { return *o.terms }

// Peer is the seller.
func (o Offer) Peer() Peer { return o.peer }

// Key is the seller's Ed25519 key, from which its libp2p identity follows.
func (o Offer) Key() []byte { return o.item.Owner() }

// ID is the item's.
func (o Offer) ID() ao.ID { return o.item.ID() }

// Raw is the item's bytes; they must not be changed.
func (o Offer) Raw() []byte { return o.item.Raw() }

// says is what was signed, whatever the signature: one text may be signed twice and is still one offer.
func (o Offer) says() []byte { return o.item.Raw()[2+len(o.item.Signature()):] }

// block is where the unit says it is: the /24 or /48 of its first address, or the last two labels of its name; a relay's,
// if it is behind one. Units name their addresses themselves, so what is bounded by block bounds only those who have
// nothing to lose.
func (t *Terms) block() string {
	for _, a := range t.Addrs {
		parts := strings.SplitN(a, "/", 4) // "", protocol, value, rest
		if len(parts) < 3 {
			continue
		}
		switch parts[1] {
		case "ip4", "ip6":
			if ip, err := netip.ParseAddr(parts[2]); err == nil {
				return blockOf(ip.WithZone("").Unmap())
			}
		case "dns", "dns4", "dns6", "dnsaddr":
			labels := strings.Split(strings.ToLower(parts[2]), ".")
			return strings.Join(labels[max(0, len(labels)-2):], ".")
		}
	}
	return "nowhere"
}

func blockOf(ip netip.Addr) string {
	width := 48
	if ip.Is4() {
		width = 24
	}
	p, err := ip.Prefix(width)
	if err != nil {
		return "nowhere"
	}
	return p.String()
}

// isLabel says whether s is 1 to most characters of a-z, 0-9 and the hyphen.
func isLabel(s string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isWord says whether s is 1 to most printable ASCII characters without blanks.
func isWord(s string, most int) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= most
}
