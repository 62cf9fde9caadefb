package attest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

func TestClaimBytes(t *testing.T) {
	c := claim(0x0102)
	repeat := func(b string) string { return strings.Repeat(b, 32) }
	head := hex.EncodeToString([]byte("aopeer/claim/1\x00\x07testnet")) + repeat("01") + "0000000000000102" + repeat("02") + repeat("03") + repeat("04")
	profile := "000e" + hex.EncodeToString([]byte("engine/1;flags"))
	if got, want := hex.EncodeToString(c.Bytes()), head+"01"+repeat("06")+profile; got != want {
		t.Errorf("claim\n%s\nwant\n%s", got, want)
	}
	c.State = nil
	if got, want := hex.EncodeToString(c.Bytes()), head+"00"+profile; got != want {
		t.Errorf("claim without state\n%s\nwant\n%s", got, want)
	}
}

func TestParseClaim(t *testing.T) {
	stateless, long := claim(0), claim(1<<64-1)
	stateless.State, stateless.Profile = nil, ""
	long.Network, long.Profile = strings.Repeat("n", MaxNetwork), strings.Repeat("p", MaxProfile)
	for _, c := range []Claim{claim(7), stateless, long} {
		b := c.Bytes()
		got, err := ParseClaim(b)
		check(t, err)
		if !reflect.DeepEqual(got, c) || !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%+v reads as %+v", c, got)
		}
		refused := func(what string, b []byte) {
			t.Helper()
			if c, err := ParseClaim(b); !errors.Is(err, ErrClaim) || !reflect.DeepEqual(c, Claim{}) {
				t.Errorf("%s: %+v, %v", what, c, err)
			}
		}
		for n := range b {
			refused("cut short", b[:n])
		}
		refused("one byte more", append(b[:len(b):len(b)], 0))
		flag := len("aopeer/claim/1\x00") + 1 + len(c.Network) + 4*32 + 8
		for _, v := range []byte{2, 0xff} {
			bad := bytes.Clone(b)
			bad[flag] = v
			refused("state flag", bad)
		}
		for i := range len("aopeer/claim/1\x00") {
			bad := bytes.Clone(b)
			bad[i] ^= 1
			refused("domain", bad)
		}
	}
	for _, change := range []func(*Claim){
		func(c *Claim) { c.Network = "" }, func(c *Claim) { c.Network = strings.Repeat("n", MaxNetwork+1) },
		func(c *Claim) { c.Profile = strings.Repeat("p", MaxProfile+1) },
	} {
		c := claim(1)
		change(&c)
		_, err := ParseClaim(c.Bytes())
		wantErr(t, err, ErrClaim)
		j := &ledger{}
		_, err = Sign(j, signer("unit"), c)
		wantErr(t, err, ErrClaim)
		if j.calls != 0 {
			t.Error("a claim that cannot be signed is in the journal")
		}
	}
}

func TestSign(t *testing.T) {
	j, s := &ledger{}, &counter{Signer: signer("unit")}
	c := claim(7)
	signed, err := Sign(j, s, c)
	check(t, err)
	again, err := Sign(j, s, c)
	check(t, err)
	if !bytes.Equal(signed.Raw(), again.Raw()) {
		t.Error("signed again it is another item")
	}
	if j.calls != 2 || s.signed != 2 {
		t.Errorf("%d records, %d signatures", j.calls, s.signed)
	}
	it := signed.Item()
	want := []ans104.Tag{
		{Name: "Data-Protocol", Value: "ao"},
		{Name: "Type", Value: "Result-Claim"},
		{Name: "Network", Value: "testnet"},
		{Name: "Process", Value: ao.ID(fill(1)).String()},
		{Name: "Nonce", Value: "7"},
	}
	if !slices.Equal(it.Tags(), want) || !bytes.Equal(it.Data(), c.Bytes()) {
		t.Errorf("tags %q", it.Tags())
	}
	parsed, err := ParseSigned(signed.Raw())
	check(t, err)
	if !reflect.DeepEqual(parsed.Claim(), c) || parsed.Unit() != address(t, signer("unit")) || parsed.IsZero() || !(SignedClaim{}).IsZero() {
		t.Errorf("claim %+v of %s", parsed.Claim(), parsed.Unit())
	}

	// Another claim for the slot is not signed; after another head, which is another log, it is.
	other := c
	other.Result = fill(9)
	signed, err = Sign(j, s, other)
	wantErr(t, err, ErrContradiction)
	if s.signed != 2 || !signed.IsZero() {
		t.Error("a contradiction is signed")
	}
	fork := other
	fork.Head = fill(8)
	_, err = Sign(j, s, fork)
	check(t, err)

	full := errors.New("disk full")
	j.fails = full
	signed, err = Sign(j, s, claim(8))
	wantErr(t, err, full)
	if s.signed != 3 || !signed.IsZero() {
		t.Error("signed without a record")
	}
}

