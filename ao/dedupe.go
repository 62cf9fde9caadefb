package ao

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// tagBundle carries the ID of the attestations that travel with a pushed message. Its name is one that no module uses,
// because a messenger strips what a module says of itself.
const tagBundle = "Attestation-Bundle"

// PushDigest is equal for two copies of one pushed message: the deep hash without the signer and without what a
// messenger adds of its own (Pushed-For and the origin tags), but with the bundle, which is a tag, and with whether
// the target trusts the signer. So any number of messengers may deliver a message and it is scheduled once, while a
// stranger's copy of a public outbox never stands in for the trusted one, nor a bare copy for the secured one (§5.2.2). It is
// of an item; a transaction has none.
func PushDigest(m Message, trusted bool) [32]byte {
	return copyDigest(m, trusted, "Pushed-For", "From-Slot", "From-Index", "From-Result")
}

// EffectDigest is PushDigest without the bundle: of the copies that the log holds and the process accepts, one takes
// effect.
func EffectDigest(m Message, trusted bool) [32]byte {
	return copyDigest(m, trusted, "Pushed-For", "From-Slot", "From-Index", "From-Result", tagBundle)
}

func copyDigest(m Message, trusted bool, ignored ...string) [32]byte {
	tags := m.Tags().Without(ignored...)
	slices.SortStableFunc(tags, func(a, b Tag) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	// The canonical block may be larger than the one that was signed, and than an item's may be, so that this must not
	// be left to a codec that refuses: a message in a log always has a digest.
	var raw []byte
	if len(tags) > 0 {
		raw = binary.AppendVarint(raw, int64(len(tags)))
		for _, t := range tags {
			raw = append(binary.AppendVarint(raw, int64(len(t.Name))), t.Name...)
			raw = append(binary.AppendVarint(raw, int64(len(t.Value))), t.Value...)
		}
		raw = append(raw, 0)
	}
	deep := ans104.DeepHash([]byte("dataitem"), []byte("1"), []byte("1"), nil, m.is.Target(), m.Anchor(), raw, m.Data())
	trust := byte(0)
	if trusted {
		trust = 1
	}
	return sha256.Sum256(append(deep[:], trust))
}
