package market

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

const vectorsFile = "testdata/vectors.json"

// vectors are what docs/wire.md prints. All bytes are hexadecimal.
func vectors(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	put := func(name string, b []byte) { out[name] = hex.EncodeToString(b) }
	tm := terms(5)
	o := offerOf(t, "unit", tm)
	put("offer", o.Raw())
	id := o.ID()
	put("offerID", id[:])
	n := need("buyer")
	put("need", n.Bytes())
	digest := n.Digest()
	put("needDigest", digest[:])
	q := quoteFor(t, "unit", tm, n, Standing{Behind: 4, Backlog: 2})
	put("quote", q.Raw())
	d, err := SignDeal(signer("buyer"), n, q)
	check(t, err)
	put("deal", d.Raw())
	return out
}

func TestVectors(t *testing.T) {
	got := vectors(t)
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		check(t, err)
		check(t, os.WriteFile(vectorsFile, append(b, '\n'), 0o644))
	}
	raw, err := os.ReadFile(vectorsFile)
	check(t, err)
	var want map[string]string
	check(t, json.Unmarshal(raw, &want))
	if len(want) != len(got) {
		t.Errorf("%d vectors, the file has %d", len(got), len(want))
	}
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %s, want %s", name, got[name], v)
		}
	}
	// What stands in the file parses.
	unhex := func(name string) []byte {
		b, err := hex.DecodeString(want[name])
		check(t, err)
		return b
	}
	o, err := ParseOffer(unhex("offer"))
	check(t, err)
	n, err := ParseNeed(unhex("need"))
	check(t, err)
	q, err := ParseQuote(unhex("quote"))
	check(t, err)
	check(t, q.Check(n, o, start))
	_, err = ParseDeal(unhex("deal"))
	check(t, err)
}

// docs/wire.md prints every vector, in lines of any length.
func TestWirePage(t *testing.T) {
	page, err := os.ReadFile("../docs/wire.md")
	check(t, err)
	text := strings.Join(strings.Fields(string(page)), "")
	for name, v := range vectors(t) {
		if !strings.Contains(text, v) {
			t.Errorf("docs/wire.md does not print %s, %s", name, v)
		}
	}
}
