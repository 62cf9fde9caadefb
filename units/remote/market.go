package remote

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// MarketConfig is what a peer's place on the market is built from. Network, Node, Signer and Store are required.
type MarketConfig struct {
	Network string
	Node    *p2p.Node
	Signer  ans104.Signer // the unit's or guest's Ed25519 key: it signs offers, quotes and deals
	Store   store.Store   // offers, scores and deals over a restart
	Shops   map[market.Role]Shop
	Buyer   Buyer
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
	Seed    uint64           // of every draw; secret; 0: from crypto/rand
}

// Shop is what this peer sells in one role.
type Shop struct {
	Terms    market.Terms // without network, role, sequence, expiry, prices and addresses, which Market fills in
	Pricing  market.Pricing
	Limits   market.Limits                              // of its queue; zero: those of market.DefaultLimits
	Load     func() (backlog, capacity uint64)          // nil: never loaded, of the capacity in Terms
	Standing func(market.Need) (market.Standing, error) // nil: nothing makes a need dearer
}

// Buyer is how this peer buys. Zero fields take the defaults.
type Buyer struct {
	Taste       market.Taste  // strategy, cap, λ, exploration, weights
	Ask         int           // units asked for a quote at once; 3
	Patience    time.Duration // for quotes; 2 s
	DoubleCheck uint32        // millionths of results that a second unit is asked for as well
}

const (
	defaultAsk      = 3
	defaultPatience = 2 * time.Second
	sellersKnown    = 2048 // whose keys are remembered, because they renew their offers
)

// Market is a peer's place on the market: it hears offers and makes its own, and knows how it went with whom. Safe for
// concurrent use.
type Market struct {
	cfg    MarketConfig
	node   *p2p.Node
	self   market.Peer
	log    *slog.Logger
	topics map[market.Role]*p2p.Topic
	trade  *trade

	together ans104.Verifier // signatures of offers that come at one moment
	pulls    chan struct{}   // a token for each snapshot that is being served
	wake     chan struct{}   // an announcement is wanted now

	began int64            // ms at which this instance did
	saved map[string]int64 // the sequence number under each key of an offer in the store; of keep

	addrs    []string // that own offers name; of sell
	lookedUp int64    // ms at which they were

	lock    sync.Mutex // owns what follows; not held while anything is verified, written or waited for
	book    *market.Book
	scores  *market.Scores
	rand    *market.Rand
	stalls  map[market.Role]*stall
	refused map[market.Reason]uint64
	last    map[market.Role]int64      // sequence numbers used
	proofs  map[string]market.Evidence // that the store has, by key
	twins   []market.Offer             // signed with our own key, and not by us
	timed   map[seat]int64             // ms of the last latency noted
	wanted  map[seat]market.Offer
	scored  bool // scores changed since they were saved
}

// seat is a unit in one of its roles.
type seat struct {
	role market.Role
	peer market.Peer
}

// marketRoles are all roles that can be offered, in order.
func marketRoles() []market.Role {
	return []market.Role{market.Scheduler, market.Computer, market.Messenger, market.Attestor}
}

