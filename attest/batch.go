package attest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// MaxBatch is the most claims that one batch holds.
const MaxBatch = 1024

// Batch is up to MaxBatch claims of consecutive slots of one process under one signature: how claims are settled.
// Its root is in a tag, so one claim of it is proved by the item's head and a path.
type Batch struct {
	item   *ans104.Item
	claims []Claim
	state  *Hash
}

// SignBatch signs claims that are in the journal already. state is the root after the last slot, nil if unknown.
// Errors: ErrClaim, the signer's.
func SignBatch(s ans104.Signer, claims []Claim, state *Hash) (Batch, error) {
	if err := checkBatch(claims); err != nil {
		return Batch{}, err
	}
	var data []byte
	leaves := make([]Hash, len(claims))
	for i, c := range claims {
		b := c.Bytes()
		leaves[i] = LeafHash(b)
		data = binary.BigEndian.AppendUint16(data, uint16(len(b)))
		data = append(data, b...)
	}
	it, err := ans104.Sign(s, ans104.Fields{Tags: rangeOf(claims, Root(leaves), state).tags(), Data: data})
	if err != nil {
		return Batch{}, fmt.Errorf("sign batch of claims: %w", err)
	}
	return Batch{item: it, claims: slices.Clone(claims), state: state}, nil
}

func checkBatch(claims []Claim) error {
	if len(claims) == 0 || len(claims) > MaxBatch {
		return fmt.Errorf("%w: a batch of %d", ErrClaim, len(claims))
	}
	for i, c := range claims {
		if err := c.check(); err != nil {
			return err
		}
		if i > 0 && c.Nonce == 0 {
			return fmt.Errorf("%w: the slots of a batch run past the last number", ErrClaim)
		}
		if c.Network != claims[0].Network || c.Process != claims[0].Process || c.Nonce != claims[0].Nonce+ao.Slot(i) {
			return fmt.Errorf("%w: a batch holds consecutive slots of one process", ErrClaim)
		}
	}
	return nil
}

// batchRange is what a batch's tags say.
type batchRange struct {
	network  string
	process  string
	from, to ao.Slot
	root     Hash
	state    *Hash // nil if the unit did not say
}

func rangeOf(claims []Claim, root Hash, state *Hash) batchRange {
	first, last := claims[0], claims[len(claims)-1]
	return batchRange{first.Network, first.Process.String(), first.Nonce, last.Nonce, root, state}
}

func (r batchRange) tags() []ans104.Tag {
	tags := []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeBatch},
		{Name: "Network", Value: r.network},
		{Name: "Process", Value: r.process},
		{Name: "From-Nonce", Value: r.from.String()},
		{Name: "To-Nonce", Value: r.to.String()},
		{Name: "Claim-Root", Value: ao.ID(r.root).String()},
	}
	if r.state != nil {
		tags = append(tags, ans104.Tag{Name: "State-Root", Value: ao.ID(*r.state).String()})
	}
	return tags
}

// readRange reads a batch's tags back; whether they are exactly those is for isExactly to say. Errors: ErrClaim.
func readRange(tags ao.Tags) (r batchRange, err error) {
	r.network, r.process = tags.Get("Network"), tags.Get("Process")
	if r.from, err = ao.ParseSlot(tags.Get("From-Nonce")); err != nil {
		return r, fmt.Errorf("%w: From-Nonce", ErrClaim)
	}
	if r.to, err = ao.ParseSlot(tags.Get("To-Nonce")); err != nil || r.to < r.from || r.to-r.from >= MaxBatch {
		return r, fmt.Errorf("%w: To-Nonce", ErrClaim)
	}
	root, err := ao.ParseID(tags.Get("Claim-Root"))
	if err != nil {
		return r, fmt.Errorf("%w: Claim-Root", ErrClaim)
	}
	r.root = Hash(root)
	if v, ok := tags.Lookup("State-Root"); ok {
		state, err := ao.ParseID(v)
		if err != nil {
			return r, fmt.Errorf("%w: State-Root", ErrClaim)
		}
		r.state = (*Hash)(&state)
	}
	return r, nil
}

// isExactly says whether the head has these tags in this order and nothing else beside them.
func isExactly(tags []ans104.Tag, raw, target, anchor []byte) bool {
	want, err := ans104.EncodeTags(tags)
	return err == nil && bytes.Equal(want, raw) && len(target)+len(anchor) == 0
}

