package p2p

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multistream"
)

const (
	readBuffer = 1 << 10
	// oneWrite is the largest frame that is copied behind its header to go out in a single write.
	oneWrite = 16 << 10
)

// Handler serves one stream: it reads frames from req, writes frames to it, and returns. Nil ends the stream in
// good order; a *Refused (anywhere in the chain) goes to the caller word for word; any other error resets the stream
// with the code of its sentinel. A panic is contained and logged. ctx ends when the node stops; the handler must
// not use req after it returned.
type Handler func(ctx context.Context, from Peer, req *Stream) error

// Handle serves a verb in a version, under the protocol ID /ao/<network>/<verb>/<version>. It may be called before
// or while the node runs; a later handler replaces an earlier one. It panics when the name cannot go into a protocol
// ID, because names are constants of the program.
func (n *Node) Handle(verb, version string, h Handler) {
	name, err := n.wireName(verb, version)
	if err != nil {
		panic(err)
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	n.handlers[name] = h
	if n.running {
		n.host.SetStreamHandler(protocol.ID(name), n.serve(h))
	}
}

// serve wraps a handler for libp2p, which runs it in a goroutine of its own for each stream.
func (n *Node) serve(h Handler) network.StreamHandler {
	return func(raw network.Stream) {
		n.lock.Lock()
		if !n.running {
			n.lock.Unlock()
			_ = raw.ResetWithError(network.StreamErrorCode(CodeClosing))
			return
		}
		n.serving.Add(1)
		n.lock.Unlock()
		defer n.serving.Done()

		id := raw.Conn().RemotePeer()
		key, err := KeyFromPeerID(id)
		if err != nil {
			_ = raw.ResetWithError(network.StreamErrorCode(CodeMalformed))
			return
		}
		if why, ok := n.admit.enter(id, time.Now()); !ok {
			n.refuse(id, why)
			_ = raw.ResetWithError(network.StreamErrorCode(CodeBusy))
			return
		}
		defer n.admit.leave(id, time.Now())

		s := n.newStream(n.ctx, raw, n.config.Limits.MaxRequest)
		s.budget = n.config.Limits.MaxRequest
		defer s.release()
		s.finish(n.callHandler(h, Peer{ID: id, PublicKey: key}, s))
	}
}

func (n *Node) callHandler(h Handler, from Peer, s *Stream) (err error) {
	defer func() {
		if p := recover(); p != nil {
			n.log.Error("handler panicked", "protocol", s.raw.Protocol(), "from", from.ID, "panic", p,
				"stack", string(debug.Stack()))
			err = fmt.Errorf("%w: handler panicked", ErrFault)
		}
	}()
	err = h(s.ctx, from, s)
	if err != nil {
		n.log.Debug("stream ended with an error", "protocol", s.raw.Protocol(), "from", from.ID, "err", err)
	}
	return err
}

// Open opens a stream to a peer for one call, finding its addresses in the DHT when none is known, and dialling it
// when not connected. The stream lives until Close or Reset, or until ctx ends, which resets it.
func (n *Node) Open(ctx context.Context, to peer.ID, verb, version string) (*Stream, error) {
	if err := n.up(); err != nil {
		return nil, err
	}
	name, err := n.wireName(verb, version)
	if err != nil {
		return nil, err
	}
	limits := n.config.Limits
	dial, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	if err := n.gated(to); err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", verb, to, err)
	}
	if err := n.locate(dial, to); err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", verb, to, err)
	}
	raw, err := n.host.NewStream(network.WithAllowLimitedConn(dial, "call"), to, protocol.ID(name))
	if err != nil {
		return nil, fmt.Errorf("open %s to %s: %w", verb, to, n.dialError(to, err))
	}
	s := n.newStream(ctx, raw, limits.MaxResponse)
	if c := raw.Conn(); c.ConnState().Transport == quicTransport {
		s.knock = func() (stop func()) { return n.knock(ctx, c) }
	}
	return s, nil
}

// Call sends one frame and gives the first frame of the answer.
func (n *Node) Call(ctx context.Context, to peer.ID, verb, version string, request []byte) ([]byte, error) {
	s, err := n.Open(ctx, to, verb, version)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	sent := s.Write(request)
	if sent == nil {
		sent = s.CloseWrite()
	}
	// A peer may answer or refuse without reading to the end, so a failure to write is not the last word.
	answer, err := s.Read(0)
	switch {
	case err == nil:
		return answer, nil
	case err == io.EOF && sent != nil:
		err = sent
	case err == io.EOF:
		err = fmt.Errorf("%w: stream ended without an answer", ErrMalformed)
	}
	return nil, fmt.Errorf("call %s of %s: %w", verb, to, err)
}

