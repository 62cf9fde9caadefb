package ao

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// A fuzzer cannot sign, so the targets also look behind the signature check, where a signer's own malice gets.

func FuzzParseMessage(f *testing.F) {
	p, err := SignProcess(signer("user"), id(7), "s", tags("Authority=a,b", "Memory-Limit=1-mb", "Compute-Limit=9"), nil, nil)
	check(f, err)
	m, err := Draft{Target: id(3).String(), Data: []byte("d"), Tags: tags("Action=A", "Variant=ao.TN.1")}.Sign(signer("messenger"), origin(), id(6))
	check(f, err)
	u, err := SignMessage(signer("user"), id(3), tags("Push-Mode=cast"), []byte("1+1"), []byte(strings.Repeat("0", 32)))
	check(f, err)
	for _, m := range []Message{p, m, u} {
		f.Add(m.Raw())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		m, err := ParseMessage(raw)
		if (err != nil) != m.IsZero() {
			t.Fatalf("zero %v with error %v", m.IsZero(), err)
		}
		it, perr := ans104.Parse(raw)
		if perr != nil {
			if err == nil {
				t.Fatal("a message that is no item")
			}
			return
		}
		if m, err = shapeMessage(it); err != nil {
			known := false
			for _, sentinel := range []error{ErrNotAO, ErrType, ErrTags, ErrTarget, ErrTooLarge} {
				known = known || errors.Is(err, sentinel)
			}
			if !known || len(err.Error()) > 300 {
				t.Fatalf("error %v", err)
			}
			return
		}
		if m.Target().IsZero() && m.IsSpawn() || m.From() == "" && m.Owner() == "" {
			t.Fatal("a message from or to nobody")
		}
		if p, err := m.Process(); m.IsSpawn() {
			check(t, err)
			if p.Scheduler() == "" || len(p.Authorities()) > ans104.MaxTagBytes || p.Trusts("") {
				t.Fatalf("process %+v", p)
			}
		} else {
			wantErr(t, err, ErrType)
		}
		if PushDigest(m, true) == PushDigest(m, false) {
			t.Fatal("trust makes no difference")
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("input changed")
		}
	})
}

func FuzzParseAssignment(f *testing.F) {
	for _, a := range []AssignmentFields{
		{Process: id(1), Message: id(1), HashChain: FirstLink(id(1))},
		{Process: id(1), Nonce: 3, HashChain: id(2), BlockHeight: 1522898, Timestamp: 1728412707947, Message: id(4)},
	} {
		f.Add(assign(f, a).Raw())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ParseAssignment(raw)
		if (err != nil) != a.IsZero() {
			t.Fatalf("zero %v with error %v", a.IsZero(), err)
		}
		it, err := ans104.Parse(raw)
		if err != nil {
			return
		}
		var fields, again AssignmentFields
		if err := fields.read(it.Tags(), false); err != nil {
			wantErr(t, err, ErrTags)
			return
		}
		if fields.Nonce != 0 && fields.Message == fields.Process || (AssignOptions{Exclude: fields.Exclude}).Check() != nil {
			return // no scheduler of ours signs that
		}
		signed, err := SignAssignment(signer("scheduler"), fields)
		check(t, err)
		check(t, again.read(signed.is.Tags(), false))
		if !reflect.DeepEqual(again, fields) {
			t.Fatalf("%+v reads as %+v", fields, again)
		}
		c := Cursor{Process: fields.Process, Next: fields.Nonce, Link: fields.HashChain, Timestamp: -1}
		wantErr(t, c.Step(Entry{Assignment: signed}), ErrMismatch)
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		response, `{"ok":false,"response":"boom"}`, `{"ok":true,"response":{"Error":"","Messages":{},"Output":null}}`,
		`{"ok":true,"response":{"Messages":[{"Target":1,"Tags":{}}],"Messages":[null]}}`, `{"ok":true,"response":null}`, `[]`,
		`{"ok":true,"response":{"Messages":[{"Target":"t","Tags":[{"name":"Assignments","value":["p",1,null]}]}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		r, err := ParseResponse(raw)
		if err != nil {
			wantErr(t, err, ErrResponse)
			return
		}
		if !json.Valid(raw) {
			t.Fatal("a result that is no JSON")
		}
		if r.Error != nil && r.Outbox() != 0 || r.Outbox() > MaxOutbox {
			t.Fatalf("an outbox of %d with error %s", r.Outbox(), r.Error)
		}
		for _, part := range [][]byte{r.Error, r.Output} {
			if part != nil && (!json.Valid(part) || !bytes.Contains(raw, part) && r.Error == nil) {
				t.Fatalf("%s is not of the answer", part)
			}
		}
		for _, d := range append(append([]Draft{}, r.Messages...), r.Spawns...) {
			if !bytes.Contains(raw, d.Raw) || !json.Valid(d.Raw) {
				t.Fatalf("%s is not of the answer", d.Raw)
			}
			if list, err := d.Assignments(); err != nil && !errors.Is(err, ErrDraft) || len(list) > maxList {
				t.Fatalf("%d assignments, %v", len(list), err)
			}
			if m, err := d.Sign(signer("messenger"), origin(), ID{}); err == nil {
				if m.From() != id(1).String() || m.Target().String() != d.Target || m.Tags().Get("Type") != TypeMessage || len(m.Tags().All("Type")) != 1 {
					t.Fatalf("tags %q", m.Tags())
				}
			} else {
				wantErr(t, err, ErrDraft)
			}
			if m, err := d.SignSpawn(signer("messenger"), origin(), "s"); err == nil {
				if _, err := m.Process(); err != nil || m.From() != id(1).String() || len(m.Tags().All("From-Process")) != 1 {
					t.Fatalf("tags %q: %v", m.Tags(), err)
				}
			} else {
				wantErr(t, err, ErrDraft)
			}
		}
		again, err := DecodeResult(r.Encode())
		check(t, err)
		if !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v\nencoded and decoded\n%+v", r, again)
		}
		if !bytes.Equal(raw, before) {
			t.Fatal("input changed")
		}
	})
}

func FuzzDecodeResult(f *testing.F) {
	r, err := ParseResponse([]byte(response))
	check(f, err)
	f.Add(r.Encode())
	f.Add(Failed("no").Encode())
	f.Add(Result{Decision: Duplicate, GasUsed: 1}.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeResult(raw)
		if err != nil {
			wantErr(t, err, ErrResponse)
			return
		}
		if !bytes.Equal(r.Encode(), raw) || r.Outbox() > MaxOutbox {
			t.Fatalf("encoded again it is %x, not %x", r.Encode(), raw)
		}
	})
}

func FuzzRefuse(f *testing.F) {
	f.Add("a\nb\x1b[0m")
	f.Add(strings.Repeat("é", maxDetail))
	f.Fuzz(func(t *testing.T, s string) {
		d := Refuse("push", Malformed, "%s", s).Detail
		if !utf8.ValidString(d) || len(d) > maxDetail+len("…") || strings.ContainsAny(d, "\n\r\x1b\u2028\u0085") {
			t.Fatalf("detail %q", d)
		}
	})
}
