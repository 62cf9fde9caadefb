package market

import (
	"bytes"
	"cmp"
	"math"
	"slices"
)

// Config is how large a book may grow and whom it is for. The bounds hold for each role.
type Config struct {
	Network   string
	Seed      uint64  // of the draw among newcomers; secret, or they could choose keys that win it
	Known     int     // units that have served us, or whose offers were seen long enough
	Newcomers int     // all others
	PerBlock  int     // of newcomers, and of those known by sight alone, for each /24 or /48
	Settle    int64   // ms after which a newcomer is known by sight
	Scores    *Scores // what was seen of units; never nil
}

// DefaultConfig is the configuration for a network.
func DefaultConfig(network string, seed uint64) Config {
	return Config{
		Network: network, Seed: seed, Known: 4096, Newcomers: 1024, PerBlock: 16, Settle: 3600_000, Scores: NewScores(1 << 14),
	}
}

const (
	maxEvidence = 64
	demotedFor  = 24 * 3600_000 // ms
	redraw      = 10 * 60_000   // ms after which newcomers draw anew
)

// Evidence is two different offers of one unit with one sequence number.
type Evidence struct {
	First, Second Offer
	known         bool
}

// entry is a unit's newest offer and what is worked out of it for ranking.
type entry struct {
	prices   Parts
	penalty  uint64 // 1/success⁴
	latency  uint64 // µs
	measured uint64 // µs of a round trip to a unit without a score: having been measured makes nobody known
	expires  int64
	mask     uint64 // a bit for the hash of every word that a need may ask for
	flight   uint32 // jobs asked and not answered
	shunned  bool
	demoted  int64 // until when
	part     part
	success  uint64
	weight   uint64 // of all that was seen
	offer    Offer
	block    string
	draw     uint64 // of newcomers: the lowest stay
	first    int64  // ms of the first sighting
	cell, at int    // in the index
}

type part uint8

const (
	newcomer part = iota
	sighted       // known by sight alone
	scored        // it has served us
)

// shelf is the part of a book for one role.
type shelf struct {
	pools  map[string][]*entry // by format, "" for all; each ordered by peer, so that it does not matter who came first
	count  [3]int              // entries of each part
	index  index
	blocks [2]map[string]int // newcomers, and those known by sight, for each block
}

// Book is the newest offer of every unit, bounded, as strangers fill it. Not safe for concurrent use.
type Book struct {
	cfg      Config
	shelves  [roles]shelf
	evidence []Evidence
}

// NewBook is an empty book.
func NewBook(cfg Config) *Book {
	b := &Book{cfg: cfg}
	for r := range b.shelves {
		b.shelves[r] = shelf{pools: map[string][]*entry{}, blocks: [2]map[string]int{{}, {}}}
	}
	return b
}

// Add takes an offer if it is newer than the one known of that unit and role, and if there is room. An error does not
// always mean that the sender is at fault: Known, RolledBack, BookFull and BlockCrowded happen to the honest.
// Errors: those of Offer.Fresh, Known, RolledBack, Equivocated, BookFull, BlockCrowded.
func (b *Book) Add(o Offer, now int64) error {
	if o.IsZero() {
		return refuse(BadShape, "no offer")
	}
	if err := o.Fresh(b.cfg.Network, now); err != nil {
		return err
	}
	sh := &b.shelves[o.terms.Role]
	i, found := find(sh.pools[""], o.peer)
	if !found {
		return b.admit(sh, o, now)
	}
	e := sh.pools[""][i]
	switch old := e.offer.terms.Sequence; {
	case o.terms.Sequence < old:
		return refuse(RolledBack, "%d, not after %d", o.terms.Sequence, old)
	case o.terms.Sequence == old && bytes.Equal(o.says(), e.offer.says()):
		return Known
	case o.terms.Sequence == old:
		b.accuse(e, o, now)
		return refuse(Equivocated, "sequence %d", old)
	}
	return b.renew(sh, e, o, now)
}

