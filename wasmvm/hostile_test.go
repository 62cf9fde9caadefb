package wasmvm

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// watModule is the least module the machine accepts, with room for mischief: parts may replace a whole
// export by its name, or come under "imports", "memory", "data", "extra" and "handle".
func watModule(parts map[string]string) string {
	def := map[string]string{
		"imports":                      "",
		"memory":                       `(memory (export "memory") i64 2 100)`,
		"data":                         `(data (i64.const 1000) "answer\00")`,
		"extra":                        "",
		"malloc":                       `(param i64) (result i64) i64.const 70000`,
		"free":                         `(param i64)`,
		"__wasm_call_ctors":            "",
		"emscripten_stack_init":        "",
		"emscripten_stack_get_end":     `(result i64) i64.const 1024`,
		"emscripten_stack_get_current": `(result i64) global.get $sp`,
		"_emscripten_stack_alloc": `(param i64) (result i64)
			(global.set $sp (i64.and (i64.sub (global.get $sp) (local.get 0)) (i64.const -16))) (global.get $sp)`,
		"_emscripten_stack_restore": `(param i64) (global.set $sp (local.get 0))`,
		"setThrew":                  `(param i64 i32)`,
		"asyncify_start_unwind":     `(param i64)`,
		"asyncify_stop_unwind":      "",
		"asyncify_start_rewind":     `(param i64)`,
		"asyncify_stop_rewind":      "",
		"handle":                    `i64.const 1000`,
	}
	for k, v := range parts {
		def[k] = v
	}
	def["handle"] = `(param i64 i64) (result i64) ` + def["handle"]
	if v, ok := parts["handle!"]; ok {
		def["handle"] = v
	}
	var w strings.Builder
	fmt.Fprintf(&w, "(module %s %s %s (global $sp (mut i64) (i64.const 65536)) %s\n", def["imports"], def["memory"], def["data"], def["extra"])
	for _, name := range []string{
		"malloc", "free", "__wasm_call_ctors", "emscripten_stack_init", "emscripten_stack_get_end", "emscripten_stack_get_current",
		"_emscripten_stack_alloc", "_emscripten_stack_restore", "setThrew", "asyncify_start_unwind", "asyncify_stop_unwind",
		"asyncify_start_rewind", "asyncify_stop_rewind", "handle",
	} {
		if def[name] != "-" {
			fmt.Fprintf(&w, "(func $%s (export %q) %s)\n", name, name, def[name])
		}
	}
	return w.String() + ")"
}

func compileWat(tb testing.TB, e *engine, wat string) (*emscriptenProgram, error) {
	tb.Helper()
	wasm, err := wt.Wat2Wasm(wat)
	if err != nil {
		tb.Fatalf("%v\n%s", err, wat)
	}
	p, err := newEmscripten(tb.Context(), e, wasm, true)
	if err == nil {
		tb.Cleanup(p.close)
	}
	return p, err
}

