package arweave

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// smallBody is what any answer may take; for more, it waits until there is room among the large ones.
	smallBody = 1 << 20
	// paceBytes must come in the time of one small answer, so that a gateway that drips is left for another long before
	// the patience for a large answer is over.
	paceBytes = 256 << 10
	// largeRequest takes its time to be sent.
	largeRequest = 1 << 20
)

// errSlow says why a request was broken off.
var errSlow = errors.New("the gateway is too slow")

// pace breaks a request off when its answer does not come on.
type pace struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	every  time.Duration
	bytes  int // since the timer was set
}

// watchPace gives the context for a request and its watch, which must be stopped.
func watchPace(ctx context.Context, every time.Duration, sent int) (context.Context, *pace) {
	ctx, cancel := context.WithCancelCause(ctx)
	p := &pace{ctx: ctx, cancel: cancel, every: every}
	p.timer = time.AfterFunc(every, func() { cancel(errSlow) })
	if sent > largeRequest {
		p.timer.Stop()
	}
	return ctx, p
}

func (p *pace) stop() {
	p.timer.Stop()
	p.cancel(nil)
}

// cause is err, or that the gateway was too slow, if that is behind it.
func (p *pace) cause(err error) error {
	if errors.Is(context.Cause(p.ctx), errSlow) {
		return errSlow
	}
	return err
}

// came notes bytes of the answer.
func (p *pace) came(n int) {
	if p.bytes += n; p.bytes >= paceBytes {
		p.again()
	}
}

func (p *pace) again() {
	p.bytes = 0
	p.timer.Reset(p.every)
}

// pacedReader tells a watch what it reads.
type pacedReader struct {
	io.Reader
	pace *pace
}

func (r pacedReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.pace.came(n)
	return n, err
}

// readBody reads an answer of at most limit bytes. Nothing is allocated ahead on the gateway's word, and large answers
// share a room that holds one of the largest, however many are on their way.
func (c *Client) readBody(ctx context.Context, resp *http.Response, limit int64, watch *pace) ([]byte, error) {
	from := pacedReader{resp.Body, watch}
	first := min(limit, smallBody)
	body, err := io.ReadAll(io.LimitReader(from, first+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(body)) <= first:
		return body, nil
	case limit <= first:
		return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
	}
	size := limit + 1
	if resp.ContentLength > 0 {
		size = resp.ContentLength
	}
	watch.timer.Stop() // waiting for room is not the gateway's fault
	if err := c.bodies.take(ctx, size); err != nil {
		return nil, fmt.Errorf("wait for other answers: %w", err)
	}
	defer func() {
		_ = resp.Body.Close() // what it holds goes before the next one gets the room; the answer has been read or refused
		c.bodies.give(size)
	}()
	watch.again()
	for int64(len(body)) <= limit {
		if len(body) == cap(body) {
			body = append(make([]byte, 0, min(2*int64(len(body)), size+1)), body...)
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, limit)
	}
	return body, nil
}

// base64Size is what so many bytes are in base64url, at most.
func base64Size(n int64) int64 { return n/3*4 + 4 }

// room is a number of bytes to be shared, first come first served.
type room struct {
	turn  chan struct{} // held by who waits, so that small ones do not pass a large one for ever
	freed chan struct{}

	lock sync.Mutex
	free int64
}

func newRoom(size int64) *room {
	return &room{turn: make(chan struct{}, 1), freed: make(chan struct{}, 1), free: size}
}

// take waits for n bytes, which must not be more than the room has.
func (r *room) take(ctx context.Context, n int64) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for !r.has(n) {
		select {
		case <-r.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (r *room) has(n int64) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.free < n {
		return false
	}
	r.free -= n
	return true
}

func (r *room) give(n int64) {
	r.lock.Lock()
	r.free += n
	r.lock.Unlock()
	select {
	case r.freed <- struct{}{}:
	default:
	}
}
