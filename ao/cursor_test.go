package ao

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// wallet is a key that no unit has.
func wallet(t testing.TB, name string) ans104.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	s, err := ans104.NewEthereumSigner(seed[:])
	check(t, err)
	return s
}

// assignElsewhere signs what SignAssignment would not: the tags as a scheduler of today's network writes them.
func assignElsewhere(t testing.TB, s ans104.Signer, f AssignmentFields, extra ...Tag) Assignment {
	t.Helper()
	list := Tags{
		{Name: "Process", Value: f.Process.String()},
		{Name: "Epoch", Value: "0"},
		{Name: "Nonce", Value: f.Nonce.String()},
		{Name: "Hash-Chain", Value: base64.RawURLEncoding.EncodeToString(f.HashChain[:])},
		{Name: "Block-Height", Value: twelveDigits(f.BlockHeight)},
		{Name: "Timestamp", Value: strconv.FormatInt(f.Timestamp, 10)},
		{Name: "Data-Protocol", Value: DataProtocol},
		{Name: "Type", Value: TypeAssignment},
		{Name: "Variant", Value: Variant},
	}
	it, err := ans104.Sign(s, ans104.Fields{Tags: append(list, extra...)})
	check(t, err)
	a, err := NewAssignment(it)
	check(t, err)
	return a
}

// messageTag names the message that an assignment is about.
func messageTag(m Message) Tag { return Tag{Name: "Message", Value: m.ID().String()} }

// TestCursorElsewhere: what logs of today's network may look like, and what not even they may.
func TestCursorElsewhere(t *testing.T) {
	p := spawn(t, nil)
	m := message(t, p.ID(), nil, "x")
	by := wallet(t, "scheduler")
	first := func(height uint64) (Cursor, AssignmentFields) {
		c := NewCursor(p.ID())
		f := AssignmentFields{Process: p.ID(), HashChain: [32]byte{1}, BlockHeight: height, Timestamp: 5}
		check(t, c.Step(Entry{Assignment: assignElsewhere(t, by, f, messageTag(m)), Message: m}))
		if c.Next != 1 || c.Begun != height {
			t.Fatalf("cursor %+v", c)
		}
		f.Nonce, f.HashChain = 1, c.Link
		return c, f
	}
	follow := func(c Cursor, f AssignmentFields) error {
		return c.Step(Entry{Assignment: assignElsewhere(t, by, f, messageTag(m)), Message: m})
	}

	c, f := first(ChainedSince)
	f.Timestamp, f.BlockHeight = 1, 2
	check(t, follow(c, f)) // time may run backwards
	f.HashChain[0] ^= 1
	wantErr(t, follow(c, f), ErrLink)
	old, g := first(ChainedSince - 1)
	g.HashChain[0] ^= 1
	check(t, follow(old, g)) // the links of such logs say nothing
	g.Nonce = 3
	wantErr(t, follow(old, g), ErrGap)

	// The process itself may stand in slot 0 as well, named or not.
	for _, extra := range [][]Tag{nil, {messageTag(p)}} {
		c := NewCursor(p.ID())
		f := AssignmentFields{Process: p.ID(), HashChain: FirstLink(p.ID()), BlockHeight: 5}
		check(t, c.Step(Entry{Assignment: assignElsewhere(t, by, f, extra...), Message: p}))
	}

	// A unit of our own may do none of this.
	it := assignElsewhere(t, by, AssignmentFields{Process: p.ID(), HashChain: FirstLink(p.ID())}, messageTag(m)).Item()
	own, err := ans104.Sign(signer("su"), ans104.Fields{Tags: it.Tags()})
	check(t, err)
	_, err = NewAssignment(own)
	wantErr(t, err, ErrTags)
}

// TestCursorSkips: slots are left out elsewhere alone, in the middle of a log, and not without end.
func TestCursorSkips(t *testing.T) {
	p := spawn(t, nil)
	m := message(t, p.ID(), nil, "x")
	entry := func(s ans104.Signer, nonce Slot, link [32]byte) Entry {
		f := AssignmentFields{Process: p.ID(), Nonce: nonce, HashChain: link, BlockHeight: ChainedSince, Timestamp: int64(nonce)}
		return Entry{Assignment: assignElsewhere(t, s, f, messageTag(m)), Message: m}
	}
	c := NewCursor(p.ID())
	by := wallet(t, "scheduler")
	if c.Skips(entry(by, 1, c.Link)) {
		t.Error("a log may begin anywhere")
	}
	check(t, c.Step(entry(by, 0, c.Link)))
	for name, e := range map[string]Entry{
		"the next one":   entry(by, 1, c.Link),
		"one before":     entry(by, 0, c.Link),
		"too far":        entry(by, 2+MaxSkip, c.Link),
		"a unit's key":   entry(signer("su"), 2, c.Link),
		"an empty entry": {Assignment: entry(signer("su"), 2, c.Link).Assignment},
	} {
		if c.Skips(e) {
			t.Errorf("%s: slots are left out", name)
		}
	}
	last := entry(by, 1+MaxSkip, c.Link)
	n := 0
	for c.Skips(last) {
		c.Skip()
		n++
	}
	if n != MaxSkip {
		t.Errorf("%d slots were left out, want %d", n, MaxSkip)
	}
	check(t, c.Step(last)) // linked to what came before the gap
}
