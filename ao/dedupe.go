package ao

import (
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// PushDigest is equal for two copies of one pushed message: the deep hash without the signer and without what a
// messenger adds of its own (Pushed-For and the origin tags), but with the bundle, which is a tag, and with whether
// the target trusts the signer. So any number of messengers may deliver a message and it is taken once, while a
// stranger's copy of a public outbox never stands in for the trusted one (§5.2.2).
func PushDigest(m Message, trusted bool) ([32]byte, error) {
	tags := m.Tags().Without("Pushed-For", "From-Slot", "From-Index", "From-Result")
	slices.SortStableFunc(tags, func(a, b Tag) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	raw, err := ans104.EncodeTags(tags)
	if err != nil {
		return [32]byte{}, err
	}
	deep := ans104.DeepHash([]byte("dataitem"), []byte("1"), []byte("1"), nil, m.Item().Target(), m.Anchor(), raw, m.Data())
	trust := byte(0)
	if trusted {
		trust = 1
	}
	return sha256.Sum256(append(deep[:], trust)), nil
}
