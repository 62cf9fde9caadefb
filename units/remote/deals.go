package remote

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
)

// Side is where this peer stands in a deal.
type Side string

// The sides.
const (
	Bought Side = "bought"
	Sold   Side = "sold"
)

// DealState is what became of a deal.
type DealState string

// The states. A deal is owed once it is served: a seller counts it before its answer leaves, a buyer once it has the
// answer. So a deal whose answer was lost on the way is served on one side and signed on the other.
const (
	Signed DealState = "signed"
	Served DealState = "served"
)

// Account is a deal and what became of it.
type Account struct {
	Deal  market.Deal
	State DealState
	At    time.Time // of the state
}

// Sum is what deals with one peer, or with all, add up to.
type Sum struct {
	Served   uint64    `json:"served"`
	Owed     ao.Amount `json:"owed"` // for them
	Signed   uint64    `json:"signed"`
	Unserved ao.Amount `json:"unserved"` // what they would have cost
}

func (s *Sum) add(state DealState, n uint64, a ao.Amount) error {
	count, sum := &s.Served, &s.Owed
	if state == Signed {
		count, sum = &s.Signed, &s.Unserved
	}
	total, err := sum.Add(a)
	if err != nil {
		return fmt.Errorf("add up deals: %w", err)
	}
	*sum, *count = total, *count+n
	return nil
}

func (s *Sum) take(state DealState, a ao.Amount) {
	count, sum := &s.Served, &s.Owed
	if state == Signed {
		count, sum = &s.Signed, &s.Unserved
	}
	if rest, err := sum.Sub(a); err == nil { // it was added before
		*sum, *count = rest, *count-1
	}
}

// The bounds of a ledger.
const (
	keepDeals   = 1 << 14             // deals kept whole; older ones are folded into sums
	maxDeals    = 1 << 17             // deals that may be kept because they can still be presented
	maxAccounts = 1 << 16             // peers with a sum of their own; all others share one
	retryDeals  = 60_000              // ms after its quote's expiry in which a deal may be presented again
	lateDeals   = 3_600_000           // ms after which no answer to a deal is waited for
	foldAtOnce  = 256                 // deals in one batch
	headLine    = 1 + 8 + 8 + 32 + 32 // bytes of a record before the amount
)

// line is a deal as a ledger remembers it.
type line struct {
	quote, other, question ao.ID
	state                  DealState
	at, expires            int64
	owed                   ao.Amount
	writing                chan struct{} // closed once it is durable or given up; nil: nobody writes
}

// ledger is all deals of one side: durable, bounded, each quote once. Safe for concurrent use.
type ledger struct {
	side  Side
	store store.Store
	keep  int

	foldLock sync.Mutex // one fold at a time

	lock   sync.Mutex
	lines  map[ao.ID]*line // by quote, those being written included
	order  []*line         // those durable, oldest first
	held   map[ao.ID]int   // quotes whose deals are under way
	folded map[ao.ID]Sum   // by peer; under the zero ID that of peers without one
	total  Sum             // of order and folded
}

func openLedger(side Side, st store.Store) (*ledger, error) {
	l := &ledger{side: side, store: st, keep: keepDeals, lines: map[ao.ID]*line{}, held: map[ao.ID]int{}, folded: map[ao.ID]Sum{}}
	if err := scan(st, l.prefix("deal"), l.readLine); err != nil {
		return nil, err
	}
	if err := scan(st, l.prefix("sum"), l.readSum); err != nil {
		return nil, err
	}
	slices.SortFunc(l.order, func(a, b *line) int {
		return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(a.quote[:], b.quote[:]))
	})
	return l, nil
}

func (l *ledger) prefix(what string) string { return "market/" + string(l.side) + "/" + what + "/" }

// scan visits every pair under a prefix, in order.
func scan(st store.Store, prefix string, visit func(key string, value []byte) error) error {
	const page = 256
	for after := ""; ; {
		pairs, err := st.Scan(prefix, after, page)
		if err != nil {
			return fmt.Errorf("scan %s: %w", prefix, err)
		}
		for _, p := range pairs {
			if err := visit(p.Key[len(prefix):], p.Value); err != nil {
				return fmt.Errorf("read %s: %w", p.Key, err)
			}
			after = p.Key
		}
		if len(pairs) < page {
			return nil
		}
	}
}

// encode is: state, time, expiry, peer, question, the amount's length and digits, the deal.
func (x *line) encode(raw []byte) []byte {
	digits := x.owed.String()
	b := make([]byte, 0, headLine+1+len(digits)+len(raw))
	b = append(b, 0)
	if x.state == Served {
		b[0] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(x.at))
	b = binary.BigEndian.AppendUint64(b, uint64(x.expires))
	b = append(append(b, x.other[:]...), x.question[:]...)
	b = append(append(b, byte(len(digits))), digits...)
	return append(b, raw...)
}

