package arweave

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"github.com/everFinance/goar/types"
	"github.com/everFinance/goar/utils"

	"github.com/aopeer/aopeer/arweave/ans104"
)

const (
	// MaxTxTags is the most tags of a base-layer transaction, as Arweave's nodes have it.
	MaxTxTags = 128
	// MaxTxTagBytes is the most bytes of their names and values together.
	MaxTxTagBytes = 2048
	// MaxInlineData is the most data a transaction carries in its own JSON; more goes by chunks.
	MaxInlineData = 12 << 20

	txFormat      = 2
	maxWinston    = 30 // decimal digits; all winston there are is 20
	maxAnchorSize = 48
)

// Tx is a base-layer transaction of format 2, parsed within bounds. Only Verify says that it is genuine.
type Tx struct {
	ID       ans104.ID
	Anchor   []byte
	Owner    []byte
	Tags     []ans104.Tag
	Target   []byte
	Quantity *big.Int
	// Data is the inline data, which the signature covers through DataRoot; it may be absent and come by chunks.
	Data      []byte
	DataSize  uint64
	DataRoot  []byte
	Reward    *big.Int
	Signature []byte
}

// txJSON is the spelling of a transaction on Arweave's HTTP interface: bytes in base64url, numbers in decimal.
type txJSON struct {
	Format    int         `json:"format"`
	ID        string      `json:"id"`
	LastTx    string      `json:"last_tx"`
	Owner     string      `json:"owner"`
	Tags      []txTagJSON `json:"tags"`
	Target    string      `json:"target"`
	Quantity  string      `json:"quantity"`
	Data      string      `json:"data"`
	DataSize  string      `json:"data_size"`
	DataTree  []string    `json:"data_tree"`
	DataRoot  string      `json:"data_root"`
	Reward    string      `json:"reward"`
	Signature string      `json:"signature"`
}

type txTagJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ParseTx reads a transaction's JSON and checks its shape, not its signature.
func ParseTx(raw []byte) (*Tx, error) {
	if len(raw) > MaxInlineData/3*4+64<<10 {
		return nil, fmt.Errorf("%w: transaction of %d bytes", ErrTooLarge, len(raw))
	}
	var doc txJSON
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: not JSON: %w", ErrTx, err)
	}
	if doc.Format != txFormat {
		return nil, fmt.Errorf("%w: format %d, only %d is supported", ErrTx, doc.Format, txFormat)
	}
	var tx Tx
	var err error
	if tx.ID, err = ans104.ParseID(doc.ID); err != nil {
		return nil, fmt.Errorf("%w: id: %w", ErrTx, err)
	}
	if len(doc.Tags) > MaxTxTags {
		return nil, fmt.Errorf("%w: %d tags", ErrTx, len(doc.Tags))
	}
	fields := []struct {
		name, text string
		into       *[]byte
		sizes      []int // nil: any
	}{
		{"last_tx", doc.LastTx, &tx.Anchor, []int{0, hashSize, maxAnchorSize}},
		{"owner", doc.Owner, &tx.Owner, []int{walletBits / 8}},
		{"target", doc.Target, &tx.Target, []int{0, hashSize}},
		{"data", doc.Data, &tx.Data, nil},
		{"data_root", doc.DataRoot, &tx.DataRoot, []int{0, hashSize}},
		{"signature", doc.Signature, &tx.Signature, []int{walletBits / 8}},
	}
	for _, f := range fields {
		if *f.into, err = decode64(f.text); err != nil {
			return nil, fmt.Errorf("%w: %s is not base64url", ErrTx, f.name)
		}
		if f.sizes != nil && !slices.Contains(f.sizes, len(*f.into)) {
			return nil, fmt.Errorf("%w: %s of %d bytes", ErrTx, f.name, len(*f.into))
		}
	}
	if err := tx.parseTags(doc.Tags); err != nil {
		return nil, err
	}
	if tx.Quantity, err = ParseWinston(doc.Quantity); err != nil {
		return nil, fmt.Errorf("%w: quantity: %w", ErrTx, err)
	}
	if tx.Reward, err = ParseWinston(doc.Reward); err != nil {
		return nil, fmt.Errorf("%w: reward: %w", ErrTx, err)
	}
	if tx.DataSize, err = parseDecimal(doc.DataSize); err != nil {
		return nil, fmt.Errorf("%w: data_size: %w", ErrTx, err)
	}
	if (tx.DataSize == 0) != (len(tx.DataRoot) == 0) {
		return nil, fmt.Errorf("%w: data size %d with a data root of %d bytes", ErrTx, tx.DataSize, len(tx.DataRoot))
	}
	return &tx, nil
}

func (tx *Tx) parseTags(tags []txTagJSON) error {
	total := 0
	for _, t := range tags {
		name, err := decode64(t.Name)
		if err != nil {
			return fmt.Errorf("%w: tag name is not base64url", ErrTx)
		}
		value, err := decode64(t.Value)
		if err != nil {
			return fmt.Errorf("%w: tag value is not base64url", ErrTx)
		}
		if total += len(name) + len(value); total > MaxTxTagBytes {
			return fmt.Errorf("%w: over %d bytes of tags", ErrTx, MaxTxTagBytes)
		}
		tx.Tags = append(tx.Tags, ans104.Tag{Name: string(name), Value: string(value)})
	}
	return nil
}

