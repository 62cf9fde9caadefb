package market

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Outcome is how it went with a unit that was asked.
type Outcome uint8

// The outcomes. Measured says nothing but how long a round trip takes.
const (
	Served      Outcome = iota // in time, and as good as known
	Late                       // good, but after the time that it was wanted in
	Failed                     // no answer, or a refusal of what was quoted for no fault of the buyer's
	Dishonoured                // more asked than quoted or offered, or a quote not honoured
	Wrong                      // an answer that is not the result
	Measured
	outcomes
)

// Unmeasured is the latency in µs that stands for one not measured yet.
const Unmeasured = 250_000

const (
	event     = 1024         // the weight of one event, so that fractions survive
	halfLife  = 6 * 3600_000 // ms in which what was seen loses half its weight
	steps     = 16           // parts of a half-life in which weights fall
	maxMass   = 1 << 60      // of any sum of weights
	maxValue  = 1 << 40      // what one event may be worth
	priorGood = 9 * event    // what is believed of a stranger: nine good of ten
	priorAll  = 10 * event   //
	proven    = 8 * event    // from this weight on a unit is known well enough not to be tried
	unknown   = Unmeasured
	scoreSize = 1 + 32 + 8*8 // bytes of one score in a snapshot
	domScores = "aopeer/scores/1\x00"
)

// falls are constant: 2^(-i/16) as 16-bit fractions.
var falls = [steps]uint64{65536, 62757, 60097, 57549, 55109, 52773, 50535, 48393, 46341, 44376, 42495, 40693, 38968, 37316, 35734, 34219}

// score is what was seen of a peer in a role. Weights fade; money is weighed beside events, so that many small favours do
// not pay for one large fraud.
type score struct {
	at                  int64 // ms until which it has faded
	good, bad           uint64
	goodValue, badValue uint64
	wrong, dishonoured  uint64
	latency             uint64 // µs, 0 if not measured
}

type seat struct {
	role Role
	peer Peer
}

func (a seat) compare(b seat) int {
	return cmp.Or(cmp.Compare(a.role, b.role), bytes.Compare(a.peer[:], b.peer[:]))
}

// Scores are what this peer saw of others: local, never gossiped, bounded. Not safe for concurrent use.
type Scores struct {
	most int
	of   map[seat]*score
}

// NewScores holds at most that many scores.
func NewScores(most int) *Scores { return &Scores{most: most, of: map[seat]*score{}} }

// Len is how many there are.
func (s *Scores) Len() int { return len(s.of) }

// Observe notes an outcome: what the work was worth and how many µs it took, 0 if that says nothing.
func (s *Scores) Observe(p Peer, r Role, o Outcome, value, took uint64, now int64) {
	at := seat{r, p}
	sc := s.of[at]
	if sc == nil {
		if len(s.of) >= s.most {
			s.evict(now)
		}
		if len(s.of) >= s.most {
			return
		}
		sc = &score{at: now}
		s.of[at] = sc
	}
	sc.fade(now)
	sc.note(o, value, took)
}

// evict drops the score that says least.
func (s *Scores) evict(now int64) {
	var least seat
	var mass uint64 = math.MaxUint64
	for at, sc := range s.of { // the least of all is the same in any order
		sc.fade(now)
		if m := sc.good + sc.bad; m < mass || m == mass && at.compare(least) < 0 {
			least, mass = at, m
		}
	}
	delete(s.of, least)
}

// fade lets weights fall to what they are at that time; a clock that went back changes nothing.
func (sc *score) fade(now int64) {
	n := (now - sc.at) / (halfLife / steps)
	if now <= sc.at || n <= 0 {
		return
	}
	sc.at += n * (halfLife / steps)
	shift, fall := min(n/steps, 63), falls[n%steps]
	for _, w := range []*uint64{&sc.good, &sc.bad, &sc.goodValue, &sc.badValue, &sc.wrong, &sc.dishonoured} {
		hi, lo := bits.Mul64(*w, fall)
		*w = (hi<<48 | lo>>16) >> uint(shift)
	}
	for range min(n, 64) { // an old measurement says less: after an hour or two it is as if nobody had measured
		if sc.latency != 0 {
			sc.latency = uint64(max(int64(sc.latency)+(unknown-int64(sc.latency))/4, 1))
		}
	}
}

