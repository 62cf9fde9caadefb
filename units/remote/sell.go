package remote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// ServeScheduler puts a scheduler on the wire behind the market's gate.
func (m *Market) ServeScheduler(s units.Scheduler) { serveScheduler(m.node, s, m) }

// ServeComputer puts a computer on the wire behind the market's gate.
func (m *Market) ServeComputer(c units.Computer) { serveComputer(m.node, c, m) }

// ServeMessenger puts a messenger on the wire behind the market's gate.
func (m *Market) ServeMessenger(c units.Messenger) { serveMessenger(m.node, c, m) }

// work is what a seller is asked to do.
type work struct {
	role     market.Role
	process  ao.ID
	slot     ao.Slot
	question ao.ID        // what one deal is good for
	counts   market.Parts // what is billed at least; of computers without the slots to replay
	reading  bool         // it is free, and only waits its turn
	deal     []byte       // nil for none
}

// admit lets work in: it checks the deal, and lets the work wait its turn. The function that it returns must be called
// with how the work ended, before the answer leaves; what that returns goes to the caller in place of the answer.
// Errors: no-deal, unpaid, busy, deadline.
func (m *Market) admit(ctx context.Context, from p2p.Peer, w work) (leave func(error) error, err error) {
	if m == nil || m.trade.tills[w.role] == nil {
		return func(err error) error { return err }, nil
	}
	d, err := m.present(from, w)
	if err != nil {
		m.trade.lose(w.role, err)
		return nil, err
	}
	release, price := func() {}, uint64(0)
	if d != nil {
		release, price = m.trade.sold.hold(d.Quote().ID()), priceOf(d.Owed())
	}
	till := m.trade.tills[w.role]
	if err := till.enter(ctx, m.room(w.role), market.PeerOf(from.PublicKey), price); err != nil {
		release()
		m.trade.lose(w.role, err)
		return nil, err
	}
	return func(err error) error {
		till.leave()
		defer release()
		if !isTaken(err) || d == nil {
			return err
		}
		if err := m.trade.sold.write(*d, w.question, Served, m.now()); err != nil {
			return ao.Refuse(w.role.String(), ao.StoreTrouble, "%v", err)
		}
		m.trade.count(w.role, func(s *Sales) { s.Served++ })
		return err
	}, nil
}

// isTaken says whether work that ended so is owed: a push that is queued goes on, however soon its caller left.
func isTaken(err error) bool { return err == nil || errors.Is(err, &ao.Refusal{Code: ao.Queued}) }

// present is the deal for the work; nil for none where none is due.
func (m *Market) present(from p2p.Peer, w work) (*market.Deal, error) {
	switch {
	case w.reading:
		return nil, nil
	case w.deal == nil && m.charges(w):
		return nil, ao.Refuse(verbQuote, ao.Unpaid, "the %s serves for a price", w.role)
	case w.deal == nil:
		return nil, nil
	}
	d, err := market.ParseDeal(w.deal)
	if err != nil {
		return nil, err
	}
	n, q := d.Need(), d.Quote()
	question, isKnown := m.trade.sold.question(q.ID())
	switch now := m.now(); {
	case n.Network != m.cfg.Network:
		return nil, fmt.Errorf("%w: %s", market.OtherNetwork, n.Network)
	case q.Peer() != m.self:
		return nil, fmt.Errorf("%w: %s", market.OtherSeller, q.Peer())
	case d.Buyer() != market.PeerOf(from.PublicKey):
		return nil, fmt.Errorf("%w: %s", market.OtherBuyer, d.Buyer())
	case n.Role != w.role || n.Process != w.process || n.Slot != w.slot:
		return nil, fmt.Errorf("%w: slot %d of %s for a %s", market.OtherNeed, n.Slot, n.Process, n.Role)
	case !covers(n.Counts, w.counts):
		return nil, fmt.Errorf("%w: it is for less than what is asked", market.OtherNeed)
	case isKnown && question != w.question:
		return nil, fmt.Errorf("%w: for another question", market.DealtTwice)
	case !isKnown && q.Bid().Expires <= now:
		return nil, fmt.Errorf("%w: %d ms ago", market.Expired, now-q.Bid().Expires)
	}
	return &d, nil
}

// charges says whether work without a deal is refused, by the prices that are offered now.
func (m *Market) charges(w work) bool {
	w.counts[market.CUSlot] += onlyOf(w.role, market.Computer, uint64(w.slot))
	m.lock.Lock()
	defer m.lock.Unlock()
	s := m.stalls[w.role]
	prices := s.shop.Pricing.At(s.level)
	if o, ok := m.own(w.role); ok {
		prices = o.Terms().Prices
	}
	return !isFree(prices, w.counts)
}

// room is how much work of a role is done at once.
func (m *Market) room(r market.Role) int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return int(m.stalls[r].capacity)
}

