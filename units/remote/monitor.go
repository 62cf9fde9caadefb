package remote

import (
	"context"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

type monitorRequest struct {
	Op   string `json:"op"`             // monitor or unmonitor
	Deal bool   `json:"deal,omitempty"` // it follows
}

type monitorAnswer struct {
	Process ao.ID `json:"process"`
}

// serveMonitor takes requests to monitor a process: that is billed as a push, its end is free.
func serveMonitor(node *p2p.Node, c units.Messenger, m *Market) {
	serveFrom(node, verbMonitor, func(ctx context.Context, from p2p.Peer, h monitorRequest, st *p2p.Stream) error {
		deal, err := readDeal(st, h.Deal)
		if err != nil {
			return err
		}
		raw, err := st.Read(ao.MaxRequest)
		if err != nil {
			return err
		}
		r, err := ao.ParseRequest(raw)
		if err != nil {
			return err
		}
		w := work{role: market.Messenger, process: r.Process(), question: r.ID(), counts: countsOfPush(), deal: deal}
		do := c.Monitor
		switch h.Op {
		case "monitor":
		case "unmonitor":
			w.reading, do = true, c.Unmonitor
		default:
			return ao.Refuse(verbMonitor, ao.Unsupported, "no such operation")
		}
		leave, err := m.admit(ctx, from, w)
		if err != nil {
			return err
		}
		if err := leave(do(ctx, r)); err != nil {
			return err
		}
		return writeHeader(st, monitorAnswer{Process: r.Process()})
	})
}

func (c messengerClient) Monitor(ctx context.Context, r ao.Request) error {
	return c.request(ctx, "monitor", r)
}

func (c messengerClient) Unmonitor(ctx context.Context, r ao.Request) error {
	return c.request(ctx, "unmonitor", r)
}

func (c messengerClient) request(ctx context.Context, op string, r ao.Request) error {
	if r.IsZero() {
		return ao.Refuse(verbMonitor, ao.Malformed, "there is no request")
	}
	call, err := c.open(ctx, verbMonitor, monitorRequest{Op: op, Deal: c.deal != nil}, withDeal(c.deal, r.Raw())...)
	if err != nil {
		return err
	}
	defer call.close()
	call.patience(maxPatience)
	var h monitorAnswer
	if err := call.header(&h); err != nil {
		return short(verbMonitor, err)
	}
	if h.Process != r.Process() {
		return call.malformed("the answer is about another process")
	}
	return nil
}

// Monitor asks whom the market gives a push of the process to, and remembers it for the end of the monitoring.
func (b *messengerBuyer) Monitor(ctx context.Context, r ao.Request) error {
	if r.IsZero() {
		return ao.Refuse(verbMonitor, ao.Malformed, "there is no request")
	}
	m, t := b.market, b.market.taste(market.Messenger)
	n := m.need(market.Messenger, r.Process(), countsOfPush())
	leads, err := b.leads(ctx, &n, &t, b.trustedBy(ctx, r.Process()))
	if err != nil {
		if !isElse(m, n.Role, err) {
			return err
		}
		door, err := b.other()
		if err != nil {
			return err
		}
		b.monitors.Store(r.Process(), door)
		return door.Monitor(ctx, r)
	}
	_, l, err := purchase(ctx, m, &n, &t, r.ID(), leads, func(ctx context.Context, l *lead, deal []byte) (struct{}, error) {
		return struct{}{}, messengerClient{client: client{node: m.node, to: l.to}, deal: deal}.Monitor(ctx, r)
	})
	if err != nil {
		return err
	}
	b.monitors.Store(r.Process(), Messenger(m.node, l.to))
	b.note(l.to.String(), l.bought())
	return nil
}

// Unmonitor asks the messenger that monitors; if another visit found it, those that offer to push.
func (b *messengerBuyer) Unmonitor(ctx context.Context, r ao.Request) error {
	if r.IsZero() {
		return ao.Refuse(verbMonitor, ao.Malformed, "there is no request")
	}
	if door, ok := b.monitors.Load(r.Process()); ok {
		return door.(units.Messenger).Unmonitor(ctx, r)
	}
	var failed error
	doors := b.doors()
	for _, door := range doors {
		if err := door.Unmonitor(ctx, r); err != nil && (failed == nil || kindOf(market.Messenger, failed) == passing) {
			failed = err
		}
	}
	if len(doors) > 0 {
		return failed
	}
	door, err := b.other()
	if err != nil {
		return err
	}
	return door.Unmonitor(ctx, r)
}