func mustWat(tb testing.TB, e *engine, parts map[string]string) *emscriptenProgram {
	tb.Helper()
	p, err := compileWat(tb, e, watModule(parts))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// hostileCase is a module that misbehaves in its first message.
type hostileCase struct {
	name  string
	parts map[string]string
	want  error
}

func hostileCases() []hostileCase {
	imp := func(module, name, sig string) string {
		return fmt.Sprintf(`(import %q %q (func $f %s))`, module, name, sig)
	}
	const open = `(import "env" "__asyncjs__weavedrive_open" (func $open (param i64 i64) (result i32)))`
	return []hostileCase{
		{"loop", map[string]string{"handle": `(loop $l (br $l)) i64.const 0`}, faultOutOfGas},
		{"host call loop", map[string]string{"imports": imp("env", "emscripten_date_now", "(result f64)"), "handle": `(loop $l (drop (call $f)) (br $l)) i64.const 0`}, faultOutOfGas},
		{"asyncify loop", map[string]string{
			"imports": open,
			"handle":  `(drop (call $open (i64.const 0) (i64.const 0))) (drop (call $open (i64.const 0) (i64.const 0))) i64.const 1000`,
		}, faultAsyncify},
		{"rewind never asked for", map[string]string{
			"imports": open, "extra": `(global $n (mut i32) (i32.const 0))`,
			"handle": `(if (i32.eqz (global.get $n)) (then (global.set $n (i32.const 1)) (drop (call $open (i64.const 0) (i64.const 0))))) i64.const 1000`,
		}, faultAsyncify},
		{"unreachable", map[string]string{"handle": `unreachable`}, faultUnreachable},
		{"divide", map[string]string{"handle": `(i64.div_s (i64.const 1) (i64.const 0))`}, faultDivide},
		{"overflow", map[string]string{"handle": `(i64.div_s (i64.const -9223372036854775808) (i64.const -1))`}, faultOverflow},
		{"convert", map[string]string{"handle": `(i64.trunc_f64_s (f64.const nan))`}, faultConvert},
		{"load", map[string]string{"handle": `(i64.load (i64.const -8))`}, faultMemory},
		{"null call", map[string]string{"extra": `(table 1 funcref) (type $t (func))`, "handle": `(call_indirect (type $t) (i32.const 0)) i64.const 0`}, faultNullCall},
		{"table", map[string]string{"extra": `(table 1 funcref) (type $t (func))`, "handle": `(call_indirect (type $t) (i32.const 7)) i64.const 0`}, faultTable},
		{"signature", map[string]string{"extra": `(table 1 funcref) (elem (i32.const 0) $free) (type $t (func))`, "handle": `(call_indirect (type $t) (i32.const 0)) i64.const 0`}, faultSignature},
		{"recursion", map[string]string{"extra": `(func $r (call $r) (call $r))`, "handle": `(call $r) i64.const 0`}, faultStack},
		{"result outside", map[string]string{"handle": `i64.const -1`}, faultResult},
		{"result unterminated", map[string]string{"handle": `(i64.store8 (i64.const 131071) (i64.const 1)) i64.const 131071`}, faultResult},
		{"stack pointer outside", map[string]string{"_emscripten_stack_alloc": `(param i64) (result i64) i64.const -16`}, faultPointer},
		{"memcpy outside", map[string]string{"imports": imp("env", "_emscripten_memcpy_js", "(param i64 i64 i64)"), "handle": `(call $f (i64.const -1) (i64.const 0) (i64.const 1)) i64.const 0`}, faultPointer},
		{"memcpy huge", map[string]string{"imports": imp("env", "_emscripten_memcpy_js", "(param i64 i64 i64)"), "handle": `(call $f (i64.const 0) (i64.const 0) (i64.const -1)) i64.const 0`}, faultOutOfGas},
		{"write outside", map[string]string{
			"imports": imp("wasi_snapshot_preview1", "fd_write", "(param i32 i64 i64 i64) (result i32)"),
			"handle":  `(drop (call $f (i32.const 1) (i64.const 131072) (i64.const 9) (i64.const 0))) i64.const 0`,
		}, faultPointer},
		{"write many", map[string]string{
			"imports": imp("wasi_snapshot_preview1", "fd_write", "(param i32 i64 i64 i64) (result i32)"),
			"handle":  `(drop (call $f (i32.const 1) (i64.const 0) (i64.const 1152921504606846977) (i64.const 0))) i64.const 0`,
		}, faultPointer},
		{"time outside", map[string]string{"imports": imp("env", "_localtime_js", "(param i64 i64)"), "handle": `(call $f (i64.const 0) (i64.const 131070)) i64.const 0`}, faultPointer},
		{"format outside", map[string]string{
			"imports": imp("env", "strftime", "(param i64 i64 i64 i64) (result i64)"),
			"handle":  `(call $f (i64.const 0) (i64.const 100) (i64.const -5) (i64.const 2000))`,
		}, faultPointer},
		{"format weekday", map[string]string{
			"imports": imp("env", "strftime", "(param i64 i64 i64 i64) (result i64)"), "data": `(data (i64.const 1000) "%A\00")`,
			"handle": `(i32.store (i64.const 2024) (i32.const 7)) (call $f (i64.const 0) (i64.const 100) (i64.const 1000) (i64.const 2000))`,
		}, faultAbort},
		{"zone outside", map[string]string{"imports": imp("env", "_tzset_js", "(param i64 i64 i64 i64)"), "handle": `(call $f (i64.const 8) (i64.const 16) (i64.const 131069) (i64.const 24)) i64.const 0`}, faultPointer},
		{"exit", map[string]string{"imports": imp("env", "exit", "(param i32)"), "handle": `(call $f (i32.const -3)) i64.const 0`}, fault("Program terminated with exit(-3)")},
		{"abort", map[string]string{"imports": imp("env", "_abort_js", ""), "handle": `(call $f) i64.const 0`}, faultAbort},
		{"longjmp to nowhere", map[string]string{"imports": imp("env", "_emscripten_throw_longjmp", ""), "handle": `(call $f) i64.const 0`}, faultLongjmp},
		{"unknown import", map[string]string{"imports": imp("env", "evil\nname", "(param f32) (result f32)"), "handle": `(drop (call $f (f32.const 0))) i64.const 0`}, fault(`unsupported import "env.evil\nname"`)},
		{"known import, other type", map[string]string{"imports": imp("env", "exit", "(param i64)"), "handle": `(call $f (i64.const 0)) i64.const 0`}, fault(`unsupported import "env.exit"`)},
		{"shrinking heap", map[string]string{"imports": imp("env", "emscripten_resize_heap", "(param i64) (result i32)"), "handle": `(drop (call $f (i64.const 5))) i64.const 0`}, faultAbort},
		{"gas", map[string]string{"imports": imp("metering", "usegas", "(param i64)"), "handle": `(call $f (i64.const -1)) i64.const 0`}, faultOutOfGas},
		{"endless invoke", map[string]string{
			"imports": imp("env", "invoke_v", "(param i64)"), "extra": `(func $dyn (export "dynCall_v") (param i32) (call $f (i64.const 0)))`,
			"handle": `(call $f (i64.const 0)) i64.const 0`,
		}, faultDepth},
	}
}

// TestHostileHandle lets modules misbehave in a message: each ends in its own fixed text, and the journal
// brings the state back.
func TestHostileHandle(t *testing.T) {
	e := testEngine(t)
	for _, c := range hostileCases() {
		t.Run(c.name, func(t *testing.T) {
			p := mustWat(t, e, c.parts)
			for _, scan := range []*pageScan{testScan(t), nil} {
				j := testJournal(t, p, scan)
				before := hexSum(j.memory())
				for range 2 { // the second time on the instance that rollback made
					_, used, err := j.handle([]byte("message"), []byte("env"), 50_000_000)
					if err != c.want {
						t.Fatalf("handle: %v, want %v", err, c.want)
					}
					if err == faultOutOfGas && used != 50_000_000 {
						t.Fatalf("out of gas after %d", used)
					}
					if err := j.rollback(); err != nil {
						t.Fatal(err)
					}
					if hexSum(j.memory()) != before {
						t.Fatal("state differs after rollback")
					}
				}
			}
		})
	}
}

// TestHostileModule loads modules that must be refused before a process can come of them.
func TestHostileModule(t *testing.T) {
	e := testEngine(t)
	many := strings.Builder{}
	for i := range maxImports + 1 {
		fmt.Fprintf(&many, `(import "env" "f%d" (func))`, i)
	}
	for name, parts := range map[string]map[string]string{
		"start function":   {"extra": `(func $s) (start $s)`},
		"no handle":        {"handle!": `-`},
		"handle is odd":    {"handle!": `(param i32) (result i64) i64.const 0`},
		"no malloc":        {"malloc": "-"},
		"narrow free":      {"free": `(param i32)`},
		"no memory export": {"memory": `(memory i64 2 100)`},
		"memory is a func": {"memory": `(memory i64 2 100) (func (export "memory"))`},
		"imported memory":  {"imports": `(import "env" "memory" (memory i64 2 100))`, "memory": ""},
		"imported global":  {"imports": `(import "env" "g" (global i32))`},
		"many imports":     {"imports": many.String()},
		"vector import":    {"imports": `(import "env" "f" (func (param v128)))`},
		"reference import": {"imports": `(import "env" "f" (func (param externref)))`},
		"vector global":    {"extra": `(global (mut v128) (v128.const i64x2 0 0))`},
		"two memories":     {"extra": `(memory 1)`},
		"shared memory":    {"memory": `(memory (export "memory") 2 100 shared)`},
		"narrow memory":    {"memory": `(memory (export "memory") 2 100)`, "data": ``},
		"bulk memory":      {"handle": `(memory.fill (i64.const 0) (i32.const 0) (i64.const 1)) i64.const 0`},
		"table.set":        {"extra": `(table $t 1 funcref) (func (table.set $t (i32.const 0) (ref.null func)))`},
		"huge table":       {"extra": `(table 10000000 funcref)`},
		"data outside":     {"data": `(data (i64.const 1000000000) "x")`},
		"stack outside":    {"emscripten_stack_get_end": `(result i64) i64.const -5`},
		"endless init":     {"emscripten_stack_init": `(loop $l (br $l))`},
		"clashing export":  {"extra": `(func (export "aopeer.global.0"))`},
		"no asyncify":      {"imports": `(import "env" "__asyncjs__weavedrive_open" (func (param i64 i64) (result i32)))`, "asyncify_stop_unwind": "-"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compileWat(t, e, watModule(parts)); !errors.Is(err, ErrModule) {
				t.Fatalf("load: %v, want ErrModule", err)
			}
		})
	}
	for name, wasm := range map[string][]byte{"empty": nil, "text": []byte("(module)"), "header": []byte("\x00asm\x01\x00\x00\x00"), "big": make([]byte, MaxModule+1)} {
		if _, err := newEmscripten(t.Context(), e, wasm, true); !errors.Is(err, ErrModule) {
			t.Errorf("load %s: %v, want ErrModule", name, err)
		}
	}
}