// onlyOf is v if the roles are the same, else 0.
func onlyOf(r, want market.Role, v uint64) uint64 {
	if r == want {
		return v
	}
	return 0
}

// isFree says whether counts cost nothing at prices.
func isFree(prices, counts market.Parts) bool {
	for i, p := range prices {
		if p != 0 && counts[i] != 0 {
			return false
		}
	}
	return true
}

// covers says whether counts that were quoted are enough for those that are asked.
func covers(quoted, asked market.Parts) bool {
	for i, c := range asked {
		if quoted[i] < c {
			return false
		}
	}
	return true
}

// The least that is billed for work of a kind. A message to assign may be zero: how large it is turns out when the
// scheduler fetches it.
func countsOfMessage(m ao.Message) (c market.Parts) {
	if c[market.SUMessage], c[market.SUKiB] = 1, 1; m.IsZero() {
		return c
	}
	c[market.SUKiB] = uint64(len(m.Raw())+1023) / 1024
	if m.IsSpawn() {
		c[market.SUProcess] = 1
	}
	return c
}

// countsOfResult bill one unit of compute and a KiB: what a message really takes is known only afterwards.
func countsOfResult() (c market.Parts) {
	c[market.CUBase], c[market.CUCompute], c[market.CUKiB] = 1, 1, 1
	return c
}

func countsOfPush() (c market.Parts) {
	c[market.MUPush], c[market.MUHop] = 1, 1
	return c
}

// till is where work of one role waits its turn.
type till struct {
	lock  sync.Mutex
	under int // let in
	queue *market.Queue
	next  uint64
	waits map[uint64]chan error // by job: told nil when it is its turn
}

func newTill(l market.Limits) *till {
	return &till{queue: market.NewQueue(l), waits: map[uint64]chan error{}}
}

// waiting is how many jobs wait.
func (t *till) waiting() uint64 {
	if t == nil {
		return 0
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	return uint64(t.queue.Len())
}

// enter lets a job in once there is room for it among that many at once. Errors: busy, deadline.
func (t *till) enter(ctx context.Context, room int, payer market.Peer, price uint64) error {
	if room <= 0 {
		return ao.Refuse("market", ao.Busy, "%s: no work is taken now", market.NoCapacity)
	}
	t.lock.Lock()
	if t.under < room && t.queue.Len() == 0 {
		t.under++
		t.lock.Unlock()
		return nil
	}
	t.next++
	id, turn := t.next, make(chan error, 1)
	out, isOut, err := t.queue.Push(market.Job{Payer: payer, ID: id, Price: price, Work: 1})
	if err != nil {
		err = putOff(err, t.queue.Backlog(payer))
		t.lock.Unlock()
		return err
	}
	t.waits[id] = turn
	if isOut {
		t.tell(out.ID, putOff(market.Displaced, t.queue.Backlog(out.Payer)))
	}
	if t.under < room { // it was not full, only waited for by others
		t.pass()
	}
	t.lock.Unlock()
	select {
	case err := <-turn:
		return err
	case <-ctx.Done():
	}
	t.lock.Lock()
	defer t.lock.Unlock()
	delete(t.waits, id) // its place in the queue is passed over
	select {
	case err := <-turn: // both at once
		if err == nil {
			t.under--
			t.pass()
		}
	default:
	}
	return ctx.Err()
}

// leave ends a job that was let in.
func (t *till) leave() {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.under--
	t.pass()
}

// pass lets the next job in. The lock is held.
func (t *till) pass() {
	for {
		j, ok := t.queue.Pop()
		if !ok {
			return
		}
		if t.tell(j.ID, nil) {
			t.under++
			return
		}
	}
}

// tell answers a job that waits; false if it has left. The lock is held.
func (t *till) tell(id uint64, err error) bool {
	turn, ok := t.waits[id]
	if ok {
		delete(t.waits, id)
		turn <- err
	}
	return ok
}

// putOff is busy with what waits, and at which price there is room.
func putOff(err error, b market.Backlog) error {
	room := "no room at any price"
	switch {
	case b.Open && b.Price > 0:
		room = fmt.Sprintf("room at a price of %d", b.Price)
	case b.Open:
		room = "room now"
	}
	return ao.Refuse("market", ao.Busy, "%s: %d jobs wait; %s", market.ReasonOf(err), b.Ahead, room)
}

// reasonOf is the market's reason in an error of ours, or in the detail of a peer's refusal.
func reasonOf(err error) market.Reason {
	if r := market.ReasonOf(err); r != "" {
		return r
	}
	var refused *ao.Refusal
	if errors.As(err, &refused) {
		word, _, _ := strings.Cut(refused.Detail, ":")
		if r := market.Reason(word); market.RemedyOf(r) != "" {
			return r
		}
	}
	return ""
}
