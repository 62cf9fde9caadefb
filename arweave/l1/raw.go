package l1

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// domain begins the raw form. Its first two bytes are a signature type that no item has, so that neither is taken for the
// other.
const domain = "aopeer/tx/1\x00"

// IsRaw says whether bytes that are an item or a transaction are a transaction.
func IsRaw(raw []byte) bool { return bytes.HasPrefix(raw, []byte(domain)) }

// Raw is the one raw form of a transaction with its data, as docs/wire.md has it. Errors: ErrTx if the data is not there, or
// a field is one that no transaction has.
func (tx *Tx) Raw() ([]byte, error) {
	if err := tx.checkShape(); err != nil {
		return nil, err
	}
	if uint64(len(tx.Data)) != tx.DataSize {
		return nil, fmt.Errorf("%w: %d of %d bytes of data are there", ErrTx, len(tx.Data), tx.DataSize)
	}
	b := make([]byte, 0, len(domain)+2*keySize+256+4*len(tx.Tags)+MaxTagBytes+len(tx.Data))
	b = append(append(append(b, domain...), tx.Signature...), tx.Owner...)
	for _, f := range [][]byte{tx.Target, tx.Anchor, []byte(tx.Quantity.String()), []byte(tx.Reward.String()), tx.DataRoot} {
		b = append(append(b, byte(len(f))), f...)
	}
	b = append(b, byte(len(tx.Tags)))
	for _, t := range tx.Tags {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(t.Name))), t.Name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(t.Value))), t.Value...)
	}
	return append(b, tx.Data...), nil
}

// ParseRaw reads what Raw wrote, and nothing else, and verifies it. The transaction's fields are views of raw. Errors: ErrTx.
func ParseRaw(raw []byte) (*Tx, error) {
	tx, err := readRaw(raw)
	if err != nil {
		return nil, err
	}
	if err := tx.Verify(); err != nil {
		return nil, err
	}
	return tx, nil
}

// readRaw is ParseRaw before verifying.
func readRaw(raw []byte) (*Tx, error) {
	if !IsRaw(raw) {
		return nil, fmt.Errorf("%w: not the raw form", ErrTx)
	}
	f := fields{rest: raw[len(domain):]}
	tx := &Tx{Signature: f.take(keySize), Owner: f.take(keySize)}
	tx.Target, tx.Anchor = f.short(), f.short()
	tx.Quantity, tx.Reward = f.winston(), f.winston()
	tx.DataRoot = f.short()
	for n := f.count(1); n > 0 && !f.bad; n-- {
		name := f.take(f.count(2))
		tx.Tags = append(tx.Tags, ans104.Tag{Name: string(name), Value: string(f.take(f.count(2)))})
	}
	if f.bad {
		return nil, fmt.Errorf("%w: the raw form is cut short, or has an amount that is none", ErrTx)
	}
	tx.Data, tx.DataSize = f.rest, uint64(len(f.rest))
	tx.ID = sha256.Sum256(tx.Signature)
	return tx, tx.checkShape()
}

// fields takes fields off the front; after a shortage it is bad and yields nothing.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.rest) {
		f.bad, f.rest = true, nil
		return nil
	}
	out := f.rest[:n:n]
	f.rest = f.rest[n:]
	return out
}

// count is a number of that many bytes.
func (f *fields) count(size int) (n int) {
	for _, b := range f.take(size) {
		n = n<<8 | int(b)
	}
	return n
}

// short is a field with its length in one byte.
func (f *fields) short() []byte { return f.take(f.count(1)) }

func (f *fields) winston() *big.Int {
	n, err := ParseWinston(string(f.short()))
	if err != nil {
		f.bad = true
	}
	return n
}
