package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// clock is a time that tests move.
type clock struct {
	lock sync.Mutex
	at   time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.at = c.at.Add(d)
}

// shopOf sells computing at a base price.
func shopOf(price uint64) Shop {
	return Shop{
		Terms:   market.Terms{Formats: []string{"wasm"}, Capacity: 4},
		Pricing: market.Pricing{Prices: market.Parts{market.CUBase: price}},
	}
}

// newMarket is a market on a node; it does not run.
func newMarket(t testing.TB, n *p2p.Node, name string, change ...func(*MarketConfig)) *Market {
	t.Helper()
	cfg := MarketConfig{Network: network, Node: n, Signer: ans104.NewEd25519Signer(keyOf(name)), Store: store.NewMemory(), Seed: 7}
	for _, c := range change {
		c(&cfg)
	}
	m, err := NewMarket(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// running runs a market until the returned function is called, or the test ends.
func running(t testing.TB, m *Market) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("market ended with %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func selling(r market.Role, s Shop) func(*MarketConfig) {
	return func(c *MarketConfig) { c.Shops = map[market.Role]Shop{r: s} }
}

// offerBy is a computer's offer of that name, sequence and expiry relative to now.
func offerBy(t testing.TB, name string, now time.Time, change ...func(*market.Terms)) market.Offer {
	t.Helper()
	tm := market.Terms{
		Network: network, Role: market.Computer, Sequence: now.UnixMilli(), Expires: now.Add(10 * time.Minute).UnixMilli(),
		Prices: market.Parts{market.CUBase: 5}, Formats: []string{"wasm"}, Capacity: 4, Addrs: []string{"/ip4/192.0.2.1/tcp/4001"},
	}
	for _, c := range change {
		c(&tm)
	}
	o, err := market.SignOffer(ans104.NewEd25519Signer(keyOf(name)), tm)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func peerOf(name string) market.Peer {
	return market.PeerOf(ans104.NewEd25519Signer(keyOf(name)).Owner())
}

func needOf() *market.Need {
	return &market.Need{Network: network, Role: market.Computer, Format: "wasm", Counts: market.Parts{market.CUBase: 1}}
}

// TestOffersReachBuyers: an offer and a change of its price reach a peer by gossip, and the buyer ranks it; who joins later
// hears of it from neighbours.
func TestOffersReachBuyers(t *testing.T) {
	server, client := pair(t)
	seller, buyer := newMarket(t, server, "server", selling(market.Computer, shopOf(5))), newMarket(t, client, "client")
	running(t, seller)
	running(t, buyer)
	price := func(m *Market) uint64 {
		o, ok := m.Offer(peerOf("server"), market.Computer)
		if !ok {
			return 0
		}
		return o.Terms().Prices[market.CUBase]
	}
	until(t, "the offer", func() bool { return price(buyer) == 5 })
	if err := seller.Reprice(market.Computer, market.Pricing{Prices: market.Parts{market.CUBase: 9}}); err != nil {
		t.Fatal(err)
	}
	until(t, "the new price", func() bool { return price(buyer) == 9 })
	taste := market.DefaultTaste(100)
	choices := buyer.Rank(needOf(), &taste, 3)
	if len(choices) != 1 || choices[0].Offer.Peer() != peerOf("server") || choices[0].Price != 9 {
		t.Fatalf("choices %v", choices)
	}
	if id, err := PeerIDOf(choices[0].Offer); err != nil || id != server.ID() {
		t.Errorf("the seller is %s, %v", id, err)
	}
	if got := seller.Rank(needOf(), &taste, 3); len(got) != 0 {
		t.Error("a seller chose itself")
	}
	if s := seller.Status(); len(s.Own) != 1 || s.Own[0].Prices[market.CUBase] != 9 || s.Offers["cu"] != 0 {
		t.Errorf("status of the seller: %+v", s)
	}
	late, _ := node(t, "late")
	connect(t, late, client)
	newcomer := newMarket(t, late, "late")
	running(t, newcomer)
	until(t, "the snapshot", func() bool { return price(newcomer) == 9 })
	if s := newcomer.Status(); s.Offers["cu"] != 1 {
		t.Errorf("status of the newcomer: %+v", s)
	}
}

// TestSnapshotSendsWhatIsMissing: who names what it has gets the rest, bounded.
func TestSnapshotSendsWhatIsMissing(t *testing.T) {
	server, _ := pair(t)
	m := newMarket(t, server, "server")
	var have []byte
	for i := range 10 {
		o := offerBy(t, fmt.Sprint("unit-", i), time.Now())
		if err := m.add(o); err != nil {
			t.Fatal(err)
		}
		if i < 7 {
			mark := markOf(o)
			have = append(have, mark[:]...)
		}
	}
	if n := len(m.snapshot(nil)); n != 10 {
		t.Errorf("%d offers, want 10", n)
	}
	if n := len(m.snapshot(have)); n != 3 {
		t.Errorf("%d offers beside those known, want 3", n)
	}
	if n := len(m.snapshot(append(have, 1, 2, 3))); n != 3 {
		t.Errorf("%d offers after a cut mark, want 3", n)
	}
}

// TestSequenceRises over restarts and clocks that go back: a number is on disk before anybody hears of it.
func TestSequenceRises(t *testing.T) {
	server, stop := node(t, "server")
	st, c := memory(t), newClock()
	open := func(n *p2p.Node) *Market {
		return newMarket(t, n, "server", selling(market.Computer, shopOf(5)), func(cfg *MarketConfig) { cfg.Store, cfg.Now = st, c.now })
	}
	offer := func(m *Market) int64 {
		if err := m.announce(t.Context(), m.due()); err != nil {
			t.Fatal(err)
		}
		o, ok := m.Offer(m.Self(), market.Computer)
		if !ok {
			t.Fatal("no offer")
		}
		return o.Terms().Sequence
	}
	first := offer(open(server))
	stop()
	c.add(-time.Minute)
	again, _ := node(t, "server")
	m := open(again)
	if second := offer(m); second <= first {
		t.Errorf("sequence %d after %d", second, first)
	}
	if n := len(m.due()); n != 0 {
		t.Errorf("%d offers due although the last one is new", n)
	}
}

// TestRestartRanksAtOnce: offers and scores outlive a restart; what expired does not.
func TestRestartRanksAtOnce(t *testing.T) {
	n, stop := node(t, "server")
	st, c := memory(t), newClock()
	keeping := func(cfg *MarketConfig) { cfg.Store, cfg.Now = st, c.now }
	m := newMarket(t, n, "server", keeping)
	for i := range 5 {
		if err := m.add(offerBy(t, fmt.Sprint("unit-", i), c.now())); err != nil {
			t.Fatal(err)
		}
	}
	m.Begin(peerOf("unit-1"), market.Computer)
	m.End(peerOf("unit-1"), market.Computer, market.Wrong, 10, 1000)
	if err := m.save(3); err != nil {
		t.Fatal(err)
	}
	if err := m.save(3); err != nil {
		t.Fatal(err)
	}
	stop()
	n, stop = node(t, "server")
	m = newMarket(t, n, "server", keeping)
	if got := len(m.Offers(market.Computer)); got != 5 {
		t.Errorf("%d offers after a restart, want 5", got)
	}
	taste := market.DefaultTaste(100)
	for _, l := range m.Explain(needOf(), &taste, 3) {
		if isWrong := l.Peer == peerOf("unit-1"); isWrong != (l.Reason == market.Shunned) {
			t.Errorf("%s: %s", l.Peer, l.Reason)
		}
	}
	c.add(time.Hour)
	m.sweep()
	if err := m.save(100); err != nil {
		t.Fatal(err)
	}
	pairs, err := st.Scan(keyOffer, "", 0)
	if err != nil || len(pairs) != 0 {
		t.Errorf("%d expired offers in the store, %v", len(pairs), err)
	}
	stop()
}

// TestClosedIsForgotten: that a unit sells nothing any more does not outlive a restart of whoever heard it, so that nobody
// learns it from him when the unit is back.
func TestClosedIsForgotten(t *testing.T) {
	n, stop := node(t, "server")
	st, c := memory(t), newClock()
	keeping := func(cfg *MarketConfig) { cfg.Store, cfg.Now = st, c.now }
	m := newMarket(t, n, "server", keeping)
	isOpen := func(tm *market.Terms) { tm.Capacity = 1 }
	isShut := func(tm *market.Terms) { tm.Capacity = 0 }
	for name, change := range map[string]func(*market.Terms){"open": isOpen, "shut": isShut} {
		if err := m.add(offerBy(t, name, c.now(), change)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.save(100); err != nil {
		t.Fatal(err)
	}
	stop()
	n, _ = node(t, "server")
	if got := newMarket(t, n, "server", keeping).Offers(market.Computer); len(got) != 1 || got[0].Peer() != peerOf("open") {
		t.Errorf("%d offers after a restart", len(got))
	}
}

// TestEvidenceOutlivesARestart, and stands in the status once.
func TestEvidenceOutlivesARestart(t *testing.T) {
	n, stop := node(t, "server")
	st, c := memory(t), newClock()
	keeping := func(cfg *MarketConfig) { cfg.Store, cfg.Now = st, c.now }
	m := newMarket(t, n, "server", keeping)
	for _, region := range []string{"eu", "us"} {
		m.judge(market.Computer, "neighbour", offerBy(t, "cheat", c.now(), func(tm *market.Terms) { tm.Region = region }).Raw())
	}
	for range 2 {
		if err := m.save(10); err != nil {
			t.Fatal(err)
		}
	}
	before := m.Status().Evidence
	stop()
	n, _ = node(t, "server")
	after := newMarket(t, n, "server", keeping).Status().Evidence
	if len(before) != 1 || !slices.Equal(before, after) || after[0].Unit != peerOf("cheat") {
		t.Errorf("evidence %+v, before the restart %+v", after, before)
	}
}

// TestWhoStopsSaysSo: a peer that ends sells nothing any more, and buyers know.
func TestWhoStopsSaysSo(t *testing.T) {
	server, client := pair(t)
	seller, buyer := newMarket(t, server, "server", selling(market.Computer, shopOf(5))), newMarket(t, client, "client")
	stop := running(t, seller)
	running(t, buyer)
	capacity := func() (uint32, bool) {
		o, ok := buyer.Offer(peerOf("server"), market.Computer)
		if !ok {
			return 0, false
		}
		return o.Terms().Capacity, true
	}
	until(t, "the offer", func() bool { c, ok := capacity(); return ok && c == 4 })
	until(t, "somebody to hear it", func() bool {
		seller.lock.Lock()
		defer seller.lock.Unlock()
		return seller.stalls[market.Computer].heard
	})
	stop()
	until(t, "the end of it", func() bool { c, ok := capacity(); return ok && c == 0 })
}

// TestStoreTrouble: what cannot be written down is not announced, and is once it can.
func TestStoreTrouble(t *testing.T) {
	n, _ := node(t, "server")
	st := store.NewMemory()
	m := newMarket(t, n, "server", selling(market.Computer, shopOf(5)), func(c *MarketConfig) { c.Store = st })
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.announce(t.Context(), m.due()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("announced with %v", err)
	}
	if _, ok := m.Offer(m.Self(), market.Computer); ok {
		t.Error("an offer that is not on disk is shown")
	}
	if len(m.due()) != 1 {
		t.Error("the offer is not tried again")
	}
}

// TestVerdicts: what the sender answers for is rejected, all else ignored; each is counted under its reason.
func TestVerdicts(t *testing.T) {
	n, _ := node(t, "server")
	c := newClock()
	m := newMarket(t, n, "server", func(cfg *MarketConfig) { cfg.Now = c.now })
	now := c.now()
	at := func(d time.Duration) func(*market.Terms) {
		return func(tm *market.Terms) { tm.Sequence = now.Add(d).UnixMilli() }
	}
	known := offerBy(t, "known", now)
	forged := bytes.Clone(offerBy(t, "forged", now).Raw())
	forged[10] ^= 1
	if v := m.judge(market.Computer, "neighbour", known.Raw()); v != p2p.Accept {
		t.Fatalf("a sound offer got verdict %d", v)
	}
	// An absurd price cannot be signed by our own code, so a sound offer's is overwritten and the item signed again.
	absurd := resigned(t, "absurd", offerBy(t, "absurd", now), `"base":"5"`, `"base":"9223372036854775808"`)
	huge := resigned(t, "huge", offerBy(t, "huge", now), `"base":"5"`, `"base":"1`+strings.Repeat("0", 77)+`"`)
	negative := resigned(t, "negative", offerBy(t, "negative", now), `"base":"5"`, `"base":"-5"`)
	for name, x := range map[string]struct {
		raw     []byte
		verdict p2p.Verdict
		reason  market.Reason
	}{
		"replayed":        {known.Raw(), p2p.Ignore, market.Known},
		"rolled back":     {offerBy(t, "known", now, at(-time.Minute)).Raw(), p2p.Ignore, market.RolledBack},
		"too soon":        {offerBy(t, "known", now, at(300*time.Millisecond)).Raw(), p2p.Ignore, market.TooSoon},
		"equivocated":     {offerBy(t, "known", now, func(tm *market.Terms) { tm.Region = "eu" }).Raw(), p2p.Ignore, market.Equivocated},
		"forged":          {forged, p2p.Reject, market.BadSignature},
		"garbage":         {[]byte("garbage"), p2p.Reject, market.BadShape},
		"nothing":         {nil, p2p.Reject, market.BadShape},
		"oversized":       {slices.Concat(known.Raw(), make([]byte, market.MaxOffer)), p2p.Reject, market.TooLarge},
		"absurd price":    {absurd, p2p.Reject, market.Absurd},
		"price of 10^77":  {huge, p2p.Reject, market.Absurd},
		"negative price":  {negative, p2p.Reject, market.Absurd},
		"another network": {offerBy(t, "o", now, func(tm *market.Terms) { tm.Network = "other" }).Raw(), p2p.Reject, market.OtherNetwork},
		"another role":    {offerBy(t, "r", now, func(tm *market.Terms) { tm.Role, tm.Prices = market.Messenger, market.Parts{} }).Raw(), p2p.Ignore, market.WrongRole},
		"stale":           {offerBy(t, "s", now.Add(-20*time.Minute)).Raw(), p2p.Ignore, market.Expired},
		"from the future": {offerBy(t, "f", now.Add(10*time.Minute)).Raw(), p2p.Ignore, market.FromFuture},
	} {
		t.Run(name, func(t *testing.T) {
			before := m.Status().Refused[x.reason]
			if v := m.judge(market.Computer, "neighbour", x.raw); v != x.verdict {
				t.Errorf("verdict %d, want %d", v, x.verdict)
			}
			if after := m.Status().Refused[x.reason]; after != before+1 {
				t.Errorf("%s: counted %d times, want 1: %v", x.reason, after-before, m.Status().Refused)
			}
		})
	}
	if e := m.Status().Evidence; len(e) != 1 || e[0].Unit != peerOf("known") || e[0].Offers[0] == e[0].Offers[1] {
		t.Errorf("evidence %+v", e)
	}
	if v := m.judge(market.Computer, n.ID(), []byte("own")); v != p2p.Accept {
		t.Error("the own validator keeps what this peer publishes at home")
	}
}

// TestTwin: a second instance with the same key is noticed, what an earlier run of this one said is not one.
func TestTwin(t *testing.T) {
	n, _ := node(t, "server")
	c := newClock()
	m := newMarket(t, n, "server", selling(market.Computer, shopOf(5)), func(cfg *MarketConfig) { cfg.Now = c.now })
	c.add(time.Minute)
	if err := m.announce(t.Context(), m.due()); err != nil {
		t.Fatal(err)
	}
	own, _ := m.Offer(m.Self(), market.Computer)
	for _, o := range []market.Offer{own, offerBy(t, "server", c.now().Add(-10*time.Minute))} {
		if v := m.judge(market.Computer, "neighbour", o.Raw()); v != p2p.Ignore || m.Status().Twins != 0 {
			t.Errorf("verdict %d on our own words, %d twins", v, m.Status().Twins)
		}
	}
	m.judge(market.Computer, "neighbour", offerBy(t, "server", c.now()).Raw())                  // the same millisecond
	m.judge(market.Computer, "neighbour", offerBy(t, "server", c.now().Add(time.Second)).Raw()) // later
	if got := m.Status().Twins; got != 2 {
		t.Errorf("%d twins, want 2", got)
	}
	if o, _ := m.Offer(m.Self(), market.Computer); o.ID() != own.ID() {
		t.Error("the twin's offer took the place of our own")
	}
}

// TestWhenOffersAreDue: at first, when asked, when renewed, when somebody comes to hear it, and for changes that matter,
// as long as there are not too many.
func TestWhenOffersAreDue(t *testing.T) {
	sign := func(seq int64, price uint64) market.Offer {
		return offerBy(t, "server", time.UnixMilli(seq), func(tm *market.Terms) { tm.Prices[market.CUBase] = price })
	}
	const start = 1_700_000_000_000
	fresh := func() *stall {
		return &stall{offer: sign(start, 100), renew: start + 500_000, heard: true, counted: start, credit: changeSaved}
	}
	terms := func(price uint64) *market.Terms {
		tm := sign(start, price).Terms()
		return &tm
	}
	for name, x := range map[string]struct {
		change func(s *stall, tm *market.Terms)
		after  int64
		due    bool
	}{
		"nothing":              {func(*stall, *market.Terms) {}, 60_000, false},
		"the first":            {func(s *stall, _ *market.Terms) { s.offer = market.Offer{} }, 0, true},
		"asked":                {func(s *stall, _ *market.Terms) { s.asked = true }, hastyGap, true},
		"asked hastily":        {func(s *stall, _ *market.Terms) { s.asked = true }, hastyGap - 1, false},
		"old":                  {func(*stall, *market.Terms) {}, 500_000, true},
		"nobody heard":         {func(s *stall, _ *market.Terms) { s.heard = false }, hastyGap, true},
		"a price rose":         {func(_ *stall, tm *market.Terms) { tm.Prices[0] = 106 }, announceGap, true},
		"a price rose, early":  {func(_ *stall, tm *market.Terms) { tm.Prices[0] = 106 }, announceGap - 1, false},
		"a price hardly rose":  {func(_ *stall, tm *market.Terms) { tm.Prices[0] = 105 }, announceGap, false},
		"now it is free":       {func(_ *stall, tm *market.Terms) { tm.Prices[0] = 0 }, announceGap, true},
		"closed":               {func(_ *stall, tm *market.Terms) { tm.Capacity = 0 }, announceGap, true},
		"a little less room":   {func(_ *stall, tm *market.Terms) { tm.Capacity = 3 }, announceGap, false},
		"moved":                {func(_ *stall, tm *market.Terms) { tm.Addrs = nil }, announceGap, true},
		"moves all the time":   {func(s *stall, tm *market.Terms) { s.credit, tm.Addrs = 0, nil }, announceGap, false},
		"the clock went back":  {func(_ *stall, tm *market.Terms) { tm.Addrs = nil }, -60_000, false},
		"went back, and asked": {func(s *stall, _ *market.Terms) { s.asked = true }, -60_000, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, tm := fresh(), terms(100)
			x.change(s, tm)
			if got := s.isDue(tm, start+x.after, 1); got != x.due {
				t.Errorf("due %v, want %v", got, x.due)
			}
		})
	}
	// A price that never rests is announced as often as saved up for, then twice a minute.
	s, said := fresh(), 0
	s.renew = math.MaxInt64
	prices := []*market.Terms{terms(100), terms(150)}
	for now := int64(start); now < start+10*60_000; now += 500 {
		if s.isDue(prices[now/500%2], now, 1) {
			said++
		}
	}
	if said < 20 || said > 26 {
		t.Errorf("announced %d times in ten minutes, want about 26", said)
	}
}

// TestLoadMovesPrices: who is loaded announces a higher price and its capacity.
func TestLoadMovesPrices(t *testing.T) {
	n, _ := node(t, "server")
	c := newClock()
	shop := shopOf(1000)
	shop.Pricing = market.FollowLoad(shop.Pricing.Prices)
	shop.Load = func() (uint64, uint64) { return 64, 8 }
	m := newMarket(t, n, "server", selling(market.Computer, shop), func(cfg *MarketConfig) { cfg.Now = c.now })
	for range 60 {
		m.follow()
		if err := m.announce(t.Context(), m.due()); err != nil {
			t.Fatal(err)
		}
		c.add(stepEvery * time.Millisecond)
	}
	o, ok := m.Offer(m.Self(), market.Computer)
	if got := o.Terms(); !ok || got.Prices[market.CUBase] != 4000 || got.Capacity != 8 {
		t.Errorf("offers %d at a capacity of %d, want 4000 and 8", got.Prices[market.CUBase], got.Capacity)
	}
}

// TestRoundTripsAreMeasured: a seller that ranks high and is not connected is measured all the same.
func TestRoundTripsAreMeasured(t *testing.T) {
	server, _ := node(t, "server")
	client, _ := node(t, "client")
	seller, buyer := newMarket(t, server, "server", selling(market.Computer, shopOf(5))), newMarket(t, client, "client")
	if err := seller.announce(t.Context(), seller.due()); err != nil {
		t.Fatal(err)
	}
	o, _ := seller.Offer(seller.Self(), market.Computer)
	if err := buyer.add(o); err != nil {
		t.Fatal(err)
	}
	taste := market.DefaultTaste(100)
	latency := func() uint64 { return buyer.Rank(needOf(), &taste, 1)[0].Latency }
	unknown := latency()
	buyer.measureOnce(t.Context())
	if got := latency(); got == unknown || got == 0 {
		t.Errorf("the latency is %d us, before it was %d", got, unknown)
	}
	if len(buyer.wanted) != 0 {
		t.Error("it is measured again at once")
	}
	buyer.End(seller.Self(), market.Computer, market.Served, 1, 777)
	buyer.measureOnce(t.Context())
	if got := latency(); got != 777 {
		t.Errorf("after it served in 777 us its latency is %d", got)
	}
}

// TestColdStart: a newcomer whose neighbours know nothing of the market finds a seller through the DHT.
func TestColdStart(t *testing.T) {
	middle, _ := node(t, "middle")
	server, _ := node(t, "server")
	connect(t, server, middle)
	seller := newMarket(t, server, "server", selling(market.Computer, shopOf(5)))
	running(t, seller)
	key := offerKey(market.Computer, "wasm", seller.self[0]%offerBuckets)
	until(t, "the provider", func() bool {
		found, err := middle.FindProviders(t.Context(), key, 1)
		return err == nil && len(found) == 1
	})
	late, _ := node(t, "late")
	connect(t, late, middle)
	newcomer := newMarket(t, late, "late")
	all := make([]int, offerBuckets)
	for i := range all {
		all[i] = i
	}
	until(t, "the offer", func() bool {
		newcomer.seek(t.Context(), all)
		return newcomer.known() == 1
	})
}

// resigned is an offer with a piece of its data replaced, signed again.
func resigned(t testing.TB, name string, o market.Offer, old, now string) []byte {
	t.Helper()
	it, err := ans104.Parse(o.Raw())
	if err != nil {
		t.Fatal(err)
	}
	data := strings.Replace(string(it.Data()), old, now, 1)
	if data == string(it.Data()) {
		t.Fatalf("%s is not in %s", old, data)
	}
	again, err := ans104.Sign(ans104.NewEd25519Signer(keyOf(name)), ans104.Fields{Tags: it.Tags(), Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return again.Raw()
}
