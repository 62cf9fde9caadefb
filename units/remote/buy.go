package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
)

// reviveEvery is how often it is looked whether a unit takes work again.
const reviveEvery = 50 * time.Millisecond

// spareLeads is how many more units than are asked for a quote stand by to take over.
const spareLeads = 2

// lead is a unit that may be asked, in its place.
type lead struct {
	choice market.Choice
	to     peer.ID
	quote  market.Quote // zero: none was asked for yet, or none is due
	paid   bool         // it serves for a price
	isCold bool         // it may not have the process at hand
	at     time.Time    // when the quote came
	why    string
}

func (l *lead) unit() market.Peer { return l.choice.Offer.Peer() }

// price is what the lead asks, as far as is known.
func (l *lead) price() uint64 {
	if !l.quote.IsZero() {
		return priceOf(l.quote.Bid().Price)
	}
	return l.choice.Price
}

// bought is the receipt for a lead that has served.
func (l *lead) bought() units.Bought {
	price := "0"
	if !l.quote.IsZero() {
		price = l.quote.Bid().Price.String()
	}
	return units.Bought{Price: price, Why: l.why}
}

// need is what this peer wants of a unit, so far without particulars.
func (m *Market) need(r market.Role, process ao.ID, counts market.Parts) market.Need {
	n := market.Need{Network: m.cfg.Network, Role: r, Buyer: m.self, Process: process, Counts: counts}
	if _, err := rand.Read(n.Nonce[:]); err != nil { // the system has no randomness: nothing can be signed safely
		panic(err)
	}
	return n
}

// taste is how this peer buys in a role.
func (m *Market) taste(r market.Role) market.Taste {
	t := m.cfg.Buyer.Taste
	m.trade.lock.Lock()
	defer m.trade.lock.Unlock()
	if unit, ok := m.trade.only[r]; ok {
		t.Only = []market.Peer{unit}
	}
	return t
}

// BuyOnly has a role bought from one unit alone from now on, whatever it asks below the cap.
func (m *Market) BuyOnly(r market.Role, unit market.Peer) {
	m.trade.lock.Lock()
	defer m.trade.lock.Unlock()
	m.trade.only[r] = unit
}

// leads are the units to ask, the first choice first: by rank where nothing is to be paid, else by the quotes of the first
// few. One may be to be tried beside them: its answer is compared, not trusted. Errors: over-the-cap, no-offer, deadline.
func (m *Market) leads(ctx context.Context, n *market.Need, t *market.Taste) (out []lead, tried *lead, err error) {
	kept := m.trade.keeper(n.Role, n.Process)
	out, tried = setAside(m.asLeads(n, m.candidates(n, t)))
	if len(out) == 0 {
		out, tried = setAside(m.revived(ctx, n, t))
	}
	switch {
	case len(out) == 0:
		return nil, nil, m.nobody(n, t)
	case !out[0].paid:
		return explainLeads(m.spread(n, t, out), kept), tried, nil
	}
	quoted, err := m.quoted(ctx, n, t, out)
	switch {
	case len(quoted) > 0:
		return explainLeads(m.spread(n, t, quoted), kept), tried, nil
	case ctx.Err() != nil:
		return nil, nil, Refusal(verbQuote, ctx.Err())
	}
	return nil, nil, m.unquoted(n, t, err)
}

