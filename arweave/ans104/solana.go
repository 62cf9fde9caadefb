package ans104

import (
	"crypto/ed25519"
	"encoding/hex"
)

// NewSolanaSigner returns the signer of a Solana wallet, which differs from [NewEd25519Signer] in what it
// signs: the text of the deep hash, since wallets show what they sign.
func NewSolanaSigner(key ed25519.PrivateKey) Signer { return newEd25519Signer(key, Solana) }

func solanaMessage(message []byte) []byte { return hex.AppendEncode(nil, message) }