// decodeLine is what encode made, and the deal's bytes.
func decodeLine(b []byte) (x *line, raw []byte, err error) {
	if len(b) <= headLine || len(b) < headLine+1+int(b[headLine]) {
		return nil, nil, fmt.Errorf("%w: a deal of %d bytes", store.ErrCorrupt, len(b))
	}
	x = &line{at: int64(binary.BigEndian.Uint64(b[1:])), expires: int64(binary.BigEndian.Uint64(b[9:]))}
	switch b[0] {
	case 0:
		x.state = Signed
	case 1:
		x.state = Served
	default:
		return nil, nil, fmt.Errorf("%w: a deal's state %d", store.ErrCorrupt, b[0])
	}
	copy(x.other[:], b[17:])
	copy(x.question[:], b[49:])
	end := headLine + 1 + int(b[headLine])
	if x.owed, err = ao.ParseAmount(string(b[headLine+1 : end])); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return x, b[end:], nil
}

func (l *ledger) readLine(key string, value []byte) error {
	x, _, err := decodeLine(value)
	if err != nil {
		return err
	}
	if x.quote, err = ao.ParseID(key); err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	l.lines[x.quote], l.order = x, append(l.order, x)
	return l.total.add(x.state, 1, x.owed)
}

func (l *ledger) readSum(key string, value []byte) error {
	peer, err := ao.ParseID(key)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	s, err := decodeSum(value)
	if err != nil {
		return err
	}
	l.folded[peer] = s
	return errors.Join(l.total.add(Served, s.Served, s.Owed), l.total.add(Signed, s.Signed, s.Unserved))
}

func (s Sum) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.Served)
	b = binary.BigEndian.AppendUint64(b, s.Signed)
	return fmt.Appendf(b, "%s %s", s.Owed, s.Unserved)
}

func decodeSum(b []byte) (s Sum, err error) {
	var owed, unserved string
	if len(b) > 16 {
		if _, err = fmt.Sscan(string(b[16:]), &owed, &unserved); err == nil {
			s.Owed, err = ao.ParseAmount(owed)
		}
		if err == nil {
			s.Unserved, err = ao.ParseAmount(unserved)
		}
	}
	if len(b) <= 16 || err != nil {
		return s, fmt.Errorf("%w: a sum of deals", store.ErrCorrupt)
	}
	s.Served, s.Signed = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
	return s, nil
}

// question is what a deal on that quote was presented for, if there is one.
func (l *ledger) question(quote ao.ID) (ao.ID, bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	x := l.lines[quote]
	if x == nil {
		return ao.ID{}, false
	}
	return x.question, true
}

// write puts a deal into the ledger in that state, durably, once for its quote: a state that it has already is left as it
// is. Errors: DealtTwice for another question, Busy, the store's.
func (l *ledger) write(d market.Deal, question ao.ID, state DealState, now int64) error {
	l.lock.Lock()
	x := l.lines[d.Quote().ID()]
	for x != nil && x.writing != nil { // somebody else is at it: what comes of it counts
		writing := x.writing
		l.lock.Unlock()
		<-writing
		l.lock.Lock()
		x = l.lines[d.Quote().ID()]
	}
	switch {
	case x == nil && len(l.lines) >= maxDeals:
		l.lock.Unlock()
		return fmt.Errorf("%w: %d deals not expired yet", market.Busy, maxDeals)
	case x != nil && x.question != question:
		l.lock.Unlock()
		return fmt.Errorf("%w: for another question", market.DealtTwice)
	case x != nil && (x.state == state || x.state == Served):
		l.lock.Unlock()
		return nil
	}
	var before *line
	if x != nil {
		old := *x
		before = &old
	} else {
		x = &line{quote: d.Quote().ID(), other: l.other(d), question: question, expires: d.Quote().Bid().Expires, owed: d.Owed()}
		l.lines[x.quote] = x
	}
	x.state, x.at, x.writing = state, now, make(chan struct{})
	record := x.encode(d.Raw())
	l.lock.Unlock()

	var b store.Batch
	b.Put(l.prefix("deal")+x.quote.String(), record)
	err := l.store.Commit(&b)
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.written(x, before, err)
}

