package remote

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
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
	Patience int64 `json:"patience"` // milliseconds that the caller will wait
}

type hopsRequest struct {
	Message ao.ID `json:"message"`
}

// ServeMessenger puts a messenger on the wire.
func ServeMessenger(node *p2p.Node, m units.Messenger) {
	var together ans104.Verifier
	serve(node, verbPush, func(ctx context.Context, h pushRequest, st *p2p.Stream) error {
		raw, err := st.Read(ao.MaxItem)
		if err != nil {
			return err
		}
		msg, err := ao.ParseMessageBy(&together, raw)
		if err != nil {
			return err
		}
		patience := time.Duration(min(max(h.Patience, 0), maxPatience.Milliseconds())) * time.Millisecond
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		a, err := m.Push(ctx, msg)
		if err != nil {
			return err
		}
		return st.Write(a.Raw())
	})
	serve(node, verbHops, func(ctx context.Context, h hopsRequest, st *p2p.Stream) error {
		return serveHops(ctx, m, h.Message, st)
	})
}

func serveHops(ctx context.Context, m units.Messenger, message ao.ID, st *p2p.Stream) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hops := make(chan units.Hop)
	ended := make(chan error, 1)
	go func() {
		ended <- m.Hops(ctx, message, func(h units.Hop) error {
			select {
			case hops <- h:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case h := <-hops:
			err = writeHeader(st, h)
		case <-beat.C:
			err = st.Write(nil)
		case err := <-ended:
			return err
		}
		if err != nil {
			cancel()
			<-ended
			return err
		}
	}
}

// Messenger is the messenger of another peer.
func Messenger(node *p2p.Node, to peer.ID) units.Messenger {
	return messengerClient{client{node: node, to: to}}
}

type messengerClient struct{ client }

func (c messengerClient) Push(ctx context.Context, m ao.Message) (ao.Assignment, error) {
	if ctx.Err() != nil {
		return ao.Assignment{}, Refusal(verbPush, ctx.Err())
	}
	patience := pushPatience
	if d, ok := ctx.Deadline(); ok {
		patience = time.Until(d)
	}
	ctx, cancel := pastDeadline(ctx, pushGrace)
	defer cancel()
	call, err := c.open(ctx, verbPush, pushRequest{Patience: patience.Milliseconds()}, m.Raw())
	if err != nil {
		return ao.Assignment{}, err
	}
	defer call.close()
	call.patience(min(patience, maxPatience) + pushGrace)
	raw, err := call.read(maxHeader)
	if err != nil {
		return ao.Assignment{}, short(verbPush, err)
	}
	a, err := ao.ParseAssignment(raw)
	if err != nil {
		return ao.Assignment{}, Refusal(verbPush, err)
	}
	if _, pushed := m.Pushed(); a.Process() != m.Target() || (a.Message() != m.ID() && !pushed) {
		return ao.Assignment{}, ao.Refuse(verbPush, ao.BadLog, "the assignment is for something else")
	}
	return a, nil
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
		if err := visit(h); err != nil {
			return err
		}
	}
}
