// Package node composes a peer (§3): it is the one place that knows every room, and one readable function that puts
// them together floor by floor.
//
// In come a home folder with its key, config and network file, and the parts that a simulation wants replaced; out
// comes a peer that runs until its context ends, a devnet of such peers, or a client that asks them.
//
// It never decides anything of the protocol: it wires, starts in order and stops in the opposite order.
//
// Start with New below; devnet.go is a whole network in one process, client.go what the commands use.
package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/gateway"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/mu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/su"
	"github.com/aopeer/aopeer/wasmvm"
)

// Parts are what a simulation replaces; nil parts are built from the config.
type Parts struct {
	Host     host.Host
	Wire     []libp2p.Option // transports and their security; nil is TCP and QUIC, encrypted
	Archive  arweave.Archive
	Store    store.Store
	Machine  wasmvm.Machine
	Registry *prometheus.Registry // of the metrics; peers of one process may share one
	Seed     uint64               // of the peer's draws on the market; 0 draws one
	Sparse   bool                 // the DHT looks for no more peers than it meets: for simulations of many
	Delay    time.Duration        // by which the peer's units answer others later, for tests
}

// Node is a peer.
type Node struct {
	cfg     Config
	home    Home
	alone   bool // it has joined no network
	network Network
	key     ed25519.PrivateKey
	log     *slog.Logger

	doors *doors
	admin *admin // nil without an address
	purse *purse

	store     store.Store
	client    *arweave.Client
	p2p       *p2p.Node
	mesh      *remote.Mesh
	market    *remote.Market
	directory *remote.Directory
	told      units.Directory // nil unless the logs are told by a HyperBEAM node
	archive   arweave.Archive
	bundler   *arweave.Bundler
	scheduler *su.Unit
	computer  *cu.Unit
	messenger *mu.Unit
	http      *gateway.Gateway // nil without an address

	runs   []run          // in the order of their start
	closes []func() error // in the order of their opening
	ready  chan struct{}

	hurry     chan struct{} // closed to end draining
	hurryOnce sync.Once

	lock sync.Mutex
	left *Left // set when the parts that know it are about to close
}

// errEnded says that a part stopped without being told to.
var errEnded = errors.New("ended by itself")

// run is one part that lives while the node runs.
type run struct {
	name string
	do   func(context.Context) error
}

// New builds a peer: floor by floor, each on those below. It opens the store and reads keys, and starts nothing.
// Whoever gets a Node must Run it or Close it.
func New(h Home, cfg Config, parts Parts, log *slog.Logger) (_ *Node, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, home: h, log: log, ready: make(chan struct{}), hurry: make(chan struct{}), purse: &purse{}}
	defer func() {
		if err != nil {
			_ = n.Close() // what went wrong first is what counts
		}
	}()
	if err = n.join(h); err != nil {
		return nil, err
	}
	if n.key, err = h.LoadKey(); err != nil {
		return nil, err
	}
	signer := ans104.NewEd25519Signer(n.key)
	registry, err := n.openDoors(parts.Registry, parts.Delay)
	if err != nil {
		return nil, err
	}

	st := parts.Store
	if st == nil {
		if st, err = openStore(h.store(), log); err != nil {
			return nil, err
		}
		n.closes = append(n.closes, st.Close)
	}
	n.store = st
	if n.p2p, err = p2p.New(p2p.Config{
		Key: n.key, Listen: n.cfg.Listen, Bootstrap: append(append([]string(nil), cfg.Bootstrap...), n.network.Bootstrap...),
		Network: n.network.ID, Datastore: st.Datastore("p2p"), Server: true, Host: parts.Host, Wire: parts.Wire, Log: log,
		MDNS: cfg.P2P.MDNS, Deny: cfg.P2P.Deny, Limits: cfg.Limits.limits(), Relay: cfg.relay(), Metrics: registry, DisableRefresh: parts.Sparse,
	}); err != nil {
		return nil, err
	}
	n.runs = append(n.runs, run{"p2p", n.p2p.Run})

	if n.archive = parts.Archive; n.archive == nil {
		if err := n.openArchive(h, st); err != nil {
			return nil, err
		}
	}

	if n.mesh, err = remote.NewMesh(n.p2p, n.network.ID, signer, cfg.Name, cfg.Roles, log); err != nil {
		return nil, err
	}
	n.runs = append(n.runs, run{"mesh", n.mesh.Run}, run{"purse", n.purse.Run})
	if err := n.openMarket(st, signer, parts.Seed); err != nil {
		return nil, err
	}
	n.directory = remote.NewDirectory(n.network.ID, Address(n.key), n.p2p, n.mesh, n.archive, st, log)
	n.directory.SetMarket(n.market)
	if err := n.openElsewhere(); err != nil {
		return nil, err
	}

	if err := n.openHyperBEAM(st); err != nil {
		return nil, err
	}
	if err := n.openUnits(h, st, signer, parts.Machine); err != nil {
		return nil, err
	}
	if err := n.openLocation(signer); err != nil {
		return nil, err
	}
	if err := n.openHTTP(); err != nil {
		return nil, err
	}
	remote.ServeReach(n.p2p)
	remote.ServeStatus(n.p2p, func(context.Context) (any, error) { return n.Status() })
	return n, nil
}

