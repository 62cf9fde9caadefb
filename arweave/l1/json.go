package l1

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// MaxInlineData is the most data a transaction carries in its own JSON; more goes by chunks.
const MaxInlineData = 12 << 20

const (
	maxJSON    = MaxInlineData/3*4 + 64<<10
	maxWinston = 30 // decimal digits; all winston there are is 20
)

// txJSON is the spelling of a transaction on Arweave's HTTP interface: bytes in base64url, numbers in decimal.
type txJSON struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"`
	LastTx    string    `json:"last_tx"`
	Owner     string    `json:"owner"`
	Tags      []tagJSON `json:"tags"`
	Target    string    `json:"target"`
	Quantity  string    `json:"quantity"`
	Data      string    `json:"data"`
	DataSize  string    `json:"data_size"`
	DataTree  []string  `json:"data_tree"`
	DataRoot  string    `json:"data_root"`
	Reward    string    `json:"reward"`
	Signature string    `json:"signature"`
}

type tagJSON struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ParseJSON reads a transaction's JSON and checks its shape, not its signature. Errors: ErrTx, ErrFormat.
func ParseJSON(raw []byte) (*Tx, error) {
	if len(raw) > maxJSON {
		return nil, fmt.Errorf("%w: %d bytes of JSON, at most %d", ErrTx, len(raw), maxJSON)
	}
	var doc txJSON
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: not JSON: %w", ErrTx, err)
	}
	if doc.Format != format {
		return nil, fmt.Errorf("%w: this is format %d", ErrFormat, doc.Format)
	}
	var tx Tx
	var err error
	if tx.ID, err = ans104.ParseID(doc.ID); err != nil {
		return nil, fmt.Errorf("%w: id: %w", ErrTx, err)
	}
	fields := []struct {
		name, text string
		into       *[]byte
	}{
		{"last_tx", doc.LastTx, &tx.Anchor},
		{"owner", doc.Owner, &tx.Owner},
		{"target", doc.Target, &tx.Target},
		{"data", doc.Data, &tx.Data},
		{"data_root", doc.DataRoot, &tx.DataRoot},
		{"signature", doc.Signature, &tx.Signature},
	}
	for _, f := range fields {
		if *f.into, err = Decode64(f.text); err != nil {
			return nil, fmt.Errorf("%w: %s is not base64url", ErrTx, f.name)
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
	if tx.DataSize, err = ParseSize(doc.DataSize); err != nil {
		return nil, fmt.Errorf("%w: data_size: %w", ErrTx, err)
	}
	if err := tx.checkShape(); err != nil {
		return nil, err
	}
	return &tx, nil
}

func (tx *Tx) parseTags(tags []tagJSON) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: %d tags", ErrTx, len(tags))
	}
	for _, t := range tags {
		name, err := Decode64(t.Name)
		if err != nil {
			return fmt.Errorf("%w: tag name is not base64url", ErrTx)
		}
		value, err := Decode64(t.Value)
		if err != nil {
			return fmt.Errorf("%w: tag value is not base64url", ErrTx)
		}
		tx.Tags = append(tx.Tags, ans104.Tag{Name: string(name), Value: string(value)})
	}
	return nil
}

// checkShape refuses what no node takes, whoever signed it. Of the data it looks at what is said of it.
func (tx *Tx) checkShape() error {
	for _, f := range []struct {
		name  string
		bytes []byte
		sizes []int
	}{
		{"anchor", tx.Anchor, []int{0, hashSize, maxAnchor}},
		{"owner", tx.Owner, []int{keySize}},
		{"target", tx.Target, []int{0, hashSize}},
		{"data root", tx.DataRoot, []int{0, hashSize}},
		{"signature", tx.Signature, []int{keySize}},
	} {
		if !slices.Contains(f.sizes, len(f.bytes)) {
			return fmt.Errorf("%w: %s of %d bytes", ErrTx, f.name, len(f.bytes))
		}
	}
	if (tx.DataSize == 0) != (len(tx.DataRoot) == 0) {
		return fmt.Errorf("%w: data size %d with a data root of %d bytes", ErrTx, tx.DataSize, len(tx.DataRoot))
	}
	return CheckTags(tx.Tags)
}

// CheckTags refuses tags that no node takes. Errors: ErrTx.
func CheckTags(tags []ans104.Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: %d tags, at most %d", ErrTx, len(tags), MaxTags)
	}
	total := 0
	for _, t := range tags {
		total += len(t.Name) + len(t.Value)
	}
	if total > MaxTagBytes {
		return fmt.Errorf("%w: %d bytes of tags, at most %d", ErrTx, total, MaxTagBytes)
	}
	return nil
}

// MarshalJSON spells the transaction as Arweave's HTTP interface does, with the data that is there.
func (tx *Tx) MarshalJSON() ([]byte, error) {
	doc := txJSON{
		Format: format, ID: tx.ID.String(), LastTx: Encode64(tx.Anchor), Owner: Encode64(tx.Owner), Tags: []tagJSON{},
		Target: Encode64(tx.Target), Quantity: tx.Quantity.String(), Data: Encode64(tx.Data),
		DataSize: strconv.FormatUint(tx.DataSize, 10), DataTree: []string{}, DataRoot: Encode64(tx.DataRoot),
		Reward: tx.Reward.String(), Signature: Encode64(tx.Signature),
	}
	for _, t := range tx.Tags {
		doc.Tags = append(doc.Tags, tagJSON{Name: Encode64([]byte(t.Name)), Value: Encode64([]byte(t.Value))})
	}
	return json.Marshal(doc)
}

// ParseWinston reads an amount: decimal digits without sign or leading zeros.
func ParseWinston(s string) (*big.Int, error) {
	if !isDecimal(s, maxWinston) {
		return nil, fmt.Errorf("%.40q is not an amount of winston", s)
	}
	n, _ := new(big.Int).SetString(s, 10)
	return n, nil
}

// ParseSize reads a canonical non-negative number below 2^63.
func ParseSize(s string) (uint64, error) {
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

// Encode64 is bytes in base64url without padding, as Arweave spells them.
func Encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Decode64 reads canonical base64url: no padding, no line breaks, no stray bits at the end, so that one value has one
// spelling.
func Decode64(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	// The decoder skips line breaks.
	if base64.RawURLEncoding.EncodedLen(len(b)) != len(s) {
		return nil, base64.CorruptInputError(len(b))
	}
	return b, nil
}
