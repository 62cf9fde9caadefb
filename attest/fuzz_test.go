package attest

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func FuzzParseClaim(f *testing.F) {
	stateless := claim(0)
	stateless.State = nil
	for _, c := range []Claim{claim(7), stateless} {
		f.Add(c.Bytes())
	}
	f.Add([]byte(domainClaim + "\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseClaim(raw)
		if err != nil {
			wantErr(t, err, ErrClaim)
			return
		}
		if !bytes.Equal(c.Bytes(), raw) || c.check() != nil {
			t.Fatalf("%x is the claim %x", raw, c.Bytes())
		}
		// What parses can be signed, and comes back.
		if len(c.Network) > 0 {
			s, err := Sign(&ledger{}, signer("unit"), c)
			check(t, err)
			if !bytes.Equal(s.Item().Data(), raw) {
				t.Fatal("another claim is signed")
			}
		}
	})
}

// The targets below are given an item's data and tags, and look behind the signature check: a fuzzer cannot sign, and a
// unit can be hostile. What they then accept is signed and must come back through the front door. Their seeds are small,
// because the go tool's minimizing of an input takes the square of its size.

func FuzzParseSigned(f *testing.F) {
	c := claim(7)
	c.State, c.Profile = nil, "p"
	s, err := Sign(&ledger{}, signer("unit"), c)
	check(f, err)
	f.Add(s.Item().Data(), s.Item().RawTags())
	f.Fuzz(func(t *testing.T, data, rawTags []byte) {
		it, ok := unsigned(t, rawTags, data)
		if !ok {
			return
		}
		if _, err := ParseSigned(it.Raw()); err == nil {
			t.Fatal("a claim without a signature")
		}
		s, err := shapeSigned(it)
		if err != nil {
			wantErr(t, err, ErrClaim)
			return
		}
		again, err := Sign(&ledger{}, signer("unit"), s.Claim())
		check(t, err)
		if !bytes.Equal(again.Item().Data(), data) || !bytes.Equal(again.Item().RawTags(), it.RawTags()) {
			t.Fatalf("claim %+v, tags %q", s.Claim(), it.Tags())
		}
		again, err = ParseSigned(again.Raw())
		check(t, err)
		if !bytes.Equal(again.Claim().Bytes(), data) {
			t.Fatalf("%x reads as %+v", data, again.Claim())
		}
	})
}

func FuzzParseBatch(f *testing.F) {
	state := fill(5)
	for n, root := range []*Hash{nil, &state} {
		cs := claims(10, n+1)
		for i := range cs {
			cs[i].Profile = ""
		}
		b, err := SignBatch(signer("unit"), cs, root)
		check(f, err)
		f.Add(b.Item().Data(), b.Item().RawTags())
	}
	f.Add(make([]byte, 64), []byte{})
	f.Add([]byte{0xff, 0xff}, []byte{})
	f.Fuzz(func(t *testing.T, data, rawTags []byte) {
		it, ok := unsigned(t, rawTags, data)
		if !ok {
			return
		}
		b, err := shapeBatch(it)
		if err != nil {
			wantErr(t, err, ErrClaim)
			return
		}
		again, err := SignBatch(signer("unit"), b.Claims(), b.State())
		check(t, err)
		if !bytes.Equal(again.Item().Data(), data) || !bytes.Equal(again.Item().RawTags(), it.RawTags()) {
			t.Fatal("signed again it is another item")
		}
		again, err = ParseBatch(again.Item().Raw())
		check(t, err)
		for i, c := range again.Claims() {
			got, unit, err := again.Prove(i).Check()
			check(t, err)
			if !bytes.Equal(got.Bytes(), c.Bytes()) || unit != again.Unit() {
				t.Fatalf("the proof of claim %d is of another", i)
			}
		}
	})
}

// unsigned is an item with these tags and data and an empty signature, if there can be one.
func unsigned(t testing.TB, rawTags, data []byte) (*ans104.Item, bool) {
	t.Helper()
	s := signer("unit")
	head := binary.LittleEndian.AppendUint16(nil, uint16(s.Type()))
	head = append(append(append(head, make([]byte, 64)...), s.Owner()...), 0, 0)
	for count := range uint64(10) {
		if _, err := ans104.DecodeTags(rawTags, count); err == nil {
			raw := binary.LittleEndian.AppendUint64(bytes.Clone(head), count)
			raw = binary.LittleEndian.AppendUint64(raw, uint64(len(rawTags)))
			it, err := ans104.Parse(slices.Concat(raw, rawTags, data))
			check(t, err)
			return it, true
		}
	}
	return nil, false
}

// FuzzProof takes a proof apart that is true at first.
func FuzzProof(f *testing.F) {
	b, err := SignBatch(signer("unit"), claims(10, 5), nil)
	check(f, err)
	p := b.Prove(4)
	var path []byte
	for _, h := range p.Path {
		path = append(path, h[:]...)
	}
	f.Add(p.Claim, path, p.Head.RawTags, p.Head.TagCount)
	f.Fuzz(func(t *testing.T, raw, path, rawTags []byte, count uint64) {
		q := Proof{Head: p.Head, Claim: raw}
		q.Head.RawTags, q.Head.TagCount = rawTags, count
		for ; len(path) >= 32; path = path[32:] {
			q.Path = append(q.Path, Hash(path[:32]))
		}
		if c, _, err := q.Check(); err == nil {
			i := int(c.Nonce - 10)
			if i < 0 || i >= 5 || !bytes.Equal(b.Claims()[i].Bytes(), raw) {
				t.Fatalf("a proof of %+v, which the unit never claimed", c)
			}
		}
	})
}

// The length of an element is believed only as far as there are bytes.
func TestBatchAllocation(t *testing.T) {
	data := bytes.Repeat(binary.BigEndian.AppendUint16(nil, 0xffff), 1<<20)
	it, err := ans104.Sign(signer("unit"), ans104.Fields{Data: data})
	check(t, err)
	allocs := testing.AllocsPerRun(5, func() {
		_, err = NewBatch(it)
	})
	wantErr(t, err, ErrClaim)
	if allocs > 20 {
		t.Errorf("%v allocations to refuse a hostile batch", allocs)
	}
}
