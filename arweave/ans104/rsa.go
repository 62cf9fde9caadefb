package ans104

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"math/big"
)

const (
	// rsaLen is the length of a modulus and of a signature.
	rsaLen = 512
	// rsaExponent is the only public exponent that an Arweave wallet may have.
	rsaExponent = 65537
)

// checkModulus refuses what is not an odd number of exactly 4096 bits.
func checkModulus(owner []byte) error {
	if owner[0]&0x80 == 0 || owner[rsaLen-1]&1 == 0 {
		return fmt.Errorf("%w: RSA modulus", ErrKey)
	}
	return nil
}

// VerifyArweave checks the signature of an Arweave wallet over a message that is no item's: the deep hash of a transaction.
// Errors: ErrKey, ErrSignature, ErrMalleable.
func VerifyArweave(owner, message, signature []byte) error {
	if err := checkOwner(Arweave, owner); err != nil {
		return err
	}
	if len(signature) != rsaLen {
		return ErrSignature
	}
	return verifyRSA(owner, message, signature)
}

// verifyRSA checks RSASSA-PSS with SHA-256 and MGF1 with SHA-256, whatever the length of the salt. All
// inputs are public, so it may take the time they need: several times less than crypto/rsa takes.
func verifyRSA(owner, message, signature []byte) error {
	return newModulus(owner).verify(message, signature)
}

func (m *modulus) verify(message, signature []byte) error {
	s := new(big.Int).SetBytes(signature)
	if s.Cmp(&m.n) >= 0 {
		// s + n passes the same equation.
		return fmt.Errorf("%w: RSA signature not below the modulus", ErrMalleable)
	}
	var em [rsaLen]byte
	m.raised(s).FillBytes(em[:])
	if !verifyPSS(&em, sha256.Sum256(message)) {
		return ErrSignature
	}
	return nil
}

// verifyPSS is EMSA-PSS-VERIFY of RFC 8017 §9.1.2 for a modulus of 4096 bits, except that it finds the
// salt's length out. It unmasks em in place.
func verifyPSS(em *[rsaLen]byte, digest [sha256.Size]byte) bool {
	const dbLen = rsaLen - sha256.Size - 1
	db, h := em[:dbLen], em[dbLen:rsaLen-1]
	// The encoded message has 4095 bits: the uppermost of its bytes is not masked, and zero.
	if em[rsaLen-1] != 0xbc || db[0]&0x80 != 0 {
		return false
	}
	xorMGF1(db, h)
	db[0] &= 0x7f
	padding := 0
	for padding < dbLen && db[padding] == 0 {
		padding++
	}
	if padding == dbLen || db[padding] != 1 {
		return false
	}
	var text [8 + sha256.Size + dbLen]byte // eight zeros, the digest, the salt
	copy(text[8:], digest[:])
	n := copy(text[8+sha256.Size:], db[padding+1:])
	return sha256.Sum256(text[:8+sha256.Size+n]) == [sha256.Size]byte(h)
}

// xorMGF1 applies the mask of RFC 8017 §B.2.1 with SHA-256.
func xorMGF1(out, seed []byte) {
	var block [sha256.Size + 4]byte
	copy(block[:], seed)
	for i := uint32(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(block[sha256.Size:], i)
		mask := sha256.Sum256(block[:])
		out = out[subtle.XORBytes(out, out, mask[:]):]
	}
}

type rsaSigner struct {
	key   *rsa.PrivateKey
	owner []byte
}

// NewRSASigner returns the signer of an Arweave wallet: 4096 bits and the exponent 65537. It signs with the
// longest salt, as arweave-js does.
func NewRSASigner(key *rsa.PrivateKey) (Signer, error) {
	if key == nil || key.N == nil || key.N.BitLen() != 8*rsaLen || key.E != rsaExponent {
		return nil, fmt.Errorf("new RSA signer: %w: not RSA-4096 with exponent %d", ErrKey, rsaExponent)
	}
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("new RSA signer: %w: %w", ErrKey, err)
	}
	return &rsaSigner{key: key, owner: key.N.FillBytes(make([]byte, rsaLen))}, nil
}

func (s *rsaSigner) Type() SignatureType { return Arweave }

func (s *rsaSigner) Owner() []byte { return bytes.Clone(s.owner) }

func (s *rsaSigner) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}
	sig, err := rsa.SignPSS(rand.Reader, s.key, crypto.SHA256, digest[:], opts)
	if err != nil {
		return nil, fmt.Errorf("sign RSA-PSS: %w", err)
	}
	return sig, nil
}
