package su

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// The unit's names in the store. Logs are named by process and branch, so that another history of the same process can
// stand beside this one; keys hold raw IDs, because they are many.
const (
	logPrefix     = "su/"
	branch        = "0"
	heightKey     = "su-height"
	settledPrefix = "su-settled/" + branch + "/"
	indexPrefix   = "su-index/" + branch + "/"
)

// The kinds of index key. They keep message IDs apart from digests, both 32 bytes.
const (
	indexMessage = 'm'
	indexDigest  = 'd'
)

func logName(process ao.ID) string { return logPrefix + process.String() + "/" + branch }

// processOf is the process whose log has that name.
func processOf(log string) (ao.ID, error) {
	text, ok := strings.CutSuffix(strings.TrimPrefix(log, logPrefix), "/"+branch)
	if !ok {
		return ao.ID{}, fmt.Errorf("%w: a log named %.100q", errRecord, log)
	}
	return ao.ParseID(text)
}

// settledKey leads to how many slots of a log the archive has taken.
func settledKey(process ao.ID) string { return settledPrefix + string(process[:]) }

// messageKey leads to a slot from the ID of its message and, once it is settled, from that of its assignment.
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

// slotOf is the slot of a message or an assignment.
func (u *Unit) slotOf(process, id ao.ID) (ao.Slot, error) {
	key := messageKey(process, id)
	slot, err := u.slotAt(key)
	if !errors.Is(err, store.ErrNotFound) {
		return slot, err
	}
	if slot, ok := u.backlog.find(process, id); ok {
		return slot, nil
	}
	return u.slotAt(key) // it may have been settled in between
}

// place names a slot of a process.
type place struct {
	process ao.ID
	slot    ao.Slot
}

// recordVersion begins every record: version ‖ length of the assignment ‖ assignment ‖ message, an item or the raw form of a
// transaction.
const recordVersion = 1

// recordParts is a record in pieces, of which only the first is made anew.
func recordParts(e ao.Entry) (head, assignment, message []byte) {
	assignment = e.Assignment.Raw()
	head = append(make([]byte, 0, 1+binary.MaxVarintLen32), recordVersion)
	return binary.AppendUvarint(head, uint64(len(assignment))), assignment, e.Message.Raw()
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
	e, err := ao.ParseEntry(nil, b[:n:n], b[n:])
	if err != nil {
		return ao.Entry{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	if e.Assignment.Message() != e.Message.ID() {
		return ao.Entry{}, fmt.Errorf("%w: %w", errRecord, ao.ErrMismatch)
	}
	return e, nil
}

// itemBytes is what a record's items take, which is what settling them is paid by.
func itemBytes(record []byte) int {
	if len(record) == 0 {
		return 0
	}
	n, size := binary.Uvarint(record[1:])
	items := record[1+max(size, 0):]
	if n <= uint64(len(items)) && l1.IsRaw(items[n:]) {
		return int(n)
	}
	return len(items)
}

// assignmentOf is the ID of a record's assignment, zero of a damaged one: whoever reads that hears of it.
func assignmentOf(record []byte) ao.ID {
	if len(record) == 0 {
		return ao.ID{}
	}
	n, size := binary.Uvarint(record[1:])
	if size <= 0 || n > uint64(len(record)-1-size) {
		return ao.ID{}
	}
	it, err := ans104.Parse(record[1+size:][:n])
	if err != nil {
		return ao.ID{}
	}
	return it.ID()
}

// entryBytes is the same of an entry.
func entryBytes(e ao.Entry) int { return len(e.Assignment.Raw()) + settledBytes(e.Message) }

// settledBytes is what settling a message takes: nothing for a transaction, which is on Arweave already.
func settledBytes(m ao.Message) int {
	if m.IsTransaction() {
		return 0
	}
	return len(m.Raw())
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
