package simnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// backlog is how many connections wait to be accepted at a station.
const backlog = 128

// wire is a network in memory that carries streams of bytes between stations as TCP does: in order, after the latency of
// the way, and late rather than never when the two are parted for a while. It waits on channels and timers alone, so that
// virtual time passes while everybody waits for it.
type wire struct {
	latency func(a, b netip.Addr) time.Duration // one way, the same both ways

	lock     sync.Mutex // owns what follows
	stations map[netip.Addr]*station
	sides    map[netip.Addr]int // of a partition; the same number can reach each other
	healed   chan struct{}      // closed and renewed whenever who can reach whom changes
}

// station is one machine's plug.
type station struct {
	wire   *wire
	addr   netip.Addr   // by which others see it
	hidden atomic.Bool  // accepts no connection, as behind a NAT
	dark   atomic.Bool  // nothing leaves it or reaches it, as without power
	sent   atomic.Int64 // bytes
	got    atomic.Int64

	lock      sync.Mutex // owns what follows
	listeners map[uint16]*listener
	port      uint16 // of the last connection out
}

func newWire(latency func(a, b netip.Addr) time.Duration) *wire {
	return &wire{
		latency: latency, stations: make(map[netip.Addr]*station), sides: make(map[netip.Addr]int), healed: make(chan struct{}),
	}
}

// plug adds a station.
func (w *wire) plug(addr netip.Addr) *station {
	w.lock.Lock()
	defer w.lock.Unlock()
	s := &station{wire: w, addr: addr, listeners: make(map[uint16]*listener)}
	w.stations[addr] = s
	return s
}

// divide says who can reach whom: those with the same side, which is 0 for stations not named.
func (w *wire) divide(sides map[netip.Addr]int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.sides = sides
	w.change()
}

// change wakes everybody that waits for a way; the caller holds the lock.
func (w *wire) change() {
	close(w.healed)
	w.healed = make(chan struct{})
}

// parted says whether nothing gets from one station to the other now, and what is closed when that may have changed.
func (w *wire) parted(a, b *station) (bool, <-chan struct{}) {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.sides[a.addr] != w.sides[b.addr] || a.dark.Load() || b.dark.Load(), w.healed
}

// cut takes the power of a station away, or gives it back.
func (s *station) cut(dark bool) {
	s.wire.lock.Lock()
	defer s.wire.lock.Unlock()
	s.dark.Store(dark)
	s.wire.change()
}

// listener accepts at one port of a station.
type listener struct {
	station *station
	port    uint16
	accept  chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (s *station) listen(port uint16) (net.Listener, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.listeners[port] != nil {
		return nil, fmt.Errorf("listen at port %d of %s: %w", port, s.addr, syscall.EADDRINUSE)
	}
	l := &listener{station: s, port: port, accept: make(chan net.Conn, backlog), closed: make(chan struct{})}
	s.listeners[port] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.station.lock.Lock()
		delete(l.station.listeners, l.port)
		l.station.lock.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.accept:
				_ = c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.station.addr, l.port))
}

// dial connects a station to another, after one round trip. Where nobody answers it waits until ctx ends, as for a packet
// that a firewall drops; a station that is there and does not listen refuses.
func (s *station) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	w := s.wire
	w.lock.Lock()
	other := w.stations[to.Addr()]
	w.lock.Unlock()
	if other == nil || other.hidden.Load() && other != s {
		<-ctx.Done()
		return nil, fmt.Errorf("dial %s: %w", to, context.Cause(ctx))
	}
	for {
		apart, changed := w.parted(s, other)
		if !apart {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", to, context.Cause(ctx))
		}
	}
	way := time.NewTimer(2 * w.latency(s.addr, other.addr))
	defer way.Stop()
	select {
	case <-way.C:
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", to, context.Cause(ctx))
	}
	s.lock.Lock()
	s.port = 20000 + (s.port+1)%40000
	mine := netip.AddrPortFrom(s.addr, s.port)
	s.lock.Unlock()
	near, far := connect(s, other, net.TCPAddrFromAddrPort(mine), net.TCPAddrFromAddrPort(to))
	if !other.offer(to.Port(), far) {
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	return near, nil
}

// offer hands a connection to whoever listens at a port, if somebody does and has room.
func (s *station) offer(port uint16, c net.Conn) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	l := s.listeners[port]
	if l == nil {
		return false
	}
	select {
	case l.accept <- c:
		return true
	default:
		return false
	}
}