// revived are the leads of a moment later, if all that is missing is a unit that takes work: one that was closed and has come
// back says so at once, but whom we asked may not have heard of it.
func (m *Market) revived(ctx context.Context, n *market.Need, t *market.Taste) []lead {
	if !slices.ContainsFunc(m.Explain(n, t, 1), func(l market.Line) bool { return l.Reason == market.NoCapacity }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Buyer.Patience)
	defer cancel()
	tick := time.NewTicker(reviveEvery)
	defer tick.Stop()
	_, all := m.neighbours(nil)
	m.pullAll(ctx, all[:min(joinAsks, len(all))])
	for {
		if leads := m.asLeads(n, m.candidates(n, t)); len(leads) > 0 {
			return leads
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// setAside takes out the unit that is to be tried beside the others.
func setAside(leads []lead) (rest []lead, tried *lead) {
	i := slices.IndexFunc(leads, func(l lead) bool { return l.choice.Try })
	if i < 0 || len(leads) == 1 {
		return leads, nil
	}
	l := leads[i]
	return slices.Delete(leads, i, i+1), &l
}

// candidates are the offers to look at: whoever served the process last, then by rank. An estimate of what must be
// replayed keeps nobody away who might have it: what it costs the quote says.
func (m *Market) candidates(n *market.Need, t *market.Taste) []market.Choice {
	lean := *n
	if n.Role == market.Computer {
		lean.Counts[market.CUSlot] = 0
	}
	choices := m.Rank(n, t, m.cfg.Buyer.Ask+spareLeads)
	if len(choices) == 0 && lean.Counts != n.Counts {
		choices = m.Rank(&lean, t, m.cfg.Buyer.Ask+spareLeads)
	}
	kept := m.trade.keeper(n.Role, n.Process)
	if kept.IsZero() || len(t.Only) > 0 && !slices.Contains(t.Only, kept) {
		return choices
	}
	only := *t
	only.Only, only.Strategy, only.Explore = []market.Peer{kept}, market.Cheapest, 0
	own := m.Rank(&lean, &only, 1)
	if len(own) == 0 {
		return choices
	}
	own[0].Try = false
	choices = slices.DeleteFunc(choices, func(c market.Choice) bool { return c.Offer.Peer() == kept })
	return append(own, choices...)
}

// asLeads makes leads of choices, those that cost nothing as they stand.
func (m *Market) asLeads(n *market.Need, choices []market.Choice) []lead {
	out, kept := make([]lead, 0, len(choices)), m.trade.keeper(n.Role, n.Process)
	for _, c := range choices {
		to, err := m.reach(c.Offer)
		if err != nil {
			continue
		}
		out = append(out, lead{
			choice: c, to: to, paid: !isFree(c.Offer.Terms().Prices, n.Counts),
			isCold: n.Role == market.Computer && c.Offer.Peer() != kept,
		})
	}
	return out
}

// quoted asks the first few that serve for a price for quotes, and puts those that bind first, then who costs nothing,
// then who was not asked.
func (m *Market) quoted(ctx context.Context, n *market.Need, t *market.Taste, leads []lead) (out []lead, err error) {
	var asked []market.Choice
	var free, rest []lead
	for _, l := range leads {
		switch {
		case !l.paid:
			free = append(free, l)
		case len(asked) < m.cfg.Buyer.Ask:
			asked = append(asked, l.choice)
		default:
			rest = append(rest, l)
		}
	}
	ranked, err := m.quotes(ctx, *n, t, asked)
	now := m.cfg.Now()
	for _, q := range ranked {
		if q.Reason == nil {
			l := leads[slices.IndexFunc(leads, func(l lead) bool { return l.unit() == q.Quote.Peer() })]
			l.quote, l.at = q.Quote, now
			l.isCold = l.isCold && !q.Quote.Bid().Hot
			out = append(out, l)
		}
	}
	out = keepFirst(out, m.trade.keeper(n.Role, n.Process), t.Strategy)
	for i := range out {
		switch {
		case i > 0 && out[i].price() > out[0].price():
			m.trade.lostBid(market.Dearer)
		case i > 0:
			m.trade.lostBid(market.StandsAside)
		}
	}
	return slices.Concat(out, free, rest), err
}

// keepFirst puts the unit that served a process last before others unless it asks more than half as much again as the best of them:
// those would have to bring the process into memory first, and that takes time even where it is not billed.
func keepFirst(leads []lead, kept market.Peer, s market.Strategy) []lead {
	i := slices.IndexFunc(leads, func(l lead) bool { return l.unit() == kept })
	if i <= 0 || s == market.Cheapest {
		return leads
	}
	l, best := leads[i], leads[0].price()
	if l.price() > best && l.price()-best > best/2 {
		return leads
	}
	return slices.Insert(slices.Delete(leads, i, i+1), 0, l)
}

// unquoted is why there is no quote: the cap, if it is that for one of those asked.
func (m *Market) unquoted(n *market.Need, t *market.Taste, err error) error {
	if market.ReasonOf(err) == market.Dear {
		return ao.Refuse(verbQuote, ao.OverCap, "%v", err)
	}
	if refused := m.nobody(n, t); errors.Is(refused, &ao.Refusal{Code: ao.OverCap}) {
		return refused
	}
	return ao.Refuse(verbQuote, ao.NoOffer, "no unit gave a quote: %v", err)
}

// nobody is why there is no offer to choose.
func (m *Market) nobody(n *market.Need, t *market.Taste) error {
	lines := m.Explain(n, t, 1)
	var cheapest *market.Line
	reasons := map[market.Reason]int{}
	for i, l := range lines {
		reasons[l.Reason]++
		if l.Reason == market.Dear && (cheapest == nil || l.Price < cheapest.Price) {
			cheapest = &lines[i]
		}
	}
	switch {
	case cheapest != nil:
		return ao.Refuse(verbQuote, ao.OverCap, "the cheapest %s asks %d (%s), and --max-price is %d", n.Role, cheapest.Price, cheapest.Peer, t.MaxPrice)
	case len(lines) == 0:
		return ao.Refuse(verbQuote, ao.NoOffer, "no %s offers anything", n.Role)
	}
	text := ""
	for _, e := range market.Reasons() {
		if k := reasons[e.Reason]; k > 0 {
			text += fmt.Sprintf(", %d %s", k, e.Reason)
		}
	}
	return ao.Refuse(verbQuote, ao.NoOffer, "none of %d offers of a %s suits: %s", len(lines), n.Role, text[2:])
}

// explainLeads says of each lead why it would be the one that serves.
func explainLeads(leads []lead, kept market.Peer) []lead {
	least, most, fastest := leads[0].price(), leads[0].price(), leads[0].choice.Latency
	for i := range leads {
		least, most = min(least, leads[i].price()), max(most, leads[i].price())
		fastest = min(fastest, leads[i].choice.Latency)
	}
	for i := range leads {
		l := &leads[i]
		word := "best"
		switch {
		case i > 0:
			word = string(market.StandsAside)
		case l.unit() == kept:
			word = "kept"
		case len(leads) == 1:
			word = "only"
		case l.price() == least && least < most:
			word = "cheapest"
		case l.choice.Latency == fastest:
			word = "fastest"
		}
		if len(leads) > 1 {
			word += fmt.Sprintf(" of %d", len(leads))
		}
		l.why = word
		if us := l.choice.Latency; us != unmeasured {
			l.why += ", " + inMillis(us)
		}
	}
	return leads
}

// unmeasured is the latency in µs that the engine takes for one that nobody has measured.
const unmeasured = 250_000

func inMillis(us uint64) string {
	if us < 10_000 {
		return fmt.Sprintf("%d.%d ms", us/1000, us%1000/100)
	}
	return fmt.Sprintf("%d ms", us/1000)
}

// answer is what came back from one lead.
type answer[T any] struct {
	lead  lead
	value T
	err   error
}

// purchase asks the leads one after another until one has served: the next when one fails, or when one does not answer in
// time, which then goes on beside it: what was agreed with it is owed if it still answers. What is asked may be done
// twice and has one effect. question is what a deal
// may be presented for; ask gets the deal's bytes, nil where nothing is to be paid.
func purchase[T any](
	ctx context.Context, m *Market, n *market.Need, t *market.Taste, question ao.ID, leads []lead,
	ask func(ctx context.Context, l *lead, deal []byte) (T, error),
) (T, lead, error) {
	within, cancel := detached(ctx)
	answers := make(chan answer[T], len(leads))
	next, under, owing := 0, 0, false
	start := func() {
		l := leads[next]
		next, under, owing = next+1, under+1, owing || l.paid
		go func() {
			v, err := deal(within, m, n, t, question, &l, ask)
			answers <- answer[T]{l, v, err}
		}()
	}
	defer func() {
		m.trade.finish(ctx.Err() == nil && owing && under > 0, cancel, func() {
			for ; under > 0; under-- {
				<-answers
			}
		})
	}()
	start()
	stall := time.NewTimer(m.stallOf(ctx, leads))
	defer stall.Stop()
	var none T
	var first, last error // first that says more than that a unit was not to be had
	for under > 0 {
		select {
		case a := <-answers:
			under--
			if a.err == nil {
				return a.value, a.lead, nil
			}
			last = a.err
			switch kindOf(n.Role, a.err) {
			case final:
				return none, lead{}, a.err
			case telling:
				if first == nil {
					first = a.err
				}
			}
			if ctx.Err() == nil && next < len(leads) && under == 0 {
				start()
				stall.Reset(m.stallOf(ctx, leads[next-1:]))
			}
		case <-stall.C:
			if next < len(leads) && under < 2 {
				start()
				stall.Reset(m.stallOf(ctx, leads[next-1:]))
			}
		}
	}
	if first != nil {
		return none, lead{}, first
	}
	return none, lead{}, last
}

// detached is a context that ends with ctx, until it is cut loose by what cancel is replaced with: nothing ends it then but
// cancel, and ctx's deadline.
func detached(ctx context.Context) (within context.Context, cancel func(loose bool)) {
	out, end := context.WithCancel(context.WithoutCancel(ctx))
	if at, ok := ctx.Deadline(); ok {
		end()
		out, end = context.WithDeadline(context.WithoutCancel(ctx), at)
	}
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // the deadline is within's own: a push waits past it to hear that it is queued
			end()
		}
	})
	return out, func(loose bool) {
		if stop(); !loose {
			end()
		}
	}
}

