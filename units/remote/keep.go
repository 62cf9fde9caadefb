package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// The keys under which the store keeps the market.
const (
	keyScores = "market/scores"
	keyOwn    = "market/own/"   // and the role: the last offer that was announced
	keyOffer  = "market/offer/" // role, slash, peer
	keyProof  = "market/proof/" // role, slash, peer: two offers that contradict each other, the first behind its length
)

const (
	keepEvery    = time.Minute
	maxSaved     = 1024 // offers of each role that outlive a restart
	maxProofs    = 64   // equivocating units of whom the proof is kept
	maxSavedOnce = 256  // that are written at a time, but for the last: a flood of offers is none of writes
)

// When round trips are measured.
const (
	measureEvery = 2 * time.Second
	measureLast  = 10 * 60_000 // ms for which a measurement stands
	maxTimed     = 8192        // measurements remembered
	maxWanted    = 32          // units that rank high and wait to be measured
	pingsAtOnce  = 4
	pingPatience = 3 * time.Second
	addrsHold    = 10 * time.Minute // for which an offer's addresses are worth a try
)

// load reads what an earlier run saved. What does not parse is left out: it is worth a look at the network, no more.
func (m *Market) load() error {
	raw, err := m.cfg.Store.Get(keyScores)
	if err == nil {
		if err := m.scores.Restore(raw, m.now()); err != nil {
			m.log.Warn("scores are forgotten: they cannot be read", "err", err)
		}
	} else if !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("load scores: %w", err)
	}
	for _, r := range marketRoles() {
		raw, err := m.cfg.Store.Get(keyOwn + r.String())
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("load own offer: %w", err)
		}
		if o, err := market.ParseOffer(raw); err == nil && o.Peer() == m.self {
			m.last[r] = o.Terms().Sequence
		}
	}
	if err := m.loadProofs(); err != nil {
		return fmt.Errorf("load proofs: %w", err)
	}
	for after := ""; ; {
		pairs, err := m.cfg.Store.Scan(keyOffer, after, maxSavedOnce)
		if err != nil {
			return fmt.Errorf("load offers: %w", err)
		}
		raws := make([][]byte, len(pairs))
		for i, p := range pairs {
			raws[i], after = p.Value, p.Key
			m.saved[p.Key] = 0
		}
		offers, errs := market.ParseOffers(raws)
		for i, o := range offers {
			if errs[i] == nil && o.Terms().Capacity > 0 && m.add(o) == nil {
				m.saved[pairs[i].Key] = o.Terms().Sequence
			}
		}
		if len(pairs) < maxSavedOnce {
			return nil
		}
	}
}

// loadProofs reads what was kept of units that contradicted themselves.
func (m *Market) loadProofs() error {
	pairs, err := m.cfg.Store.Scan(keyProof, "", maxProofs)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		n := uint64(0)
		if len(p.Value) > 4 {
			n = uint64(binary.BigEndian.Uint32(p.Value))
		}
		if n == 0 || n > uint64(len(p.Value)-4) {
			continue
		}
		offers, errs := market.ParseOffers([][]byte{p.Value[4 : 4+n], p.Value[4+n:]})
		if errors.Join(errs...) == nil {
			m.proofs[p.Key] = market.Evidence{First: offers[0], Second: offers[1]}
		}
	}
	return nil
}

// saveProofs puts what is new in the book's evidence into a batch, as long as there is room, and gives its keys.
func (m *Market) saveProofs(b *store.Batch) (fresh []string) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, e := range m.book.Evidence() {
		key := keyProof + e.First.Terms().Role.String() + "/" + e.First.Peer().String()
		if _, has := m.proofs[key]; has || len(m.proofs) >= maxProofs {
			continue
		}
		m.proofs[key], fresh = e, append(fresh, key)
		raw := binary.BigEndian.AppendUint32(nil, uint32(len(e.First.Raw())))
		b.Put(key, slices.Concat(raw, e.First.Raw(), e.Second.Raw()))
	}
	return fresh
}

// saveOwn writes offers of this peer down.
func (m *Market) saveOwn(offers []market.Offer) error {
	var b store.Batch
	for _, o := range offers {
		b.Put(keyOwn+o.Terms().Role.String(), o.Raw())
	}
	if b.Len() == 0 {
		return nil
	}
	return m.cfg.Store.Commit(&b)
}

