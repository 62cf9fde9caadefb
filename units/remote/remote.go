// Package remote is both ends of each verb on the wire (§3.3-§3.5): servers that put a unit's doors on libp2p streams,
// clients that are such doors, announcements by which units find each other, and the directory that ties them together.
//
// In come frames from peers; out go the nouns of ao, parsed and verified again on this side. A unit and its client meet
// the same contract, which units/unitstest checks.
//
// It never trusts the other end: sizes, signatures and what an answer is about are checked here, whoever sent it, and
// every failure becomes a refusal from ao's table.
//
// Start with schedule.go, the smallest verb; directory.go is how a peer finds a unit, refuse.go maps every error.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
)

// Version is the version of every verb's protocol ID.
const Version = "1.0.0"

// The verbs' names in protocol IDs.
const (
	verbPush     = "push"
	verbHops     = "hops"
	verbMonitor  = "monitor"
	verbSchedule = "schedule"
	verbLog      = "log"
	verbCompute  = "compute"
	verbUnits    = "units"
)

// maxHeader bounds a JSON header frame in bytes.
const maxHeader = 64 << 10

// client is one peer that serves one verb.
type client struct {
	node *p2p.Node
	to   peer.ID
}

// Peer is the peer ID of the unit behind this client.
func (c client) Peer() string { return c.to.String() }

// call is one stream as its client sees it: errors come out as refusals of the verb.
type call struct {
	verb   string
	stream *p2p.Stream
}

// open starts a call: the header, then any frames, then the end of the request.
func (c client) open(ctx context.Context, verb string, header any, frames ...[]byte) (*call, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return nil, ao.Refuse(verb, ao.Internal, "%v", err)
	}
	s, err := c.node.Open(ctx, c.to, verb, Version)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // it is not the peer's fault
	}
	if err != nil {
		return nil, Refusal(verb, err)
	}
	out := &call{verb: verb, stream: s}
	if err := s.Write(append([][]byte{h}, frames...)...); err != nil {
		return nil, out.unsent(err)
	}
	// A peer that has all it needs may answer and stop reading before it hears of the end: the answer is the last word.
	_ = s.CloseWrite()
	return out, nil
}

// unsent is why a request could not be sent: the peer's refusal, if it has sent one without reading to the end.
func (c *call) unsent(err error) error {
	var refused *p2p.Refused
	if _, answer := c.stream.Read(maxHeader); errors.As(answer, &refused) {
		err = answer
	}
	return c.fail(err)
}

// patience sets how long the next frame may take; 0 is as long as the context allows.
func (c *call) patience(d time.Duration) { c.stream.SetTimeout(d) }

// read is the next frame.
func (c *call) read(most int) ([]byte, error) {
	f, err := c.stream.Read(most)
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, c.fail(err)
	}
	return f, nil
}

// header reads a JSON frame.
func (c *call) header(v any) error {
	f, err := c.read(maxHeader)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(f, v); err != nil {
		return c.malformed("the answer's header: %v", err)
	}
	return nil
}

// malformed gives the call up because the answer makes no sense.
func (c *call) malformed(format string, args ...any) error {
	c.stream.Reset(p2p.CodeMalformed)
	return ao.Refuse(c.verb, ao.Malformed, format, args...)
}

func (c *call) fail(err error) error {
	c.stream.Reset(p2p.CodeCanceled)
	return Refusal(c.verb, err)
}

func (c *call) close() { _ = c.stream.Close() } // the answer is read; how the stream ends matters to nobody

// short turns an answer that ended too early into a refusal.
func short(verb string, err error) error {
	if errors.Is(err, io.EOF) {
		return ao.Refuse(verb, ao.Malformed, "the answer ended early")
	}
	return err
}

// serve puts a handler behind a verb that does not mind who asks.
func serve[H any](node *p2p.Node, verb string, handle func(ctx context.Context, h H, s *p2p.Stream) error) {
	serveFrom(node, verb, func(ctx context.Context, _ p2p.Peer, h H, s *p2p.Stream) error { return handle(ctx, h, s) })
}

// serveFrom puts a handler behind a verb: it reads the header and turns errors into refusals for the wire.
func serveFrom[H any](node *p2p.Node, verb string, handle func(ctx context.Context, from p2p.Peer, h H, s *p2p.Stream) error) {
	node.Handle(verb, Version, func(ctx context.Context, from p2p.Peer, s *p2p.Stream) error {
		var h H
		f, err := s.Read(maxHeader)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(f, &h); err != nil {
			return toWire(verb, ao.Refuse(verb, ao.Malformed, "the request's header: %v", err))
		}
		if err := handle(ctx, from, h, s); err != nil {
			return toWire(verb, err)
		}
		return nil
	})
}

// heartbeat is how often a stream of things to come shows that it is alive; its reader gives up after three missed ones.
const heartbeat = 5 * time.Second

// relay sends what follow visits, as it comes, and heartbeats in between, until follow ends or the reader goes away.
func relay[T any](
	ctx context.Context, st *p2p.Stream, follow func(context.Context, func(T) error) error, write func(*p2p.Stream, T) error,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	things := make(chan T)
	ended := make(chan error, 1)
	go func() {
		ended <- follow(ctx, func(v T) error {
			select {
			case things <- v:
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
		case v := <-things:
			err = write(st, v)
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

// printable is a stranger's text as it may be shown: one line, without control characters, of at most max bytes.
func printable(s string, max int) string {
	if len(s) > max {
		s = s[:max]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// readDeal reads the deal that a request's header announces, nil for none.
func readDeal(s *p2p.Stream, isThere bool) ([]byte, error) {
	if !isThere {
		return nil, nil
	}
	return s.Read(market.MaxDeal)
}

// withDeal puts a deal before a request's other frames.
func withDeal(deal []byte, frames ...[]byte) [][]byte {
	if deal == nil {
		return frames
	}
	return append([][]byte{deal}, frames...)
}

func writeHeader(s *p2p.Stream, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Write(b)
}