// openDoors makes what counts calls and, with an address for it, what shows the counts. The registry that libp2p counts
// in is nil when nobody looks.
func (n *Node) openDoors(given *prometheus.Registry, delay time.Duration) (prometheus.Registerer, error) {
	registry, name := given, n.cfg.Name
	if registry == nil {
		registry = NewRegistry()
	}
	if name == "" {
		name = Address(n.key)
	}
	counts, err := newMeters(name, registry)
	if err != nil {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	n.doors = &doors{meters: counts, delay: delay}
	if err := registry.Register(newCollector(n, name)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if n.cfg.Admin.Listen != "" {
		n.admin = &admin{listen: n.cfg.Admin.Listen, public: n.cfg.Admin.Public, registry: registry, notReady: n.notReady}
		n.runs = append(n.runs, run{"admin", n.admin.Run})
	}
	if given == nil && n.admin == nil {
		return nil, nil
	}
	return registry, nil
}

// openArchive joins the reading and the writing half. A peer that has no wallet only reads.
func (n *Node) openArchive(h Home, st store.Store) error {
	gateways := n.cfg.Gateways
	if len(gateways) == 0 {
		gateways = n.network.Gateways
	}
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: gateways, BlockTime: n.network.blockTime()})
	if err != nil {
		return err
	}
	n.client = client
	if len(n.cfg.Roles) > 0 && n.cfg.HTTP.HyperBEAM == "" {
		wallet, err := arweave.LoadWallet(h.wallet(n.cfg))
		if n.alone && errors.Is(err, fs.ErrNotExist) { // what it computes is for its own callers
			n.archive = arweave.NewArchive(client, nil)
			return nil
		}
		if err != nil {
			return fmt.Errorf("a peer with a role settles on Arweave and needs a wallet: %w", err)
		}
		n.purse = &purse{client: client, address: wallet.Address()}
		if n.bundler, err = arweave.NewBundler(arweave.BundlerConfig{
			Store: st, Client: client, Wallet: wallet, MaxAge: time.Duration(n.cfg.Settle.MaxAge),
			Depth: n.cfg.Settle.Depth, Poll: time.Duration(n.cfg.Settle.Poll), MaxBytes: int64(n.cfg.Settle.MaxBytes),
			MaxItems: n.cfg.Settle.MaxItems, MaxFee: n.cfg.Settle.MaxFee,
			RepostAfter: time.Duration(n.cfg.Settle.RepostAfter), Log: n.log,
		}); err != nil {
			return err
		}
		n.runs = append(n.runs, run{"settle", n.bundler.Run})
	}
	n.archive = arweave.NewArchive(client, n.bundler)
	return nil
}

