package su

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// The unit's names in the store. Logs are named by process and branch, so that another history of the same process can
// stand beside this one; keys hold raw IDs, because they are many.
const (
	logPrefix   = "su/"
	branch      = "0"
	settleQueue = "su-settle"
	heightKey   = "su-height"
	indexPrefix = "su-index/" + branch + "/"
)

// The kinds of index key. They keep message IDs apart from digests, both 32 bytes.
const (
	indexMessage = 'm'
	indexDigest  = 'd'
)

func logName(process ao.ID) string { return logPrefix + process.String() + "/" + branch }

// messageKey leads to a slot from the ID of its message or its assignment.
func messageKey(process, id ao.ID) string { return indexKey(indexMessage, process, id) }

// digestKey leads to a slot from the digest of a pushed message.
func digestKey(process ao.ID, digest [32]byte) string { return indexKey(indexDigest, process, digest) }

func indexKey(kind byte, process ao.ID, what [32]byte) string {
	b := make([]byte, 0, len(indexPrefix)+1+len(process)+len(what))
	b = append(b, indexPrefix...)
	b = append(b, process[:]...)
	b = append(b, kind)
	return string(append(b, what[:]...))
}

// errRecord says that bytes in the store are none of this unit's making, or damaged.
var errRecord = errors.New("not a record of this scheduler")

func encodeSlot(s ao.Slot) []byte { return binary.AppendUvarint(nil, uint64(s)) }

func decodeSlot(b []byte) (ao.Slot, error) {
	n, size := binary.Uvarint(b)
	if size != len(b) || size == 0 {
		return 0, fmt.Errorf("%w: a slot of %d bytes", errRecord, len(b))
	}
	return ao.Slot(n), nil
}

// slotAt reads an index key.
func (u *Unit) slotAt(key string) (ao.Slot, error) {
	b, err := u.cfg.Store.Get(key)
	if err != nil {
		return 0, err
	}
	return decodeSlot(b)
}

// place names a slot of a process. Encoded it is what the settlement queue holds instead of the entry.
type place struct {
	process ao.ID
	slot    ao.Slot
}

// placeVersion also says which branch is meant: the only one.
const placeVersion = 1

func (p place) encode() []byte {
	b := append(make([]byte, 0, 1+len(p.process)+4), placeVersion)
	return binary.AppendUvarint(append(b, p.process[:]...), uint64(p.slot))
}

func decodePlace(b []byte) (p place, err error) {
	if len(b) < 1+len(p.process) || b[0] != placeVersion {
		return place{}, fmt.Errorf("%w: a place of %d bytes", errRecord, len(b))
	}
	copy(p.process[:], b[1:])
	p.slot, err = decodeSlot(b[1+len(p.process):])
	return p, err
}

// recordVersion begins every record: version ‖ length of the assignment ‖ assignment ‖ message.
const recordVersion = 1

func encodeRecord(e ao.Entry) []byte {
	a, m := e.Assignment.Raw(), e.Message.Raw()
	b := append(make([]byte, 0, 1+binary.MaxVarintLen32+len(a)+len(m)), recordVersion)
	b = binary.AppendUvarint(b, uint64(len(a)))
	b = append(b, a...)
	return append(b, m...)
}

// decodeRecord parses and verifies a record; the entry keeps b.
func decodeRecord(b []byte) (ao.Entry, error) {
	if len(b) == 0 || b[0] != recordVersion {
		return ao.Entry{}, fmt.Errorf("%w: version", errRecord)
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 {
		return ao.Entry{}, fmt.Errorf("%w: length", errRecord)
	}
	if b = b[1+size:]; n > uint64(len(b)) {
		return ao.Entry{}, fmt.Errorf("%w: an assignment of %d bytes in %d", errRecord, n, len(b))
	}
	a, err := ao.ParseAssignment(b[:n:n])
	if err != nil {
		return ao.Entry{}, fmt.Errorf("%w: assignment: %w", errRecord, err)
	}
	m, err := ao.ParseMessage(b[n:])
	if err != nil {
		return ao.Entry{}, fmt.Errorf("%w: message: %w", errRecord, err)
	}
	if a.Message() != m.ID() {
		return ao.Entry{}, fmt.Errorf("%w: %w", errRecord, ao.ErrMismatch)
	}
	return ao.Entry{Proof: ao.ProofAssignment, Assignment: a, Message: m}, nil
}

func entryCost(e ao.Entry) int { return len(e.Assignment.Raw()) + len(e.Message.Raw()) + 512 }

// entry is a durable entry, from memory or from the store, verified.
func (u *Unit) entry(at place) (ao.Entry, error) {
	if e, ok := u.entries.get(at); ok {
		return e, nil
	}
	records, err := u.cfg.Store.Range(logName(at.process), uint64(at.slot), 1)
	if err != nil {
		return ao.Entry{}, err
	}
	if len(records) == 0 {
		return ao.Entry{}, fmt.Errorf("slot %d of %s is missing: %w", at.slot, at.process, errRecord)
	}
	return u.accept(at, records[0])
}

// accept makes an entry of a record, if it is the one that belongs there.
func (u *Unit) accept(at place, record []byte) (ao.Entry, error) {
	e, err := decodeRecord(record)
	if err != nil {
		return ao.Entry{}, fmt.Errorf("read slot %d of %s: %w", at.slot, at.process, err)
	}
	if e.Assignment.Process() != at.process || e.Assignment.Nonce() != at.slot {
		return ao.Entry{}, fmt.Errorf("slot %d of %s holds another: %w", at.slot, at.process, errRecord)
	}
	u.entries.put(at, e, entryCost(e))
	return e, nil
}
