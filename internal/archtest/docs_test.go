package archtest

import (
	"fmt"
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocuments holds the pages for users to what is there: links, files, identifiers, targets and commands that they
// name exist, and they keep to their length.
func TestDocuments(t *testing.T) {
	tree := os.DirFS(root)
	known := newCensus(t, tree)
	pages, err := fs.Glob(tree, "docs/adr/*.md")
	if err != nil || len(pages) < 6 {
		t.Fatalf("found %d decisions, %v", len(pages), err)
	}
	for _, name := range pages {
		text := readPage(t, tree, name)
		if n := strings.Count(text, "\n"); n > 40 {
			t.Errorf("%s has %d lines, at most 40", name, n)
		}
		number, _, _ := strings.Cut(path.Base(name), "-")
		if !strings.HasPrefix(text, "# "+number+" ") {
			t.Errorf("%s does not begin with its number", name)
		}
		for _, part := range []string{"## Context\n", "## Decision\n", "## Consequences\n"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s has no %q", name, strings.TrimSpace(part))
			}
		}
	}
	if n := strings.Count(readPage(t, tree, "README.md"), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150", n)
	}
	for _, name := range append(pages, "README.md", "docs/flow.md", "docs/paper.md") {
		for _, fault := range known.faults(name, readPage(t, tree, name)) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

// TestDocumentFaults is that test's own: it must find what is wrong, and nothing else.
func TestDocumentFaults(t *testing.T) {
	known := newCensus(t, os.DirFS(root))
	got := known.faults("docs/page.md", strings.Join([]string{
		"right: [flow](flow.md), [readme](../README.md#status), `ao.Cursor`, `ao.Cursor.Step`, `units/units.go`, `make check`,",
		"`aopeer item inspect`, `wasmvm`, `out of gas!`, [away](https://example.org/x)",
		"wrong: [gone](gone.md), `ao.Nothing`, `ao.Cursor.Leap`, `units/gone.go`, `make coffee`, `aopeer brew`",
	}, "\n"))
	want := []string{
		"links to docs/gone.md", "names ao.Nothing", "names ao.Cursor.Leap", "names units/gone.go",
		"names make coffee", "names aopeer brew",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func readPage(t *testing.T, tree fs.FS, name string) string {
	t.Helper()
	b, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// census is what a page may name.
type census struct {
	tree     fs.FS
	packages map[string]bool // by name
	idents   map[string]bool // pkg.Name and pkg.Type.Name, fields and interface methods included
	targets  string          // the Makefile
	commands map[string]bool
}

func newCensus(t *testing.T, tree fs.FS) *census {
	t.Helper()
	all, err := Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	c := &census{tree: tree, packages: map[string]bool{}, idents: map[string]bool{}, commands: map[string]bool{}}
	name := regexp.MustCompile(`Name: "([a-z-]+)",(?:\s+Aliases[^\n]*)? Usage`)
	for _, s := range all {
		if strings.HasSuffix(s.Path, "_test.go") {
			continue
		}
		pkg := s.File.Name.Name
		c.packages[pkg] = true
		for _, d := range s.File.Decls {
			c.declare(pkg, d)
		}
		if strings.HasPrefix(s.Path, "cmd/aopeer/") {
			for _, m := range name.FindAllStringSubmatch(readPage(t, tree, s.Path), -1) {
				c.commands[m[1]] = true
			}
		}
	}
	c.targets = readPage(t, tree, "Makefile")
	return c
}

func (c *census) declare(pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			c.idents[pkg+"."+d.Name.Name] = true
			return
		}
		of := d.Recv.List[0].Type
		if p, ok := of.(*ast.StarExpr); ok {
			of = p.X
		}
		c.idents[fmt.Sprintf("%s.%v.%s", pkg, of, d.Name.Name)] = true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					c.idents[pkg+"."+n.Name] = true
				}
			case *ast.TypeSpec:
				c.idents[pkg+"."+s.Name.Name] = true
				var members *ast.FieldList
				switch of := s.Type.(type) {
				case *ast.StructType:
					members = of.Fields
				case *ast.InterfaceType:
					members = of.Methods
				default:
					continue
				}
				for _, f := range members.List {
					for _, n := range f.Names {
						c.idents[pkg+"."+s.Name.Name+"."+n.Name] = true
					}
				}
			}
		}
	}
}

// faults is what a page names that is not there.
func (c *census) faults(page, text string) (out []string) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		at := path.Join(path.Dir(page), m[1])
		if _, err := fs.Stat(c.tree, filepath.ToSlash(at)); err != nil {
			out = append(out, "links to "+at)
		}
	}
	var (
		span    = regexp.MustCompile("`([^`\n]+)`")
		file    = regexp.MustCompile(`^[a-z0-9_]+(/[A-Za-z0-9_.-]+)*/[A-Za-z0-9_.-]+$|^[a-z_0-9]+\.(go|md)$`)
		ident   = regexp.MustCompile(`^([a-z0-9]+)\.[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)?$`)
		target  = regexp.MustCompile(`^make ([a-z0-9]+)$`)
		command = regexp.MustCompile(`^aopeer ([a-z][a-z-]*)`)
	)
	for _, m := range span.FindAllStringSubmatch(text, -1) {
		s := m[1]
		if file.MatchString(s) {
			if _, err := fs.Stat(c.tree, s); err != nil {
				out = append(out, "names "+s)
			}
		} else if i := ident.FindStringSubmatch(s); i != nil && c.packages[i[1]] && !c.idents[s] {
			out = append(out, "names "+s)
		} else if i := target.FindStringSubmatch(s); i != nil && !strings.Contains(c.targets, "\n"+i[1]+":") {
			out = append(out, "names "+s)
		} else if i := command.FindStringSubmatch(s); i != nil && !c.commands[i[1]] {
			out = append(out, "names "+s)
		}
	}
	line := regexp.MustCompile(`(?m)(?:^|\$\()(?:make|aopeer) +([a-z][a-z0-9-]*)`) // in blocks of code
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		if !c.commands[m[1]] && !strings.Contains(c.targets, "\n"+m[1]+":") {
			out = append(out, "names "+strings.TrimPrefix(m[0], "$("))
		}
	}
	return out
}
