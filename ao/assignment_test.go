package ao

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestFirstLink(t *testing.T) {
	// SHA-256 of 32 zero bytes.
	link := FirstLink(ID{})
	if got := hex.EncodeToString(link[:]); got != "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925" {
		t.Errorf("first link %s", got)
	}
}

func TestLink(t *testing.T) {
	a := assign(t, AssignmentFields{Process: id(1), Message: id(1), HashChain: FirstLink(id(1)), BlockHeight: 1522898, Timestamp: 1728412707947})
	name, err := base64.RawURLEncoding.DecodeString(a.ID().String())
	check(t, err)
	first, err := base64.RawURLEncoding.DecodeString(a.Item().Tags()[3].Value)
	check(t, err)
	want := sha256.Sum256(slices.Concat(name, first))
	if a.Link() != want {
		t.Errorf("link %x, want %x", a.Link(), want)
	}
	// The same by sha256sum, from the ID that the deterministic signature gives.
	link := a.Link()
	if got := hex.EncodeToString(link[:]); got != "1a01aeb71dd5fd7402e1b9c545e40e2adc6c72b4c6208c9333018ebd8133c4b3" {
		t.Errorf("link %s", got)
	}
}

func TestSignAssignment(t *testing.T) {
	f := AssignmentFields{
		Process: id(1), Nonce: 3, HashChain: id(2), BlockHeight: 1522898, Timestamp: 1728412707947, Message: id(4),
	}
	a := assign(t, f)
	wantTags(t, a.Item().Tags(), "Process="+id(1).String(), "Epoch=0", "Nonce=3", "Hash-Chain="+id(2).String(),
		"Block-Height=000001522898", "Timestamp=1728412707947", "Data-Protocol=ao", "Type=Assignment", "Variant=ao.TN.1",
		"Message="+id(4).String())
	if it := a.Item(); len(it.Data()) != 0 || len(it.Target()) != 0 || len(it.Anchor()) != 32 {
		t.Errorf("%d bytes of data, target %x, anchor %x", len(it.Data()), it.Target(), it.Anchor())
	}
	if b := assign(t, f); !bytes.Equal(b.Raw(), a.Raw()) {
		t.Error("signing again makes another item")
	}
	other := f
	other.BlockHeight++ // what a clock may have changed after a crash is not in the anchor, what names the slot is
	if b := assign(t, other); !bytes.Equal(b.Item().Anchor(), a.Item().Anchor()) {
		t.Error("the anchor depends on the height")
	}
	for _, change := range []func(*AssignmentFields){
		func(f *AssignmentFields) { f.Process = id(9) }, func(f *AssignmentFields) { f.Nonce++ },
		func(f *AssignmentFields) { f.HashChain = id(9) }, func(f *AssignmentFields) { f.Message = id(9) },
	} {
		other := f
		change(&other)
		if b := assign(t, other); bytes.Equal(b.Item().Anchor(), a.Item().Anchor()) {
			t.Errorf("%+v has the anchor of %+v", other, f)
		}
	}
	first := assign(t, AssignmentFields{Process: id(1), Message: id(1), HashChain: FirstLink(id(1))})
	wantTags(t, first.Item().Tags(), "Process="+id(1).String(), "Epoch=0", "Nonce=0",
		"Hash-Chain="+ID(FirstLink(id(1))).String(), "Block-Height=000000000000", "Timestamp=0", "Data-Protocol=ao",
		"Type=Assignment", "Variant=ao.TN.1")
	big := f
	big.BlockHeight, big.Timestamp, big.Nonce = math.MaxInt64, math.MaxInt64, math.MaxUint64
	less := f
	less.Exclude = []string{"Data", "Anchor"}
	tags := assign(t, less).Item().Tags()
	if wantTags(t, tags[len(tags)-3:], "Message="+id(4).String(), "Exclude=Data", "Exclude=Anchor"); assign(t, less).ID() == a.ID() {
		t.Error("what is excluded is not signed")
	}
	for _, a := range []Assignment{a, first, assign(t, big), assign(t, less)} {
		b, err := ParseAssignment(a.Raw())
		check(t, err)
		if !reflect.DeepEqual(b.Fields(), a.Fields()) || b.ID() != a.ID() || b.Link() != a.Link() {
			t.Errorf("%+v reads as %+v", a.Fields(), b.Fields())
		}
		if b.Process() != b.Fields().Process || b.Nonce() != b.Fields().Nonce || b.Message() != b.Fields().Message ||
			b.Owner() != address(t, signer("scheduler")) || b.IsZero() {
			t.Errorf("accessors of %+v", b)
		}
	}
	for _, bad := range []func(*AssignmentFields){
		func(f *AssignmentFields) { f.Nonce = 0 }, func(f *AssignmentFields) { f.Message = f.Process },
		func(f *AssignmentFields) { f.Timestamp = -1 }, func(f *AssignmentFields) { f.BlockHeight = 1 << 63 },
		func(f *AssignmentFields) { f.Exclude = []string{"Data", "Data"} },
	} {
		other := f
		bad(&other)
		_, err := SignAssignment(signer("scheduler"), other)
		wantErr(t, err, ErrTags)
	}
	if !(Assignment{}).IsZero() {
		t.Error("the zero value is an assignment")
	}
}

