package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// What a route takes as its body.
const (
	bodyItem = "item"
	bodyJSON = "json"
	bodyTold = "told"
)

// guard is what every request passes: pages of any origin may ask, each address only so often, and all together only so
// many at once.
func (g *Gateway) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "*")
		h.Set("Access-Control-Expose-Headers", "*")
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if wait := g.calls.take(caller(r)); wait > 0 {
			g.refuse(w, r, &refusal{status: http.StatusTooManyRequests, text: "Rate limit exceeded", after: wait})
			return
		}
		select {
		case g.places <- struct{}{}:
			defer func() { <-g.places }()
		default:
			g.refuse(w, r, &refusal{status: http.StatusServiceUnavailable, text: "too many requests at once", after: time.Second})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// caller is the address that is limited: of IPv6 the network that a household gets. It is the zero address for loopback,
// which is not limited. No header is believed: whoever puts a proxy before the peer limits there.
func caller(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv6Unspecified()
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return netip.Addr{}
	}
	if ip.Is6() {
		if net, err := ip.Prefix(56); err == nil {
			return net.Addr()
		}
	}
	return ip
}

// read takes a body within the gateway's bounds.
func (g *Gateway) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return g.readWithin(w, r, g.cfg.Limits.Body)
}

// readWithin takes a body, bounded in bytes and in time. A longer one is refused before it is read where its length is known.
func (g *Gateway) readWithin(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	// A server that cannot set deadlines is one of a test that needs none.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.cfg.Limits.BodyTime))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the server sets its own for what comes next
		return raw, nil
	case errors.As(err, &tooLong):
		return nil, err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refused(http.StatusRequestTimeout, "the body did not come within %v", g.cfg.Limits.BodyTime)
	}
	return nil, refused(http.StatusBadRequest, "read body: %.200v", err)
}

// patience bounds how long an answer is waited for.
func (g *Gateway) patience(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), g.cfg.Limits.AnswerTime)
}
