package main

import (
	"bytes"
	"testing"
)

func TestPrintStatus(t *testing.T) {
	raw := `{"peer":{"name":"su1","id":"12D3","address":"abc","roles":["su"]},"network":"n","height":7,` +
		`"settle":{"items":2},"su":{"ready":true,"runway":{"bytes":9,"days":-1}},"market":{"own":[{"role":"su"},{"role":"cu"}],"none":[],"words":["a","b"]},"odd\u001b[2J":"x"}`
	var b bytes.Buffer
	if err := printStatus(&b, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	want := "su1  su  abc  12D3\n" +
		"  peer     network n · height 7 · odd x\n" +
		"  settle   items 2\n" +
		"  su       ready true · runway.bytes 9 · runway.days -1\n" +
		"  market   own 2 · none [] · words [\"a\",\"b\"]\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if printStatus(&b, []byte(`[]`)) == nil {
		t.Error("what is no status was printed")
	}
}
