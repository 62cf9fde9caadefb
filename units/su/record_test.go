package su

import (
	"bytes"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestLogNames(t *testing.T) {
	id := unitstest.ID("somewhere")
	if got, err := processOf(logName(id)); err != nil || got != id {
		t.Errorf("%s became %s, %v", id, got, err)
	}
	for _, bad := range []string{"", "su/", "su/x/0", "su/" + id.String(), "su/" + id.String() + "/1", "su/" + id.String()[1:] + "/0"} {
		if _, err := processOf(bad); err == nil {
			t.Errorf("%q is a log's name", bad)
		}
	}
}

func TestItemBytes(t *testing.T) {
	c := unitstest.MakeChain(t, "bytes", 2)
	c.Add(t, transactionOf(t))
	for _, e := range c.Entries() {
		if got := itemBytes(encodeRecord(e)); got != entryBytes(e) {
			t.Errorf("%d bytes of items, want %d", got, entryBytes(e))
		}
	}
	for _, bad := range [][]byte{nil, {1}, {1, 0x80}} {
		if n := itemBytes(bad); n < 0 || n > 1 {
			t.Errorf("%x has %d", bad, n)
		}
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := newRecent[int, int](100)
	for i := range 50 {
		r.put(i, i, 10)
	}
	if r.bytes != 100 || r.order.Len() != 10 || len(r.byKey) != 10 {
		t.Errorf("holds %d bytes in %d", r.bytes, r.order.Len())
	}
	if _, ok := r.get(40); !ok {
		t.Error("a recent one is gone")
	}
	r.put(50, 50, 10)
	if _, ok := r.get(40); !ok {
		t.Error("the one used last is gone")
	}
	if _, ok := r.get(41); ok {
		t.Error("the one used least is there")
	}
	r.put(60, 60, 26)
	if _, ok := r.get(60); ok {
		t.Error("one that fills a quarter is kept")
	}
	r.put(40, 1, 20)
	r.forget(50)
	if v, _ := r.get(40); v != 1 || r.bytes > 100 {
		t.Errorf("replaced it holds %d in %d bytes", v, r.bytes)
	}
}

func FuzzRecord(f *testing.F) {
	c := unitstest.MakeChain(f, "record", 2)
	c.Add(f, transactionOf(f))
	for _, e := range c.Entries() {
		f.Add(encodeRecord(e))
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		assignment := assignmentOf(b)
		e, err := decodeRecord(bytes.Clone(b))
		if err != nil {
			return
		}
		if assignment != e.Assignment.ID() {
			t.Errorf("the record's assignment is %s, not %s", assignment, e.Assignment.ID())
		}
		again, err := decodeRecord(encodeRecord(e))
		if err != nil || again.Assignment.ID() != e.Assignment.ID() || again.Message.ID() != e.Message.ID() {
			t.Errorf("the record does not survive: %v", err)
		}
	})
}

func encodeRecord(e ao.Entry) []byte {
	head, assignment, message := recordParts(e)
	return slices.Concat(head, assignment, message)
}
