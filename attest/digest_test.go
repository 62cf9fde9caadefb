package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

// response is an answer with something of everything in it.
const response = `{"ok":true,"response":{"Output":{ "data":"\u003ch\u00e9>","n":1.50 },"Messages":[` +
	`{"Target":"t","Data":"d","Tags":[{"value":7,"name":"N"}]}, null],"Spawns":[{"Tags":[]}],` +
	`"Assignments":[{"Message":"m","Processes":["p"]}]}}`

func result(t testing.TB) ao.Result {
	t.Helper()
	r, err := ao.ParseResponse([]byte(response))
	check(t, err)
	return r
}

func TestResultDigest(t *testing.T) {
	block := func(s string) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }
	leaves := [][]byte{
		[]byte("\x01" + `{"Target":"t","Data":"d","Tags":[{"value":7,"name":"N"}]}`), []byte("\x01null"),
		[]byte("\x02" + `{"Tags":[]}`), []byte("\x03" + `{"Message":"m","Processes":["p"]}`),
	}
	if got := OutboxLeaves(result(t)); !slices.Equal(got, hashes(leaves)) {
		t.Errorf("outbox leaves %x", got)
	}
	for name, c := range map[string]struct {
		result ao.Result
		parts  [][]byte
		leaves [][]byte
	}{
		"empty":     {ao.Result{}, [][]byte{block(""), block("")}, nil},
		"full":      {result(t), [][]byte{block(""), block(`{ "data":"\u003ch\u00e9>","n":1.50 }`)}, leaves},
		"failed":    {ao.Failed("no"), [][]byte{block(`"no"`), block("")}, nil},
		"duplicate": {ao.Result{Decision: ao.Duplicate}, [][]byte{block(""), block("")}, nil},
	} {
		root := naive(c.leaves)
		b := slices.Concat([]byte("aopeer/result/1\x00"), slices.Concat(c.parts...), root[:])
		if c.result.Decision != ao.Accepted {
			b = append(b, 0, 1, 0, 0, 0, 1, byte(c.result.Decision))
		}
		if got, want := ResultDigest(c.result), sha256.Sum256(b); got != want {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
	}
}

func TestResultDigestTellsApart(t *testing.T) {
	base := result(t)
	same := base
	same.GasUsed = 99
	if ResultDigest(same) != ResultDigest(base) {
		t.Error("gas is part of the digest")
	}
	seen := map[Hash]string{ResultDigest(base): "the result itself"}
	for name, change := range map[string]func(*ao.Result){
		"output's spaces": func(r *ao.Result) { r.Output = json.RawMessage(`{"data":"\u003ch\u00e9>","n":1.50}`) },
		"output as error": func(r *ao.Result) { r.Error, r.Output = r.Output, nil },
		"decision":        func(r *ao.Result) { r.Decision = ao.Duplicate },
		"order":           func(r *ao.Result) { r.Messages = []ao.Draft{r.Messages[1], r.Messages[0]} },
		"fewer":           func(r *ao.Result) { r.Messages = r.Messages[:1] },
		"message a spawn": func(r *ao.Result) {
			r.Spawns = append([]ao.Draft{r.Messages[1]}, r.Spawns...)
			r.Messages = r.Messages[:1]
		},
		"raw": func(r *ao.Result) { r.Assignments = []ao.AssignDraft{{Raw: json.RawMessage(`{}`)}} },
	} {
		r := result(t)
		change(&r)
		d := ResultDigest(r)
		if twin, ok := seen[d]; ok {
			t.Errorf("%s: the digest of %s", name, twin)
		}
		seen[d] = name
	}
}
