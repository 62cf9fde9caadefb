package simnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two stations 50 ms apart, one of which listens at port 1.
func pair(t *testing.T) (w *wire, a, b *station, l net.Listener) {
	t.Helper()
	w = newWire(func(netip.Addr, netip.Addr) time.Duration { return 50 * time.Millisecond })
	a, b = w.plug(netip.MustParseAddr("11.0.0.1")), w.plug(netip.MustParseAddr("11.0.0.2"))
	l, err := b.listen(1)
	if err != nil {
		t.Fatal(err)
	}
	return w, a, b, l
}

// joined is a connection between them.
func joined(t *testing.T) (w *wire, near, far net.Conn) {
	t.Helper()
	w, a, b, l := pair(t)
	near, err := a.dial(t.Context(), netip.AddrPortFrom(b.addr, 1))
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return w, near, far
}

// takes says how long something takes in virtual time.
func takes(do func()) time.Duration {
	begin := time.Now()
	do()
	return time.Since(begin)
}

func TestBytesTakeTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var near, far net.Conn
		if d := takes(func() { _, near, far = joined(t) }); d != 100*time.Millisecond {
			t.Errorf("dialling takes %v, not a round trip", d)
		}
		for _, text := range []string{"one", "two"} {
			if _, err := near.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, 16)
		var n int
		if d := takes(func() { n, _ = far.Read(b) }); d != 50*time.Millisecond || string(b[:n]) != "onetwo" {
			t.Errorf("after %v %q came", d, b[:n])
		}
		_, _ = near.Write([]byte("end"))
		_ = near.Close()
		if d := takes(func() { _, _ = io.ReadFull(far, b[:3]) }); d != 50*time.Millisecond || string(b[:3]) != "end" {
			t.Errorf("after %v %q came", d, b[:3])
		}
		if _, err := far.Read(b); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
		if _, err := far.Write(b); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("writing to nobody: %v", err)
		}
	})
}

func TestDeadlinesEndCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := joined(t)
		defer near.Close()
		defer far.Close()
		b := make([]byte, 1)
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		if d := takes(func() {
			if _, err := far.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v", err)
			}
		}); d != time.Second {
			t.Errorf("read gave up after %v", d)
		}
		// A deadline that is set while somebody waits counts at once.
		_ = far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = far.SetReadDeadline(time.Now()) })
		if d := takes(func() { _, _ = far.Read(b) }); d != time.Second {
			t.Errorf("read gave up after %v", d)
		}
		_ = near.SetWriteDeadline(time.Now().Add(time.Second))
		full := make([]byte, window)
		if _, err := near.Write(full); err != nil {
			t.Fatal(err)
		}
		if d := takes(func() {
			if _, err := near.Write(b); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
		}); d != time.Second {
			t.Errorf("write gave up after %v", d)
		}
		_ = far.SetReadDeadline(time.Time{})
		_ = near.SetWriteDeadline(time.Time{})
		go func() { _, _ = io.ReadFull(far, full) }()
		if _, err := near.Write(b); err != nil {
			t.Errorf("write once there is room: %v", err)
		}
	})
}

func TestPartitionHoldsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, near, far := joined(t)
		defer near.Close()
		defer far.Close()
		_, _ = near.Write([]byte("late"))
		w.divide(map[netip.Addr]int{netip.MustParseAddr("11.0.0.1"): 1})
		time.AfterFunc(time.Minute, func() { w.divide(nil) })
		b := make([]byte, 4)
		if d := takes(func() { _, _ = io.ReadFull(far, b) }); d != time.Minute || string(b) != "late" {
			t.Errorf("after %v %q came", d, b)
		}
	})
}

func TestWhoCannotBeDialled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b, l := pair(t)
		to := netip.AddrPortFrom(b.addr, 1)
		dial := func(to netip.AddrPort) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			took = takes(func() {
				var c net.Conn
				if c, err = a.dial(ctx, to); err == nil {
					_ = c.Close()
				}
			})
			return took, err
		}
		if took, err := dial(netip.AddrPortFrom(b.addr, 2)); !errors.Is(err, syscall.ECONNREFUSED) || took != 100*time.Millisecond {
			t.Errorf("nobody listens: %v after %v", err, took)
		}
		if took, err := dial(netip.MustParseAddrPort("192.168.1.2:1")); !errors.Is(err, context.DeadlineExceeded) || took != 10*time.Second {
			t.Errorf("nobody is there: %v after %v", err, took)
		}
		b.hidden.Store(true)
		if _, err := dial(to); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("behind a NAT: %v", err)
		}
		b.hidden.Store(false)
		b.cut(true)
		if _, err := dial(to); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("without power: %v", err)
		}
		b.cut(false)
		w.divide(map[netip.Addr]int{a.addr: 1})
		time.AfterFunc(time.Second, func() { w.divide(nil) })
		if took, err := dial(to); err != nil || took != 1100*time.Millisecond {
			t.Errorf("parted for a second: %v after %v", err, took)
		}
		_ = l.Close()
		if _, err := dial(to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the listener has closed: %v", err)
		}
	})
}

func TestBytesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, near, far := joined(t)
		defer near.Close()
		defer far.Close()
		_, _ = near.Write(make([]byte, 1000))
		_, _ = io.ReadFull(far, make([]byte, 1000))
		out, in := near.(*conn).out.from, far.(*conn).in.to
		if sent, got := out.sent.Load(), in.got.Load(); sent != 1000+overhead || got != sent || out.got.Load() != 0 {
			t.Errorf("%d bytes sent, %d received", sent, got)
		}
	})
}
