package wasmvm

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

func TestAppendJSON(t *testing.T) {
	for in, want := range map[string]string{
		"":                    `""`,
		"a\"\\b":              `"a\"\\b"`,
		"\b\f\n\r\t":          `"\b\f\n\r\t"`,
		"\x00\x1f":            `"\u0000\u001f"`,
		"<&>\x7f\u2028\u2029": "\"<&>\x7f\u2028\u2029\"", // no escapes that JSON.stringify does not make
		"é€😀":                 `"é€😀"`,
		"a\xffb":              "\"a\uFFFDb\"",
		"\xe2\x82":            "\"\uFFFD\"", // a cut sequence is one replacement
		"\xe2\x82x":           "\"\uFFFDx\"",
		"\xf0\x9f\x98":        "\"\uFFFD\"",
		"\xc0\xaf":            "\"\uFFFD\uFFFD\"",       // overlong: each byte by itself
		"\xed\xa0\x80":        "\"\uFFFD\uFFFD\uFFFD\"", // a surrogate: likewise
		"\xf4\x90\x80\x80":    "\"\uFFFD\uFFFD\uFFFD\uFFFD\"",
		"\xf0\x80":            "\"\uFFFD\uFFFD\"",
	} {
		if got := string(appendJSON(nil, in)); got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("a\xff\"\\\u2028")
	f.Fuzz(func(t *testing.T, in string) {
		var back string
		if err := json.Unmarshal(appendJSON(nil, in), &back); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if strings.ToValidUTF8(in, "") == in && back != in {
			t.Fatalf("%q came back as %q", in, back)
		}
	})
}

// TestEnvelope pins what a module sees, keys in the reference unit's order.
func TestEnvelope(t *testing.T) {
	user := testSigner(t, 1)
	spawn, err := ao.SignProcess(user, ao.ID{1}, "scheduler", ao.Tags{{Name: "Authority", Value: "messenger"}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	process, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	cursor := ao.NewCursor(process.ID())
	first := testEntry(t, &cursor, spawn)
	pushed, err := ao.Draft{
		Target: process.ID().String(), Anchor: strings.Repeat("7", 32), Data: []byte("<hi>"),
		Tags: ao.Tags{{Name: "Action", Value: "Ping"}, {Name: "From", Value: "forged"}, {Name: "Owner", Value: "forged"}},
	}.Sign(testSigner(t, 2), ao.Origin{Process: process.ID(), Module: "m", PushedFor: "p", Slot: 3, Index: 1}, ao.ID{})
	if err != nil {
		t.Fatal(err)
	}
	second := testEntry(t, &cursor, pushed)
	second.Facts = ao.Facts{{Name: "Stake", Value: "12"}}

	id, owner := process.ID().String(), spawn.Owner()
	want := `{"Id":"` + id + `","Signature":"SIG","Data":" ","Owner":"` + owner + `","Target":"` + id + `","Anchor":"","From":"` + owner +
		`","Tags":[{"name":"Authority","value":"messenger"},{"name":"Data-Protocol","value":"ao"},{"name":"Variant","value":"ao.TN.1"},` +
		`{"name":"Type","value":"Process"},{"name":"Module","value":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},` +
		`{"name":"Scheduler","value":"scheduler"}],"Epoch":0,"Nonce":0,"Timestamp":0,"Block-Height":1,"Hash-Chain":"CHAIN",` +
		`"Cron":false,"Read-Only":false}`
	if got := blank(t, envelope(first)); got != want {
		t.Errorf("slot 0:\n%s\nwant\n%s", got, want)
	}
	want = `{"Id":"` + pushed.ID().String() + `","Signature":"SIG","Data":"<hi>","Owner":"` + pushed.Owner() + `","Target":"` + id +
		`","Anchor":"77777777777777777777777777777777","From":"` + id + `","Forwarded-By":"` + pushed.Owner() +
		`","Tags":[{"name":"Action","value":"Ping"},{"name":"Data-Protocol","value":"ao"},{"name":"Type","value":"Message"},` +
		`{"name":"From-Process","value":"` + id + `"},{"name":"From-Module","value":"m"},{"name":"Pushed-For","value":"p"},` +
		`{"name":"From-Slot","value":"3"},{"name":"From-Index","value":"1"},` +
		`{"name":"From-Result","value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],"Epoch":0,"Nonce":1,"Timestamp":1,` +
		`"Block-Height":1,"Hash-Chain":"CHAIN","Cron":false,"Read-Only":false,"Stake":"12"}`
	if got := blank(t, envelope(second)); got != want {
		t.Errorf("slot 1:\n%s\nwant\n%s", got, want)
	}
}

// TestEnvironmentOwner: as in the reference unit, the owner in the environment is the signer, a messenger if the process
// was spawned by another. Whether to go by From-Process instead is the module's own business.
func TestEnvironmentOwner(t *testing.T) {
	spawn, err := ao.Draft{Tags: ao.Tags{{Name: "Module", Value: ao.ID{1}.String()}}}.SignSpawn(testSigner(t, 2), ao.Origin{Process: ao.ID{3}}, "s")
	if err != nil {
		t.Fatal(err)
	}
	process, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	module, err := ao.SignModule(testSigner(t, 1), FormatDefault, "1-mb", "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	var env struct{ Process, Module struct{ Owner string } }
	if err := json.Unmarshal(environment(Genesis{Process: process, Module: module}), &env); err != nil {
		t.Fatal(err)
	}
	if env.Process.Owner != spawn.Owner() || env.Process.Owner == spawn.From() || env.Module.Owner != module.Owner() {
		t.Errorf("%+v", env)
	}
}

// blank replaces what differs by signature.
func blank(t *testing.T, b []byte) string {
	t.Helper()
	var v struct {
		Signature string
		Chain     string `json:"Hash-Chain"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return strings.NewReplacer(v.Signature, "SIG", v.Chain, "CHAIN").Replace(string(b))
}
