package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// The times of an offer, in ms. One is renewed between a quarter and a third of its life, by chance, so that those of a
// network that started together do not come together for ever. A thousand offers are two messages a second in this way.
const (
	offerLife   = market.MaxOfferLife
	announceGap = 5_000           // between two offers of a role
	hastyGap    = 1_000           // the same, if the new one was asked for
	changeCost  = 30_000          // how long a change of price, capacity or address must be saved up for
	changeSaved = 6 * changeCost  // and how many of them can be, at most
	stepEvery   = 5_000           // between two looks at the load
	maxOwnAddrs = 8               // in an offer
	maxAddrLen  = 128             // of each
	maxTwins    = 16              // kept
	sellEvery   = time.Second / 2 // how often it is seen whether something is to be announced
	publishing  = 5 * time.Second // may take at most
	storePause  = 10_000          // after the store took nothing
	shutLife    = 2 * 60_000      // of an offer that says that nothing is sold any more
)

// stall is what this peer sells in one role.
type stall struct {
	shop     Shop
	capacity uint32 // now
	level    int64  // of prices now, in millionths
	stepped  int64  // ms of the last look at the load
	offer    market.Offer
	renew    int64 // ms at which the offer is renewed, whatever happens
	credit   int64 // ms saved up for changes
	counted  int64 // ms until which they are counted
	heard    bool  // somebody was there when the offer went out
	asked    bool  // a new offer is wanted at once
}

func (s *stall) status(r market.Role) OwnOffer {
	out := OwnOffer{Role: r.String(), Level: s.level}
	if !s.offer.IsZero() {
		t := s.offer.Terms()
		out.ID, out.Sequence, out.Expires = s.offer.ID().String(), t.Sequence, time.UnixMilli(t.Expires)
		out.Prices, out.Capacity = t.Prices, t.Capacity
	}
	return out
}

// judge is the validator of a role's topic. It runs beside others, away from the event loop of gossip, and those that
// run at one moment verify together.
func (m *Market) judge(r market.Role, from peer.ID, raw []byte) p2p.Verdict {
	if from == m.node.ID() {
		return p2p.Accept // this peer publishes what it has signed or checked, and knows it already
	}
	err := m.Hear(r, raw)
	if err == nil {
		return p2p.Accept
	}
	if m.refuse(err).IsFault() {
		return p2p.Reject
	}
	return p2p.Ignore
}

// Hear takes an offer that came by gossip in the topic of a role; nil says that it was news. Calls at one moment verify
// together. Errors: those of market.ParseOfferBy and market.Book.Add, WrongRole, TooSoon.
func (m *Market) Hear(r market.Role, raw []byte) error {
	o, err := market.ParseOfferBy(&m.together, raw, func(p market.Peer, t market.Terms) error {
		if t.Role != r {
			return fmt.Errorf("%w: an offer of a %s", market.WrongRole, t.Role)
		}
		return m.worth(raw, p, t)
	})
	if err != nil {
		return err
	}
	return m.add(o)
}

// worth says whether an offer that is not verified yet could be news. What it refuses is nobody's fault.
func (m *Market) worth(raw []byte, p market.Peer, t market.Terms) error {
	old, ok := m.Offer(p, t.Role)
	if !ok {
		return nil
	}
	switch seq := old.Terms().Sequence; {
	case t.Sequence < seq:
		return market.RolledBack
	case t.Sequence == seq && bytes.Equal(raw, old.Raw()):
		return market.Known
	case t.Sequence > seq && t.Sequence-seq < hastyGap:
		return market.TooSoon
	}
	return nil
}

// add puts an offer into the book.
func (m *Market) add(o market.Offer) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	if o.Peer() == m.self {
		return m.meet(o)
	}
	return m.book.Add(o, m.now())
}