// TestHostileStart covers what goes wrong only when an instance is made.
func TestHostileStart(t *testing.T) {
	e := testEngine(t)
	p := mustWat(t, e, map[string]string{"__wasm_call_ctors": `unreachable`})
	if _, err := p.start(testLimit); err != faultUnreachable {
		t.Errorf("trap in constructors: %v", err)
	}
	p = mustWat(t, e, map[string]string{"__wasm_call_ctors": `(loop $l (br $l))`})
	if testing.Short() {
		t.Skip("burns the whole start budget")
	}
	if _, err := p.start(testLimit); err != faultOutOfGas {
		t.Errorf("endless constructors: %v", err)
	}
	p = mustWat(t, e, nil)
	if _, err := p.start(wasmPage); err != faultMemoryLimit {
		t.Errorf("limit below the minimum: %v", err)
	}
	for name, img := range map[string]*Image{
		"too short": {length: wasmPage}, "too long": {length: 200 * wasmPage}, "over the limit": {length: 50 * wasmPage},
		"foreign tail": {length: 2 * wasmPage, tail: []byte{1}},
	} {
		if _, err := p.restore(img, 40*wasmPage); err != faultImageForeign {
			t.Errorf("restore %s: %v", name, err)
		}
	}
}

// TestMemoryLimit grows until the limit says no, which a module sees as a failed allocation.
func TestMemoryLimit(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		"imports": `(import "env" "emscripten_resize_heap" (func $f (param i64) (result i32)))`,
		"handle": `(i64.store (i64.const 1000) (i64.add (i64.const 48) (i64.add (i64.extend_i32_u (call $f (i64.const 1000000)))
			(i64.shl (i64.add (i64.const 49) (memory.grow (i64.const 90))) (i64.const 8))))) i64.const 1000`,
	})
	for limit, want := range map[uint64]string{2 * wasmPage: "00", 40 * wasmPage: "10"} {
		inst, err := p.start(limit)
		if err != nil {
			t.Fatal(err)
		}
		j := newJournal(p, inst, limit, testScan(t))
		out, _, err := j.handle(nil, nil, MaxFuel)
		if err != nil || string(out) != want {
			t.Errorf("limit %d: %q %v, want %q", limit, out, err, want)
		}
		if err := j.rollback(); err != nil {
			t.Fatal(err)
		}
		if len(j.memory()) != 2*wasmPage {
			t.Errorf("limit %d: memory of %d bytes after rollback", limit, len(j.memory()))
		}
		j.close()
	}
}

