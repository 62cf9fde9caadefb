package ao

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrCronBlocks says that a process wants to be woken by blocks, which is not done: what they are is not in its log.
var ErrCronBlocks = errors.New("a Cron-Interval that counts blocks is not evaluated")

// What a process asks for in these tags is implied by its log, and neither signed nor scheduled.
const (
	tagCronInterval = "Cron-Interval"
	tagCronTag      = "Cron-Tag-"
)

// The least and the most that an interval can be, in milliseconds.
const (
	second      = int64(1000)
	maxInterval = 100 * 365 * 24 * 3600 * second
)

// Cron is when a process wakes by itself: its intervals in the order in which they tick at one moment, the shortest first.
type Cron []CronInterval

// CronInterval is one Cron-Interval tag and the Cron-Tag-* tags that follow it.
type CronInterval struct {
	Text  string // as the tag says it
	Every int64  // milliseconds; whole seconds
	Tags  Tags   // of its messages
}

// Cron is what the process's tags ask for; none is no error. Errors: ErrTags, ErrCronBlocks.
func (p Process) Cron() (Cron, error) {
	var c Cron
	for _, t := range p.Tags() {
		if t.Name == tagCronInterval {
			every, err := parseInterval(t.Value)
			if err != nil {
				return nil, err
			}
			c = append(c, CronInterval{Text: t.Value, Every: every})
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
	slices.SortStableFunc(c, func(a, b CronInterval) int { return cmp.Compare(a.Every, b.Every) })
	return c, nil
}

// parseInterval reads "10-seconds", "1-hour": a whole number and a unit, down to whole seconds.
func parseInterval(s string) (int64, error) {
	bad := fmt.Errorf("%w: %s %.48q is not a time such as 10-seconds", ErrTags, tagCronInterval, s)
	digits, unit, ok := strings.Cut(s, "-")
	n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 62)
	if !ok || err != nil {
		return 0, bad
	}
	unit = strings.ToLower(strings.TrimSpace(unit))
	if unit == "block" || unit == "blocks" {
		return 0, ErrCronBlocks
	}
	each := unitOf(unit)
	if each == 0 || n > uint64(maxInterval/each) {
		return 0, bad
	}
	every := int64(n) * each / second * second
	if every == 0 {
		return 0, fmt.Errorf("%w: %s %.48q is shorter than a second", ErrTags, tagCronInterval, s)
	}
	return every, nil
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
	Timestamp int64 `json:"timestamp"` // milliseconds since 1970, a whole second
	Interval  int   `json:"interval"`  // its place in the process's Cron
}

// Compare orders ticks as they are evaluated.
func (t Tick) Compare(o Tick) int {
	return cmp.Or(cmp.Compare(t.Timestamp, o.Timestamp), cmp.Compare(t.Interval, o.Interval))
}

// AfterSlot stands behind every tick that comes before or with a slot of that timestamp.
func AfterSlot(timestamp int64) Tick { return Tick{Timestamp: timestamp, Interval: math.MaxInt} }

// Next is the first tick after a place, none if there are no intervals. An interval ticks whenever it has passed since the
// second in which the process got its slot 0, at origin.
func (c Cron) Next(origin int64, after Tick) (next Tick, ok bool) {
	origin -= origin % second
	for i, interval := range c {
		t, fits := interval.next(origin, after, i)
		if fits && (!ok || t.Compare(next) < 0) {
			next, ok = t, true
		}
	}
	return next, ok
}

func (v CronInterval) next(origin int64, after Tick, i int) (Tick, bool) {
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

// CronMessage is the message of a tick. Nobody signs it or gives it a slot: it comes after the slot whose height it names.
type CronMessage struct {
	Process     ID
	Owner       string // who signed the process; whom the message is from as well
	Tags        Tags
	Timestamp   int64
	BlockHeight uint64
}

// CronMessage is what a tick of the process says after a slot of that height.
func (p Process) CronMessage(v CronInterval, t Tick, height uint64) CronMessage {
	return CronMessage{Process: p.ID(), Owner: p.message.Owner(), Tags: v.Tags, Timestamp: t.Timestamp, BlockHeight: height}
}
