// Package l1 holds the transactions of Arweave itself, of format 2: the base layer under all bundles (§3.3).
//
// In comes their JSON, as Arweave's nodes and gateways spell it, or their raw form, in which a process's log holds them;
// out go transactions whose ID, signature and data can be verified, and both spellings again.
//
// It never opens a connection or a file, and never signs: building and signing are arweave's.
//
// Start at Tx, then raw.go (the raw form), json.go and root.go (the root over the data).
package l1

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/aopeer/aopeer/arweave/ans104"
)

var (
	// ErrTx says that a transaction, or a chunk of its data, is malformed or does not verify.
	ErrTx = errors.New("invalid arweave transaction")
	// ErrFormat says that a transaction is of a format that is not read: the first, whose signature covers no data root.
	ErrFormat = fmt.Errorf("%w: only format %d is supported", ErrTx, format)
)

const (
	// MaxTags is the most tags of a transaction, as Arweave's nodes have it.
	MaxTags = 128
	// MaxTagBytes is the most bytes of their names and values together.
	MaxTagBytes = 2048

	format    = 2
	hashSize  = 32
	keySize   = 512 // of an owner and of a signature
	maxAnchor = 48
)

// Tx is a transaction, parsed within bounds. Only Verify says that it is genuine.
type Tx struct {
	ID       ans104.ID
	Anchor   []byte
	Owner    []byte
	Tags     []ans104.Tag
	Target   []byte
	Quantity *big.Int
	// Data may be absent and come by chunks. The signature covers it through DataRoot.
	Data      []byte
	DataSize  uint64
	DataRoot  []byte
	Reward    *big.Int
	Signature []byte
}

// Verify checks the ID, the signature and, if it is there, the data.
func (tx *Tx) Verify() error {
	if ans104.ID(sha256.Sum256(tx.Signature)) != tx.ID {
		return fmt.Errorf("%w: the ID is not the signature's hash", ErrTx)
	}
	message := tx.signedMessage()
	if err := ans104.VerifyArweave(tx.Owner, message[:], tx.Signature); err != nil {
		return fmt.Errorf("%w: %w", ErrTx, err)
	}
	if len(tx.Data) == 0 {
		return nil
	}
	return tx.VerifyData()
}

// VerifyData checks the data alone: that it is there, whole, and has the data root.
func (tx *Tx) VerifyData() error {
	if uint64(len(tx.Data)) != tx.DataSize {
		return fmt.Errorf("%w: %d bytes of data, data_size says %d", ErrTx, len(tx.Data), tx.DataSize)
	}
	if !hasRoot(tx.Data, tx.DataRoot) {
		return fmt.Errorf("%w: the data does not have this data root", ErrTx)
	}
	return nil
}

// signedMessage is what the owner signs: the deep hash of all fields but the data, the ID and the signature.
func (tx *Tx) signedMessage() [48]byte {
	tags := make([]any, len(tx.Tags))
	for i, t := range tx.Tags {
		tags[i] = []any{[]byte(t.Name), []byte(t.Value)}
	}
	return deepHash([]any{
		[]byte(strconv.Itoa(format)), tx.Owner, tx.Target, []byte(tx.Quantity.String()), []byte(tx.Reward.String()),
		tx.Anchor, tags, []byte(strconv.FormatUint(tx.DataSize, 10)), tx.DataRoot,
	})
}

// deepHash hashes nested lists of byte strings. Its argument is always built here, never parsed, so its depth is ours.
func deepHash(v any) [48]byte {
	if blob, ok := v.([]byte); ok {
		head, body := sha512.Sum384([]byte("blob"+strconv.Itoa(len(blob)))), sha512.Sum384(blob)
		return sha512.Sum384(append(head[:], body[:]...))
	}
	list := v.([]any)
	acc := sha512.Sum384([]byte("list" + strconv.Itoa(len(list))))
	for _, e := range list {
		sum := deepHash(e)
		acc = sha512.Sum384(append(acc[:], sum[:]...))
	}
	return acc
}

// OwnerAddress is the address of the transaction's signer.
func (tx *Tx) OwnerAddress() string {
	sum := sha256.Sum256(tx.Owner)
	return Encode64(sum[:])
}

// Bare returns a copy without data: what is posted when the data goes by chunks.
func (tx *Tx) Bare() *Tx {
	bare := *tx
	bare.Data = nil
	return &bare
}
