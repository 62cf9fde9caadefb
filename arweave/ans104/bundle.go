package ans104

import (
	"encoding/binary"
	"fmt"
)

// The header of a bundle: the number of items, then a size and an ID for each, numbers in 32 bytes.
const (
	bundleCountLen = 32
	bundleEntryLen = 64
)

// Entry is one item of a bundle: the ID that the header claims for it, and its bytes.
type Entry struct {
	ID  ID
	Raw []byte
}

// BuildBundle joins items into a bundle. An item may occur twice.
func BuildBundle(items []*Item) []byte {
	size := bundleCountLen + bundleEntryLen*len(items)
	for _, it := range items {
		size += len(it.raw)
	}
	out := make([]byte, 0, size)
	out = appendNumber(out, len(items))
	for _, it := range items {
		out = appendNumber(out, len(it.raw))
		out = append(out, it.id[:]...)
	}
	for _, it := range items {
		out = append(out, it.raw...)
	}
	return out
}

func appendNumber(out []byte, n int) []byte {
	out = binary.LittleEndian.AppendUint64(out, uint64(n))
	return append(out, make([]byte, 24)...)
}

// ParseBundle reads the header of a bundle that must be the whole of raw. The entries are views of raw.
// Their items are not parsed, nor their IDs compared: see [Expand].
func ParseBundle(raw []byte) ([]Entry, error) {
	n, err := bundleCount(raw)
	if err != nil {
		return nil, err
	}
	c := bundleCursor{raw: raw, count: n, at: bundleCountLen + n*bundleEntryLen}
	entries := make([]Entry, 0, n)
	for c.next < n {
		entries = append(entries, c.entry())
	}
	return entries, nil
}

// bundleCount checks the header against the length of raw, so that a cursor can walk it without further checks.
func bundleCount(raw []byte) (int, error) {
	if len(raw) < bundleCountLen {
		return 0, fmt.Errorf("parse bundle: %w: no header", ErrBundle)
	}
	n, ok := readNumber(raw, (len(raw)-bundleCountLen)/bundleEntryLen)
	if !ok {
		return 0, fmt.Errorf("parse bundle: %w: more items than its header has room for", ErrBundle)
	}
	left := len(raw) - bundleCountLen - n*bundleEntryLen
	for i := range n {
		size, ok := readNumber(raw[bundleCountLen+i*bundleEntryLen:], left)
		if !ok {
			return 0, fmt.Errorf("parse bundle: %w: item %d ends beyond it", ErrBundle, i)
		}
		left -= size
	}
	if left != 0 {
		return 0, fmt.Errorf("parse bundle: %w: %d bytes behind its items", ErrBundle, left)
	}
	return n, nil
}

// readNumber reads 32 little-endian bytes, refusing what exceeds limit.
func readNumber(raw []byte, limit int) (int, bool) {
	n := binary.LittleEndian.Uint64(raw)
	for _, b := range raw[8:32] {
		if b != 0 {
			return 0, false
		}
	}
	if n > uint64(limit) {
		return 0, false
	}
	return int(n), true
}

// bundleCursor walks a checked bundle without a list of its entries.
type bundleCursor struct {
	raw         []byte
	count, next int
	at          int // where the next item begins
}

func (c *bundleCursor) entry() Entry {
	head := c.raw[bundleCountLen+c.next*bundleEntryLen:]
	end := c.at + int(binary.LittleEndian.Uint64(head))
	e := Entry{ID: ID(head[32:64]), Raw: c.raw[c.at:end:end]}
	c.at = end
	c.next++
	return e
}
