package wasmvm

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
)

// bootedFrom is a process of an aos module that boots from an item on Arweave, which the drive holds or not.
func bootedFrom(t *testing.T, p program, d *drive) (*journal, func(msg string) (answer struct {
	Error  any
	Output struct{ Data any }
}),
) {
	t.Helper()
	boot := testTag{"On-Boot", ao.ID{5}.String()}
	j := testJournal(t, p, testScan(t))
	j.drive = d
	env := []byte(strings.Replace(string(testEnv()), `{"name":"Name"`, testJSON(boot)+`,{"name":"Name"`, 1))
	ask := func(msg string) (answer struct {
		Error  any
		Output struct{ Data any }
	},
	) {
		t.Helper()
		out, _, err := j.handle([]byte(msg), env, MaxFuel)
		if err != nil {
			t.Fatal(err)
		}
		j.mark()
		var outer struct{ Response json.RawMessage }
		if err := json.Unmarshal(out, &outer); err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(outer.Response, &answer) // an Output that is a text says nothing
		return answer
	}
	first := ask(testMsg(0, "", testTag{"Data-Protocol", "ao"}, testTag{"Variant", "ao.TN.1"}, testTag{"Type", "Process"}, testTag{"Module", testModule}, boot))
	t.Logf("boot: %+v", first)
	return j, ask
}

// TestBootFromArweave: a real aos module reads what its On-Boot tag names, all of it, and runs it.
func TestBootFromArweave(t *testing.T) {
	p := testProgram(t, aosWide, aosSum)
	code := "Booted = 'from Arweave'\n-- " + strings.Repeat("x", 100_000) + "\nLast = 7"
	for name, c := range map[string]struct {
		drive *drive
		want  string
	}{
		"there":   {&drive{path: []byte("/data/" + ao.ID{5}.String()), data: []byte(code)}, "from Arweave7"},
		"another": {&drive{path: []byte("/data/" + ao.ID{6}.String()), data: []byte(code)}, "nilnil"},
		"none":    {nil, "nilnil"},
	} {
		t.Run(name, func(t *testing.T) {
			_, ask := bootedFrom(t, p, c.drive)
			got := ask(testEval(1, "return tostring(Booted) .. tostring(Last)"))
			b, _ := json.Marshal(got.Output.Data)
			if !strings.Contains(string(b), c.want) {
				t.Errorf("%s, want %s: %+v", b, c.want, got)
			}
		})
	}
}

