package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/internal/store"
)

// TestMain lets scripts run this test binary as aopeer.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"aopeer": main})
}

func TestScripts(t *testing.T) {
	wallet, err := os.ReadFile("../../arweave/ans104/testdata/rsa4096-test-only.jwk.json")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Values["wallet"] = wallet
			e.Values["stores"] = make(map[string]store.Store)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "oneline": oneline, "keys": keysOf, "mode": mode,
			"network": makeNetwork, "wallet": makeWallet, "item": makeItem,
			"store": makeStore, "locked": lockStore, "unlocked": unlockStore, "flip": flipBit,
		},
	})
}

// exits CODE PROGRAM ARGS... runs a program that must end with that code, and without a panic.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("%v exits with %d, want %d", args[1:], got, want)
	}
	if strings.Contains(ts.ReadFile("stderr"), "goroutine ") {
		ts.Fatalf("%v panics", args[1:])
	}
}

// oneline wants exactly one line on stderr, which begins with the program's name.
func oneline(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stderr")
	if neg || len(args) != 0 || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "aopeer: ") {
		ts.Fatalf("not one line of aopeer: %q", text)
	}
}

// keys NAMES... wants stdout to be one line of JSON, an object with exactly these keys in this order.
func keysOf(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile("stdout")
	if neg || strings.Count(text, "\n") != 1 {
		ts.Fatalf("not one line: %q", text)
	}
	dec := json.NewDecoder(strings.NewReader(text))
	_, err := dec.Token()
	ts.Check(err)
	var got []string
	for dec.More() {
		name, err := dec.Token()
		ts.Check(err)
		got = append(got, fmt.Sprint(name))
		var value json.RawMessage
		ts.Check(dec.Decode(&value))
	}
	if !slices.Equal(got, args) {
		ts.Fatalf("keys %q, want %q", got, args)
	}
}

// mode OCTAL FILE checks a file's permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); (got == args[0]) == neg {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// signer is a fixed key, so that scripts can name what it signs.
func signer(seed byte) ans104.Signer {
	return ans104.NewEd25519Signer(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
}

// network FILE ID writes a signed network file without peers and with a gateway that nobody runs.
func makeNetwork(ts *testscript.TestScript, _ bool, args []string) {
	n, err := node.SignNetwork(signer(9), node.Network{ID: args[1], Gateways: []string{"http://127.0.0.1:1"}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), n.Raw(), 0o600))
}

// wallet FILE writes an Arweave wallet.
func makeWallet(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), ts.Value("wallet").([]byte), 0o600))
}

