package ans104

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
)

// typedEthereumOwnerLen is an address as text: "0x" and 40 hexadecimal digits.
const typedEthereumOwnerLen = 42

func verifyTypedEthereum(owner, message, signature []byte) error {
	address, err := parseHexAddress(owner)
	if err != nil {
		return err
	}
	digest := typedDigest(address, message)
	key, err := recoverKey(digest[:], signature)
	if err != nil {
		return err
	}
	if keyAddress(key) != address {
		return ErrSignature
	}
	return nil
}

// typedDigest is the EIP-712 digest of what arbundles signs. The space in the name of the first member is
// arbundles' own, and counts.
func typedDigest(address [20]byte, message []byte) [32]byte {
	domainType := keccak([]byte("EIP712Domain(string name,string version)"))
	name, version := keccak([]byte("Bundlr")), keccak([]byte("1"))
	domain := keccak(domainType[:], name[:], version[:])

	structType := keccak([]byte("Bundlr(bytes Transaction hash,address address)"))
	hash := keccak(message)
	var word [32]byte
	copy(word[12:], address[:])
	structure := keccak(structType[:], hash[:], word[:])

	return keccak([]byte{0x19, 0x01}, domain[:], structure[:])
}

type typedEthereumSigner struct {
	key     *secp256k1.PrivateKey
	address [20]byte
}

// NewTypedEthereumSigner returns the signer of an Ethereum wallet that signs typed data. Its owner is the
// address in lower case, as arbundles writes it.
func NewTypedEthereumSigner(key []byte) (Signer, error) {
	k, err := parseEthereumKey(key)
	if err != nil {
		return nil, fmt.Errorf("new typed Ethereum signer: %w", err)
	}
	return &typedEthereumSigner{key: k, address: keyAddress(k.PubKey().SerializeUncompressed())}, nil
}

func (s *typedEthereumSigner) Type() SignatureType { return TypedEthereum }

func (s *typedEthereumSigner) Owner() []byte {
	return hex.AppendEncode([]byte("0x"), s.address[:])
}

func (s *typedEthereumSigner) Sign(message []byte) ([]byte, error) {
	digest := typedDigest(s.address, message)
	return signDigest(s.key, digest[:]), nil
}

// keyAddress is the Ethereum address of an uncompressed point.
func keyAddress(key []byte) (address [20]byte) {
	sum := keccak(key[1:])
	copy(address[:], sum[12:])
	return address
}

// parseHexAddress reads an address as ethers does: digits of one case, or of both as EIP-55 says.
func parseHexAddress(text []byte) (address [20]byte, err error) {
	if len(text) != typedEthereumOwnerLen || text[0] != '0' || text[1] != 'x' {
		return address, fmt.Errorf("%w: not an Ethereum address", ErrKey)
	}
	digits := text[2:]
	if _, err := hex.Decode(address[:], digits); err != nil {
		return address, fmt.Errorf("%w: not an Ethereum address", ErrKey)
	}
	mixed := !bytes.Equal(digits, bytes.ToLower(digits)) && !bytes.Equal(digits, bytes.ToUpper(digits))
	if mixed && string(text) != checksumAddress(address) {
		return address, fmt.Errorf("%w: wrong checksum of an Ethereum address", ErrKey)
	}
	return address, nil
}

// checksumAddress writes an address as EIP-55 does: the case of each digit is a bit of a hash.
func checksumAddress(address [20]byte) string {
	text := hex.AppendEncode([]byte("0x"), address[:])
	digits := text[2:]
	sum := keccak(digits)
	for i, c := range digits {
		nibble := sum[i/2] >> 4
		if i%2 == 1 {
			nibble = sum[i/2] & 0xf
		}
		if c >= 'a' && nibble >= 8 {
			digits[i] = c - 'a' + 'A'
		}
	}
	return string(text)
}
