package remote

import (
	"context"

	"github.com/aopeer/aopeer/market"
)

// PlainCounts are what one plain job of a role is billed for at least: a result, a small message scheduled, a push. By it
// whoever only looks at the market compares offers.
func PlainCounts(r market.Role) (c market.Parts) {
	switch r {
	case market.Scheduler:
		c[market.SUMessage], c[market.SUKiB] = 1, 1
	case market.Computer:
		c = countsOfResult()
	case market.Messenger:
		c = countsOfPush()
	}
	return c
}

// maxLooked is how many sellers are measured for one look.
const maxLooked = 64

// Measure takes the round trip to sellers of a role that are not measured yet, so that a ranking made right after joining
// knows how far they are. What cannot be measured before ctx ends stays unknown.
func (m *Market) Measure(ctx context.Context, r market.Role) {
	var far []market.Offer
	offers := m.Offers(r)
	m.lock.Lock()
	for _, o := range offers {
		if _, done := m.timed[seat{r, o.Peer()}]; !done && o.Peer() != m.self && len(far) < maxLooked {
			far = append(far, o)
		}
	}
	m.lock.Unlock()
	m.ping(ctx, far)
}
