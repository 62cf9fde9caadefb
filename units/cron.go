package units

import (
	"time"

	"github.com/aopeer/aopeer/ao"
)

// CronMargin is how old a tick after the head of a log must be to be evaluated: a slot that is scheduled later and lies
// before it, by a scheduler's clock that is slow, would change what it does.
const CronMargin = 5 * time.Second

// The most results of ticks that are given at once: that many, and none once those before it take as many encoded bytes.
const (
	MaxCronPage  = 1000
	MaxCronBytes = 8 << 20
)

// CronCursor is a place among a process's ticks: the tick orders them. The zero value stands before the first.
type CronCursor struct {
	ao.Tick
	Slot ao.Slot `json:"slot"` // the last one before the tick
}

// CronResult is what one tick brought forth.
type CronResult struct {
	Cursor CronCursor
	Every  string // its Cron-Interval
	Height uint64 // of the slot before it, or of the block that it stands for
	Result ao.Result
}
