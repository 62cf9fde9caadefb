package ans104

import (
	"bytes"
	"errors"
	"testing"
)

func TestHead(t *testing.T) {
	for _, s := range testSigners(t) {
		it := mustSign(t, s, fullFields())
		h := it.Head()
		if err := h.Verify(); err != nil {
			t.Errorf("%s: %v", s.Type(), err)
		}
		tags, err := h.Tags()
		if err != nil || !equalTags(tags, it.Tags()) || h.ID() != it.ID() || h.OwnerAddress() != it.OwnerAddress() {
			t.Errorf("%s: %q, %s, %s: %v", s.Type(), tags, h.ID(), h.OwnerAddress(), err)
		}
	}
}

// TestHeadRefuses changes one field at a time: a head verifies only if it is that of an item that does.
func TestHeadRefuses(t *testing.T) {
	signers := testSigners(t)
	flip := func(b []byte) []byte {
		out := bytes.Clone(b)
		out[len(out)-1] ^= 1
		return out
	}
	for _, c := range []struct {
		name   string
		change func(h *Head)
		want   error
	}{
		{"type 0", func(h *Head) { h.Type = 0 }, ErrSignatureType},
		{"type of the same sizes", func(h *Head) { h.Type = Solana }, ErrSignature},
		{"signature", func(h *Head) {
			h.Signature = flip(h.Signature[:32:32])
			h.Signature = append(h.Signature, make([]byte, 32)...)
		}, ErrSignature},
		{"signature cut", func(h *Head) { h.Signature = h.Signature[:63] }, ErrTooShort},
		{"S above the order", func(h *Head) { h.Signature = addOrder(h.Signature) }, ErrMalleable},
		{"owner cut", func(h *Head) { h.Owner = h.Owner[:31] }, ErrTooShort},
		{"target", func(h *Head) { h.Target = flip(h.Target) }, ErrSignature},
		{"no target", func(h *Head) { h.Target = nil }, ErrSignature},
		{"target cut", func(h *Head) { h.Target = h.Target[:31] }, ErrTarget},
		{"anchor", func(h *Head) { h.Anchor = flip(h.Anchor) }, ErrSignature},
		{"anchor cut", func(h *Head) { h.Anchor = h.Anchor[:31] }, ErrAnchor},
		{"other tags", func(h *Head) { h.RawTags = unhex(t, "02026b027600"); h.TagCount = 1 }, ErrSignature},
		{"fewer tags", func(h *Head) { h.TagCount = 0 }, ErrTagCount},
		{"more tags", func(h *Head) { h.TagCount++ }, ErrTagCount},
		{"2^64-1 tags", func(h *Head) { h.TagCount = 1<<64 - 1 }, ErrTagCount},
		{"4097 tag bytes", func(h *Head) { h.RawTags = make([]byte, MaxTagBytes+1) }, ErrTagBytes},
		{"data length", func(h *Head) { h.DataLength++ }, ErrSignature},
		{"negative data length", func(h *Head) { h.DataLength = -1 }, ErrTooShort},
		{"data", func(h *Head) { h.DataSHA384[0] ^= 1 }, ErrSignature},
	} {
		h := mustSign(t, signers[1], fullFields()).Head()
		c.change(&h)
		if err := h.Verify(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	h := mustSign(t, signers[0], fullFields()).Head()
	for _, owner := range [][]byte{make([]byte, rsaLen), flip(h.Owner), append([]byte{0x7f}, h.Owner[1:]...)} {
		h.Owner = owner
		if err := h.Verify(); !errors.Is(err, ErrKey) {
			t.Errorf("modulus %x…: %v", owner[:4], err)
		}
	}
}
