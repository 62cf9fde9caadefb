package cu

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// errRecord says that a stored answer is not what this package writes.
var errRecord = errors.New("damaged answer")

// recordVersion is the first byte of every stored answer.
const recordVersion = 1

// outcome is an evaluated slot with its claim, journaled and not yet signed: the signature is made when somebody wants
// it, and comes out the same each time.
type outcome struct {
	result ao.Result
	claim  attest.Claim
	once   sync.Once
	answer units.Answer
	err    error
}

// sign makes the answer, once for all who wait for the slot. Of a log that is only told it has no claim.
func (u *Unit) sign(o *outcome) (units.Answer, error) {
	if u.cfg.Told {
		return units.Answer{Slot: o.claim.Nonce, Result: o.result}, nil
	}
	o.once.Do(func() {
		var signed attest.SignedClaim
		if signed, o.err = attest.Sign(u.journal, u.cfg.Signer, o.claim); o.err == nil {
			o.answer = units.Answer{Slot: o.claim.Nonce, Result: o.result, Claim: signed}
		}
	})
	return o.answer, o.err
}

// stored reads the answer of a slot; nil if there is none, or none that is intact.
func (u *Unit) stored(process ao.ID, slot ao.Slot) (*outcome, error) {
	raw, err := u.cfg.Store.Get(answerKey(process, slot))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storeFault("read answer", err)
	}
	o, err := decodeOutcome(raw, func() ([]byte, error) {
		return readFile(u.cfg.Store, resultName(process, slot), ao.MaxResult)
	})
	if err == nil && (o.claim.Process != process || o.claim.Nonce != slot || o.claim.Network != u.cfg.Network) {
		err = fmt.Errorf("%w: of another slot", errRecord)
	}
	if err != nil {
		u.cfg.Log.Error("stored answer is not used", "process", process, "slot", uint64(slot), "err", err)
		return nil, nil
	}
	return o, nil
}

// answerKey sorts by slot within a process.
func answerKey(process ao.ID, slot ao.Slot) string {
	return answerPrefix(process) + slotHex(slot)
}

// slotHex sorts as slots do.
func slotHex(s ao.Slot) string { return hex.EncodeToString(slotBytes(s)) }

func answerPrefix(process ao.ID) string { return "cu/answer/" + process.String() + "/" }

// nextKey holds the first slot without an answer.
func nextKey(process ao.ID) string { return nextPrefix + process.String() }

const nextPrefix = "cu/next/"

// readSlot reads a slot number, 0 if there is none.
func readSlot(s store.Store, key string) (ao.Slot, error) {
	raw, err := s.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, storeFault("read slot", err)
	}
	if len(raw) != 8 {
		return 0, storeFault("read slot", fmt.Errorf("%d bytes", len(raw)))
	}
	return ao.Slot(binary.BigEndian.Uint64(raw)), nil
}

func slotBytes(s ao.Slot) []byte { return binary.BigEndian.AppendUint64(nil, uint64(s)) }

// A result beyond this is kept as a file, because the store bounds its values.
const maxInline = 4 << 20

// encode is: version, claim, and the result or nothing if it is in a file of its own.
func (o *outcome) encode() (record, file []byte) {
	record = appendBlock([]byte{recordVersion}, o.claim.Bytes())
	result := o.result.Encode()
	if len(result) > maxInline {
		return record, result
	}
	return append(record, result...), nil
}

func appendBlock(b, block []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
}

// decodeClaim reads the claim of a stored answer; what follows is the result.
func decodeClaim(record []byte) (attest.Claim, []byte, error) {
	in := input{b: record}
	if in.byte() != recordVersion {
		return attest.Claim{}, nil, fmt.Errorf("%w: version", errRecord)
	}
	c, err := attest.ParseClaim(in.block())
	if err != nil || in.short {
		return attest.Claim{}, nil, fmt.Errorf("%w: claim", errRecord)
	}
	return c, in.b, nil
}

// decodeOutcome reads what encode wrote; the result must be the one that the claim names. file reads a result that is
// not in the record.
func decodeOutcome(record []byte, file func() ([]byte, error)) (*outcome, error) {
	claim, raw, err := decodeClaim(record)
	if err != nil {
		return nil, err
	}
	if len(raw) == 0 {
		if raw, err = file(); err != nil {
			return nil, fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	r, err := ao.DecodeResult(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if attest.ResultDigest(r) != claim.Result {
		return nil, fmt.Errorf("%w: digest", errRecord)
	}
	return &outcome{result: r, claim: claim}, nil
}

// resultName is the file of a result that is too large for its record.
func resultName(process ao.ID, slot ao.Slot) string {
	return "cu-results/" + hex.EncodeToString(process[:]) + "/" + slotHex(slot)
}

func readFile(s store.Store, name string, limit int64) ([]byte, error) {
	f, err := s.OpenFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Size() > limit {
		return nil, fmt.Errorf("a file of %d bytes, at most %d", f.Size(), limit)
	}
	raw := make([]byte, f.Size())
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return raw, nil
}

// input takes fields off the front; after a shortage it is short and yields nothing.
type input struct {
	b     []byte
	short bool
}

func (in *input) take(n uint64) []byte {
	if n > uint64(len(in.b)) {
		in.short, in.b = true, nil
		return nil
	}
	out := in.b[:n:n]
	in.b = in.b[n:]
	return out
}

func (in *input) uint(n uint64) (v uint64) {
	for _, x := range in.take(n) {
		v = v<<8 | uint64(x)
	}
	return v
}

func (in *input) byte() byte { return byte(in.uint(1)) }

func (in *input) hash(h *[32]byte) { copy(h[:], in.take(32)) }

func (in *input) block() []byte { return in.take(in.uint(4)) }