// stallOf is how long the first of these leads may take before the next is asked as well: longer for one that must
// replay, and never all the time that there is.
func (m *Market) stallOf(ctx context.Context, leads []lead) time.Duration {
	d := m.allowance(&leads[0])
	if end, ok := ctx.Deadline(); ok {
		d = min(d, time.Until(end)/time.Duration(len(leads)+1))
	}
	return max(d, time.Millisecond)
}

// allowance is how long a unit may take, by what it says it must replay.
func (m *Market) allowance(l *lead) time.Duration {
	d := m.trade.stall
	if l.isCold { // a module may have to be compiled
		d *= 3
	}
	if !l.quote.IsZero() {
		d += time.Duration(min(l.quote.Bid().Behind, 60_000)) * 10 * time.Millisecond
	}
	return d
}

// deal asks one lead: quote, deal and question, and notes how it went.
func deal[T any](
	ctx context.Context, m *Market, n *market.Need, t *market.Taste, question ao.ID, l *lead,
	ask func(ctx context.Context, l *lead, deal []byte) (T, error),
) (T, error) {
	v, err := present(ctx, m, n, t, question, l, ask)
	if err != nil && l.quote.IsZero() && errors.Is(err, &ao.Refusal{Code: ao.Unpaid}) {
		l.paid = true // its prices have changed since its offer
		v, err = present(ctx, m, n, t, question, l, ask)
	}
	return v, err
}

