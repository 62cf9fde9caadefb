package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// bazaar is a scheduler, a messenger, and computers at different prices.
type bazaar struct {
	su, mu *Node
	cus    []*Node
	kill   []func() error // of the computers
	client *Client
	door   units.Messenger

	processes []ao.ID
}

// openBazaar runs the peers, and a guest that has spawned processes there. Every draw is seeded, all are equally far, and
// buyers are in no hurry: a machine that stutters makes nobody dear. Nor do they ask a second computer in the background,
// which would buy while the books are read.
func openBazaar(t *testing.T, prices []uint64, processes int) *bazaar {
	t.Helper()
	arch, network := chain(t), signed(t, func(n *Network) { n.Bootstrap = nil })
	machine, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"echo@1": echo{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = machine.Close() })
	b := &bazaar{}
	seed := uint64(0)
	open := func(role string, price uint64) (*Node, func() error) {
		t.Helper()
		cfg := loopback(role)
		cfg.Name, cfg.Market.CUBase, cfg.Drain = fmt.Sprintf("%s%d", role, seed), price, 0
		cfg.Market.Second, cfg.Market.DoubleCheck = 1, 0
		if b.su != nil {
			cfg.Bootstrap = b.su.Peer().Addrs
		}
		seed++
		st := store.NewMemory()
		n, err := New(peerHome(t, network), cfg, Parts{Archive: arch, Machine: machine, Store: st, Seed: seed, Delay: time.Millisecond}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		return n, running(t, n)
	}
	b.su, _ = open("su", 0)
	b.mu, _ = open("mu", 0)
	for _, p := range prices {
		n, kill := open("cu", p)
		b.cus, b.kill = append(b.cus, n), append(b.kill, kill)
	}
	for _, n := range append([]*Node{b.su, b.mu}, b.cus...) {
		eventually(t, "the peers know each other and their offers", func() bool { return n.knows(2 + len(prices)) })
	}
	if b.client, err = OpenBuyer(t.Context(), homeWithPeer(t, b.su, network), map[string]string{"market.second": "1", "market.double_check": "0"}, quiet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	b.spawn(t, arch, processes)
	return b
}

func (b *bazaar) spawn(t *testing.T, arch *devnet.Devnet, processes int) {
	t.Helper()
	mod, err := ao.SignModule(arch.Wallet().Signer(), wasmvm.FormatNative, "64-mb", "1000", []byte("echo@1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item()); err != nil {
		t.Fatal(err)
	}
	chosen, err := b.client.Choose(market.Scheduler, market.Messenger)
	if err != nil || chosen.Scheduler != Address(b.su.key) || chosen.Authority != Address(b.mu.key) {
		t.Fatalf("the market chooses %+v, %v", chosen, err)
	}
	if b.door, err = b.client.Messenger(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range processes {
		p, err := ao.SignProcess(b.client.Signer, mod.ID(), chosen.Scheduler, ao.Tags{{Name: "Authority", Value: chosen.Authority}}, nil, fmt.Appendf(nil, "%032d", i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.door.Push(t.Context(), p); err != nil {
			t.Fatalf("spawn: %v", err)
		}
		b.processes = append(b.processes, p.ID())
	}
}

// send sends one message and waits until it is pushed to its end; every fourth time it buys the result for itself too.
func (b *bazaar) send(ctx context.Context, i int) error {
	process := b.processes[i%len(b.processes)]
	m, err := ao.SignMessage(b.client.Signer, process, nil, fmt.Appendf(nil, "message %d", i), fmt.Appendf(nil, "%032d", i))
	if err != nil {
		return err
	}
	a, err := b.door.Push(ctx, m)
	if err != nil {
		return fmt.Errorf("push %d: %w", i, err)
	}
	done := false
	if err := b.door.Hops(ctx, m.ID(), func(h units.Hop) error {
		done = done || h.Word == "done"
		if h.Word == "drop" || h.Word == "compute" && (h.Price == "" || h.Why == "") {
			return fmt.Errorf("hop %+v", h)
		}
		return nil
	}); err != nil || !done {
		return fmt.Errorf("message %d is done: %v: %w", i, done, err)
	}
	if i%4 != 0 {
		return nil
	}
	door, err := b.client.Directory.Computer(ctx, process)
	if err != nil {
		return err
	}
	ans, err := door.Compute(ctx, process, a.Nonce())
	if err == nil && string(ans.Result.Output) != fmt.Sprintf("%q", fmt.Sprintf("message %d", i)) {
		err = fmt.Errorf("its result is %s", ans.Result.Output)
	}
	return err
}

// sendAll sends messages from one number to another, a few at a time; half is called when half of them are done.
func (b *bazaar) sendAll(t *testing.T, from, to int, half func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	turns, errs := make(chan struct{}, 4), make(chan error, to-from)
	var under sync.WaitGroup
	for i := from; i < to; i++ {
		turns <- struct{}{}
		if i == (from+to)/2 {
			half()
		}
		under.Go(func() {
			errs <- b.send(ctx, i)
			<-turns
		})
	}
	under.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "nothing is left to push", func() bool { return b.mu.messenger.Status().Open == 0 })
	if n := b.mu.messenger.Status().Dropped; n != 0 {
		t.Errorf("%d pushes were dropped", n)
	}
}

// deals are those of a side of some peers, by their ID.
func deals(t *testing.T, side remote.Side, of ...*remote.Market) map[ao.ID]remote.Account {
	t.Helper()
	out := map[ao.ID]remote.Account{}
	for _, m := range of {
		if err := m.Deals(side, func(a remote.Account) error {
			out[a.Deal.ID()] = a
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// books adds up both sides' deals, one by one, and holds them against each other. It gives what each computer is owed. A
// deal whose answer was lost on the way stands as served with its seller and as signed with its buyer: lost counts them.
func (b *bazaar) books(t *testing.T) (earned []uint64, lost int) {
	t.Helper()
	bought := deals(t, remote.Bought, b.mu.market, b.client.Market)
	var owed, due, doubt uint64
	for _, a := range bought {
		if a.State == remote.Served {
			owed += number(t, a.Deal.Owed())
		}
	}
	served := map[ao.ID]bool{}
	for _, cu := range b.cus {
		sum := uint64(0)
		for id, a := range deals(t, remote.Sold, cu.market) {
			other, known := bought[id]
			if !known || a.State != remote.Served || a.Deal.Seller() != cu.market.Self() || other.Deal.Owed().Cmp(a.Deal.Owed()) != 0 {
				t.Fatalf("%s holds a deal that no buyer signed, or another one: %+v, %+v", cu.cfg.Name, a, other)
			}
			if other.State == remote.Signed {
				lost++
				doubt += number(t, a.Deal.Owed())
			}
			served[id] = true
			sum += number(t, a.Deal.Owed())
		}
		earned, due = append(earned, sum), due+sum
	}
	for id, a := range bought {
		if a.State == remote.Served && !served[id] {
			t.Errorf("a buyer owes for a deal that its seller does not know as served: %+v", a)
		}
	}
	if owed+doubt != due {
		t.Errorf("buyers owe %d, and %d for answers that were lost; sellers are owed %d", owed, doubt, due)
	}
	return earned, lost
}

func number(t *testing.T, a ao.Amount) uint64 {
	t.Helper()
	var n uint64
	if _, err := fmt.Sscan(a.String(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBothSidesAgreeOnWhatIsOwed: five computers at prices 1 to 8, equally far and good. What buyers owe is what sellers
// are owed, the cheap ones earn most, and when the cheapest is killed in the middle no message is lost.
func TestBothSidesAgreeOnWhatIsOwed(t *testing.T) {
	sends := 200
	if testing.Short() {
		sends = 80
	}
	b := openBazaar(t, []uint64{1, 2, 3, 5, 8}, 8)
	b.sendAll(t, 0, sends/2, func() {})
	earned, lost := b.books(t)
	if 10*lost > sends {
		t.Errorf("%d answers were lost of %d", lost, sends/2)
	}
	if earned[0]+earned[1] <= earned[3]+earned[4] || slices.Max(earned[3:]) > slices.Max(earned[:2]) {
		t.Errorf("the cheap ones do not earn most: %v", earned)
	}
	// The totals that a status shows are those of the deals.
	for i, cu := range b.cus {
		if s := cu.market.Status().Trade.Sold; number(t, s.Owed) != earned[i] || s.Signed != 0 {
			t.Errorf("%s says that it is owed %+v, and its deals make %d", cu.cfg.Name, s, earned[i])
		}
	}

	busiest := slices.Index(earned, slices.Max(earned))
	b.sendAll(t, sends/2, sends, func() {
		if err := b.kill[busiest](); err != nil {
			t.Errorf("kill: %v", err)
		}
	})
	after, _ := b.books(t)
	t.Logf("earned %v, and after %s was killed %v", earned, b.cus[busiest].cfg.Name, after)
	next, err := b.su.scheduler.Next(t.Context(), b.processes[0])
	if err != nil || int(next) != 1+sends/len(b.processes) {
		t.Errorf("the log has %d slots, %v", next, err)
	}
}

// TestCapIsHard: who sells above the cap is not bought from, and the refusal names the cheapest and the flag.
func TestCapIsHard(t *testing.T) {
	b := openBazaar(t, []uint64{7, 4}, 1)
	if err := b.send(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	h := homeWithPeer(t, b.su, b.su.network)
	for text, want := range map[string][]string{
		"3": {string(ao.OverCap), "asks 4", "--max-price", Address(b.cus[1].key)},
		"4": nil,
	} {
		c, err := OpenBuyer(t.Context(), h, map[string]string{"market.max_price": text, "market.strategy": "cheapest"}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		door, err := c.Directory.Computer(t.Context(), b.processes[0])
		if err != nil {
			t.Fatal(err)
		}
		_, err = door.Compute(t.Context(), b.processes[0], 1)
		if got := units.BoughtOf(door).Price; want == nil && (err != nil || got != "4") {
			t.Errorf("with a cap of %s: price %q, %v", text, got, err)
		} else if want != nil {
			says(t, err, want...)
		}
		c.Close()
	}
	_, err := OpenBuyer(t.Context(), h, map[string]string{"market.strategy": "lucky"}, quiet())
	says(t, err, "strategy", "lucky")
}

// TestMarketSettings: what is set is what is offered.
func TestMarketSettings(t *testing.T) {
	c := loopback("cu", "su")
	c.Compute.Workers = 3
	m := &c.Market
	m.Plan, m.Margin, m.Region, m.CUBase, m.CUSlot, m.SUProcess, m.Memory = "cost-plus", 50, "eu-west", 10, 3, 7, 1<<30
	h := peerHome(t, signed(t))
	n, err := New(h, c, Parts{Archive: chain(t), Store: store.NewMemory()}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	running(t, n)
	eventually(t, "the offers are made", func() bool {
		return n.knows(0) && len(n.market.Offers(market.Computer)) == 1 && len(n.market.Offers(market.Scheduler)) == 1
	})
	got := n.market.Offers(market.Computer)[0].Terms()
	if got.Prices != (market.Parts{15, 5}) || got.Region != "eu-west" || got.Capacity != 48 || got.Memory != 1<<30 || len(got.Formats) != 4 {
		t.Errorf("the computer offers %+v", got)
	}
	if su := n.market.Offers(market.Scheduler)[0].Terms(); su.Prices[market.SUProcess] != 11 || su.Formats != nil {
		t.Errorf("the scheduler offers %+v", su)
	}
	s, err := n.Status()
	if err != nil || s.Market == nil || len(s.Market.Own) != 2 {
		t.Errorf("the status is %+v, %v", s, err)
	}
	for key, bad := range map[string]func(*MarketConfig){
		"market.explore":      func(m *MarketConfig) { m.Explore = 101 },
		"market.floor":        func(m *MarketConfig) { m.Floor = m.Most + 1 },
		"market.queue_each":   func(m *MarketConfig) { m.QueueEach = m.Queue + 1 },
		"market.avoid":        func(m *MarketConfig) { m.Avoid = []string{"me"} },
		"ledgers":             func(m *MarketConfig) { m.Ledgers = []string{"mine"} },
		"region":              func(m *MarketConfig) { m.Region = "EU West" },
		"extension":           func(m *MarketConfig) { m.Extensions = []string{"two words"} },
		"prices of cu":        func(m *MarketConfig) { m.CUBase = 1 << 63 },
		"market.strategy":     func(m *MarketConfig) { m.Strategy = "lucky" },
		"market.plan":         func(m *MarketConfig) { m.Plan = "greedy" },
		"market.double_check": func(m *MarketConfig) { m.DoubleCheck = 200 },
	} {
		c := DefaultConfig()
		bad(&c.Market)
		says(t, c.Validate(), key)
	}
}

// TestMarketMetrics: each line of the table has its samples on a peer that sells and buys.
func TestMarketMetrics(t *testing.T) {
	b := openBazaar(t, []uint64{2}, 1)
	if err := b.send(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the spawn is pushed to its end as well", func() bool { return b.mu.messenger.Status().Open == 0 })
	all := map[string]float64{}
	for _, n := range []*Node{b.mu, b.cus[0]} {
		s := n.snapshot()
		for _, m := range append(marketMetrics(), tradeMetrics()...) {
			for _, v := range m.read(s) {
				all[n.cfg.Roles[0]+" "+m.name+fmt.Sprint(v.labels)] += v.value
			}
		}
	}
	for key, want := range map[string]float64{
		"mu aopeer_market_offers[cu]":                    1,
		"mu aopeer_market_offers[su]":                    1,
		"cu aopeer_market_price[cu base]":                2,
		"cu aopeer_market_price_level[cu]":               1,
		"cu aopeer_market_capacity[cu]":                  float64(b.cus[0].cfg.capacity(market.Computer)),
		"mu aopeer_market_deals[bought served]":          2, // for the spawn and the message
		"mu aopeer_market_owed[bought]":                  4,
		"cu aopeer_market_deals[sold served]":            3, // and the guest's own
		"cu aopeer_market_owed[sold]":                    6,
		"cu aopeer_market_sales_total[cu]":               3,
		"mu aopeer_market_checks_total[differed]":        0,
		"mu aopeer_market_turned_down_total[other-need]": 0,
	} {
		if got := all[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	for _, key := range []string{"cu aopeer_market_quotes_total[cu]", "mu aopeer_market_asked_total[answered]", "mu aopeer_market_quote_age_seconds[]"} {
		if all[key] <= 0 {
			t.Errorf("%s is %v", key, all[key])
		}
	}
	if t.Failed() {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			t.Log(k, all[k])
		}
	}
}
