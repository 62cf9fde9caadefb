package remote

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/unitstest"
)

// dealOf is a deal between two names at a price, made at a time.
func dealOf(t *testing.T, buyer, seller string, price uint64, number int, now int64) market.Deal {
	t.Helper()
	b, s := ans104.NewEd25519Signer(keyOf(buyer)), ans104.NewEd25519Signer(keyOf(seller))
	n := market.Need{Network: network, Role: market.Computer, Buyer: peerOf(buyer), Process: unitstest.ID("p"), Counts: countsOfResult()}
	n.Slot = ao.Slot(number)
	terms := market.Terms{Network: network, Role: market.Computer, Sequence: now, Capacity: 1, Prices: market.Parts{price}}
	bid, err := market.PriceNeed(terms, n, market.Standing{}, now+quoteLife)
	if err != nil {
		t.Fatal(err)
	}
	q, err := market.SignQuote(s, bid)
	if err != nil {
		t.Fatal(err)
	}
	d, err := market.SignDeal(b, n, q)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func openedLedger(t *testing.T, side Side, st store.Store) *ledger {
	t.Helper()
	l, err := openLedger(side, st)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLedgerFoldsWhatIsOver(t *testing.T) {
	st := memory(t)
	l := openedLedger(t, Bought, st)
	l.keep = 2
	const start = int64(1_000_000)
	q := unitstest.ID("question")
	var deals []market.Deal
	for i := range 6 {
		d := dealOf(t, "buyer", fmt.Sprint("seller", i%2), 10, i, start)
		deals = append(deals, d)
		if err := l.write(d, q, Signed, start); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // never answered
			continue
		}
		if err := l.write(d, q, Served, start+1); err != nil {
			t.Fatal(err)
		}
	}
	want := Sum{Served: 5, Owed: ao.NewAmount(50), Signed: 1, Unserved: ao.NewAmount(10)}
	kept := func(now int64) int {
		t.Helper()
		if err := l.fold(now); err != nil {
			t.Fatal(err)
		}
		again := openedLedger(t, Bought, st)
		if l.sum() != want || again.sum() != want || len(again.order) != len(l.order) {
			t.Errorf("at %d the sum is %+v, after a restart %+v", now, l.sum(), again.sum())
		}
		return len(l.order)
	}
	if n := kept(start + quoteLife + retryDeals - 1); n != 6 {
		t.Errorf("%d are left while they can be presented", n)
	}
	release := l.hold(deals[0].Quote().ID())
	if n := kept(start + quoteLife + retryDeals); n != 2 {
		t.Errorf("%d are left once the time is over", n)
	}
	// What is under way, or may still be answered, is kept; of the rest the newest would be.
	for _, x := range l.order {
		if x.quote != deals[0].Quote().ID() && x.quote != deals[1].Quote().ID() {
			t.Errorf("%v is left", x)
		}
	}
	release()
	l.keep = 0
	if n := kept(start + quoteLife + retryDeals); n != 1 {
		t.Errorf("%d are left", n)
	}
	if n := kept(start + quoteLife + lateDeals); n != 0 {
		t.Errorf("%d are left", n)
	}
	if s := l.folded[peerOf("seller1")]; s.Served != 2 || s.Signed != 1 || s.Owed != ao.NewAmount(20) {
		t.Errorf("one seller's sum is %+v", s)
	}
}

func TestLedgerHoldsEachQuoteOnce(t *testing.T) {
	st := &store.Faulty{Store: memory(t)}
	l := openedLedger(t, Sold, st)
	d := dealOf(t, "buyer", "seller", 7, 1, 1000)
	q := unitstest.ID("question")
	// Many at once, and the first of them fails.
	broke := errors.New("on purpose")
	first := true
	st.Before = func(*store.Batch) error {
		if first {
			first = false
			return broke
		}
		return nil
	}
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- l.write(d, q, Served, 1000) }()
	}
	failed := 0
	for range cap(errs) {
		if err := <-errs; err != nil {
			failed++
		}
	}
	if failed != 1 || l.sum().Served != 1 || l.sum().Owed != ao.NewAmount(7) {
		t.Errorf("%d failed, %+v", failed, l.sum())
	}
	if err := l.write(d, unitstest.ID("another"), Served, 1000); !errors.Is(err, market.DealtTwice) {
		t.Errorf("for another question: %v", err)
	}
	if question, ok := l.question(d.Quote().ID()); !ok || question != q {
		t.Errorf("question %s, %v", question, ok)
	}
}

func TestDamagedLedger(t *testing.T) {
	d := dealOf(t, "buyer", "seller", 7, 1, 1000)
	good := (&line{quote: d.Quote().ID(), other: d.Buyer(), state: Served, at: 1, expires: 2, owed: d.Owed()}).encode(d.Raw())
	if x, raw, err := decodeLine(good); err != nil || x.state != Served || x.owed != d.Owed() || len(raw) != len(d.Raw()) {
		t.Fatalf("%+v, %v", x, err)
	}
	for name, p := range map[string][2]string{
		"empty":        {"market/sold/deal/" + d.Quote().ID().String(), ""},
		"cut":          {"market/sold/deal/" + d.Quote().ID().String(), string(good[:headLine+1])},
		"state":        {"market/sold/deal/" + d.Quote().ID().String(), "\x07" + string(good[1:])},
		"key":          {"market/sold/deal/x", string(good)},
		"sum":          {"market/sold/sum/" + d.Buyer().String(), "short"},
		"sum's number": {"market/sold/sum/" + d.Buyer().String(), "0123456701234567x 1"},
		"sum's key":    {"market/sold/sum/x", string(Sum{}.encode())},
	} {
		st := memory(t)
		var b store.Batch
		b.Put(p[0], []byte(p[1]))
		if err := st.Commit(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := openLedger(Sold, st); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
