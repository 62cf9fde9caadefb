package market

import (
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/ao"
)

// plainOffer reads an offer's data if it is written just as SignOffer writes it, in one pass; encoding/json takes three, and
// every gossiped offer is read. What it does not know at a glance (another order, blanks, escapes, members of
// later versions, whatever is wrong) it leaves to encoding/json: where it answers, both say the same.
func plainOffer(data []byte, r Role) (t Terms, ok bool) {
	s := &scanner{rest: string(data)} // one copy, of which all words are parts
	if !s.skip(`{"prices":{`) {
		return t, false
	}
	names := PartNames(r)
	for first := true; !s.skip("}"); first = false {
		if !first && !s.skip(",") {
			return t, false
		}
		name, isName := s.word()
		i := 0
		for i < len(names) && names[i] != name {
			i++
		}
		if !isName || i == len(names) || !s.skip(":") {
			return t, false
		}
		text, isText := s.word()
		price, isPrice := plainNumber(text)
		if !isText || !isPrice {
			return t, false
		}
		t.Prices[i] = price
	}
	if s.skip(`,"formats":`) {
		t.Formats = s.words()
	}
	if s.skip(`,"extensions":`) {
		t.Extensions = s.words()
	}
	if s.skip(`,"memory":`) {
		t.Memory = s.number()
	}
	if s.skip(`,"compute":`) {
		t.Compute = s.number()
	}
	if s.skip(`,"region":`) {
		t.Region = s.text()
	}
	if !s.skip(`,"capacity":`) {
		return t, false
	}
	capacity := s.number()
	t.Capacity = uint32(capacity)
	if s.skip(`,"ledgers":`) {
		for _, w := range s.words() {
			id, err := ao.ParseID(w)
			if err != nil {
				return t, false
			}
			t.Ledgers = append(t.Ledgers, id)
		}
	}
	if !s.skip(`,"addrs":`) {
		return t, false
	}
	t.Addrs = s.words()
	return t, s.skip("}") && s.rest == "" && !s.lost && uint64(t.Capacity) == capacity
}

// scanner walks over JSON as long as that is plain.
type scanner struct {
	rest string
	lost bool // something was not
}

func (s *scanner) skip(text string) (ok bool) {
	s.rest, ok = strings.CutPrefix(s.rest, text)
	return ok
}

// word is a string of printable ASCII characters without escapes.
func (s *scanner) word() (w string, ok bool) {
	if s.rest == "" || s.rest[0] != '"' {
		return "", false
	}
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			w, s.rest = s.rest[1:i], s.rest[i+1:]
			return w, true
		case c < ' ' || c > '~' || c == '\\':
			return "", false
		}
	}
	return "", false
}

func (s *scanner) text() string {
	w, ok := s.word()
	s.lost = s.lost || !ok
	return w
}

func (s *scanner) words() []string {
	if !s.skip("[") {
		s.lost = true
		return nil
	}
	out := []string{}
	for !s.skip("]") && !s.lost {
		if len(out) > 0 && !s.skip(",") {
			s.lost = true
		}
		out = append(out, s.text())
	}
	return out
}

func (s *scanner) number() uint64 {
	n := 0
	for n < len(s.rest) && '0' <= s.rest[n] && s.rest[n] <= '9' {
		n++
	}
	v, ok := plainNumber(s.rest[:n])
	s.lost, s.rest = s.lost || !ok, s.rest[n:]
	return v
}

// plainNumber is a number of at most 18 digits, none of them a leading zero.
func plainNumber(text string) (uint64, bool) {
	if text == "" || len(text) > 18 || text[0] == '0' && len(text) > 1 || text[0] == '+' {
		return 0, false
	}
	v, err := strconv.ParseUint(text, 10, 64)
	return v, err == nil
}