// openUnits builds the roles and puts them on the wire.
func (n *Node) openUnits(h Home, st store.Store, signer ans104.Signer, machine wasmvm.Machine) (err error) {
	var own remote.Doors
	c := n.cfg
	if c.Does(remote.RoleScheduler) {
		var funds func(context.Context) (arweave.Funds, error) // a simulation's archive costs nothing
		if n.bundler != nil {
			funds = n.bundler.Funds
		}
		if n.scheduler, err = su.New(su.Config{
			Store: st, Signer: signer, Archive: n.archive, Funds: funds, Log: n.log, MaxMessage: int(c.Schedule.MaxMessage),
			MaxSchedules: c.Schedule.MaxSchedules, MaxWaiting: c.Schedule.MaxWaiting, MaxFollowers: c.Schedule.MaxFollowers,
			CacheBytes: int(c.Schedule.Cache), HeightEvery: time.Duration(c.Schedule.HeightEvery),
			FundsEvery: time.Duration(c.Schedule.FundsEvery),
		}); err != nil {
			return err
		}
		own.Scheduler, own.Log = schedulerDoor{n.scheduler, n.doors, false}, n.scheduler
		n.runs = append(n.runs, run{"schedule", n.scheduler.Run})
		n.market.ServeScheduler(schedulerDoor{n.scheduler, n.doors, true})
		remote.ServeLog(n.p2p, n.scheduler)
	}
	if c.Does(remote.RoleComputer) {
		if machine == nil {
			host, err := wasmvm.NewHost(wasmvm.Config{
				CacheDir: h.cache(), MaxCode: uint64(c.Compute.MaxCode), MaxCache: uint64(c.Compute.MaxCache), Log: n.log,
			})
			if err != nil {
				return err
			}
			n.closes = append(n.closes, host.Close)
			machine = host
		}
		if n.computer, err = cu.New(cu.Config{
			Store: st, Signer: signer, Network: n.network.ID, Machine: machine, Directory: n.finder(), Archive: n.archive,
			KeepsClaims: n.alone && n.bundler == nil, Told: n.told != nil, Log: n.log, MaxHot: c.Compute.MaxHot, Workers: c.Compute.workers(), MaxWaiting: c.Compute.MaxWaiting,
			MaxMemory: uint64(c.Compute.MaxMemory), MaxPacked: uint64(c.Compute.MaxPacked), MaxWaitingEach: c.Compute.MaxWaitingEach,
			CompileWait: time.Duration(c.Compute.CompileWait), CheckpointEvery: c.Compute.CheckpointEvery, KeepCheckpoints: c.Compute.KeepCheckpoints,
			BatchAge: time.Duration(c.Compute.ClaimAge), MaxWait: time.Duration(c.Compute.MaxWait),
		}); err != nil {
			return err
		}
		own.Computer = computerDoor{n.computer, n.doors, false}
		n.runs = append(n.runs, run{"compute", n.computer.Run})
		n.market.ServeComputer(computerDoor{n.computer, n.doors, true})
	}
	n.directory.SetDoors(own)
	if c.Does(remote.RoleMessenger) {
		abroad, err := h.abroad(c.Elsewhere)
		if err != nil {
			return err
		}
		if n.messenger, err = mu.New(mu.Config{
			Store: st, Signer: signer, Abroad: abroad, Network: n.network.ID, Peer: n.p2p.ID().String(), Directory: n.directory,
			Archive: n.archive, Log: n.log, Workers: c.Push.Workers, MaxTasks: c.Push.MaxTasks,
			Retry: time.Duration(c.Push.Retry), RetryMax: time.Duration(c.Push.RetryMax),
			GiveUp: time.Duration(c.Push.GiveUp), Keep: time.Duration(c.Push.Keep),
			CronEvery: time.Duration(c.Push.CronEvery), MaxMonitors: c.Push.MaxMonitors,
		}); err != nil {
			return err
		}
		n.runs = append(n.runs, run{"push", n.messenger.Run})
		n.market.ServeMessenger(messengerDoor{n.messenger, n.doors})
	}
	return nil
}

