package remote

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/p2p"
)

// elsewhere are sentinels that need no code, and why.
func elsewhere() map[string]string {
	return map[string]string{
		"cu.ErrConfig":     "stands on this floor; a unit that is not configured does not start, so nobody can ask it",
		"su.ErrFenced":     "stands on this floor; a unit whose epoch is over stops, and answers as a store that is closed until then",
		"su.ErrRolledBack": "stands on this floor; a unit that finds its store rolled back does not start",
	}
}

// exported is every sentinel that a folder's sources export, as package.Name.
func exported(t *testing.T, folder string) []string {
	t.Helper()
	var out []string
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sources in %s: %v", folder, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				for _, n := range s.(*ast.ValueSpec).Names {
					if strings.HasPrefix(n.Name, "Err") {
						out = append(out, f.Name.Name+"."+n.Name)
					}
				}
			}
		}
	}
	return out
}

// named is every sentinel that the table in refuse.go names.
func named(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "refuse.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name != "sentinels" {
			continue
		}
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			row, ok := n.(*ast.CompositeLit)
			if !ok || row.Type != nil || len(row.Elts) != 2 {
				return true
			}
			switch e := row.Elts[0].(type) {
			case *ast.Ident:
				out = append(out, "remote."+e.Name)
			case *ast.SelectorExpr:
				out = append(out, e.X.(*ast.Ident).Name+"."+e.Sel.Name)
			}
			return true
		})
	}
	return out
}

func TestEverySentinelIsMapped(t *testing.T) {
	folders := []string{"ao", "arweave", "arweave/ans104", "arweave/l1", "attest", "market", "staking", "internal/store", "p2p", "wasmvm", "units"}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(filepath.Join(root, "units"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() != "units" && d.Name() != "testdata" {
			folders = append(folders, strings.TrimPrefix(filepath.ToSlash(path), "../../"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{"context.DeadlineExceeded": true, "context.Canceled": true}
	for _, folder := range folders {
		for _, name := range exported(t, filepath.Join(root, folder)) {
			exists[name] = true
		}
	}
	mapped := map[string]bool{}
	for _, name := range named(t) {
		if mapped[name] {
			t.Errorf("%s is mapped twice", name)
		}
		if !exists[name] {
			t.Errorf("%s is mapped and is not there", name)
		}
		mapped[name] = true
	}
	if len(mapped) != len(sentinels()) || len(mapped) < 60 {
		t.Errorf("%d rows were read, the table has %d", len(mapped), len(sentinels()))
	}
	for name := range exists {
		if reason := elsewhere()[name]; mapped[name] == (reason != "") {
			t.Errorf("%s: mapped %t, left out because %q", name, mapped[name], reason)
		}
	}
	for name := range elsewhere() {
		if !exists[name] {
			t.Errorf("%s is left out and is not there", name)
		}
	}
}

func TestTheTableIsInOrder(t *testing.T) {
	for i, m := range sentinels() {
		if !isCode(m.code) {
			t.Errorf("%v has the code %q, which is not in ao's table", m.err, m.code)
		}
		r := Refusal("hop", fmt.Errorf("do something: %w", m.err))
		if r.Code != m.code || r.Hop != "hop" || r.Detail == "" {
			t.Errorf("row %d, %v, gives %v: an earlier row hides it", i, m.err, r)
		}
	}
	for _, c := range []struct {
		err  error
		want ao.Code
	}{
		{fmt.Errorf("%w: %w", ao.ErrTags, ans104.ErrID), ao.BadTags},
		{fmt.Errorf("%w: %w", ao.ErrDraft, ans104.ErrTagCount), ao.BadDraft},
		{fmt.Errorf("%w: %w", arweave.ErrCorrupt, ans104.ErrSignature), ao.Corrupt},
		{fmt.Errorf("%w: %w", ErrUnit, ans104.ErrKey), ao.Malformed},
		{fmt.Errorf("read: %w: %w", p2p.ErrDeadline, context.DeadlineExceeded), ao.Deadline},
		{fmt.Errorf("open: %w", fmt.Errorf("%w: %w", p2p.ErrUnreachable, context.Canceled)), ao.Unreachable},
		{fmt.Errorf("deep: %w", ao.Refuse("schedule", ao.Busy, "x")), ao.Busy},
		{errors.New("what nobody has heard of"), ao.Internal},
	} {
		if got := Refusal("hop", c.err); got.Code != c.want {
			t.Errorf("%v gives %s, want %s", c.err, got.Code, c.want)
		}
	}
}

func TestRefusalsCrossTheWire(t *testing.T) {
	for _, r := range ao.Reasons() {
		var w *p2p.Refused
		if !errors.As(toWire("log", ao.Refuse("compute", r.Code, "why")), &w) {
			t.Fatalf("%s does not go abroad as a refusal", r.Code)
		}
		got := fromWire("log", w)
		want := "why"
		if r.Code == ao.Internal {
			want = "see the unit's log"
		}
		if got.Code != r.Code || got.Hop != "compute" || got.Detail != want {
			t.Errorf("%s came back as %v", r.Code, got)
		}
	}
	var w *p2p.Refused
	if !errors.As(toWire("log", errors.New("a secret")), &w) || strings.Contains(w.Error(), "secret") {
		t.Errorf("abroad it is %v", w)
	}
	for _, code := range []string{
		"", "/", "compute/", "/busy", "compute/nonsense", "nonsense", "compute/BUSY", "com\npute/busy", "compute/bu\x1bsy",
		"a/b/c", strings.Repeat("x", 64), strings.Repeat("x", 60) + "/busy", "ünknown/busy",
	} {
		r := fromWire("log", &p2p.Refused{Code: code, Detail: "line\nbreak\x1b[31m" + strings.Repeat("y", 2000)})
		enumerated(t, r)
		if strings.ContainsAny(r.Detail, "\n\x1b") || len(r.Detail) > 600 {
			t.Errorf("code %q: the detail is %q", code, r.Detail)
		}
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add("compute/busy", "why")
	f.Add("compute/nonsense", "\x1b[31m")
	f.Add("///", "")
	f.Fuzz(func(t *testing.T, code, detail string) {
		enumerated(t, fromWire("log", &p2p.Refused{Code: code, Detail: detail}))
	})
}
