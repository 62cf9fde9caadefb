package remote

import (
	"testing"

	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/unitstest"
)

// TestProcessesBeginWhereFewAre: of units that ask the same, the one with the fewest processes of ours gets the next, also
// while none of them has been served; what is dear, or fails, does not get it for being idle.
func TestProcessesBeginWhereFewAre(t *testing.T) {
	b := newBazaar(t)
	need := func(process string) *market.Need {
		n := b.need(market.Computer, unitstest.ID(process), market.Parts{market.CUBase: 1})
		return &n
	}
	taste := market.DefaultTaste(1000)
	leadOf := func(name string, price, latency, success uint64) lead {
		m := b.seller(t, name, market.Computer, shopOf(price))
		o, _ := m.Offer(m.Self(), market.Computer)
		return lead{choice: market.Choice{Offer: o, Price: price, Latency: latency, Success: success}}
	}
	near, far := leadOf("near", 0, 1_000, 65536), leadOf("far", 0, 100_000, 65536)
	dear, bad := leadOf("dear", 3, 1_000, 65536), leadOf("bad", 0, 1_000, 65536/2)
	first := func(process string) market.Peer {
		return b.spread(need(process), &taste, []lead{near, far, bad, dear})[0].unit()
	}
	for i, want := range []lead{near, far, near, far} {
		if got := first(string(rune('a' + i))); got != want.unit() {
			t.Errorf("process %d begins with %s, want %s", i, got, want.unit())
		}
	}
	if got := first("b"); got != far.unit() {
		t.Errorf("asked again about a process that is under way: %s", got)
	}
	b.trade.leave(market.Computer, unitstest.ID("b"), far.unit())
	b.trade.leave(market.Computer, unitstest.ID("d"), far.unit())
	if got := first("e"); got != far.unit() {
		t.Errorf("the one without processes is passed over for %s", got)
	}
	b.trade.keepWith(market.Computer, unitstest.ID("x"), far.unit())
	in := []lead{near, far}
	if got := b.spread(need("x"), &taste, in)[0].unit(); got != near.unit() {
		t.Errorf("a process that has a computer is given to another: %s", got)
	}
}
