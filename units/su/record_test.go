package su

import (
	"bytes"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestPlace(t *testing.T) {
	for _, slot := range []ao.Slot{0, 1, 127, 128, 1<<64 - 1} {
		want := place{unitstest.ID("somewhere"), slot}
		got, err := decodePlace(want.encode())
		if err != nil || got != want {
			t.Errorf("%v became %v, %v", want, got, err)
		}
	}
	for _, bad := range [][]byte{nil, {1}, make([]byte, 40), append(place{}.encode(), 0), place{}.encode()[:33]} {
		if _, err := decodePlace(bad); err == nil {
			t.Errorf("%x is a place", bad)
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
	for _, e := range unitstest.MakeChain(f, "record", 2).Entries() {
		f.Add(encodeRecord(e))
	}
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeRecord(bytes.Clone(b))
		if err != nil {
			return
		}
		again, err := decodeRecord(encodeRecord(e))
		if err != nil || again.Assignment.ID() != e.Assignment.ID() || again.Message.ID() != e.Message.ID() {
			t.Errorf("the record does not survive: %v", err)
		}
	})
}
