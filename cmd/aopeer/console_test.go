package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/aopeer/aopeer/ao"
)

// parrot is a process that says what it was told, and fails at what says so.
type parrot struct {
	told []string
}

func (p *parrot) eval(_ context.Context, _ *progress, code string) (heard, error) {
	p.told = append(p.told, code)
	switch {
	case strings.Contains(code, "fail"):
		return heard{Error: json.RawMessage(`"it failed"`)}, nil
	case strings.Contains(code, "refuse"):
		return heard{}, ao.Refuse("push", ao.Busy, "later")
	}
	raw, err := json.Marshal(map[string]any{"data": code, "prompt": fmt.Sprintf("told %d", len(p.told))})
	return heard{Output: raw}, err
}

func (p *parrot) end(context.Context) (string, error)                 { return "", nil }
func (p *parrot) last(context.Context, int) ([]heard, error)          { return nil, nil }
func (p *parrot) after(context.Context, string, int) ([]heard, error) { return nil, nil }
func (p *parrot) about(context.Context) (ao.Process, error)           { return ao.Process{}, io.EOF }
func (p *parrot) address() string                                     { return "" }
func (p *parrot) close()                                              {}

// runScript gives a session the lines and returns what it printed.
func runScript(t *testing.T, p *parrot, lines string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	var err error
	c := &cli.Command{
		Name: "console", Writer: &out, ErrWriter: io.Discard,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json"}, &cli.DurationFlag{Name: "timeout", Value: time.Minute}},
		Action: func(ctx context.Context, c *cli.Command) error {
			s := &session{c: c, talk: p, source: newScript(strings.NewReader(lines)), prompt: "> "}
			err = s.run(ctx)
			return nil
		},
	}
	if err := c.Run(t.Context(), append([]string{"console"}, args...)); err != nil {
		t.Fatal(err)
	}
	return out.String(), err
}

// TestConsoleScript: what goes to a process, in which pieces, and where a script ends.
func TestConsoleScript(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f.lua")
	if err := os.WriteFile(file, []byte("-- loaded\nx = [[\n.exit]]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := "return '" + strings.Repeat("x", 9000) + "'"
	for _, c := range []struct {
		lines string
		told  []string
		fails string
	}{
		{"", nil, ""},
		{"1 + 1\n\n \n2", []string{"1 + 1", "2"}, ""},
		{"function f()\r\n  return 1\n\nend\nf()\n", []string{"function f()\n  return 1\n\nend", "f()"}, ""},
		{".load " + file + "\n.5 + 1", []string{"-- loaded\nx = [[\n.exit]]\n", ".5 + 1"}, ""},
		{".editor\nend end\n.help\n\n.done\n3", []string{"end end\n.help\n", "3"}, ""},
		{".editor\n\n.done\n", nil, ""},
		{"1\n.exit\n2", []string{"1"}, ""},
		{"1\nfail()\n2", []string{"1", "fail()"}, "failed"},
		{"refuse()\n2", []string{"refuse()"}, "push: busy: later"},
		{".load\n2", nil, "write .load FILE"},
		{".load " + file + "x\n2", nil, "no such file"},
		{".done\n2", nil, ".done ends what .editor begins"},
		{".lod x", nil, "did you mean .load?"},
		{"1\nfunction f()\n", []string{"1"}, "the script ends within unfinished code: function f()"},
		{long, []string{long}, ""},
	} {
		p := &parrot{}
		_, err := runScript(t, p, c.lines)
		if fmt.Sprintf("%q", p.told) != fmt.Sprintf("%q", c.told) {
			t.Errorf("%q tells %q, want %q", c.lines, p.told, c.told)
		}
		if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q fails with %v, want %q", c.lines, err, c.fails)
		}
	}
	if out, err := runScript(t, &parrot{}, "1\nfail()"); out != "1\nError: it failed\n" || !errors.Is(err, errSilent) {
		t.Errorf("printed %q, %v", out, err)
	}
	if out, _ := runScript(t, &parrot{}, "1", "--json"); out != `{"cursor":"","slot":null,"message":"","output":{"data":"1","prompt":"told 1"},"error":null,"outbox":0}`+"\n" {
		t.Errorf("as JSON: %s", out)
	}
	endless := newScript(strings.NewReader("1\n" + strings.Repeat("x", ao.MaxItem)))
	if line, err := endless.read(""); line != "1" || err != nil {
		t.Errorf("before too long a line: %q, %v", line, err)
	}
	if _, err := endless.read(""); !errors.Is(err, &ao.Refusal{Code: ao.TooLarge}) {
		t.Errorf("a script that is too long: %v", err)
	}
}

// TestPromptOf takes prompts where processes put them, and none that could upset a terminal.
func TestPromptOf(t *testing.T) {
	for raw, want := range map[string]string{
		``: "", `"text"`: "", `{"prompt":"a> "}`: "a> ", `{"prompt":"a>"}`: "a> ", `{"data":{"prompt":"b> ","output":"x"}}`: "b> ",
		`{"data":"text","prompt":"\u001b[32mgreen\u001b[0m> "}`: "green> ", `{"prompt":"two\nlines"}`: "", `{"prompt":"  "}`: "", `{"prompt":7}`: "",
		`{"prompt":"` + strings.Repeat("x", 100) + `"}`: "",
	} {
		if got := promptOf(json.RawMessage(raw)); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	for raw, want := range map[string]bool{``: false, `{"print":true}`: true, `{"print":false}`: false, `{"print":"true"}`: false, `{}`: false, `7`: false} {
		if got := isPrinted(json.RawMessage(raw)); got != want {
			t.Errorf("%s is printed: %v", raw, got)
		}
	}
}

// TestHistory is kept in a file of its owner's, the newest last, without what says nothing new, and does not grow for ever.
func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(path, []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := openHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"1", "1", "", "  ", "2", "1"} {
		h.Add(l)
	}
	h.close()
	raw, err := os.ReadFile(path)
	if info, _ := os.Stat(path); err != nil || string(raw) != "old\n1\n2\n1\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("kept %q, %v", raw, err)
	}
	if h, err = openHistory(path); err != nil || h.Len() != 4 || h.At(0) != "1" || h.At(1) != "2" || h.At(3) != "old" {
		t.Errorf("read %+v, %v", h, err)
	}
	for i := range 2 * keptLines {
		h.Add(fmt.Sprint("line ", i))
	}
	h.close()
	if h, err = openHistory(path); err != nil || h.Len() != keptLines || h.At(0) != fmt.Sprint("line ", 2*keptLines-1) {
		t.Errorf("after many lines it has %d, %v", h.Len(), err)
	}
	h.Add("after")
	h.close()
	if raw, err := os.ReadFile(path); err != nil || bytes.Count(raw, []byte("\n")) != keptLines+1 || !bytes.HasSuffix(raw, []byte("\nafter\n")) {
		t.Errorf("the file has %d lines, %v", bytes.Count(raw, []byte("\n")), err)
	}
	if _, err := openHistory(t.TempDir()); err == nil {
		t.Error("a folder is taken for a history")
	}
}

