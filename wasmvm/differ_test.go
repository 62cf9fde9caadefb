//go:build e2e

package wasmvm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// loaderPackage is the reference's host of aos modules, which comes from npm and is never committed.
const loaderPackage = "@permaweb/ao-loader@0.0.49"

// differStep is one message of the script: an entry of the log, or a query beside it.
type differStep struct {
	label string
	entry ao.Entry
	query *ao.Query
}

// TestDifferential plays the same messages through the reference's loader under Node and through this machine, for every
// module that npm has: the same outputs, and the same memory after each.
func TestDifferential(t *testing.T) {
	folder := loaderFolder(t)
	for _, module := range []struct{ name, sum, format string }{
		{aosWide, aosSum, FormatAOS},
		{"aos2_0_3.wasm", "fb5524345b8057598416c5e1eb3c71ec96fa87e1b45bcc07fe7c151a32dbd712", FormatAOS},
		{"aos2_0_1.wasm", "43d053f3c7c4fb21534a6bd73a8e5d40de5f5019a160fc7ca67b4925e55e112c", FormatAOS},
		{aosNarrow, aosSum32, FormatAOS32},
		{"aos.wasm", "c7f07e3dddfb49d7a0093eaf910ba5f7634ddb899999415594b95f3aea6b7bdb", FormatAOS},
		{"process.wasm", "e0afa3a6e1675956f86563de7764ff6f68f8745d140de02902086d59cbed83c6", FormatAOS},
		{"sqlite.wasm", "72a9a3d8280db4e1467df3829219f6f255e94da5ce0334bc4f79a64dd3fbca6f", FormatAOS},
	} {
		t.Run(module.name, func(t *testing.T) {
			code := fetchModule(t, module.name, module.sum)
			if format, err := FormatOf(code); err != nil || format != module.format {
				t.Fatalf("taken for %s: %v", format, err)
			}
			d := newDiffer(t, module.format, code)
			steps := d.script(t, module.name == "sqlite.wasm")
			reference := d.reference(t, folder, code, steps)
			for i, step := range steps {
				r, digest, length := d.play(t, step)
				want, err := ao.ParseResponse(reference[i].Answer)
				if err != nil {
					t.Fatalf("message %d (%s): the reference answers %s", i, step.label, reference[i].Answer)
				}
				r.GasUsed = 0
				if !sameResult(r, want) {
					t.Errorf("message %d (%s):\n%s\nthe reference:\n%s", i, step.label, shown(r), shown(want))
				}
				if digest != reference[i].Digest || length != reference[i].Length {
					t.Errorf("message %d (%s): memory of %d bytes %s, the reference has %d bytes %s",
						i, step.label, length, digest, reference[i].Length, reference[i].Digest)
				}
			}
		})
	}
}

// loaderFolder is a folder into which the loader has been installed.
func loaderFolder(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: the reference's loader runs under Node", tool)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	folder := filepath.Join(cache, "aopeer-test", "ao-loader-0.0.49")
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err == nil {
		return folder
	}
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(folder), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("npm", "install", "--prefix", tmp, "--ignore-scripts", "--no-audit", "--no-fund", loaderPackage)
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(tmp)
		t.Skipf("npm install %s: %v: %s", loaderPackage, err, out)
	}
	if err := os.Rename(tmp, folder); err != nil { // somebody else was faster
		os.RemoveAll(tmp)
	}
	return folder
}

// differ is one process of a module on this machine.
type differ struct {
	host    *Host
	state   State
	genesis Genesis
	spawn   ao.Message
	last    ao.AssignmentFields
}

func newDiffer(t *testing.T, format string, code []byte) *differ {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	h, err := NewHost(Config{CacheDir: filepath.Join(cache, "aopeer-test", "code")})
	if err != nil {
		t.Fatal(err)
	}
	module, err := ao.SignModule(testSigner(t, 1), format, "1-gb", "9000000000000", code)
	if err != nil {
		t.Fatal(err)
	}
	messenger := testSigner(t, 2)
	tags := ao.Tags{{Name: "Name", Value: "differ"}, {Name: "Authority", Value: addressOf(t, messenger)}}
	spawn, err := ao.SignProcess(testSigner(t, 1), module.ID(), "scheduler", tags, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	d := &differ{host: h, genesis: Genesis{Process: p, Module: module}, spawn: spawn}
	if d.state, err = h.Begin(t.Context(), d.genesis, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.state.Close()
		h.Close()
	})
	return d
}