// renew puts a newer offer in the place of an older one. A newcomer that moves into a crowded block goes.
func (b *Book) renew(sh *shelf, e *entry, o Offer, now int64) error {
	block := o.terms.block()
	if block == e.block && slices.Equal(o.terms.Formats, e.offer.terms.Formats) {
		b.fill(e, o, now)
		if e.part == newcomer {
			e.draw = b.drawOf(o.peer, now)
		}
		sh.index.touch(e)
		b.promote(sh, e, now)
		return nil
	}
	sh.remove(e)
	if e.part != scored && block != e.block && sh.blocks[e.part][block] >= b.cfg.PerBlock {
		return refuse(BlockCrowded, "%s", block)
	}
	b.fill(e, o, now)
	if e.part == newcomer {
		e.draw = b.drawOf(o.peer, now)
	}
	sh.insert(e)
	b.promote(sh, e, now)
	return nil
}

func (b *Book) admit(sh *shelf, o Offer, now int64) error {
	e := &entry{first: now, part: newcomer}
	b.fill(e, o, now)
	if b.hasServed(o) && b.makeRoom(sh) {
		e.part = scored
		sh.insert(e)
		return nil
	}
	e.draw = b.drawOf(o.peer, now)
	switch {
	case sh.blocks[newcomer][e.block] >= b.cfg.PerBlock:
		worst := sh.worst(func(x *entry) bool { return x.block == e.block })
		if worst == nil || !e.drawnBefore(worst) {
			return refuse(BlockCrowded, "%s", e.block)
		}
		sh.remove(worst)
	case sh.count[newcomer] >= b.cfg.Newcomers:
		worst := sh.worst(func(*entry) bool { return true })
		if worst == nil || !e.drawnBefore(worst) {
			return refuse(BookFull, "%d newcomers", sh.count[newcomer])
		}
		sh.remove(worst)
	}
	sh.insert(e)
	return nil
}

// fill works out of an offer what ranking looks at.
func (b *Book) fill(e *entry, o Offer, now int64) {
	e.offer, e.prices, e.expires, e.block = o, o.terms.Prices, o.terms.Expires, o.terms.block()
	e.mask = o.terms.mask()
	b.refresh(e, now)
}

// refresh takes over what was seen of the unit.
func (b *Book) refresh(e *entry, now int64) {
	sc := b.cfg.Scores.of[seat{e.offer.terms.Role, e.offer.peer}]
	e.latency, e.weight = cmp.Or(e.measured, unknown), 0
	if sc != nil {
		sc.fade(now)
		e.weight = sc.good + sc.bad
		e.latency = cmp.Or(sc.latency, e.latency)
	}
	e.success, e.shunned = sc.success(), sc.isShunned()
	e.penalty = penalty(e.success, 4)
	if e.demoted > now {
		e.penalty = min(e.penalty*16, 1<<32)
	}
}

// promote makes a newcomer known that was sighted long ago, or that has served us, if there is room: nobody known gives
// way to it, but for one known by sight alone to one that has served.
func (b *Book) promote(sh *shelf, e *entry, now int64) {
	served := b.hasServed(e.offer)
	to := e.part
	switch {
	case served && e.part == sighted, served && e.part == newcomer && b.makeRoom(sh):
		to = scored
	case !served && e.part == newcomer && now-e.first >= b.cfg.Settle && sh.count[sighted]+sh.count[scored] < b.cfg.Known &&
		sh.blocks[sighted][e.block] < b.cfg.PerBlock:
		to = sighted
	}
	if to != e.part {
		sh.tally(e, -1)
		e.part = to
		sh.tally(e, 1)
	}
}

// hasServed says whether the unit ever served us, as far as we remember. To have failed us makes nobody known: otherwise
// strangers that are tried would fill the book by failing.
func (b *Book) hasServed(o Offer) bool {
	sc := b.cfg.Scores.of[seat{o.terms.Role, o.peer}]
	return sc != nil && sc.good > 0
}

