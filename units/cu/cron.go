package cu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
)

// maxAheads is how many processes have a copy of their state that has gone on by itself. Whoever comes back without one
// begins again at the log's head.
const maxAheads = 256

// errMoved says that the log went on while its process was evaluated ahead of it.
var errMoved = errors.New("the log went on meanwhile")

// Cron implements units.Computer. Results of ticks before the log's head are stored with its slots. The others are evaluated
// on a copy, and stored under the same keys: when the next slot comes the same ticks come out the same.
func (u *Unit) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	p, err := u.cfg.Directory.Process(ctx, process)
	if err != nil {
		return nil, refusal(fmt.Errorf("find process: %w", err))
	}
	if p.ID() != process {
		return nil, ao.Refuse(hop, ao.UnknownProcess, "the directory gave another one than %s", process)
	}
	cron, err := p.Cron()
	if err != nil {
		return nil, refusal(err)
	}
	if len(cron) == 0 {
		return nil, nil
	}
	if from.Interval < 0 {
		from.Tick = ao.AfterSlot(from.Timestamp - 1)
	}
	out, err := u.cron(ctx, process, from.Tick, min(max(limit, 1), units.MaxCronPage))
	if err != nil {
		u.checkStore(err)
		return nil, refusal(err)
	}
	return out, nil
}

func (u *Unit) cron(ctx context.Context, process ao.ID, from ao.Tick, limit int) ([]units.CronResult, error) {
	for always := false; ; {
		s, g, err := u.ahead(ctx, process, always)
		if err != nil {
			return nil, err
		}
		out, full, err := u.ticks(process, from, limit)
		if err != nil || full {
			return out, err
		}
		until := u.cfg.Now().Add(-units.CronMargin).UnixMilli()
		if err := u.resume(process, &g); err != nil {
			return nil, err
		}
		if _, due := g.next(until); !due {
			return out, nil
		}
		want := wanted{from: from, known: g.at, until: until, enough: limit - len(out)}
		switch done, err := u.goAhead(ctx, s, want); {
		case errors.Is(err, errMoved):
			always = false
		case err != nil:
			return nil, err
		case done:
			out, _, err = u.ticks(process, from, limit)
			return out, err
		default:
			always = true
		}
	}
}

// wanted is which ticks somebody waits for.
type wanted struct {
	from   ao.Tick // those after it
	known  ao.Tick // those up to it are stored
	until  int64   // those up to that time
	enough int     // as many
}

// ahead evaluates the process to its head; always, or if no copy stands there, the snapshot has an image.
func (u *Unit) ahead(ctx context.Context, process ao.ID, always bool) (snapshot, gap, error) {
	var s snapshot // of the visitor, as g is, who may come after the caller has left
	var g gap
	err := u.atHead(ctx, process, func(_ context.Context, p *worker) (err error) {
		r := p.replay
		s, g = snapshot{genesis: r.genesis, slot: r.cursor.Next - 1, last: r.last, gap: r.gap()}, r.gap()
		if always {
			s.image, err = r.state.Image()
		}
		return err
	})
	if err != nil {
		return snapshot{}, gap{}, err
	}
	return s, g, nil
}

// goAhead evaluates ticks after the snapshot's slot on a copy, and stores them, until enough are there or none is due; done is
// false if the copy stands elsewhere and the snapshot has no image. What is done stays done if ctx ends.
func (u *Unit) goAhead(ctx context.Context, s snapshot, w wanted) (done bool, err error) {
	r, err := u.aheads.borrow(ctx, s.genesis.Process.ID())
	if err != nil {
		return false, err
	}
	defer u.aheads.handBack(r)
	ctx, cancel := context.WithCancel(ctx) // the caller's patience and the unit's life
	defer cancel()
	defer context.AfterFunc(u.life, cancel)()
	if r.state == nil || r.slot != s.slot {
		if s.image == nil {
			return false, nil
		}
		if err := u.copyTo(ctx, r, s); err != nil {
			return false, err
		}
	}
	for w.enough > 0 {
		if _, due := r.gap.next(w.until); !due {
			break
		}
		var b store.Batch
		fault := u.someTicks(ctx, r, s.genesis.Process, &b, &w)
		if b.Len() > 0 {
			if err := u.keepAhead(r, &b); err != nil {
				r.close()
				return false, err
			}
		}
		if fault != nil {
			return false, fault
		}
	}
	return true, nil
}

// someTicks evaluates ticks until what they brought forth is to be stored. A dry-run can go in between any two.
func (u *Unit) someTicks(ctx context.Context, r *reader, p ao.Process, b *store.Batch, w *wanted) error {
	bytes := 0
	for w.enough > 0 && bytes < chunkBytes {
		t, due := r.gap.next(w.until)
		if !due {
			return nil
		}
		result, err := u.aheadTick(ctx, r, p, t)
		if err != nil {
			return err
		}
		if t.Compare(w.from) > 0 {
			w.enough--
		}
		if t.Compare(w.known) <= 0 {
			continue
		}
		n, err := putTick(u.cfg.Store, b, r.process, result)
		if err != nil {
			r.close()
			return err
		}
		bytes += n
		u.tally(func(c *Counters) { c.Ticks++ })
	}
	return nil
}

func (u *Unit) aheadTick(ctx context.Context, r *reader, p ao.Process, t ao.Tick) (units.CronResult, error) {
	if err := enter(ctx, u.reading); err != nil {
		return units.CronResult{}, err
	}
	defer func() { <-u.reading }()
	s, result, err := r.gap.tick(context.WithoutCancel(ctx), u.cfg.Machine, r.state, p, t)
	if r.state = s; err != nil {
		return units.CronResult{}, fmt.Errorf("tick after slot %d: %w", r.slot, err)
	}
	return result, nil
}

// keepAhead stores ticks, and how far the process has gone by itself with them, unless its log has gone on: it is the process's own
// goroutine that does it, so that nothing is left behind that a slot should have removed.
func (u *Unit) keepAhead(r *reader, b *store.Batch) error {
	b.Put(aheadKey(r.process), r.gap.encode())
	return u.do(u.life, r.process, &task{rest: true, visit: func(context.Context, *worker) error {
		next, err := readSlot(u.cfg.Store, nextKey(r.process))
		if err != nil {
			return err
		}
		if next != r.slot+1 {
			return errMoved
		}
		if err := u.cfg.Store.Commit(b); err != nil {
			return storeFault("store ticks", err)
		}
		return nil
	}})
}

func aheadKey(process ao.ID) string { return "cu/ahead/" + process.String() }

// encode is where the gap stands.
func (g *gap) encode() []byte {
	b := slotBytes(g.slot)
	for _, v := range []uint64{uint64(g.at.Timestamp), uint64(g.at.Interval), g.ticks, g.fuel, g.bytes} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

// resume moves a gap to where it was stored, if that was after the same slot.
func (u *Unit) resume(process ao.ID, g *gap) error {
	raw, err := u.cfg.Store.Get(aheadKey(process))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return storeFault("read how far the process is", err)
	}
	in := input{b: raw}
	if ao.Slot(in.uint(8)) != g.slot {
		return nil
	}
	at := ao.Tick{Timestamp: int64(in.uint(8)), Interval: int(in.uint(8))}
	ticks, fuel, bytes := in.uint(8), in.uint(8), in.uint(8)
	if in.short || len(in.b) != 0 {
		return nil
	}
	g.at, g.ticks, g.fuel, g.bytes = at, ticks, fuel, bytes
	return nil
}
