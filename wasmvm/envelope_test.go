package wasmvm

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/units/unitstest"
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
	if got := blank(t, envelope(first, nil)); got != want {
		t.Errorf("slot 0:\n%s\nwant\n%s", got, want)
	}
	want = `{"Id":"` + pushed.ID().String() + `","Signature":"SIG","Data":"<hi>","Owner":"` + pushed.Owner() + `","Target":"` + id +
		`","Anchor":"77777777777777777777777777777777","From":"` + id + `","Forwarded-By":"` + pushed.Owner() +
		`","Tags":[{"name":"Action","value":"Ping"},{"name":"Data-Protocol","value":"ao"},{"name":"Type","value":"Message"},` +
		`{"name":"From-Process","value":"` + id + `"},{"name":"From-Module","value":"m"},{"name":"Pushed-For","value":"p"},` +
		`{"name":"From-Slot","value":"3"},{"name":"From-Index","value":"1"},` +
		`{"name":"From-Result","value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],"Epoch":0,"Nonce":1,"Timestamp":1,` +
		`"Block-Height":1,"Hash-Chain":"CHAIN","Cron":false,"Read-Only":false,"Stake":"12"}`
	if got := blank(t, envelope(second, nil)); got != want {
		t.Errorf("slot 1:\n%s\nwant\n%s", got, want)
	}
	tick := process.CronMessage(ao.CronInterval{Tags: ao.Tags{{Name: "Action", Value: "Tick"}, {Name: "Owner", Value: "forged"}}}, ao.Tick{Timestamp: 5000}, 7)
	want = `{"Owner":"` + owner + `","Target":"` + id + `","From":"` + owner + `","Tags":[{"name":"Action","value":"Tick"}],"Timestamp":5000,` +
		`"Block-Height":7,"Cron":true,"Read-Only":false}`
	if got := string(cronEnvelope(tick)); got != want {
		t.Errorf("tick:\n%s\nwant\n%s", got, want)
	}
}

// TestTransactionEnvelope: a transaction of Arweave is seen as an assigned message is, from nobody in particular if it pays nobody.
func TestTransactionEnvelope(t *testing.T) {
	raw, err := os.ReadFile("../ao/testdata/transaction.json")
	if err != nil {
		t.Fatal(err)
	}
	paying, err := l1.ParseJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	user := testSigner(t, 1)
	see := func(tx *l1.Tx, process ao.ID, exclude ...string) string {
		t.Helper()
		m, err := ao.NewTransaction(tx)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ao.SignAssignment(user, ao.AssignmentFields{Process: process, Nonce: 1, Message: m.ID(), Exclude: exclude})
		if err != nil {
			t.Fatal(err)
		}
		return blank(t, envelope(ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil))
	}
	const rest = `"Epoch":0,"Nonce":1,"Timestamp":0,"Block-Height":0,"Hash-Chain":"CHAIN","Cron":false,"Read-Only":false}`
	tx := unitstest.Transaction(t)
	owner, anchor := tx.OwnerAddress(), "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ"
	want := `{"Id":"` + tx.ID.String() + `","Signature":"SIG","Data":"a note on Arweave itself","Owner":"` + owner + `","Target":"","Anchor":"` +
		anchor + `","From":"` + owner + `","Tags":[{"name":"Content-Type","value":"text/plain"},{"name":"Action","value":"Note"},` +
		`{"name":"Title","value":"A note"}],` + rest
	if got := see(tx, ao.ID{8}); got != want {
		t.Errorf("envelope\n%s\nwant\n%s", got, want)
	}
	want = `{"Id":"` + tx.ID.String() + `","Signature":"SIG","Owner":"` + owner + `","Target":"","From":"` + owner + `","Tags":[],` + rest
	if got := see(tx, ao.ID{8}, "Data", "Anchor", "Tags"); got != want {
		t.Errorf("envelope\n%s\nwant\n%s", got, want)
	}
	for process, target := range map[ao.ID]ao.ID{{8}: ao.ID(paying.Target), ao.ID(paying.Target): ao.ID(paying.Target)} {
		if got := see(paying, process); !strings.Contains(got, `"Target":"`+target.String()+`"`) || !strings.Contains(got, `"Forwarded-By":"`+owner+`"`) {
			t.Errorf("envelope\n%s\nwith another target than %s", got, target)
		}
	}
}