func present[T any](
	ctx context.Context, m *Market, n *market.Need, t *market.Taste, question ao.ID, l *lead,
	ask func(ctx context.Context, l *lead, deal []byte) (T, error),
) (v T, err error) {
	var signed market.Deal
	var raw []byte
	if l.paid {
		if signed, err = m.sign(ctx, n, t, question, l); err != nil {
			return v, err
		}
		raw = signed.Raw()
	}
	start := time.Now()
	m.Begin(l.unit(), n.Role)
	v, err = ask(ctx, l, raw)
	took := time.Since(start)
	o := outcomeOf(ctx, n.Role, err, raw != nil, took > m.allowance(l))
	us := uint64(took.Microseconds())
	if l.isCold && err == nil {
		us = 0 // it is the process that was slow
	}
	if o != market.Served && o != market.Late && o != market.Measured {
		us = 0 // how fast it failed says nothing
		m.trade.leave(n.Role, n.Process, l.unit())
	}
	m.End(l.unit(), n.Role, o, l.price(), us)
	if isTaken(err) && raw != nil {
		if err := m.trade.bought.write(signed, question, Served, m.now()); err != nil {
			m.log.Warn("deal is not noted as served", "seller", l.unit(), "err", err)
		}
	}
	return v, err
}

// sign makes a deal with a lead, on a fresh quote if the one at hand is about to expire, and writes it down before the
// seller sees it: whatever happens then, this peer knows what it has signed.
func (m *Market) sign(ctx context.Context, n *market.Need, t *market.Taste, question ao.ID, l *lead) (market.Deal, error) {
	if l.quote.IsZero() || l.quote.Bid().Expires-quoteSpare <= m.now() {
		ranked, err := m.quotes(ctx, *n, t, []market.Choice{l.choice})
		if len(ranked) == 0 || ranked[0].Reason != nil {
			if reason := market.ReasonOf(err); reason == market.Dear {
				return market.Deal{}, ao.Refuse(verbQuote, ao.OverCap, "%v", err)
			}
			return market.Deal{}, Refusal(verbQuote, err)
		}
		l.quote, l.at = ranked[0].Quote, m.cfg.Now()
	}
	d, err := market.SignDeal(m.cfg.Signer, *n, l.quote)
	if err != nil {
		return d, Refusal(verbQuote, err)
	}
	m.trade.buys(func(p *Purchases) { p.Age = m.cfg.Now().Sub(l.at) })
	if err := m.trade.bought.write(d, question, Signed, m.now()); err != nil {
		return d, ao.Refuse(verbQuote, ao.StoreTrouble, "%v", err)
	}
	return d, nil
}