// dialError sorts a failure to open a stream.
func (n *Node) dialError(to peer.ID, err error) error {
	var unsupported multistream.ErrNotSupported[protocol.ID]
	var reset *network.StreamError
	switch {
	case errors.As(err, &reset) && reset.Remote:
		return streamError(err)
	case n.gated(to) != nil:
		return fmt.Errorf("%w: %w", n.gated(to), err)
	case errors.As(err, &unsupported):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", ErrCanceled, err)
	case errors.Is(err, network.ErrResourceLimitExceeded):
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, swarm.ErrDialToSelf):
		return fmt.Errorf("%w: %w", ErrAddr, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Stream carries the frames of one call in both directions. One goroutine may read while another writes.
type Stream struct {
	raw     network.Stream
	reader  *bufio.Reader
	ctx     context.Context
	detach  func() bool // stops the context from resetting the stream
	limit   int         // bytes in a frame read here
	budget  int         // bytes still allowed in all frames read here; negative means no such limit
	timeout atomic.Int64
	broken  atomic.Uint32 // the code to reset with in Close, because the stream failed on our side
	memory  scopeMemory
	knock   func() (stop func()) // while an answer is waited for; nil where that is not needed
}

func (n *Node) newStream(ctx context.Context, raw network.Stream, limit int) *Stream {
	s := &Stream{
		raw: raw, reader: bufio.NewReaderSize(raw, readBuffer), ctx: ctx, limit: limit, budget: -1,
		memory: scopeMemory{scope: raw.Scope(), admit: n.admit, id: raw.Conn().RemotePeer()},
	}
	s.timeout.Store(int64(n.config.Limits.Timeout))
	s.detach = context.AfterFunc(ctx, func() {
		_ = raw.ResetWithError(network.StreamErrorCode(codeFor(context.Cause(ctx))))
	})
	return s
}

// SetTimeout sets how long the reading or writing of each further frame may take, counted from the call of Read or
// Write; zero leaves only the context's own deadline. The node's limit applies at first.
func (s *Stream) SetTimeout(d time.Duration) { s.timeout.Store(int64(d)) }

// deadline is when the frame begun now must be through.
func (s *Stream) deadline() time.Time {
	var at time.Time
	if d := time.Duration(s.timeout.Load()); d > 0 {
		at = time.Now().Add(d)
	}
	if end, ok := s.ctx.Deadline(); ok && (at.IsZero() || end.Before(at)) {
		at = end
	}
	return at
}

// Write sends frames, each of which may be empty, as few packets as they fit in. When it fails because the other side
// stopped reading, Read may still give an answer or a refusal.
func (s *Stream) Write(frames ...[]byte) error { return s.write(kindData, frames...) }

func (s *Stream) write(kind byte, frames ...[]byte) error {
	size := 0
	for _, frame := range frames {
		size += 8 + len(frame)
	}
	small := make([]byte, 0, min(size, oneWrite+8)) // frames that are copied to go out together
	for _, frame := range frames {
		_ = s.raw.SetWriteDeadline(s.deadline())
		small = appendHeader(small, kind, len(frame))
		if len(small)+len(frame) <= oneWrite {
			small = append(small, frame...)
			continue
		}
		_, err := s.raw.Write(small)
		if err == nil {
			small = small[:0]
			_, err = s.raw.Write(frame)
		}
		if err != nil {
			return s.fail("write frame", err)
		}
	}
	if len(small) > 0 {
		if _, err := s.raw.Write(small); err != nil {
			return s.fail("write frame", err)
		}
	}
	return nil
}

// Read gives the next frame. max bounds its bytes below the node's own limit; zero leaves that one. It gives
// io.EOF, unwrapped, when the other side has closed its writing end between frames, and a *Refused when the other
// side refused. What it returns belongs to the caller.
func (s *Stream) Read(max int) ([]byte, error) {
	if max <= 0 || max > s.limit {
		max = s.limit
	}
	if s.budget >= 0 {
		max = min(max, s.budget)
	}
	_ = s.raw.SetReadDeadline(s.deadline())
	s.memory.free()
	if s.knock != nil && s.reader.Buffered() == 0 {
		defer s.knock()()
	}
	kind, data, err := readFrame(s.reader, max, &s.memory)
	if err == io.EOF && s.ctx.Err() == nil {
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.fail("read frame", err)
	}
	if kind == kindRefusal {
		refused, err := decodeRefusal(data)
		if err != nil {
			return nil, s.fail("read frame", err)
		}
		return nil, refused
	}
	if s.budget >= 0 {
		s.budget -= len(data)
	}
	return data, nil
}

// fail names the error, and notes how to tell the other side if the fault was found here.
func (s *Stream) fail(doing string, err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		if errors.Is(cause, context.DeadlineExceeded) {
			return fmt.Errorf("%s: %w: %w", doing, ErrDeadline, cause)
		}
		return fmt.Errorf("%s: %w: %w", doing, ErrCanceled, cause)
	}
	known := errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrBusy)
	if !known {
		err = streamError(err)
	}
	s.broken.CompareAndSwap(0, uint32(codeFor(err)))
	return fmt.Errorf("%s: %w", doing, err)
}