func TestParseAssignment(t *testing.T) {
	whole := []string{
		"Process=" + id(1).String(), "Epoch=0", "Nonce=3", "Hash-Chain=" + id(2).String(), "Block-Height=000001522898",
		"Timestamp=1728412707947", "Data-Protocol=ao", "Type=Assignment", "Variant=ao.TN.1", "Message=" + id(4).String(),
	}
	with := func(name, value string) []string {
		out := slices.DeleteFunc(slices.Clone(whole), func(w string) bool { return strings.HasPrefix(w, name+"=") })
		if value != "" {
			out = append(out, name+"="+value)
		}
		return out
	}
	for name, c := range map[string]struct {
		tags []string
		want error
	}{
		"whole":              {whole, nil},
		"in another order":   {with("Process", id(1).String()), nil},
		"with Exclude":       {append(whole[:10:10], "Exclude=Data"), nil},
		"Exclude twice":      {append(whole[:10:10], "Exclude=Data", "Exclude=Anchor"), nil},
		"two nonces":         {append(whole[:10:10], "Nonce=4"), ErrTags},
		"two epochs":         {append(whole[:10:10], "Epoch=0"), ErrTags},
		"two messages":       {append(whole[:10:10], "Message="+id(4).String()), ErrTags},
		"nothing":            {nil, ErrNotAO},
		"another protocol":   {with("Data-Protocol", "x"), ErrNotAO},
		"another type":       {with("Type", "Message"), ErrType},
		"no type":            {with("Type", ""), ErrType},
		"no process":         {with("Process", ""), ErrTags},
		"short process":      {with("Process", id(1).String()[1:]), ErrTags},
		"no nonce":           {with("Nonce", ""), ErrTags},
		"long nonce":         {with("Nonce", "03"), ErrTags},
		"huge nonce":         {with("Nonce", "18446744073709551616"), ErrTags},
		"no link":            {with("Hash-Chain", ""), ErrTags},
		"hexadecimal link":   {with("Hash-Chain", strings.Repeat("ab", 32)), ErrTags},
		"no height":          {with("Block-Height", ""), ErrTags},
		"negative height":    {with("Block-Height", "-1"), ErrTags},
		"huge height":        {with("Block-Height", "9223372036854775808"), ErrTags},
		"no time":            {with("Timestamp", ""), ErrTags},
		"negative time":      {with("Timestamp", "-1"), ErrTags},
		"signed time":        {with("Timestamp", "+1"), ErrTags},
		"huge time":          {with("Timestamp", "9223372036854775808"), ErrTags},
		"no message":         {with("Message", ""), ErrTags},
		"bad message":        {with("Message", "x"), ErrTags},
		"slot 0 and message": {with("Nonce", "0"), ErrTags},
	} {
		t.Run(name, func(t *testing.T) {
			it := item(t, ans104.Fields{Tags: tags(c.tags...)})
			a, err := ParseAssignment(it.Raw())
			wantErr(t, err, c.want)
			if c.want == nil {
				want := AssignmentFields{id(1), 3, id(2), 1522898, 1728412707947, id(4), Tags(it.Tags()).All("Exclude")}
				if !reflect.DeepEqual(a.Fields(), want) {
					t.Errorf("fields %+v", a.Fields())
				}
				_, err = ParseAssignment(tampered(it.Raw()))
				wantErr(t, err, ans104.ErrSignature)
				var v ans104.Verifier
				same, err := ParseAssignmentBy(&v, it.Raw())
				check(t, err)
				if !reflect.DeepEqual(same.Fields(), want) {
					t.Errorf("fields %+v by a verifier", same.Fields())
				}
				_, err = ParseAssignmentBy(&v, tampered(it.Raw()))
				wantErr(t, err, ans104.ErrSignature)
			}
		})
	}
	if _, err := ParseAssignment(nil); err == nil {
		t.Error("nothing is an assignment")
	}
}

