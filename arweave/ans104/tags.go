package ans104

import (
	"encoding/binary"
	"fmt"
)

const (
	// MaxTags is the largest number of tags an item may have.
	MaxTags = 128
	// MaxTagBytes is the largest size of an item's tag block.
	MaxTagBytes = 4096
)

// Tag is a name and a value. Both are bytes as they stand in the item, not always valid UTF-8.
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EncodeTags writes the tag block as arbundles does: an Avro array in one block, and nothing at all for no
// tags.
func EncodeTags(tags []Tag) ([]byte, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	if len(tags) > MaxTags {
		return nil, fmt.Errorf("encode tags: %w: %d", ErrTagCount, len(tags))
	}
	size := 0
	for _, t := range tags {
		size += len(t.Name) + len(t.Value)
		if size > MaxTagBytes {
			return nil, fmt.Errorf("encode tags: %w", ErrTagBytes)
		}
	}
	out := make([]byte, 0, size+4*len(tags)+3)
	out = binary.AppendVarint(out, int64(len(tags)))
	for _, t := range tags {
		out = appendString(out, t.Name)
		out = appendString(out, t.Value)
	}
	out = append(out, 0)
	if len(out) > MaxTagBytes {
		return nil, fmt.Errorf("encode tags: %w: %d", ErrTagBytes, len(out))
	}
	return out, nil
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendVarint(out, int64(len(s))), s...)
}

// DecodeTags reads a tag block that must hold exactly count tags and nothing behind them. Like arbundles it
// takes several Avro blocks, blocks of a negative count (which a byte size follows, not relied upon),
// numbers in more bytes than they need, and a block whose closing zero is missing at the end.
func DecodeTags(raw []byte, count uint64) ([]Tag, error) {
	if count > MaxTags {
		return nil, fmt.Errorf("%w: %d", ErrTagCount, count)
	}
	if len(raw) > MaxTagBytes {
		return nil, fmt.Errorf("%w: %d", ErrTagBytes, len(raw))
	}
	if len(raw) == 0 {
		if count != 0 {
			return nil, fmt.Errorf("%w: none, not %d", ErrTagCount, count)
		}
		return nil, nil
	}
	// One copy of the block backs all names and values.
	r := tagReader{raw: raw, text: string(raw)}
	var tags []Tag
	if count > 0 {
		tags = make([]Tag, 0, min(int(count), len(raw)/2))
	}
	for r.at < len(raw) {
		n, err := r.blockCount()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break
		}
		if n > count-uint64(len(tags)) {
			return nil, fmt.Errorf("%w: more than %d", ErrTagCount, count)
		}
		for range n {
			t, err := r.tag()
			if err != nil {
				return nil, err
			}
			tags = append(tags, t)
		}
	}
	if r.at != len(raw) {
		return nil, fmt.Errorf("%w: %d bytes behind the tags", ErrTagEncoding, len(raw)-r.at)
	}
	if uint64(len(tags)) != count {
		return nil, fmt.Errorf("%w: %d, not %d", ErrTagCount, len(tags), count)
	}
	return tags, nil
}

type tagReader struct {
	raw  []byte
	text string
	at   int
}

// blockCount reads the head of an Avro block: the number of its tags, zero at the end of the array.
func (r *tagReader) blockCount() (uint64, error) {
	n, err := r.long()
	if err != nil || n >= 0 {
		return uint64(n), err
	}
	if _, err := r.long(); err != nil {
		return 0, err
	}
	// In uint64, where negating the smallest number does not overflow.
	return -uint64(n), nil
}

func (r *tagReader) tag() (t Tag, err error) {
	if t.Name, err = r.string(); err != nil {
		return Tag{}, err
	}
	t.Value, err = r.string()
	return t, err
}

func (r *tagReader) long() (int64, error) {
	n, size := binary.Varint(r.raw[r.at:])
	if size <= 0 {
		return 0, fmt.Errorf("%w: number at byte %d", ErrTagEncoding, r.at)
	}
	r.at += size
	return n, nil
}

func (r *tagReader) string() (string, error) {
	n, err := r.long()
	if err != nil {
		return "", err
	}
	if n < 0 || n > int64(len(r.raw)-r.at) {
		return "", fmt.Errorf("%w: string of %d bytes at byte %d", ErrTagEncoding, n, r.at)
	}
	s := r.text[r.at : r.at+int(n)]
	r.at += int(n)
	return s, nil
}