// TestHostBoots: the drive is the genesis's, on a hot state, after a message that failed and on one that was restored; and
// results that come about with it are of a profile of their own.
func TestHostBoots(t *testing.T) {
	code := fetchModule(t, aosWide, aosSum)
	owner := testSigner(t, 1)
	module, err := ao.SignModule(owner, FormatAOS, "512-mb", "9000000000000", code)
	if err != nil {
		t.Fatal(err)
	}
	spawn, err := ao.SignProcess(owner, module.ID(), "s", ao.Tags{{Name: "On-Boot", Value: ao.ID{5}.String()}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	process, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(Config{CacheDir: filepath.Join(t.TempDir(), "code")})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	g := Genesis{Process: process, Module: module, Boot: []byte("Booted = 'yes'")}
	plain := Genesis{Process: process, Module: module}
	if id, ok := BootOf(process, module); !ok || id != (ao.ID{5}) || driveOf(plain) != nil {
		t.Errorf("boots from %s, %t", id, ok)
	}
	other, err := ao.SignProcess(owner, module.ID(), "s", nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	without, err := other.Process()
	if err != nil {
		t.Fatal(err)
	}
	if a, b := h.Profile(g), h.Profile(Genesis{Process: without, Module: module}); a == b || !strings.HasPrefix(a, b) {
		t.Errorf("the profiles are %q and %q", a, b)
	}
	st, err := h.Begin(t.Context(), g, nil)
	if err != nil {
		t.Fatal(err)
	}
	cursor := ao.NewCursor(process.ID())
	apply := func(m ao.Message) ao.Result {
		t.Helper()
		var r ao.Result
		if st, r, err = h.Apply(t.Context(), st, testEntry(t, &cursor, m)); err != nil {
			t.Fatal(err)
		}
		return r
	}
	eval := func(code string) ao.Result {
		t.Helper()
		m, err := ao.SignMessage(owner, process.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(code), nil)
		if err != nil {
			t.Fatal(err)
		}
		return apply(m)
	}
	if r := apply(spawn); r.Error != nil {
		t.Fatalf("boot: %s", r.Error)
	}
	// Modules read by lengths that they have asked for: their fread takes every read for a whole one.
	open := "io.open('/data/" + ao.ID{5}.String() + "')"
	read := "local f = " + open + " local all = f:read(f:seek('end')) f:seek('set', 9) local tail = f:read(3) local two = f:read(2) f:seek('cur', -4) " +
		"local back = f:read(3) f:close() local g = " + open + " return all .. '|' .. tail .. '|' .. two .. '|' .. back .. '|' .. g:read(6) .. '|' .. Booted"
	want := "Booted = 'yes'|'ye|s'|yes|Booted|yes"
	if r := eval(read); !strings.Contains(string(r.Output), want) {
		t.Errorf("hot: %s %s", r.Output, r.Error)
	}
	if r := eval("error('fails')"); r.Error == nil {
		t.Error("it did not fail")
	}
	if r := eval(read); !strings.Contains(string(r.Output), want) {
		t.Errorf("after a failure: %s %s", r.Output, r.Error)
	}
	img, err := st.Image()
	if err != nil {
		t.Fatal(err)
	}
	st.Close()
	if st, err = h.Begin(t.Context(), g, img); err != nil {
		t.Fatal(err)
	}
	if r := eval(read); !strings.Contains(string(r.Output), want) {
		t.Errorf("restored: %s %s", r.Output, r.Error)
	}
	st.Close()
}

// TestDefaultModuleBoots: the embedded module evaluates what On-Boot names before anything else, once, as it does with data
// of the process's own, which it is shown instead of.
func TestDefaultModuleBoots(t *testing.T) {
	cfg := Config{}
	if cache, err := os.UserCacheDir(); err == nil {
		cfg.CacheDir = filepath.Join(cache, "aopeer", "test-code")
	}
	h, err := NewHost(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	owner := testSigner(t, 1)
	module, err := ao.SignModule(owner, FormatDefault, "64-mb", "9000000000000", DefaultModule())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ tag, data, boot, want string }{
		{ao.ID{5}.String(), "Booted = 'from the process'", "Booted = (Booted or '') .. 'from Arweave'", "from Arweave1"},
		{ao.ID{5}.String(), "Booted = 'from the process'", "", "nil1"}, // there, and empty
		{"Data", "Booted = 'from the process'", "Booted = 'from Arweave'", "from the process1"},
	} {
		spawn, err := ao.SignProcess(owner, module.ID(), "s", ao.Tags{{Name: "On-Boot", Value: c.tag}}, []byte(c.data), nil)
		if err != nil {
			t.Fatal(err)
		}
		process, err := spawn.Process()
		if err != nil {
			t.Fatal(err)
		}
		g := Genesis{Process: process, Module: module, Boot: []byte(c.boot)}
		if got := strings.HasSuffix(h.Profile(g), bootRules); got != (c.tag != "Data") {
			t.Errorf("On-Boot %s: the profile is %q", c.tag, h.Profile(g))
		}
		st, err := h.Begin(t.Context(), g, nil)
		if err != nil {
			t.Fatal(err)
		}
		cursor := ao.NewCursor(process.ID())
		var r ao.Result
		if st, r, err = h.Apply(t.Context(), st, testEntry(t, &cursor, spawn)); err != nil || r.Error != nil {
			t.Fatalf("boot: %s, %v", r.Error, err)
		}
		count, err := ao.SignMessage(owner, process.ID(), ao.Tags{{Name: "Action", Value: "Eval"}},
			[]byte("N = (N or 0) + 1 return tostring(Booted) .. N"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if st, r, err = h.Apply(t.Context(), st, testEntry(t, &cursor, count)); err != nil || !strings.Contains(string(r.Output), `"`+c.want+`"`) {
			t.Errorf("On-Boot %s: %s %s, %v, want %s", c.tag, r.Output, r.Error, err, c.want)
		}
		st.Close()
	}
}
