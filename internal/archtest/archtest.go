// Package archtest holds the rules of the house (docs/style.md) as functions over parsed sources, so that the layout
// and the style are kept by a test instead of by memory; the paper has no section on that.
//
// Go source files of this module come in, whatever their build tags; findings go out, each with its file, line, rule
// and what to do about it.
//
// It never builds or runs what it reads, never needs the network, and knows of no exception that is not written
// in a rule: a file cannot excuse itself.
//
// Start reading at Rules below; each rule has a fixture of its name under testdata.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

// Module is the import path that our own packages begin with.
const Module = "github.com/aopeer/aopeer"

// Source is one parsed file.
type Source struct {
	// Path is slash-separated and relative to the module's root.
	Path  string
	File  *ast.File
	Lines int
	fset  *token.FileSet
}

// Finding is one breach of a rule.
type Finding struct {
	Path string
	Line int
	Rule string
	Say  string
}

// String is how compilers write it.
func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.Path, f.Line, f.Rule, f.Say) }

// Rule is one law of the house.
type Rule struct {
	Name  string
	Check func(all []*Source) []Finding
}

// Rules returns every rule.
func Rules() []Rule {
	return []Rule{
		{"floor", checkFloor},
		{"room", checkRoom},
		{"comment", checkComment},
		{"export", each(checkExport)},
		{"length", each(checkLength)},
		{"name", each(checkName)},
		{"init", each(checkInit)},
		{"variable", each(checkVariable)},
		{"lock", each(checkLock)},
		{"testing", each(checkTesting)},
		{"sleep", each(checkSleep)},
		{"guarded", each(checkGuarded)},
		{"global", each(checkGlobal)},
		{"pure", each(checkPure)},
		{"error", each(checkError)},
		{"unfinished", each(checkUnfinished)},
	}
}

// Check runs all rules and sorts what they find.
func Check(all []*Source) []Finding {
	var out []Finding
	for _, r := range Rules() {
		out = append(out, r.Run(all)...)
	}
	sortFindings(out)
	return out
}

// Run applies one rule and puts its name on what it finds.
func (r Rule) Run(all []*Source) []Finding {
	out := r.Check(all)
	for i := range out {
		out[i].Rule = r.Name
	}
	sortFindings(out)
	return out
}

func sortFindings(f []Finding) {
	sort.Slice(f, func(i, j int) bool {
		if f[i].Path != f[j].Path {
			return f[i].Path < f[j].Path
		}
		return f[i].Line < f[j].Line
	})
}

// Load parses every Go file of a tree, leaving out what the go tool leaves out (testdata, names that begin with a dot or
// an underscore), node_modules, and the scratch folder warm_tmp.
func Load(root fs.FS) ([]*Source, error) {
	var out []*Source
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
				base == "testdata" || base == "node_modules" || base == "warm_tmp") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		raw, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s, err := Parse(name, raw)
		if err != nil {
			return err
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load sources: %w", err)
	}
	return out, nil
}

// Parse makes a Source of one file's content.
func Parse(name string, content []byte) (*Source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", name, err)
	}
	return &Source{Path: name, File: file, Lines: fset.File(file.FileStart).LineCount(), fset: fset}, nil
}

// each turns a rule about one file into a rule about all.
func each(check func(*Source) []Finding) func([]*Source) []Finding {
	return func(all []*Source) []Finding {
		var out []Finding
		for _, s := range all {
			out = append(out, check(s)...)
		}
		return out
	}
}

// at makes a finding at a place in the file.
func (s *Source) at(pos token.Pos, format string, args ...any) Finding {
	return Finding{Path: s.Path, Line: s.fset.Position(pos).Line, Say: fmt.Sprintf(format, args...)}
}

// pkg is the package's folder, which is its import path without the module.
func (s *Source) pkg() string { return path.Dir(s.Path) }

func (s *Source) isTest() bool { return strings.HasSuffix(s.Path, "_test.go") }

// importPath is the unquoted path of an import.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// within tells whether a slash-separated path is a folder or lies below it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

// uses visits every mention of an exported name of an imported package, as in time.Now.
func (s *Source) uses(visit func(pkg, name string, pos token.Pos)) {
	local := make(map[string]string)
	for _, spec := range s.File.Imports {
		p := importPath(spec)
		name := path.Base(p)
		if len(name) > 1 && name[0] == 'v' && name[1] >= '0' && name[1] <= '9' {
			name = path.Base(path.Dir(p)) // a major version is not the package's name
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		local[name] = p
	}
	ast.Inspect(s.File, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && local[x.Name] != "" {
				visit(local[x.Name], sel.Sel.Name, sel.Pos())
			}
		}
		return true
	})
}