// makeRoom sees to a free place among the known for one that has served; the youngest of those known by sight gives way.
func (b *Book) makeRoom(sh *shelf) bool {
	if sh.count[sighted]+sh.count[scored] < b.cfg.Known {
		return true
	}
	var youngest *entry
	for _, e := range sh.pools[""] {
		if e.part == sighted && (youngest == nil || e.first > youngest.first) {
			youngest = e
		}
	}
	if youngest == nil {
		return false
	}
	sh.remove(youngest)
	return true
}

// accuse keeps both offers, and demotes the unit.
func (b *Book) accuse(e *entry, o Offer, now int64) {
	isNew := e.demoted <= now
	e.demoted = now + demotedFor
	b.refresh(e, now)
	b.shelves[o.terms.Role].index.touch(e)
	known := e.part != newcomer
	if !isNew {
		return
	}
	if len(b.evidence) >= maxEvidence {
		i := slices.IndexFunc(b.evidence, func(x Evidence) bool { return !x.known })
		if !known || i < 0 {
			return
		}
		b.evidence = slices.Delete(b.evidence, i, i+1)
	}
	b.evidence = append(b.evidence, Evidence{e.offer, o, known})
}

// Evidence is what equivocating units signed, oldest first.
func (b *Book) Evidence() []Evidence { return slices.Clone(b.evidence) }

// Begin notes that a unit was asked for something. Every Begin needs its End.
func (b *Book) Begin(p Peer, r Role) {
	if e := b.entry(p, r); e != nil && e.flight < 1<<16 {
		e.flight++
		b.shelves[r].index.touch(e)
	}
}

// End notes how what was begun went.
func (b *Book) End(p Peer, r Role, o Outcome, value, took uint64, now int64) {
	if e := b.entry(p, r); e != nil && e.flight > 0 {
		e.flight--
		b.shelves[r].index.touch(e)
	}
	b.Observe(p, r, o, value, took, now)
}

// Observe notes something that was not begun, such as a round trip measured.
func (b *Book) Observe(p Peer, r Role, o Outcome, value, took uint64, now int64) {
	if r >= roles || o >= outcomes {
		return
	}
	e := b.entry(p, r)
	if o == Measured && b.cfg.Scores.of[seat{r, p}] == nil {
		if e != nil {
			e.measured = min(took, math.MaxUint32)
			b.refresh(e, now)
			b.shelves[r].index.touch(e)
		}
		return
	}
	b.cfg.Scores.Observe(p, r, o, value, took, now)
	if e != nil {
		b.refresh(e, now)
		b.shelves[r].index.touch(e)
		b.promote(&b.shelves[r], e, now)
	}
}

// Get is a unit's newest offer, if it holds at that time.
func (b *Book) Get(p Peer, r Role, now int64) (Offer, bool) {
	e := b.entry(p, r)
	if e == nil || e.expires <= now {
		return Offer{}, false
	}
	return e.offer, true
}

// Offers are the offers for a role that hold at that time, ordered by peer.
func (b *Book) Offers(r Role, now int64) []Offer {
	var out []Offer
	if r < roles {
		for _, e := range b.shelves[r].pools[""] {
			if e.expires > now {
				out = append(out, e.offer)
			}
		}
	}
	return out
}

// Len is how many offers are held for a role, expired ones included.
func (b *Book) Len(r Role) int {
	if r >= roles {
		return 0
	}
	return len(b.shelves[r].pools[""])
}

// Sweep drops what is over, lets scores fade and newcomers settle: to be called every minute or so. The offer of a known
// unit is kept, unranked, for as long as an older one of it could still be replayed.
func (b *Book) Sweep(now int64) {
	for r := range b.shelves {
		sh := &b.shelves[r]
		for _, e := range slices.Clone(sh.pools[""]) {
			if e.expires <= now && (e.part == newcomer || e.offer.terms.Sequence+MaxOfferLife <= now) {
				sh.remove(e)
				continue
			}
			b.refresh(e, now)
			sh.index.touch(e)
			b.promote(sh, e, now)
		}
	}
}

