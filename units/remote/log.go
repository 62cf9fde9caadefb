package remote

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
)

// maxPage is the most entries that one log call answers with.
const maxPage = 1000

// maxPageBytes ends a page early, after at least one entry.
const maxPageBytes = 16 << 20

type logRequest struct {
	Op      string  `json:"op"` // next, range, find or follow
	Process ao.ID   `json:"process"`
	From    ao.Slot `json:"from"`
	Limit   int     `json:"limit"`
	Message ao.ID   `json:"message"`
}

type logAnswer struct {
	Slot ao.Slot `json:"slot"`
}

// entryHeader goes before an entry's assignment and message; an empty frame in its place is a heartbeat.
type entryHeader struct {
	Proof ao.Proof `json:"proof"`
}

// ServeLog puts a log on the wire.
func ServeLog(node *p2p.Node, l units.Log) {
	serve(node, verbLog, func(ctx context.Context, h logRequest, st *p2p.Stream) error {
		switch h.Op {
		case "next":
			n, err := l.Next(ctx, h.Process)
			if err != nil {
				return err
			}
			return writeHeader(st, logAnswer{Slot: n})
		case "find":
			n, err := l.Find(ctx, h.Process, h.Message)
			if err != nil {
				return err
			}
			return writeHeader(st, logAnswer{Slot: n})
		case "range":
			es, err := l.Range(ctx, h.Process, h.From, min(max(h.Limit, 1), maxPage))
			if err != nil {
				return err
			}
			return writePage(st, es)
		case "follow":
			return relay(ctx, st, func(ctx context.Context, visit func(ao.Entry) error) error {
				return l.Follow(ctx, h.Process, h.From, visit)
			}, writeEntry)
		}
		return ao.Refuse(verbLog, ao.Unsupported, "no such operation")
	})
}

func writePage(st *p2p.Stream, es []ao.Entry) error {
	bytes := 0
	for _, e := range es {
		if bytes += sizeOf(e); bytes > maxPageBytes && bytes > sizeOf(e) {
			return nil
		}
		if err := writeEntry(st, e); err != nil {
			return err
		}
	}
	return nil
}

func sizeOf(e ao.Entry) int { return len(e.Assignment.Raw()) + len(e.Message.Raw()) }

func writeEntry(st *p2p.Stream, e ao.Entry) error {
	head, err := json.Marshal(entryHeader{Proof: e.Proof})
	if err != nil {
		return err
	}
	return st.Write(head, e.Assignment.Raw(), e.Message.Raw())
}

// Log is the log of another peer's scheduler.
func Log(node *p2p.Node, to peer.ID) units.Log { return logClient{client{node: node, to: to}} }

type logClient struct{ client }

func (c logClient) slot(ctx context.Context, r logRequest) (ao.Slot, error) {
	call, err := c.open(ctx, verbLog, r)
	if err != nil {
		return 0, err
	}
	defer call.close()
	var a logAnswer
	if err := call.header(&a); err != nil {
		return 0, short(verbLog, err)
	}
	return a.Slot, nil
}

func (c logClient) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	return c.slot(ctx, logRequest{Op: "next", Process: process})
}

func (c logClient) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	return c.slot(ctx, logRequest{Op: "find", Process: process, Message: message})
}

func (c logClient) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	limit = min(max(limit, 1), maxPage)
	call, err := c.open(ctx, verbLog, logRequest{Op: "range", Process: process, From: from, Limit: limit})
	if err != nil {
		return nil, err
	}
	defer call.close()
	var out []ao.Entry
	for bytes := 0; len(out) < limit && bytes <= maxPageBytes; {
		e, ok, err := call.entry()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if want := from + ao.Slot(len(out)); !ok || e.Assignment.Process() != process || e.Assignment.Nonce() != want {
			return nil, ao.Refuse(verbLog, ao.BadLog, "slot %d: not what was asked for", want)
		}
		out, bytes = append(out, e), bytes+sizeOf(e)
	}
	return out, nil
}

// Follow reads the log over one stream and opens another when that one breaks.
func (c logClient) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	return c.followOr(ctx, process, from, visit, nil)
}

// followOr is Follow; while the unit cannot be reached, meanwhile is called before each further try, if it is given. An
// error of visit's, from either, is the end.
func (c logClient) followOr(
	ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error,
	meanwhile func(from *ao.Slot, visit func(ao.Entry) error) error,
) error {
	for pause := time.Duration(0); ; {
		started := from
		var own error // visit's, whatever it is
		watched := func(e ao.Entry) error {
			own = visit(e)
			return own
		}
		err := c.follow(ctx, process, &from, watched)
		if isGone(err) && meanwhile != nil && own == nil {
			if err := meanwhile(&from, watched); err != nil {
				return err
			}
		}
		var r *ao.Refusal
		switch {
		case own != nil:
			return own
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &r):
			return err
		case r.Code != ao.Unreachable && r.Code != ao.Deadline && r.Code != ao.Busy:
			return err
		}
		if pause = min(2*pause+100*time.Millisecond, 10*time.Second); from > started {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c logClient) follow(ctx context.Context, process ao.ID, from *ao.Slot, visit func(ao.Entry) error) error {
	call, err := c.open(ctx, verbLog, logRequest{Op: "follow", Process: process, From: *from})
	if err != nil {
		return err
	}
	defer call.stream.Reset(p2p.CodeCanceled)
	call.patience(3 * heartbeat)
	for {
		e, ok, err := call.entry()
		switch {
		case errors.Is(err, io.EOF):
			return ao.Refuse(verbLog, ao.Unreachable, "the log's unit ended the stream")
		case err != nil:
			return err
		case !ok:
			continue
		case e.Assignment.Process() != process || e.Assignment.Nonce() != *from:
			return ao.Refuse(verbLog, ao.BadLog, "slot %d: not what was asked for", *from)
		}
		if err := visit(e); err != nil {
			return err
		}
		*from++
	}
}

// entry reads the next entry; ok is false for a heartbeat.
func (c *call) entry() (e ao.Entry, ok bool, err error) {
	head, err := c.read(maxHeader)
	if err != nil || len(head) == 0 {
		return e, false, err
	}
	var h entryHeader
	if err := unmarshal(c.verb, head, &h); err != nil {
		return e, false, err
	}
	if h.Proof != ao.ProofAssignment {
		return e, false, ao.Refuse(c.verb, ao.Unsupported, "proof of kind %.32q", string(h.Proof))
	}
	first, err := c.read(maxHeader)
	if err != nil {
		return e, false, short(c.verb, err)
	}
	second, err := c.read(ao.MaxItem)
	if err != nil {
		return e, false, short(c.verb, err)
	}
	if e, err = ao.ParseEntry(nil, first, second); err != nil {
		return ao.Entry{}, false, Refusal(c.verb, err)
	}
	return e, true, nil
}
