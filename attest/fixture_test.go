package attest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// signer is a key of its own for every name.
func signer(name string) ans104.Signer {
	seed := sha256.Sum256([]byte(name))
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
}

func address(t testing.TB, s ans104.Signer) string {
	t.Helper()
	a, err := ans104.Address(s.Type(), s.Owner())
	check(t, err)
	return a
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v, want %v", err, sentinel)
	}
}

// fill is a hash of 32 equal bytes.
func fill(b byte) (h Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

// claim is a sound claim about a slot.
func claim(nonce ao.Slot) Claim {
	state := fill(6)
	return Claim{
		Network: "testnet", Process: ao.ID(fill(1)), Nonce: nonce, Message: ao.ID(fill(2)), Head: fill(3), Result: fill(4),
		State: &state, Profile: "engine/1;flags",
	}
}

// claims are n claims of consecutive slots from a first one on, no two with the same result.
func claims(first ao.Slot, n int) []Claim {
	out := make([]Claim, n)
	for i := range out {
		out[i] = claim(first + ao.Slot(i))
		out[i].Result = sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		out[i].State = nil
	}
	return out
}

// ledger is a journal in memory.
type ledger struct {
	records map[Hash]Hash
	fails   error
	calls   int
}

func (l *ledger) Record(c Claim, digest Hash) error {
	l.calls++
	if l.fails != nil {
		return l.fails
	}
	slot := c
	slot.Message, slot.Result, slot.State, slot.Profile, slot.Network = ao.ID{}, Hash{}, nil, "", ""
	key := sha256.Sum256(slot.Bytes())
	if old, ok := l.records[key]; ok && old != digest {
		return ErrContradiction
	}
	if l.records == nil {
		l.records = map[Hash]Hash{}
	}
	l.records[key] = digest
	return nil
}

// counter is a signer that counts what it signs.
type counter struct {
	ans104.Signer
	signed int
}

func (c *counter) Sign(message []byte) ([]byte, error) {
	c.signed++
	return c.Signer.Sign(message)
}