// meet looks at an offer signed with our own key. One that we did not sign is that of a second instance with the same
// key: whichever offers last wins, and to whom both say something at one millisecond it is a cheat.
func (m *Market) meet(o market.Offer) error {
	t := o.Terms()
	own, mine := market.Offer{}, m.last[t.Role]
	if s := m.stalls[t.Role]; s != nil {
		own = s.offer
	}
	isOther := t.Sequence == mine && !own.IsZero() && own.ID() != o.ID()
	switch {
	case t.Sequence > max(mine, m.began), isOther:
		if len(m.twins) < maxTwins && !slices.ContainsFunc(m.twins, func(x market.Offer) bool { return x.ID() == o.ID() }) {
			m.twins = append(m.twins, o)
			m.log.Warn("somebody else offers with this peer's key: run one instance for a key", "role", t.Role, "sequence", t.Sequence)
		}
		return market.Equivocated
	case t.Sequence == mine:
		return market.Known
	}
	return market.RolledBack
}

// refuse counts an offer that was not taken.
func (m *Market) refuse(err error) market.Reason {
	reason := market.ReasonOf(err)
	m.lock.Lock()
	defer m.lock.Unlock()
	m.refused[reason]++
	return reason
}

// Reprice changes how prices are set in a role, and announces it at once.
func (m *Market) Reprice(r market.Role, p market.Pricing) error {
	if err := p.Check(r); err != nil {
		return fmt.Errorf("reprice %s: %w", r, err)
	}
	m.lock.Lock()
	defer m.lock.Unlock()
	s := m.stalls[r]
	if s == nil {
		return fmt.Errorf("reprice %s: %w: nothing is sold in that role", r, market.WrongRole)
	}
	s.shop.Pricing, s.level, s.asked = p, p.Start(), true
	select {
	case m.wake <- struct{}{}:
	default:
	}
	return nil
}

// sell keeps this peer's offers abroad and true.
func (m *Market) sell(ctx context.Context) {
	if len(m.cfg.Shops) == 0 {
		return
	}
	tick := time.NewTicker(sellEvery)
	defer tick.Stop()
	var pause int64
	for {
		m.follow()
		if now := m.now(); now >= pause || now < pause-storePause {
			if err := m.announce(ctx, m.due()); err != nil {
				m.log.Warn("offers not announced: they cannot be written down", "err", err)
				pause = now + storePause
			}
		}
		select {
		case <-ctx.Done():
			m.shut(context.WithoutCancel(ctx))
			return
		case <-tick.C:
		case <-m.wake:
		}
	}
}

// shut tells whoever heard of an offer that nothing is sold any more, so that nobody asks in vain. Whether it gets through
// is up to luck; the offer would expire anyway.
func (m *Market) shut(ctx context.Context) {
	var out []market.Terms
	m.lock.Lock()
	for r, s := range m.stalls {
		if s.offer.IsZero() || !s.heard {
			continue
		}
		t := s.offer.Terms()
		t.Sequence, t.Capacity = max(m.now(), m.last[r]+hastyGap), 0
		t.Expires = t.Sequence + shutLife
		m.last[r] = t.Sequence
		out = append(out, t)
	}
	m.lock.Unlock()
	if err := m.announce(ctx, out); err != nil {
		m.log.Debug("say that nothing is sold any more", "err", err)
	}
}

// follow looks at the load and moves price levels by it.
func (m *Market) follow() {
	for r, shop := range m.cfg.Shops {
		if shop.Load == nil {
			continue
		}
		backlog, capacity := shop.Load()
		m.lock.Lock()
		s, now := m.stalls[r], m.now()
		s.capacity = uint32(min(capacity, math.MaxUint32))
		if now-s.stepped >= stepEvery || now < s.stepped {
			s.stepped, s.level = now, s.shop.Pricing.Next(s.level, backlog, capacity)
		}
		m.lock.Unlock()
	}
}

