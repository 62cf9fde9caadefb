package ao

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// What a process asks for in these tags is implied by its log, and neither signed nor scheduled.
const (
	tagCronInterval = "Cron-Interval"
	tagCronTag      = "Cron-Tag-"
)

// The least and the most that an interval can be, in milliseconds, and the most blocks.
const (
	second      = int64(1000)
	maxInterval = 100 * 365 * 24 * 3600 * second
	maxBlocks   = math.MaxInt32
)

// Cron is when a process wakes by itself: its intervals in the order in which they tick at one moment, the shortest first and
// those in blocks last.
type Cron []CronInterval

// CronInterval is one Cron-Interval tag and the Cron-Tag-* tags that follow it. It counts time or blocks.
type CronInterval struct {
	Text   string // as the tag says it
	Every  int64  // milliseconds, whole seconds; 0 if it counts blocks
	Blocks uint64 // 0 if it counts time
	Tags   Tags   // of its messages
}

// Cron is what the process's tags ask for; none is no error. Errors: ErrTags.
func (p Process) Cron() (Cron, error) {
	var c Cron
	for _, t := range p.Tags() {
		if t.Name == tagCronInterval {
			v, err := parseInterval(t.Value)
			if err != nil {
				return nil, err
			}
			c = append(c, v)
		}
		name, ok := strings.CutPrefix(t.Name, tagCronTag)
		if !ok {
			continue
		}
		if len(c) == 0 || name == "" {
			return nil, fmt.Errorf("%w: %.48q follows no %s, or names no tag", ErrTags, t.Name, tagCronInterval)
		}
		last := &c[len(c)-1]
		last.Tags = append(last.Tags, Tag{Name: name, Value: t.Value})
	}
	slices.SortStableFunc(c, func(a, b CronInterval) int {
		return cmp.Or(cmp.Compare(a.Blocks, b.Blocks), cmp.Compare(a.Every, b.Every))
	})
	return c, nil
}

// InBlocks says whether one of the intervals counts blocks.
func (c Cron) InBlocks() bool {
	return slices.ContainsFunc(c, func(v CronInterval) bool { return v.Blocks > 0 })
}

// parseInterval reads "10-seconds", "1-hour", "5-blocks": a whole number and a unit, down to whole seconds.
func parseInterval(s string) (CronInterval, error) {
	bad := fmt.Errorf("%w: %s %.48q is no time such as 10-seconds, and no number of blocks", ErrTags, tagCronInterval, s)
	digits, unit, ok := strings.Cut(s, "-")
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 62)
	if !ok || err != nil {
		return CronInterval{}, bad
	}
	unit = strings.ToLower(strings.TrimSpace(unit))
	if unit == "block" || unit == "blocks" {
		if n == 0 || n > maxBlocks {
			return CronInterval{}, bad
		}
		return CronInterval{Text: s, Blocks: n}, nil
	}
	each := unitOf(unit)
	if each == 0 || n > uint64(maxInterval/each) {
		return CronInterval{}, bad
	}
	every := int64(n) * each / second * second
	if every == 0 {
		return CronInterval{}, fmt.Errorf("%w: %s %.48q is shorter than a second", ErrTags, tagCronInterval, s)
	}
	return CronInterval{Text: s, Every: every}, nil
}

// unitOf is a unit's milliseconds, 0 for none: those words that the reference takes.
func unitOf(unit string) int64 {
	const minute, hour, day = 60 * second, 3600 * second, 24 * 3600 * second
	switch unit {
	case "ms", "msec", "msecs", "millisecond", "milliseconds":
		return 1
	case "s", "sec", "secs", "second", "seconds":
		return second
	case "m", "min", "mins", "minute", "minutes":
		return minute
	case "h", "hr", "hrs", "hour", "hours":
		return hour
	case "d", "day", "days":
		return day
	case "w", "week", "weeks":
		return 7 * day
	case "y", "yr", "yrs", "year", "years":
		return 365*day + day/4
	}
	return 0
}

