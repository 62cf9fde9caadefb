package ans104

import (
	"crypto/ed25519"
	"fmt"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

const (
	ed25519KeyLen       = voi.PublicKeySize
	ed25519SignatureLen = voi.SignatureSize
)

// ed25519Options are the rules of acceptance, the same singly and in batches: Ed25519 implementations
// differ on small-order and non-canonical points, and peers that differ would fork a process.
func ed25519Options() *voi.Options { return &voi.Options{Verify: voi.VerifyOptionsDefault} }

// verifyEd25519 must accept exactly what ed25519Batch accepts.
func verifyEd25519(owner, message, signature []byte) error {
	if !belowOrder(signature[32:]) {
		return fmt.Errorf("%w: Ed25519 S not below the group order", ErrMalleable)
	}
	if !voi.VerifyWithOptions(owner, message, signature, ed25519Options()) {
		return ErrSignature
	}
	return nil
}

// belowOrder reports whether the 32 little-endian bytes are less than the order of the group: otherwise S
// minus the order passes the same equation.
func belowOrder(s []byte) bool {
	// 2^252 + 27742317777372353535851937790883648493, little-endian.
	const order = "\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"
	for i := len(order) - 1; i >= 0; i-- {
		if s[i] != order[i] {
			return s[i] < order[i]
		}
	}
	return false
}

// fewTogether is the most signatures that take no longer one by one, under keys that are remembered, than together.
const fewTogether = 2

// ed25519Batch gathers signatures to be verified together.
type ed25519Batch struct {
	waiting []edSignature
	options *voi.Options
	keys    *keyRing // nil remembers none
}

// edSignature is one of them.
type edSignature struct {
	at      int // which item it belongs to
	item    *Item
	message []byte
	key     *voi.ExpandedPublicKey // nil if it is not remembered
}

func newEd25519Batch(n int, keys *keyRing) *ed25519Batch {
	return &ed25519Batch{waiting: make([]edSignature, 0, n), options: ed25519Options(), keys: keys}
}

func (b *ed25519Batch) len() int { return len(b.waiting) }

// add takes the signature of item number i into the batch.
func (b *ed25519Batch) add(i int, it *Item) {
	w := edSignature{at: i, item: it}
	var hash [48]byte
	if key := b.keys.key(it.typ, it.Owner()); key != nil {
		hash, w.key = it.hashFrom(key.begun), key.point
	} else {
		hash = it.DeepHash()
	}
	if w.message = hash[:]; it.typ == Solana {
		w.message = solanaMessage(w.message)
	}
	b.waiting = append(b.waiting, w)
}

// verify empties the batch and writes each item's error to its place.
func (b *ed25519Batch) verify(errs []error) {
	if len(b.waiting) == 0 {
		return
	}
	valid := b.verdicts()
	for i, w := range b.waiting {
		if valid[i] {
			w.item.verified.Store(true)
			continue
		}
		err := ErrSignature
		if !belowOrder(w.item.Signature()[32:]) {
			err = fmt.Errorf("%w: Ed25519 S not below the group order", ErrMalleable)
		}
		errs[w.at] = fmt.Errorf("verify item %s: %w", w.item.id, err)
	}
	b.waiting = b.waiting[:0]
}

func (b *ed25519Batch) verdicts() []bool {
	if len(b.waiting) <= fewTogether {
		valid := make([]bool, len(b.waiting))
		for i, w := range b.waiting {
			if w.key != nil {
				valid[i] = voi.VerifyExpandedWithOptions(w.key, w.message, w.item.Signature(), b.options)
			} else {
				valid[i] = voi.VerifyWithOptions(w.item.Owner(), w.message, w.item.Signature(), b.options)
			}
		}
		return valid
	}
	v := voi.NewBatchVerifierWithCapacity(len(b.waiting))
	for _, w := range b.waiting {
		if w.key != nil {
			v.AddExpandedWithOptions(w.key, w.message, w.item.Signature(), b.options)
		} else {
			v.AddWithOptions(w.item.Owner(), w.message, w.item.Signature(), b.options)
		}
	}
	_, valid := v.Verify(nil)
	return valid
}

type ed25519Signer struct {
	key   voi.PrivateKey
	typ   SignatureType
	begun [48]byte // begunHash of the owner
}

// NewEd25519Signer returns the signer of a unit's key. The public half is worked out anew from the seed. A
// key of the wrong length makes every Sign fail with ErrKey.
func NewEd25519Signer(key ed25519.PrivateKey) Signer { return newEd25519Signer(key, Ed25519) }

func newEd25519Signer(key ed25519.PrivateKey, t SignatureType) *ed25519Signer {
	s := &ed25519Signer{typ: t}
	if len(key) == ed25519.PrivateKeySize {
		s.key = voi.NewKeyFromSeed(key.Seed())
		s.begun = begunHash(t, s.Owner())
	}
	return s
}

func (s *ed25519Signer) Type() SignatureType { return s.typ }

func (s *ed25519Signer) Owner() []byte {
	if s.key == nil {
		return nil
	}
	return append([]byte(nil), s.key[voi.SeedSize:]...)
}

func (s *ed25519Signer) Sign(message []byte) ([]byte, error) {
	if s.key == nil {
		return nil, fmt.Errorf("sign Ed25519: %w", ErrKey)
	}
	if s.typ == Solana {
		message = solanaMessage(message)
	}
	return voi.Sign(s.key, message), nil
}
