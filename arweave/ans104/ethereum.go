package ans104

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/sha3"
)

const (
	// ethereumKeyLen is an uncompressed point: 4, X, Y.
	ethereumKeyLen = 65
	// ecdsaSignatureLen is r, s and the recovery byte.
	ecdsaSignatureLen = 65
)

func checkEthereumKey(owner []byte) error {
	if owner[0] != secp256k1.PubKeyFormatUncompressed {
		return fmt.Errorf("%w: not an uncompressed point", ErrKey)
	}
	return nil
}

func verifyEthereum(owner, message, signature []byte) error {
	digest := personalDigest(message)
	key, err := recoverKey(digest[:], signature)
	if err != nil {
		return err
	}
	if !bytes.Equal(key, owner) {
		return ErrSignature
	}
	return nil
}

// recoverKey returns the uncompressed point that signed the digest. One signature has exactly one accepted
// form: s in its lower half, and the recovery byte, 27 or 28, that leads to the key.
func recoverKey(digest, signature []byte) ([]byte, error) {
	v := signature[64]
	if v != 27 && v != 28 {
		return nil, fmt.Errorf("%w: recovery byte %d", ErrMalleable, v)
	}
	var s secp256k1.ModNScalar
	if overflow := s.SetByteSlice(signature[32:64]); overflow || s.IsOverHalfOrder() {
		return nil, fmt.Errorf("%w: ECDSA s in its upper half", ErrMalleable)
	}
	var compact [ecdsaSignatureLen]byte
	compact[0] = v
	copy(compact[1:], signature[:64])
	key, _, err := ecdsa.RecoverCompact(compact[:], digest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return key.SerializeUncompressed(), nil
}

// personalDigest is what Ethereum's personal_sign signs.
func personalDigest(message []byte) [32]byte {
	return keccak([]byte("\x19Ethereum Signed Message:\n"), strconv.AppendInt(nil, int64(len(message)), 10), message)
}

// keccak is Keccak-256 with the padding from before SHA-3, as Ethereum has it.
func keccak(parts ...[]byte) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

type ethereumSigner struct{ key *secp256k1.PrivateKey }

// NewEthereumSigner returns the signer of an Ethereum wallet, whose private key has 32 bytes.
func NewEthereumSigner(key []byte) (Signer, error) {
	k, err := parseEthereumKey(key)
	if err != nil {
		return nil, fmt.Errorf("new Ethereum signer: %w", err)
	}
	return &ethereumSigner{key: k}, nil
}

func parseEthereumKey(key []byte) (*secp256k1.PrivateKey, error) {
	var scalar secp256k1.ModNScalar
	if len(key) != secp256k1.PrivKeyBytesLen {
		return nil, fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	if overflow := scalar.SetByteSlice(key); overflow || scalar.IsZero() {
		return nil, fmt.Errorf("%w: not below the group order", ErrKey)
	}
	return secp256k1.NewPrivateKey(&scalar), nil
}

func (s *ethereumSigner) Type() SignatureType { return Ethereum }

func (s *ethereumSigner) Owner() []byte { return s.key.PubKey().SerializeUncompressed() }

func (s *ethereumSigner) Sign(message []byte) ([]byte, error) {
	digest := personalDigest(message)
	return signDigest(s.key, digest[:]), nil
}

// signDigest returns r, s and the recovery byte.
func signDigest(key *secp256k1.PrivateKey, digest []byte) []byte {
	compact := ecdsa.SignCompact(key, digest, false)
	return append(compact[1:len(compact):len(compact)], compact[0])
}