// chain is a sound log: the process and n messages.
func chain(t testing.TB, n int) []Entry {
	t.Helper()
	p := spawn(t, nil)
	f := AssignmentFields{Process: p.ID(), Message: p.ID(), HashChain: FirstLink(p.ID()), BlockHeight: 10, Timestamp: 1000}
	out := []Entry{{Proof: ProofAssignment, Assignment: assign(t, f), Message: p}}
	for i := range n {
		m := message(t, p.ID(), tags("N="+Slot(i).String()), "x")
		f = AssignmentFields{
			Process: p.ID(), Nonce: Slot(i) + 1, Message: m.ID(), HashChain: out[i].Assignment.Link(),
			BlockHeight: 10 + uint64(i/2), Timestamp: f.Timestamp + 1,
		}
		out = append(out, Entry{Proof: ProofAssignment, Assignment: assign(t, f), Message: m})
	}
	return out
}

func TestCursor(t *testing.T) {
	log := chain(t, 4)
	p := log[0].Message.ID()
	c := NewCursor(p)
	for i, e := range log {
		check(t, c.Step(e))
		f := e.Assignment.Fields()
		if want := (Cursor{p, Slot(i) + 1, e.Assignment.Link(), f.Timestamp, f.BlockHeight, 10}); c != want {
			t.Fatalf("cursor %+v, want %+v", c, want)
		}
	}

	other := chain(t, 4)
	early := NewCursor(p)
	check(t, early.Step(log[0]))
	check(t, early.Step(log[1]))
	alter := func(change func(*AssignmentFields)) Entry {
		f := log[2].Assignment.Fields()
		change(&f)
		return Entry{Assignment: assign(t, f), Message: log[2].Message}
	}
	foreign := id(8)
	for name, c := range map[string]struct {
		cursor Cursor
		entry  Entry
		want   error
		slot   string
	}{
		"no entry":         {early, Entry{}, ErrOtherLog, "slot 2:"},
		"another log":      {early, alter(func(f *AssignmentFields) { f.Process = foreign }), ErrOtherLog, "slot 2:"},
		"later":            {early, log[3], ErrGap, "slot 2:"},
		"again":            {early, log[1], ErrGap, "slot 2:"},
		"another link":     {early, alter(func(f *AssignmentFields) { f.HashChain[31] ^= 1 }), ErrLink, "slot 2:"},
		"first link":       {NewCursor(p), Entry{Assignment: assign(t, AssignmentFields{Process: p, Message: p}), Message: log[0].Message}, ErrLink, "slot 0:"},
		"same time":        {early, alter(func(f *AssignmentFields) { f.Timestamp = early.Timestamp }), ErrOrder, "slot 2:"},
		"earlier time":     {early, alter(func(f *AssignmentFields) { f.Timestamp = 1 }), ErrOrder, "slot 2:"},
		"lower height":     {early, alter(func(f *AssignmentFields) { f.BlockHeight = 9 }), ErrOrder, "slot 2:"},
		"no message":       {early, Entry{Assignment: log[2].Assignment}, ErrMismatch, "slot 2:"},
		"another message":  {early, Entry{Assignment: log[2].Assignment, Message: log[3].Message}, ErrMismatch, "slot 2:"},
		"slot 0 not there": {NewCursor(p), log[1], ErrGap, "slot 0:"},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.cursor
			err := c.cursor.Step(c.entry)
			wantErr(t, err, c.want)
			if err == nil || !strings.HasPrefix(err.Error(), c.slot) {
				t.Errorf("error %v does not name the slot", err)
			}
			if c.cursor != before {
				t.Error("the cursor moved")
			}
		})
	}
	check(t, early.Step(log[2]))
	if other[0].Message.ID() != p {
		t.Error("the same process signed twice has two IDs")
	}

	// A message cannot stand in slot 0.
	m := message(t, p, nil, "x")
	c = NewCursor(m.ID())
	a := assign(t, AssignmentFields{Process: m.ID(), Message: m.ID(), HashChain: FirstLink(m.ID()), Timestamp: 1})
	wantErr(t, c.Step(Entry{Assignment: a, Message: m}), ErrMismatch)
}
