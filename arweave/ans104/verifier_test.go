package ans104

import (
	"bytes"
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