// NewMarket reads what the store remembers, joins the topics, and serves the verbs offers and quote. It starts nothing.
func NewMarket(cfg MarketConfig) (*Market, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Buyer.Ask <= 0 {
		cfg.Buyer.Ask = defaultAsk
	}
	if cfg.Buyer.Patience <= 0 {
		cfg.Buyer.Patience = defaultPatience
	}
	if cfg.Signer.Type() != ans104.Ed25519 {
		return nil, fmt.Errorf("open market: %w: offers are signed with Ed25519 keys", market.BadSignature)
	}
	if cfg.Seed == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return nil, fmt.Errorf("open market: %w", err)
		}
		cfg.Seed = binary.BigEndian.Uint64(b[:])
	}
	rules := market.DefaultConfig(cfg.Network, cfg.Seed)
	m := &Market{
		cfg: cfg, node: cfg.Node, self: market.PeerOf(cfg.Signer.Owner()), log: cfg.Log, topics: map[market.Role]*p2p.Topic{},
		together: ans104.Verifier{Keys: sellersKnown},
		pulls:    make(chan struct{}, maxPullsServed), wake: make(chan struct{}, 1), saved: map[string]int64{},
		book: market.NewBook(rules), scores: rules.Scores, rand: market.NewRand(cfg.Seed ^ 0x9e3779b97f4a7c15),
		stalls: map[market.Role]*stall{}, refused: map[market.Reason]uint64{},
		last: map[market.Role]int64{}, proofs: map[string]market.Evidence{}, timed: map[seat]int64{}, wanted: map[seat]market.Offer{},
	}
	m.began = m.now()
	for r, shop := range cfg.Shops {
		if err := shop.Pricing.Check(r); err != nil {
			return nil, fmt.Errorf("open market as %s: %w", r, err)
		}
		m.stalls[r] = &stall{shop: shop, capacity: shop.Terms.Capacity, level: shop.Pricing.Start(), credit: changeSaved}
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("open market: %w", err)
	}
	var err error
	if m.trade, err = openTrade(&m.cfg); err != nil {
		return nil, fmt.Errorf("open market: %w", err)
	}
	for _, r := range marketRoles() {
		topic, err := m.node.Topic(verbOffers, "1/"+r.String(), func(_ context.Context, from peer.ID, raw []byte) p2p.Verdict {
			return m.judge(r, from, raw)
		})
		if err != nil {
			return nil, fmt.Errorf("open market: %w", err)
		}
		m.topics[r] = topic
	}
	m.serveOffers()
	m.serveQuotes()
	return m, nil
}

// Run announces, pulls, sweeps, measures round trips, and saves offers and scores until ctx ends.
func (m *Market) Run(ctx context.Context) error {
	if err := m.node.Await(ctx); err != nil {
		return err
	}
	defer m.trade.close()
	var tasks sync.WaitGroup
	for _, t := range m.topics {
		tasks.Go(func() { drain(ctx, t) })
	}
	tasks.Go(func() { m.sell(ctx) })
	tasks.Go(func() { m.foldDeals(ctx) })
	for range checkers {
		tasks.Go(func() { m.recheck(ctx) })
	}
	tasks.Go(func() { m.learn(ctx) })
	tasks.Go(func() { m.measure(ctx) })
	tasks.Go(func() { m.keep(ctx) })
	tasks.Wait()
	return ctx.Err()
}

// drain keeps a topic's queue empty: what the validator accepted is in the book.
func drain(ctx context.Context, t *p2p.Topic) {
	for {
		if _, _, err := t.Next(ctx); err != nil {
			return
		}
	}
}

// Self is this peer's name on the market.
func (m *Market) Self() market.Peer { return m.self }

// now is the engine's time.
func (m *Market) now() int64 { return m.cfg.Now().UnixMilli() }

// Rank is whom to ask, the first choice first, at most room of them; never this peer itself.
func (m *Market) Rank(n *market.Need, t *market.Taste, room int) []market.Choice {
	into := make([]market.Choice, 0, room)
	m.lock.Lock()
	defer m.lock.Unlock()
	into = m.book.Rank(n, t, m.now(), m.rand, into)
	m.want(into)
	return into
}

// Explain is what Rank would decide now, with a reason for every offer of the role.
func (m *Market) Explain(n *market.Need, t *market.Taste, places int) []market.Line {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.book.Explain(n, t, m.now(), m.rand, places)
}

// Offers are the offers for a role that hold now, this peer's own one included, ordered by peer but for that.
func (m *Market) Offers(r market.Role) []market.Offer {
	m.lock.Lock()
	defer m.lock.Unlock()
	out := m.book.Offers(r, m.now())
	if own, ok := m.own(r); ok {
		out = append(out, own)
	}
	return out
}

// Offer is a unit's newest offer, if it holds now.
func (m *Market) Offer(p market.Peer, r market.Role) (market.Offer, bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if p == m.self {
		return m.own(r)
	}
	return m.book.Get(p, r, m.now())
}