// CloseWrite tells the other side that no more frames will come from here.
func (s *Stream) CloseWrite() error {
	_ = s.raw.SetWriteDeadline(s.deadline())
	if err := s.raw.CloseWrite(); err != nil {
		return s.fail("close for writing", err)
	}
	return nil
}

// Close ends the stream: in good order, or with a reset when a read or write on it has failed. It does not wait for
// the other side. To abandon a call under way, Reset it or cancel its context.
func (s *Stream) Close() error {
	defer s.release()
	if code := s.broken.Load(); code != 0 {
		return s.raw.ResetWithError(network.StreamErrorCode(code))
	}
	return s.raw.Close()
}

// Reset breaks the stream off in both directions and tells the other side the code.
func (s *Stream) Reset(code Code) {
	s.broken.CompareAndSwap(0, uint32(code))
	_ = s.raw.ResetWithError(network.StreamErrorCode(code))
	s.release()
}

func (s *Stream) release() {
	s.detach()
	s.memory.free()
}

// finish ends a served stream as the handler's error says.
func (s *Stream) finish(err error) {
	var refused *Refused
	switch {
	case err == nil:
		_ = s.Close()
	case errors.As(err, &refused):
		if s.write(kindRefusal, encodeRefusal(refused)) == nil && s.CloseWrite() == nil {
			// The caller may still be writing: without somebody reading it would wait for its deadline
			// and never get to see the refusal.
			_ = s.raw.SetReadDeadline(s.deadline())
			_, _ = io.Copy(io.Discard, io.LimitReader(s.reader, int64(max(s.budget, 0))))
		}
		_ = s.Close()
	default:
		s.Reset(codeFor(err))
	}
}

// scopeMemory takes a stream's frame buffer from the peer's share of the memory, and accounts it to libp2p's resource
// manager. The reading goroutine owns it, except that release may run beside it; then the scope of the closing stream
// returns what is left.
type scopeMemory struct {
	scope network.StreamScope
	admit *admission
	id    peer.ID
	held  atomic.Int64
}

func (m *scopeMemory) grow(bytes int) error {
	if !m.admit.memory.take(m.id, int64(bytes)) {
		m.admit.count(boundMemory)
		return fmt.Errorf("%w: no memory left for %d bytes", ErrBusy, bytes)
	}
	if err := m.scope.ReserveMemory(bytes, network.ReservationPriorityHigh); err != nil {
		m.admit.memory.give(m.id, int64(bytes))
		m.admit.count(boundMemory)
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	m.held.Add(int64(bytes))
	return nil
}

func (m *scopeMemory) shrink(bytes int) {
	held := m.held.Load()
	for ; !m.held.CompareAndSwap(held, max(held-int64(bytes), 0)); held = m.held.Load() {
	}
	m.giveBack(min(held, int64(bytes)))
}

func (m *scopeMemory) free() { m.giveBack(m.held.Swap(0)) }

func (m *scopeMemory) giveBack(bytes int64) {
	if bytes > 0 {
		m.scope.ReleaseMemory(int(bytes))
		m.admit.memory.give(m.id, bytes)
	}
}
