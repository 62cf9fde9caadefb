package arweave

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	defaultTimeout    = 20 * time.Second
	defaultRetryDelay = 250 * time.Millisecond
	defaultTries      = 4
	defaultMaxItem    = 48 << 20
	// dataPatience is how many times longer than a small answer the body of an item may take.
	dataPatience = 10
	// maxAnswer bounds every answer that is not data: a page of MaxPage items with full tags fits.
	maxAnswer = 16 << 20
	// maxBlockAnswer bounds a block: nodes list proofs and up to a thousand transaction IDs in it.
	maxBlockAnswer = 4 << 20
	maxShortAnswer = 4 << 10
	maxRedirects   = 5
	// heldFirst and heldMost bound how long a gateway that failed is asked last.
	heldFirst = time.Second
	heldMost  = time.Minute
)

// ClientConfig says which gateways a Client reads from and how patient it is.
type ClientConfig struct {
	// Gateways are base URLs, asked in this order, those that failed of late behind the others; at least one.
	Gateways []string
	// HTTP sends the requests; nil is a client of its own.
	HTTP *http.Client
	// Timeout bounds one request with a small answer; data gets ten times as long. 0 is 20 s.
	Timeout time.Duration
	// Tries is how often all gateways are asked before a call gives up as ErrUnavailable. 0 is 4.
	Tries uint
	// RetryDelay is the first pause between tries; it grows from there. 0 is 250 ms.
	RetryDelay time.Duration
	// Clock is the time by which a failing gateway is asked last for a while; nil is time.Now.
	Clock func() time.Time
	// MaxItem bounds an item, and a bundle that is fetched for the sake of one item. 0 is 48 MiB: the largest module fits.
	MaxItem int64
	// BlockTime is the time between two blocks on this chain, by which a height that fewer than three gateways vouch for
	// is judged. 0 believes any height.
	BlockTime time.Duration
}

// Validate checks the configuration without using the network.
func (c *ClientConfig) Validate() error {
	if len(c.Gateways) == 0 {
		return errors.New("check arweave client: no gateway configured")
	}
	for _, g := range c.Gateways {
		u, err := url.Parse(g)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("check arweave client: gateway %q is not an http(s) URL", g)
		}
	}
	if c.Timeout < 0 || c.RetryDelay < 0 || c.MaxItem < 0 || c.BlockTime < 0 {
		return errors.New("check arweave client: negative limit")
	}
	return nil
}

// Client is the reading half of an Archive: it talks to gateways and verifies what they serve. It is safe for concurrent
// use and owns no goroutine.
type Client struct {
	gateways   []*gateway
	http       *http.Client
	timeout    time.Duration
	tries      uint
	retryDelay time.Duration
	maxItem    int64
	clock      func() time.Time
	bodies     *room
	heights    heightGuard
}

// gateway is one place to ask.
type gateway struct {
	index int
	base  string
	// servesItems becomes true once GET /item/{id} gave an intact item, which our own gateways do.
	servesItems atomic.Bool
	// lacksItems becomes true once the gateway had an item but not under /item/.
	lacksItems atomic.Bool
	// servesRaw becomes true once GET /raw/{id} gave data: then what is not there is nowhere.
	servesRaw atomic.Bool
	// failures in a row, and until when it is asked after the others, in Unix nanoseconds.
	failures  atomic.Uint32
	heldUntil atomic.Int64
	failed    atomic.Uint64 // in all
}

// NewClient builds a Client; it opens no connection.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{
		http: cfg.HTTP, timeout: orDefault(cfg.Timeout, defaultTimeout), tries: orDefault(cfg.Tries, defaultTries),
		retryDelay: orDefault(cfg.RetryDelay, defaultRetryDelay), maxItem: orDefault(cfg.MaxItem, int64(defaultMaxItem)), clock: cfg.Clock,
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	c.bodies, c.heights.blockTime = newRoom(max(base64Size(c.maxItem), maxAnswer)+1), cfg.BlockTime
	if c.http == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 32
		transport.MaxResponseHeaderBytes = 256 << 10
		c.http = &http.Client{Transport: transport, CheckRedirect: limitRedirects}
	}
	for i, g := range cfg.Gateways {
		c.gateways = append(c.gateways, &gateway{index: i, base: strings.TrimRight(g, "/")})
	}
	return c, nil
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

func limitRedirects(to *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if via[0].URL.Scheme == "https" && to.URL.Scheme != "https" {
		return fmt.Errorf("redirected from https to %s", to.URL.Scheme)
	}
	return nil
}

// request is one HTTP exchange with a bounded answer.
type request struct {
	method, path, contentType string
	body                      []byte
	limit                     int64
}

type response struct {
	status int
	body   []byte
}

