package ans104

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestTagBlocks holds our decoder against what arbundles makes of the same bytes.
func TestTagBlocks(t *testing.T) {
	var blocks []struct {
		Name, Hex string
		Arbundles *[]struct{ Name, Value string }
	}
	readJSON(t, "tagblocks.json", &blocks)
	// What arbundles takes and we do not: bytes behind the block, and numbers that overflow.
	strict := map[string]bool{"bytes behind": true, "text behind": true, "number of eleven bytes": true}
	// What arbundles reads as UTF-8, replacing what is none.
	lossy := map[string]bool{"not UTF-8": true}
	if len(blocks) < 20 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	for _, b := range blocks {
		raw := unhex(t, b.Hex)
		if b.Arbundles == nil || strict[b.Name] {
			for count := range uint64(4) {
				if tags, err := DecodeTags(raw, count); err == nil {
					t.Errorf("%s: %q", b.Name, tags)
				} else if !errors.Is(err, ErrTagEncoding) && !errors.Is(err, ErrTagCount) {
					t.Errorf("%s: %v", b.Name, err)
				}
			}
			continue
		}
		count := uint64(len(*b.Arbundles))
		tags, err := DecodeTags(raw, count)
		if err != nil || len(tags) != int(count) {
			t.Errorf("%s: %q, %v", b.Name, tags, err)
			continue
		}
		for i, want := range *b.Arbundles {
			if !lossy[b.Name] && (tags[i].Name != string(b64(t, want.Name)) || tags[i].Value != string(b64(t, want.Value))) {
				t.Errorf("%s: tag %d is %q", b.Name, i, tags[i])
			}
		}
		for _, other := range []uint64{count + 1, count - 1, 128, 1 << 63} {
			if _, err := DecodeTags(raw, other); err == nil {
				t.Errorf("%s: also has %d tags", b.Name, other)
			}
		}
	}
}

func TestDecodeTagsRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		hex   string
		count uint64
		want  error
	}{
		{"smallest block count", "ffffffffffffffffff01 00 00", 1, ErrTagCount},
		{"smallest block count, none wanted", "ffffffffffffffffff01 00 00", 0, ErrTagCount},
		{"largest block count", "feffffffffffffffff01 00", 1, ErrTagCount},
		{"largest string", "02 feffffffffffffffff01 00", 1, ErrTagEncoding},
		{"block size cut", "01 80", 1, ErrTagEncoding},
		{"number cut", "80", 0, ErrTagEncoding},
		{"second block too many", "02 0000 02 0000 00", 1, ErrTagCount},
		{"terminator, then a block", "00 02 0000 00", 1, ErrTagEncoding},
	} {
		if tags, err := DecodeTags(unhex(t, strings.ReplaceAll(c.hex, " ", "")), c.count); !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v, want %v", c.name, tags, err, c.want)
		}
	}
	if _, err := DecodeTags(make([]byte, MaxTagBytes+1), 1); !errors.Is(err, ErrTagBytes) {
		t.Errorf("4097 bytes: %v", err)
	}
	if _, err := DecodeTags(make([]byte, MaxTagBytes+1), MaxTags+1); !errors.Is(err, ErrTagCount) {
		t.Errorf("129 tags: %v", err)
	}
}

func TestEncodeTags(t *testing.T) {
	many := make([]Tag, MaxTags)
	for i := range many {
		many[i] = Tag{fmt.Sprint("n", i), "\xff\x00"}
	}
	// Six bytes of the block are the name, numbers and the closing zero.
	largest := []Tag{{"n", strings.Repeat("v", MaxTagBytes-6)}}
	for _, tags := range [][]Tag{nil, {}, {{"", ""}}, {{"a", "b"}, {"a", "b"}}, many, largest} {
		raw, err := EncodeTags(tags)
		if err != nil {
			t.Fatal(err)
		}
		if (len(raw) == 0) != (len(tags) == 0) {
			t.Errorf("%d tags in %d bytes", len(tags), len(raw))
		}
		back, err := DecodeTags(raw, uint64(len(tags)))
		if err != nil || !equalTags(tags, back) {
			t.Errorf("%q became %q: %v", tags, back, err)
		}
	}
	if raw, err := EncodeTags(largest); err != nil || len(raw) != MaxTagBytes {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if _, err := EncodeTags([]Tag{{"no", largest[0].Value}}); !errors.Is(err, ErrTagBytes) {
		t.Errorf("4097 bytes: %v", err)
	}
	if _, err := EncodeTags(append(many, Tag{})); !errors.Is(err, ErrTagCount) {
		t.Errorf("129 tags: %v", err)
	}
	if raw, _ := EncodeTags([]Tag{{"k", "v"}}); !bytes.Equal(raw, unhex(t, "02026b027600")) {
		t.Errorf("%x", raw)
	}
}
