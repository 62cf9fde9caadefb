package ao

import (
	"bytes"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestParseMessage(t *testing.T) {
	target := id(3)
	run := []string{"Data-Protocol=ao", "Variant=ao.TN.1", "Type=Message"}
	process := []string{"Data-Protocol=ao", "Variant=ao.TN.1", "Type=Process", "Module=" + id(7).String(), "Scheduler=s"}
	for name, c := range map[string]struct {
		target []byte
		tags   []string
		want   error
	}{
		"message":                   {target[:], run, nil},
		"user tags first":           {target[:], append([]string{"Action=Eval"}, run...), nil},
		"another protocol too":      {target[:], append([]string{"Data-Protocol=other"}, run...), nil},
		"no Variant":                {target[:], []string{"Data-Protocol=ao", "Type=Message"}, nil},
		"process":                   {nil, process, nil},
		"process with a target":     {target[:], process, nil},
		"no tags":                   {target[:], nil, ErrNotAO},
		"no protocol":               {target[:], []string{"Type=Message"}, ErrNotAO},
		"another protocol":          {target[:], []string{"Data-Protocol=AO", "Type=Message"}, ErrNotAO},
		"no Type":                   {target[:], []string{"Data-Protocol=ao"}, ErrType},
		"first Type counts":         {target[:], []string{"Data-Protocol=ao", "Type=Assignment", "Type=Message"}, ErrType},
		"type in lower case":        {target[:], []string{"Data-Protocol=ao", "type=Message"}, ErrType},
		"module":                    {nil, []string{"Data-Protocol=ao", "Type=Module"}, ErrType},
		"message without a target":  {nil, run, ErrTarget},
		"process without module":    {nil, []string{"Data-Protocol=ao", "Type=Process", "Scheduler=s"}, ErrTags},
		"process with a bad module": {nil, []string{"Data-Protocol=ao", "Type=Process", "Module=x", "Scheduler=s"}, ErrTags},
		"process without scheduler": {nil, process[:4], ErrTags},
		"process, empty scheduler":  {nil, append(process[:4:4], "Scheduler="), ErrTags},
	} {
		t.Run(name, func(t *testing.T) {
			raw := item(t, ans104.Fields{Target: c.target, Tags: tags(c.tags...), Data: []byte("x")}).Raw()
			m, err := ParseMessage(raw)
			wantErr(t, err, c.want)
			if (err != nil) != m.IsZero() {
				t.Errorf("zero %v with error %v", m.IsZero(), err)
			}
			_, err = ParseMessage(tampered(raw))
			if err == nil {
				t.Error("a changed signature is accepted")
			}
			if c.want == nil {
				wantErr(t, err, ans104.ErrSignature)
			}
		})
	}
	if _, err := ParseMessage([]byte("short")); err == nil {
		t.Error("no item is accepted")
	}
}

func TestMessageSize(t *testing.T) {
	target := id(3)
	empty := message(t, target, nil, "x")
	room := MaxItem - len(empty.Raw()) + 1
	for _, c := range []struct {
		size int
		want error
	}{{room, nil}, {room + 1, ErrTooLarge}} {
		it := item(t, ans104.Fields{
			Target: target[:], Tags: protocolTags(TypeMessage), Data: bytes.Repeat([]byte("x"), c.size),
		})
		_, err := ParseMessage(it.Raw())
		wantErr(t, err, c.want)
		_, err = NewMessage(it)
		wantErr(t, err, c.want)
		_, err = SignMessage(signer("user"), target, nil, it.Data(), nil)
		wantErr(t, err, c.want)
	}
}

func TestMessageFields(t *testing.T) {
	anchor := []byte(strings.Repeat("a", 32))
	m, err := SignMessage(signer("user"), id(3), tags("Action=Eval", "Push-Mode=cast"), []byte("1+1"), anchor)
	check(t, err)
	again, err := ParseMessage(m.Raw())
	check(t, err)
	for _, m := range []Message{m, again} {
		if m.Target() != id(3) || m.IsSpawn() || !m.IsCast() || string(m.Data()) != "1+1" || !bytes.Equal(m.Anchor(), anchor) {
			t.Errorf("fields of %+v", m)
		}
		if m.Owner() != address(t, signer("user")) || m.From() != m.Owner() {
			t.Errorf("owner %s, from %s", m.Owner(), m.From())
		}
		if p, ok := m.Pushed(); ok {
			t.Errorf("pushed by %s", p)
		}
		if m.ID() != again.ID() || m.Item().ID() != m.ID() {
			t.Error("IDs differ")
		}
		wantTags(t, m.Tags(), "Action=Eval", "Push-Mode=cast", "Data-Protocol=ao", "Variant=ao.TN.1", "Type=Message")
	}
	pushed := message(t, id(3), tags("From-Process="+id(9).String(), "Cast=true"), "")
	if p, ok := pushed.Pushed(); !ok || p != id(9).String() || pushed.From() != p || pushed.IsCast() {
		t.Errorf("pushed by %q %v, from %q, cast %v", p, ok, pushed.From(), pushed.IsCast())
	}
	if string(pushed.Data()) != " " {
		t.Errorf("no data is sent as %q, as stock clients do it is one space", pushed.Data())
	}
	if _, err := SignMessage(signer("user"), id(3), nil, nil, []byte("short")); err == nil {
		t.Error("an anchor of 5 bytes is accepted")
	}
	if !(Message{}).IsZero() {
		t.Error("the zero value is a message")
	}
}

func TestTags(t *testing.T) {
	ts := tags("A=1", "B=2", "A=3", "C=")
	if ts.Get("A") != "1" || ts.Get("D") != "" || ts.Get("a") != "" {
		t.Error("Get")
	}
	if v, ok := ts.Lookup("C"); v != "" || !ok {
		t.Error("Lookup of an empty value")
	}
	if _, ok := ts.Lookup("D"); ok {
		t.Error("Lookup of nothing")
	}
	if all := ts.All("A"); len(all) != 2 || all[0] != "1" || all[1] != "3" {
		t.Errorf("All: %q", all)
	}
	less := ts.Without("A", "D")
	wantTags(t, less, "B=2", "C=")
	less[0].Value = "changed"
	wantTags(t, ts, "A=1", "B=2", "A=3", "C=")
}

func TestParseSlot(t *testing.T) {
	for s, ok := range map[string]bool{
		"0": true, "7": true, "18446744073709551615": true,
		"": false, "-1": false, "+1": false, "01": false, "1 ": false, "1.0": false, "0x1": false, "1_0": false,
		"18446744073709551616": false, strings.Repeat("9", 4000): false,
	} {
		n, err := ParseSlot(s)
		if ok {
			check(t, err)
			if n.String() != s {
				t.Errorf("%q reads as %s", s, n)
			}
			continue
		}
		wantErr(t, err, ErrTags)
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("error of %d bytes", len(err.Error()))
		}
	}
}