// TestKeys: Ctrl-C gives up the line or, while something is under way, that and what was typed ahead; and nothing typed is
// lost otherwise.
func TestKeys(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := newKeys(ctx, io.Discard)
	editor := term.NewTerminal(k, "> ")
	typing, typed := io.Pipe()
	pumped := make(chan struct{})
	go func() { defer close(pumped); k.pump(typing) }()
	write := func(s string) {
		if _, err := io.WriteString(typed, s); err != nil {
			t.Error(err)
		}
	}
	line := func(want string, dropped bool) {
		t.Helper()
		if got, err := editor.ReadLine(); got != want || err != nil || k.wasDropped() != dropped {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	write("one\rtw")
	line("one", false)
	write("o\x03three\r")
	line("", true)
	line("three", false)

	given := make(chan struct{})
	k.during(func() { close(given) })
	write("ahead\r")
	write("more\x03left\r")
	<-given
	k.during(nil)
	line("left", false)

	go func() {
		write(strings.Repeat(strings.Repeat("x", 1023)+"\r", 2*maxAhead/1024)) // more than is kept: it waits to be read
		_ = typed.Close()
	}()
	for range 2 * maxAhead / 1024 {
		line(strings.Repeat("x", 1023), false)
	}
	if _, err := editor.ReadLine(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	<-pumped
	cancel()
	if _, err := newKeys(ctx, io.Discard).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("when it is over: %v", err)
	}
}

// TestSlotOfCursor reads what computers of today's network write, and survives what others do.
func TestSlotOfCursor(t *testing.T) {
	for cursor, want := range map[string]string{
		"eyJ0aW1lc3RhbXAiOjEsIm9yZGluYXRlIjoiNDIiLCJjcm9uIjpudWxsLCJzb3J0IjoiQVNDIn0=": "42",
		"eyJvcmRpbmF0ZSI6N30=": "7", "e30=": "-", "": "-", "7": "-", "eyJvcmRpbmF0ZSI6e319": "-",
	} {
		got := "-"
		if s := slotOfCursor(cursor); s != nil {
			got = s.String()
		}
		if got != want {
			t.Errorf("%q: slot %s, want %s", cursor, got, want)
		}
	}
}
