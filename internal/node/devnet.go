package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// DevnetConfig is a whole network on one machine.
type DevnetConfig struct {
	PortBase   int             // the gateway's port; mu, su and cu answer over HTTP on 2, 3 and 4 above it, peers listen from 10 above on. 0 takes free ports
	Schedulers int             // how many of each unit; 1, 2 and 1 by default
	Computers  int             //
	Messengers int             //
	Prices     []uint64        // of a result of each computer; one is for all, none is free
	Delays     []time.Duration // by which the units of each computer's peer answer others later; one is for all
	Seed       uint64          // of every draw on the market; 0 draws one
	Module     string          // wasm file to publish as the default module; empty is the embedded one
	Archive    string          // URL of a gateway of somebody else's Arweave to settle on; empty is the embedded one
	OnlyGate   bool            // serve Arweave alone: the units run as processes of their own
	Admin      string          // HOST:PORT of the metrics of all peers; empty is off
	Public     bool            // let Admin be other than loopback
	Faults     bool            // let the gateway's /faults and /reorganise spoil it, for tests
	Log        *slog.Logger
	// Parts gives a unit parts to be built from, so that a test can look into them; nil gives none.
	Parts    func(role string, home Home) (Parts, error)
	Progress func(format string, args ...any) // told of each step; nil is silent

	native wasmvm.Native // set by tests: the default module, which takes no compiling
}

// blockEvery is short, so that everything is settled within ten seconds.
const blockEvery = time.Second

// devnetBlocks is the shortest time between two blocks that a peer of a devnet believes: tests mine many at once.
const devnetBlocks = time.Millisecond

// How long items wait for company in a devnet, and how often it looks where they are.
const (
	devnetAge  = time.Second
	devnetPoll = 500 * time.Millisecond
)

// drainDevnet is how long the peers of a devnet finish what they have acknowledged. With bundles that are closed at
// once it takes a moment, unless something hangs.
const drainDevnet = 5 * time.Second

// Devnet is an Arweave, embedded unless another is named, and the units on it, each a separate libp2p host.
type Devnet struct {
	cfg     DevnetConfig
	home    Home
	ground  ground
	wallet  *arweave.Wallet
	nodes   []*Node
	file    DevnetFile
	admin   *admin
	machine *wasmvm.Host // one for all computers: a machine holds no process, only compiled code
	closes  []func() error
	ready   chan struct{}

	lock sync.Mutex // owns nodes once Run has begun, and left
	left Left
}

// NewDevnet opens a devnet's folder, or makes it: wallet, keys, chain and peers. Run or Close it.
func NewDevnet(h Home, cfg DevnetConfig) (_ *Devnet, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	d := &Devnet{cfg: cfg, home: h, ready: make(chan struct{})}
	if cfg.Admin != "" {
		d.admin = &admin{listen: cfg.Admin, public: cfg.Public, registry: NewRegistry(), notReady: d.notReady}
		if err := (AdminConfig{Listen: cfg.Admin, Public: cfg.Public}).Validate(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			_ = d.Close() // what went wrong first is what counts
		}
	}()
	if err := h.Make(); err != nil {
		return nil, err
	}
	if err := d.openGround(); err != nil {
		return nil, err
	}
	// Whoever polls for devnet.json must not find that of an earlier run.
	if err := os.Remove(h.devnet()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old devnet.json: %w", err)
	}
	d.file.Gateway = d.ground.URL()
	if d.file.Wallet, err = filepath.Abs(h.Wallet()); err != nil {
		return nil, err
	}
	if err := d.publish(); err != nil {
		return nil, err
	}
	if d.machine, err = wasmvm.NewHost(wasmvm.Config{CacheDir: h.cache(), Natives: d.natives(), Log: cfg.Log}); err != nil {
		return nil, err
	}
	d.closes = append(d.closes, d.machine.Close)
	if err := d.openPeers(); err != nil {
		return nil, err
	}
	return d, nil
}

// nativeName is the name of a test's own module.
const nativeName = "test@1"

func (d *Devnet) natives() map[string]wasmvm.Native {
	if d.cfg.native == nil {
		return nil
	}
	return map[string]wasmvm.Native{nativeName: d.cfg.native}
}

// publish puts the default module on Arweave, once for each content.
func (d *Devnet) publish() error {
	code, format, memory := wasmvm.DefaultModule(), wasmvm.FormatDefault, "64-mb"
	if d.cfg.Module != "" {
		var err error
		if code, err = readBounded(d.cfg.Module, 256<<20); err != nil {
			return fmt.Errorf("read module: %w", err)
		}
		if format, err = wasmvm.FormatOf(code); err != nil {
			return fmt.Errorf("read module %s: %w", d.cfg.Module, err)
		}
		memory = "1-gb"
	}
	if d.cfg.native != nil {
		code, format = []byte(nativeName), wasmvm.FormatNative
	}
	sum := sha256.Sum256(code)
	record := filepath.Join(string(d.home), "module-"+hex.EncodeToString(sum[:8])+".id")
	if raw, err := os.ReadFile(record); err == nil {
		if _, err := ao.ParseID(string(raw)); err == nil {
			d.file.Module = string(raw)
			return nil
		}
	}
	d.cfg.Progress("publishing the default module (%d KiB)", len(code)>>10)
	m, err := ao.SignModule(d.wallet.Signer(), format, memory, "9000000000000", code)
	if err != nil {
		return err
	}
	if err := d.ground.Put(context.Background(), m.Item()); err != nil {
		return fmt.Errorf("publish module: %w", err)
	}
	d.file.Module = m.ID().String()
	return writeFile(record, []byte(d.file.Module), 0o644)
}

