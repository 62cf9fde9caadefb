package ao

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// pushItem is a pushed message whose parts a test can change.
type pushItem struct {
	signer string
	fields ans104.Fields
	trust  bool
}

func (p pushItem) digest(t testing.TB) [32]byte {
	t.Helper()
	it, err := ans104.Sign(signer(p.signer), p.fields)
	check(t, err)
	m, err := NewMessage(it)
	check(t, err)
	return PushDigest(m, p.trust)
}

func pushed() pushItem {
	target := id(3)
	return pushItem{signer: "messenger", trust: true, fields: ans104.Fields{
		Target: target[:], Anchor: []byte(strings.Repeat("0", 32)), Data: []byte("data"), Tags: tags("Action=Ping",
			"Quantity=1", "Data-Protocol=ao", "Type=Message", "Variant=ao.TN.1", "From-Process="+id(1).String(), "From-Module=m",
			"Pushed-For=root", "From-Slot=1", "From-Index=0", "From-Result=r"),
	}}
}

func TestPushDigest(t *testing.T) {
	want := pushed().digest(t)
	if got := hex.EncodeToString(want[:]); got != "c029f050268cc6f4f82aeebe839c2b00f17cff8c6c8f33dbfebe07382a38b65a" {
		t.Errorf("digest %s", got)
	}
	set := func(name, value string) func(*pushItem) {
		return func(p *pushItem) {
			p.fields.Tags = append(Tags(p.fields.Tags).Without(name), Tag{Name: name, Value: value})
		}
	}
	drop := func(names ...string) func(*pushItem) {
		return func(p *pushItem) { p.fields.Tags = Tags(p.fields.Tags).Without(names...) }
	}
	for name, change := range map[string]func(*pushItem){
		"another messenger":  func(p *pushItem) { p.signer = "other" },
		"another root":       set("Pushed-For", "other"),
		"no root":            drop("Pushed-For"),
		"another slot":       set("From-Slot", "2"),
		"another index":      set("From-Index", "1"),
		"another result":     set("From-Result", "other"),
		"as a foreign unit":  drop("From-Slot", "From-Index", "From-Result"),
		"tags backwards":     func(p *pushItem) { slices.Reverse(p.fields.Tags) },
		"same tag elsewhere": set("Action", "Ping"),
	} {
		p := pushed()
		change(&p)
		if p.digest(t) != want {
			t.Errorf("%s: another digest", name)
		}
	}
	seen := map[[32]byte]string{want: "the message itself"}
	elsewhere := id(4)
	for name, change := range map[string]func(*pushItem){
		"stranger":          func(p *pushItem) { p.trust = false },
		"data":              func(p *pushItem) { p.fields.Data = []byte("date") },
		"target":            func(p *pushItem) { p.fields.Target = elsewhere[:] },
		"anchor":            func(p *pushItem) { p.fields.Anchor = []byte(strings.Repeat("1", 32)) },
		"no anchor":         func(p *pushItem) { p.fields.Anchor = nil },
		"tag's value":       set("Quantity", "2"),
		"tag's name":        set("quantity", "1"),
		"tag twice":         func(p *pushItem) { p.fields.Tags = append(p.fields.Tags, Tag{Name: "Action", Value: "Ping"}) },
		"tag less":          drop("Quantity"),
		"another sender":    set("From-Process", id(2).String()),
		"another module":    set("From-Module", "n"),
		"bundle":            set("Attestation-Bundle", id(6).String()),
		"another bundle":    set("Attestation-Bundle", id(7).String()),
		"lower-case origin": set("from-slot", "1"),
		"border moved":      func(p *pushItem) { drop("Action")(p); set("Actio", "nPing")(p) },
	} {
		p := pushed()
		change(&p)
		d := p.digest(t)
		if twin, ok := seen[d]; ok {
			t.Errorf("%s: the digest of %s", name, twin)
		}
		seen[d] = name
	}
}

