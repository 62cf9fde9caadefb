package remote

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
)

// receipt is what a door of the market remembers of its last answer.
type receipt struct {
	lock   sync.Mutex
	peer   string
	bought units.Bought
}

// Peer is the peer ID of the unit that answered last.
func (r *receipt) Peer() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.peer
}

// Bought is what that cost, and why that unit was asked.
func (r *receipt) Bought() units.Bought {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.bought
}

func (r *receipt) note(peer string, b units.Bought) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.peer, r.bought = peer, b
}

// computerBuyer is a computer that is chosen by the market for each question.
type computerBuyer struct {
	receipt
	market *Market
	format string         // of the module, "" if not known
	other  units.Computer // asked while nobody offers anything; nil for none
}

// Computer is whom the market gives the process to. A process stays with the computer that served it last, as long as that
// one serves: priced, because it bills no replay; free, because it is the first choice. Other is asked while
// nobody offers anything, and may be nil.
func (m *Market) Computer(format string, other units.Computer) units.Computer {
	return &computerBuyer{market: m, format: format, other: other}
}

// maxSlot is the last slot that a need can name; no log comes near it.
const maxSlot = 1 << 53

// isElse says whether the other door is to be asked because there is no market for that role.
func isElse(m *Market, r market.Role, err error) bool {
	return errors.Is(err, &ao.Refusal{Code: ao.NoOffer}) && m.offering(r) == 0
}

func (b *computerBuyer) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	if slot > maxSlot {
		return units.Answer{}, ao.Refuse(verbCompute, ao.NotYet, "slot %d", slot)
	}
	m, t := b.market, b.market.taste(market.Computer)
	_, t.Fresh = units.Handed(ctx, process, slot)
	counts := countsOfResult()
	counts[market.CUSlot] = min(uint64(slot), math.MaxUint32)
	n := m.need(market.Computer, process, counts)
	n.Slot, n.Format = slot, b.format
	leads, tried, err := m.leads(ctx, &n, &t)
	if err != nil {
		if b.other != nil && isElse(m, n.Role, err) {
			a, err := b.other.Compute(ctx, process, slot)
			b.note(units.PeerOf(b.other), units.Bought{})
			return a, err
		}
		return units.Answer{}, err
	}
	a, l, err := purchase(ctx, m, &n, &t, process, leads, m.askComputer(process, slot))
	if err != nil {
		return units.Answer{}, err
	}
	b.note(l.to.String(), l.bought())
	m.trade.keepWith(n.Role, process, l.unit())
	m.sample(ctx, n, t, a, l, tried)
	return a, nil
}

// askComputer asks a lead for a slot's result.
func (m *Market) askComputer(process ao.ID, slot ao.Slot) func(context.Context, *lead, []byte) (units.Answer, error) {
	return func(ctx context.Context, l *lead, deal []byte) (units.Answer, error) {
		c := computerClient{client: client{node: m.node, to: l.to}, network: m.cfg.Network, deal: deal}
		return c.Compute(ctx, process, slot)
	}
}

// reading asks for what is free: whoever has the process, then by rank.
func reading[T any](ctx context.Context, b *computerBuyer, process ao.ID, ask func(context.Context, units.Computer) (T, error)) (v T, err error) {
	m, t := b.market, b.market.taste(market.Computer)
	n := m.need(market.Computer, process, market.Parts{})
	n.Format = b.format
	leads, _, err := m.leads(ctx, &n, &t)
	if err != nil {
		if b.other != nil && isElse(m, n.Role, err) {
			v, err = ask(ctx, b.other)
			b.note(units.PeerOf(b.other), units.Bought{})
		}
		return v, err
	}
	v, l, err := purchase(ctx, m, &n, &t, process, leads, func(ctx context.Context, l *lead, _ []byte) (T, error) {
		return ask(ctx, computerClient{client: client{node: m.node, to: l.to}, network: m.cfg.Network})
	})
	if err == nil {
		b.note(l.to.String(), l.bought())
	}
	return v, err
}

func (b *computerBuyer) State(ctx context.Context, process ao.ID) (units.StateInfo, error) {
	return reading(ctx, b, process, func(ctx context.Context, c units.Computer) (units.StateInfo, error) {
		return c.State(ctx, process)
	})
}

func (b *computerBuyer) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	return reading(ctx, b, process, func(ctx context.Context, c units.Computer) (ao.Result, error) {
		return c.DryRun(ctx, process, q)
	})
}

// schedulerBuyer pays one scheduler: which one the process says.
type schedulerBuyer struct {
	receipt
	market *Market
	unit   market.Peer
	to     peer.ID
}