func TestParseSignedStrictly(t *testing.T) {
	c := claim(7)
	sign := func(change func(*ans104.Fields)) []byte {
		f := ans104.Fields{Tags: slices.Clone(claimTags(c)), Data: c.Bytes()}
		change(&f)
		it, err := ans104.Sign(signer("unit"), f)
		check(t, err)
		return it.Raw()
	}
	_, err := ParseSigned(sign(func(*ans104.Fields) {}))
	check(t, err)
	for name, change := range map[string]func(*ans104.Fields){
		"tag more":    func(f *ans104.Fields) { f.Tags = append(f.Tags, ans104.Tag{Name: "X", Value: "1"}) },
		"tag less":    func(f *ans104.Fields) { f.Tags = f.Tags[:4] },
		"tag twice":   func(f *ans104.Fields) { f.Tags = append(f.Tags, f.Tags[4]) },
		"order":       func(f *ans104.Fields) { f.Tags[0], f.Tags[1] = f.Tags[1], f.Tags[0] },
		"nonce":       func(f *ans104.Fields) { f.Tags[4].Value = "8" },
		"process":     func(f *ans104.Fields) { f.Tags[3].Value = ao.ID(fill(2)).String() },
		"network":     func(f *ans104.Fields) { f.Tags[2].Value = "other" },
		"type":        func(f *ans104.Fields) { f.Tags[1].Value = "Attestation" },
		"protocol":    func(f *ans104.Fields) { f.Tags[0].Value = "x" },
		"target":      func(f *ans104.Fields) { f.Target = make([]byte, 32) },
		"anchor":      func(f *ans104.Fields) { f.Anchor = make([]byte, 32) },
		"no data":     func(f *ans104.Fields) { f.Data = nil },
		"more data":   func(f *ans104.Fields) { f.Data = append(f.Data, 0) },
		"other claim": func(f *ans104.Fields) { f.Data = claim(8).Bytes() },
	} {
		if s, err := ParseSigned(sign(change)); !errors.Is(err, ErrClaim) || !s.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	raw := sign(func(*ans104.Fields) {})
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if s, err := ParseSigned(bad); err == nil || !s.IsZero() {
			t.Fatalf("byte %d can be changed", i)
		}
	}
	_, err = ParseSigned(raw[:len(raw)-1])
	wantErr(t, err, ErrClaim)
	if _, err = ParseSigned(nil); err == nil {
		t.Error("nothing is a claim")
	}
}

func BenchmarkSignClaim(b *testing.B) {
	s, c := signer("unit"), claim(7)
	j := &ledger{}
	it, err := ans104.Sign(s, ans104.Fields{Tags: claimTags(c), Data: c.Bytes()})
	check(b, err)
	message := it.DeepHash()
	b.Run("claim", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Sign(j, s, c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("primitive/sign-and-verify", func(b *testing.B) { // ans104.Sign checks what a signer gives it
		for b.Loop() {
			if _, err := s.Sign(message[:]); err != nil {
				b.Fatal(err)
			}
			if err := it.Verify(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