// Repeated names are sorted by value, so that two messengers that read an outbox alike agree.
func TestPushDigestSortsValues(t *testing.T) {
	p := pushed()
	p.fields.Tags = append(p.fields.Tags, tags("X=2", "X=1")...)
	q := pushed()
	q.fields.Tags = append(q.fields.Tags, tags("X=1", "X=2")...)
	if p.digest(t) != q.digest(t) {
		t.Error("the order of equal names counts")
	}
}

func BenchmarkPushDigest(b *testing.B) {
	it, err := ans104.Sign(signer("messenger"), pushed().fields)
	check(b, err)
	m, err := NewMessage(it)
	check(b, err)
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			PushDigest(m, true)
		}
	})
	b.Run("primitive/deephash", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			it.DeepHash()
		}
	})
}

// A bare copy and one that carries attestations hold a slot each, and one of them takes effect.
func TestEffectDigest(t *testing.T) {
	message := func(p pushItem) Message {
		it, err := ans104.Sign(signer(p.signer), p.fields)
		check(t, err)
		m, err := NewMessage(it)
		check(t, err)
		return m
	}
	bare, secured := pushed(), pushed()
	secured.fields.Tags = append(secured.fields.Tags, Tag{Name: "Attestation-Bundle", Value: id(6).String()})
	a, b := message(bare), message(secured)
	if PushDigest(a, true) == PushDigest(b, true) || EffectDigest(a, true) != EffectDigest(b, true) {
		t.Error("the bundle counts where it must not, or does not where it must")
	}
	if EffectDigest(a, true) == EffectDigest(a, false) {
		t.Error("a stranger's copy has the effect of the trusted one")
	}
}

// An item may leave out the zero that closes its tags; the canonical block is then one byte longer than an item's may
// be. Such a message must not be able to make a log unreadable.
func TestPushDigestOfLargestTags(t *testing.T) {
	process := id(1).String()
	list := append(tags("Data-Protocol=ao", "Type=Message", "From-Process="+process), Tag{Name: "Fill"})
	pad := func(n int) []byte {
		list[len(list)-1].Value = strings.Repeat("x", n)
		raw, err := ans104.EncodeTags(list)
		check(t, err)
		return raw
	}
	// Padded to one byte too many, of which the last, the closing zero, is cut off.
	n := ans104.MaxTagBytes - len(pad(2000)) + 2000
	block := pad(n)
	head := block[:len(block)-1-n-2] // the value's length takes two bytes
	list[len(list)-1].Value += "x"
	grown := append(binary.AppendVarint(slices.Clone(head), int64(n+1)), list[len(list)-1].Value...)
	got, err := ans104.DecodeTags(grown, uint64(len(list)))
	check(t, err)
	if !slices.Equal(Tags(got), list) || len(grown) != ans104.MaxTagBytes {
		t.Fatalf("%d bytes of tags", len(grown))
	}
	if _, err := ans104.EncodeTags(got); err == nil {
		t.Fatal("the canonical block fits, so this test shows nothing")
	}
	target := id(3)
	it := withTagBlock(t, signer("stranger"), target[:], grown, uint64(len(got)))
	m, err := NewMessage(it)
	check(t, err)
	if PushDigest(m, true) == PushDigest(m, false) {
		t.Error("trust makes no difference")
	}
}

// withTagBlock signs an item whose tag block is written as it stands.
func withTagBlock(t *testing.T, s ans104.Signer, target, block []byte, count uint64) *ans104.Item {
	t.Helper()
	raw := binary.LittleEndian.AppendUint16(nil, uint16(s.Type()))
	raw = append(raw, make([]byte, 64)...)
	raw = append(append(append(raw, s.Owner()...), 1), target...)
	raw = binary.LittleEndian.AppendUint64(append(raw, 0), count)
	raw = binary.LittleEndian.AppendUint64(raw, uint64(len(block)))
	raw = append(append(raw, block...), ' ')
	draft, err := ans104.Parse(slices.Clone(raw))
	check(t, err)
	deep := draft.DeepHash()
	signature, err := s.Sign(deep[:])
	check(t, err)
	copy(raw[2:], signature)
	it, err := ans104.Parse(raw)
	check(t, err)
	return it
}
