// Package gateway is the HTTP door of a peer: the requests by which today's clients of the AO computer reach a
// messenger, a scheduler and a compute unit (§3.3 to §3.5), answered by the doors of package units.
//
// In come signed items by POST, and questions about slots and results by GET; out go the assignments, entries and
// results in the JSON that stock clients read, and refusals as a status with their reason in {"error"}.
//
// It never decides anything that a door of units does not decide for peers on the mesh, keeps no state but what bounds
// its callers, and believes no header about who is asking.
//
// Start with routes.go, where HTTP begins; then su.go, cu.go, mu.go and hyperbeam.go, one surface each. guard.go is what every request
// passes first; docs/interop.md says where today's network is followed and where not.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// Surface is what clients take for one unit: the routes that they reach under one URL.
type Surface string

// The surfaces, by the names of the units.
const (
	Messenger Surface = "mu"
	Scheduler Surface = "su"
	Computer  Surface = "cu"
	// HyperBEAM is what a HyperBEAM node asks of the computer beside it, besides what every computer answers. Nobody signs
	// what it tells, so that it is served to this machine alone.
	HyperBEAM Surface = "hyperbeam"
)

// Surfaces are all of them, in the order of devnet.json.
func Surfaces() []Surface { return []Surface{Messenger, Scheduler, Computer, HyperBEAM} }

// Door is an address and what is served there. Where several surfaces share one, routes that they have in common are
// answered as the table says.
type Door struct {
	Listen   string // HOST:PORT; an empty host is loopback, port 0 a free one
	Surfaces []Surface
}

// Config is what a gateway serves. A surface needs its unit; the scheduler's and the computer's need the directory too.
type Config struct {
	Doors     []Door
	Address   string // of the peer's key
	Messenger units.Messenger
	Scheduler units.Scheduler
	Computer  units.Computer
	Directory units.Directory
	Log       units.Log                                                 // the logs of the scheduler's surface; nil: whatever the directory finds
	Height    func() (height uint64, known bool)                        // the newest block height
	Standing  func(ao.ID) (units.Standing, error)                       // how far the computer is; nil: it does not say
	Save      func(context.Context, ao.ID) (ao.AssignmentFields, error) // has the computer write a checkpoint; nil: it writes none
	States    units.States                                              // what gives the states and looks back; nil: that is refused
	Status    func() (any, error)                                       // what /status says
	NotReady  func() string                                             // why the peer takes no work; "" if it does
	Limits    Limits
	Now       func() time.Time // time.Now
	Logger    *slog.Logger     // silent
}

// Limits bound what callers may cost. Zero values mean those of DefaultLimits.
type Limits struct {
	Body       int64         // bytes of a request's body
	Page       int64         // bytes of the items on one page of a log
	Requests   int           // served at once; more are turned away
	Conns      int           // connections; more wait
	Rate       float64       // requests a second of one address that is not loopback
	Burst      int           // of them at once after a pause
	DryRate    float64       // dry-runs a second of one address that is not loopback
	DryBurst   int           // of them at once after a pause
	DryRuns    int           // of one process under way at once; more are turned away
	BodyTime   time.Duration // for a body to come in
	AnswerTime time.Duration // for an evaluation; then the caller hears how far it is
}

// DefaultLimits are bounds that no stock client meets.
func DefaultLimits() Limits {
	return Limits{
		Body: ao.MaxItem, Page: 32 << 20, Requests: 512, Conns: 1024, Rate: 100, Burst: 400, DryRate: 20, DryBurst: 100,
		DryRuns: 128, BodyTime: 30 * time.Second, AnswerTime: time.Minute,
	}
}

// Timeouts of the server that nobody needs to set.
const (
	headerTime = 10 * time.Second
	idleTime   = time.Minute
	writeTime  = 30 * time.Second // beyond the longest wait for an evaluation
	closeTime  = 5 * time.Second  // for answers under way when the gateway stops
	maxHeader  = 16 << 10
)

// Gateway serves the doors of one peer.
type Gateway struct {
	cfg    Config
	places chan struct{} // one for each request that is served
	calls  *limiter
	dry    *limiter
	runs   *turns
	cache  *answers
	ready  chan struct{}

	lock sync.Mutex
	urls map[Surface]string // once it listens
}