// openPeers makes a home for each unit and builds it; the first scheduler is whom the others meet the mesh through.
func (d *Devnet) openPeers() error {
	key, err := Home(filepath.Join(string(d.home), "network")).ensure()
	if err != nil {
		return err
	}
	id := sha256.Sum256(key.Public().(ed25519.PublicKey))
	network := Network{ID: "devnet-" + hex.EncodeToString(id[:4]), Gateways: []string{d.file.Gateway}, BlockTime: Duration(devnetBlocks)}
	var peers []devnetUnit
	if !d.cfg.OnlyGate {
		if peers, err = d.units(); err != nil {
			return err
		}
		network.Bootstrap = []string{peers[0].addr}
		network.Genesis = Genesis{Scheduler: d.file.Scheduler, Authority: d.file.Authority}
	}
	network.Genesis.Module = d.file.Module
	if network, err = SignNetwork(ans104.NewEd25519Signer(key), network); err != nil {
		return err
	}
	if err := d.home.Join(network); err != nil {
		return err
	}
	if d.file.Network, err = filepath.Abs(d.home.network()); err != nil {
		return err
	}
	for _, p := range peers {
		if err := p.home.Join(network); err != nil {
			return err
		}
		cfg := DefaultConfig()
		cfg.Name, cfg.Roles, cfg.Listen, cfg.Wallet = p.name, []string{p.role}, p.listen, d.file.Wallet
		cfg.Settle.MaxAge, cfg.Settle.Depth, cfg.Settle.Poll = Duration(devnetAge), 1, Duration(devnetPoll)
		cfg.Compute.ClaimAge = Duration(time.Second)
		cfg.Drain, cfg.Elsewhere.Private = Duration(drainDevnet), true
		if p.number == 0 {
			d.serveHTTP(&cfg.HTTP, p.role)
		}
		var parts Parts
		if d.cfg.Parts != nil {
			if parts, err = d.cfg.Parts(p.role, p.home); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		if d.admin != nil {
			parts.Registry = d.admin.registry
		}
		if p.role == remote.RoleComputer {
			cfg.Market.CUBase, parts.Delay = ofEach(d.cfg.Prices, p.number), ofEach(d.cfg.Delays, p.number)
			if parts.Machine == nil {
				parts.Machine = d.machine
			}
		}
		if d.cfg.Seed != 0 {
			parts.Seed = d.cfg.Seed + uint64(len(d.nodes)) // each its own
		}
		n, err := New(p.home, cfg, parts, d.cfg.Log.With("unit", p.name))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		d.nodes = append(d.nodes, n)
	}
	return nil
}

// ofEach is the i-th of a list, or the only one.
func ofEach[T any](list []T, i int) (out T) {
	switch {
	case len(list) == 1:
		return list[0]
	case i < len(list):
		return list[i]
	}
	return out
}

// devnetUnit is a unit that is to be built.
type devnetUnit struct {
	name, role string
	number     int // among those of its role, from 0
	home       Home
	listen     []string
	addr       string
}

// units lays out homes, keys and ports.
func (d *Devnet) units() ([]devnetUnit, error) {
	var out []devnetUnit
	for _, r := range []struct {
		role  string
		count int
	}{
		{remote.RoleScheduler, d.cfg.Schedulers}, {remote.RoleComputer, d.cfg.Computers}, {remote.RoleMessenger, d.cfg.Messengers},
	} {
		for i := 1; i <= max(1, r.count); i++ {
			name := r.role + strconv.Itoa(i)
			out = append(out, devnetUnit{name: name, role: r.role, number: i - 1, home: Home(filepath.Join(string(d.home), "peers", name))})
		}
	}
	ports, err := d.ports(len(out))
	if err != nil {
		return nil, err
	}
	for i := range out {
		u := &out[i]
		key, err := u.home.ensure()
		if err != nil {
			return nil, err
		}
		peer, err := peerID(key)
		if err != nil {
			return nil, err
		}
		u.listen = []string{
			fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", ports[i]), fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", ports[i]),
		}
		u.addr = u.listen[0] + "/p2p/" + peer
		switch {
		case u.role == remote.RoleScheduler && d.file.Scheduler == "":
			d.file.Scheduler = Address(key)
		case u.role == remote.RoleMessenger && d.file.Authority == "":
			d.file.Authority = Address(key)
		}
	}
	return out, nil
}

