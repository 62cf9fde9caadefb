package cu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// tickVersion is the first byte of the record of every tick.
const tickVersion = 1

// tickKey sorts as a process's ticks do.
func tickKey(process ao.ID, t ao.Tick) string { return tickPrefix(process) + tickHex(t) }

func tickPrefix(process ao.ID) string { return "cu/tick/" + process.String() + "/" }

func tickHex(t ao.Tick) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(slotBytes(ao.Slot(t.Timestamp)), uint64(t.Interval)))
}

// tickFile is the file of a result that is too large for its record.
func tickFile(process ao.ID, t ao.Tick) string {
	return "cu-ticks/" + hex.EncodeToString(process[:]) + "/" + tickHex(t)
}

// putTick adds a tick's record to a batch and says how large it is. A large result is a file, durable before it is referred to.
func putTick(s store.Store, b *store.Batch, process ao.ID, r units.CronResult) (int, error) {
	record := append([]byte{tickVersion}, slotBytes(r.Cursor.Slot)...)
	record = binary.BigEndian.AppendUint64(record, r.Height)
	record = appendBlock(record, []byte(r.Every))
	result := r.Result.Encode()
	if len(result) <= maxInline {
		record = append(record, result...)
	} else if err := s.PutFile(tickFile(process, r.Cursor.Tick), bytes.NewReader(result)); err != nil {
		return 0, storeFault("write result of a tick", err)
	}
	b.Put(tickKey(process, r.Cursor.Tick), record)
	return len(record) + 256, nil
}

// decodeTick reads what putTick wrote under a key.
func decodeTick(s store.Store, process ao.ID, pair store.Pair) (r units.CronResult, size int, err error) {
	at, err := hex.DecodeString(pair.Key[len(tickPrefix(process)):])
	if err != nil || len(at) != 16 {
		return r, 0, fmt.Errorf("%w: a tick under %.80q", errRecord, pair.Key)
	}
	r.Cursor.Timestamp = int64(binary.BigEndian.Uint64(at))
	r.Cursor.Interval = int(binary.BigEndian.Uint64(at[8:]))
	in := input{b: pair.Value}
	version := in.byte()
	r.Cursor.Slot, r.Height, r.Every = ao.Slot(in.uint(8)), in.uint(8), string(in.block())
	if in.short || version != tickVersion {
		return r, 0, fmt.Errorf("%w: a tick", errRecord)
	}
	raw := in.b
	if len(raw) == 0 {
		if raw, err = readFile(s, tickFile(process, r.Cursor.Tick), ao.MaxResult); err != nil {
			return r, 0, fmt.Errorf("%w: %w", errRecord, err)
		}
	}
	if r.Result, err = ao.DecodeResult(raw); err != nil {
		return r, 0, fmt.Errorf("%w: %w", errRecord, err)
	}
	return r, len(raw), nil
}

// keepTick adds a tick that the log implies to the chunk. What was answered before is left as it is.
func (p *worker) keepTick(r units.CronResult) error {
	if p.chunk.committed {
		p.chunk = chunk{}
	}
	u := p.unit
	if p.replay.cursor.Next < p.recorded {
		_, err := u.cfg.Store.Get(tickKey(p.id, r.Cursor.Tick))
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return storeFault("read tick", err)
		}
	}
	n, err := putTick(u.cfg.Store, &p.chunk.batch, p.id, r)
	if err != nil {
		return err
	}
	u.tally(func(c *Counters) { c.Ticks++ })
	// A long gap must not fill the memory, and its ticks stand whatever becomes of the slot behind it.
	if p.chunk.bytes += n; p.chunk.bytes >= chunkBytes {
		return p.commit()
	}
	return nil
}

// dropStaleTicks removes, with a slot that is new, ticks that were answered ahead of the log and which the slot came before: the
// scheduler's clock was slower than the margin allows for.
func (p *worker) dropStaleTicks() error {
	if len(p.replay.cron) == 0 || p.replay.cursor.Next <= p.recorded {
		return nil
	}
	after := tickKey(p.id, ao.AfterSlot(p.replay.times.latest))
	for {
		page, err := p.unit.cfg.Store.Scan(tickPrefix(p.id), after, tickPage)
		if err != nil {
			return storeFault("find stale ticks", err)
		}
		for _, pair := range page {
			p.chunk.batch.Delete(pair.Key)
			after = pair.Key
		}
		if len(page) > 0 {
			p.unit.cfg.Log.Warn("ticks were told that a later slot came before", "process", p.id, "ticks", len(page),
				"slot", uint64(p.replay.cursor.Next-1))
		}
		if len(page) < tickPage {
			return nil
		}
	}
}

// tickPage is small because the results come along, up to maxInline each.
const tickPage = 8

// ticks reads what there is after a place, as the door promises it, and says whether that is as much as may be given.
func (u *Unit) ticks(process ao.ID, from ao.Tick, limit int) (out []units.CronResult, full bool, err error) {
	after := ""
	if from.Timestamp > 0 {
		after = tickKey(process, from)
	}
	for size := 0; len(out) < limit && size < units.MaxCronBytes; {
		page, err := u.cfg.Store.Scan(tickPrefix(process), after, min(limit-len(out), tickPage))
		if err != nil {
			return nil, false, storeFault("read ticks", err)
		}
		if len(page) == 0 {
			return out, false, nil
		}
		for _, pair := range page {
			r, n, err := decodeTick(u.cfg.Store, process, pair)
			if err != nil {
				return nil, false, storeFault("read ticks", err)
			}
			out, after = append(out, r), pair.Key
			if size += n; size >= units.MaxCronBytes {
				break
			}
		}
	}
	return out, true, nil
}
