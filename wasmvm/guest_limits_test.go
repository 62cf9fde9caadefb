package wasmvm

import (
	"strings"
	"testing"
)

// fails sends code whose evaluation the host ends, and checks that the process goes on from where it was.
func (g *guestProcess) fails(code string, fuel uint64, want fault) {
	g.tb.Helper()
	before := g.image()
	_, err := g.try(guestMessage{Data: code, Tags: [][2]string{{"Action", "Eval"}}}, fuel)
	if err != want {
		g.tb.Errorf("%.60s: %v, want %v (%d fuel)", code, err, want, g.used)
	}
	if want == faultOutOfGas && g.used != fuel {
		g.tb.Errorf("%.60s: %d fuel, want all of it", code, g.used)
	}
	g.rewind(before)
	if got := g.eval("1+1"); got != "2" {
		g.tb.Errorf("%.60s: afterwards 1+1 = %s", code, got)
	}
}

// TestGuestLimits: whatever a script tries, one of three texts ends it, and no pcall holds it up.
func TestGuestLimits(t *testing.T) {
	g := newGuestProcess(t)
	g.limit = 24 << 20
	g.rewind(g.image())
	for _, code := range []string{
		"while true do end",
		"repeat pcall(function() while true do end end) until false",
		"local function f() return f() end f()",
		"coroutine.wrap(function() while true do end end)()",
		"local s = ('a'):rep(5000) return s:find(('.-'):rep(20) .. 'b')",
		"local t = {} for i = 1, 1e9 do t[i % 10] = i end",
	} {
		g.fails(code, 200_000_000, faultOutOfGas)
	}
	for _, code := range []string{
		"local s = 'x' while true do s = s .. s end",
		"repeat pcall(function() local s = 'x' while true do s = s .. s end end) until false",
		"local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
		"local t = {} while true do t[#t + 1] = {} end",
		"local function f() return 1 + f() end f()",
		"return ('x'):rep(200000000)",
		"print(('x'):rep(1000000)) while true do print(('x'):rep(1000000)) end",
		"kept = {} while true do local co = coroutine.create(print) kept[#kept + 1] = co end",
	} {
		g.fails(code, MaxFuel, faultGuestMemory)
	}
	for _, code := range []string{
		"local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x",
		"local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return pcall(function() return t[k] end) end return t.x",
		"local function f() return pcall(f) end return f()",
		"return " + strings.Repeat("(", 10000) + "1" + strings.Repeat(")", 10000),
		"return " + strings.Repeat("- ", 10000) + "1",
		"return " + strings.Repeat("{", 10000) + strings.Repeat("}", 10000),
		"return a" + strings.Repeat(".b", 10000),
		strings.Repeat("do ", 10000) + strings.Repeat("end ", 10000),
	} {
		g.fails(code, MaxFuel, faultGuestStack)
	}
}

// TestGuestErrors: what Lua itself refuses is a result with Error, and a caller may catch it.
func TestGuestErrors(t *testing.T) {
	g := newGuestProcess(t)
	for _, c := range []struct{ code, want string }{
		{"error('boom')", "eval:1: boom"},
		{"error({ code = 7 })", `{"code":7}`},
		{"local x = nil return x.y", "eval:1: attempt to index a nil value"},
		{"return = 1", "eval:1:"},
		{"return ('x'):rep(1e10)", "eval:1: resulting string too large"},
		{"setmetatable({}, { __gc = print })", "eval:1: finalizers are not supported"},
		{"local t = {} t.t = t return json.encode(t)", "eval:1: json: nested too deep"},
		{"return json.encode(0/0)", "eval:1: json: number is not finite"},
		{"return json.encode({ 1, x = 2 })", "eval:1: json: table has mixed or sparse keys"},
		{"return json.encode(print)", "eval:1: json: cannot encode a function"},
		{"return json.decode('{')", "eval:1: json: bad input at byte 2"},
		{"Send({ Target = 'x', Data = print })  coroutine.yield() error('no')", ""},
		{"ao.outbox.Messages = print", "json: cannot encode a function"},
	} {
		before := g.image()
		r := g.attempt(c.code)
		got := r.Error + r.Text
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.code, got, c.want)
		}
		if len(r.Messages) > 1 || r.Error != "" && len(r.Messages) > 0 {
			t.Errorf("%s: an error sends %+v", c.code, r.Messages)
		}
		g.rewind(before)
		if !strings.HasPrefix(c.want, "eval:") {
			continue
		}
		if caught := g.eval("return (pcall(load([==[" + c.code + "]==]) or error))"); caught != "false" {
			t.Errorf("%s: pcall says %s", c.code, caught)
		}
	}
	r := g.attempt("local function inner() error('deep') end\nlocal function outer() inner() return 1 end\nouter()")
	want := "eval:1: deep\nstack traceback:\nin function error (file [Go])\nin function inner (file eval:1)\nin function outer (file eval:2)\n"
	if !strings.HasPrefix(r.Error, want) {
		t.Errorf("traceback %q", r.Error)
	}
}