// Tick is one moment at which one interval of a process comes round.
type Tick struct {
	Timestamp int64 `json:"timestamp"` // milliseconds since 1970; a whole second unless it stands for a block
	Interval  int   `json:"interval"`  // its place in the process's Cron
}

// Compare orders ticks as they are evaluated.
func (t Tick) Compare(o Tick) int {
	return cmp.Or(cmp.Compare(t.Timestamp, o.Timestamp), cmp.Compare(t.Interval, o.Interval))
}

// AfterSlot stands behind every tick that comes before or with a slot of that timestamp.
func AfterSlot(timestamp int64) Tick { return Tick{Timestamp: timestamp, Interval: math.MaxInt} }

// Heights are what two slots of a log say of the blocks between them; the zero value says of none. When a block came is not
// in the log, and what a gateway says of it can change with the newest blocks. So blocks tick when the log first knows of
// them: right before the later slot, a millisecond apart, the last one with it.
type Heights struct {
	Origin   uint64 // of slot 0
	From, To uint64 // of the slot before and of the slot after
	At       int64  // timestamp of the slot after
}

// Of is the height of the block that a tick stands for.
func (h Heights) Of(t Tick) uint64 { return h.To - uint64(h.At-t.Timestamp) }

// Next is the first tick after a place, none if there are no intervals. An interval ticks whenever it has passed since the
// second in which the process got its slot 0, at origin, or since the block of that slot.
func (c Cron) Next(origin int64, h Heights, after Tick) (next Tick, ok bool) {
	origin -= origin % second
	for i, v := range c {
		var t Tick
		var fits bool
		if v.Blocks > 0 {
			t, fits = v.nextBlock(h, after, i)
		} else {
			t, fits = v.nextTime(origin, after, i)
		}
		if fits && (!ok || t.Compare(next) < 0) {
			next, ok = t, true
		}
	}
	return next, ok
}

func (v CronInterval) nextTime(origin int64, after Tick, i int) (Tick, bool) {
	rounds := int64(0)
	if after.Timestamp > origin {
		rounds = (after.Timestamp - origin) / v.Every
	}
	at := origin + rounds*v.Every
	if rounds > 0 && (Tick{Timestamp: at, Interval: i}).Compare(after) > 0 {
		return Tick{Timestamp: at, Interval: i}, true
	}
	return Tick{Timestamp: at + v.Every, Interval: i}, at <= math.MaxInt64-v.Every
}

func (v CronInterval) nextBlock(h Heights, after Tick, i int) (Tick, bool) {
	height := max(h.From, h.Origin) + 1
	if height > h.To || (Tick{Timestamp: h.At, Interval: i}).Compare(after) <= 0 {
		return Tick{}, false
	}
	earliest := after.Timestamp
	if i <= after.Interval {
		earliest++
	}
	if room := uint64(h.At) - uint64(earliest); room < h.To-height {
		height = h.To - room
	}
	rounds := (height - h.Origin + v.Blocks - 1) / v.Blocks
	if height = h.Origin + rounds*v.Blocks; height > h.To {
		return Tick{}, false
	}
	return Tick{Timestamp: h.At - int64(h.To-height), Interval: i}, true
}

// CronMessage is the message of a tick. Nobody signs it or gives it a slot. Its height is that of the block that it stands
// for, or else of the slot that it comes after.
type CronMessage struct {
	Process     ID
	Owner       string // who signed the process; whom the message is from as well
	Tags        Tags
	Timestamp   int64
	BlockHeight uint64
}

// CronMessage is what a tick of the process says.
func (p Process) CronMessage(v CronInterval, t Tick, height uint64) CronMessage {
	return CronMessage{Process: p.ID(), Owner: p.message.Owner(), Tags: v.Tags, Timestamp: t.Timestamp, BlockHeight: height}
}
