package ans104

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// Address returns the address that clients know an owner by: for Arweave and Ed25519 keys the base64url of
// their SHA-256, for both Ethereum types EIP-55, for Solana base58 of the key.
func Address(t SignatureType, owner []byte) (string, error) {
	if err := checkOwner(t, owner); err != nil {
		return "", fmt.Errorf("address: %w", err)
	}
	switch t {
	case Ethereum:
		return checksumAddress(keyAddress(owner)), nil
	case Solana:
		return base58(owner), nil
	case TypedEthereum:
		address, err := parseHexAddress(owner)
		if err != nil {
			return "", fmt.Errorf("address: %w", err)
		}
		return checksumAddress(address), nil
	default:
		sum := sha256.Sum256(owner)
		return base64.RawURLEncoding.EncodeToString(sum[:]), nil
	}
}

// base58 writes bytes in Bitcoin's alphabet: each zero byte in front as a "1", the rest as one number.
func base58(b []byte) string {
	const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	zeros := 0
	for zeros < len(b) && b[zeros] == 0 {
		zeros++
	}
	var digits []byte // least significant first
	for _, c := range b[zeros:] {
		carry := int(c)
		for i := range digits {
			carry += int(digits[i]) << 8
			digits[i] = byte(carry % 58)
			carry /= 58
		}
		for ; carry > 0; carry /= 58 {
			digits = append(digits, byte(carry%58))
		}
	}
	text := make([]byte, 0, zeros+len(digits))
	for range zeros {
		text = append(text, alphabet[0])
	}
	for i := len(digits) - 1; i >= 0; i-- {
		text = append(text, alphabet[digits[i]])
	}
	return string(text)
}
