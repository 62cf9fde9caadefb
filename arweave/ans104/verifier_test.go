package ans104

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
)

// TestVerifier asks from many goroutines, and every caller gets the answer to its own question.
func TestVerifier(t *testing.T) {
	var good, bad [][]byte
	for _, s := range testSigners(t) {
		raw := mustSign(t, s, fullFields()).Raw()
		good = append(good, raw)
		raw = bytes.Clone(raw)
		raw[len(raw)-1] ^= 1
		bad = append(bad, raw)
	}
	var v Verifier
	var all sync.WaitGroup
	for g := range 32 {
		all.Go(func() {
			for i := range 20 {
				raw, valid := good[(g+i)%len(good)], true
				if (g*7+i)%5 == 0 {
					raw, valid = bad[(g+i)%len(bad)], false
				}
				it, err := Parse(raw)
				if err != nil {
					t.Error(err)
					return
				}
				if err := v.Verify(it); (err == nil) != valid || !valid && !errors.Is(err, ErrSignature) {
					t.Errorf("valid %v: %v", valid, err)
				}
				if it.verified.Load() != valid {
					t.Errorf("valid %v is remembered as %v", valid, !valid)
				}
			}
		})
	}
	all.Wait()
	if v.working || len(v.waiting) != 0 {
		t.Error("somebody still waits")
	}
}

// TestKeyRing: a ring gives the same verdicts as none, for keys it has seen and for those it has not, and stays small.
func TestKeyRing(t *testing.T) {
	var items []*Item
	for i := range 3 * ringLen {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 16))
		raw := mustSign(t, NewEd25519Signer(key), Fields{Data: []byte{byte(i)}}).Raw()
		switch i % 5 {
		case 1: // a false signature
			raw[len(raw)-1] ^= 1
		case 2: // another's key
			copy(raw[66:98], items[i-1].Owner())
		case 3: // a point of small order
			clear(raw[66:98])
			raw[66] = 1
		}
		it, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
	var ring keyRing
	for round := range 2 {
		for from := 0; from < len(items); from += 50 {
			var fresh []*Item
			for _, it := range items[from:min(from+50, len(items))] {
				again, err := Parse(it.Raw())
				if err != nil {
					t.Fatal(err)
				}
				fresh = append(fresh, again)
			}
			for i, err := range verifyBatch(fresh, &ring) {
				it, _ := Parse(fresh[i].Raw())
				if alone := it.Verify(); (err == nil) != (alone == nil) || (err == nil) != ((from+i)%5 == 0 || (from+i)%5 == 4) {
					t.Errorf("round %d, item %d: %v, alone %v", round, from+i, err, alone)
				}
			}
		}
		if len(ring.young) > ringLen || len(ring.old) > ringLen {
			t.Errorf("it holds %d and %d keys", len(ring.young), len(ring.old))
		}
	}
}

// TestWalletRing: an RSA key that is remembered gives the verdicts of one that is not, and what signed nothing is not kept.
func TestWalletRing(t *testing.T) {
	good := mustSign(t, testSigners(t)[0], fullFields()).Raw()
	change := func(at int) []byte {
		raw := bytes.Clone(good)
		raw[at] ^= 1
		return raw
	}
	owner := typeLen + rsaLen
	var bare, above []byte
	f := fullFields()
	f.Target, f.Anchor, f.Tags = nil, nil, nil
	bare = mustSign(t, testSigners(t)[0], f).Raw()
	above = bytes.Clone(good)
	for i := range rsaLen {
		above[typeLen+i] = 0xff
	}
	var r walletRing
	for round, known := range []int{0, 1, 1} {
		for what, raw := range map[string][]byte{
			"signature": change(typeLen + 99), "key": change(owner + 99), "data": change(len(good) - 1), "above": above,
		} {
			it, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			got, want := r.verify(it), it.Verify()
			if got == nil || want == nil || got.Error() != want.Error() || it.verified.Load() {
				t.Errorf("round %d, another %s: %v, alone %v", round, what, got, want)
			}
		}
		if len(r.keys.young) != known {
			t.Errorf("round %d: %d keys are remembered", round, len(r.keys.young))
		}
		for _, raw := range [][]byte{good, bare} {
			it, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.verify(it); err != nil || !it.verified.Load() {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
}