// ports is one for each peer: fixed ones above the base or, without a base, some that are free a moment before, for TCP
// and UDP alike and each only once.
func (d *Devnet) ports(n int) (ports []int, err error) {
	var held []io.Closer
	defer func() {
		for _, c := range held {
			err = errors.Join(err, c.Close())
		}
	}()
	for tries := 0; len(ports) < n; tries++ {
		if d.cfg.PortBase > 0 {
			ports = append(ports, d.cfg.PortBase+PortPeers+len(ports))
			continue
		}
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find free port: %w", err)
		}
		held = append(held, tcp)
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil && tries < 10*n { // another's UDP port
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find free port: %w", err)
		}
		held = append(held, udp)
		ports = append(ports, tcp.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// ensure makes the home and its key.
func (h Home) ensure() (ed25519.PrivateKey, error) {
	if err := h.Make(); err != nil {
		return nil, err
	}
	return h.EnsureKey()
}

// Run serves until ctx ends: the gateway first and last, the peers between. devnet.json is there while all answer.
func (d *Devnet) Run(ctx context.Context) error {
	gateCtx, stopGate := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGate()
	failed := make(chan error, 3+len(d.nodes))
	gate := make(chan struct{})
	go func() {
		defer close(gate)
		if err := d.ground.Run(gateCtx); err != nil {
			failed <- fmt.Errorf("arweave: %w", err)
		}
	}()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if d.admin == nil {
			return
		}
		if err := d.admin.Run(gateCtx); err != nil && gateCtx.Err() == nil {
			failed <- err
		}
	}()
	peerCtx, stopPeers := context.WithCancel(ctx)
	defer stopPeers()
	peers := make(chan struct{}, len(d.nodes))
	for _, n := range d.nodes {
		go func() {
			if err := n.Run(peerCtx); err != nil && peerCtx.Err() == nil {
				failed <- fmt.Errorf("%s: %w", n.cfg.Name, err)
			}
			peers <- struct{}{}
		}()
	}
	go func() {
		if err := d.await(peerCtx); err != nil && peerCtx.Err() == nil {
			failed <- err
		}
	}()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	_ = os.Remove(d.home.devnet()) // a stale one misleads, a missing one does not
	stopPeers()
	for range d.nodes {
		<-peers
	}
	d.lock.Lock()
	for _, n := range d.nodes {
		d.left = d.left.plus(n.Left())
	}
	d.nodes = nil
	d.lock.Unlock()
	stopGate()
	<-gate
	<-watched
	return errors.Join(err, d.Close())
}

// await writes devnet.json once every peer knows every other and what it offers.
func (d *Devnet) await(ctx context.Context) error {
	for _, n := range d.nodes {
		select {
		case <-n.Ready():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := d.awaitModule(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(d.nodes, func(n *Node) bool { return !n.knows(len(d.nodes)) }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, n := range d.nodes {
		p := n.Peer()
		d.file.note(p)
		if p.HTTP[remote.RoleScheduler] != "" {
			if err := d.publishLocation(ctx, n); err != nil {
				return err
			}
		}
		d.file.Peers = append(d.file.Peers, DevnetPeer{Name: p.Name, Role: p.Roles[0], ID: p.ID, Address: p.Address, Addrs: p.Addrs})
	}
	if err := writeJSON(d.home.devnet(), d.file); err != nil {
		return fmt.Errorf("write devnet.json: %w", err)
	}
	close(d.ready)
	return nil
}

// knows says whether the peer has heard of that many units, each with one role, and of their offers, of which none is what a
// former run said when it closed.
func (n *Node) knows(units int) bool {
	offers := 0
	for _, r := range soldRoles() {
		for _, o := range n.market.Offers(r) {
			if o.Terms().Capacity > 0 {
				offers++
			}
		}
	}
	return len(n.mesh.Roster.With("")) >= units && offers >= units
}

// Hurry ends the draining of the peers, see Node.Hurry.
func (d *Devnet) Hurry() {
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, n := range d.nodes {
		n.Hurry()
	}
}

// Left is what the peers had still to do when Run ended.
func (d *Devnet) Left() Left {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.left
}

// Admin is the address of the metrics, "" if there is none.
func (d *Devnet) Admin() string { return d.admin.Addr() }

// notReady is why the devnet is not ready as a whole, or "".
func (d *Devnet) notReady() string {
	d.lock.Lock()
	defer d.lock.Unlock()
	for _, n := range d.nodes {
		if why := n.notReady(); why != "" {
			return n.cfg.Name + ": " + why
		}
	}
	return ""
}

// Ready is closed when devnet.json is written.
func (d *Devnet) Ready() <-chan struct{} { return d.ready }

// File is what devnet.json says; call it once Ready is closed.
func (d *Devnet) File() DevnetFile { return d.file }

// Close releases what NewDevnet opened; Run does it too.
func (d *Devnet) Close() error {
	var errs []error
	for _, n := range d.nodes {
		errs = append(errs, n.Close())
	}
	for i := len(d.closes) - 1; i >= 0; i-- {
		errs = append(errs, d.closes[i]())
	}
	d.nodes, d.closes = nil, nil
	return errors.Join(errs...)
}