// ParseBatch parses and verifies raw: encoding, order, root and signature. Errors: those of ans104, ErrClaim.
func ParseBatch(raw []byte) (Batch, error) {
	it, err := ans104.Parse(raw)
	if err != nil {
		return Batch{}, err
	}
	return NewBatch(it)
}

// NewBatch verifies a parsed item and takes it as a batch.
func NewBatch(it *ans104.Item) (Batch, error) {
	b, err := shapeBatch(it)
	if err != nil {
		return Batch{}, err
	}
	if err := it.Verify(); err != nil {
		return Batch{}, err
	}
	return b, nil
}

// shapeBatch checks all but the signature.
func shapeBatch(it *ans104.Item) (Batch, error) {
	d := reader{b: it.Data()}
	b := Batch{item: it}
	var leaves []Hash
	for len(d.b) > 0 && len(b.claims) < MaxBatch {
		leaf := d.take(int(d.uint(2)))
		c, err := ParseClaim(leaf)
		if err != nil || d.bad {
			return Batch{}, fmt.Errorf("%w: claim %d of the batch", ErrClaim, len(b.claims))
		}
		b.claims = append(b.claims, c)
		leaves = append(leaves, LeafHash(leaf))
	}
	if len(d.b) != 0 {
		return Batch{}, fmt.Errorf("%w: more than %d in a batch", ErrClaim, MaxBatch)
	}
	if err := checkBatch(b.claims); err != nil {
		return Batch{}, err
	}
	r, err := readRange(it.Tags())
	if err != nil {
		return Batch{}, err
	}
	b.state = r.state
	if !isExactly(rangeOf(b.claims, Root(leaves), b.state).tags(), it.RawTags(), it.Target(), it.Anchor()) {
		return Batch{}, fmt.Errorf("%w: the tags say something else than the data", ErrClaim)
	}
	return b, nil
}

// Claims are the batch's claims, in order; they must not be changed.
func (b Batch) Claims() []Claim { return b.claims }

// State is the state root after the last slot, nil if the unit did not say.
func (b Batch) State() *Hash { return b.state }

// Unit is the address of the signer.
func (b Batch) Unit() string { return b.item.OwnerAddress() }

// Item is the signed item itself.
func (b Batch) Item() *ans104.Item { return b.item }

// Proof shows that one claim is in a batch, without the other claims: the item's head, which is signed over the
// digest of its data, and a path to the root in its tags. Its size does not grow with the batch beyond ten hashes.
type Proof struct {
	Head  ans104.Head
	Claim []byte
	Path  []Hash
}

// Prove makes the proof for the i-th of Claims; another i is a fault of the caller's and panics.
func (b Batch) Prove(i int) Proof {
	leaves := make([]Hash, len(b.claims))
	for k, c := range b.claims {
		leaves[k] = LeafHash(c.Bytes())
	}
	return Proof{Head: b.item.Head(), Claim: b.claims[i].Bytes(), Path: Path(leaves, i)}
}

// Check verifies the proof by itself and returns the claim and the address of the unit that made it.
// Errors: those of ans104, ErrClaim, ErrProof.
func (p Proof) Check() (Claim, string, error) {
	if err := p.Head.Verify(); err != nil {
		return Claim{}, "", err
	}
	c, err := ParseClaim(p.Claim)
	if err != nil {
		return Claim{}, "", err
	}
	raw, err := p.Head.Tags()
	if err != nil {
		return Claim{}, "", err
	}
	r, err := readRange(raw)
	if err != nil {
		return Claim{}, "", err
	}
	if !isExactly(r.tags(), p.Head.RawTags, p.Head.Target, p.Head.Anchor) ||
		r.network != c.Network || r.process != c.Process.String() || c.Nonce < r.from || c.Nonce > r.to {
		return Claim{}, "", fmt.Errorf("%w: the claim is not of that batch", ErrClaim)
	}
	if err := CheckPath(r.root, LeafHash(p.Claim), uint64(c.Nonce-r.from), uint64(r.to-r.from)+1, p.Path); err != nil {
		return Claim{}, "", err
	}
	return c, p.Head.OwnerAddress(), nil
}
