package cu

import (
	"context"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/wasmvm"
)

// The most that a process does by itself between two slots, so that none can keep a unit busy for ever: it rests after the
// tick that reaches one of these, until its next slot. What it does must not depend on who looks when, so the first ticks
// count, and the bounds are part of the execution profile.
const (
	maxTicks     = 100_000
	maxTickFuel  = 1_000_000_000_000
	maxTickBytes = 64 << 20 // of encoded results
)

// gap is the time after a slot, up to the next one or to now, in which a process ticks.
type gap struct {
	cron   ao.Cron
	origin int64      // timestamp of slot 0
	slot   ao.Slot    // what it follows
	height uint64     // of that slot
	blocks ao.Heights // up to the slot that comes after it, if that is known
	at     ao.Tick    // where it stands

	ticks, fuel, bytes uint64 // so far
}

// next is the first tick that is not done, at that time at the latest.
func (g *gap) next(until int64) (ao.Tick, bool) {
	if g.ticks >= maxTicks || g.fuel >= maxTickFuel || g.bytes >= maxTickBytes {
		return ao.Tick{}, false
	}
	t, ok := g.cron.Next(g.origin, g.blocks, g.at)
	return t, ok && t.Timestamp <= until
}

// tick evaluates that one. After an error the state is gone.
func (g *gap) tick(ctx context.Context, m wasmvm.Machine, s wasmvm.State, p ao.Process, t ao.Tick) (wasmvm.State, units.CronResult, error) {
	v, height := g.cron[t.Interval], g.height
	if v.Blocks > 0 {
		height = g.blocks.Of(t)
	}
	s, r, err := m.Tick(ctx, s, p.CronMessage(v, t, height))
	if err != nil {
		return nil, units.CronResult{}, err
	}
	g.at, g.ticks, g.fuel, g.bytes = t, g.ticks+1, g.fuel+r.GasUsed, g.bytes+uint64(len(r.Encode()))
	return s, units.CronResult{Cursor: units.CronCursor{Tick: t, Slot: g.slot}, Every: v.Text, Height: height, Result: r}, nil
}
