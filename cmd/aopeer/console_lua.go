package main

import (
	"github.com/arnodel/golua/parsing"
	"github.com/arnodel/golua/scanner"
	"github.com/arnodel/golua/token"
)

// unfinished says whether more lines can still make code what a process evaluates: statements of Lua, or an expression.
// What no line can mend is left to the process, which says what is wrong with it.
func unfinished(code string) bool {
	statements, expression := &tokens{Scanner: scanner.New("", []byte(code))}, &tokens{Scanner: scanner.New("", []byte("return "+code))}
	_, bad := parsing.ParseChunk(statements)
	_, worse := parsing.ParseChunk(expression)
	return bad != nil && worse != nil && (statements.ended || expression.ended)
}

// tokens are what a parser reads, which remember whether it wanted more than there are. Its error does not always say so.
type tokens struct {
	*scanner.Scanner
	ended bool
}

// Scan implements parsing.Scanner.
func (t *tokens) Scan() *token.Token {
	tok := t.Scanner.Scan()
	t.ended = t.ended || tok.Type == token.EOF || tok.Type == token.UNFINISHED
	return tok
}
