package wasmvm

import (
	"encoding/base64"
	"strconv"

	"github.com/aopeer/aopeer/ao"
)

// envelope is the JSON that a module's handle takes as its message, keys in the order of the reference unit: the
// order reaches the module's memory and so the state root. What the assignment excludes is absent; of tags, which every
// module goes through, an empty list is left. If boot is not nil the process itself is shown with it as its data, and with
// the tag by which a module boots from its data.
func envelope(e ao.Entry, boot []byte) []byte {
	m, f := e.Message, e.Assignment.Fields()
	boots := boot != nil && m.ID() == f.Process && !f.Excludes("Tags")
	from, forwarded := m.Pushed()
	if !forwarded {
		from = m.Owner()
	}
	b := make([]byte, 0, 1024+len(m.Data()))
	b = field(b, '{', "Id", m.ID().String())
	if !f.Excludes("Signature") {
		b = field(b, ',', "Signature", m.SignatureText())
	}
	switch {
	case boots:
		b = field(b, ',', "Data", string(boot))
	case f.Excludes("Data"):
	case m.LacksData():
		b = append(b, `,"Data":null`...)
	default:
		b = field(b, ',', "Data", string(m.Data()))
	}
	b = field(b, ',', "Owner", m.Owner())
	b = field(b, ',', "Target", targetOf(m, f.Process))
	if !f.Excludes("Anchor") {
		b = field(b, ',', "Anchor", anchorOf(m))
	}
	b = field(b, ',', "From", from)
	if forwarded {
		b = field(b, ',', "Forwarded-By", m.Owner())
	}
	tags := m.Tags().Without("From", "Owner")
	if f.Excludes("Tags") {
		tags = nil
	}
	if boots {
		tags = append(tags, ao.Tag{Name: "On-Boot", Value: "Data"}) // of several the last counts
	}
	b = append(b, `,"Tags":`...)
	b = appendTags(b, tags)
	inLog := e.Proof != ao.ProofBoot // else it has no slot, and so no link
	if inLog {
		b = append(b, `,"Epoch":0,"Nonce":`...)
		b = strconv.AppendUint(b, uint64(f.Nonce), 10)
	}
	b = append(b, `,"Timestamp":`...)
	b = strconv.AppendInt(b, f.Timestamp, 10)
	b = append(b, `,"Block-Height":`...)
	b = strconv.AppendUint(b, f.BlockHeight, 10)
	if inLog {
		b = field(b, ',', "Hash-Chain", base64.RawURLEncoding.EncodeToString(f.HashChain[:]))
	}
	b = append(b, `,"Cron":false,"Read-Only":false`...)
	for _, fact := range e.Facts {
		b = field(b, ',', fact.Name, fact.Value)
	}
	return append(b, '}')
}

// targetOf is not the process that evaluates m if the message is only assigned to it. A process may have a target too,
// which is told where it is assigned; a transaction may have none.
func targetOf(m ao.Message, process ao.ID) string {
	switch target := m.Target(); {
	case m.IsFor(process):
		return process.String()
	case target.IsZero():
		return ""
	default:
		return target.String()
	}
}

// anchorOf is the anchor as text, which that of a transaction is only as Arweave spells it: it is a hash.
func anchorOf(m ao.Message) string {
	if m.IsTransaction() {
		return base64.RawURLEncoding.EncodeToString(m.Anchor())
	}
	return string(m.Anchor())
}

// cronEnvelope is the same for a message that nobody signed or scheduled, and which has no data.
func cronEnvelope(m ao.CronMessage) []byte {
	b := field(nil, '{', "Owner", m.Owner)
	b = field(b, ',', "Target", m.Process.String())
	b = field(b, ',', "From", m.Owner)
	b = append(b, `,"Tags":`...)
	b = appendTags(b, m.Tags.Without("From", "Owner"))
	b = append(b, `,"Timestamp":`...)
	b = strconv.AppendInt(b, m.Timestamp, 10)
	b = append(b, `,"Block-Height":`...)
	b = strconv.AppendUint(b, m.BlockHeight, 10)
	return append(b, `,"Cron":true,"Read-Only":false}`...)
}

// queryEnvelope is the same for a dry-run, which has no signature, slot or link.
func queryEnvelope(process ao.ID, q ao.Query, last ao.AssignmentFields) []byte {
	b := field(nil, '{', "Id", "1234")
	b = field(b, ',', "Data", string(q.Data))
	b = field(b, ',', "Owner", q.Owner)
	b = field(b, ',', "Target", process.String())
	b = field(b, ',', "Anchor", q.Anchor)
	from := q.From
	if from == "" {
		from = q.Owner
	}
	b = field(b, ',', "From", from)
	b = append(b, `,"Tags":`...)
	b = appendTags(b, q.Tags.Without("From", "Owner"))
	b = append(b, `,"Timestamp":`...)
	b = strconv.AppendInt(b, last.Timestamp, 10)
	b = append(b, `,"Block-Height":`...)
	b = strconv.AppendUint(b, last.BlockHeight, 10)
	return append(b, `,"Cron":false,"Read-Only":true}`...)
}

// environment is the JSON of handle's second argument: the process and its module.
func environment(g Genesis) []byte {
	b := field([]byte(`{"Process":`), '{', "Id", g.Process.ID().String())
	b = field(b, ',', "Owner", g.Process.Message().Owner()) // the signer, also where another process asked for it
	b = append(b, `,"Tags":`...)
	b = appendTags(b, g.Process.Tags())
	b = field(append(b, `},"Module":`...), '{', "Id", g.Module.ID().String())
	b = field(b, ',', "Owner", g.Module.Owner())
	b = append(b, `,"Tags":`...)
	b = appendTags(b, g.Module.Tags())
	return append(b, `}}`...)
}

func appendTags(b []byte, tags ao.Tags) []byte {
	b = append(b, '[')
	for i, t := range tags {
		if i > 0 {
			b = append(b, ',')
		}
		b = field(b, '{', "name", t.Name)
		b = field(b, ',', "value", t.Value)
		b = append(b, '}')
	}
	return append(b, ']')
}

func field(b []byte, before byte, name, value string) []byte {
	b = appendJSON(append(b, before), name)
	return appendJSON(append(b, ':'), value)
}

// appendJSON quotes s as JSON.stringify does, so that a module's memory is byte-equal to what other hosts make:
// no escapes beyond the necessary, and bytes that are no UTF-8 become U+FFFD as in a JavaScript string.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x80 {
			n, ok := sequence(s[i:])
			if ok {
				b = append(b, s[i:i+n]...)
			} else {
				b = append(b, "\uFFFD"...)
			}
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\b':
			b = append(b, '\\', 'b')
		case c == '\f':
			b = append(b, '\\', 'f')
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

// sequence is the length of the UTF-8 sequence that s, which begins with a non-ASCII byte, starts with. If it is
// none, the length is that of the longest prefix of one (at least 1), which text decoders replace as a whole.
func sequence(s string) (int, bool) {
	low, high, need := byte(0x80), byte(0xBF), 0
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c == 0xE0:
		low, need = 0xA0, 2
	case c == 0xED:
		high, need = 0x9F, 2
	case c >= 0xE1 && c <= 0xEF:
		need = 2
	case c == 0xF0:
		low, need = 0x90, 3
	case c == 0xF4:
		high, need = 0x8F, 3
	case c >= 0xF1 && c <= 0xF3:
		need = 3
	default:
		return 1, false
	}
	n := 1
	for ; need > 0; need-- {
		if n >= len(s) || s[n] < low || s[n] > high {
			return n, false
		}
		low, high = 0x80, 0xBF
		n++
	}
	return n, true
}
