package market

// Pricing is how a seller sets the prices of its next offer.
type Pricing struct {
	Plan   Plan
	Prices Parts // of Fixed and LoadFollowing: when load is as aimed at; of CostPlus: what serving costs
	Margin int64 // of CostPlus: millionths put on top of the costs; negative sells below them
	Floor  int64 // of LoadFollowing: the least and most that prices may be, in millionths of Prices
	Most   int64
	Aim    int64 // of LoadFollowing: the load, in millionths of capacity, at which prices rest
	Step   int64 // of LoadFollowing: by how many millionths prices move at most each time
}

// Plan is the name of a pricing strategy.
type Plan uint8

// The plans: Fixed prices stay; CostPlus are costs and a margin; LoadFollowing rise with the backlog and fall when idle.
const (
	Fixed Plan = iota
	CostPlus
	LoadFollowing
	plans
)

// String is the name that a user gives.
func (p Plan) String() string {
	switch p {
	case Fixed:
		return "fixed"
	case CostPlus:
		return "cost-plus"
	case LoadFollowing:
		return "load-following"
	}
	return "unknown"
}

// ParsePlan reads the name. Errors: BadShape.
func ParsePlan(name string) (Plan, error) {
	for p := range plans {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, refuse(BadShape, "pricing %.20q: fixed, cost-plus or load-following", name)
}

const million = 1_000_000

// FollowLoad is load-following pricing with the usual bounds: half to four times the prices, resting at half load.
func FollowLoad(prices Parts) Pricing {
	return Pricing{Plan: LoadFollowing, Prices: prices, Floor: million / 2, Most: 4 * million, Aim: million / 2, Step: million / 10}
}

// Check refuses settings that mean nothing. Errors: BadShape, Absurd.
func (p Pricing) Check(r Role) error {
	switch {
	case p.Plan >= plans:
		return refuse(BadShape, "pricing %d", p.Plan)
	case p.Plan == CostPlus && (p.Margin < -million || p.Margin > 1000*million):
		return refuse(BadShape, "a margin of %d millionths", p.Margin)
	case p.Plan == LoadFollowing && (p.Floor < 0 || p.Most < p.Floor || p.Most > 1000*million || p.Aim <= 0 || p.Aim > million || p.Step <= 0 || p.Step > million):
		return refuse(BadShape, "load-following from %d to %d at %d by %d", p.Floor, p.Most, p.Aim, p.Step)
	}
	return p.Prices.check(r)
}

// Start is the level that prices begin at, in millionths.
func (p Pricing) Start() int64 {
	switch p.Plan {
	case CostPlus:
		return million + p.Margin
	case LoadFollowing:
		return min(max(million, p.Floor), p.Most)
	}
	return million
}

// Next is the level after some time with that many jobs waiting or at work, of a capacity. Only LoadFollowing moves.
// Its step is as large as the load is far from the aim, and relative to the level, so it does not swing: twice the
// capacity waiting is the longest step up.
func (p Pricing) Next(level int64, backlog, capacity uint64) int64 {
	if p.Plan != LoadFollowing {
		return p.Start()
	}
	load, _ := divide(0, min(backlog, 1<<40)*million, max(capacity, 1))
	off := int64(min(load, 2*million)) - p.Aim
	span := p.Aim // from idle to the aim
	if off > 0 {
		span = 2*million - p.Aim
	}
	move := level / 1000 * (off * p.Step / span) / 1000
	if move == 0 && off != 0 {
		move = off / max(off, -off)
	}
	return min(max(level+move, p.Floor), p.Most)
}

// At is the prices at a level. Charged prices round up, and what is not free does not become free unless the level is 0.
func (p Pricing) At(level int64) Parts {
	out := p.Prices
	for i, v := range out {
		out[i] = min(share(v, uint64(max(level, 0))), maxPrice)
	}
	return out
}

// share is v × millionths, rounded up.
func share(v, millionths uint64) uint64 {
	w := weightOf(v, millionths)
	q, exact := divide(w.hi, w.lo, million)
	if !exact {
		q++
	}
	return q
}
