package crash

import (
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestWitness shows that each fault is seen, and nothing else is one.
func TestWitness(t *testing.T) {
	assign := func(signer string, slot ao.Slot, message string) ao.Assignment {
		a, err := ao.SignAssignment(unitstest.Signer(signer), ao.AssignmentFields{
			Process: unitstest.ID("p"), Nonce: slot, HashChain: ao.FirstLink(unitstest.ID("p")), BlockHeight: 1, Timestamp: 1,
			Message: unitstest.ID(message),
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	claim := func(result string) attest.Claim {
		return attest.Claim{Network: network, Process: unitstest.ID("p"), Result: attest.Hash(unitstest.ID(result)), Profile: "x"}
	}
	bundle := func(as ...ao.Assignment) []byte {
		var items []*ans104.Item
		for _, a := range as {
			items = append(items, a.Item())
		}
		return ans104.BuildBundle(items)
	}
	for name, c := range map[string]struct {
		show   func(*Witness) error
		faults int
	}{
		"the same again": {func(w *Witness) error {
			w.Assignment(assign("su", 1, "a"))
			w.Assignment(assign("su", 1, "a"))
			w.Claim("cu", claim("a"))
			w.Claim("cu", claim("a"))
			return nil
		}, 0},
		"another slot, another key": {func(w *Witness) error {
			w.Assignment(assign("su", 1, "a"))
			w.Assignment(assign("su", 2, "a"))
			w.Assignment(assign("other", 1, "b"))
			w.Claim("cu", claim("a"))
			w.Claim("other", claim("b"))
			return nil
		}, 0},
		"two messages in a slot": {func(w *Witness) error {
			w.Assignment(assign("su", 1, "a"))
			w.Assignment(assign("su", 1, "b"))
			return nil
		}, 1},
		"one of them on Arweave": {func(w *Witness) error {
			w.Assignment(assign("su", 1, "a"))
			_, err := w.Bundle(bundle(assign("su", 1, "b")))
			return err
		}, 1},
		"two claims": {func(w *Witness) error {
			w.Claim("cu", claim("a"))
			w.Claim("cu", claim("b"))
			return nil
		}, 1},
		"settled twice": {func(w *Witness) error {
			a := assign("su", 1, "a")
			if _, err := w.Bundle(bundle(a)); err != nil {
				return err
			}
			_, err := w.Bundle(bundle(a))
			return err
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWitness()
			if err := c.show(w); err != nil {
				t.Fatal(err)
			}
			if got := w.Faults(); len(got) != c.faults {
				t.Errorf("faults %v, want %d", got, c.faults)
			}
		})
	}
}
