//go:build wasip1

package main

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	rt "github.com/arnodel/golua/runtime"
)

// maxDepth bounds the nesting of JSON in both directions.
const maxDepth = 128

var (
	errJSONDepth = errors.New("json: nested too deep")
	errJSONKeys  = errors.New("json: table has mixed or sparse keys")
	errJSONFloat = errors.New("json: number is not finite")
)

// decode turns JSON into Lua values. Integers that fit stay integers; null is nil.
func decode(b []byte) (rt.Value, error) {
	d := &decoder{b: b}
	v := d.value(0)
	d.space()
	if d.err == nil && d.i < len(b) {
		d.fail()
	}
	return v, d.err
}

type decoder struct {
	b   []byte
	i   int
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = errors.New("json: bad input at byte " + strconv.Itoa(d.i+1))
	}
	d.i = len(d.b)
}

func (d *decoder) space() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\n' || d.b[d.i] == '\r' || d.b[d.i] == '\t') {
		d.i++
	}
}

// peek is the next byte after white space, 0 at the end.
func (d *decoder) peek() byte {
	d.space()
	if d.i < len(d.b) {
		return d.b[d.i]
	}
	return 0
}

func (d *decoder) accept(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.i++
	return true
}

func (d *decoder) word(s string, v rt.Value) rt.Value {
	if len(d.b)-d.i < len(s) || string(d.b[d.i:d.i+len(s)]) != s {
		d.fail()
		return rt.NilValue
	}
	d.i += len(s)
	return v
}

