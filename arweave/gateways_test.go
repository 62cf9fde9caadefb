package arweave

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestProbeAndGateways: each gateway speaks for itself, with its height and clock, and its failures are counted.
func TestProbeAndGateways(t *testing.T) {
	clock := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", clock.Format(http.TimeFormat))
		switch {
		case r.URL.Path == "/info":
			_, _ = w.Write([]byte(`{"height":7}`))
		case strings.HasPrefix(r.URL.Path, "/price/"):
			_, _ = w.Write([]byte("42"))
		}
	}))
	defer good.Close()
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("no JSON")) }))
	defer bad.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	secret := strings.Replace(gone.URL, "http://", "http://user:secret@", 1)
	c, err := NewClient(ClientConfig{Gateways: []string{secret, bad.URL, good.URL}, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Probe(t.Context())
	if len(p) != 3 || p[0].Err == nil || p[1].Err == nil || p[2].Err != nil || p[2].Height != 7 || !p[2].Clock.Equal(clock) ||
		p[2].Asked.IsZero() || !p[0].Clock.IsZero() {
		t.Errorf("probed: %+v", p)
	}
	if strings.Contains(p[0].URL, "secret") {
		t.Errorf("the probe tells the password: %s", p[0].URL)
	}
	if price, err := c.Price(t.Context(), 1000); err != nil || price.Int64() != 42 {
		t.Errorf("price %v, %v", price, err)
	}
	g := c.Gateways()
	if len(g) != 3 || g[0].Failures == 0 || !g[0].Held || g[1].Failures == 0 || g[2].Failures != 0 || g[2].Held || strings.Contains(g[0].URL, "secret") {
		t.Errorf("gateways: %+v", g)
	}
}
