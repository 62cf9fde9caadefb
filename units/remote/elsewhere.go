package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units"
)

const (
	elsewhereTimeout = 20 * time.Second
	// elsewhereAtOnce bounds the answers that are read at one moment, each of which may be large.
	elsewhereAtOnce = 4
	// elsewherePage and elsewhereOne bound a page and an answer with one node: in JSON a byte may take six.
	elsewherePage = 32 << 20
	elsewhereOne  = 6*ao.MaxItem + 1<<20
	// elsewhereWords is how much of a refusal is read.
	elsewhereWords = 4 << 10
)

// ElsewhereConfig is how schedulers are reached that are no peers: those of today's network, by HTTP.
type ElsewhereConfig struct {
	Archive arweave.Archive // where they say where they are, and where items are found that their answers do not hold whole
	URL     string          // the one that is asked for every process, wherever its scheduler says it is; "" for none
	Private bool            // schedulers may say that they are on this machine or in a private network
	Now     func() time.Time
}

// Elsewhere is schedulers and logs that are reached by HTTP, as the reference unit serves them. Nothing of what they answer
// is believed: items are put together from their parts and verified, or fetched from the archive. Safe for concurrent use.
type Elsewhere struct {
	cfg     ElsewhereConfig
	own     *http.Client  // asks the operator's URL
	strange *http.Client  // asks those of strangers
	turns   chan struct{} // held while an answer is read
	nodes   foundNodes

	together ans104.Verifier // signatures of a page's items

	lock  sync.Mutex
	found map[string]*location // by address
	moved map[ao.ID]moved      // processes whose requests were redirected
}

// NewElsewhere builds it; it opens no connection.
func NewElsewhere(cfg ElsewhereConfig) (*Elsewhere, error) {
	if cfg.Archive == nil {
		return nil, errors.New("schedulers elsewhere: no archive")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.URL != "" {
		base, err := parseBase(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("schedulers elsewhere: %w", err)
		}
		cfg.URL = base
	}
	return &Elsewhere{
		cfg: cfg, own: newElsewhereClient(true), strange: newElsewhereClient(cfg.Private),
		turns: make(chan struct{}, elsewhereAtOnce), found: map[string]*location{}, moved: map[ao.ID]moved{},
	}, nil
}

// forAll is the unit that is asked for every process, if there is one. The receiver may be nil.
func (e *Elsewhere) forAll() (httpUnit, bool) {
	if e == nil || e.cfg.URL == "" {
		return httpUnit{}, false
	}
	return e.at(e.cfg.URL), true
}

// newElsewhereClient follows no redirect by itself, takes no proxy, and connects to private addresses only if it may.
func newElsewhereClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: elsewhereTimeout}
	if !private {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !isPublic(at.Addr().Unmap()) {
				return fmt.Errorf("%s is no public address", address)
			}
			return nil
		}
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: elsewhereTimeout, IdleConnTimeout: time.Minute,
			MaxIdleConns: 64, MaxIdleConnsPerHost: 8, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// isPublic says whether an address is one that a stranger may send us to.
func isPublic(a netip.Addr) bool {
	shared := netip.MustParsePrefix("100.64.0.0/10") // carriers' own networks
	return a.IsGlobalUnicast() && !a.IsPrivate() && !shared.Contains(a)
}

// parseBase is a URL without the slash at its end, to which paths are added.
func parseBase(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(text) > maxLocationURL {
		return "", fmt.Errorf("%.80q is not an http(s) URL", text)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// httpUnit is one of them: the scheduler and the log of a process or of any.
type httpUnit struct {
	of     *Elsewhere
	base   string
	client *http.Client
}

var (
	_ units.Scheduler = httpUnit{}
	_ units.Log       = httpUnit{}
)

// at is the unit at a URL that has been checked.
func (e *Elsewhere) at(base string) httpUnit {
	if base == e.cfg.URL {
		return httpUnit{of: e, base: base, client: e.own}
	}
	return httpUnit{of: e, base: base, client: e.strange}
}

// Peer is where the unit is, in place of a peer ID.
func (u httpUnit) Peer() string { return u.base }

// IsElsewhere says that the unit is none of the mesh.
func (u httpUnit) IsElsewhere() bool { return true }

// httpAsk is one request about a process.
type httpAsk struct {
	hop     string
	process ao.ID
	method  string
	path    string
	query   url.Values
	body    []byte
	accept  string // what answers are read; "" is JSON
	limit   int64  // of the answer
}

// errNone is an answer of 400 or 404: what was asked for is not there, or is not taken. Its text is the unit's words.
type errNone struct{ words string }

func (e errNone) Error() string { return e.words }

// ask sends a request and follows one redirect, which routers of schedulers answer with; where it led is remembered.
// Errors: errNone, refusals.
func (u httpUnit) ask(ctx context.Context, a httpAsk) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, elsewhereTimeout)
	defer cancel()
	if a.query == nil {
		a.query = url.Values{}
	}
	if a.method == http.MethodGet {
		a.query.Set("process-id", a.process.String())
	}
	select {
	case u.of.turns <- struct{}{}:
		defer func() { <-u.of.turns }()
	case <-ctx.Done():
		return nil, Refusal(a.hop, ctx.Err())
	}
	path := a.path
	if len(a.query) > 0 {
		path += "?" + a.query.Encode()
	}
	base := u.of.baseFor(u.base, a.process)
	body, to, err := u.send(ctx, a, base+path)
	if err == nil && to != "" {
		var again string
		if body, again, err = u.send(ctx, a, to); err == nil && again != "" {
			err = ao.Refuse(a.hop, ao.Unreachable, "%s redirects to %.80s, which redirects again", u.base, to)
		}
		if newBase, ok := strings.CutSuffix(to, path); ok && err == nil {
			u.of.move(u.base, a.process, newBase)
		}
	}
	if err != nil && base != u.base {
		u.of.unmove(a.process) // it may have moved on
	}
	return body, err
}