// Verify checks the ID, the signature, and inline data against the data root.
func (tx *Tx) Verify() error {
	if ans104.ID(sha256.Sum256(tx.Signature)) != tx.ID {
		return fmt.Errorf("%w: the ID is not the signature's hash", ErrTx)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(tx.Owner), E: walletExponent}
	if key.N.BitLen() != walletBits || key.N.Bit(0) == 0 {
		return fmt.Errorf("%w: the owner is not an RSA-%d key", ErrTx, walletBits)
	}
	message := tx.signedMessage()
	digest := sha256.Sum256(message[:])
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}
	if err := rsa.VerifyPSS(key, crypto.SHA256, digest[:], tx.Signature, opts); err != nil {
		return fmt.Errorf("%w: signature: %w", ErrTx, err)
	}
	if len(tx.Data) == 0 {
		return nil
	}
	if uint64(len(tx.Data)) != tx.DataSize {
		return fmt.Errorf("%w: %d bytes of data, data_size says %d", ErrTx, len(tx.Data), tx.DataSize)
	}
	root, err := DataRoot(tx.Data)
	if err != nil {
		return err
	}
	if !bytes.Equal(root, tx.DataRoot) {
		return fmt.Errorf("%w: the data does not have this data root", ErrTx)
	}
	return nil
}

// signedMessage is the deep hash of a format 2 transaction, ours rather than goar's so that what goar signs is checked by
// other code than its own.
func (tx *Tx) signedMessage() [48]byte {
	tags := make([]any, len(tx.Tags))
	for i, t := range tx.Tags {
		tags[i] = []any{[]byte(t.Name), []byte(t.Value)}
	}
	return deepHash([]any{
		[]byte(strconv.Itoa(txFormat)), tx.Owner, tx.Target, []byte(tx.Quantity.String()), []byte(tx.Reward.String()),
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

// MarshalJSON spells the transaction as Arweave's HTTP interface does, inline data included.
func (tx *Tx) MarshalJSON() ([]byte, error) {
	doc := txJSON{
		Format: txFormat, ID: tx.ID.String(), LastTx: encode64(tx.Anchor), Owner: encode64(tx.Owner), Tags: []txTagJSON{},
		Target: encode64(tx.Target), Quantity: tx.Quantity.String(), Data: encode64(tx.Data),
		DataSize: strconv.FormatUint(tx.DataSize, 10), DataTree: []string{}, DataRoot: encode64(tx.DataRoot),
		Reward: tx.Reward.String(), Signature: encode64(tx.Signature),
	}
	for _, t := range tx.Tags {
		doc.Tags = append(doc.Tags, txTagJSON{Name: encode64([]byte(t.Name)), Value: encode64([]byte(t.Value))})
	}
	return json.Marshal(doc)
}

// OwnerAddress is the address of the transaction's signer.
func (tx *Tx) OwnerAddress() string {
	sum := sha256.Sum256(tx.Owner)
	return encode64(sum[:])
}

// Bare returns a copy without inline data: what is posted when the data goes by chunks.
func (tx *Tx) Bare() *Tx {
	bare := *tx
	bare.Data = nil
	return &bare
}

// SignTx builds and signs a transaction. The result carries the draft's data inline and is known to verify.
func (w *Wallet) SignTx(draft TxDraft, anchor []byte, reward *big.Int) (*Tx, error) {
	if err := draft.validate(); err != nil {
		return nil, err
	}
	quantity := draft.Quantity
	if quantity == "" {
		quantity = "0"
	}
	tags := make([]types.Tag, len(draft.Tags))
	for i, t := range draft.Tags {
		tags[i] = types.Tag(t)
	}
	built := &types.Transaction{
		Format: txFormat, LastTx: encode64(anchor), Target: draft.Target, Quantity: quantity, Tags: utils.TagsEncode(tags),
		DataSize: strconv.Itoa(len(draft.Data)), Reward: reward.String(),
	}
	if err := utils.PrepareChunks(built, draft.Data, len(draft.Data)); err != nil {
		return nil, fmt.Errorf("cut chunks: %w", err)
	}
	if err := w.signTx(built); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(built)
	if err != nil {
		return nil, fmt.Errorf("encode transaction: %w", err)
	}
	tx, err := ParseTx(raw)
	if err != nil {
		return nil, err
	}
	tx.Data = draft.Data
	if err := tx.Verify(); err != nil {
		return nil, fmt.Errorf("verify own transaction: %w", err)
	}
	return tx, nil
}

func (d *TxDraft) validate() error {
	if d.Target != "" {
		if _, err := ans104.ParseID(d.Target); err != nil {
			return fmt.Errorf("%w: target %.50q is not an address", ErrTx, d.Target)
		}
	}
	if d.Quantity != "" {
		if _, err := ParseWinston(d.Quantity); err != nil {
			return fmt.Errorf("%w: quantity: %w", ErrTx, err)
		}
	}
	if len(d.Tags) > MaxTxTags {
		return fmt.Errorf("%w: %d tags", ErrTx, len(d.Tags))
	}
	total := 0
	for _, t := range d.Tags {
		total += len(t.Name) + len(t.Value)
	}
	if total > MaxTxTagBytes {
		return fmt.Errorf("%w: %d bytes of tags", ErrTx, total)
	}
	return nil
}

// ParseWinston reads an amount: decimal digits without sign or leading zeros.
func ParseWinston(s string) (*big.Int, error) {
	if !isDecimal(s, maxWinston) {
		return nil, fmt.Errorf("%.40q is not an amount of winston", s)
	}
	n, _ := new(big.Int).SetString(s, 10)
	return n, nil
}

// parseDecimal reads a canonical non-negative number below 2^63.
func parseDecimal(s string) (uint64, error) {
	if !isDecimal(s, 19) {
		return 0, fmt.Errorf("%.40q is not a number", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return uint64(n), err
}

func isDecimal(s string, digits int) bool {
	if len(s) == 0 || len(s) > digits || (s[0] == '0' && len(s) > 1) {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