// Scheduler is the client of a scheduler that pays what it asks. The unit is named by the process, so only its price is
// looked at.
func (m *Market) Scheduler(unit market.Peer, to peer.ID) units.Scheduler {
	return &schedulerBuyer{market: m, unit: unit, to: to}
}

func (b *schedulerBuyer) Schedule(ctx context.Context, process ao.ID, msg ao.Message) (ao.Assignment, error) {
	return b.slot(ctx, process, msg.ID(), msg, func(ctx context.Context, c schedulerClient) (ao.Assignment, error) {
		return c.Schedule(ctx, process, msg)
	})
}

func (b *schedulerBuyer) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	msg, isHere := units.HandedMessage(ctx, message)
	if !isHere {
		msg = ao.Message{}
	}
	return b.slot(ctx, process, message, msg, func(ctx context.Context, c schedulerClient) (ao.Assignment, error) {
		return c.Assign(ctx, process, message, how)
	})
}

// slot pays for the slot of a message, which may be zero if it is only named.
func (b *schedulerBuyer) slot(
	ctx context.Context, process, message ao.ID, msg ao.Message, call func(context.Context, schedulerClient) (ao.Assignment, error),
) (ao.Assignment, error) {
	m, t := b.market, b.market.taste(market.Scheduler)
	n := m.need(market.Scheduler, process, countsOfMessage(msg))
	var leads []lead
	if o, ok := m.Offer(b.unit, n.Role); ok {
		leads = m.asLeads(&n, []market.Choice{{Offer: o, Latency: unmeasured}})
	}
	ask := func(ctx context.Context, _ *lead, deal []byte) (ao.Assignment, error) {
		return call(ctx, schedulerClient{client: client{node: m.node, to: b.to}, deal: deal})
	}
	b.note(b.to.String(), units.Bought{})
	if len(leads) == 0 {
		return ask(ctx, nil, nil)
	}
	leads[0].why = "named by the process"
	a, l, err := purchase(ctx, m, &n, &t, message, leads, ask)
	if err == nil {
		b.note(b.to.String(), l.bought())
	}
	return a, err
}

// messengerBuyer is a messenger that is chosen by the market for each message.
type messengerBuyer struct {
	receipt
	market    *Market
	directory units.Directory
	other     func() (units.Messenger, error) // asked while nobody offers anything

	took     sync.Map // by message: the messenger that took it
	monitors sync.Map // by process: the messenger that monitors it
}

// Messenger is whom the market gives a message to: of the messengers that its target trusts to speak for it, if any of
// them offers to, since what follows from the message would be void otherwise. Other is asked while nobody offers
// anything.
func (m *Market) Messenger(d units.Directory, other func() (units.Messenger, error)) units.Messenger {
	return &messengerBuyer{market: m, directory: d, other: other}
}

func (b *messengerBuyer) Push(ctx context.Context, msg ao.Message) (ao.Assignment, error) {
	return b.slot(ctx, msg.Target(), msg.ID(), b.trusted(ctx, msg), func(ctx context.Context, door units.Messenger) (ao.Assignment, error) {
		return door.Push(ctx, msg)
	})
}

func (b *messengerBuyer) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	return b.slot(ctx, process, message, b.trustedBy(ctx, process), func(ctx context.Context, door units.Messenger) (ao.Assignment, error) {
		return door.Assign(ctx, process, message, how)
	})
}

// slot gives a message to a messenger, of those that its target trusts if one of them offers to push.
func (b *messengerBuyer) slot(
	ctx context.Context, process, message ao.ID, trusted []market.Peer, call func(context.Context, units.Messenger) (ao.Assignment, error),
) (ao.Assignment, error) {
	m, t := b.market, b.market.taste(market.Messenger)
	n := m.need(market.Messenger, process, countsOfPush())
	leads, err := b.leads(ctx, &n, &t, trusted)
	if err != nil {
		if !isElse(m, n.Role, err) {
			return ao.Assignment{}, err
		}
		door, err := b.other()
		if err != nil {
			return ao.Assignment{}, err
		}
		b.took.Store(message, door)
		b.note(units.PeerOf(door), units.Bought{})
		return call(ctx, door)
	}
	a, l, err := purchase(ctx, m, &n, &t, message, leads, func(ctx context.Context, l *lead, deal []byte) (ao.Assignment, error) {
		door := messengerClient{client: client{node: m.node, to: l.to}, deal: deal}
		b.took.Store(message, units.Messenger(door))
		return call(ctx, door)
	})
	if err != nil {
		return ao.Assignment{}, err
	}
	b.took.Store(message, Messenger(m.node, l.to))
	b.note(l.to.String(), l.bought())
	return a, nil
}