// TestExcludedFields: what an assignment excludes is not in the envelope, the order of the rest stays, and nothing by which
// a module judges a message can be excluded.
func TestExcludedFields(t *testing.T) {
	user := testSigner(t, 1)
	m, err := ao.SignMessage(user, ao.ID{9}, ao.Tags{{Name: "Action", Value: "Ping"}}, []byte("data"), []byte(strings.Repeat("7", 32)))
	if err != nil {
		t.Fatal(err)
	}
	see := func(exclude ...string) string {
		t.Helper()
		a, err := ao.SignAssignment(user, ao.AssignmentFields{Process: ao.ID{8}, Nonce: 1, Message: m.ID(), Exclude: exclude})
		if err != nil {
			t.Fatal(err)
		}
		return string(envelope(ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil))
	}
	whole := see()
	var v struct{ Signature string }
	if err := json.Unmarshal([]byte(whole), &v); err != nil {
		t.Fatal(err)
	}
	gone := map[string]string{"Data": `,"Data":"data"`, "Anchor": `,"Anchor":"77777777777777777777777777777777"`, "Signature": `,"Signature":"` + v.Signature + `"`}
	all := whole
	for name, text := range gone {
		if want := strings.Replace(whole, text, "", 1); see(name) != want || want == whole {
			t.Errorf("without %s:\n%s\nwant\n%s", name, see(name), want)
		}
		all = strings.Replace(all, text, "", 1)
	}
	from, to := strings.Index(all, `"Tags":[`)+len(`"Tags":[`), strings.Index(all, `],"Epoch"`)
	if all = all[:from] + all[to:]; see("Data", "Anchor", "Signature", "Tags") != all {
		t.Errorf("without anything:\n%s\nwant\n%s", see("Data", "Anchor", "Signature", "Tags"), all)
	}
	if got := see("Owner", "From", "Target", "Id", "Nonce", "data", "Forwarded-By"); got != whole {
		t.Errorf("excluding what cannot be excluded:\n%s\nwant\n%s", got, whole)
	}
}