func (b *Book) entry(p Peer, r Role) *entry {
	if r >= roles {
		return nil
	}
	pool := b.shelves[r].pools[""]
	if i, found := find(pool, p); found {
		return pool[i]
	}
	return nil
}

func find(pool []*entry, p Peer) (int, bool) {
	return slices.BinarySearchFunc(pool, p, func(e *entry, p Peer) int { return bytes.Compare(e.offer.peer[:], p[:]) })
}

func (sh *shelf) insert(e *entry) {
	for _, f := range e.poolNames() {
		i, _ := find(sh.pools[f], e.offer.peer)
		sh.pools[f] = slices.Insert(sh.pools[f], i, e)
	}
	sh.index.add(e)
	sh.tally(e, 1)
}

func (sh *shelf) remove(e *entry) {
	for _, f := range e.poolNames() {
		pool := sh.pools[f]
		if i, found := find(pool, e.offer.peer); found {
			if pool = slices.Delete(pool, i, i+1); len(pool) == 0 && f != "" {
				delete(sh.pools, f)
			} else {
				sh.pools[f] = pool
			}
		}
	}
	sh.index.remove(e)
	sh.tally(e, -1)
}

// poolNames are the pools that an entry stands in, each once.
func (e *entry) poolNames() []string {
	names := []string{""}
	for _, f := range e.offer.terms.Formats {
		if !slices.Contains(names, f) {
			names = append(names, f)
		}
	}
	return names
}

func (sh *shelf) tally(e *entry, n int) {
	sh.count[e.part] += n
	if e.part == scored {
		return
	}
	blocks := sh.blocks[e.part]
	if blocks[e.block] += n; blocks[e.block] == 0 {
		delete(blocks, e.block)
	}
}

// worst is the newcomer among those with the highest draw.
func (sh *shelf) worst(among func(*entry) bool) *entry {
	var worst *entry
	for _, e := range sh.pools[""] {
		if e.part == newcomer && among(e) && (worst == nil || worst.drawnBefore(e)) {
			worst = e
		}
	}
	return worst
}

func (e *entry) drawnBefore(x *entry) bool {
	return e.draw < x.draw || e.draw == x.draw && bytes.Compare(e.offer.peer[:], x.offer.peer[:]) < 0
}

// drawOf is the lot of a newcomer: a keyed hash of the peer, which is itself a hash, and of the span of time.
func (b *Book) drawOf(p Peer, now int64) uint64 {
	r := NewRand(b.cfg.Seed ^ uint64(now/redraw))
	for i := 0; i < len(p); i += 8 {
		r.state ^= r.Uint64() + (&reader{b: p[i : i+8]}).uint(8)
	}
	return r.Uint64()
}

// bit is the one of 64 that stands for a word: where it is missing, the word is missing.
func bit(kind byte, w string) uint64 {
	h := (uint64(14695981039346656037) ^ uint64(kind)) * 1099511628211
	for i := range len(w) {
		h = (h ^ uint64(w[i])) * 1099511628211
	}
	return 1 << (h * 0x9e3779b97f4a7c15 >> 58)
}

func (t *Terms) mask() (m uint64) {
	for _, w := range t.Formats {
		m |= bit('f', w)
	}
	for _, w := range t.Extensions {
		m |= bit('e', w)
	}
	return m | bit('r', t.Region)
}

func (n *Need) mask() (m uint64) {
	for _, w := range n.Extensions {
		m |= bit('e', w)
	}
	if n.Format != "" {
		m |= bit('f', n.Format)
	}
	if n.Region != "" {
		m |= bit('r', n.Region)
	}
	return m
}
