package remote

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// bazaar is a buyer, and the log of a process that it wants computed.
type bazaar struct {
	*Market
	log   *unitstest.Memory
	chain *unitstest.Chain
}

func newBazaar(t *testing.T, change ...func(*MarketConfig)) bazaar {
	t.Helper()
	n, _ := node(t, "buyer")
	log, chain := unitstest.NewMemory(unitstest.Signer("unit")), unitstest.MakeChain(t, "log", 6)
	log.Load(chain)
	change = append([]func(*MarketConfig){func(c *MarketConfig) {
		c.Buyer.Taste = market.DefaultTaste(1000)
		c.Buyer.Taste.Strategy, c.Buyer.Patience = market.Cheapest, time.Minute
	}}, change...)
	m := newMarket(t, n, "buyer", change...)
	m.trade.grace = time.Minute // all are heard, however busy the machine is
	return bazaar{m, log, chain}
}

// echo computes the bazaar's log.
func (b bazaar) echo(name string) *unitstest.Echo {
	return unitstest.NewEcho(network, unitstest.Signer(name), b.log)
}

// seller opens a market that sells, whose offers the buyer knows.
func (b bazaar) seller(t *testing.T, name string, r market.Role, s Shop, change ...func(*MarketConfig)) *Market {
	t.Helper()
	n, _ := node(t, name)
	connect(t, b.node, n)
	m := newMarket(t, n, name, append([]func(*MarketConfig){selling(r, s)}, change...)...)
	b.offer(t, m, r)
	return m
}

// offer makes the buyer know what a seller offers.
func (b bazaar) offer(t *testing.T, m *Market, r market.Role) {
	t.Helper()
	if err := m.announce(t.Context(), m.due()); err != nil {
		t.Fatal(err)
	}
	o, ok := m.Offer(m.Self(), r)
	if !ok {
		t.Fatal("no offer was made")
	}
	if err := b.Hear(r, o.Raw()); err != nil && !errors.Is(err, market.Known) { // gossip may have been faster
		t.Fatal(err)
	}
}

// computer is a seller that computes the bazaar's log at a price.
func (b bazaar) computer(t *testing.T, name string, price uint64, change ...func(*MarketConfig)) *Market {
	t.Helper()
	m := b.seller(t, name, market.Computer, shopOf(price), change...)
	m.ServeComputer(b.echo(name))
	return m
}

func (b bazaar) compute(t *testing.T, door units.Computer, slot ao.Slot) units.Answer {
	t.Helper()
	a, err := door.Compute(unitstest.Context(t), b.chain.Process(), slot)
	if err != nil {
		t.Fatalf("compute slot %d: %v", slot, err)
	}
	if err := a.Check(network, b.chain.Process(), slot); err != nil {
		t.Fatal(err)
	}
	return a
}

