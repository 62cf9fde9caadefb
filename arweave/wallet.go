package arweave

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/everFinance/goar"
	"github.com/everFinance/goar/types"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

const (
	walletBits     = 4096
	walletExponent = 65537
	maxWalletFile  = 64 << 10
	// publicModeBits are the permissions a wallet file must not give to others.
	publicModeBits fs.FileMode = 0o077
)

// Wallet is an RSA-4096 Arweave key. It signs base-layer transactions and items; its private half never leaves it but
// through Save. It is safe for concurrent use.
type Wallet struct {
	key     *rsa.PrivateKey
	signer  ans104.Signer
	address string
	owner   string
}

// jwk is the key file that Arweave's tools share: all numbers big-endian base64url.
type jwk struct {
	Kty string `json:"kty"`
	E   string `json:"e"`
	N   string `json:"n"`
	D   string `json:"d"`
	P   string `json:"p"`
	Q   string `json:"q"`
	DP  string `json:"dp"`
	DQ  string `json:"dq"`
	QI  string `json:"qi"`
}

// NewWallet generates a key, which takes about a second.
func NewWallet() (*Wallet, error) {
	key, err := rsa.GenerateKey(rand.Reader, walletBits)
	if err != nil {
		return nil, fmt.Errorf("generate wallet: %w", err)
	}
	return newWallet(key)
}

// LoadWallet reads a JWK file. A file that others may read is refused: whoever reads it can spend from it.
func LoadWallet(path string) (*Wallet, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open wallet: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat wallet: %w", err)
	}
	if info.Mode().Perm()&publicModeBits != 0 {
		return nil, fmt.Errorf("%w: others may read %s (mode %04o); run: chmod 600 %s", ErrWallet, path, info.Mode().Perm(), path)
	}
	raw, err := io.ReadAll(io.LimitReader(file, maxWalletFile+1))
	if err != nil {
		return nil, fmt.Errorf("read wallet: %w", err)
	}
	w, err := ParseWallet(raw)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	return w, nil
}

// ParseWallet reads a JWK. Only RSA-4096 with exponent 65537 and both primes is a wallet.
func ParseWallet(raw []byte) (*Wallet, error) {
	if len(raw) > maxWalletFile {
		return nil, fmt.Errorf("%w: file over %d bytes", ErrWallet, maxWalletFile)
	}
	var doc jwk
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: not a JWK: %w", ErrWallet, err)
	}
	// goar reads whatever base64 it can; what it must not see is settled before it is asked.
	if doc.Kty != "RSA" || doc.E != "AQAB" {
		return nil, fmt.Errorf("%w: kty %.16q, e %.16q; an Arweave wallet has RSA and AQAB", ErrWallet, doc.Kty, doc.E)
	}
	numbers := make([]*big.Int, 4)
	for i, text := range []string{doc.N, doc.D, doc.P, doc.Q} {
		b, err := l1.Decode64(text)
		if err != nil || len(b) == 0 || len(b) > walletBits/8 {
			return nil, fmt.Errorf("%w: field %s is missing or not base64url", ErrWallet, []string{"n", "d", "p", "q"}[i])
		}
		numbers[i] = new(big.Int).SetBytes(b)
	}
	if numbers[0].BitLen() != walletBits {
		return nil, fmt.Errorf("%w: %d bits, an Arweave wallet has %d", ErrWallet, numbers[0].BitLen(), walletBits)
	}
	signer, err := goar.NewSigner(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWallet, err)
	}
	key := signer.PrvKey
	key.Primes = numbers[2:4]
	return newWallet(key)
}

func newWallet(key *rsa.PrivateKey) (*Wallet, error) {
	if key.N.BitLen() != walletBits || key.E != walletExponent {
		return nil, fmt.Errorf("%w: not RSA-%d with exponent %d", ErrWallet, walletBits, walletExponent)
	}
	key.Precompute()
	if err := key.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWallet, err)
	}
	signer, err := ans104.NewRSASigner(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWallet, err)
	}
	owner := key.N.Bytes()
	sum := sha256.Sum256(owner)
	return &Wallet{key: key, signer: signer, address: l1.Encode64(sum[:]), owner: l1.Encode64(owner)}, nil
}

// Save writes the wallet as a JWK that only the user can read. It never replaces a file: a lost key is lost money.
func (w *Wallet) Save(path string) error {
	raw, err := w.MarshalJWK()
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".wallet-*") // CreateTemp gives mode 0600
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(raw)
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("save wallet: %w", err)
	}
	return nil
}

// MarshalJWK encodes the private key, with all the fields that the JavaScript tools ask for.
func (w *Wallet) MarshalJWK() ([]byte, error) {
	k := w.key
	number := func(n *big.Int) string { return l1.Encode64(n.Bytes()) }
	raw, err := json.Marshal(jwk{
		Kty: "RSA", E: number(big.NewInt(int64(k.E))), N: w.owner, D: number(k.D), P: number(k.Primes[0]), Q: number(k.Primes[1]),
		DP: number(k.Precomputed.Dp), DQ: number(k.Precomputed.Dq), QI: number(k.Precomputed.Qinv),
	})
	if err != nil {
		return nil, fmt.Errorf("encode wallet: %w", err)
	}
	return append(bytes.TrimSpace(raw), '\n'), nil
}

// Address is the base64url SHA-256 of the public key.
func (w *Wallet) Address() string { return w.address }

// Signer signs ANS-104 items with this wallet.
func (w *Wallet) Signer() ans104.Signer { return w.signer }

// signTx fills in owner, ID and signature.
func (w *Wallet) signTx(tx *types.Transaction) error {
	tx.Owner = w.owner
	signer := goar.Signer{Address: w.address, PubKey: &w.key.PublicKey, PrvKey: w.key}
	if err := signer.SignTx(tx); err != nil {
		return fmt.Errorf("sign transaction: %w", err)
	}
	return nil
}