// item KIND FILE writes an item, a bundle, an item with a bundle in it, or something wrong.
func makeItem(ts *testscript.TestScript, _ bool, args []string) {
	sign := func(f ans104.Fields) *ans104.Item {
		it, err := ans104.Sign(signer(1), f)
		ts.Check(err)
		return it
	}
	plain := sign(ans104.Fields{
		Target: bytes.Repeat([]byte{2}, 32), Anchor: bytes.Repeat([]byte{3}, 32),
		Tags: []ans104.Tag{{Name: "Say", Value: "<hi>\x1b[2J"}}, Data: []byte("data"),
	})
	bare := sign(ans104.Fields{})
	bundle := ans104.BuildBundle([]*ans104.Item{plain, bare})
	nested := sign(ans104.Fields{Data: bundle, Tags: []ans104.Tag{
		{Name: "Bundle-Format", Value: "binary"}, {Name: "Bundle-Version", Value: "2.0.0"},
	}})
	flip := func(b []byte, i int) []byte {
		b = slices.Clone(b)
		b[i] ^= 1
		return b
	}
	raw, ok := map[string][]byte{
		"plain": plain.Raw(), "bare": bare.Raw(), "bundle": bundle, "nested": nested.Raw(), "empty-bundle": make([]byte, 32),
		"flipped": flip(plain.Raw(), len(plain.Raw())-1), "short": plain.Raw()[:100], "nothing": {},
		"wrong-id": flip(bundle, 32+32), "trailing": append(slices.Clone(bundle), 0),
		"nested-flipped": flip(nested.Raw(), len(nested.Raw())-1), "bundle-flipped": flip(bundle, len(bundle)-1),
	}[args[0]]
	if !ok {
		ts.Fatalf("no item %q", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// TestHelp asks every command for its help, which must name it, its usage and every flag of it.
func TestHelp(t *testing.T) {
	var walk func(path []string, c *cli.Command)
	walk = func(path []string, c *cli.Command) {
		var out, errs bytes.Buffer
		if code := run(context.Background(), append(slices.Clone(path), "--help"), strings.NewReader(""), &out, &errs); code != 0 || errs.Len() > 0 {
			t.Errorf("%v --help: exit %d, %s", path, code, &errs)
		}
		for _, want := range []string{"USAGE:", c.Usage, strings.Join(path, " ")} {
			if want == "" || !strings.Contains(out.String(), want) {
				t.Errorf("%v --help does not say %q:\n%s", path, want, &out)
			}
		}
		for _, f := range c.Flags {
			if !strings.Contains(out.String(), "--"+f.Names()[0]) {
				t.Errorf("%v --help does not name --%s", path, f.Names()[0])
			}
		}
		for _, sub := range c.Commands {
			walk(append(slices.Clone(path), sub.Name), sub)
		}
	}
	walk([]string{"aopeer"}, command())
}

// TestOutputText reads what modules of both formats emit, and keeps a terminal safe.
func TestOutputText(t *testing.T) {
	for raw, want := range map[string]string{
		`"plain"`:                         "plain",
		`{"data":"text","print":false}`:   "text",
		`{"data":{"output":"inner"}}`:     "inner",
		`{"data":{"other":1}}`:            `{"other":1}`,
		`{"x":1}`:                         `{"x":1}`,
		`[1,2]`:                           `[1,2]`,
		`"a\u001b[31mred\u001b[0m\u0007"`: "ared",
		`"two\nlines"`:                    "two\nlines",
	} {
		if got := outputText(json.RawMessage(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
}

// TestArrange moves flags to the front and leaves data as it was typed.
func TestArrange(t *testing.T) {
	for line, want := range map[string]string{
		"":                                    "aopeer",
		"version":                             "aopeer version",
		"--json version":                      "aopeer version --json",
		"eval|P|return 1|--json":              "aopeer|eval|--json|--|P|return 1",
		"eval|P| 1 |--json":                   "aopeer|eval|--json|--|P| 1 ",
		"eval|P|-5|--json":                    "aopeer|eval|--json|--|P|-5",
		"eval|P|-- note|--json":               "aopeer|eval|--json|--|P|-- note",
		"send|P||--json":                      "aopeer|send|--json|--|P|",
		"send|P|-|--json":                     "aopeer|send|--json|--|P|-",
		"send|P|--|--json":                    "aopeer|send|--|P|--json",
		"send|--action|Go|P|--tag=a=b|-t|c=d": "aopeer|send|--action|Go|--tag=a=b|-t|c=d|--|P",
		"send|P|spawn":                        "aopeer|send|--|P|spawn",
		"--home|H|item|inspect|-|--json":      "aopeer|item|inspect|--home|H|--json|--|-",
		"eval|--file|-|P":                     "aopeer|eval|--file|-|--|P",
		"help|spawn":                          "aopeer|help|spawn",
		"item|help":                           "aopeer|item|help",
		"spawn|--home":                        "aopeer|spawn|--home",
		"nonsense|--json":                     "aopeer|--json|--|nonsense",
	} {
		sep := "|"
		if !strings.Contains(line+want, sep) {
			sep = " "
		}
		args := []string{"aopeer"}
		if line != "" {
			args = append(args, strings.Split(line, sep)...)
		}
		if got := strings.Join(arrange(command(), args), sep); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
