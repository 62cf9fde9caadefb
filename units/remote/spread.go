package remote

import (
	"cmp"
	"slices"

	"github.com/aopeer/aopeer/market"
)

// maxBegun bounds what is noted of processes that were not served yet.
const maxBegun = 1024

// reliable is what must be expected of a unit, of 65536, for a process to be given to it because it has few of ours.
const reliable = 65536 * 8 / 10

// spread lets a process that no computer has begin with the one that has the fewest of ours, among those that ask the same:
// a process stays where it begins, and what a round trip takes below a quarter of a second matters less over its life than
// that no unit has them all.
func (m *Market) spread(n *market.Need, t *market.Taste, leads []lead) []lead {
	if n.Role != market.Computer || t.Strategy == market.Cheapest || t.Strategy == market.Fastest || !m.trade.keeper(n.Role, n.Process).IsZero() {
		return leads
	}
	same := 1
	for same < len(leads) && leads[same].price() == leads[0].price() && leads[same].quote.IsZero() == leads[0].quote.IsZero() {
		same++
	}
	m.trade.begin(keeping{n.Role, n.Process}, leads[:same])
	return leads
}

// begin puts the units that may begin with something in order and notes the first one: who asks about the same before it
// has been served is sent there too.
func (t *trade) begin(k keeping, leads []lead) {
	t.lock.Lock()
	defer t.lock.Unlock()
	first, held := t.begun[k], map[market.Peer]uint64{}
	for _, of := range []map[keeping]market.Peer{t.kept, t.begun} {
		for other, unit := range of {
			if other.role == k.role && other != k {
				held[unit]++
			}
		}
	}
	weight := func(l lead) uint64 {
		switch {
		case l.choice.Success < reliable:
			return 1 << 62
		case l.unit() == first:
			return 0
		}
		return max(l.choice.Latency, unmeasured) * (1 + held[l.unit()])
	}
	slices.SortStableFunc(leads, func(a, b lead) int { return cmp.Compare(weight(a), weight(b)) })
	if len(t.begun) >= maxBegun {
		clear(t.begun)
	}
	t.begun[k] = leads[0].unit()
}
