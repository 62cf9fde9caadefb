package ao

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// reserved are tags that a module may not set for a messenger, with values that would be forgeries.
var reserved = tags("Data-Protocol=x", "Type=Assignment", "From-Process=forged", "From-Module=forged", "Assignments=forged",
	"Pushed-For=forged", "From-Slot=99", "From-Index=99", "From-Result=forged", "Attestation-Bundle=forged",
	"from-process=forged", "FROM-MODULE=forged", "pushed-for=forged", "from-Slot=99", "attestation-bundle=forged")

func origin() Origin {
	return Origin{Process: id(1), Module: "module", PushedFor: "root", Slot: 4, Index: 2, Digest: id(5)}
}

func TestDraftSign(t *testing.T) {
	d := Draft{
		Target: id(3).String(), Anchor: strings.Repeat("0", 31) + "7", Data: []byte("data"),
		Tags: append(tags("Action=Ping", "Variant=ao.TN.1", "Empty=", "=nameless", "Reference=7", "Action=Again"), reserved...),
	}
	base := []string{
		"Action=Ping", "Variant=ao.TN.1", "Reference=7", "Action=Again", "Data-Protocol=ao", "Type=Message",
		"From-Process=" + id(1).String(), "From-Module=module",
	}
	from := []string{"From-Slot=4", "From-Index=2", "From-Result=" + id(5).String()}
	for name, c := range map[string]struct {
		change func(*Origin)
		bundle ID
		more   []string
	}{
		"all":        {func(*Origin) {}, id(6), append(append([]string{"Pushed-For=root"}, from...), "Attestation-Bundle="+id(6).String())},
		"no bundle":  {func(*Origin) {}, ID{}, append([]string{"Pushed-For=root"}, from...)},
		"root":       {func(o *Origin) { o.PushedFor = "" }, ID{}, from},
		"no digest":  {func(o *Origin) { o.Digest = ID{} }, ID{}, []string{"Pushed-For=root", from[0], from[1], "From-Result=" + ID{}.String()}},
		"first slot": {func(o *Origin) { o.Slot, o.Index = 0, 0 }, ID{}, []string{"Pushed-For=root", "From-Slot=0", "From-Index=0", from[2]}},
	} {
		t.Run(name, func(t *testing.T) {
			o := origin()
			c.change(&o)
			m, err := d.Sign(signer("messenger"), o, c.bundle)
			check(t, err)
			wantTags(t, m.Tags(), append(base[:len(base):len(base)], c.more...)...)
			if m.Target() != id(3) || string(m.Data()) != "data" || string(m.Anchor()) != d.Anchor || m.From() != id(1).String() {
				t.Errorf("target %s, data %q, anchor %q, from %s", m.Target(), m.Data(), m.Anchor(), m.From())
			}
			again, err := d.Sign(signer("messenger"), o, c.bundle)
			check(t, err)
			if !bytes.Equal(m.Raw(), again.Raw()) {
				t.Error("pushed again it is another item")
			}
			_, err = ParseMessage(m.Raw())
			check(t, err)
		})
	}
	plain, err := Draft{Target: id(3).String(), Anchor: "short"}.Sign(signer("messenger"), origin(), ID{})
	check(t, err)
	if len(plain.Anchor()) != 0 || string(plain.Data()) != " " {
		t.Errorf("anchor %q, data %q", plain.Anchor(), plain.Data())
	}
	for name, d := range map[string]Draft{
		"no target":      {},
		"short target":   {Target: "x"},
		"wallet target":  {Target: "0x0000000000000000000000000000000000000000"},
		"long tags":      {Target: id(3).String(), Tags: tags("A=" + strings.Repeat("x", ans104.MaxTagBytes))},
		"too many tags":  {Target: id(3).String(), Tags: make(Tags, 0, 200)},
		"too much data":  {Target: id(3).String(), Data: make([]byte, MaxItem)},
		"padded target":  {Target: id(3).String() + "="},
		"newline behind": {Target: id(3).String() + "\n"},
	} {
		for len(d.Tags) < cap(d.Tags) {
			d.Tags = append(d.Tags, Tag{Name: "A", Value: "1"})
		}
		_, err := d.Sign(signer("messenger"), origin(), ID{})
		if wantErr(t, err, ErrDraft); err == nil {
			t.Error(name)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: error of %d bytes", name, len(err.Error()))
		}
	}
}

