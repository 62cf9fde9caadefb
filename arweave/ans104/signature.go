package ans104

import (
	"fmt"
	"strconv"
)

// SignatureType says which key signed an item, and how.
type SignatureType uint16

// The signature types that are understood.
const (
	// Arweave is RSA-4096-PSS with SHA-256, any salt length.
	Arweave SignatureType = 1
	// Ed25519 signs the deep hash as it is.
	Ed25519 SignatureType = 2
	// Ethereum is secp256k1 over Ethereum's personal_sign of the deep hash.
	Ethereum SignatureType = 3
	// Solana is Ed25519 over the deep hash in lower-case hexadecimal.
	Solana SignatureType = 4
	// TypedEthereum is secp256k1 over EIP-712 typed data that holds the deep hash.
	TypedEthereum SignatureType = 7
)

// String returns the name that arbundles gives the type.
func (t SignatureType) String() string {
	switch t {
	case Arweave:
		return "arweave"
	case Ed25519:
		return "ed25519"
	case Ethereum:
		return "ethereum"
	case Solana:
		return "solana"
	case TypedEthereum:
		return "typedEthereum"
	default:
		return strconv.Itoa(int(t))
	}
}

// sizes returns the lengths of signature and owner, zero for an unknown type.
func (t SignatureType) sizes() (signature, owner int) {
	switch t {
	case Arweave:
		return rsaLen, rsaLen
	case Ed25519, Solana:
		return ed25519SignatureLen, ed25519KeyLen
	case Ethereum:
		return ecdsaSignatureLen, ethereumKeyLen
	case TypedEthereum:
		return ecdsaSignatureLen, typedEthereumOwnerLen
	default:
		return 0, 0
	}
}

// checkOwner refuses an owner that cannot be a key of its type, whatever the signature.
func checkOwner(t SignatureType, owner []byte) error {
	_, n := t.sizes()
	if n == 0 {
		return fmt.Errorf("%w: %d", ErrSignatureType, uint16(t))
	}
	if len(owner) != n {
		return fmt.Errorf("%w: %d bytes, not %d", ErrKey, len(owner), n)
	}
	switch t {
	case Arweave:
		return checkModulus(owner)
	case Ethereum:
		return checkEthereumKey(owner)
	case TypedEthereum:
		_, err := parseHexAddress(owner)
		return err
	default:
		return nil
	}
}

// Verify checks the signature against the owner and every other field. Its error is nil if the item is
// what its owner signed, and otherwise wraps ErrSignature or ErrMalleable. An item that was found valid, or was just
// signed, costs nothing to verify again.
func (it *Item) Verify() error {
	if it.verified.Load() {
		return nil
	}
	message := it.DeepHash()
	return it.judged(verify(it.typ, it.Owner(), message[:], it.Signature()))
}

// judged remembers a good verdict and says which item a bad one is about.
func (it *Item) judged(err error) error {
	if err != nil {
		return fmt.Errorf("verify item %s: %w", it.id, err)
	}
	it.verified.Store(true)
	return nil
}

func verify(t SignatureType, owner, message, signature []byte) error {
	switch t {
	case Arweave:
		return verifyRSA(owner, message, signature)
	case Ed25519:
		return verifyEd25519(owner, message, signature)
	case Ethereum:
		return verifyEthereum(owner, message, signature)
	case Solana:
		return verifyEd25519(owner, solanaMessage(message), signature)
	case TypedEthereum:
		return verifyTypedEthereum(owner, message, signature)
	default:
		return ErrSignatureType
	}
}

// batchLen is how many Ed25519 signatures are verified at once. Larger batches gain little, and one bad
// signature makes its whole batch be verified singly.
const batchLen = 128

// VerifyBatch checks many items and has one answer for each: the one that Verify would give. Ed25519 and
// Solana signatures are checked together, which takes about half the time.
func VerifyBatch(items []*Item) []error { return verifyBatch(items, nil) }

func verifyBatch(items []*Item, keys *keyRing) []error {
	errs := make([]error, len(items))
	batch := newEd25519Batch(min(len(items), batchLen), keys)
	for i, it := range items {
		if it.verified.Load() {
			continue
		}
		if it.typ != Ed25519 && it.typ != Solana {
			errs[i] = it.Verify()
			continue
		}
		batch.add(i, it)
		if batch.len() == batchLen {
			batch.verify(errs)
		}
	}
	batch.verify(errs)
	return errs
}
