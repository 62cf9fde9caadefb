package ao

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
)

var update = flag.Bool("update", false, "rewrite docs/reasons.md and the golden vectors")

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

// wantErr fails unless err is the sentinel, or nil if that is nil.
func wantErr(t testing.TB, err, sentinel error) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v, want %v", err, sentinel)
	}
}

// id is an ID of 32 equal bytes.
func id(b byte) (out ID) {
	for i := range out {
		out[i] = b
	}
	return out
}

// item signs an item as it is, whatever its tags say.
func item(t testing.TB, f ans104.Fields) *ans104.Item {
	t.Helper()
	it, err := ans104.Sign(signer("user"), f)
	check(t, err)
	return it
}

// tags reads "Name=value" words.
func tags(words ...string) (out Tags) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		out = append(out, Tag{Name: name, Value: value})
	}
	return out
}

// wantTags fails unless the item has exactly these tags in this order.
func wantTags(t testing.TB, got Tags, words ...string) {
	t.Helper()
	if want := tags(words...); !slices.Equal(got, want) {
		t.Errorf("tags\n  %q\nwant\n  %q", got, want)
	}
}

// tampered is raw with the last byte of its signature changed.
func tampered(raw []byte) []byte {
	raw = slices.Clone(raw)
	raw[2] ^= 1
	return raw
}

func message(t testing.TB, target ID, user Tags, data string) Message {
	t.Helper()
	m, err := SignMessage(signer("user"), target, user, []byte(data), nil)
	check(t, err)
	return m
}

func spawn(t testing.TB, user Tags) Message {
	t.Helper()
	m, err := SignProcess(signer("user"), id(7), "scheduler", user, []byte("1984"), nil)
	check(t, err)
	return m
}

func assign(t testing.TB, f AssignmentFields) Assignment {
	t.Helper()
	a, err := SignAssignment(signer("scheduler"), f)
	check(t, err)
	return a
}