func TestDraftSignSpawn(t *testing.T) {
	run := func(variant, scheduler string) []string {
		return []string{
			"Module=" + id(7).String(), "Name=child", "Scheduler=" + scheduler, "Variant=" + variant, "Data-Protocol=ao",
			"Type=Process", "From-Process=" + id(1).String(), "From-Module=module", "Pushed-For=root", "From-Slot=4",
			"From-Index=2", "From-Result=" + id(5).String(),
		}
	}
	own := append(tags("Module="+id(7).String(), "Name=child"), reserved.Without("Assignments")...)
	for name, c := range map[string]struct {
		tags Tags
		want []string
	}{
		"spawner's scheduler": {own, run("ao.TN.1", "spawner's")},
		"empty scheduler":     {append(own[:len(own):len(own)], tags("Scheduler=")...), run("ao.TN.1", "spawner's")},
		"own variant":         {append(own[:len(own):len(own)], tags("Variant=ao.N.1")...), run("ao.N.1", "spawner's")},
		"odd variant":         {append(own[:len(own):len(own)], tags("Variant=ao.TN.2")...), run("ao.TN.1", "spawner's")},
		"bad variant":         {append(own[:len(own):len(own)], tags("Variant=x")...), run("ao.TN.1", "spawner's")},
		"own scheduler":       {append(own[:len(own):len(own)], tags("Scheduler=own")...), run("ao.TN.1", "own")},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Draft{Target: id(3).String(), Tags: c.tags, Data: []byte("boot")}.SignSpawn(signer("messenger"), origin(), "spawner's")
			check(t, err)
			wantTags(t, m.Tags(), c.want...)
			if !m.IsSpawn() || len(m.Item().Target()) != 0 || string(m.Data()) != "boot" {
				t.Errorf("spawn %v, target %x, data %q", m.IsSpawn(), m.Item().Target(), m.Data())
			}
			p, err := m.Process()
			check(t, err)
			if p.Owner() != id(1).String() {
				t.Errorf("owner %s", p.Owner())
			}
		})
	}
	for name, d := range map[string]Draft{"no module": {}, "bad module": {Tags: tags("Module=x")}} {
		if _, err := d.SignSpawn(signer("messenger"), origin(), "s"); err == nil {
			t.Error(name)
		} else {
			wantErr(t, err, ErrDraft)
			wantErr(t, err, ErrTags)
		}
	}
	_, err := Draft{Tags: tags("Module=" + id(7).String())}.SignSpawn(signer("messenger"), origin(), "")
	wantErr(t, err, ErrTags)
}

func TestDraftSpawned(t *testing.T) {
	d := Draft{
		Target: "x", Data: []byte("boot"), Anchor: "a", Tags: tags("Data-Protocol=ao", "Reference=9", "Type=Process",
			"Variant=ao.TN.1", "Process=forged", "Action=Other", "Module=m", "Scheduler=s", "Authority=a", "Name=child", "Authority=b"),
	}
	n := d.Spawned(id(6))
	wantTags(t, n.Tags, "Reference=9", "Name=child", "Process="+id(6).String(), "Action=Spawned", "Variant=ao.TN.1")
	if n.Target != "" || n.Anchor != "" || len(n.Data) != 0 {
		t.Errorf("notice %+v", n)
	}
	n.Target = id(1).String()
	m, err := n.Sign(signer("messenger"), origin(), ID{})
	check(t, err)
	if m.Target() != id(1) || m.Tags().Get("Process") != id(6).String() {
		t.Errorf("tags %q", m.Tags())
	}
}

func TestKind(t *testing.T) {
	for k, want := range map[Kind]string{KindMessage: "message", KindSpawn: "spawn", KindAssignment: "assignment", 9: "kind 9"} {
		if k.String() != want {
			t.Errorf("kind %d is %q", uint8(k), k)
		}
	}
}

// TestAbroad: what goes abroad is a copy that another key signs, and a spawn's notice can name another process.
func TestAbroad(t *testing.T) {
	d := Draft{Target: id(1).String(), Anchor: strings.Repeat("7", 32), Data: []byte("data"), Tags: tags("Action=Ping")}
	m, err := d.Sign(signer("messenger"), Origin{Process: id(2), Module: "m", PushedFor: "root", Slot: 3, Index: 1}, ID{})
	check(t, err)
	by := wallet(t, "messenger")
	out, err := m.Abroad(by)
	check(t, err)
	if out.Owner() != address(t, by) || PushDigest(out, true) != PushDigest(m, true) || string(out.Anchor()) != d.Anchor {
		t.Errorf("%s is no copy", out.ID())
	}
	for _, name := range []string{"From-Slot", "From-Index", "From-Result"} {
		if _, ok := out.Tags().Lookup(name); ok {
			t.Errorf("it has %s", name)
		}
	}
	again, err := m.Abroad(by)
	check(t, err)
	if again.ID() != out.ID() {
		t.Error("it comes out otherwise the second time")
	}

	notice := d.Spawned(id(5))
	notice.Target = id(1).String()
	n, err := notice.Sign(signer("messenger"), Origin{Process: id(1), Module: "m"}, ID{})
	check(t, err)
	renamed, err := n.Renamed(signer("messenger"), id(6))
	check(t, err)
	if renamed.Tags().Get("Process") != id(6).String() || n.Tags().Get("Process") != id(5).String() || renamed.Tags().Get("Action") != "Spawned" {
		t.Errorf("the tags are %v", renamed.Tags())
	}
}