// accounts are all deals of a side.
func accounts(t *testing.T, m *Market, side Side) (out []Account) {
	t.Helper()
	if err := m.Deals(side, func(a Account) error {
		out = append(out, a)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestResultIsBought(t *testing.T) {
	b := newBazaar(t)
	dear, cheap := b.computer(t, "dear", 9), b.computer(t, "cheap", 5)
	door := b.Computer("", nil)
	b.compute(t, door, 3)
	if got := units.BoughtOf(door); got.Price != "5" || !strings.HasPrefix(got.Why, "cheapest of 2") {
		t.Errorf("bought at %q because %q", got.Price, got.Why)
	}
	if units.PeerOf(door) != cheap.node.ID().String() {
		t.Errorf("of %s", units.PeerOf(door))
	}
	mine, its := accounts(t, b.Market, Bought), accounts(t, cheap, Sold)
	if len(mine) != 1 || len(its) != 1 || mine[0].Deal.ID() != its[0].Deal.ID() || mine[0].State != Served || its[0].State != Served {
		t.Fatalf("the buyer has %+v, the seller %+v", mine, its)
	}
	d := mine[0].Deal
	if d.Owed().String() != "5" || d.Buyer() != b.Self() || d.Seller() != cheap.Self() || d.Need().Slot != 3 {
		t.Errorf("deal %+v", d)
	}
	if got := cheap.Status().Trade; got.Sold.Owed.String() != "5" || got.Sold.Served != 1 || got.Sales["cu"].Served != 1 || got.Sales["cu"].Quoted != 1 {
		t.Errorf("the seller says %+v", got)
	}
	if got := dear.Status().Trade; got.Sold.Served != 0 || got.Sales["cu"].Quoted != 1 {
		t.Errorf("the other says %+v", got)
	}
	if got := b.Status().Trade; got.Bought.Owed.String() != "5" || got.Purchases.Asked != 2 || got.Purchases.Lost[market.Dearer] != 1 {
		t.Errorf("the buyer says %+v", got)
	}
	if tab := b.Tabs(Bought)[cheap.Self()]; tab.Owed.String() != "5" || tab.Served != 1 {
		t.Errorf("tab %+v", tab)
	}
	// Who has no deal is refused.
	_, err := Computer(b.node, network, cheap.node.ID()).Compute(t.Context(), b.chain.Process(), 3)
	unitstest.WantRefusal(t, err, ao.Unpaid)
	if got := cheap.Status().Trade.Sales["cu"].Lost["unpaid"]; got != 1 {
		t.Errorf("%d counted as unpaid", got)
	}
}

// TestReturnedUnitIsWaitedFor: whoever only knows that a unit takes no work asks its neighbours before giving up.
func TestReturnedUnitIsWaitedFor(t *testing.T) {
	b := newBazaar(t)
	m := b.computer(t, "one", 0)
	again := func(after int64, capacity uint32) market.Offer {
		old, _ := m.Offer(m.Self(), market.Computer)
		terms := old.Terms()
		terms.Sequence, terms.Capacity = terms.Sequence+after, capacity
		o, err := market.SignOffer(m.cfg.Signer, terms)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if err := b.add(again(hastyGap, 0)); err != nil {
		t.Fatal(err)
	}
	back := again(2*hastyGap, 4) // of which nobody has heard
	m.lock.Lock()
	m.stalls[market.Computer].offer = back
	m.lock.Unlock()
	b.compute(t, b.Computer("", nil), 2)
}

func TestFreeMarketAsksNoQuotes(t *testing.T) {
	b := newBazaar(t)
	b.computer(t, "one", 0)
	b.computer(t, "two", 0)
	door := b.Computer("", nil)
	b.compute(t, door, 2)
	first := units.PeerOf(door)
	for slot := range ao.Slot(6) {
		b.compute(t, door, slot)
		if units.PeerOf(door) != first {
			t.Fatal("the process does not stay with its computer")
		}
	}
	if got := units.BoughtOf(door); got.Price != "0" || !strings.HasPrefix(got.Why, "kept of 2") {
		t.Errorf("bought at %q because %q", got.Price, got.Why)
	}
	if got := b.Status().Trade; got.Purchases.Asked != 0 || got.Bought.Served+got.Bought.Signed != 0 {
		t.Errorf("%+v", got)
	}
	if _, err := door.State(t.Context(), b.chain.Process()); err != nil {
		t.Error(err)
	}
	if _, err := door.DryRun(t.Context(), b.chain.Process(), ao.Query{Data: []byte("x")}); err != nil {
		t.Error(err)
	}
}

func TestPricedProcessStaysWhereItIsHot(t *testing.T) {
	b := newBazaar(t)
	replaying := func(behind func(slot ao.Slot) uint64) Shop {
		s := shopOf(1)
		s.Pricing.Prices[market.CUSlot] = 10
		s.Standing = func(n market.Need) (market.Standing, error) {
			return market.Standing{Behind: behind(n.Slot), Hot: behind(n.Slot) == 0}, nil
		}
		return s
	}
	cold := b.seller(t, "cold", market.Computer, replaying(func(slot ao.Slot) uint64 { return uint64(slot) }))
	cold.ServeComputer(b.echo("cold"))
	hot := replaying(func(ao.Slot) uint64 { return 0 })
	hot.Pricing.Prices[market.CUBase] = 3
	m := b.seller(t, "hot", market.Computer, hot)
	m.ServeComputer(b.echo("hot"))
	door := b.Computer("", nil)
	b.compute(t, door, 5)
	if got := units.BoughtOf(door); units.PeerOf(door) != m.node.ID().String() || got.Price != "3" {
		t.Errorf("of %s for %q because %q", units.PeerOf(door), got.Price, got.Why)
	}
	// It stays there as long as that is not much dearer, unless the buyer wants the cheapest at any rate.
	near := b.computer(t, "near", 2)
	b.Market.cfg.Buyer.Taste.Strategy = market.Balanced
	b.compute(t, door, 4)
	if got := units.BoughtOf(door); got.Price != "3" || !strings.HasPrefix(got.Why, "kept of 3") {
		t.Errorf("for %q because %q", got.Price, got.Why)
	}
	b.Market.cfg.Buyer.Taste.Strategy = market.Cheapest
	b.compute(t, door, 4)
	if units.PeerOf(door) != near.node.ID().String() {
		t.Errorf("of %s", units.PeerOf(door))
	}
	b.trade.keepWith(market.Computer, b.chain.Process(), m.Self())
	// An estimate above the cap keeps nobody away whose quote is below it.
	b.Market.cfg.Buyer.Taste.MaxPrice = 20
	b.Market.cfg.Buyer.Taste.Only = []market.Peer{m.Self()}
	b.compute(t, door, 4)
	if got := units.BoughtOf(door); got.Price != "3" {
		t.Errorf("for %q", got.Price)
	}
}

func TestCapIsHard(t *testing.T) {
	b := newBazaar(t, func(c *MarketConfig) { c.Buyer.Taste.MaxPrice = 4 })
	door := b.Computer("", nil)
	_, err := door.Compute(t.Context(), b.chain.Process(), 1)
	unitstest.WantRefusal(t, err, ao.NoOffer)
	b.computer(t, "dear", 9)
	b.computer(t, "less", 7)
	_, err = door.Compute(t.Context(), b.chain.Process(), 1)
	unitstest.WantRefusal(t, err, ao.OverCap)
	if text := err.Error(); !strings.Contains(text, "asks 7") || !strings.Contains(text, "--max-price is 4") {
		t.Errorf("%v", err)
	}
}

// stalling answers once it is let to, or never.
type stalling struct {
	units.Computer
	asked chan struct{}
}

func (s stalling) Compute(ctx context.Context, _ ao.ID, _ ao.Slot) (units.Answer, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return units.Answer{}, ctx.Err()
}

func TestNextTakesOver(t *testing.T) {
	b := newBazaar(t)
	b.trade.stall, b.trade.late = 50*time.Millisecond, 300*time.Millisecond
	baiting := b.seller(t, "baiting", market.Computer, shopOf(1))
	asked := make(chan struct{}, 1)
	baiting.ServeComputer(stalling{b.echo("baiting"), asked})
	good := b.computer(t, "good", 5)
	door := b.Computer("", nil)
	b.compute(t, door, 3)
	<-asked
	if got := units.BoughtOf(door); got.Price != "5" || !strings.HasPrefix(got.Why, "next-in-line of 2") {
		t.Errorf("for %q because %q", got.Price, got.Why)
	}
	tabs := b.Tabs(Bought)
	if s := tabs[baiting.Self()]; s.Served != 0 || s.Signed != 1 || s.Unserved.String() != "1" {
		t.Errorf("with who stalls %+v", s)
	}
	if s := tabs[good.Self()]; s.Served != 1 || s.Signed != 0 {
		t.Errorf("with who served %+v", s)
	}
	if got := baiting.Status().Trade.Sold; got.Served != 0 {
		t.Errorf("who stalls counts %+v", got)
	}
	b.trade.orphans.Wait()
	n, taste := b.need(market.Computer, b.chain.Process(), countsOfResult()), b.taste(market.Computer)
	var success [2]uint64
	for _, l := range b.Explain(&n, &taste, 1) {
		if l.Peer == baiting.Self() {
			success[0] = l.Success
		} else {
			success[1] = l.Success
		}
	}
	if success[0] >= success[1] {
		t.Errorf("who stalls has success %d, who serves %d", success[0], success[1])
	}
}

// TestLateAnswerIsOwed: who answers after another has taken over has served, and both sides say so.
func TestLateAnswerIsOwed(t *testing.T) {
	b := newBazaar(t)
	b.trade.stall = 20 * time.Millisecond
	late := b.seller(t, "late", market.Computer, shopOf(1))
	g := gated{b.echo("late"), make(chan ao.Slot, 1), make(chan struct{})}
	late.ServeComputer(g)
	b.computer(t, "good", 5)
	door := b.Computer("", nil)
	b.compute(t, door, 3)
	if units.BoughtOf(door).Price != "5" || b.Tabs(Bought)[late.Self()].Signed != 1 {
		t.Errorf("for %q, tab %+v", units.BoughtOf(door).Price, b.Tabs(Bought)[late.Self()])
	}
	close(g.open)
	b.trade.orphans.Wait()
	if tab := b.Tabs(Bought)[late.Self()]; tab.Served != 1 || tab.Signed != 0 || tab != late.Tabs(Sold)[b.Self()] {
		t.Errorf("the buyer says %+v, the seller %+v", tab, late.Tabs(Sold)[b.Self()])
	}
}

func TestFailuresGoOnOrEnd(t *testing.T) {
	b := newBazaar(t)
	var cheap atomic.Pointer[ao.Refusal]
	first := b.seller(t, "first", market.Computer, shopOf(1))
	first.ServeComputer(refusing{b.echo("first"), &cheap})
	b.computer(t, "second", 5)
	for _, c := range []struct {
		code ao.Code
		ends bool
	}{
		{ao.NotYet, true},
		{ao.UnknownProcess, true},
		{ao.UnknownModule, true},
		{ao.Busy, false},
		{ao.StoreTrouble, false},
		{ao.BadLog, false},
		{ao.NoDeal, false},
		{ao.Internal, false},
	} {
		cheap.Store(ao.Refuse("compute", c.code, "on purpose"))
		door := b.Computer("", nil)
		_, err := door.Compute(unitstest.Context(t), b.chain.Process(), 2)
		if c.ends {
			unitstest.WantRefusal(t, err, c.code)
		} else if err != nil || units.BoughtOf(door).Price != "5" {
			t.Errorf("after %s: %v, for %q", c.code, err, units.BoughtOf(door).Price)
		}
	}
}

// refusing refuses as it is told.
type refusing struct {
	units.Computer
	with *atomic.Pointer[ao.Refusal]
}

func (r refusing) Compute(context.Context, ao.ID, ao.Slot) (units.Answer, error) {
	return units.Answer{}, r.with.Load()
}

// slow is a messenger whose answer to a push is lost once it has pushed.
type slow struct {
	units.Messenger
	pushed chan struct{}
}

func (s slow) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	if _, err := s.Messenger.Push(ctx, m); err != nil {
		return ao.Assignment{}, err
	}
	s.pushed <- struct{}{}
	<-ctx.Done()
	return ao.Assignment{}, ctx.Err()
}

func TestPushFailsOverWithOneEffect(t *testing.T) {
	b := newBazaar(t)
	b.trade.stall = 50 * time.Millisecond
	spawn := unitstest.Spawn(t, unitstest.Signer("owner"), b.log.Address(), t.Name())
	if _, err := b.log.Schedule(t.Context(), spawn.ID(), spawn); err != nil {
		t.Fatal(err)
	}
	shop := func(price uint64) Shop {
		return Shop{Terms: market.Terms{Capacity: 4}, Pricing: market.Pricing{Prices: market.Parts{market.MUPush: price}}}
	}
	pushed := make(chan struct{}, 1)
	lost, good := b.seller(t, "lost", market.Messenger, shop(1)), b.seller(t, "good", market.Messenger, shop(2))
	lost.ServeMessenger(slow{unitstest.NewCourier(b.log, b.echo("c")), pushed})
	good.ServeMessenger(unitstest.NewCourier(b.log, b.echo("c")))
	door := b.Messenger(ignorant{}, nil)
	m := unitstest.Message(t, unitstest.Signer("user"), spawn.ID(), "once")
	// The directory knows nothing of whom the process trusts: any messenger will do.
	a, err := door.Push(unitstest.Context(t), m)
	if err != nil {
		t.Fatal(err)
	}
	<-pushed
	next, err := b.log.Next(t.Context(), spawn.ID())
	if err != nil || a.Nonce() != 1 || next != 2 {
		t.Errorf("slot %d of %d, %v", a.Nonce(), next, err)
	}
	if units.PeerOf(door) != good.node.ID().String() || units.BoughtOf(door).Price != "2" {
		t.Errorf("of %s for %q", units.PeerOf(door), units.BoughtOf(door).Price)
	}
	hops := 0
	if err := door.Hops(unitstest.Context(t), m.ID(), func(units.Hop) error { hops++; return nil }); err != nil || hops == 0 {
		t.Errorf("%d hops, %v", hops, err)
	}
}

// TestQueuedPushIsOwed: a push that its caller does not wait for is work like any other.
func TestQueuedPushIsOwed(t *testing.T) {
	b := newBazaar(t)
	s := b.seller(t, "mu", market.Messenger, Shop{
		Terms: market.Terms{Capacity: 4}, Pricing: market.Pricing{Prices: market.Parts{market.MUPush: 3}},
	})
	s.ServeMessenger(queueing{})
	m := unitstest.Message(t, unitstest.Signer("user"), b.chain.Process(), "later")
	_, err := b.Messenger(ignorant{}, nil).Push(unitstest.Context(t), m)
	unitstest.WantRefusal(t, err, ao.Queued)
	mine, its := b.Status().Trade.Bought.Owed.String(), s.Status().Trade.Sold.Owed.String()
	if mine != "3" || its != "3" {
		t.Errorf("the buyer owes %s, the seller is owed %s", mine, its)
	}
}

// queueing is a messenger that accepts everything and has a slot for nothing yet.
type queueing struct{ units.Messenger }

func (queueing) Push(_ context.Context, m ao.Message) (ao.Assignment, error) {
	return ao.Assignment{}, ao.Refuse("push", ao.Queued, "message %s is safe", m.ID())
}

// ignorant is a directory that knows no process.
type ignorant struct{ units.Directory }

func (ignorant) Process(context.Context, ao.ID) (ao.Process, error) {
	return ao.Process{}, ao.Refuse("schedule", ao.UnknownProcess, "none is known")
}

func TestSchedulerIsPaid(t *testing.T) {
	b := newBazaar(t)
	s := b.seller(t, "su", market.Scheduler, Shop{
		Terms: market.Terms{Capacity: 4}, Pricing: market.Pricing{Prices: market.Parts{market.SUMessage: 2, market.SUProcess: 10}},
	})
	s.ServeScheduler(b.log)
	spawn := unitstest.Spawn(t, unitstest.Signer("owner"), b.log.Address(), t.Name())
	door := b.Scheduler(s.Self(), s.node.ID())
	if _, err := door.Schedule(unitstest.Context(t), spawn.ID(), spawn); err != nil {
		t.Fatal(err)
	}
	if got := units.BoughtOf(door); got.Price != "12" || got.Why != "named by the process" {
		t.Errorf("%+v", got)
	}
	m := unitstest.Message(t, unitstest.Signer("user"), spawn.ID(), "m")
	if _, err := door.Schedule(unitstest.Context(t), spawn.ID(), m); err != nil || units.BoughtOf(door).Price != "2" {
		t.Errorf("%+v, %v", units.BoughtOf(door), err)
	}
	if _, err := Scheduler(b.node, s.node.ID()).Schedule(t.Context(), spawn.ID(), m); !errors.Is(err, &ao.Refusal{Code: ao.Unpaid}) {
		t.Errorf("without a deal: %v", err)
	}
	if got := s.Status().Trade.Sold.Owed.String(); got != "14" || got != b.Status().Trade.Bought.Owed.String() {
		t.Errorf("owed %s", got)
	}
}

// wrong is a computer that signs for another result than the log's.
type wrong struct {
	*unitstest.Echo
	journal attest.Journal
	signer  ans104.Signer
}

func (w wrong) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	a, err := w.Echo.Compute(ctx, process, slot)
	if err != nil {
		return a, err
	}
	a.Result = ao.Result{Output: []byte(`"a lie"`)}
	c := a.Claim.Claim()
	c.Result = attest.ResultDigest(a.Result)
	a.Claim, err = attest.Sign(w.journal, w.signer, c)
	return a, err
}

func TestWrongResultIsFoundOut(t *testing.T) {
	b := newBazaar(t, func(c *MarketConfig) { c.Buyer.DoubleCheck = 1_000_000 })
	liar := b.seller(t, "liar", market.Computer, shopOf(1))
	liar.ServeComputer(wrong{b.echo("liar"), b.echo("liar"), unitstest.Signer("liar")})
	b.computer(t, "honest", 3)
	b.computer(t, "third", 4)
	door := b.Computer("", nil)
	running(t, b.Market)
	b.compute(t, door, 3)
	until(t, "a dispute", func() bool { return len(b.Disputes()) == 1 })
	d := b.Disputes()[0]
	if d.Kind != kindResults || d.Guilty != liar.Self().String() || len(d.Units) != 3 || len(d.Signed) != 3 || d.Slot != 3 {
		t.Errorf("dispute %+v", d)
	}
	if got := b.Status().Trade.Purchases; got.Checked != 1 || got.Differed != 1 || got.Decided != 1 || got.Agreed != 0 {
		t.Errorf("%+v", got)
	}
	b.compute(t, door, 4)
	if units.PeerOf(door) == liar.node.ID().String() {
		t.Error("the liar is asked again")
	}
	until(t, "a check", func() bool { return b.Status().Trade.Purchases.Agreed == 1 })
	again, err := openTrade(&b.cfg)
	if err != nil || len(again.disputes) != 1 || again.disputes[0].Guilty != d.Guilty || len(again.disputes[0].Signed) != 3 {
		t.Errorf("after a restart %+v, %v", again.disputes, err)
	}
}

func TestBuyerRemembersWhatItSigned(t *testing.T) {
	st := &store.Faulty{Store: store.NewMemory()}
	b := newBazaar(t, func(c *MarketConfig) { c.Store = st })
	b.computer(t, "cu", 5)
	door := b.Computer("", nil)
	b.compute(t, door, 1)
	again, err := openLedger(Bought, st)
	if err != nil || again.sum() != b.trade.bought.sum() || again.sum().Served != 1 {
		t.Errorf("after a restart %+v, %v", again, err)
	}
}
