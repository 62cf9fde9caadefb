package archtest

import (
	"go/ast"
	"go/token"
	"regexp"
	"sort"
	"strings"
)

// checkComment wants one comment for each package, in four paragraphs: what it is; what comes in and goes out; what it
// never does; where to start reading. A package of tests alone carries it in a test file.
func checkComment(all []*Source) []Finding {
	byPkg := make(map[string][]*Source)
	production := make(map[string]bool)
	for _, s := range all {
		byPkg[s.pkg()] = append(byPkg[s.pkg()], s)
		production[s.pkg()] = production[s.pkg()] || !s.isTest()
	}
	pkgs := make([]string, 0, len(byPkg))
	for pkg := range byPkg {
		pkgs = append(pkgs, pkg)
	}
	sort.Strings(pkgs)
	var out []Finding
	for _, pkg := range pkgs {
		var first *Source
		for _, s := range byPkg[pkg] {
			if s.File.Doc == nil || s.isTest() && production[pkg] {
				continue
			}
			if first != nil {
				out = append(out, s.at(s.File.Package, "package %s has a second package comment, the first is in %s", pkg, first.Path))
				continue
			}
			first = s
			out = append(out, checkParagraphs(s)...)
		}
		if first == nil {
			s := byPkg[pkg][0]
			out = append(out, s.at(s.File.Package, "package %s has no package comment", pkg))
		}
	}
	return out
}

func checkParagraphs(s *Source) []Finding {
	var out []Finding
	text := strings.TrimSpace(s.File.Doc.Text())
	want := "Package " + s.File.Name.Name + " "
	if s.File.Name.Name == "main" {
		want = "Command "
	}
	if !strings.HasPrefix(text, want) {
		out = append(out, s.at(s.File.Doc.Pos(), "package comment begins with %q", want))
	}
	if n := len(regexp.MustCompile(`\n\s*\n`).Split(text, -1)); n != 4 {
		out = append(out, s.at(s.File.Doc.Pos(), "package comment has %d paragraphs, want 4: what it is, what comes in and out, what it never does, where to start", n))
	}
	return out
}

// checkExport wants a comment on everything exported: declarations, methods of exported types, methods of exported
// interfaces. In a group of constants or variables the group's comment serves all; an interface's comment serves its
// only method and those it names.
func checkExport(s *Source) []Finding {
	if s.isTest() || s.File.Name.Name == "main" {
		return nil
	}
	var out []Finding
	for _, decl := range s.File.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) {
				out = append(out, s.at(d.Pos(), "%s is exported without a comment", d.Name.Name))
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				out = append(out, checkSpec(s, d, spec)...)
			}
		}
	}
	return out
}

func checkSpec(s *Source, d *ast.GenDecl, spec ast.Spec) []Finding {
	var out []Finding
	switch sp := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range sp.Names {
			if name.IsExported() && d.Doc == nil && sp.Doc == nil && sp.Comment == nil {
				out = append(out, s.at(name.Pos(), "%s is exported without a comment", name.Name))
			}
		}
	case *ast.TypeSpec:
		if !sp.Name.IsExported() {
			return nil
		}
		if sp.Doc == nil && sp.Comment == nil && (d.Doc == nil || d.Lparen.IsValid()) {
			out = append(out, s.at(sp.Pos(), "%s is exported without a comment", sp.Name.Name))
		}
		if it, ok := sp.Type.(*ast.InterfaceType); ok {
			contract := typeComment(d, sp)
			for _, m := range it.Methods.List {
				if len(m.Names) == 1 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil &&
					len(it.Methods.List) > 1 && !names(contract, m.Names[0].Name) {
					out = append(out, s.at(m.Pos(), "%s.%s has no contract: say what it promises", sp.Name.Name, m.Names[0].Name))
				}
			}
		}
	}
	return out
}

// typeComment is the text of a type's comments.
func typeComment(d *ast.GenDecl, sp *ast.TypeSpec) string {
	return d.Doc.Text() + sp.Doc.Text() + sp.Comment.Text()
}

// names tells whether a text mentions a word.
func names(text, word string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`).MatchString(text)
}

// exportedReceiver tells whether a function has no receiver or one of an exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// checkUnfinished refuses the words by which comments put work off: what is not done is said in the docs.
func checkUnfinished(s *Source) []Finding {
	word := regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b`)
	var out []Finding
	for _, group := range s.File.Comments {
		for _, c := range group.List {
			if loc := word.FindStringIndex(c.Text); loc != nil {
				out = append(out, s.at(c.Pos()+token.Pos(loc[0]), "%s in a comment: do it, or say it in the docs", c.Text[loc[0]:loc[1]]))
			}
		}
	}
	return out
}
