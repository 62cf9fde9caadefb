package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
)

// trade is what a peer has going on the market beside offers: deals of both sides, work that waits, whom it buys from,
// and the counts of all that.
type trade struct {
	store  store.Store
	log    *slog.Logger
	bought *ledger
	sold   *ledger
	tills  map[market.Role]*till // of the roles that are sold
	checks chan check            // results to be asked for again
	stall  time.Duration         // after which a unit that does not answer is not waited for alone
	late   time.Duration         // that one has whose answer nobody waits for any more
	grace  time.Duration         // that others have after the first quote that binds, at least

	life    context.Context // of what goes on when its caller has gone
	end     context.CancelFunc
	orphans sync.WaitGroup // added to under lock while life lasts

	disputeLock sync.Mutex // one record at a time

	lock      sync.Mutex                  // owns what follows
	only      map[market.Role]market.Peer // whom alone a role is bought from
	kept      map[keeping]market.Peer
	begun     map[keeping]market.Peer // who was chosen for what nobody has served yet
	sales     map[market.Role]*Sales
	purchases Purchases
	disputes  []Dispute // oldest first
}

// keeping is what a buyer comes back for: a role, for a process.
type keeping struct {
	role    market.Role
	process ao.ID
}

const (
	maxChecks    = 64
	maxDisputes  = 64
	shownSigned  = 16 // disputes in a status
	keyDispute   = "market/dispute/"
	defaultStall = 10 * time.Second
	defaultLate  = 2 * time.Minute
)

func openTrade(cfg *MarketConfig) (*trade, error) {
	t := &trade{
		store: cfg.Store, log: cfg.Log, tills: map[market.Role]*till{}, checks: make(chan check, maxChecks), stall: defaultStall, late: defaultLate, grace: quoteGrace,
		only: map[market.Role]market.Peer{}, kept: map[keeping]market.Peer{}, begun: map[keeping]market.Peer{}, sales: map[market.Role]*Sales{},
		purchases: Purchases{Lost: map[market.Reason]uint64{}},
	}
	t.life, t.end = context.WithCancel(context.Background())
	for r, shop := range cfg.Shops {
		limits := shop.Limits
		if limits == (market.Limits{}) {
			limits = market.DefaultLimits(shop.Pricing.Prices[0])
		}
		t.tills[r], t.sales[r] = newTill(limits), &Sales{Lost: map[market.Reason]uint64{}}
	}
	var err error
	if t.bought, err = openLedger(Bought, cfg.Store); err != nil {
		return nil, err
	}
	if t.sold, err = openLedger(Sold, cfg.Store); err != nil {
		return nil, err
	}
	return t, scan(cfg.Store, keyDispute, t.readDispute)
}

// finish ends questions that nobody waits for any more, once wait has returned: at once, or later those for which something
// is owed if they are answered after all.
func (t *trade) finish(isOwing bool, cancel func(loose bool), wait func()) {
	t.lock.Lock()
	if isOwing = isOwing && t.life.Err() == nil; isOwing {
		t.orphans.Add(1)
	}
	t.lock.Unlock()
	cancel(isOwing)
	if !isOwing {
		wait()
		return
	}
	go func() {
		defer t.orphans.Done()
		timer := time.AfterFunc(t.late, func() { cancel(false) })
		defer timer.Stop()
		defer context.AfterFunc(t.life, func() { cancel(false) })()
		wait()
		cancel(false)
	}()
}

// close ends what goes on and waits for it.
func (t *trade) close() {
	t.lock.Lock()
	t.end()
	t.lock.Unlock()
	t.orphans.Wait()
}

// Sales is what became of what others asked of this peer in one role.
type Sales struct {
	Quoted uint64                   `json:"quoted"` // quotes given
	Served uint64                   `json:"served"` // deals
	Lost   map[market.Reason]uint64 `json:"lost,omitempty"`
}

// Purchases is what became of what this peer asked of others.
type Purchases struct {
	Asked    uint64                   `json:"asked"`    // units, for a quote
	Answered uint64                   `json:"answered"` // of them
	Age      time.Duration            `json:"age"`      // of the quote last used, when it was used
	Lost     map[market.Reason]uint64 `json:"lost,omitempty"`
	Checked  uint64                   `json:"checked"` // results that a second computer gave as well
	Agreed   uint64                   `json:"agreed"`  // of them
	Differed uint64                   `json:"differed"`
	Decided  uint64                   `json:"decided"` // of those, by a third
}

// Dispute is what units signed that contradicts each other, or their offers.
type Dispute struct {
	At      time.Time     `json:"at"`
	Kind    string        `json:"kind"` // results-differ, or the reason for which a quote is broken
	Role    string        `json:"role"`
	Process ao.ID         `json:"process"`
	Slot    ao.Slot       `json:"slot"`
	Units   []market.Peer `json:"units"`
	Guilty  string        `json:"guilty,omitempty"` // who is at fault, if that is decided
	Signed  [][]byte      `json:"signed,omitempty"` // what they signed
}

