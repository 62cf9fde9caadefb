//go:build !linux

package bench

import "time"

// pace is a ticker.
type pace struct {
	first  <-chan time.Time
	ticker *time.Ticker
}

func newPace(first, every time.Duration) *pace {
	return &pace{first: time.After(first), ticker: time.NewTicker(every)}
}

func (p *pace) wait() {
	if p.first != nil {
		<-p.first
		p.first = nil
		return
	}
	<-p.ticker.C
}

func (p *pace) stop() { p.ticker.Stop() }
