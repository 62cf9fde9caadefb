package attest

import (
	"encoding/binary"
	"fmt"

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
	it, err := ans104.Sign(s, ans104.Fields{Tags: batchTags(claims, Root(leaves), state), Data: data})
	if err != nil {
		return Batch{}, fmt.Errorf("sign batch of claims: %w", err)
	}
	return Batch{item: it, claims: claims, state: state}, nil
}

func checkBatch(claims []Claim) error {
	if len(claims) == 0 || len(claims) > MaxBatch {
		return fmt.Errorf("%w: a batch of %d", ErrClaim, len(claims))
	}
	for i, c := range claims {
		if err := c.check(); err != nil {
			return err
		}
		if c.Network != claims[0].Network || c.Process != claims[0].Process || c.Nonce != claims[0].Nonce+ao.Slot(i) {
			return fmt.Errorf("%w: a batch holds consecutive slots of one process", ErrClaim)
		}
	}
	return nil
}

func batchTags(claims []Claim, root Hash, state *Hash) []ans104.Tag {
	first, last := claims[0], claims[len(claims)-1]
	tags := []ans104.Tag{
		{Name: "Data-Protocol", Value: ao.DataProtocol},
		{Name: "Type", Value: TypeBatch},
		{Name: "Network", Value: first.Network},
		{Name: "Process", Value: first.Process.String()},
		{Name: "From-Nonce", Value: first.Nonce.String()},
		{Name: "To-Nonce", Value: last.Nonce.String()},
		{Name: "Claim-Root", Value: ao.ID(root).String()},
	}
	if state != nil {
		tags = append(tags, ans104.Tag{Name: "State-Root", Value: ao.ID(*state).String()})
	}
	return tags
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
	r := reader{b: it.Data()}
	b := Batch{item: it}
	var leaves []Hash
	for len(r.b) > 0 && len(b.claims) < MaxBatch {
		leaf := r.take(int(r.uint(2)))
		c, err := ParseClaim(leaf)
		if err != nil || r.bad {
			return Batch{}, fmt.Errorf("%w: claim %d of the batch", ErrClaim, len(b.claims))
		}
		b.claims = append(b.claims, c)
		leaves = append(leaves, LeafHash(leaf))
	}
	if len(r.b) != 0 {
		return Batch{}, fmt.Errorf("%w: more than %d in a batch", ErrClaim, MaxBatch)
	}
	if err := checkBatch(b.claims); err != nil {
		return Batch{}, err
	}
	if v, ok := it.Tag("State-Root"); ok {
		id, err := ao.ParseID(v)
		if err != nil {
			return Batch{}, fmt.Errorf("%w: State-Root", ErrClaim)
		}
		b.state = (*Hash)(&id)
	}
	want, err := ans104.EncodeTags(batchTags(b.claims, Root(leaves), b.state))
	if err != nil || string(want) != string(it.RawTags()) || len(it.Target())+len(it.Anchor()) != 0 {
		return Batch{}, fmt.Errorf("%w: the tags say something else than the data", ErrClaim)
	}
	if err := it.Verify(); err != nil {
		return Batch{}, err
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

// Prove makes the proof for the i-th claim.
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
	tags := ao.Tags(raw)
	from, err := ao.ParseSlot(tags.Get("From-Nonce"))
	if err != nil {
		return Claim{}, "", err
	}
	to, err := ao.ParseSlot(tags.Get("To-Nonce"))
	if err != nil {
		return Claim{}, "", err
	}
	root, err := ao.ParseID(tags.Get("Claim-Root"))
	if err != nil {
		return Claim{}, "", fmt.Errorf("%w: Claim-Root", ErrClaim)
	}
	if tags.Get("Type") != TypeBatch || tags.Get("Process") != c.Process.String() || tags.Get("Network") != c.Network ||
		to < from || to-from >= MaxBatch || c.Nonce < from || c.Nonce > to {
		return Claim{}, "", fmt.Errorf("%w: the claim is not of that batch", ErrClaim)
	}
	if err := CheckPath(Hash(root), LeafHash(p.Claim), uint64(c.Nonce-from), uint64(to-from)+1, p.Path); err != nil {
		return Claim{}, "", err
	}
	return c, p.Head.OwnerAddress(), nil
}