// send is one exchange. A redirect gives its target.
func (u httpUnit) send(ctx context.Context, a httpAsk, target string) (body []byte, to string, err error) {
	req, err := http.NewRequestWithContext(ctx, a.method, target, bytes.NewReader(a.body))
	if err != nil {
		return nil, "", ao.Refuse(a.hop, ao.Malformed, "%v", err)
	}
	req.Header.Set("Accept", cmp.Or(a.accept, "application/json"))
	if len(a.body) > 0 {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, "", u.unreached(ctx, a, err)
	}
	defer resp.Body.Close()
	switch s := resp.StatusCode; {
	case s == http.StatusMovedPermanently || s == http.StatusFound || s == http.StatusTemporaryRedirect || s == http.StatusPermanentRedirect:
		to, err := redirectOf(resp)
		if err != nil {
			return nil, "", ao.Refuse(a.hop, ao.Unreachable, "%s: %v", u.base, err)
		}
		return nil, to, nil
	case s >= 200 && s < 300:
		body, err := io.ReadAll(io.LimitReader(resp.Body, a.limit+1))
		if err != nil {
			return nil, "", u.unreached(ctx, a, err)
		}
		if int64(len(body)) > a.limit {
			return nil, "", ao.Refuse(a.hop, ao.TooLarge, "%s answers with over %d bytes", u.base, a.limit)
		}
		return body, "", nil
	case s == http.StatusBadRequest || s == http.StatusForbidden || s == http.StatusNotFound:
		return nil, "", errNone{wordsOf(resp.Body)}
	case s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable:
		return nil, "", ao.Refuse(a.hop, ao.Busy, "%s answered %d: %s", u.base, s, wordsOf(resp.Body))
	default:
		return nil, "", ao.Refuse(a.hop, ao.Unreachable, "%s answered %d: %s", u.base, s, wordsOf(resp.Body))
	}
}

func (u httpUnit) unreached(ctx context.Context, a httpAsk, err error) error {
	if ctx.Err() != nil {
		return Refusal(a.hop, ctx.Err())
	}
	return ao.Refuse(a.hop, ao.Unreachable, "%v", err)
}

// redirectOf is where an answer sends us; it must not send what came over TLS elsewhere without.
func redirectOf(resp *http.Response) (string, error) {
	to, err := resp.Location()
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.User != nil {
		return "", errors.New("redirects to no URL")
	}
	if resp.Request.URL.Scheme == "https" && to.Scheme != "https" {
		return "", errors.New("redirects from https to http")
	}
	return to.String(), nil
}

// wordsOf is what a refusal says, for people.
func wordsOf(body io.Reader) string {
	raw, err := io.ReadAll(io.LimitReader(body, elsewhereWords))
	if err != nil || len(raw) == 0 {
		return "it does not say why"
	}
	var said struct {
		Error string `json:"error"`
	}
	if unmarshalLoose(raw, &said) && said.Error != "" {
		return printable(said.Error, maxWords)
	}
	return printable(string(raw), maxWords)
}

const maxWords = 200

// moved is where a process was found at the end of a redirect.
type moved struct {
	from, to string
	until    time.Time
}

const (
	maxMoved  = 4096
	movedLife = 10 * time.Minute
)

func (e *Elsewhere) baseFor(base string, process ao.ID) string {
	e.lock.Lock()
	defer e.lock.Unlock()
	if m, ok := e.moved[process]; ok && m.from == base && e.cfg.Now().Before(m.until) {
		return m.to
	}
	return base
}

func (e *Elsewhere) move(from string, process ao.ID, to string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if len(e.moved) >= maxMoved {
		clear(e.moved)
	}
	e.moved[process] = moved{from: from, to: to, until: e.cfg.Now().Add(movedLife)}
}

func (e *Elsewhere) unmove(process ao.ID) {
	e.lock.Lock()
	defer e.lock.Unlock()
	delete(e.moved, process)
}