// due is what is to be announced now. Only sell calls it.
func (m *Market) due() []market.Terms {
	if now := m.now(); now-m.lookedUp >= announceGap || now < m.lookedUp || len(m.addrs) == 0 {
		m.addrs, m.lookedUp = offered(m.node.Addrs(), m.node.ID()), now
	}
	var out []market.Terms
	for _, r := range slices.Sorted(maps.Keys(m.cfg.Shops)) {
		listeners := len(m.topics[r].Peers())
		m.lock.Lock()
		s, now := m.stalls[r], m.now()
		t := s.shop.Terms
		t.Network, t.Role, t.Addrs, t.Capacity, t.Prices = m.cfg.Network, r, m.addrs, s.capacity, s.shop.Pricing.At(s.level)
		if s.isDue(&t, now, listeners) {
			t.Sequence = max(now, m.last[r]+hastyGap) // any sooner, and others ignore it
			t.Expires = t.Sequence + offerLife
			m.last[r], s.asked, s.heard = t.Sequence, false, listeners > 0
			s.renew = now + offerLife/4 + int64(m.rand.Below(offerLife/3-offerLife/4))
			out = append(out, t)
		}
		m.lock.Unlock()
	}
	return out
}

// isDue says whether these terms are to be announced, and pays for a change.
func (s *stall) isDue(t *market.Terms, now int64, listeners int) bool {
	s.credit = min(s.credit+max(now-s.counted, 0), changeSaved)
	s.counted = now
	if s.offer.IsZero() {
		return true
	}
	old := s.offer.Terms()
	switch age := now - old.Sequence; {
	case age < 0: // the clock went back: whoever hears a new offer now must wait for the old one's time
		return s.asked
	case age >= hastyGap && (s.asked || !s.heard && listeners > 0):
		return true
	case age < announceGap:
		return false
	case now >= s.renew:
		return true
	case s.credit < changeCost || !differs(&old, t):
		return false
	}
	s.credit -= changeCost
	return true
}

// differs says whether somebody who ranks would care for the difference.
func differs(a, b *market.Terms) bool {
	for i, old := range a.Prices {
		if p := b.Prices[i]; (p == 0) != (old == 0) || max(p, old)-min(p, old) > old/20 {
			return true
		}
	}
	x, y := a.Capacity, b.Capacity
	return (x == 0) != (y == 0) || max(x, y)-min(x, y) > x/4 || !slices.Equal(a.Addrs, b.Addrs)
}

// offered are the addresses that stand in an offer: those that most can reach first, because the first says where the
// unit is, and without the peer's own name, which follows from its key.
func offered(addrs []string, self peer.ID) []string {
	type ranked struct {
		text string
		far  int
	}
	var list []ranked
	for _, text := range addrs {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			continue
		}
		far := 1
		switch {
		case manet.IsPublicAddr(a):
			far = 0
		case manet.IsIPLoopback(a):
			far = 2
		}
		if text = strings.TrimSuffix(text, "/p2p/"+self.String()); text != "" && len(text) <= maxAddrLen {
			list = append(list, ranked{text, far})
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return a.far - b.far })
	out := []string{}
	for _, x := range list[:min(len(list), maxOwnAddrs)] {
		out = append(out, x.text)
	}
	return out
}

// announce signs offers, writes them down and publishes them. A sequence number is on disk before anybody hears of it:
// after a crash it must not be used for another offer.
func (m *Market) announce(ctx context.Context, terms []market.Terms) error {
	var offers []market.Offer
	for _, t := range terms {
		o, err := market.SignOffer(m.cfg.Signer, t)
		if err != nil {
			m.log.Error("offer", "role", t.Role, "err", err)
			continue
		}
		offers = append(offers, o)
	}
	if err := m.saveOwn(offers); err != nil {
		return err
	}
	for _, o := range offers {
		r := o.Terms().Role
		m.lock.Lock()
		m.stalls[r].offer = o
		m.lock.Unlock()
		m.publish(ctx, r, o.Raw())
	}
	return nil
}

func (m *Market) publish(ctx context.Context, r market.Role, raw []byte) {
	ctx, cancel := context.WithTimeout(ctx, publishing)
	defer cancel()
	err := m.topics[r].Publish(ctx, raw)
	switch {
	case errors.Is(err, p2p.ErrRefused):
		m.log.Warn("offer dropped by this peer itself: too many wait to be validated", "role", r, "err", err)
	case err != nil:
		m.log.Debug("publish offer", "role", r, "err", err)
	}
}