// TestGlobalsRest checks that nothing outlives a message in a global: an instance that was never restored
// answers like one that was.
func TestGlobalsRest(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{
		"extra":  `(global $n (mut i64) (i64.const 48)) (global $x (mut f64) (f64.const 1)) (global $y (mut f32) (f32.const 1))`,
		"handle": `(global.set $n (i64.add (global.get $n) (i64.const 1))) (i64.store (i64.const 1000) (global.get $n)) i64.const 1000`,
	})
	j := testJournal(t, p, testScan(t))
	for range 3 {
		out, _, err := j.handle(nil, nil, MaxFuel)
		if err != nil || string(out) != "1" {
			t.Fatalf("answer %q %v: a global outlived its message", out, err)
		}
		j.mark()
	}
}

// TestHostileLeak runs failing messages by the hundred and looks at what the engine's binding still holds.
func TestHostileLeak(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{"handle": `unreachable`})
	j := testJournal(t, p, testScan(t))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	fail := func() {
		if _, _, err := j.handle(nil, nil, MaxFuel); err != faultUnreachable {
			t.Fatal(err)
		}
		if err := j.rollback(); err != nil {
			t.Fatal(err)
		}
	}
	fail()
	before := heap()
	for range 300 {
		fail()
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("heap grew from %d to %d", before, after)
	}
}
