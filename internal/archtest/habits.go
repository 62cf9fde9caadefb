package archtest

import (
	"go/ast"
	"go/token"
	"strings"
)

func checkInit(s *Source) []Finding {
	var out []Finding
	for _, decl := range s.File.Decls {
		if d, ok := decl.(*ast.FuncDecl); ok && d.Recv == nil && d.Name.Name == "init" {
			out = append(out, s.at(d.Pos(), "init runs before anybody asked: make it a constructor"))
		}
	}
	return out
}

// checkVariable refuses package variables, because a hundred peers share one process. Four kinds pass, as they are never
// assigned: blank ones (interface assertions), values of errors.New, or of fmt.Errorf and named Err…, values of
// regexp.MustCompile, and embedded files. An unexported one passes too when its own comment says the word
// "constant", which is how a lookup table that Go cannot declare const is written. The guest program has a whole virtual
// machine to itself, and its globals are its state.
func checkVariable(s *Source) []Finding {
	if s.isTest() || s.pkg() == "wasmvm/guest" {
		return nil
	}
	var out []Finding
	for _, decl := range s.File.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.VAR {
			continue
		}
		for _, spec := range d.Specs {
			sp := spec.(*ast.ValueSpec)
			for i, name := range sp.Names {
				if name.Name != "_" && !neverAssigned(d, sp, i) {
					out = append(out, s.at(name.Pos(), "package variable %s: pass it in, or make it a constant", name.Name))
				}
			}
		}
	}
	return out
}

func neverAssigned(d *ast.GenDecl, sp *ast.ValueSpec, i int) bool {
	name := sp.Names[i]
	for _, doc := range []*ast.CommentGroup{d.Doc, sp.Doc, sp.Comment} {
		if doc == nil || doc == d.Doc && d.Lparen.IsValid() {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
		if !name.IsExported() && strings.Contains(doc.Text(), "constant") {
			return true
		}
	}
	if i >= len(sp.Values) {
		return false
	}
	call, ok := sp.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	switch selector(call.Fun) {
	case "errors.New", "regexp.MustCompile":
		return true
	case "fmt.Errorf":
		return strings.HasPrefix(strings.ToLower(name.Name), "err")
	}
	return false
}

// selector writes an expression like pkg.Name as a string; anything else is empty.
func selector(e ast.Expr) string {
	if sel, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := sel.X.(*ast.Ident); ok {
			return x.Name + "." + sel.Sel.Name
		}
	}
	return ""
}

// checkLock wants every mutex field to be called lock: mu is a unit here. Where a struct has several, each name ends in
// Lock and begins with what it guards.
func checkLock(s *Source) []Finding {
	if s.isTest() {
		return nil
	}
	var out []Finding
	ast.Inspect(s.File, func(n ast.Node) bool {
		st, ok := n.(*ast.StructType)
		if !ok {
			return true
		}
		mutexes := 0
		for _, f := range st.Fields.List {
			if mutexKind(f) != "" {
				mutexes += max(1, len(f.Names))
			}
		}
		for _, f := range st.Fields.List {
			kind := mutexKind(f)
			if kind == "" {
				continue
			}
			if len(f.Names) == 0 {
				out = append(out, s.at(f.Pos(), "embedded %s: make it a field called lock", kind))
			}
			for _, name := range f.Names {
				if name.Name != "lock" && (mutexes < 2 || !strings.HasSuffix(name.Name, "Lock")) {
					out = append(out, s.at(name.Pos(), "%s called %s: call it lock", kind, name.Name))
				}
			}
		}
		return true
	})
	return out
}

// mutexKind is the type of a mutex field, or empty.
func mutexKind(f *ast.Field) string {
	t := f.Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if kind := selector(t); kind == "sync.Mutex" || kind == "sync.RWMutex" {
		return kind
	}
	return ""
}

func checkTesting(s *Source) []Finding {
	if s.isTest() || within(s.pkg(), "simnet") || within(s.pkg(), "units/unitstest") {
		return nil
	}
	var out []Finding
	for _, spec := range s.File.Imports {
		if within(importPath(spec), "testing") {
			out = append(out, s.at(spec.Pos(), "%s imported in a production file", importPath(spec)))
		}
	}
	return out
}

// checkSleep refuses time.Sleep in tests. A file that imports testing/synctest sleeps in virtual time and may.
func checkSleep(s *Source) []Finding {
	if !s.isTest() {
		return nil
	}
	for _, spec := range s.File.Imports {
		if importPath(spec) == "testing/synctest" {
			return nil
		}
	}
	var out []Finding
	s.uses(func(pkg, name string, pos token.Pos) {
		if pkg == "time" && name == "Sleep" {
			out = append(out, s.at(pos, "time.Sleep in a test: wait for the condition instead"))
		}
	})
	return out
}