// kind is what a failure means for those who could be asked next.
type kind uint8

const (
	passing kind = iota // this unit was not to be had
	telling             // it says more than that
	final               // it does not depend on who is asked, or would take a log to each of them for nothing
)

func kindOf(r market.Role, err error) kind {
	refused := Refusal(verbQuote, err)
	switch refused.Code {
	case ao.NotYet, ao.UnknownProcess, ao.UnknownModule, ao.UnknownMessage, ao.Queued:
		return final
	case ao.Unreachable, ao.Busy, ao.Deadline, ao.Unsupported, ao.NoDeal, ao.Unpaid:
		return passing
	case ao.Malformed, ao.BadSignature, ao.NotAO, ao.WrongType, ao.BadTags, ao.NoTarget, ao.TooLarge, ao.WrongScheduler:
		if r != market.Computer { // it is what was sent
			return final
		}
	}
	return telling
}

// outcomeOf is what is noted of a unit. What is not its fault only tells how far it is.
func outcomeOf(ctx context.Context, r market.Role, err error, isPaid, isSlow bool) market.Outcome {
	if err == nil {
		if isSlow {
			return market.Late
		}
		return market.Served
	}
	if ctx.Err() != nil && !isSlow {
		return market.Measured
	}
	refused := Refusal(verbQuote, err)
	switch refused.Code {
	case ao.NoDeal, ao.Unpaid:
		if isPaid {
			return market.Dishonoured
		}
		return market.Measured
	case ao.Busy:
		if isPaid {
			return market.Failed
		}
		return market.Late
	case ao.BadFormat, ao.BadModule, ao.BadLog, ao.BadTags, ao.TooLarge, ao.ArchiveDown, ao.OverCap:
		return market.Measured
	}
	if kindOf(r, err) == final {
		return market.Measured
	}
	return market.Failed
}