// own is what this peer itself offers; the caller holds the lock.
func (m *Market) own(r market.Role) (market.Offer, bool) {
	s := m.stalls[r]
	if s == nil || s.offer.IsZero() || s.offer.Terms().Expires <= m.now() {
		return market.Offer{}, false
	}
	return s.offer, true
}

// Begin notes that a unit was asked for something. Every Begin needs its End.
func (m *Market) Begin(p market.Peer, r market.Role) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.book.Begin(p, r)
}

// End notes how what was begun went: what the work was worth, and how many µs it took, 0 if that says nothing.
func (m *Market) End(p market.Peer, r market.Role, o market.Outcome, value, took uint64) {
	m.lock.Lock()
	defer m.lock.Unlock()
	now := m.now()
	m.book.End(p, r, o, value, took, now)
	m.scored = true
	if took > 0 {
		m.note(seat{r, p}, now)
	}
}

// MarketStatus is a peer's place on the market at one moment.
type MarketStatus struct {
	Offers   map[string]int           `json:"offers"`             // of others that hold, by role
	Own      []OwnOffer               `json:"own,omitempty"`      // what this peer sells
	Refused  map[market.Reason]uint64 `json:"refused,omitempty"`  // offers heard or pulled and not taken
	Evidence []Equivocation           `json:"evidence,omitempty"` // units that signed two offers with one sequence number
	Twins    int                      `json:"twins,omitempty"`    // offers signed with our own key by somebody else
	Scores   int                      `json:"scores"`             // units of which it is known how they served
	Trade    TradeStatus              `json:"trade"`              // deals, and what waits
}

// OwnOffer is what a peer offers in one role.
type OwnOffer struct {
	Role     string       `json:"role"`
	ID       string       `json:"id,omitempty"` // of the offer; empty before the first
	Sequence int64        `json:"sequence"`
	Expires  time.Time    `json:"expires"`
	Level    int64        `json:"level"` // of prices, in millionths
	Prices   market.Parts `json:"prices"`
	Capacity uint32       `json:"capacity"`
}

// Equivocation is two offers that contradict each other.
type Equivocation struct {
	Unit     market.Peer `json:"unit"`
	Role     string      `json:"role"`
	Sequence int64       `json:"sequence"`
	Offers   [2]string   `json:"offers"` // their IDs
}

// Status is how it stands now.
func (m *Market) Status() MarketStatus {
	trade := m.trade.status()
	m.lock.Lock()
	defer m.lock.Unlock()
	now := m.now()
	s := MarketStatus{Offers: map[string]int{}, Refused: maps.Clone(m.refused), Twins: len(m.twins), Scores: m.scores.Len(), Trade: trade}
	for _, r := range marketRoles() {
		s.Offers[r.String()] = len(m.book.Offers(r, now))
		if st := m.stalls[r]; st != nil {
			s.Own = append(s.Own, st.status(r))
		}
	}
	seen := map[seat]bool{}
	evidence := m.book.Evidence()
	for _, key := range slices.Sorted(maps.Keys(m.proofs)) {
		evidence = append(evidence, m.proofs[key])
	}
	for _, e := range evidence {
		at := seat{e.First.Terms().Role, e.First.Peer()}
		if !seen[at] {
			s.Evidence = append(s.Evidence, equivocation(e.First, e.Second))
		}
		seen[at] = true
	}
	return s
}

func equivocation(a, b market.Offer) Equivocation {
	t := a.Terms()
	return Equivocation{Unit: a.Peer(), Role: t.Role.String(), Sequence: t.Sequence, Offers: [2]string{a.ID().String(), b.ID().String()}}
}

// PeerIDOf is under which identity the seller of an offer is reached.
func PeerIDOf(o market.Offer) (peer.ID, error) {
	if o.IsZero() {
		return "", errors.New("find seller: no offer")
	}
	return p2p.PeerIDFromKey(o.Key())
}
