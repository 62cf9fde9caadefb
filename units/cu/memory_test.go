package cu_test

import (
	"errors"
	"io"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestMemory: a state is given as it is after the newest slot, to so many at once, and its place is given back once.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	c := w.chain(t, "p", 4)
	w.directory.put(c.Entries())
	u := w.run(t)
	want, err := u.State(unitstest.Context(t), c.Process())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var held []units.Dump
		for range 2 {
			d, err := u.Memory(unitstest.Context(t), c.Process())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, d)
		}
		if _, err := u.Memory(unitstest.Context(t), c.Process()); !errors.Is(err, &ao.Refusal{Code: ao.Busy}) {
			t.Errorf("a third gets %v", err)
		}
		for _, d := range held {
			raw, err := io.ReadAll(d.Bytes)
			if err != nil || uint64(len(raw)) != d.Size || d.Size != want.Memory || d.Last.Nonce != 3 {
				t.Errorf("%d bytes of %d after slot %d, %v; want %d after slot 3", len(raw), d.Size, d.Last.Nonce, err, want.Memory)
			}
			_ = d.Bytes.Close()
			_ = d.Bytes.Close()
		}
	}
	if _, err := u.Memory(unitstest.Context(t), unitstest.ID("nobody")); !errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) {
		t.Errorf("an unknown process: %v", err)
	}
}
