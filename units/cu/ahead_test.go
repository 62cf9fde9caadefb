package cu_test

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units/cu"
)

// TestReadAhead: while a page is evaluated the next one is read, each once; nothing behind the slot asked for is.
func TestReadAhead(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 40)
	read := make(chan ao.Slot, 40)
	w.directory.before = func(from ao.Slot) error { read <- from; return nil }
	w.machine.hook(func(e ao.Entry) error {
		if e.Assignment.Nonce() == 2 { // in the first page: the second one is read without this one's end
			if first, second := <-read, <-read; first != 0 || second != 4 {
				t.Errorf("slots %d and %d were read first, want 0 and 4", first, second)
			}
		}
		return nil
	}, nil)
	u := w.run(t, func(c *cu.Config) { c.PageSize = 4 })
	compute(t, u, p, 21)
	close(read)
	want := ao.Slot(8)
	for from := range read {
		if from != want {
			t.Errorf("slot %d was read, want %d", from, want)
		}
		want += 4
	}
	if want != 24 {
		t.Errorf("pages up to slot %d were read, want up to 24", want)
	}
}

// TestReadAheadFails: a page that cannot be read ahead is asked for again when its turn has come.
func TestReadAheadFails(t *testing.T) {
	w := newWorld(t)
	p := w.serve(t, "p", 12)
	want, _ := claims(t, w.run(t), p, 12)
	other := newWorld(t)
	other.serve(t, "p", 12)
	first := map[ao.Slot]bool{4: true, 8: true}
	other.directory.before = func(from ao.Slot) error {
		if first[from] {
			first[from] = false
			return ao.Refuse("log", ao.Busy, "not now")
		}
		return nil
	}
	u := other.run(t, func(c *cu.Config) { c.PageSize = 4 })
	compute(t, u, p, 11)
	if first[4] || first[8] {
		t.Error("nothing was read ahead")
	}
	got, _ := claims(t, u, p, 12)
	equal(t, got, want)
}
