package gateway

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Bounds of a page of cron results.
const (
	defaultTicks = 500
	maxTicks     = units.MaxCronPage
)

// tickCursor is where the result of a tick stands: its interval's place among the process's, and its text, are its cron.
func tickCursor(t units.CronResult, order string) cursor {
	which := strconv.Itoa(t.Cursor.Interval) + "-" + t.Every
	return cursor{Timestamp: t.Cursor.Timestamp, Ordinate: t.Cursor.Slot.String(), Cron: &which, Sort: order}
}

// tick is the place of a bound among ticks: one that names none stands behind those of its time.
func (b bound) tick() units.CronCursor {
	if b.isAbsent {
		return units.CronCursor{}
	}
	if b.cron == "" {
		return units.CronCursor{Tick: ao.AfterSlot(b.time)}
	}
	return units.CronCursor{Tick: ao.Tick{Timestamp: b.time, Interval: b.interval}, Slot: b.slot}
}

// intervalOf is the place of an interval that a cursor's cron names.
func intervalOf(cron string) (int, bool) {
	place, _, _ := strings.Cut(cron, "-")
	n, err := strconv.ParseUint(place, 10, 16)
	return int(n), err == nil
}

// cron answers with results of a process's ticks.
func (g *Gateway) cron(w http.ResponseWriter, r *http.Request) error {
	l, err := listingOf(r, defaultTicks, maxTicks)
	if err != nil {
		return err
	}
	ctx, cancel := g.patience(r)
	defer cancel()
	all, err := g.ticks(ctx, l.process, l.from.tick(), l.to, l.limit+1)
	if err != nil {
		return g.busyAtHead(ctx, l.process, err)
	}
	out := resultPage{Edges: []resultEdge{}}
	for _, t := range all[:min(l.limit, len(all))] {
		out.Edges = append(out.Edges, edgeOf(t.Result, tickCursor(t, ascending)))
	}
	out.Info.HasNext = len(all) > l.limit
	return writeJSON(w, http.StatusOK, out)
}

// among are the results of ticks that may stand on a page of a list, one more than fit, in their order. A process that
// does not tick has none.
func (g *Gateway) among(ctx context.Context, l listing) (out []placed, err error) {
	p, err := g.cfg.Directory.Process(ctx, l.process)
	if err != nil {
		return nil, err
	}
	intervals, err := p.Cron()
	if err != nil || len(intervals) == 0 {
		return nil, nil
	}
	var ticks []units.CronResult
	if l.order == descending {
		ticks, err = g.lastTicks(ctx, l, intervals[0])
	} else {
		ticks, err = g.ticks(ctx, l.process, l.from.tick(), l.to, l.limit+1)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range ticks {
		c := tickCursor(t, l.order)
		at := bound{time: t.Cursor.Timestamp, slot: t.Cursor.Slot, hasSlot: true, cron: *c.Cron, interval: t.Cursor.Interval}
		out = append(out, placed{at, edgeOf(t.Result, c)})
	}
	return out, nil
}

// blockTime is about how long a block takes, in milliseconds.
const blockTime = 120_000

// lastTicks are the newest results of ticks that may stand on a page. A span of so many times the shortest interval holds
// enough of them; how often blocks come nobody knows, so the span grows until it does.
func (g *Gateway) lastTicks(ctx context.Context, l listing, shortest ao.CronInterval) ([]units.CronResult, error) {
	until, every := g.cfg.Now().UnixMilli(), shortest.Every
	if !l.to.isAbsent {
		until = min(until, l.to.time)
	}
	if shortest.Blocks > 0 {
		every = blockTime
	}
	for span := int64(l.limit+2)*every + units.CronMargin.Milliseconds(); ; span *= 8 {
		from, window := l.from.tick(), units.CronCursor{Tick: ao.AfterSlot(until - span)}
		whole := span >= until || from.Compare(window.Tick) >= 0
		if !whole {
			from = window
		}
		ticks, err := g.ticks(ctx, l.process, from, l.to, math.MaxInt)
		if err != nil {
			return nil, err
		}
		if whole || shortest.Blocks == 0 || len(ticks) > l.limit {
			return ticks[max(0, len(ticks)-l.limit-1):], nil
		}
	}
}

// ticks are the results of ticks after one bound and up to another, at most limit.
func (g *Gateway) ticks(ctx context.Context, process ao.ID, at units.CronCursor, to bound, limit int) (out []units.CronResult, err error) {
	for len(out) < limit {
		page, err := g.cfg.Computer.Cron(ctx, process, at, min(limit-len(out), units.MaxCronPage))
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return out, nil
		}
		for _, t := range page {
			if !to.isAbsent && t.Cursor.Compare(to.tick().Tick) > 0 {
				return out, nil
			}
			out = append(out, t)
		}
		at = page[len(page)-1].Cursor
	}
	return out, nil
}

// compare orders results of slots and of ticks: a tick comes before a slot of its time.
func (b bound) compare(o bound) int {
	return cmp.Or(cmp.Compare(b.time, o.time), b.tick().Compare(o.tick().Tick))
}

// merged puts the results of ticks among those of slots.
func merged(slots, ticks []placed) []placed {
	all := append(slices.Clone(slots), ticks...)
	slices.SortStableFunc(all, func(a, b placed) int { return a.at.compare(b.at) })
	return all
}

// placed is a result and where it stands.
type placed struct {
	at   bound
	edge resultEdge
}
