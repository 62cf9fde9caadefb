package wasmvm

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// TestHostDefaultModule takes the embedded module through the door: results, failures that leave no trace, dry-runs
// that leave none either, and images that go on as if nothing had been.
func TestHostDefaultModule(t *testing.T) {
	h, err := NewHost(Config{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	user := testSigner(t, 1)
	module, err := ao.SignModule(user, FormatDefault, "64-mb", "9000000000000", DefaultModule())
	if err != nil {
		t.Fatal(err)
	}
	spawn, err := ao.SignProcess(user, module.ID(), "scheduler", nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	process, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	g := Genesis{Process: process, Module: module}
	begin := func(img *Image) State {
		t.Helper()
		s, err := h.Begin(t.Context(), g, img)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	hot, cold := begin(nil), begin(nil)
	defer func() {
		hot.Close()
		cold.Close()
		if n := len(h.swinging.journals); n != 0 {
			t.Errorf("%d closed processes may keep former contents", n)
		}
	}()
	cursor := ao.NewCursor(process.ID())
	// each entry goes to an instance that lives on and to one that is rebuilt from its image before every message
	apply := func(m ao.Message) ao.Result {
		t.Helper()
		e := testEntry(t, &cursor, m)
		var a, b ao.Result
		if hot, a, err = h.Apply(t.Context(), hot, e); err != nil {
			t.Fatal(err)
		}
		img, err := DecodeImage(encoded(t, cold), MaxMemory)
		if err != nil {
			t.Fatal(err)
		}
		if e.Assignment.Nonce() > 0 { // before slot 0 there is nothing to restore
			cold.Close()
			cold = begin(img)
		}
		if cold, b, err = h.Apply(t.Context(), cold, e); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Encode(), b.Encode()) {
			t.Fatalf("slot %d: hot %s%s, restored %s%s", e.Assignment.Nonce(), a.Output, a.Error, b.Output, b.Error)
		}
		return a
	}
	eval := func(code string) ao.Result {
		t.Helper()
		m, err := ao.SignMessage(user, process.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(code), nil)
		if err != nil {
			t.Fatal(err)
		}
		return apply(m)
	}
	data := func(r ao.Result) string {
		t.Helper()
		var o struct{ Data string }
		if err := json.Unmarshal(r.Output, &o); err != nil || r.Error != nil {
			t.Fatalf("output %s, error %s: %v", r.Output, r.Error, err)
		}
		return o.Data
	}
	apply(spawn)
	eval("N = 1")
	if r := eval("N = 2 error('boom')"); !strings.Contains(string(r.Error), "boom") || r.Outbox() != 0 {
		t.Fatalf("a failure gave %s", r.Error)
	}
	if r := eval("N = 3 while true do end"); r.Error == nil {
		t.Fatal("an endless loop ended well")
	}
	if got := data(eval("return N")); got != "1" {
		t.Fatalf("after two failures N is %s, want 1", got)
	}
	x := encoded(t, hot)
	q := ao.Query{Owner: spawn.Owner(), Data: []byte("N = 7 return N"), Tags: ao.Tags{{Name: "Action", Value: "Eval"}}}
	r, err := h.DryRun(t.Context(), hot, q, ao.AssignmentFields{Timestamp: 5, BlockHeight: 1})
	if err != nil || data(r) != "7" {
		t.Fatalf("dry-run: %s %s %v", r.Output, r.Error, err)
	}
	y := encoded(t, hot)
	if !bytes.Equal(x, y) {
		t.Fatal("a dry-run changed the state")
	}
	if got := data(eval("return N")); got != "1" {
		t.Fatalf("after a dry-run N is %s, want 1", got)
	}
	// Failures at every distance from the last mark, one right after another too; what stands is evaluated again.
	want, spacing, redone := 1, 0, 0
	for i := range 80 {
		since := sinceOf(hot)
		spacing = max(spacing, since.spacing)
		if i%11 == 10 || i%13 == 6 || i%17 == 3 {
			if !since.full() {
				redone = max(redone, len(since.messages))
			}
			if r := eval("N = 0 L = string.rep('x', 100000) error('boom')"); r.Error == nil {
				t.Fatal("a failure passed")
			}
			continue
		}
		want++
		if got := data(eval("N = N + 1 return N")); got != strconv.Itoa(want) {
			t.Fatalf("message %d: N is %s, want %d", i, got, want)
		}
	}
	if spacing != maxSpacing || redone < 3 {
		t.Errorf("marks came %d messages apart, and %d were evaluated again: too few to show anything", spacing, redone)
	}
	x, y = encoded(t, hot), encoded(t, cold)
	if !bytes.Equal(x, y) {
		t.Error("what lived on is not what was rebuilt from images")
	}
	if n := len(h.swinging.journals); n != 2 {
		t.Errorf("%d processes may keep former contents, want those two", n)
	}
	// A machine on which what stood comes out otherwise the second time must not go on.
	for since := sinceOf(hot); len(since.messages) == 0 || since.full(); {
		eval("N = N + 1")
	}
	sinceOf(hot).fuel++
	failing, err := ao.SignMessage(user, process.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte("error('boom')"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Apply(t.Context(), hot, testEntry(t, &cursor, failing)); !errors.Is(err, errRedo) {
		t.Errorf("evaluating again took other fuel than before: %v", err)
	}
}

func sinceOf(s State) *since { return &s.(*process).since }

func encoded(t *testing.T, s State) []byte {
	t.Helper()
	img, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := img.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestHostRefuses(t *testing.T) {
	h, err := NewHost(Config{MaxMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	user := testSigner(t, 1)
	module := func(format, memory string, code []byte) Genesis {
		t.Helper()
		m, err := ao.SignModule(user, format, memory, "1000", code)
		if err != nil {
			t.Fatal(err)
		}
		spawn, err := ao.SignProcess(user, m.ID(), "scheduler", nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := spawn.Process()
		if err != nil {
			t.Fatal(err)
		}
		return Genesis{Process: p, Module: m}
	}
	for name, c := range map[string]struct {
		g    Genesis
		want error
	}{
		"unknown format": {module("wasm32-unknown-emscripten", "1-mb", []byte("x")), ErrFormat},
		"not wasm":       {module(FormatAOS, "1-mb", []byte("x")), ErrModule},
		"empty":          {module(FormatDefault, "1-mb", nil), ErrModule},
	} {
		if err := h.Prepare(t.Context(), c.g.Module); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// TestHostBlames: what keeps a process from beginning is the module's fault, the limits' or the image's, by name, so that
// nobody tries again at once.
func TestHostBlames(t *testing.T) {
	h, err := NewHost(Config{Natives: map[string]Native{"none@1": unwilling{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	user := testSigner(t, 1)
	genesis := func(format, memory string, code []byte) Genesis {
		t.Helper()
		m, err := ao.SignModule(user, format, memory, "1000000000", code)
		if err != nil {
			t.Fatal(err)
		}
		spawn, err := ao.SignProcess(user, m.ID(), "scheduler", nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := spawn.Process()
		if err != nil {
			t.Fatal(err)
		}
		return Genesis{Process: p, Module: m}
	}
	wasm := func(parts map[string]string) []byte {
		t.Helper()
		code, err := wt.Wat2Wasm(watModule(parts))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	good := wasm(nil)
	foreign := captureImage(make([]byte, wasmPage), []byte("tail"))
	for name, c := range map[string]struct {
		g    Genesis
		img  *Image
		want error
	}{
		"trap":         {genesis(FormatAOS, "1-mb", wasm(map[string]string{"__wasm_call_ctors": "unreachable"})), nil, ErrModule},
		"loop":         {genesis(FormatAOS, "1-mb", wasm(map[string]string{"__wasm_call_ctors": "(loop $l (br $l))"})), nil, ErrModule},
		"memory":       {genesis(FormatAOS, "64-kb", good), nil, ErrLimit},
		"image":        {genesis(FormatAOS, "1-mb", good), foreign, ErrImage},
		"native":       {genesis(FormatNative, "1-mb", []byte("none@1")), nil, ErrModule},
		"native image": {genesis(FormatNative, "1-mb", []byte("none@1")), foreign, ErrImage},
	} {
		s, err := h.Begin(t.Context(), c.g, c.img)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

type unwilling struct{}

func (unwilling) Begin(Genesis, []byte) (NativeState, error) { return nil, errors.New("no") }

// TestFormats: every format that is run has a name that FormatOf finds, and those of ao that are not run are refused by theirs.
func TestFormats(t *testing.T) {
	wide, err := wt.Wat2Wasm(watModule(nil))
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := wt.Wat2Wasm(strings.ReplaceAll(watModule(nil), "i64", "i32"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	prepare := func(format string, code []byte) error {
		m, err := ao.SignModule(testSigner(t, 1), format, "1-mb", "1000", code)
		if err != nil {
			t.Fatal(err)
		}
		return h.Prepare(t.Context(), m)
	}
	for want, code := range map[string][]byte{FormatDefault: DefaultModule(), FormatAOS: wide, FormatAOS32: narrow} {
		if got, err := FormatOf(code); err != nil || got != want {
			t.Errorf("%s is taken for %s: %v", want, got, err)
		}
	}
	for _, c := range []struct {
		format string
		code   []byte
		want   error
	}{{FormatAOS, wide, nil}, {FormatAOS32, narrow, nil}, {FormatAOS, narrow, ErrModule}, {FormatAOS32, wide, ErrModule}} {
		if err := prepare(c.format, c.code); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.format, err, c.want)
		}
	}
	for _, format := range foreignFormats() {
		if err := prepare(format, narrow); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), format) {
			t.Errorf("%s: %v", format, err)
		}
	}
	if _, err := FormatOf([]byte("no wasm")); !errors.Is(err, ErrModule) {
		t.Errorf("no wasm: %v", err)
	}
}
