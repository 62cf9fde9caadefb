package arweave

import (
	"context"
	"math/big"
	"net/http"
	"net/url"
	"time"
)

// GatewayStatus is how a gateway has done since the client was made.
type GatewayStatus struct {
	// URL is where it is, without a password.
	URL string
	// Failures counts requests without an answer, or with one that was not intact.
	Failures uint64
	// Held says that it is asked after the others for now, because it failed of late.
	Held bool
}

// Gateways reports on every gateway, in the configured order.
func (c *Client) Gateways() []GatewayStatus {
	out := make([]GatewayStatus, 0, len(c.gateways))
	for _, g := range c.gateways {
		shown := g.base
		if u, err := url.Parse(g.base); err == nil {
			shown = u.Redacted()
		}
		out = append(out, GatewayStatus{URL: shown, Failures: g.failed.Load(), Held: c.isHeld(g)})
	}
	return out
}

// Price is what the gateway asks for so many bytes, in winston.
func (c *Client) Price(ctx context.Context, bytes int) (*big.Int, error) {
	return c.price(ctx, bytes, "")
}

// Probe is what one gateway says when it is asked alone.
type Probe struct {
	URL    string
	Height uint64
	// Clock is the gateway's time by its Date header, to the second, and Asked our time of that moment; zero if it sends
	// none.
	Clock, Asked time.Time
	// Took is the time until the answer.
	Took time.Duration
	Err  error
}

// Probe asks each gateway once, alone and without a second try.
func (c *Client) Probe(ctx context.Context) []Probe {
	out := make([]Probe, len(c.gateways))
	for i, g := range c.gateways {
		out[i] = c.probe(ctx, g)
		out[i].URL = c.Gateways()[i].URL
	}
	return out
}

func (c *Client) probe(ctx context.Context, g *gateway) (p Probe) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	begin := time.Now()
	p.Height, p.Err = c.heightFrom(ctx, g)
	p.Took = time.Since(begin)
	if p.Err != nil {
		return p
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, g.base+"/info", nil)
	if err != nil {
		return p
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return p // it has told its height: its clock is another matter
	}
	_ = resp.Body.Close()
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		p.Clock, p.Asked = at, time.Now()
	}
	return p
}
