package ao

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// MaxResult bounds the encoded bytes of one result.
const MaxResult = 96 << 20

// The first byte of an encoded result.
const (
	encodedPlain   = 1
	encodedPatches = 2
)

// Encode is the result as units store it and send it to each other: a version byte, the decision, the gas, then Error,
// Output and the three lists, every element with its length in four big-endian bytes; with patches the version is another,
// and they are a fourth list. The JSON stays byte for byte as the module emitted it, because the digest is over those bytes.
func (r Result) Encode() []byte {
	b := []byte{encodedPlain, byte(r.Decision)}
	b = binary.BigEndian.AppendUint64(b, r.GasUsed)
	b = appendBlock(b, r.Error)
	b = appendBlock(b, r.Output)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Messages)))
	for _, m := range r.Messages {
		b = appendBlock(b, m.Raw)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Spawns)))
	for _, s := range r.Spawns {
		b = appendBlock(b, s.Raw)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Assignments)))
	for _, a := range r.Assignments {
		b = appendBlock(b, a.Raw)
	}
	if len(r.Patches) > 0 {
		b[0] = encodedPatches
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.Patches)))
		for _, p := range r.Patches {
			b = appendBlock(b, p)
		}
	}
	return b
}

func appendBlock(b, block []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(block)))
	return append(b, block...)
}

// DecodeResult reads what Encode wrote and nothing else. Errors: ErrResponse.
func DecodeResult(b []byte) (Result, error) {
	if len(b) < 10 || (b[0] != encodedPlain && b[0] != encodedPatches) || Decision(b[1]) > Skipped || len(b) > MaxResult {
		return Result{}, fmt.Errorf("%w: unknown encoding", ErrResponse)
	}
	r := Result{Decision: Decision(b[1]), GasUsed: binary.BigEndian.Uint64(b[2:])}
	d := blocks{rest: b[10:]}
	r.Error, r.Output = d.block(), d.block()
	left := MaxOutbox
	each := func(add func(json.RawMessage)) {
		n := d.count(left)
		left -= n
		for range n {
			if raw := d.block(); !d.bad {
				add(raw)
			}
		}
	}
	each(func(raw json.RawMessage) { r.Messages = append(r.Messages, parseDraft(raw)) })
	each(func(raw json.RawMessage) { r.Spawns = append(r.Spawns, parseDraft(raw)) })
	each(func(raw json.RawMessage) { r.Assignments = append(r.Assignments, parseAssign(raw)) })
	if b[0] == encodedPatches {
		left = MaxOutbox
		each(func(raw json.RawMessage) { r.Patches = append(r.Patches, raw) })
		d.bad = d.bad || len(r.Patches) == 0
	}
	if d.bad || len(d.rest) != 0 {
		return Result{}, fmt.Errorf("%w: lengths do not fit", ErrResponse)
	}
	return r, nil
}

// blocks takes length-prefixed blocks off the front; after a shortage it is bad and yields nothing.
type blocks struct {
	rest []byte
	bad  bool
}

func (d *blocks) count(most int) int {
	if len(d.rest) < 4 {
		d.bad, d.rest = true, nil
		return 0
	}
	n := binary.BigEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	if uint64(n) > uint64(most) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *blocks) block() json.RawMessage {
	n := d.count(len(d.rest))
	if d.bad || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	if n == 0 {
		return nil
	}
	return json.RawMessage(out)
}
