package ans104

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestID(t *testing.T) {
	id := signatureID([]byte("signature"))
	text := id.String()
	back, err := ParseID(text)
	if err != nil || back != id || len(text) != 43 {
		t.Fatalf("%s became %s: %v", text, back, err)
	}
	raw, err := json.Marshal(map[ID]ID{id: id})
	if err != nil || string(raw) != `{"`+text+`":"`+text+`"}` {
		t.Fatalf("%s: %v", raw, err)
	}
	var m map[ID]ID
	if err := json.Unmarshal(raw, &m); err != nil || m[id] != id {
		t.Fatalf("%v: %v", m, err)
	}
	if !(ID{}).IsZero() || id.IsZero() {
		t.Error("IsZero errs")
	}
}

func TestParseIDRefuses(t *testing.T) {
	zeros := strings.Repeat("A", 43)
	if id, err := ParseID(zeros); err != nil || !id.IsZero() {
		t.Errorf("%s: %v", id, err)
	}
	for _, s := range []string{
		"", zeros[1:], zeros + "A", zeros + "=", zeros[1:] + "B", zeros[1:] + "D", zeros[1:] + "+",
		zeros[1:] + "/", zeros[1:] + "=", zeros[1:] + "\n", "\n" + zeros[1:], zeros[2:] + "\r\n", zeros[1:] + " ", zeros[2:] + "é",
	} {
		id := ID{1}
		if got, err := ParseID(s); !errors.Is(err, ErrID) || !got.IsZero() {
			t.Errorf("%q: %s, %v", s, got, err)
		}
		if err := id.UnmarshalText([]byte(s)); err == nil || id != (ID{1}) {
			t.Errorf("%q: %s, %v", s, id, err)
		}
	}
}