// New checks the config. It opens nothing.
func New(cfg Config) (*Gateway, error) {
	for _, d := range cfg.Doors {
		if _, err := address(d.Listen); err != nil {
			return nil, err
		}
		for _, s := range d.Surfaces {
			if !cfg.has(s) {
				return nil, fmt.Errorf("gateway: %s is to be served and there is no such unit", s)
			}
		}
		if serves(d.Surfaces, HyperBEAM) && !isLoopback(d.Listen) {
			return nil, fmt.Errorf("gateway: %q is open to others, and what a HyperBEAM node tells its computer is for this machine alone: listen on 127.0.0.1", d.Listen)
		}
	}
	cfg.Limits.setDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.NotReady == nil {
		cfg.NotReady = func() string { return "" }
	}
	return &Gateway{
		cfg: cfg, places: make(chan struct{}, cfg.Limits.Requests), calls: newLimiter(cfg.Limits.Rate, cfg.Limits.Burst, cfg.Now),
		dry: newLimiter(cfg.Limits.DryRate, cfg.Limits.DryBurst, cfg.Now), runs: newTurns(cfg.Limits.DryRuns),
		cache: newAnswers(cfg.Now), ready: make(chan struct{}), urls: map[Surface]string{},
	}, nil
}

// has says whether the unit of a surface is there.
func (c Config) has(s Surface) bool {
	switch s {
	case Messenger:
		return c.Messenger != nil
	case Scheduler:
		return c.Scheduler != nil && c.Directory != nil && c.Height != nil
	case Computer, HyperBEAM:
		return c.Computer != nil && c.Directory != nil
	}
	return false
}

func (l *Limits) setDefaults() {
	d := DefaultLimits()
	setDefault(&l.Body, d.Body)
	setDefault(&l.Page, d.Page)
	setDefault(&l.Requests, d.Requests)
	setDefault(&l.Conns, d.Conns)
	setDefault(&l.Rate, d.Rate)
	setDefault(&l.Burst, d.Burst)
	setDefault(&l.DryRate, d.DryRate)
	setDefault(&l.DryBurst, d.DryBurst)
	setDefault(&l.DryRuns, d.DryRuns)
	setDefault(&l.BodyTime, d.BodyTime)
	setDefault(&l.AnswerTime, d.AnswerTime)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// address is where a door listens: an address without a host is for this machine alone.
func address(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("gateway: %q is not HOST:PORT, such as 127.0.0.1:4002", listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("gateway: %q has no port from 0 to 65535", listen)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// isLoopback says whether only this machine reaches a door.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && (host == "" || host == "localhost" || ipErr == nil && ip.IsLoopback())
}

// CheckListen says what is wrong with the address of a door.
func CheckListen(listen string) error {
	_, err := address(listen)
	return err
}

// Run listens and serves until ctx ends; then it finishes the answers under way, for a moment, and returns.
func (g *Gateway) Run(ctx context.Context) error {
	var servers []*http.Server
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			_ = l.Close() // the server may have closed it
		}
	}()
	var config net.ListenConfig
	for _, d := range g.cfg.Doors {
		at, err := address(d.Listen)
		if err != nil {
			return err
		}
		l, err := config.Listen(ctx, "tcp", at)
		if err != nil {
			return fmt.Errorf("listen for HTTP: %w", err)
		}
		listeners = append(listeners, netutil.LimitListener(l, g.cfg.Limits.Conns))
		servers = append(servers, g.server(g.Handler(d.Surfaces...)))
		g.note(d.Surfaces, l.Addr())
	}
	close(g.ready)
	ended := make(chan error, len(servers))
	for i, s := range servers {
		go func() { ended <- s.Serve(listeners[i]) }()
	}
	var err error
	left := len(servers)
	select {
	case <-ctx.Done():
	case err = <-ended:
		left--
	}
	shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	for _, s := range servers {
		if s.Shutdown(shut) != nil {
			_ = s.Close() // a client that holds on is cut off
		}
	}
	for range left {
		<-ended
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return ctx.Err()
}

func (g *Gateway) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, ReadTimeout: headerTime + g.cfg.Limits.BodyTime,
		WriteTimeout: headerTime + g.cfg.Limits.BodyTime + g.cfg.Limits.AnswerTime + writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(g.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// note remembers the URL of the surfaces at an address.
func (g *Gateway) note(surfaces []Surface, at net.Addr) {
	g.lock.Lock()
	defer g.lock.Unlock()
	for _, s := range surfaces {
		g.urls[s] = "http://" + at.String()
	}
}

// Ready is closed when the gateway listens.
func (g *Gateway) Ready() <-chan struct{} { return g.ready }

// URLs are where the surfaces are, once the gateway listens.
func (g *Gateway) URLs() map[Surface]string {
	g.lock.Lock()
	defer g.lock.Unlock()
	out := map[Surface]string{}
	for s, u := range g.urls {
		out[s] = u
	}
	return out
}

// logOf is where the log of a process is read: for the scheduler's surface the peer's own logs, if it was told to keep to
// those, else wherever the directory finds it.
func (g *Gateway) logOf(ctx context.Context, s Surface, process ao.ID) (units.Log, error) {
	if s == Scheduler && g.cfg.Log != nil {
		return g.cfg.Log, nil
	}
	return g.cfg.Directory.Log(ctx, process)
}

// serves says whether one of the surfaces is in the list.
func serves(surfaces []Surface, s Surface) bool { return slices.Contains(surfaces, s) }