func (d *decoder) value(depth int) rt.Value {
	switch c := d.peek(); {
	case c == '{' || c == '[':
		if depth == maxDepth {
			d.err, d.i = errJSONDepth, len(d.b)
			return rt.NilValue
		}
		d.i++
		if c == '{' {
			return d.object(depth + 1)
		}
		return d.array(depth + 1)
	case c == '"':
		return rt.StringValue(d.text())
	case c == 't':
		return d.word("true", rt.BoolValue(true))
	case c == 'f':
		return d.word("false", rt.BoolValue(false))
	case c == 'n':
		return d.word("null", rt.NilValue)
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	d.fail()
	return rt.NilValue
}

func (d *decoder) object(depth int) rt.Value {
	t := rt.NewTable()
	if d.accept('}') {
		return rt.TableValue(t)
	}
	for d.err == nil {
		if d.peek() != '"' {
			break
		}
		k := rt.StringValue(d.text())
		if !d.accept(':') {
			break
		}
		t.Set(k, d.value(depth))
		if d.accept('}') {
			return rt.TableValue(t)
		}
		if !d.accept(',') {
			break
		}
	}
	d.fail()
	return rt.NilValue
}

func (d *decoder) array(depth int) rt.Value {
	t := rt.NewTable()
	if d.accept(']') {
		return rt.TableValue(t)
	}
	for n := int64(1); d.err == nil; n++ {
		t.Set(rt.IntValue(n), d.value(depth))
		if d.accept(']') {
			return rt.TableValue(t)
		}
		if !d.accept(',') {
			break
		}
	}
	d.fail()
	return rt.NilValue
}

func (d *decoder) digits() bool {
	start := d.i
	for d.i < len(d.b) && d.b[d.i] >= '0' && d.b[d.i] <= '9' {
		d.i++
	}
	return d.i > start
}

func (d *decoder) at(set string) bool {
	for i := range len(set) {
		if d.i < len(d.b) && d.b[d.i] == set[i] {
			d.i++
			return true
		}
	}
	return false
}

func (d *decoder) number() rt.Value {
	start, whole := d.i, true
	d.at("-")
	zero := d.i
	ok := d.digits() && (d.b[zero] != '0' || d.i == zero+1)
	if ok && d.at(".") {
		whole = false
		ok = d.digits()
	}
	if ok && d.at("eE") {
		whole = false
		d.at("+-")
		ok = d.digits()
	}
	if !ok {
		d.fail()
		return rt.NilValue
	}
	s := string(d.b[start:d.i])
	if whole {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return rt.IntValue(n)
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		d.fail()
	}
	return rt.FloatValue(f)
}

// text reads a string, which the next byte begins.
func (d *decoder) text() string {
	d.i++
	start := d.i
	for d.i < len(d.b) && d.b[d.i] >= ' ' && d.b[d.i] != '"' && d.b[d.i] != '\\' {
		d.i++
	}
	if d.i < len(d.b) && d.b[d.i] == '"' {
		d.i++
		return string(d.b[start : d.i-1])
	}
	out := append([]byte(nil), d.b[start:d.i]...)
	for d.i < len(d.b) {
		c := d.b[d.i]
		d.i++
		switch {
		case c == '"':
			return string(out)
		case c < ' ':
			d.i--
			d.fail()
		case c == '\\':
			out = d.escape(out)
		default:
			out = append(out, c)
		}
	}
	d.fail()
	return ""
}

func (d *decoder) escape(out []byte) []byte {
	if d.i == len(d.b) {
		d.fail()
		return out
	}
	c := d.b[d.i]
	d.i++
	switch c {
	case '"', '\\', '/':
		return append(out, c)
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'u':
		r := d.hex()
		if utf16.IsSurrogate(r) {
			next := rune(utf8.RuneError)
			if at := d.i; d.at("\\") && d.at("u") {
				next = utf16.DecodeRune(r, d.hex())
				if next == utf8.RuneError {
					d.i = at
				}
			} else {
				d.i = at
			}
			r = next
		}
		return utf8.AppendRune(out, r)
	}
	d.fail()
	return out
}

func (d *decoder) hex() rune {
	if len(d.b)-d.i < 4 {
		d.fail()
		return 0
	}
	n, err := strconv.ParseUint(string(d.b[d.i:d.i+4]), 16, 16)
	if err != nil {
		d.fail()
		return 0
	}
	d.i += 4
	return rune(n)
}

// encode appends v as JSON: keys sorted, so that equal tables give equal bytes; an empty table is an array.
func encode(b []byte, v rt.Value) ([]byte, error) {
	e := encoder{b: b}
	e.value(v, 0)
	return e.b, e.err
}

type encoder struct {
	b   []byte
	err error
}

func (e *encoder) value(v rt.Value, depth int) {
	if e.err != nil {
		return
	}
	switch v.Type() {
	case rt.NilType:
		e.b = append(e.b, "null"...)
	case rt.BoolType:
		e.b = strconv.AppendBool(e.b, v.AsBool())
	case rt.IntType:
		e.b = strconv.AppendInt(e.b, v.AsInt(), 10)
	case rt.FloatType:
		f := v.AsFloat()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			e.err = errJSONFloat
			return
		}
		e.b = append(e.b, rt.FloatToString(f)...)
	case rt.StringType:
		e.b = quote(e.b, v.AsString())
	case rt.TableType:
		if depth == maxDepth {
			e.err = errJSONDepth
			return
		}
		e.table(v.AsTable(), depth+1)
	default:
		e.err = errors.New("json: cannot encode a " + v.TypeName())
	}
}

func (e *encoder) table(t *rt.Table, depth int) {
	var keys []string
	whole := int64(0)
	for k, _, ok := t.Next(rt.NilValue); ok && !k.IsNil(); k, _, ok = t.Next(k) {
		switch s, isString := k.TryString(); {
		case isString:
			keys = append(keys, s)
		case k.Type() == rt.IntType:
			whole++
		default:
			e.err = errJSONKeys
			return
		}
	}
	if len(keys) == 0 {
		e.array(t, whole, depth)
		return
	}
	if whole > 0 {
		e.err = errJSONKeys
		return
	}
	slices.Sort(keys)
	for i, k := range keys {
		e.b = append(e.b, "{,"[min(i, 1)])
		e.b = append(quote(e.b, k), ':')
		e.value(t.Get(rt.StringValue(k)), depth)
	}
	e.b = append(e.b, '}')
}

func (e *encoder) array(t *rt.Table, n int64, depth int) {
	e.b = append(e.b, '[')
	for i := int64(1); i <= n; i++ {
		v := t.Get(rt.IntValue(i))
		if v.IsNil() {
			e.err = errJSONKeys
			return
		}
		if i > 1 {
			e.b = append(e.b, ',')
		}
		e.value(v, depth)
	}
	e.b = append(e.b, ']')
}

// quote appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func quote(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\r':
			b = append(b, '\\', 'r')
		case c == '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, '"')
}