// Run starts every part in the order of the floors. When ctx ends it drains the peer, and then, or as soon as a part
// fails, stops them in the opposite order. It returns when all are gone and the store is closed; nil after a clean end.
func (n *Node) Run(ctx context.Context) error {
	failed := make(chan error, len(n.runs))
	type living struct {
		cancel context.CancelFunc
		done   chan struct{}
	}
	var alive []living
	for _, r := range n.runs {
		c, cancel := context.WithCancel(context.WithoutCancel(ctx))
		l := living{cancel: cancel, done: make(chan struct{})}
		alive = append(alive, l)
		go func() {
			defer close(l.done)
			err := r.do(c)
			switch {
			case c.Err() != nil: // it was told to
			case err != nil:
				failed <- fmt.Errorf("%s: %w", r.name, err)
			default:
				failed <- fmt.Errorf("%s: %w", r.name, errEnded)
			}
		}()
	}
	go func() {
		if n.p2p.Await(ctx) != nil {
			return
		}
		if n.http != nil {
			select {
			case <-n.http.Ready():
			case <-ctx.Done():
				return
			}
		}
		close(n.ready)
	}()
	var err error
	select {
	case <-ctx.Done():
		if n.cfg.Drain > 0 {
			n.drain()
		}
	case err = <-failed:
	}
	for i := len(alive) - 1; i >= 0; i-- {
		alive[i].cancel()
		<-alive[i].done
	}
	n.note()
	return errors.Join(err, n.Close())
}

// Close releases what New opened; Run does it too.
func (n *Node) Close() error {
	var errs []error
	for i := len(n.closes) - 1; i >= 0; i-- {
		errs = append(errs, n.closes[i]())
	}
	n.closes = nil
	return errors.Join(errs...)
}

// Ready is closed when the peer listens.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// PeerFile is what a running peer keeps in its home for whoever wants to reach it.
type PeerFile struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Address string   `json:"address"`
	Roles   []string `json:"roles"`
	Addrs   []string `json:"addrs"`
	PID     int      `json:"pid"`
	Admin   string   `json:"admin,omitempty"` // where metrics are

	HTTP map[string]string `json:"http,omitempty"` // by role, where it answers over HTTP
}

// Peer describes the running peer.
func (n *Node) Peer() PeerFile {
	return PeerFile{
		Name: n.cfg.Name, ID: n.p2p.ID().String(), Address: Address(n.key), Roles: n.cfg.Roles, Addrs: n.p2p.Addrs(), PID: os.Getpid(),
		Admin: n.admin.Addr(), HTTP: n.urls(),
	}
}

// WritePeer keeps peer.json in the home while the peer runs.
func (n *Node) WritePeer(h Home) error { return writeJSON(h.Peer(), n.Peer()) }

// Status is what a peer says of itself to `aopeer status`.
type Status struct {
	Peer    PeerFile             `json:"peer"`
	Network string               `json:"network"`
	Height  uint64               `json:"height"`
	Peers   int                  `json:"peers"`
	Time    time.Time            `json:"time"`
	Left    Left                 `json:"left"`
	Purse   *Purse               `json:"wallet,omitempty"`
	Backlog *arweave.Backlog     `json:"settle,omitempty"`
	Market  *remote.MarketStatus `json:"market,omitempty"`
	SU      any                  `json:"su,omitempty"`
	CU      any                  `json:"cu,omitempty"`
	MU      any                  `json:"mu,omitempty"`
}

// Status asks every part of the peer how it is.
func (n *Node) Status() (Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s := Status{Peer: n.Peer(), Network: n.network.ID, Peers: len(n.p2p.Peers()), Time: time.Now(), Left: n.look()}
	s.Peer.Admin = "" // is nobody else's business
	s.Purse = n.purse.last.Load()
	if h, err := n.archive.Height(ctx); err == nil {
		s.Height = h
	}
	if n.bundler != nil {
		b, err := n.bundler.Backlog()
		if err != nil {
			return s, err
		}
		s.Backlog = &b
	}
	m := n.market.Status()
	s.Market = &m
	if n.scheduler != nil {
		s.SU = n.scheduler.Status()
	}
	if n.computer != nil {
		s.CU = n.computer.Status()
	}
	if n.messenger != nil {
		s.MU = n.messenger.Status()
	}
	return s, nil
}