// leads are the trusted messengers before others.
func (b *messengerBuyer) leads(ctx context.Context, n *market.Need, t *market.Taste, trusted []market.Peer) ([]lead, error) {
	m := b.market
	if len(trusted) == 0 || len(t.Only) > 0 {
		leads, _, err := m.leads(ctx, n, t)
		return leads, err
	}
	only := *t
	only.Only = trusted
	first, _, err := m.leads(ctx, n, &only)
	if err != nil {
		return nil, err
	}
	for _, l := range m.asLeads(n, m.candidates(n, t)) {
		if !slices.ContainsFunc(first, func(x lead) bool { return x.unit() == l.unit() }) {
			l.why = "next-in-line, not trusted by the target"
			first = append(first, l)
		}
	}
	return first, nil
}

// trusted is which messengers that offer something the message's target trusts.
func (b *messengerBuyer) trusted(ctx context.Context, msg ao.Message) []market.Peer {
	if msg.IsSpawn() {
		return b.named(msg.Tags().All("Authority"))
	}
	return b.trustedBy(ctx, msg.Target())
}

// trustedBy is the same of a process.
func (b *messengerBuyer) trustedBy(ctx context.Context, process ao.ID) []market.Peer {
	if b.market.offering(market.Messenger) < 2 {
		return nil
	}
	p, err := b.directory.Process(ctx, process)
	if err != nil {
		return nil
	}
	return b.named(p.Authorities())
}

// named is which messengers that offer something go by these addresses; there is nothing to choose below two.
func (b *messengerBuyer) named(names []string) (out []market.Peer) {
	if b.market.offering(market.Messenger) < 2 {
		return nil
	}
	for _, name := range names {
		id, err := ao.ParseID(name)
		if err != nil {
			continue
		}
		if _, ok := b.market.Offer(id, market.Messenger); ok {
			out = append(out, id)
		}
	}
	return out
}

// Hops asks the messenger that took the message; of one that another visit pushed, those that offer to push.
func (b *messengerBuyer) Hops(ctx context.Context, message ao.ID, visit func(units.Hop) error) error {
	if door, ok := b.took.Load(message); ok {
		return door.(units.Messenger).Hops(ctx, message, visit)
	}
	err := error(ao.Refuse(verbHops, ao.UnknownMessage, "no messenger is known"))
	doors := b.doors()
	for _, door := range doors {
		if err = door.Hops(ctx, message, visit); err == nil || kindOf(market.Messenger, err) != passing && !isUnknownMessage(err) {
			return err
		}
	}
	if len(doors) > 0 {
		return err
	}
	door, err := b.other()
	if err != nil {
		return err
	}
	return door.Hops(ctx, message, visit)
}

// maxAsked is how many messengers are asked for what began with one that is not known any more.
const maxAsked = 16

// doors are messengers that offer to push, to look for the one that has something of ours.
func (b *messengerBuyer) doors() (out []units.Messenger) {
	offers := b.market.Offers(market.Messenger)
	for _, o := range offers[:min(len(offers), maxAsked)] {
		if to, err := PeerIDOf(o); err == nil && to != b.market.node.ID() {
			out = append(out, Messenger(b.market.node, to))
		}
	}
	return out
}

func isUnknownMessage(err error) bool { return errors.Is(err, &ao.Refusal{Code: ao.UnknownMessage}) }

// offering is how many offers of others there are for a role.
func (m *Market) offering(r market.Role) int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.book.Len(r)
}

// Pick is the unit that the market would choose for a role now, by its address: the scheduler of a process about to be
// spawned, or the messenger it will trust. Nothing is asked and nothing agreed. Errors: over-the-cap, no-offer.
func (m *Market) Pick(r market.Role) (unit market.Peer, why string, err error) {
	counts := PlainCounts(r)
	if r == market.Scheduler {
		counts[market.SUProcess] = 1
	}
	n, t := m.need(r, ao.ID{}, counts), m.taste(r)
	choices := m.candidates(&n, &t)
	if len(choices) == 0 {
		return market.Peer{}, "", m.nobody(&n, &t)
	}
	leads := explainLeads(m.asLeads(&n, choices), market.Peer{})
	if len(leads) == 0 {
		return market.Peer{}, "", m.nobody(&n, &t)
	}
	return leads[0].unit(), leads[0].why, nil
}
