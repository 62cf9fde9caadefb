package ao

import (
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
	d, err := PushDigest(m, p.trust)
	check(t, err)
	return d
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
		"bundle":            set("Bundle", id(6).String()),
		"another bundle":    set("Bundle", id(7).String()),
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
			if _, err := PushDigest(m, true); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("primitive/deephash", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			it.DeepHash()
		}
	})
}