// TestTargetOfAProcess: a process item with a target is told as a message to it where it is assigned.
func TestTargetOfAProcess(t *testing.T) {
	user := testSigner(t, 1)
	it, err := ans104.Sign(user, ans104.Fields{Target: append([]byte{7}, make([]byte, 31)...), Tags: ao.Tags{
		{Name: "Data-Protocol", Value: "ao"}, {Name: "Type", Value: "Process"}, {Name: "Module", Value: ao.ID{1}.String()}, {Name: "Scheduler", Value: "s"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ao.NewMessage(it)
	if err != nil {
		t.Fatal(err)
	}
	for process, want := range map[ao.ID]ao.ID{m.ID(): m.ID(), {7}: {7}, {8}: m.ID()} {
		if got := targetOf(m, process); got != want.String() {
			t.Errorf("in the log of %s the target is %s, want %s", process, got, want)
		}
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

// TestBootEnvelope: a process that its log does not hold is shown without a slot and without a link.
func TestBootEnvelope(t *testing.T) {
	spawn, err := ao.SignProcess(testSigner(t, 1), ao.ID{1}, "scheduler", nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	cursor := ao.NewCursor(spawn.ID())
	e := testEntry(t, &cursor, spawn)
	in := string(envelope(e, nil))
	e.Proof = ao.ProofBoot
	out := string(envelope(e, nil))
	for _, key := range []string{"Epoch", "Nonce", "Hash-Chain"} {
		if !strings.Contains(in, `"`+key+`":`) || strings.Contains(out, `"`+key+`":`) {
			t.Errorf("%s in the log: %s\nand not in it: %s", key, in, out)
		}
	}
	var back map[string]any
	if err := json.Unmarshal([]byte(out), &back); err != nil || back["Timestamp"] == nil || back["Block-Height"] == nil || back["Id"] != spawn.ID().String() {
		t.Errorf("%v: %s", err, out)
	}
}

// TestBootedEnvelope: what a process boots from stands for its data, and is told of last among its tags; every other message,
// and a process of which the tags are excluded, is shown as it is.
func TestBootedEnvelope(t *testing.T) {
	user := testSigner(t, 1)
	spawn, err := ao.SignProcess(user, ao.ID{1}, "scheduler", ao.Tags{{Name: "On-Boot", Value: ao.ID{5}.String()}}, []byte("own"), nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ao.SignMessage(user, spawn.ID(), nil, []byte("own"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		m       ao.Message
		process ao.ID
		exclude []string
		boots   bool
	}{
		{spawn, spawn.ID(), nil, true},
		{spawn, spawn.ID(), []string{"Data"}, true},
		{spawn, spawn.ID(), []string{"Tags"}, false},
		{spawn, ao.ID{8}, nil, false}, // assigned to another process
		{other, spawn.ID(), nil, false},
	} {
		f := ao.AssignmentFields{Process: c.process, Nonce: 1, Message: c.m.ID(), Exclude: c.exclude}
		if f.Message == f.Process {
			f.Nonce = 0
		}
		a, err := ao.SignAssignment(user, f)
		if err != nil {
			t.Fatal(err)
		}
		e := ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: c.m}
		plain, got := envelope(e, nil), envelope(e, []byte("booted"))
		if !c.boots {
			if string(got) != string(plain) {
				t.Errorf("%v: %s", c, got)
			}
			continue
		}
		var v struct {
			Data string
			Tags ao.Tags
		}
		if err := json.Unmarshal(got, &v); err != nil || v.Data != "booted" || v.Tags.Get("On-Boot") != spawn.Tags().Get("On-Boot") ||
			v.Tags[len(v.Tags)-1] != (ao.Tag{Name: "On-Boot", Value: "Data"}) || len(v.Tags) != len(c.m.Tags())+1 {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// TestToldEnvelope: what a HyperBEAM node tells reaches the module as it was told, also data that are no text.
func TestToldEnvelope(t *testing.T) {
	node := unitstest.NewHyperBEAM()
	pid := node.Spawn("p", unitstest.ID("module"), 1)
	from := unitstest.ID("q").String()
	node.Add(pid, "m", "", func(message, _ map[string]any) {
		message["Data"], message["Signature"] = nil, "not base64url"
		unitstest.SetTag(message, "Count", 7)
	}, ao.Tag{Name: "From-Process", Value: from})
	page, err := ao.ParseTold([]byte(node.Body(pid, 1)))
	if err != nil {
		t.Fatal(err)
	}
	f := page.Entries[0].Assignment.Fields()
	want := `{"Id":"` + unitstest.ID("m").String() + `","Signature":"not base64url","Data":null,"Owner":"` + unitstest.ID("user").String() +
		`","Target":"` + pid.String() + `","Anchor":"00000000000000000000000000000007","From":"` + from + `","Forwarded-By":"` + unitstest.ID("user").String() +
		`","Tags":[{"name":"From-Process","value":"` + from + `"},{"name":"Count","value":"7"}],"Epoch":0,"Nonce":1,"Timestamp":` +
		strconv.FormatInt(f.Timestamp, 10) + `,"Block-Height":2,"Hash-Chain":"` + ao.ID(f.HashChain).String() + `","Cron":false,"Read-Only":false}`
	if got := string(envelope(page.Entries[0], nil)); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
