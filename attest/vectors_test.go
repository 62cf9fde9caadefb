package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json, which is fixed: only for new vectors")

const vectorsFile = "testdata/vectors.json"

// vectors are what docs/wire.md prints. All bytes are hexadecimal.
func vectors(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	put := func(name string, b []byte) { out[name] = hex.EncodeToString(b) }
	hash := func(name string, h Hash) { put(name, h[:]) }

	r := result(t)
	hash("resultDigest", ResultDigest(r))
	hash("outboxRoot", Root(OutboxLeaves(r)))
	for i, l := range OutboxLeaves(r) {
		hash("outboxLeaf"+string(rune('0'+i)), l)
	}
	hash("emptyRoot", Root(nil))
	hash("emptyResultDigest", ResultDigest(ao.Result{}))
	hash("failedResultDigest", ResultDigest(ao.Failed("out of gas!")))
	hash("duplicateResultDigest", ResultDigest(ao.Result{Decision: ao.Duplicate}))

	page := new([PageSize]byte)
	copy(page[:], "page 1")
	m := memory{n: 3, pages: map[uint32]*[PageSize]byte{1: page}, tail: []byte("tail")}
	leaves := hashes(m.leaves())
	hash("zeroPageLeaf", leaves[0])
	hash("pageLeaf", leaves[1])
	hash("tailLeaf", leaves[3])
	hash("stateRoot", StateRoot(m))
	hash("emptyStateRoot", StateRoot(memory{}))

	c := claim(7)
	put("claim", c.Bytes())
	s, err := Sign(&ledger{}, signer("unit"), c)
	check(t, err)
	name := s.Item().ID()
	put("claimItem", s.Raw())
	put("claimItemID", name[:])
	c.State = nil
	put("claimWithoutState", c.Bytes())

	state := fill(6)
	b, err := SignBatch(signer("unit"), claims(10, 3), &state)
	check(t, err)
	name = b.Item().ID()
	put("batchItem", b.Item().Raw())
	put("batchItemID", name[:])
	p := b.Prove(1)
	put("proofClaim", p.Claim)
	put("proofPath", append(p.Path[0][:], p.Path[1][:]...))
	put("proofDataSHA384", p.Head.DataSHA384[:])
	var all []Hash
	for _, c := range b.Claims() {
		all = append(all, LeafHash(c.Bytes()))
	}
	hash("claimRoot", Root(all))
	return out
}

func TestVectors(t *testing.T) {
	got := vectors(t)
	if *update {
		b, err := json.MarshalIndent(got, "", "  ")
		check(t, err)
		check(t, os.WriteFile(vectorsFile, append(b, '\n'), 0o644))
	}
	want := readVectors(t)
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s is %s, want %s", name, got[name], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d vectors, %d in %s", len(got), len(want), vectorsFile)
	}
}

func readVectors(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(vectorsFile)
	check(t, err)
	var out map[string]string
	check(t, json.Unmarshal(raw, &out))
	return out
}

// The items among the vectors are read by those who have nothing but the file.
func TestVectorsParse(t *testing.T) {
	v := readVectors(t)
	unhex := func(name string) []byte {
		b, err := hex.DecodeString(v[name])
		check(t, err)
		return b
	}
	s, err := ParseSigned(unhex("claimItem"))
	check(t, err)
	if !bytes.Equal(s.Claim().Bytes(), unhex("claim")) {
		t.Error("the claim item holds another claim")
	}
	b, err := ParseBatch(unhex("batchItem"))
	check(t, err)
	p := Proof{Head: b.Item().Head(), Claim: unhex("proofClaim")}
	path := unhex("proofPath")
	for ; len(path) > 0; path = path[32:] {
		p.Path = append(p.Path, Hash(path[:32]))
	}
	c, _, err := p.Check()
	check(t, err)
	if c.Nonce != 11 || !bytes.Equal(p.Head.DataSHA384[:], unhex("proofDataSHA384")) {
		t.Errorf("proof of slot %d", c.Nonce)
	}
}

// docs/wire.md prints every vector, in lines of any length.
func TestWirePage(t *testing.T) {
	page, err := os.ReadFile("../docs/wire.md")
	check(t, err)
	text := strings.Join(strings.Fields(string(page)), "")
	for name, v := range readVectors(t) {
		if !strings.Contains(text, v) {
			t.Errorf("docs/wire.md does not print %s, %s", name, v)
		}
	}
}
