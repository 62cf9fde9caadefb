package ao

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestRefusalIs(t *testing.T) {
	r := Refuse("schedule", Conflict, "slot %d", 7)
	if r.Error() != "schedule: conflict: slot 7" || Refuse("push", Busy, "").Error() != "push: busy" {
		t.Errorf("text %q", r.Error())
	}
	err := fmt.Errorf("push message: %w", r)
	for _, c := range []struct {
		target error
		want   bool
	}{
		{&Refusal{Code: Conflict}, true},
		{&Refusal{Hop: "schedule", Code: Conflict}, true},
		{&Refusal{Hop: "schedule", Code: Conflict, Detail: "another"}, true},
		{&Refusal{Hop: "compute", Code: Conflict}, false},
		{&Refusal{Code: Busy}, false},
		{&Refusal{}, false},
		{ErrTags, false},
	} {
		if errors.Is(err, c.target) != c.want {
			t.Errorf("is %v: %v", c.target, !c.want)
		}
	}
	b, err := json.Marshal(r)
	check(t, err)
	if string(b) != `{"hop":"schedule","code":"conflict","detail":"slot 7"}` {
		t.Errorf("JSON %s", b)
	}
}

func TestRefusalDetail(t *testing.T) {
	for name, s := range map[string]string{
		"lines":       "a\nb\r\nc\tdef\vg\x00h\x7f",
		"separators":  "a\u2028b\u2029c\u0085d",
		"terminal":    "\x1b[31mred\u009b31m",
		"backwards":   "safe\u202egnp.exe",
		"not UTF-8":   "a\xff\xfe\xc3",
		"long":        strings.Repeat("x", 5000),
		"long words":  strings.Repeat("é😀", 1000),
		"long broken": strings.Repeat("\xff", 5000),
		"on the edge": strings.Repeat("x", maxDetail-1) + "é",
	} {
		t.Run(name, func(t *testing.T) {
			d := Refuse("push", Malformed, "%s", s).Detail
			if len(d) > maxDetail+len("…") || !utf8.ValidString(d) {
				t.Errorf("%d bytes, valid %v: %q", len(d), utf8.ValidString(d), d)
			}
			if i := strings.IndexFunc(d, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("unprintable at %d of %q", i, d)
			}
		})
	}
	if d := Refuse("push", Malformed, "%s", strings.Repeat("x", maxDetail)).Detail; len(d) != maxDetail {
		t.Errorf("a detail that fits is cut to %d", len(d))
	}
	if d := Refuse("push", Malformed, "naïve “%s”", "x").Detail; d != "naïve “x”" {
		t.Errorf("detail %q", d)
	}
}

// codes are the constants of type Code, read from the source.
func codes(t *testing.T) map[string]Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	check(t, err)
	out := map[string]Code{}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if kind, ok := v.Type.(*ast.Ident); !ok || kind.Name != "Code" {
				continue
			}
			for i, name := range v.Names {
				word, err := strconv.Unquote(v.Values[i].(*ast.BasicLit).Value)
				check(t, err)
				out[name.Name] = Code(word)
			}
		}
	}
	return out
}

func TestReasons(t *testing.T) {
	constants := codes(t)
	if len(constants) < 30 {
		t.Fatalf("only %d codes were read from the source", len(constants))
	}
	listed := map[Code]int{}
	for _, r := range Reasons() {
		listed[r.Code]++
		if r.Meaning == "" || r.Remedy == "" || !strings.HasSuffix(r.Meaning, ".") {
			t.Errorf("%s: %q, %q", r.Code, r.Meaning, r.Remedy)
		}
		if strings.Trim(string(r.Code), "abcdefghijklmnopqrstuvwxyz-") != "" || len(r.Code) > 32 {
			t.Errorf("%q is no word for a wire", r.Code)
		}
		if RemedyOf(r.Code) != r.Remedy {
			t.Errorf("remedy of %s", r.Code)
		}
	}
	seen := map[Code]string{}
	for name, c := range constants {
		if listed[c] != 1 {
			t.Errorf("%s (%s) is in the table %d times", name, c, listed[c])
		}
		if twin, ok := seen[c]; ok {
			t.Errorf("%s and %s are one word, %s", name, twin, c)
		}
		seen[c] = name
		delete(listed, c)
	}
	for c := range listed {
		t.Errorf("the table has %s, which is no constant", c)
	}
	if RemedyOf("no such code") != "" {
		t.Error("an unknown code has a remedy")
	}
}

// reasonsPage is docs/reasons.md.
func reasonsPage() string {
	var b strings.Builder
	b.WriteString(`# Reasons: what can be refused, and what to do

Generated from the table in ` + "`ao/refusal.go`; rewrite it with `make docs`" + `.

A refusal is one line, ` + "`hop: code: detail`" + `: the verb at which it was seen (or the unit's own part, such as a store), a
code from this table, and the particulars. The code is the same on the wire, in logs, in the CLI and here.

| code | meaning | what to do |
|---|---|---|
`)
	for _, r := range Reasons() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Code, cell(r.Meaning), cell(r.Remedy))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func TestReasonsPage(t *testing.T) {
	const file = "../docs/reasons.md"
	want := reasonsPage()
	if *update {
		check(t, os.WriteFile(file, []byte(want), 0o644))
	}
	got, err := os.ReadFile(file)
	check(t, err)
	if string(got) != want {
		old, fresh := strings.Split(string(got), "\n"), strings.Split(want, "\n")
		i := 0
		for i < len(old) && i < len(fresh) && old[i] == fresh[i] {
			i++
		}
		t.Errorf("%s is stale from line %d on: run make docs\n%q", file, i+1, slices.Concat(fresh[i:], []string{""})[0])
	}
}
