package wasmvm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// wasiModule is a module of the default format whose handle is the given code, with the imports it wants. Its buffers
// lie at 4096; a mutable global and the word at 1024 are its state.
func wasiModule(tb testing.TB, imports, handle string) []byte {
	tb.Helper()
	wasm, err := wt.Wat2Wasm(fmt.Sprintf(`(module %s
    (memory (export "memory") 2 10)
    (global $g (mut i64) (i64.const 7))
    (global $n (mut i32) (i32.const 4096))
    (func (export "_initialize") (i32.store (i32.const 1024) (i32.const 42)))
    (func (export "alloc") (param i32) (result i32) (global.get $n))
    (func (export "handle") (param i32 i32 i32 i32) (result i64) %s))`, imports, handle))
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

func wasiImport(name, sig string) string {
	return `(import "wasi_snapshot_preview1" "` + name + `" (func $` + name + " " + sig + "))"
}

func startWASI(tb testing.TB, wasm []byte) (*wasiProgram, *wasi) {
	tb.Helper()
	e, err := newEngine(engineConfig{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(e.close)
	p, err := newWASI(context.Background(), e, wasm)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.close)
	inst, err := p.start(10 * wasmPage)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(inst.close)
	return p, inst.(*wasi)
}

const answer8 = "(i64.const 0x40000000008)" // the 8 bytes at 1024

func TestWASICalls(t *testing.T) {
	store := func(call string) string { return "(i32.store (i32.const 1024) " + call + ")" }
	value := func(i int) uint64 { return uint64(i) << 32 }
	for _, c := range []struct {
		name, imports, code string
		want                uint64 // errno in the low half, the word at 1028 in the high one
	}{
		{"args", wasiImport("args_sizes_get", "(param i32 i32) (result i32)"), store("(call $args_sizes_get (i32.const 1028) (i32.const 1028))"), 0},
		{"args outside", wasiImport("args_sizes_get", "(param i32 i32) (result i32)"), store("(call $args_sizes_get (i32.const -4) (i32.const 1028))"), wasiFault},
		{"clock", wasiImport("clock_time_get", "(param i32 i64 i32) (result i32)"), store("(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 1028))"), value(clockStart)},
		{"clock outside", wasiImport("clock_time_get", "(param i32 i64 i32) (result i32)"), store("(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const -1))"), wasiFault},
		{"random", wasiImport("random_get", "(param i32 i32) (result i32)"), store("(call $random_get (i32.const 1028) (i32.const 4))"), 13<<32 | 180<<40 | 91<<48 | 2<<56},
		{"random outside", wasiImport("random_get", "(param i32 i32) (result i32)"), store("(call $random_get (i32.const 1028) (i32.const -1))"), wasiFault},
		{
			"open", wasiImport("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)"),
			store("(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0))"), wasiNoCall,
		},
		{"read", wasiImport("fd_read", "(param i32 i32 i32 i32) (result i32)"), store("(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"), wasiBadFile},
		{"write to no file", wasiImport("fd_write", "(param i32 i32 i32 i32) (result i32)"), store("(call $fd_write (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1028))"), wasiBadFile},
		{
			"write", wasiImport("fd_write", "(param i32 i32 i32 i32) (result i32)"),
			"(i32.store (i32.const 2052) (i32.const 5)) " + store("(call $fd_write (i32.const 2) (i32.const 2048) (i32.const 1) (i32.const 1028))"), 5 << 32,
		},
		{"write too many", wasiImport("fd_write", "(param i32 i32 i32 i32) (result i32)"), store("(call $fd_write (i32.const 2) (i32.const 2048) (i32.const 1025) (i32.const 1028))"), wasiInvalid},
		{
			"write from outside", wasiImport("fd_write", "(param i32 i32 i32 i32) (result i32)"),
			"(i32.store (i32.const 2052) (i32.const -1)) " + store("(call $fd_write (i32.const 1) (i32.const 2048) (i32.const 1) (i32.const 1028))"), wasiFault,
		},
		{"poll nothing", wasiImport("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"), store("(call $poll_oneoff (i32.const 2048) (i32.const 3072) (i32.const 0) (i32.const 1028))"), wasiInvalid},
		{"poll outside", wasiImport("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"), store("(call $poll_oneoff (i32.const 131000) (i32.const 3072) (i32.const 9) (i32.const 1028))"), wasiFault},
		{
			"poll a file", wasiImport("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
			"(i32.store8 (i32.const 2056) (i32.const 1)) " + store("(call $poll_oneoff (i32.const 2048) (i32.const 3072) (i32.const 1) (i32.const 1028))"), wasiNoCall,
		},
	} {
		_, m := startWASI(t, wasiModule(t, c.imports, c.code+answer8))
		out, _, err := m.handle(nil, nil, 1_000_000)
		if err != nil || len(out) != 8 || binary.LittleEndian.Uint64(out) != c.want {
			t.Errorf("%s: %x %v, want %x", c.name, out, err, c.want)
		}
	}
}

// TestWASIPoll: sleeping takes no time but moves the clock, to the first of what is waited for.
func TestWASIPoll(t *testing.T) {
	imports := wasiImport("poll_oneoff", "(param i32 i32 i32 i32) (result i32)")
	_, m := startWASI(t, wasiModule(t, imports, `
    (i64.store (i32.const 2048) (i64.const 11)) (i64.store (i32.const 2072) (i64.const 5000000000))
    (i64.store (i32.const 2096) (i64.const 12)) (i64.store (i32.const 2120) (i64.const 3000000000))
    (i32.store (i32.const 1024) (call $poll_oneoff (i32.const 2048) (i32.const 3072) (i32.const 2) (i32.const 1028)))`+answer8))
	out, _, err := m.handle(nil, nil, 1_000_000)
	if err != nil || binary.LittleEndian.Uint64(out) != 1<<32 {
		t.Fatalf("%x %v", out, err)
	}
	if m.clock != clockStart+3_000_000_000 || m.memory()[3072] != 12 {
		t.Errorf("clock %d, event for %d", m.clock, m.memory()[3072])
	}
}

func TestWASIFaults(t *testing.T) {
	exit := wasiImport("proc_exit", "(param i32)") + wasiImport("fd_write", "(param i32 i32 i32 i32) (result i32)")
	say := func(s string) string {
		code := fmt.Sprintf("(i32.store (i32.const 2048) (i32.const 3000)) (i32.store (i32.const 2052) (i32.const %d))", len(s))
		for i, c := range []byte(s) {
			code += fmt.Sprintf("(i32.store8 (i32.const %d) (i32.const %d))", 3000+i, c)
		}
		return code + "(drop (call $fd_write (i32.const 2) (i32.const 2048) (i32.const 1) (i32.const 1028)))"
	}
	for _, c := range []struct {
		name, imports, code string
		want                fault
	}{
		{"loop", "", "(loop $l (br $l)) " + answer8, faultOutOfGas},
		{"host calls without end", wasiImport("sched_yield", "(result i32)"), "(loop $l (drop (call $sched_yield)) (br $l)) " + answer8, faultOutOfGas},
		{"recursion", "(func $f (call $f))", "(call $f) " + answer8, faultStack},
		{"trap", "", "unreachable", faultUnreachable},
		{"wild access", "", "(i64.load (i32.const -1))", faultMemory},
		{"exit", exit, "(call $proc_exit (i32.const 0)) " + answer8, faultGuestExit},
		{"exit for memory", exit, say("fatal error: out of memory") + "(call $proc_exit (i32.const 2)) " + answer8, faultGuestMemory},
		{"trap for stack", exit, say("fatal error: stack overflow") + "unreachable", faultGuestStack},
		{"panic", exit, say("panic: x") + "(call $proc_exit (i32.const 2)) " + answer8, faultGuestPanic},
		{"answer outside", "", "(i64.const 0xfffffff000000008)", faultPointer},
		{"answer too long", "", "(i64.const 0x7fffffff)", faultResultSize},
		{"no buffer", "", "(global.set $n (i32.const 0)) " + answer8, faultGuestBuffer},
		{"buffer outside", "", "(global.set $n (i32.const -1)) " + answer8, faultPointer},
	} {
		_, m := startWASI(t, wasiModule(t, c.imports, c.code))
		_, used, err := m.handle([]byte("m"), []byte("e"), 1_000_000)
		if err == nil { // the module needed a first message to break itself
			_, used, err = m.handle([]byte("m"), []byte("e"), 1_000_000)
		}
		if err != c.want || used > 1_000_000 {
			t.Errorf("%s: %v, want %v (%d fuel)", c.name, err, c.want, used)
		}
	}
}

// TestWASIState: globals and clock are state, and only whole images of this module are taken.
func TestWASIState(t *testing.T) {
	imports := wasiImport("clock_time_get", "(param i32 i64 i32) (result i32)")
	p, m := startWASI(t, wasiModule(t, imports, `
    (global.set $g (i64.add (global.get $g) (i64.const 1)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 2048)))
    (i64.store (i32.const 1024) (i64.add (global.get $g) (i64.mul (i64.load (i32.const 2048)) (i64.const 100)))) `+answer8))
	say := func(m instance) uint64 {
		out, _, err := m.handle(nil, nil, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		return binary.LittleEndian.Uint64(out)
	}
	if got := say(m); got != clockStart*100+8 {
		t.Fatalf("first answer %d", got)
	}
	img := captureImage(m.memory(), m.tail())
	want := say(m)
	again, err := p.restore(img, 10*wasmPage)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if got := say(again); got != want || want != (clockStart+clockStep)*100+9 {
		t.Errorf("restored answer %d, want %d", got, want)
	}
	if err := m.setTail(img.tail); err != nil || say(m) != want {
		t.Errorf("tail put back: %v", err)
	}
	big := *img
	big.tail = append([]byte(nil), img.tail...)
	big.tail[len(big.tail)-1] = 1 // the last global has 32 bits
	for name, bad := range map[string]*Image{
		"tail too short": {length: img.length, tail: img.tail[8:]},
		"tail too long":  {length: img.length, tail: append(img.tail[:len(img.tail):len(img.tail)], 0)},
		"too large":      {length: 11 * wasmPage, tail: img.tail},
		"too small":      {length: wasmPage, tail: img.tail},
		"wide global":    &big,
	} {
		if _, err := p.restore(bad, 20*wasmPage); err != faultImageForeign {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWASIRefused(t *testing.T) {
	e, err := newEngine(engineConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	good := wasiModuleText
	for name, text := range map[string]string{
		"no alloc":               strings.Replace(good, `"alloc"`, `"malloc"`, 1),
		"no handle":              strings.Replace(good, `"handle"`, `"main"`, 1),
		"no start":               strings.Replace(good, `"_initialize"`, `"_start"`, 1),
		"handle of another type": strings.Replace(good, "(param i32 i32 i32 i32)", "(param i32 i32 i32)", 1),
		"no memory":              strings.Replace(good, `"memory"`, `"mem"`, 1),
		"import from elsewhere":  strings.Replace(good, "(module", `(module (import "env" "f" (func))`, 1),
		"import unknown to WASI": strings.Replace(good, "(module", `(module (import "wasi_snapshot_preview1" "launch" (func (result i32)))`, 1),
		"import of another type": strings.Replace(good, "(module", `(module (import "wasi_snapshot_preview1" "random_get" (func (param i64 i32) (result i32)))`, 1),
		"start that loops":       strings.Replace(good, `(func (export "_initialize"))`, `(func (export "_initialize") (loop $l (br $l)))`, 1),
		"start that traps":       strings.Replace(good, `(func (export "_initialize"))`, `(func (export "_initialize") unreachable)`, 1),
	} {
		wasm, err := wt.Wat2Wasm(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if p, err := newWASI(context.Background(), e, wasm); !errors.Is(err, ErrModule) {
			t.Errorf("%s: %v", name, err)
			if p != nil {
				p.close()
			}
		}
	}
}

const wasiModuleText = `(module (memory (export "memory") 1) (func (export "_initialize")) (func (export "alloc") (param i32) (result i32) (i32.const 8))
  (func (export "handle") (param i32 i32 i32 i32) (result i64) (i64.const 0)))`
