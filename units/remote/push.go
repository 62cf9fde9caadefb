package remote

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

const (
	// pushPatience is how long a messenger waits for a scheduler on behalf of a caller without a deadline, maxPatience
	// the most for one with a deadline.
	pushPatience = 30 * time.Second
	maxPatience  = 2 * time.Minute
	// pushGrace is how long beyond a caller's deadline the answer may take: the messenger keeps the deadline and then
	// says that the message is queued, which is what the caller needs to know.
	pushGrace = 5 * time.Second
)

type pushRequest struct {
	Patience int64 `json:"patience"`       // milliseconds that the caller will wait
	Deal     bool  `json:"deal,omitempty"` // it follows

	Process ao.ID     `json:"process,omitzero"` // of what is assigned
	Assign  *assigned `json:"assign,omitempty"` // an existing message, in place of the one that follows
}

type hopsRequest struct {
	Message ao.ID `json:"message"`
}

// ServeMessenger puts a messenger on the wire for whoever asks.
func ServeMessenger(node *p2p.Node, m units.Messenger) { serveMessenger(node, m, nil) }

func serveMessenger(node *p2p.Node, c units.Messenger, m *Market) {
	var together ans104.Verifier
	serveFrom(node, verbPush, func(ctx context.Context, from p2p.Peer, h pushRequest, st *p2p.Stream) error {
		deal, err := readDeal(st, h.Deal)
		if err != nil {
			return err
		}
		job := work{role: market.Messenger, process: h.Process, counts: countsOfPush(), deal: deal}
		var msg ao.Message
		if h.Assign != nil {
			job.question = h.Assign.Message
		} else {
			raw, err := st.Read(ao.MaxItem)
			if err != nil {
				return err
			}
			if msg, err = ao.ParseMessageBy(&together, raw); err != nil {
				return err
			}
			job.process, job.question = msg.Target(), msg.ID()
		}
		patience := time.Duration(min(max(h.Patience, 0), maxPatience.Milliseconds())) * time.Millisecond
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		leave, err := m.admit(ctx, from, job)
		if err != nil {
			return err
		}
		var a ao.Assignment
		if h.Assign != nil {
			a, err = c.Assign(ctx, h.Process, h.Assign.Message, h.Assign.AssignOptions)
		} else {
			a, err = c.Push(ctx, msg)
		}
		if err = leave(err); err != nil {
			return err
		}
		return st.Write(a.Raw())
	})
	serve(node, verbHops, func(ctx context.Context, h hopsRequest, st *p2p.Stream) error {
		return relay(ctx, st, func(ctx context.Context, visit func(units.Hop) error) error {
			return c.Hops(ctx, h.Message, visit)
		}, func(st *p2p.Stream, h units.Hop) error { return writeHeader(st, h) })
	})
	serveMonitor(node, c, m)
}

// Messenger is the messenger of another peer.
func Messenger(node *p2p.Node, to peer.ID) units.Messenger {
	return messengerClient{client: client{node: node, to: to}}
}

type messengerClient struct {
	client
	deal []byte // nil where nothing is to be paid
}

func (c messengerClient) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	return c.slot(ctx, pushRequest{}, [][]byte{m.Raw()}, func(call *call) (ao.Assignment, error) {
		return call.assignment(m.Target(), m.ID(), m)
	})
}

func (c messengerClient) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	h := pushRequest{Process: process, Assign: &assigned{Message: message, AssignOptions: how}}
	return c.slot(ctx, h, nil, func(call *call) (ao.Assignment, error) { return call.assignment(process, message, ao.Message{}) })
}

// slot queues what the header and the frames say, and reads the answer once it has its slot.
func (c messengerClient) slot(
	ctx context.Context, h pushRequest, frames [][]byte, read func(*call) (ao.Assignment, error),
) (ao.Assignment, error) {
	if ctx.Err() != nil {
		return ao.Assignment{}, Refusal(verbPush, ctx.Err())
	}
	patience := pushPatience
	if d, ok := ctx.Deadline(); ok {
		patience = time.Until(d)
	}
	ctx, cancel := pastDeadline(ctx, pushGrace)
	defer cancel()
	h.Patience, h.Deal = patience.Milliseconds(), c.deal != nil
	call, err := c.open(ctx, verbPush, h, withDeal(c.deal, frames...)...)
	if err != nil {
		return ao.Assignment{}, err
	}
	defer call.close()
	call.patience(min(patience, maxPatience) + pushGrace)
	return read(call)
}

// pastDeadline is ctx with its deadline moved; if it is cancelled, the new one ends at once.
func pastDeadline(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	out, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(by))
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
}

func (c messengerClient) Hops(ctx context.Context, message ao.ID, visit func(units.Hop) error) error {
	call, err := c.open(ctx, verbHops, hopsRequest{Message: message})
	if err != nil {
		return err
	}
	defer call.stream.Reset(p2p.CodeCanceled)
	call.patience(3 * heartbeat)
	for {
		b, err := call.read(maxHeader)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(b) == 0 {
			continue
		}
		var h units.Hop
		if err := unmarshal(verbHops, b, &h); err != nil {
			return err
		}
		h.Word, h.Peer, h.Parent = printable(h.Word, 16), printable(h.Peer, 64), printable(h.Parent, 64)
		h.Digest, h.Note = printable(h.Digest, 64), printable(h.Note, 600)
		h.Price, h.Why = printable(h.Price, 80), printable(h.Why, 80)
		if err := visit(h); err != nil {
			return err
		}
	}
}
