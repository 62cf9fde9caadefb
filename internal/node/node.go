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
	"log/slog"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/mu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/su"
	"github.com/aopeer/aopeer/wasmvm"
)

// Parts are what a simulation replaces; nil parts are built from the config.
type Parts struct {
	Host    host.Host
	Archive arweave.Archive
	Store   store.Store
	Machine wasmvm.Machine
}

// Node is a peer.
type Node struct {
	cfg     Config
	network Network
	key     ed25519.PrivateKey
	log     *slog.Logger

	p2p       *p2p.Node
	mesh      *remote.Mesh
	directory *remote.Directory
	archive   arweave.Archive
	bundler   *arweave.Bundler
	scheduler *su.Unit
	computer  *cu.Unit
	messenger *mu.Unit

	runs   []run          // in the order of their start
	closes []func() error // in the order of their opening
	ready  chan struct{}
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
	n := &Node{cfg: cfg, log: log, ready: make(chan struct{})}
	defer func() {
		if err != nil {
			_ = n.Close() // what went wrong first is what counts
		}
	}()
	if n.network, err = h.Network(); err != nil {
		return nil, err
	}
	if n.key, err = h.LoadKey(); err != nil {
		return nil, err
	}
	signer := ans104.NewEd25519Signer(n.key)

	st := parts.Store
	if st == nil {
		if st, err = openStore(h.store(), log); err != nil {
			return nil, err
		}
		n.closes = append(n.closes, st.Close)
	}
	if n.p2p, err = p2p.New(p2p.Config{
		Key: n.key, Listen: cfg.Listen, Bootstrap: append(append([]string(nil), cfg.Bootstrap...), n.network.Bootstrap...),
		Network: n.network.ID, Datastore: st.Datastore("p2p"), Server: true, Host: parts.Host, Log: log,
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
	n.runs = append(n.runs, run{"mesh", n.mesh.Run})
	n.directory = remote.NewDirectory(n.network.ID, Address(n.key), n.p2p, n.mesh, n.archive, st, log)

	if err := n.openUnits(h, st, signer, parts.Machine); err != nil {
		return nil, err
	}
	remote.ServeStatus(n.p2p, func(context.Context) (any, error) { return n.Status() })
	return n, nil
}

// openArchive joins the reading and the writing half. A peer that has no wallet only reads.
func (n *Node) openArchive(h Home, st store.Store) error {
	gateways := n.cfg.Gateways
	if len(gateways) == 0 {
		gateways = n.network.Gateways
	}
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: gateways})
	if err != nil {
		return err
	}
	if len(n.cfg.Roles) > 0 {
		wallet, err := arweave.LoadWallet(h.wallet(n.cfg))
		if err != nil {
			return fmt.Errorf("a peer with a role settles on Arweave and needs a wallet: %w", err)
		}
		if n.bundler, err = arweave.NewBundler(arweave.BundlerConfig{
			Store: st, Client: client, Wallet: wallet, MaxAge: time.Duration(n.cfg.Settle.MaxAge),
			Depth: n.cfg.Settle.Depth, Poll: time.Duration(n.cfg.Settle.Poll), Log: n.log,
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
	if n.cfg.Does(remote.RoleScheduler) {
		if n.scheduler, err = su.New(su.Config{
			Store: st, Signer: signer, Archive: n.archive, Log: n.log, HeightEvery: 2 * time.Second,
		}); err != nil {
			return err
		}
		own.Scheduler, own.Log = n.scheduler, n.scheduler
		n.runs = append(n.runs, run{"schedule", n.scheduler.Run})
		remote.ServeScheduler(n.p2p, n.scheduler)
		remote.ServeLog(n.p2p, n.scheduler)
	}
	if n.cfg.Does(remote.RoleComputer) {
		if machine == nil {
			host, err := wasmvm.NewHost(wasmvm.Config{CacheDir: h.cache(), Log: n.log})
			if err != nil {
				return err
			}
			n.closes = append(n.closes, host.Close)
			machine = host
		}
		if n.computer, err = cu.New(cu.Config{
			Store: st, Signer: signer, Network: n.network.ID, Machine: machine, Directory: n.directory, Archive: n.archive,
			Log: n.log, MaxHot: n.cfg.Compute.MaxHot, CheckpointEvery: n.cfg.Compute.CheckpointEvery,
			BatchAge: time.Duration(n.cfg.Compute.ClaimAge),
		}); err != nil {
			return err
		}
		own.Computer = n.computer
		n.runs = append(n.runs, run{"compute", n.computer.Run})
		remote.ServeComputer(n.p2p, n.computer)
	}
	n.directory.SetDoors(own)
	if n.cfg.Does(remote.RoleMessenger) {
		if n.messenger, err = mu.New(mu.Config{
			Store: st, Signer: signer, Network: n.network.ID, Peer: n.p2p.ID().String(), Directory: n.directory,
			Archive: n.archive, Log: n.log,
		}); err != nil {
			return err
		}
		n.runs = append(n.runs, run{"push", n.messenger.Run})
		remote.ServeMessenger(n.p2p, n.messenger)
	}
	return nil
}

// Run starts every part in the order of the floors, and when ctx ends or one of them fails stops them in the opposite
// order. It returns when all are gone and the store is closed; nil after a clean end.
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
		if n.p2p.Await(ctx) == nil {
			close(n.ready)
		}
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	for i := len(alive) - 1; i >= 0; i-- {
		alive[i].cancel()
		<-alive[i].done
	}
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
}

// Peer describes the running peer.
func (n *Node) Peer() PeerFile {
	return PeerFile{
		Name: n.cfg.Name, ID: n.p2p.ID().String(), Address: Address(n.key), Roles: n.cfg.Roles, Addrs: n.p2p.Addrs(), PID: os.Getpid(),
	}
}

// WritePeer keeps peer.json in the home while the peer runs.
func (n *Node) WritePeer(h Home) error { return writeJSON(h.Peer(), n.Peer()) }

// Status is what a peer says of itself to `aopeer status`.
type Status struct {
	Peer    PeerFile         `json:"peer"`
	Network string           `json:"network"`
	Height  uint64           `json:"height"`
	Peers   int              `json:"peers"`
	Backlog *arweave.Backlog `json:"settle,omitempty"`
	SU      any              `json:"su,omitempty"`
	CU      any              `json:"cu,omitempty"`
	MU      any              `json:"mu,omitempty"`
}

// Status asks every part of the peer how it is.
func (n *Node) Status() (Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s := Status{Peer: n.Peer(), Network: n.network.ID, Peers: len(n.p2p.Peers())}
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
