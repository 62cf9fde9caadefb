package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

// TestLogLines: a line begins with time and level, and what a stranger sent can neither break it nor colour it.
func TestLogLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(newPlainLog(&b, slog.LevelInfo))
	log.Debug("not written")
	log.With("peer", "su1").WithGroup("hop").Info("scheduled", "slot", 7, "name", "two words", "took", 1500*time.Microsecond,
		"err", errors.New("a: b"), slog.Group("of", "id", "x=y"), "", nil)
	log.Warn("evil\x1b[31m\nINFO  forged", "from", "\x1b]0;title\x07\nline", "empty", "")
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	want := []string{
		`^\d\d:\d\d:\d\d\.\d{3} INFO  scheduled peer=su1 hop\.slot=7 hop\.name="two words" hop\.took=1\.5ms hop\.err="a: b" hop\.of\.id="x=y"$`,
		`^\d\d:\d\d:\d\d\.\d{3} WARN  "evil\\x1b\[31m\\nINFO  forged" from="\\x1b\]0;title\\a\\nline" empty=""$`,
	}
	if len(lines) != len(want) {
		t.Fatalf("wrote %d lines:\n%s", len(lines), b.String())
	}
	for i, w := range want {
		if !regexp.MustCompile(w).MatchString(lines[i]) {
			t.Errorf("line %d is %q, want %s", i, lines[i], w)
		}
	}
}

// TestLogColours: only when told to, around time, level and keys.
func TestLogColours(t *testing.T) {
	var b bytes.Buffer
	h := newPlainLog(&b, slog.LevelDebug)
	h.colour = true
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		slog.New(h).Log(context.Background(), l, "m", "k", "v")
	}
	for _, code := range []string{"\x1b[36mDEBUG\x1b[0m", "\x1b[32mINFO \x1b[0m", "\x1b[33mWARN \x1b[0m", "\x1b[31mERROR\x1b[0m m \x1b[2mk=\x1b[0mv"} {
		if !strings.Contains(b.String(), code) {
			t.Errorf("no %q in %q", code, b.String())
		}
	}
}

// TestLogIsAHandler holds the logger to the contract of slog, by what its lines say.
func TestLogIsAHandler(t *testing.T) {
	var b bytes.Buffer
	err := slogtest.TestHandler(newPlainLog(&b, slog.LevelInfo), func() []map[string]any {
		var out []map[string]any
		for _, l := range strings.Split(strings.TrimSpace(b.String()), "\n") {
			out = append(out, read(l))
		}
		return out
	})
	if err != nil {
		t.Error(err)
	}
}

// read turns a line back into what was logged.
func read(line string) map[string]any {
	out, words := map[string]any{}, strings.Fields(line)
	if strings.Contains(words[0], ":") {
		out[slog.TimeKey], words = words[0], words[1:]
	}
	out[slog.LevelKey], out[slog.MessageKey] = words[0], words[1]
	for _, w := range words[2:] {
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			continue
		}
		at, path := out, strings.Split(key, ".")
		for _, p := range path[:len(path)-1] {
			if _, ok := at[p].(map[string]any); !ok {
				at[p] = map[string]any{}
			}
			at = at[p].(map[string]any)
		}
		at[path[len(path)-1]] = value
	}
	return out
}
