package remote

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// cronAnswer is how many results of ticks follow, each as a cronTick and its result.
type cronAnswer struct {
	Ticks *int `json:"ticks"`
}

type cronTick struct {
	units.CronCursor
	Every  string `json:"every"`
	Height uint64 `json:"height"`
	Parts  int    `json:"parts"` // frames that the result is cut into
}

// maxEvery bounds the text of an interval, which is a tag's value, in bytes.
const maxEvery = 64

// serveCron answers with results of ticks. Their slot is what a buyer names in its deal: those before it are not replayed
// for nothing.
func serveCron(ctx context.Context, from p2p.Peer, h computeRequest, st *p2p.Stream, c units.Computer, m *Market) error {
	deal, err := readDeal(st, h.Deal)
	if err != nil {
		return err
	}
	if h.After == nil || h.Limit < 1 {
		return ao.Refuse(verbCompute, ao.Malformed, "cron without a place or a limit")
	}
	leave, err := m.admit(ctx, from, work{
		role: market.Computer, process: h.Process, slot: h.Slot, question: h.Process, counts: countsOfResult(), deal: deal,
	})
	if err != nil {
		return err
	}
	results, err := c.Cron(ctx, h.Process, units.CronCursor{Tick: *h.After, Slot: h.Slot}, min(h.Limit, units.MaxCronPage))
	if err = leave(err); err != nil {
		return err
	}
	n := len(results)
	if err := writeHeader(st, cronAnswer{Ticks: &n}); err != nil {
		return err
	}
	for _, r := range results {
		b := r.Result.Encode()
		head, err := json.Marshal(cronTick{CronCursor: r.Cursor, Every: r.Every, Height: r.Height, Parts: partsOf(b)})
		if err != nil {
			return err
		}
		if err := writeParts(st, b, head); err != nil {
			return err
		}
	}
	return nil
}

func (c computerClient) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	limit = min(max(limit, 1), units.MaxCronPage)
	q := computeRequest{Op: "cron", Process: process, Slot: from.Slot, After: &from.Tick, Limit: limit, Deal: c.deal != nil}
	call, err := c.open(ctx, verbCompute, q, withDeal(c.deal)...)
	if err != nil {
		return nil, err
	}
	defer call.close()
	call.patience(computePatience)
	var h cronAnswer
	if err := call.header(&h); err != nil {
		return nil, short(verbCompute, err)
	}
	if h.Ticks == nil || *h.Ticks < 0 || *h.Ticks > limit {
		return nil, call.malformed("not between 0 and %d ticks, which were asked for", limit)
	}
	call.patience(time.Minute)
	var out []units.CronResult
	for size := 0; len(out) < *h.Ticks; {
		if size >= units.MaxCronBytes {
			return nil, call.malformed("more ticks after %d bytes", size)
		}
		r, n, err := call.cronResult(from)
		if err != nil {
			return nil, err
		}
		out, from, size = append(out, r), r.Cursor, size+n
	}
	return out, nil
}

// cronResult reads the result of the tick that follows a place.
func (c *call) cronResult(from units.CronCursor) (r units.CronResult, size int, err error) {
	var h cronTick
	if err := c.header(&h); err != nil {
		return r, 0, short(c.verb, err)
	}
	if h.Compare(from.Tick) <= 0 || h.Interval < 0 {
		return r, 0, c.malformed("a tick at %d, interval %d, does not follow", h.Timestamp, h.Interval)
	}
	r = units.CronResult{Cursor: h.CronCursor, Every: printable(h.Every, maxEvery), Height: h.Height}
	r.Result, size, err = c.parts(h.Parts)
	return r, size, err
}

// Cron buys one result's work, whatever the number of ticks: see Computer.
func (b *computerBuyer) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	if from.Slot > maxSlot {
		return nil, ao.Refuse(verbCompute, ao.Malformed, "a tick after slot %d", from.Slot)
	}
	m, t := b.market, b.market.taste(market.Computer)
	n := m.need(market.Computer, process, countsOfResult())
	n.Slot, n.Format = from.Slot, b.format
	leads, _, err := m.leads(ctx, &n, &t)
	if err != nil {
		if b.other != nil && isElse(m, n.Role, err) {
			out, err := b.other.Cron(ctx, process, from, limit)
			b.note(units.PeerOf(b.other), units.Bought{})
			return out, err
		}
		return nil, err
	}
	out, l, err := purchase(ctx, m, &n, &t, process, leads, func(ctx context.Context, l *lead, deal []byte) ([]units.CronResult, error) {
		return computerClient{client: client{node: m.node, to: l.to}, network: m.cfg.Network, deal: deal}.Cron(ctx, process, from, limit)
	})
	if err != nil {
		return nil, err
	}
	b.note(l.to.String(), l.bought())
	m.trade.keepWith(n.Role, process, l.unit())
	return out, nil
}

func (f *failover) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) (out []units.CronResult, err error) {
	err = f.each(ctx, func(c units.Computer) error {
		out, err = c.Cron(ctx, process, from, limit)
		return err
	})
	return out, err
}