// checkGuarded keeps each dangerous or replaceable library behind one room. The primitives that rooms are measured against
// are such libraries, bare.
func checkGuarded(s *Source) []Finding {
	var out []Finding
	for _, spec := range s.File.Imports {
		p := importPath(spec)
		for _, g := range []struct{ library, room string }{
			{"github.com/cockroachdb/pebble", "internal/store"},
			{"github.com/ipfs/go-ds-pebble", "internal/store"},
			{"github.com/everFinance/goar", "arweave"},
			{"github.com/bytecodealliance/wasmtime-go", "wasmvm"},
		} {
			if within(p, g.library) && !within(s.pkg(), g.room) && s.Path != "internal/bench/primitive_test.go" {
				out = append(out, s.at(spec.Pos(), "%s is imported by %s only", g.library, g.room))
			}
		}
	}
	return out
}

// checkGlobal refuses what all peers of one process would share, and the second Ed25519 verifier, which gives other
// verdicts on edge cases than the one peers agreed on.
func checkGlobal(s *Source) []Finding {
	if s.isTest() {
		return nil
	}
	var out []Finding
	s.uses(func(pkg, name string, pos token.Pos) {
		say := ""
		switch pkg + "." + name {
		case "log/slog.SetDefault", "log/slog.Default", "log/slog.Info", "log/slog.Debug", "log/slog.Warn", "log/slog.Error":
			say = "the logger comes in Config"
		case "net/http.DefaultClient", "net/http.DefaultServeMux", "net/http.Handle", "net/http.HandleFunc",
			"net/http.Get", "net/http.Post", "net/http.Head", "net/http.PostForm":
			say = "the client or mux is made by whoever needs it"
		case "github.com/prometheus/client_golang/prometheus.MustRegister", "github.com/prometheus/client_golang/prometheus.Register",
			"github.com/prometheus/client_golang/prometheus.DefaultRegisterer", "github.com/prometheus/client_golang/prometheus.DefaultGatherer":
			say = "the registry comes in Config"
		case "crypto/ed25519.Verify", "crypto/ed25519.VerifyWithOptions":
			say = "verify through arweave/ans104: verdicts must agree on every edge case"
		}
		if within(pkg, "log") && pkg != "log/slog" && name != "New" && name != "Logger" {
			say = "the logger comes in Config"
		}
		if within(pkg, "github.com/prometheus/client_golang/prometheus/promauto") && name != "With" {
			say = "the registry comes in Config"
		}
		if say != "" {
			out = append(out, s.at(pos, "%s.%s: %s", pkg, name, say))
		}
	})
	return out
}

// checkPure keeps the engines in the middle exact: time, chance and the world arrive as arguments.
func checkPure(s *Source) []Finding {
	switch s.pkg() {
	case "arweave/l1", "ao", "attest", "staking", "market":
	default:
		return nil
	}
	if s.isTest() {
		return nil
	}
	var out []Finding
	for _, spec := range s.File.Imports {
		switch p := importPath(spec); p {
		case "os", "os/exec", "net", "net/http", "math/rand", "math/rand/v2", "crypto/rand", "syscall":
			out = append(out, s.at(spec.Pos(), "%s imports %s: it arrives as an argument", s.pkg(), p))
		}
	}
	s.uses(func(pkg, name string, pos token.Pos) {
		if pkg != "time" {
			return
		}
		switch name {
		case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick":
			out = append(out, s.at(pos, "%s reads the clock by time.%s: it arrives as an argument", s.pkg(), name))
		}
	})
	ast.Inspect(s.File, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			out = append(out, s.at(g.Pos(), "%s starts a goroutine: whoever calls it may", s.pkg()))
		}
		return true
	})
	return out
}

// checkError wants errors that say the verb and the noun; that they are failures is known.
func checkError(s *Source) []Finding {
	var out []Finding
	ast.Inspect(s.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		if fun := selector(call.Fun); fun != "fmt.Errorf" && fun != "errors.New" {
			return true
		}
		ast.Inspect(call.Args[0], func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			for _, word := range []string{"failed to", "unable to", "could not", "couldn't", "error while"} {
				if strings.Contains(strings.ToLower(lit.Value), word) {
					out = append(out, s.at(lit.Pos(), "%q in an error: write verb and noun", word))
				}
			}
			return true
		})
		return true
	})
	return out
}