// TradeStatus is a peer's trade at one moment.
type TradeStatus struct {
	Bought    Sum              `json:"bought"`
	Sold      Sum              `json:"sold"`
	Sales     map[string]Sales `json:"sales,omitempty"` // by role
	Purchases Purchases        `json:"purchases"`
	Disputes  []Dispute        `json:"disputes,omitempty"` // the latest, without what was signed
	Waiting   map[string]int   `json:"waiting,omitempty"`  // jobs, by role
}

func (t *trade) status() TradeStatus {
	s := TradeStatus{Bought: t.bought.sum(), Sold: t.sold.sum(), Sales: map[string]Sales{}, Waiting: map[string]int{}}
	for r, till := range t.tills {
		s.Waiting[r.String()] = int(till.waiting())
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	for r, x := range t.sales {
		c := *x
		c.Lost = maps.Clone(x.Lost)
		s.Sales[r.String()] = c
	}
	s.Purchases = t.purchases
	s.Purchases.Lost = maps.Clone(t.purchases.Lost)
	for _, d := range t.disputes[max(0, len(t.disputes)-shownSigned):] {
		d.Signed = nil
		s.Disputes = append(s.Disputes, d)
	}
	return s
}

// count changes the counts of a role that is sold.
func (t *trade) count(r market.Role, change func(*Sales)) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if s := t.sales[r]; s != nil {
		change(s)
	}
}

// lose counts work that was refused.
func (t *trade) lose(r market.Role, err error) {
	reason := reasonOf(err)
	if reason == "" {
		reason = market.Reason(Refusal(verbQuote, err).Code)
	}
	t.count(r, func(s *Sales) { s.Lost[reason]++ })
}

// buys changes the counts of what is bought.
func (t *trade) buys(change func(*Purchases)) {
	t.lock.Lock()
	defer t.lock.Unlock()
	change(&t.purchases)
}

// lostBid counts a quote that was not taken.
func (t *trade) lostBid(reason market.Reason) {
	t.buys(func(p *Purchases) { p.Lost[reason]++ })
}

// keeper is the unit that served a process last.
func (t *trade) keeper(r market.Role, process ao.ID) market.Peer {
	t.lock.Lock()
	defer t.lock.Unlock()
	return t.kept[keeping{r, process}]
}

// keepWith remembers who served a process; a zero unit is to forget.
func (t *trade) keepWith(r market.Role, process ao.ID, unit market.Peer) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(t.kept) >= maxRemembered {
		clear(t.kept)
	}
	delete(t.begun, keeping{r, process})
	if t.kept[keeping{r, process}] = unit; unit.IsZero() {
		delete(t.kept, keeping{r, process})
	}
}

// leave forgets that a unit served a process, if it did.
func (t *trade) leave(r market.Role, process ao.ID, unit market.Peer) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, of := range []map[keeping]market.Peer{t.kept, t.begun} {
		if of[keeping{r, process}] == unit {
			delete(of, keeping{r, process})
		}
	}
}

// keepDispute writes a dispute down; of more than are kept the oldest goes. The same again changes nothing.
func (t *trade) keepDispute(d Dispute) {
	t.disputeLock.Lock()
	defer t.disputeLock.Unlock()
	t.lock.Lock()
	all := slices.Clone(t.disputes)
	t.lock.Unlock()
	if slices.ContainsFunc(all, func(x Dispute) bool { return x.isSame(d) }) {
		return
	}
	if n := len(all); n > 0 && !all[n-1].At.Before(d.At) { // its time is its key
		d.At = all[n-1].At.Add(time.Nanosecond)
	}
	var b store.Batch
	if len(all) >= maxDisputes {
		b.Delete(all[0].key())
		all = all[1:]
	}
	v, err := json.Marshal(d)
	if err == nil {
		b.Put(d.key(), v)
		err = t.store.Commit(&b)
	}
	if err != nil {
		t.log.Warn("dispute is not written down", "kind", d.Kind, "err", err)
		return
	}
	t.log.Info("dispute", "kind", d.Kind, "process", d.Process, "slot", uint64(d.Slot), "units", d.Units, "guilty", d.Guilty)
	t.lock.Lock()
	defer t.lock.Unlock()
	t.disputes = append(all, d)
}

func (d Dispute) isSame(x Dispute) bool {
	return d.Kind == x.Kind && d.Process == x.Process && d.Slot == x.Slot && slices.Equal(d.Units, x.Units)
}

func (d Dispute) key() string { return fmt.Sprintf("%s%020d", keyDispute, d.At.UnixNano()) }

func (t *trade) readDispute(_ string, value []byte) error {
	var d Dispute
	if err := json.Unmarshal(value, &d); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	t.disputes = append(t.disputes, d)
	return nil
}

// Disputes are what units signed that does not go together, oldest first, with the signed bytes.
func (m *Market) Disputes() []Dispute {
	m.trade.lock.Lock()
	defer m.trade.lock.Unlock()
	return slices.Clone(m.trade.disputes)
}

// priceOf is an amount as ranking and queues weigh it: what does not fit is as dear as can be.
func priceOf(a ao.Amount) uint64 {
	v, err := strconv.ParseUint(a.String(), 10, 64)
	if err != nil {
		return market.NoCap
	}
	return v
}