// script is the twenty messages.
func (d *differ) script(t *testing.T, sqlite bool) []differStep {
	t.Helper()
	owner, messenger, pid := testSigner(t, 1), testSigner(t, 2), d.genesis.Process.ID()
	cursor := ao.NewCursor(pid)
	steps := []differStep{{label: "spawn", entry: testEntry(t, &cursor, d.spawn)}}
	add := func(label, data string, tags ...ao.Tag) {
		m, err := ao.SignMessage(owner, pid, tags, []byte(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, differStep{label: label, entry: testEntry(t, &cursor, m)})
	}
	eval := func(label, code string) { add(label, code, ao.Tag{Name: "Action", Value: "Eval"}) }
	transfer := func(label, recipient, quantity string) {
		add(label, " ", ao.Tag{Name: "Action", Value: "Transfer"}, ao.Tag{Name: "Recipient", Value: recipient}, ao.Tag{Name: "Quantity", Value: quantity})
	}
	eval("eval", "1+1")
	eval("numbers", `local x = 0 for i = 1, 5000 do x = x + math.sin(i) * i end 
return string.format("%.17g %d %x %s", x, 7 // 2, 255, 2^53) .. os.date("!%c", 86400) .. os.date("%Y-%m-%d %H:%M:%S", 1e9)`)
	eval("unicode", `Word = "<héllo> & 😀 \u{2028}\u{2029} \t\\ \0" return Word .. #Word .. utf8.len(Word)`)
	add("unicode inbox", "a\xffb \xe2\x82 \xed\xa0\x80 日本語 \"quoted\" \x00\x1f", ao.Tag{Name: "Sübject", Value: "\u2028<&>"})
	eval("token", strings.ReplaceAll(testToken, testOwner, addressOf(t, owner)))
	transfer("transfer", "RECIPIENT", "12")
	transfer("more than there is", "RECIPIENT", "99999999999999")
	transfer("malformed", "RECIPIENT", "-1")
	eval("error", "Broken = 1 error('boom')")
	eval("syntax error", "this is (no Lua")
	eval("sends", `for i = 1, 3 do Send({ Target = "T" .. i, Action = "Hi", Data = "yo " .. i, ["X-Number"] = tostring(i) }) end return Broken`)
	eval("spawn", `Spawn("`+d.genesis.Module.ID().String()+`", { Data = "born", Tags = { Name = "child", Authority = "`+addressOf(t, messenger)+`" } }) return "spawned"`)
	eval("assign", `Assign({ Processes = { ao.id }, Message = "`+pid.String()+`" }) return "assigned"`)
	add("big", strings.Repeat("0123456789abcdef", 16<<10), ao.Tag{Name: "Action", Value: "Big"})
	pushed, err := ao.Draft{
		Target: pid.String(), Anchor: strings.Repeat("7", 32), Data: []byte("from a process"), Tags: ao.Tags{{Name: "Action", Value: "Ping"}},
	}.Sign(messenger, ao.Origin{Process: ao.ID{3}, Module: "m", PushedFor: "p", Slot: 3, Index: 1}, ao.ID{})
	if err != nil {
		t.Fatal(err)
	}
	steps = append(steps, differStep{label: "pushed", entry: testEntry(t, &cursor, pushed)})
	eval("growth", `Large = {} for i = 1, 40 do Large[i] = string.rep(string.char(64 + i), 1 << 20) end return #Large .. " " .. collectgarbage("count")`)
	steps = append(steps, differStep{label: "query", query: &ao.Query{
		Owner: addressOf(t, owner), Anchor: "0", Data: []byte("Broken = 2 return #Inbox .. #Large"), Tags: ao.Tags{{Name: "Action", Value: "Eval"}},
	}})
	eval("random", `Large = nil collectgarbage() return { Broken, os.time(), math.random(1, 1 << 40), tostring({}), pcall(require, "no.such"), io.open("/no/such", "r") }`)
	if sqlite {
		eval("database", `local db = require("lsqlite3").open_memory()
db:exec("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, x REAL); INSERT INTO t (name, x) VALUES ('one', 1.5), ('zwölf', 12);")
local out = {} for row in db:nrows("SELECT *, date(0, 'unixepoch') AS d FROM t ORDER BY x DESC") do table.insert(out, row.id .. row.name .. row.x .. row.d) end
DB = db return table.concat(out, " ") .. db:errmsg()`)
	} else {
		eval("large table", `local t = {} for i = 1, 20000 do t["key" .. i] = i end local n = 0 for k, v in pairs(t) do n = (n * 31 + v) % 1000003 end return n`)
	}
	if len(steps) != 20 {
		t.Fatalf("%d steps", len(steps))
	}
	return steps
}

func addressOf(t *testing.T, s ans104.Signer) string {
	t.Helper()
	a, err := ans104.Address(s.Type(), s.Owner())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// line is what the loader made of a message.
type line struct {
	Answer json.RawMessage
	Digest string
	Length int
}

// reference plays the steps through the loader.
func (d *differ) reference(t *testing.T, folder string, code []byte, steps []differStep) (out []line) {
	t.Helper()
	type step struct {
		Message json.RawMessage `json:"message"`
		Query   bool            `json:"query"`
	}
	script := struct {
		Env   json.RawMessage `json:"env"`
		Steps []step          `json:"steps"`
	}{Env: environment(d.genesis)}
	for _, s := range steps {
		message := step{Query: s.query != nil}
		if message.Query {
			message.Message = queryEnvelope(d.genesis.Process.ID(), *s.query, steps[len(script.Steps)-1].entry.Assignment.Fields())
		} else {
			message.Message = envelope(s.entry, nil)
		}
		script.Steps = append(script.Steps, message)
	}
	dir := t.TempDir()
	module, file, answers := filepath.Join(dir, "module.wasm"), filepath.Join(dir, "script.json"), filepath.Join(dir, "answers.json")
	if err := os.WriteFile(module, code, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(testJSON(script)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "env", "TZ=UTC", "node", "--experimental-wasm-memory64", "testdata/loader.mjs",
		folder, module, d.genesis.Module.Format(), file, answers)
	printed, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("loader: %v: %s", err, printed)
	}
	raw, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(bytes.NewReader(raw))
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	if len(out) != len(steps) {
		t.Fatalf("the loader answers %d of %d messages: %s", len(out), len(steps), printed)
	}
	return out
}

// play applies a step to the process, and says what memory stands after it.
func (d *differ) play(t *testing.T, s differStep) (r ao.Result, digest string, length int) {
	t.Helper()
	var err error
	if s.query != nil {
		r, err = d.host.DryRun(t.Context(), d.state, *s.query, d.last)
	} else {
		d.last = s.entry.Assignment.Fields()
		d.state, r, err = d.host.Apply(t.Context(), d.state, s.entry)
	}
	if err != nil {
		t.Fatalf("%s: %v", s.label, err)
	}
	if err := d.state.(Tidier).Tidy(); err != nil { // a query is taken back after its answer
		t.Fatalf("%s: %v", s.label, err)
	}
	mem := d.state.(*process).journal.memory()
	return r, hexSum(mem), len(mem)
}

// sameResult compares what two hosts made of the same bytes; JavaScript may have put keys and spaces elsewhere, and each
// engine has words of its own for a trap.
func sameResult(ours, reference ao.Result) bool {
	if bytes.HasPrefix(ours.Error, []byte(`"wasm trap`)) {
		return reference.Error != nil
	}
	return reflect.DeepEqual(plain(ours), plain(reference))
}

func plain(r ao.Result) any {
	decode := func(raw json.RawMessage) (v any) {
		_ = json.Unmarshal(raw, &v) // nil if there is none
		return v
	}
	drafts := func(list []ao.Draft) (out []any) {
		for _, d := range list {
			out = append(out, decode(d.Raw))
		}
		return out
	}
	var assigns []any
	for _, a := range r.Assignments {
		assigns = append(assigns, decode(a.Raw))
	}
	return []any{decode(r.Error), decode(r.Output), drafts(r.Messages), drafts(r.Spawns), assigns}
}

func shown(r ao.Result) string {
	return fmt.Sprintf("Error %.2000s Output %.2000s Messages %d Spawns %d Assignments %d", r.Error, r.Output, len(r.Messages), len(r.Spawns), len(r.Assignments))
}