// TestGuestHostile: input that no scheduler makes is answered, too.
func TestGuestHostile(t *testing.T) {
	g := newGuestProcess(t)
	good := string(guestMessage{}.encode(1))
	env := string(guestEnv())
	for _, c := range []struct{ msg, env, want string }{
		{"", env, "message: json: bad input at byte 1"},
		{"{", env, "message: json: bad input at byte 2"},
		{good + "x", env, "message: json: bad input"},
		{"null", env, "malformed message or environment"},
		{"[]", "[]", "malformed message or environment"},
		{good, "", "environment: json: bad input at byte 1"},
		{strings.Repeat("[", 1_000_000), env, "message: json: nested too deep"},
		{strings.Repeat(`{"a":`, 200), env, "message: json: nested too deep"},
		{`{"Id":"\ud800\udc00\ud800"}`, env, ""},
		{`{"Tags":[1,null,{"name":5,"value":{}}],"From":1,"Owner":1}`, env, ""},
		{`{"Tags":{"Action":"Eval"},"Data":{}}`, env, ""},
		{`{"Data":1e999}`, env, "message: json: bad input"},
		{`{"Data":01}`, env, "message: json: bad input"},
		{"{\"Data\":\"\x01\"}", env, "message: json: bad input"},
		{`{"Data":"\x"}`, env, "message: json: bad input"},
	} {
		before := g.image()
		out, _, err := g.inst.handle([]byte(c.msg), []byte(c.env), MaxFuel)
		if err != nil {
			t.Fatalf("%.40q: %v", c.msg, err)
		}
		if c.want == "" && !strings.HasPrefix(string(out), `{"ok":true,`) || c.want != "" && !strings.HasPrefix(string(out), `{"ok":false,"response":"`+c.want) {
			t.Errorf("%.40q: %s, want %s", c.msg, out, c.want)
		}
		g.rewind(before)
	}
	if _, _, err := g.inst.handle(make([]byte, MaxInput), []byte(env), MaxFuel); err != faultInputSize {
		t.Errorf("large input: %v", err)
	}
}

// FuzzGuestMessage: no message brings the module down, and every answer is JSON.
func FuzzGuestMessage(f *testing.F) {
	f.Add(guestMessage{Data: "1", Tags: [][2]string{{"Action", "Eval"}}}.encode(1))
	f.Add([]byte(`{"Tags":[{"name":"a","value":"\ud83d\ude00"}],"From":-0.5e-3}`))
	f.Add([]byte(`[[],{},null,true,false,1.5]`))
	p := guestFor(f)
	env := guestEnv()
	f.Fuzz(func(t *testing.T, msg []byte) {
		inst, err := p.start(guestLimit)
		if err != nil {
			t.Fatal(err)
		}
		defer inst.close()
		out, _, err := inst.handle(msg, env, 1_000_000_000)
		if err == faultOutOfGas || err == faultGuestMemory || err == faultGuestStack {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(out), `{"ok":`) || !jsonValid(out) {
			t.Fatalf("answer %q", out)
		}
	})
}
