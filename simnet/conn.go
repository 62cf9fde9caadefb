package simnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// window is how many bytes may be on the way before the writer waits.
	window = 1 << 20
	// overhead is what a packet's headers are counted for.
	overhead = 40
)

// packet is what one Write sent, and when it arrives.
type packet struct {
	at   time.Time
	data []byte
}

// pipe is one direction of a connection.
type pipe struct {
	from, to *station
	latency  time.Duration

	lock   sync.Mutex // owns what follows
	queue  []packet
	size   int
	last   time.Time // when what was sent last arrives
	ended  bool      // nothing more will be sent
	broken bool      // nobody reads any more

	readable, writable chan struct{} // capacity 1: look again
}

func newPipe(from, to *station) *pipe {
	return &pipe{
		from: from, to: to, latency: from.wire.latency(from.addr, to.addr),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1),
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// arrival is when what is sent now arrives: never before what was sent earlier. The caller holds the lock.
func (p *pipe) arrival() time.Time {
	if at := time.Now().Add(p.latency); at.After(p.last) {
		p.last = at
	}
	return p.last
}

// send puts a packet on its way; room says whether there was any for it.
func (p *pipe) send(b []byte) (room bool, err error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.broken {
		return false, syscall.EPIPE
	}
	if p.size >= window {
		return false, nil
	}
	p.queue = append(p.queue, packet{p.arrival(), append([]byte(nil), b...)})
	p.size += len(b)
	p.from.sent.Add(int64(len(b) + overhead))
	poke(p.readable)
	return true, nil
}

// take gives what has arrived. With nothing there it says when to look again, or zero for when something is sent.
func (p *pipe) take(b []byte) (n int, next time.Time, err error) {
	now := time.Now()
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.broken {
		return 0, next, syscall.ECONNRESET
	}
	for len(p.queue) > 0 && n < len(b) && !now.Before(p.queue[0].at) {
		head := &p.queue[0]
		k := copy(b[n:], head.data)
		n += k
		if head.data = head.data[k:]; len(head.data) == 0 {
			p.to.got.Add(overhead)
			p.queue = p.queue[1:]
		}
	}
	if n > 0 {
		p.to.got.Add(int64(n))
		p.size -= n
		if len(p.queue) == 0 {
			p.queue = nil
		}
		poke(p.writable)
		return n, next, nil
	}
	switch {
	case len(p.queue) > 0:
		next = p.queue[0].at
	case p.ended && !now.Before(p.last):
		err = io.EOF
	case p.ended:
		next = p.last
	}
	return 0, next, err
}

// end lets the reader come to the end once all has arrived.
func (p *pipe) end() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.ended = true
	p.arrival()
	poke(p.readable)
}

// snap makes the writer fail.
func (p *pipe) snap() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.broken, p.queue, p.size = true, nil, 0
	poke(p.writable)
}

// limit is a deadline that can be changed while somebody waits for it.
type limit struct {
	lock    sync.Mutex // owns what follows
	at      time.Time
	changed chan struct{} // nil while nobody waits
}

func (l *limit) set(at time.Time) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.at = at
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *limit) get() (time.Time, <-chan struct{}) {
	l.lock.Lock()
	defer l.lock.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.at, l.changed
}

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote net.Addr
	reads, writes limit
	once          sync.Once
	closed        chan struct{}
}

// connect makes both ends of a connection between two stations.
func connect(a, b *station, at, to net.Addr) (near, far *conn) {
	there, back := newPipe(a, b), newPipe(b, a)
	return &conn{in: back, out: there, local: at, remote: to, closed: make(chan struct{})},
		&conn{in: there, out: back, local: to, remote: at, closed: make(chan struct{})}
}

// wait returns when one of the channels has something to say, or at the time if it is not zero; an error ends the call
// that waits.
func (c *conn) wait(ready, changed <-chan struct{}, end *limit, until time.Time) error {
	at, moved := end.get()
	if !at.IsZero() {
		if !time.Now().Before(at) {
			return os.ErrDeadlineExceeded
		}
		if until.IsZero() || at.Before(until) {
			until = at
		}
	}
	var alarm <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-ready:
	case <-changed:
	case <-moved:
	case <-alarm:
	case <-c.closed:
		return net.ErrClosed
	}
	return nil
}

func (c *conn) over() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	for {
		if c.over() {
			return 0, net.ErrClosed
		}
		apart, changed := c.in.from.wire.parted(c.in.from, c.in.to)
		var next time.Time
		if !apart {
			n, at, err := c.in.take(b)
			if n > 0 || err != nil {
				return n, err
			}
			next, changed = at, nil
		}
		if err := c.wait(c.in.readable, changed, &c.reads, next); err != nil {
			return 0, err
		}
	}
}

// Write implements net.Conn. What it takes will arrive, unless the connection ends before.
func (c *conn) Write(b []byte) (int, error) {
	for {
		if c.over() {
			return 0, net.ErrClosed
		}
		room, err := c.out.send(b)
		if err != nil {
			return 0, err
		}
		if room {
			return len(b), nil
		}
		if err := c.wait(c.out.writable, nil, &c.writes, time.Time{}); err != nil {
			return 0, err
		}
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.out.end()
		c.in.snap()
	})
	return nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.reads.set(t)
	c.writes.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.reads.set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.writes.set(t)
	return nil
}
