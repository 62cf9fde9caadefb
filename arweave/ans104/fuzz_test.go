package ans104

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, v := range readVectors(f).Items {
		if strings.HasSuffix(v.Name, " all") || strings.HasSuffix(v.Name, " empty") {
			f.Add(b64(f, v.Raw))
		}
	}
	f.Add(append(layout(0, 0), numbers(1<<32, 1<<32)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		it, err := Parse(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("input changed")
		}
		if err != nil {
			return
		}
		if !bytes.Equal(it.Raw(), raw) {
			t.Fatal("raw bytes changed")
		}
		// The item is its fields and nothing else: laid out anew they are the same bytes.
		again := append([]byte{byte(it.SignatureType()), byte(it.SignatureType() >> 8)}, it.Signature()...)
		again = append(again, it.Owner()...)
		again = appendOptional(again, it.Target())
		again = appendOptional(again, it.Anchor())
		again = append(again, numbers(uint64(len(it.Tags())), uint64(len(it.RawTags())))...)
		again = append(append(again, it.RawTags()...), it.Data()...)
		if !bytes.Equal(again, before) {
			t.Fatalf("fields make %x, not %x", again, before)
		}
		if it.OwnerAddress() == "" {
			t.Fatal("no address")
		}
		if it.SignatureType() == Arweave {
			return // an exponentiation for every input would leave no time to vary them
		}
		if single, batch := it.Verify(), VerifyBatch([]*Item{it})[0]; !sameVerdict(single, batch) {
			t.Fatalf("singly %v, in a batch %v", single, batch)
		}
	})
}

func FuzzParseBundle(f *testing.F) {
	for _, v := range readVectors(f).Bundles {
		f.Add(b64(f, v.Raw))
	}
	f.Add(append(appendNumber(nil, 3), make([]byte, 192)...))
	f.Add(append(numbers(1<<64-1), make([]byte, 24)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := ParseBundle(raw)
		visited := 0
		walkErr := Expand(raw, func(depth int, it *Item) error {
			if depth < 0 || depth >= MaxDepth {
				t.Fatalf("depth %d", depth)
			}
			visited++
			return nil
		})
		if err != nil {
			if walkErr == nil || visited != 0 {
				t.Fatalf("no bundle, but expands: %v", walkErr)
			}
			return
		}
		again := appendNumber(nil, len(entries))
		for _, e := range entries {
			again = append(appendNumber(again, len(e.Raw)), e.ID[:]...)
		}
		for _, e := range entries {
			again = append(again, e.Raw...)
		}
		if !bytes.Equal(again, raw) {
			t.Fatalf("entries make %x, not %x", again, raw)
		}
		// Every item takes more than 100 bytes on its own level, and no level is longer than the input.
		if visited > MaxDepth*len(raw)/100 {
			t.Fatalf("%d items in %d bytes", visited, len(raw))
		}
	})
}

func FuzzDecodeTags(f *testing.F) {
	var blocks []struct {
		Hex       string
		Arbundles []Tag
	}
	readJSON(f, "tagblocks.json", &blocks)
	for _, b := range blocks {
		f.Add(unhex(f, b.Hex), uint64(len(b.Arbundles)))
	}
	f.Add(unhex(f, "ffffffffffffffffff010000"), uint64(128))
	f.Fuzz(func(t *testing.T, raw []byte, count uint64) {
		tags, err := DecodeTags(raw, count)
		if err != nil {
			if tags != nil {
				t.Fatal("tags beside an error")
			}
			return
		}
		if uint64(len(tags)) != count || count > MaxTags || len(raw) > MaxTagBytes {
			t.Fatalf("%d tags of %d in %d bytes", len(tags), count, len(raw))
		}
		if cap(tags) > MaxTags {
			t.Fatalf("room for %d tags", cap(tags))
		}
		encoded, err := EncodeTags(tags)
		if err != nil {
			// A block without its closing zero may be full already.
			if len(raw) == MaxTagBytes {
				return
			}
			t.Fatal(err)
		}
		again, err := DecodeTags(encoded, count)
		if err != nil || !equalTags(tags, again) {
			t.Fatalf("%q became %q: %v", tags, again, err)
		}
		for i := range tags {
			if !bytes.Contains(raw, []byte(tags[i].Value)) {
				t.Fatalf("value %q is not in the block", tags[i].Value)
			}
		}
	})
}
