package remote

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// quoted is a quote of a seller for a need of the bazaar's buyer, fetched over a stream.
func (b bazaar) quoted(t *testing.T, m *Market, n market.Need) market.Quote {
	t.Helper()
	o, ok := b.Offer(m.Self(), n.Role)
	if !ok {
		t.Fatal("no offer is known")
	}
	q, err := b.fetchQuote(unitstest.Context(t), n, o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (b bazaar) signed(t *testing.T, key string, n market.Need, q market.Quote) market.Deal {
	t.Helper()
	d, err := market.SignDeal(ans104.NewEd25519Signer(keyOf(key)), n, q)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// slotNeed is a need for a slot's result.
func (b bazaar) slotNeed(slot ao.Slot) market.Need {
	n := b.need(market.Computer, b.chain.Process(), countsOfResult())
	n.Slot = slot
	return n
}

// ask presents a deal for a slot.
func (b bazaar) ask(t *testing.T, m *Market, slot ao.Slot, deal []byte) error {
	t.Helper()
	c := computerClient{client: client{node: b.node, to: m.node.ID()}, network: network, deal: deal}
	_, err := c.Compute(unitstest.Context(t), b.chain.Process(), slot)
	return err
}

// refusedFor fails the test unless err is a refusal for that reason of the market.
func refusedFor(t *testing.T, what string, err error, want market.Reason) {
	t.Helper()
	if !errors.Is(err, &ao.Refusal{Code: ao.NoDeal}) || reasonOf(err) != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestDealsThatDoNotBind(t *testing.T) {
	b := newBazaar(t)
	c := newClock()
	cu := b.computer(t, "cu", 5, func(cfg *MarketConfig) { cfg.Now = c.now })
	other := b.computer(t, "other", 4)
	n := b.slotNeed(2)
	q := b.quoted(t, cu, n)
	good := b.signed(t, "buyer", n, q)

	spoilt := append([]byte(nil), good.Raw()...)
	spoilt[10] ^= 1 // in its signature
	refusedFor(t, "for another slot", b.ask(t, cu, 3, good.Raw()), market.OtherNeed)
	refusedFor(t, "at another seller", b.ask(t, other, 2, good.Raw()), market.OtherSeller)
	refusedFor(t, "with a signature that does not fit", b.ask(t, cu, 2, spoilt), market.BadSignature)
	refusedFor(t, "nonsense", b.ask(t, cu, 2, []byte("no deal")), market.BadShape)
	refusedFor(t, "an empty frame", b.ask(t, cu, 2, []byte{}), market.BadShape)
	if err := b.ask(t, cu, 2, make([]byte, market.MaxDeal+1)); !errors.Is(err, &ao.Refusal{Code: ao.TooLarge}) {
		t.Errorf("an oversize deal: %v", err)
	}

	// Somebody else's deal, seen on its way, is of no use; nor is a quote for somebody else.
	thief, _ := node(t, "thief")
	connect(t, thief, cu.node)
	stolen := computerClient{client: client{node: thief, to: cu.node.ID()}, network: network, deal: good.Raw()}
	_, err := stolen.Compute(unitstest.Context(t), b.chain.Process(), 2)
	refusedFor(t, "stolen", err, market.OtherBuyer)
	o, _ := b.Offer(cu.Self(), market.Computer)
	forged := n
	forged.Buyer = market.PeerOf(ans104.NewEd25519Signer(keyOf("thief")).Owner())
	_, err = b.fetchQuote(unitstest.Context(t), forged, o)
	refusedFor(t, "a need in another's name", err, market.OtherBuyer)
	elsewhere := n
	elsewhere.Network = "elsewhere"
	_, err = b.fetchQuote(unitstest.Context(t), elsewhere, o)
	refusedFor(t, "a need of another network", err, market.OtherNetwork)
	push := b.need(market.Messenger, b.chain.Process(), countsOfPush())
	_, err = b.fetchQuote(unitstest.Context(t), push, o)
	refusedFor(t, "a need for what is not sold", err, market.WrongRole)

	// Less than the work is billed at.
	less := b.slotNeed(2)
	less.Counts[market.CUBase] = 0
	refusedFor(t, "for nothing", b.ask(t, cu, 2, b.signed(t, "buyer", less, b.quoted(t, cu, less)).Raw()), market.OtherNeed)

	if s := cu.Status().Trade; s.Sold.Served != 0 || s.Sales["cu"].Lost[market.OtherNeed] != 2 || s.Sales["cu"].Lost[market.OtherBuyer] != 2 {
		t.Errorf("the seller says %+v", s)
	}

	// Presented again for the same question it is served and counted once, even when its quote has expired meanwhile.
	for range 3 {
		if err := b.ask(t, cu, 2, good.Raw()); err != nil {
			t.Errorf("presented again: %v", err)
		}
		c.add(quoteLife * time.Millisecond)
	}
	if s := cu.Status().Trade.Sold; s.Served != 1 || s.Owed.String() != "5" {
		t.Errorf("owed %+v", s)
	}
	// Not presented in time.
	late := b.slotNeed(4)
	d := b.signed(t, "buyer", late, b.quoted(t, cu, late))
	c.add((quoteLife + 1) * time.Millisecond)
	refusedFor(t, "too late", b.ask(t, cu, 4, d.Raw()), market.Expired)
}

func TestDealIsForOneMessage(t *testing.T) {
	b := newBazaar(t)
	s := b.seller(t, "su", market.Scheduler, Shop{
		Terms: market.Terms{Capacity: 4}, Pricing: market.Pricing{Prices: market.Parts{market.SUMessage: 2, market.SUKiB: 1}},
	})
	s.ServeScheduler(b.log)
	first := unitstest.Message(t, unitstest.Signer("user"), b.chain.Process(), "first")
	second := unitstest.Message(t, unitstest.Signer("user"), b.chain.Process(), "second")
	large := unitstest.Message(t, unitstest.Signer("user"), b.chain.Process(), strings.Repeat("large", 1000))
	n := b.need(market.Scheduler, b.chain.Process(), countsOfMessage(first))
	d := b.signed(t, "buyer", n, b.quoted(t, s, n))
	door := schedulerClient{client: client{node: b.node, to: s.node.ID()}, deal: d.Raw()}
	_, err := door.Schedule(unitstest.Context(t), b.chain.Process(), large)
	refusedFor(t, "for a larger message", err, market.OtherNeed)
	a, err := door.Schedule(unitstest.Context(t), b.chain.Process(), first)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := door.Schedule(unitstest.Context(t), b.chain.Process(), first); err != nil || again.ID() != a.ID() {
		t.Errorf("again: %v", err)
	}
	_, err = door.Schedule(unitstest.Context(t), b.chain.Process(), second)
	refusedFor(t, "for a second message", err, market.DealtTwice)
	if s := s.Status().Trade.Sold; s.Served != 1 {
		t.Errorf("owed %+v", s)
	}
}

// TestSellerCountsBeforeItAnswers is the crash pair of a deal served: what cannot be written down is not answered, and what
// was written before the answer was lost is counted once when it is asked again.
func TestSellerCountsBeforeItAnswers(t *testing.T) {
	b := newBazaar(t)
	st := &store.Faulty{Store: store.NewMemory()}
	cu := b.computer(t, "cu", 5, func(c *MarketConfig) { c.Store = st })
	n := b.slotNeed(2)
	d := b.signed(t, "buyer", n, b.quoted(t, cu, n))
	broke := errors.New("on purpose")
	st.Before = func(*store.Batch) error { return broke }
	if err := b.ask(t, cu, 2, d.Raw()); !errors.Is(err, &ao.Refusal{Code: ao.StoreTrouble}) {
		t.Errorf("not written: %v", err)
	}
	again, err := openLedger(Sold, st.Store)
	if err != nil || again.sum().Served != 0 || cu.Status().Trade.Sold.Served != 0 {
		t.Errorf("not written, and counted as %+v, %v", again.sum(), err)
	}
	st.Before, st.After = nil, func(*store.Batch) error { return broke }
	if err := b.ask(t, cu, 2, d.Raw()); err == nil {
		t.Error("answered although the writing failed")
	}
	st.After = nil
	if cu.trade.sold, err = openLedger(Sold, st.Store); err != nil || cu.trade.sold.sum().Served != 1 {
		t.Fatalf("after a restart %+v, %v", cu.trade.sold.sum(), err)
	}
	if err := b.ask(t, cu, 2, d.Raw()); err != nil {
		t.Errorf("asked again: %v", err)
	}
	if s := cu.Status().Trade.Sold; s.Served != 1 || s.Owed.String() != "5" {
		t.Errorf("owed %+v", s)
	}
}

// gated answers when it is let to.
type gated struct {
	units.Computer
	entered chan ao.Slot
	open    chan struct{}
}

func (g gated) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	select {
	case g.entered <- slot:
	case <-ctx.Done():
		return units.Answer{}, ctx.Err()
	}
	select {
	case <-g.open:
	case <-ctx.Done():
		return units.Answer{}, ctx.Err()
	}
	return g.Computer.Compute(ctx, process, slot)
}

func TestWorkWaitsItsTurn(t *testing.T) {
	b := newBazaar(t)
	s := shopOf(0)
	s.Terms.Capacity, s.Limits = 1, market.Limits{Jobs: 3, PerPayer: 1, Price: 7, Bounds: 4}
	cu := b.seller(t, "cu", market.Computer, s)
	g := gated{b.echo("cu"), make(chan ao.Slot), make(chan struct{})}
	cu.ServeComputer(g)
	done := make(chan error, 3)
	ask := func(slot ao.Slot) { done <- b.ask(t, cu, slot, nil) }
	go ask(1)
	if slot := <-g.entered; slot != 1 {
		t.Errorf("slot %d is let in", slot)
	}
	go ask(2)
	till := cu.trade.tills[market.Computer]
	until(t, "one waits", func() bool { return till.waiting() == 1 })
	err := b.ask(t, cu, 3, nil) // as many as one payer may have wait
	unitstest.WantRefusal(t, err, ao.Busy)
	if !strings.Contains(err.Error(), "payer-busy: 1 jobs wait") {
		t.Errorf("%v", err)
	}
	if got := cu.Status().Trade; got.Waiting["cu"] != 1 || got.Sales["cu"].Lost[market.PayerBusy] != 1 {
		t.Errorf("%+v", got)
	}
	// Two others wait as well, and from then on what pays too little is refused, and told what would do.
	for _, name := range []string{"x", "y"} {
		n, _ := node(t, name)
		connect(t, n, cu.node)
		if name == "y" {
			_, err := Computer(n, network, cu.node.ID()).Compute(unitstest.Context(t), b.chain.Process(), 4)
			if unitstest.WantRefusal(t, err, ao.Busy); !strings.Contains(err.Error(), "room at a price of 7") {
				t.Errorf("%v", err)
			}
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := Computer(n, network, cu.node.ID()).Compute(ctx, b.chain.Process(), 4); done <- err }()
		until(t, "two wait", func() bool { return till.waiting() == 2 })
		defer cancel()
	}
	for range 2 {
		g.open <- struct{}{}
		<-g.entered
	}
	g.open <- struct{}{}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	until(t, "all have left", func() bool {
		till.lock.Lock()
		defer till.lock.Unlock()
		return till.under == 0 && till.queue.Len() == 0 && len(till.waits) == 0
	})
}

func TestWhoLeavesLosesItsTurn(t *testing.T) {
	q := newTill(market.DefaultLimits(0))
	if err := q.enter(t.Context(), 1, peerOf("a"), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { left <- q.enter(ctx, 1, peerOf("b"), 0) }()
	until(t, "b waits", func() bool { return q.waiting() == 1 })
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	in := make(chan error)
	go func() { in <- q.enter(t.Context(), 1, peerOf("c"), 0) }()
	until(t, "c waits", func() bool { return q.waiting() == 2 })
	q.leave()
	if err := <-in; err != nil {
		t.Error(err)
	}
	q.leave()
	if q.under != 0 || len(q.waits) != 0 {
		t.Errorf("%d are in, %d wait", q.under, len(q.waits))
	}
	if err := q.enter(t.Context(), 0, peerOf("d"), 0); !errors.Is(err, &ao.Refusal{Code: ao.Busy}) {
		t.Errorf("without room: %v", err)
	}
}