// written takes over what came of writing a line that was before what it was, nil for nothing. The lock is held.
func (l *ledger) written(x, before *line, err error) error {
	close(x.writing)
	x.writing = nil
	switch {
	case err == nil && before == nil:
		l.order = append(l.order, x)
		return l.total.add(x.state, 1, x.owed)
	case err == nil:
		l.total.take(before.state, x.owed)
		return l.total.add(x.state, 1, x.owed)
	case before == nil:
		delete(l.lines, x.quote)
	default:
		x.state, x.at = before.state, before.at
	}
	return fmt.Errorf("write deal: %w", err)
}

// other is the peer at the other side.
func (l *ledger) other(d market.Deal) ao.ID {
	if l.side == Sold {
		return d.Buyer()
	}
	return d.Seller()
}

// hold keeps a deal on that quote from being forgotten until the function that it returns is called.
func (l *ledger) hold(quote ao.ID) (release func()) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.held[quote]++
	return func() {
		l.lock.Lock()
		defer l.lock.Unlock()
		if l.held[quote]--; l.held[quote] == 0 {
			delete(l.held, quote)
		}
	}
}

// fold turns the oldest deals into sums until as few are left as are kept; never one that can still be presented.
func (l *ledger) fold(now int64) error {
	l.foldLock.Lock()
	defer l.foldLock.Unlock()
	for {
		lines, sums, err := l.oldest(now)
		if err != nil || len(lines) == 0 {
			return err
		}
		var b store.Batch
		for _, x := range lines {
			b.Delete(l.prefix("deal") + x.quote.String())
		}
		for peer, s := range sums {
			b.Put(l.prefix("sum")+peer.String(), s.encode())
		}
		if err := l.store.Commit(&b); err != nil {
			return fmt.Errorf("fold deals: %w", err)
		}
		l.lock.Lock()
		for _, x := range lines {
			delete(l.lines, x.quote)
		}
		l.order = slices.DeleteFunc(l.order, func(x *line) bool { return l.lines[x.quote] != x })
		maps.Copy(l.folded, sums)
		l.lock.Unlock()
	}
}

// oldest is the next deals to fold, and the sums with them.
func (l *ledger) oldest(now int64) (lines []*line, sums map[ao.ID]Sum, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	sums = map[ao.ID]Sum{}
	for _, x := range l.order {
		if len(l.order)-len(lines) <= l.keep || len(lines) == foldAtOnce {
			break
		}
		if !l.isOver(x, now) {
			continue
		}
		peer := x.other
		if _, ok := l.folded[peer]; !ok && len(l.folded)+len(sums) >= maxAccounts {
			peer = ao.ID{}
		}
		s, ok := sums[peer]
		if !ok {
			s = l.folded[peer]
		}
		if err := s.add(x.state, 1, x.owed); err != nil {
			return nil, nil, err
		}
		sums[peer], lines = s, append(lines, x)
	}
	return lines, sums, nil
}

// isOver says whether a deal can change no more. The lock is held.
func (l *ledger) isOver(x *line, now int64) bool {
	after := int64(retryDeals)
	if x.state == Signed {
		after = lateDeals
	}
	return x.expires+after <= now && x.writing == nil && l.held[x.quote] == 0
}

// Deals visits the deals of a side that are kept whole, oldest first, so that whoever doubts a total can add it up again.
// Errors: the store's, visit's.
func (m *Market) Deals(side Side, visit func(Account) error) error {
	l := m.trade.sold
	if side == Bought {
		l = m.trade.bought
	}
	l.lock.Lock()
	order := slices.Clone(l.order)
	l.lock.Unlock()
	for _, x := range order {
		b, err := l.store.Get(l.prefix("deal") + x.quote.String())
		if errors.Is(err, store.ErrNotFound) { // it was folded, or is not written yet
			continue
		}
		if err != nil {
			return fmt.Errorf("read deal: %w", err)
		}
		y, raw, err := decodeLine(b)
		if err != nil {
			return fmt.Errorf("read deal: %w", err)
		}
		d, err := market.ParseDeal(raw)
		if err != nil {
			return fmt.Errorf("read deal: %w", err)
		}
		if err := visit(Account{Deal: d, State: y.state, At: time.UnixMilli(y.at)}); err != nil {
			return err
		}
	}
	return nil
}

// Tabs are what the deals of a side add up to for each peer at the other side, those folded included.
func (m *Market) Tabs(side Side) map[market.Peer]Sum {
	l := m.trade.sold
	if side == Bought {
		l = m.trade.bought
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	out := maps.Clone(l.folded)
	for _, x := range l.order {
		s := out[x.other]
		if s.add(x.state, 1, x.owed) == nil {
			out[x.other] = s
		}
	}
	return out
}

// sum is the total of the ledger.
func (l *ledger) sum() Sum {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.total
}
