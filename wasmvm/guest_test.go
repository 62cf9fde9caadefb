package wasmvm

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	guestID    = "process-0000000000000000000000000000000000A"
	guestOwner = "owner-000000000000000000000000000000000000A"
	guestMU    = "mu-000000000000000000000000000000000000000A"
	guestLimit = 128 << 20
)

// guestProgram is compiled once for the whole test binary, and kept for the next: it takes seconds, which a worker of
// a short fuzz run does not have.
var guestProgram = sync.OnceValues(func() (*wasiProgram, error) {
	cfg := engineConfig{}
	if dir, err := os.UserCacheDir(); err == nil {
		cfg.CacheDir = filepath.Join(dir, "aopeer", "test-code")
	}
	e, err := newEngine(cfg)
	if err != nil {
		return nil, err
	}
	return newWASI(context.Background(), e, DefaultModule())
})

func guestFor(tb testing.TB) *wasiProgram {
	tb.Helper()
	p, err := guestProgram()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// guestMessage is what a message looks like to the module; zero fields get what a message of the owner has.
type guestMessage struct {
	ID, From, Owner, Target, Data string
	Tags                          [][2]string
}

// guestResponse is what the module answers.
type guestResponse struct {
	OK     bool
	Text   string // of ok = false
	Error  string
	Output struct {
		Data, Prompt string
		Print        bool
	}
	Messages, Spawns []guestDraft
	Assignments      []struct {
		Processes []string
		Message   string
	}
}

type guestDraft struct {
	Target, Data, Anchor string
	Tags                 []struct{ Name, Value string }
}

func (d guestDraft) tag(name string) string {
	for _, t := range d.Tags {
		if t.Name == name {
			return t.Value
		}
	}
	return ""
}

// guestProcess is one process under test, rolled back by image when an answer says so.
type guestProcess struct {
	tb    testing.TB
	prog  *wasiProgram
	inst  instance
	limit uint64
	n     int
	used  uint64
	raw   []byte
}

func newGuestProcess(tb testing.TB, tags ...[2]string) *guestProcess {
	tb.Helper()
	p := guestFor(tb)
	inst, err := p.start(guestLimit)
	if err != nil {
		tb.Fatal(err)
	}
	g := &guestProcess{tb: tb, prog: p, inst: inst, limit: guestLimit}
	tb.Cleanup(func() { g.inst.close() })
	if r := g.send(guestMessage{ID: guestID, Tags: append([][2]string{{"Type", "Process"}}, tags...)}); r.Error != "" || !r.OK {
		tb.Fatalf("boot: %+v", r)
	}
	return g
}

func guestTags(tags [][2]string) []map[string]string {
	out := []map[string]string{}
	for _, t := range tags {
		out = append(out, map[string]string{"name": t[0], "value": t[1]})
	}
	return out
}

func guestEnv(tags ...[2]string) []byte {
	tags = append([][2]string{{"Name", "test"}, {"Authority", guestMU + ", other-mu"}}, tags...)
	b, _ := json.Marshal(map[string]any{
		"Process": map[string]any{"Id": guestID, "Owner": guestOwner, "Tags": guestTags(tags)},
		"Module":  map[string]any{"Id": "module", "Owner": "publisher", "Tags": guestTags(nil)},
	})
	return b
}

func (m guestMessage) encode(n int) []byte {
	or := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	owner := or(m.Owner, guestOwner)
	b, _ := json.Marshal(map[string]any{
		"Id": or(m.ID, fmt.Sprintf("message-%d", n)), "Data": m.Data, "Owner": owner, "From": or(m.From, owner), "Target": or(m.Target, guestID),
		"Tags": guestTags(m.Tags), "Epoch": 0, "Nonce": n, "Timestamp": 1_700_000_000_000 + n, "Block-Height": 1_000_000 + n, "Cron": false,
	})
	return b
}

// try sends a message and returns what handle did.
func (g *guestProcess) try(m guestMessage, fuel uint64) (guestResponse, error) {
	g.tb.Helper()
	var (
		out []byte
		err error
		r   guestResponse
	)
	out, g.used, err = g.inst.handle(m.encode(g.n), guestEnv(), fuel)
	g.n++
	if err != nil {
		return r, err
	}
	g.raw = out
	var whole struct {
		OK       bool
		Response json.RawMessage
	}
	if err := json.Unmarshal(out, &whole); err != nil {
		g.tb.Fatalf("answer %q: %v", out, err)
	}
	r.OK = whole.OK
	if !r.OK {
		return r, json.Unmarshal(whole.Response, &r.Text)
	}
	if err := json.Unmarshal(whole.Response, &r); err != nil {
		g.tb.Fatalf("answer %q: %v", out, err)
	}
	return r, nil
}

func (g *guestProcess) send(m guestMessage) guestResponse {
	g.tb.Helper()
	r, err := g.try(m, MaxFuel)
	if err != nil {
		g.tb.Fatal(err)
	}
	return r
}

func (g *guestProcess) attempt(code string) guestResponse {
	g.tb.Helper()
	return g.send(guestMessage{Data: code, Tags: [][2]string{{"Action", "Eval"}}})
}

// eval runs code that must work and returns what it shows.
func (g *guestProcess) eval(code string) string {
	g.tb.Helper()
	r := g.attempt(code)
	if r.Error != "" || !r.OK {
		g.tb.Fatalf("eval %s: %s%s", code, r.Error, r.Text)
	}
	return r.Output.Data
}

// push is a message from another process, carried by a unit that ours trusts.
func (g *guestProcess) push(from, data string, tags ...[2]string) guestResponse {
	g.tb.Helper()
	return g.send(guestMessage{From: from, Owner: guestMU, Data: data, Tags: tags})
}

// rewind puts the process back to an image, in a new instance.
func (g *guestProcess) rewind(img *Image) {
	g.tb.Helper()
	inst, err := g.prog.restore(img, g.limit)
	if err != nil {
		g.tb.Fatal(err)
	}
	g.inst.close()
	g.inst = inst
}

func (g *guestProcess) image() *Image { return captureImage(g.inst.memory(), g.inst.tail()) }

func TestGuestEval(t *testing.T) {
	g := newGuestProcess(t)
	for _, c := range []struct{ code, want string }{
		{"1+1", "2"},
		{"7 // 2, 7 % 3, 7 / 2, 1 << 40", "3\t1\t3.5\t1099511627776"},
		{"9007199254740993 * 3", "27021597764222979"},
		{"math.maxinteger // 1 | 0", "9223372036854775807"},
		{"'a' .. 1", "a1"},
		{"x = 5", ""},
		{"return x, nil, x", "5\tnil\t5"},
		{"{ b = 1, a = { 'x', 2.0 }, [10] = true }", "{\n  [10] = true,\n  a = {\n    \"x\",\n    2.0\n  },\n  b = 1\n}"},
		{"print('hi', 1, {}) return 3", "hi\t1\t{ }\n3"},
		{"os.time()", "1700000000010"},
		{"ao.id", guestID},
		{"ao._module", "module"},
		{"Owner", guestOwner},
		{"Name", "test"},
		{"#ao.authorities, ao.authorities[2]", "2\tother-mu"},
		{"utf8.len('\\u{e9}\\u{10FFFF}')", "2"},
		{"string.format('%05.1f|%q|%x', 3.14159, 'a', 255)", "003.1|\"a\"|ff"},
		{"table.concat(table.move({1,2,3}, 1, 3, 2, {0}), ',')", "0,1,2,3"},
		{"select('#', table.unpack({1, nil, 3}, 1, 3))", "3"},
		{"pcall(error, { code = 7 })", "false\t{\n  code = 7\n}"},
		{"xpcall(function(x) error(x, 0) end, function(e) return 'got ' .. e end, 'x')", "false\tgot x"},
		{"coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b end)(1)", "2"},
		{"load('return ...')(4)", "4"},
		{"load('\\27Lua')", "nil\tchunk:1:1: invalid token: illegal character near '\\27'"},
		{"io, debug, string.dump, dofile, loadfile, os.exit, os.getenv", strings.Repeat("nil\t", 6) + "nil"},
		{"require('json') == json, require('ao') == ao, pcall(require, 'socket')", "true\ttrue\tfalse\tmodule 'socket' not found"},
		{"goto done do return 1 end ::done:: return 2", "2"},
		{"collectgarbage('count')", "0"},
	} {
		if got := g.eval(c.code); got != c.want {
			t.Errorf("%s: %q, want %q", c.code, got, c.want)
		}
	}
	if r := g.attempt("return 1"); r.Output.Prompt != "test@aopeer[Inbox:0]> " || r.Output.Print {
		t.Errorf("output %+v", r.Output)
	}
}
