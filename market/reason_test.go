package market

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Every constant is in the table, once, and the table has nothing else.
func TestReasonsAreComplete(t *testing.T) {
	listed := map[Reason]bool{}
	for _, e := range Reasons() {
		if listed[e.Reason] || e.Meaning == "" || e.Remedy == "" || RemedyOf(e.Reason) != e.Remedy {
			t.Errorf("%s: twice, or without text", e.Reason)
		}
		listed[e.Reason] = true
	}
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	check(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || fmt.Sprint(spec.Type) != "Reason" || len(spec.Values) != 1 {
			return true
		}
		word, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		check(t, err)
		if !listed[Reason(word)] {
			t.Errorf("%s is not in the table", spec.Names[0])
		}
		delete(listed, Reason(word))
		return true
	})
	for r := range listed {
		t.Errorf("the table has %s, which is no constant", r)
	}
	if RemedyOf("no such reason") != "" || ReasonOf(nil) != "" || ReasonOf(fmt.Errorf("x: %w", refuse(Dear, "5"))) != Dear {
		t.Error("reasons of nothing")
	}
}

// What the honest can meet is no fault.
func TestFaults(t *testing.T) {
	for _, r := range []Reason{"", Expired, FromFuture, Known, RolledBack, Equivocated, BookFull, BlockCrowded, Dear, Busy} {
		if r.IsFault() {
			t.Errorf("%q is a fault", r)
		}
	}
	if _, err := ParseOffer([]byte("x")); !ReasonOf(err).IsFault() {
		t.Error("nonsense is no fault")
	}
}

// The page is made from the table.
func TestReasonsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Market reasons: why an offer was not taken, and what to do

Generated from the table in ` + "`market/reason.go`; rewrite it with `make docs`" + `. What else can be refused is in [reasons.md](reasons.md).

| reason | meaning | what to do |
|---|---|---|
`)
	for _, e := range Reasons() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Reason, e.Meaning, e.Remedy)
	}
	const file = "../docs/market-reasons.md"
	if *update {
		check(t, os.WriteFile(file, []byte(b.String()), 0o644))
	}
	got, err := os.ReadFile(file)
	check(t, err)
	if string(got) != b.String() {
		t.Errorf("%s is stale: run make docs", file)
	}
}