// send performs a request against one gateway. Any HTTP status is an answer; an error means there was none.
func (c *Client) send(ctx context.Context, g *gateway, r request) (*response, error) {
	timeout := c.timeout
	if r.limit > maxAnswer || len(r.body) > maxAnswer {
		timeout *= dataPatience
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, watch := watchPace(ctx, c.timeout, len(r.body))
	defer watch.stop()
	req, err := http.NewRequestWithContext(ctx, r.method, g.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask gateway: %w", watch.cause(err))
	}
	defer resp.Body.Close()
	if resp.ContentLength > r.limit {
		return nil, fmt.Errorf("%w: %s answers with %d bytes", ErrTooLarge, r.path, resp.ContentLength)
	}
	body, err := c.readBody(ctx, resp, r.limit, watch)
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", r.path, watch.cause(err))
	}
	return &response{status: resp.StatusCode, body: body}, nil
}

// get is send for the common case: 200 gives the body, 204 an empty one, 404 and 410 are ErrNotFound, the rest passes by
// another gateway.
func (c *Client) get(ctx context.Context, g *gateway, path string, limit int64) ([]byte, error) {
	resp, err := c.send(ctx, g, request{method: http.MethodGet, path: path, limit: limit})
	if err != nil {
		return nil, err
	}
	switch resp.status {
	case http.StatusOK, http.StatusNoContent:
		return resp.body, nil
	case http.StatusNotFound, http.StatusGone, http.StatusAccepted: // the last of a transaction in no block yet
		return nil, fmt.Errorf("%w: %s", ErrNotFound, path)
	}
	return nil, statusError(path, resp)
}

func statusError(path string, resp *response) error {
	return fmt.Errorf("%s answered %d: %.200q", path, resp.status, resp.body)
}

// verdicts are errors that settle a question as far as one gateway can; the strongest is first. Without one, the question
// is asked again.
func verdicts() []error {
	return []error{ErrRejected, ErrCorrupt, ErrTooLarge, ErrNotFound}
}

// inOrder lists the gateways: those that answer as configured, then those that failed of late, longest held back last.
func (c *Client) inOrder() []*gateway {
	now := c.clock().UnixNano()
	return slices.SortedStableFunc(slices.Values(c.gateways), func(a, b *gateway) int {
		return cmp.Compare(max(a.heldUntil.Load()-now, 0), max(b.heldUntil.Load()-now, 0))
	})
}

func (c *Client) isHeld(g *gateway) bool { return g.heldUntil.Load() > c.clock().UnixNano() }

// heard notes how a gateway did: no answer, or one that is not intact or too large, puts it behind the others, for longer
// each time.
func (c *Client) heard(ctx context.Context, g *gateway, err error) {
	if err == nil || (isVerdict(err) && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge)) {
		g.failures.Store(0)
		g.heldUntil.Store(0)
		return
	}
	if ctx.Err() != nil { // the caller gave up
		return
	}
	g.failed.Add(1)
	hold := min(heldFirst<<min(g.failures.Add(1)-1, 16), heldMost)
	g.heldUntil.Store(c.clock().Add(hold).UnixNano())
}

// anyGateway asks the gateways in order until one gives an answer. If none does, the strongest verdict wins; if there was
// not even a verdict, all are asked again after a pause.
func anyGateway[T any](ctx context.Context, c *Client, ask func(context.Context, *gateway) (T, error)) (T, error) {
	return retry(ctx, c, func() (T, error) {
		var zero T
		failures := make([]error, 0, len(c.gateways))
		for _, g := range c.inOrder() {
			v, err := ask(ctx, g)
			c.heard(ctx, g, err)
			if err == nil {
				return v, nil
			}
			failures = append(failures, fmt.Errorf("%s: %w", g.base, err))
			if ctx.Err() != nil {
				break
			}
		}
		return zero, strongest(failures)
	})
}

// retry repeats a call that failed without a verdict, and names what is left at the end.
func retry[T any](ctx context.Context, c *Client, call func() (T, error)) (T, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = c.retryDelay
	v, err := backoff.Retry(ctx, func() (T, error) {
		v, err := call()
		if err != nil && isVerdict(err) {
			err = backoff.Permanent(err)
		}
		return v, err
	}, backoff.WithBackOff(pause), backoff.WithMaxTries(c.tries))
	var permanent *backoff.PermanentError
	if errors.As(err, &permanent) {
		err = permanent.Unwrap() // the last try returns it wrapped
	}
	if err != nil && !isVerdict(err) {
		return v, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return v, err
}

func isVerdict(err error) bool {
	for _, v := range verdicts() {
		if errors.Is(err, v) {
			return true
		}
	}
	return false
}

func strongest(failures []error) error {
	for _, v := range verdicts() {
		for _, err := range failures {
			if errors.Is(err, v) {
				return err
			}
		}
	}
	return errors.Join(failures...)
}