// keep sweeps the book and saves it now and then, and at the end.
func (m *Market) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		most := maxSavedOnce
		select {
		case <-ctx.Done():
			most = len(marketRoles()) * maxSaved
		case <-tick.C:
			m.sweep()
		}
		if err := m.save(most); err != nil {
			m.log.Warn("offers and scores not saved", "err", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (m *Market) sweep() {
	m.lock.Lock()
	defer m.lock.Unlock()
	now := m.now()
	m.book.Sweep(now)
	for at, then := range m.timed {
		if now-then >= measureLast || now < then {
			delete(m.timed, at)
		}
	}
}

// save writes scores, if they changed, and the offers that changed, at most so many of them. Only keep calls it.
func (m *Market) save(most int) error {
	var b store.Batch
	m.lock.Lock()
	scored := m.scored
	if m.scored = false; scored {
		b.Put(keyScores, m.scores.Snapshot())
	}
	m.lock.Unlock()
	proofs := m.saveProofs(&b)
	wrote, dropped := m.changes(&b, most)
	if b.Len() == 0 {
		return nil
	}
	if err := m.cfg.Store.Commit(&b); err != nil {
		m.lock.Lock()
		defer m.lock.Unlock()
		m.scored = m.scored || scored
		for _, key := range proofs {
			delete(m.proofs, key)
		}
		return err
	}
	maps.Copy(m.saved, wrote)
	for _, key := range dropped {
		delete(m.saved, key)
	}
	return nil
}

// changes puts into a batch what is to be done until the store has the offers that hold, at most maxSaved of each role:
// those that it has before others.
func (m *Market) changes(b *store.Batch, most int) (wrote map[string]int64, dropped []string) {
	wrote = map[string]int64{}
	kept := map[string]bool{}
	for _, r := range marketRoles() {
		m.lock.Lock()
		// That a unit takes no work passes sooner than it is forgotten here.
		offers := slices.DeleteFunc(m.book.Offers(r, m.now()), func(o market.Offer) bool { return o.Terms().Capacity == 0 })
		m.lock.Unlock()
		keys := make([]string, len(offers))
		room := maxSaved
		for i, o := range offers {
			keys[i] = keyOffer + r.String() + "/" + o.Peer().String()
			if _, has := m.saved[keys[i]]; has && room > 0 {
				kept[keys[i]] = true
				room--
			}
		}
		for i, o := range offers {
			k, seq := keys[i], o.Terms().Sequence
			if !kept[k] && room > 0 && len(wrote) < most {
				kept[k] = true
				room--
			}
			if kept[k] && m.saved[k] != seq && len(wrote) < most {
				b.Put(k, o.Raw())
				wrote[k] = seq
			}
		}
	}
	for k := range m.saved {
		if !kept[k] {
			b.Delete(k)
			dropped = append(dropped, k)
		}
	}
	return wrote, dropped
}

// note remembers that a unit's latency was noted; the caller holds the lock.
func (m *Market) note(at seat, now int64) {
	if len(m.timed) < maxTimed {
		m.timed[at] = now
	}
	delete(m.wanted, at)
}

// want remembers units that rank high and were not measured of late; the caller holds the lock.
func (m *Market) want(choices []market.Choice) {
	for _, c := range choices {
		at := seat{c.Offer.Terms().Role, c.Offer.Peer()}
		if _, done := m.timed[at]; !done && len(m.wanted) < maxWanted {
			m.wanted[at] = c.Offer
		}
	}
}

// measure keeps the round-trip times to units known.
func (m *Market) measure(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.measureOnce(ctx)
		}
	}
}

// measureOnce gives the book what is known of connected units, and measures those that rank high and are not known yet.
// How long a unit took to serve says more: then its round trip is not noted for a while.
func (m *Market) measureOnce(ctx context.Context) {
	for _, p := range m.node.Neighbours() {
		if key, err := p2p.KeyFromPeerID(p); err == nil && m.node.Latency(p) > 0 {
			m.measured(market.PeerOf(key), m.node.Latency(p))
		}
	}
	m.lock.Lock()
	wanted := slices.Collect(maps.Values(m.wanted))
	clear(m.wanted)
	m.lock.Unlock()
	m.ping(ctx, wanted)
}

// measured notes a round trip to a unit in each role in which it offers.
func (m *Market) measured(p market.Peer, took time.Duration) {
	m.lock.Lock()
	defer m.lock.Unlock()
	now := m.now()
	for _, r := range marketRoles() {
		at := seat{r, p}
		if _, done := m.timed[at]; done {
			continue
		}
		if _, ok := m.book.Get(p, r, now); ok {
			m.book.Observe(p, r, market.Measured, 0, uint64(max(took.Microseconds(), 1)), now)
			m.note(at, now)
		}
	}
}

// ping measures the round trip to sellers, a few at a time.
func (m *Market) ping(ctx context.Context, offers []market.Offer) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	turns := make(chan struct{}, pingsAtOnce)
	for _, o := range offers {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		tasks.Go(func() {
			defer func() { <-turns }()
			ctx, cancel := context.WithTimeout(ctx, pingPatience)
			defer cancel()
			id, err := m.reach(o)
			var took time.Duration
			if err == nil {
				took, err = m.node.Ping(ctx, id)
			}
			if err != nil {
				m.log.Debug("measure seller", "seller", o.Peer(), "err", err)
				return
			}
			m.measured(o.Peer(), took)
		})
	}
}

// reach is the identity of an offer's seller, which from now on can be dialled at the offer's addresses.
func (m *Market) reach(o market.Offer) (peer.ID, error) {
	id, err := PeerIDOf(o)
	if err != nil {
		return "", err
	}
	m.node.Learn(id, o.Terms().Addrs, addrsHold)
	return id, nil
}
