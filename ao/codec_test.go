package ao

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

// response is an answer with something of everything in it, in JSON that no encoder of ours would write.
const response = `{"ok":true,"response":{"Output":{ "data":"\u003ch\u00e9>","n":1.50 },"Messages":[` +
	`{"Target":"t","Data":"d","Tags":[{"value":7,"name":"N"}]}, null ,17],"Spawns":[{"Tags":[]}],` +
	`"Assignments":[{"Message":"m","Processes":["p"]}]}}`

func TestResultEncoding(t *testing.T) {
	r, err := ParseResponse([]byte(response))
	check(t, err)
	r.GasUsed = 1 << 40
	failed := Failed("no")
	failed.GasUsed = 7
	for name, r := range map[string]Result{
		"empty": {}, "full": r, "failed": failed, "duplicate": {Decision: Duplicate},
		"much gas": {GasUsed: math.MaxUint64}, "patches": {Patches: []json.RawMessage{json.RawMessage(`{"a":1}`), json.RawMessage("2")}},
	} {
		t.Run(name, func(t *testing.T) {
			b := r.Encode()
			again, err := DecodeResult(b)
			check(t, err)
			if !reflect.DeepEqual(again, r) {
				t.Errorf("%+v\nwant %+v", again, r)
			}
			if !bytes.Equal(again.Encode(), b) {
				t.Error("encoded again it differs")
			}
			for n := range b {
				if _, err := DecodeResult(b[:n]); !errors.Is(err, ErrResponse) {
					t.Errorf("the first %d bytes: %v", n, err)
				}
			}
			_, err = DecodeResult(append(b[:len(b):len(b)], 0))
			wantErr(t, err, ErrResponse)
		})
	}
	if string(r.Messages[0].Raw) != `{"Target":"t","Data":"d","Tags":[{"value":7,"name":"N"}]}` || string(r.Messages[1].Raw) != "null" {
		t.Errorf("raw %s and %s", r.Messages[0].Raw, r.Messages[1].Raw)
	}
}

func TestDecodeResultRefuses(t *testing.T) {
	good := Result{Output: json.RawMessage("1")}.Encode()
	with := func(at int, b ...byte) []byte {
		return append(append(bytes.Clone(good[:at]), b...), good[at+len(b):]...)
	}
	list := func(n uint32, elements int) []byte {
		b := binary.BigEndian.AppendUint32(bytes.Clone(good[:len(good)-12]), n)
		return append(append(b, make([]byte, 4*elements)...), make([]byte, 8)...)
	}
	for name, b := range map[string][]byte{
		"nothing":           nil,
		"version 0":         with(0, 0),
		"version 2":         with(0, 2),
		"unknown decision":  with(1, 3),
		"long error":        with(10, 0xff, 0xff, 0xff, 0xff),
		"long output":       with(14, 0, 0, 0, 200),
		"many messages":     list(math.MaxUint32, 0),
		"more than allowed": list(MaxOutbox+1, MaxOutbox+1),
		"fewer than said":   list(5, 4),
	} {
		if _, err := DecodeResult(b); !errors.Is(err, ErrResponse) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, err := DecodeResult(list(MaxOutbox, MaxOutbox)); err != nil || r.Outbox() != MaxOutbox {
		t.Errorf("%d elements: %v", r.Outbox(), err)
	}
	// The limit holds over the three lists together.
	b := bytes.Clone(good[:len(good)-12])
	for _, n := range []uint32{MaxOutbox - 1, 1, 1} {
		b = append(binary.BigEndian.AppendUint32(b, n), make([]byte, 4*n)...)
	}
	_, err := DecodeResult(b)
	wantErr(t, err, ErrResponse)
}

// vectors are encodings of this package that docs/wire.md prints.
type vectors struct {
	Response         string `json:"response"`
	Result           string `json:"result"`
	FailedResult     string `json:"failedResult"`
	FirstLinkProcess string `json:"firstLinkProcess"`
	FirstLink        string `json:"firstLink"`
	AssignmentKey    string `json:"assignmentKey"`
	Assignment       string `json:"assignment"`
	AssignmentID     string `json:"assignmentID"`
	Head             string `json:"head"`
}

func TestVectors(t *testing.T) {
	r, err := ParseResponse([]byte(response))
	check(t, err)
	r.GasUsed = 1000
	first := FirstLink(id(1))
	a := assign(t, AssignmentFields{Process: id(1), Nonce: 1, Message: id(4), HashChain: first, BlockHeight: 1522898, Timestamp: 1728412707947})
	name, head := a.ID(), a.Link()
	got := vectors{
		Response:         response,
		Result:           hex.EncodeToString(r.Encode()),
		FailedResult:     hex.EncodeToString(Failed("out of gas!").Encode()),
		FirstLinkProcess: hex.EncodeToString(bytes.Repeat([]byte{1}, 32)),
		FirstLink:        hex.EncodeToString(first[:]),
		AssignmentKey:    "the Ed25519 key whose seed is SHA-256 of the word scheduler",
		Assignment:       hex.EncodeToString(a.Raw()),
		AssignmentID:     hex.EncodeToString(name[:]),
		Head:             hex.EncodeToString(head[:]),
	}
	const file = "testdata/vectors.json"
	if *update {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		check(t, enc.Encode(got))
		check(t, os.WriteFile(file, b.Bytes(), 0o644))
	}
	raw, err := os.ReadFile(file)
	check(t, err)
	var want vectors
	check(t, json.Unmarshal(raw, &want))
	if got != want {
		t.Errorf("vectors\n%+v\nwant\n%+v", got, want)
	}
}

// docs/wire.md prints every vector, in lines of any length.
func TestWirePage(t *testing.T) {
	page, err := os.ReadFile("../docs/wire.md")
	check(t, err)
	strip := func(s string) string { return strings.Join(strings.Fields(s), "") }
	raw, err := os.ReadFile("testdata/vectors.json")
	check(t, err)
	var want vectors
	check(t, json.Unmarshal(raw, &want))
	text := strip(string(page))
	for _, v := range []string{want.Response, want.Result, want.FailedResult, want.FirstLink, want.Assignment, want.AssignmentID, want.Head} {
		if !strings.Contains(text, strip(v)) {
			t.Errorf("docs/wire.md does not print %s", v)
		}
	}
}
