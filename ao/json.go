package ao

import (
	"bytes"
	"encoding/json"
	"slices"
)

// A module's answer is read here by hand once encoding/json has found it valid: into a struct it would take OK for ok,
// into a map or a slice it would hold thirty times the bytes of an answer made of nothing but commas.

// maxList bounds the lists inside an element of an outbox: tags, processes, exclusions. No item could hold as many.
const maxList = 1024

// members is the named members of a JSON object, the last of each name, as JavaScript reads one; ok is false for what is
// no object. The values are views of raw.
func members(raw json.RawMessage, names ...string) (found map[string]json.RawMessage, ok bool) {
	raw, ok = opened(raw, '{')
	if !ok {
		return nil, false
	}
	found = make(map[string]json.RawMessage, len(names))
	parts(raw, func(name, value []byte) bool {
		if i := slices.IndexFunc(names, func(n string) bool { return isName(name, n) }); i >= 0 {
			found[names[i]] = value
		}
		return true
	})
	return found, true
}

// elements is the list's raw elements, at most most and one more; an object, as Lua encodes an empty table, is an empty
// list. ok is false for what is neither a list nor an empty table nor absent. The elements are views of raw.
func elements(raw json.RawMessage, most int) (list []json.RawMessage, ok bool) {
	if isBlank(raw) {
		return nil, true
	}
	all, ok := opened(raw, '[')
	if !ok {
		if all, ok = opened(raw, '{'); ok {
			parts(all, func(_, _ []byte) bool { ok = false; return false })
		}
		return nil, ok
	}
	parts(all, func(_, value []byte) bool {
		list = append(list, value)
		return len(list) <= most
	})
	return list, true
}

// opened is raw without white space around it, if it is valid JSON that begins with the bracket.
func opened(raw []byte, bracket byte) ([]byte, bool) {
	raw = bytes.Trim(raw, " \t\r\n")
	return raw, len(raw) > 0 && raw[0] == bracket && json.Valid(raw)
}

// isName says whether a quoted name is the wanted one, which is ASCII.
func isName(quoted []byte, want string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == want
	}
	var name string
	return json.Unmarshal(quoted, &name) == nil && name == want
}

// parts visits the members of an object, with their quoted names, or the elements of a list, until visit says stop.
func parts(raw []byte, visit func(name, value []byte) bool) {
	isObject := raw[0] == '{'
	for i := skipSpace(raw, 1); raw[i] != '}' && raw[i] != ']'; {
		var name []byte
		if isObject {
			end := valueEnd(raw, i)
			name = raw[i:end]
			i = skipSpace(raw, skipSpace(raw, end)+1) // past the colon
		}
		end := valueEnd(raw, i)
		if !visit(name, raw[i:end:end]) {
			return
		}
		if i = skipSpace(raw, end); raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// valueEnd is where the value that begins at i ends; it stands inside brackets.
func valueEnd(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of what is around a number or a word
				return i
			}
			depth--
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		default:
			i++
			continue
		}
		if i++; depth == 0 {
			return i
		}
	}
}
