package arweave

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pause spaces out attempts at something that keeps failing. Its times come from the caller's clock.
type pause struct {
	steps *backoff.ExponentialBackOff
	until time.Time
}

// failed notes a failure and returns how long to wait.
func (p *pause) failed(now time.Time) time.Duration {
	if p.steps == nil {
		p.steps = backoff.NewExponentialBackOff()
		p.steps.MaxInterval = pauseMost
	}
	wait := p.steps.NextBackOff()
	p.until = now.Add(wait)
	return wait
}

// wait puts the next attempt off without calling it a failure.
func (p *pause) wait(now time.Time, d time.Duration) {
	p.reset()
	p.until = now.Add(d)
}

func (p *pause) reset() { *p = pause{} }

// left is how long the pause still lasts; a clock set back does not stretch it beyond the longest pause.
func (p *pause) left(now time.Time) time.Duration { return max(p.until.Sub(now), 0) }