func (sc *score) note(o Outcome, value, took uint64) {
	value = min(max(value, 1), maxValue)
	add := func(to *uint64, n uint64) { *to = min(*to+n, maxMass) }
	switch o {
	case Served:
		add(&sc.good, event)
		add(&sc.goodValue, value)
	case Late:
		add(&sc.good, event/2)
		add(&sc.bad, event/2)
		add(&sc.goodValue, value/2)
		add(&sc.badValue, value-value/2)
	case Failed:
		add(&sc.bad, event)
		add(&sc.badValue, value)
	case Dishonoured:
		add(&sc.bad, 4*event)
		add(&sc.badValue, 4*value)
		add(&sc.dishonoured, event)
	case Wrong:
		add(&sc.bad, 16*event)
		add(&sc.badValue, 16*value)
		add(&sc.wrong, event)
	}
	took = min(took, math.MaxUint32)
	switch {
	case took == 0:
	case sc.latency == 0:
		sc.latency = took
	default:
		sc.latency = (3*sc.latency + took) / 4
	}
}

// success is the share of what was asked that went well, by number or by value, whichever is less: 0 to 65536.
func (sc *score) success() uint64 {
	if sc == nil {
		return fraction(priorGood, priorAll)
	}
	byCount := fraction(sc.good+priorGood, sc.good+sc.bad+priorAll)
	all := sc.goodValue + sc.badValue
	if all == 0 {
		return byCount
	}
	hi, lo := bits.Mul64(all, 10*event)
	ten, _ := divide(hi, lo, max(sc.good+sc.bad, 1)) // ten strangers' favours are worth ten of the average
	ten = min(ten, maxMass)
	return min(byCount, fraction(sc.goodValue+ten/10*9, all+ten))
}

// fraction is n/d of 65536.
func fraction(n, d uint64) uint64 {
	hi, lo := bits.Mul64(n, 65536)
	q, _ := divide(hi, lo, max(d, 1))
	return min(q, 65536)
}

// penalty is 1/success⁴ in 65536ths, from 65536 (all went well) to 2^32 (nothing did).
func penalty(success uint64, power uint32) uint64 {
	out := uint64(65536)
	for range power {
		out = min(out*65536/max(success, 1), 1<<32)
	}
	return out
}

// isShunned says whether the unit gave a wrong result, or broke several quotes, not long ago.
func (sc *score) isShunned() bool {
	return sc != nil && (sc.wrong > event/2 || sc.dishonoured > 5*event/2)
}

// Snapshot is all scores as bytes, in one order.
func (s *Scores) Snapshot() []byte {
	seats := make([]seat, 0, len(s.of))
	for at := range s.of {
		seats = append(seats, at)
	}
	slices.SortFunc(seats, seat.compare)
	b := make([]byte, 0, len(domScores)+4+len(seats)*scoreSize)
	b = append(b, domScores...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(seats)))
	for _, at := range seats {
		sc := s.of[at]
		b = append(append(b, byte(at.role)), at.peer[:]...)
		for _, v := range []uint64{uint64(sc.at), sc.good, sc.bad, sc.goodValue, sc.badValue, sc.wrong, sc.dishonoured, sc.latency} {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	return b
}

// Restore reads a snapshot in place of what is there; of one that is too large, nothing is read. Errors: BadShape, TooLarge.
func (s *Scores) Restore(b []byte, now int64) error {
	r := reader{b: b}
	if string(r.take(len(domScores))) != domScores {
		return refuse(BadShape, "a snapshot's domain")
	}
	n := r.uint(4)
	if n > uint64(s.most) {
		return refuse(TooLarge, "%d scores", n)
	}
	if uint64(len(r.b)) != n*scoreSize {
		return refuse(BadShape, "a snapshot's length")
	}
	of := make(map[seat]*score, n)
	var last seat
	for i := range n {
		var at seat
		at.role = Role(r.uint(1))
		copy(at.peer[:], r.take(32))
		if at.role >= roles || i > 0 && last.compare(at) >= 0 {
			return refuse(BadShape, "the order of scores")
		}
		last = at
		sc := &score{at: min(int64(r.uint(8)&math.MaxInt64), now)}
		for _, w := range []*uint64{&sc.good, &sc.bad, &sc.goodValue, &sc.badValue, &sc.wrong, &sc.dishonoured} {
			if *w = r.uint(8); *w > maxMass {
				return refuse(BadShape, "a score's weight")
			}
		}
		if sc.latency = r.uint(8); sc.latency > math.MaxUint32 {
			return refuse(BadShape, "a score's latency")
		}
		of[at] = sc
	}
	s.of = of
	return nil
}
