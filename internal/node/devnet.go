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
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// DevnetConfig is a whole network on one machine.
type DevnetConfig struct {
	PortBase   int    // the gateway's port; peers listen on PortBase+10 and up. 0 takes free ports
	Schedulers int    // how many of each unit; 1, 2 and 1 by default
	Computers  int    //
	Messengers int    //
	Module     string // wasm file to publish as the default module; empty is the embedded one
	OnlyGate   bool   // serve Arweave alone: the units run as processes of their own
	Log        *slog.Logger
	Progress   func(format string, args ...any) // told of each step; nil is silent
}

// blockEvery is short, so that everything is settled within ten seconds.
const blockEvery = time.Second

// DevnetFile is devnet.json: where everything is, for clients and tests.
type DevnetFile struct {
	Gateway   string       `json:"gateway"`
	Wallet    string       `json:"wallet"`
	Module    string       `json:"module"`
	Scheduler string       `json:"scheduler"`
	Authority string       `json:"authority"`
	Network   string       `json:"network"` // the signed network file
	Peers     []DevnetPeer `json:"peers"`
}

// DevnetPeer is one unit of a devnet.
type DevnetPeer struct {
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	ID      string   `json:"id"`
	Address string   `json:"address"`
	Addrs   []string `json:"addrs"`
}

// Devnet is an embedded Arweave and the units on it, each a separate libp2p host.
type Devnet struct {
	cfg     DevnetConfig
	home    Home
	chain   *devnet.Devnet
	wallet  *arweave.Wallet
	nodes   []*Node
	file    DevnetFile
	listen  net.Listener
	machine *wasmvm.Host // one for all computers: a machine holds no process, only compiled code
	closes  []func() error
	ready   chan struct{}
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
	defer func() {
		if err != nil {
			_ = d.Close() // what went wrong first is what counts
		}
	}()
	if err := h.Make(); err != nil {
		return nil, err
	}
	if err := d.openChain(); err != nil {
		return nil, err
	}
	// Whoever polls for devnet.json must not find that of an earlier run.
	if err := os.Remove(h.devnet()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old devnet.json: %w", err)
	}
	if d.listen, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.PortBase))); err != nil {
		return nil, fmt.Errorf("gateway: %w: choose another --port-base", err)
	}
	d.closes = append(d.closes, func() error { _ = d.listen.Close(); return nil }) // the server may have closed it
	d.file.Gateway = "http://" + d.listen.Addr().String()
	if d.file.Wallet, err = filepath.Abs(h.Wallet()); err != nil {
		return nil, err
	}
	if err := d.publish(); err != nil {
		return nil, err
	}
	if d.machine, err = wasmvm.NewHost(wasmvm.Config{CacheDir: h.cache(), Log: cfg.Log}); err != nil {
		return nil, err
	}
	d.closes = append(d.closes, d.machine.Close)
	if err := d.openPeers(); err != nil {
		return nil, err
	}
	return d, nil
}

// openChain opens the embedded Arweave and the wallet that pays for everything.
func (d *Devnet) openChain() error {
	st, err := openStore(filepath.Join(string(d.home), "arweave"), d.cfg.Log)
	if err != nil {
		return err
	}
	d.closes = append(d.closes, st.Close)
	if d.wallet, err = arweave.LoadWallet(d.home.Wallet()); errors.Is(err, os.ErrNotExist) {
		d.cfg.Progress("making an Arweave wallet")
		if d.wallet, err = arweave.NewWallet(); err == nil {
			err = d.wallet.Save(d.home.Wallet())
		}
	}
	if err != nil {
		return err
	}
	if d.chain, err = devnet.New(devnet.Config{Store: st, Wallet: d.wallet, BlockEvery: blockEvery, Log: d.cfg.Log}); err != nil {
		return err
	}
	d.closes = append(d.closes, d.chain.Close)
	enough, _ := new(big.Int).SetString("1000000000000000000", 10) // a million AR, in winston
	if d.chain.Balance(d.wallet.Address()).Cmp(enough) < 0 {
		if _, err := d.chain.Mint(d.wallet.Address(), enough); err != nil {
			return err
		}
	}
	return nil
}

// publish puts the default module on Arweave, once for each content.
func (d *Devnet) publish() error {
	code, format, memory := wasmvm.DefaultModule(), wasmvm.FormatDefault, "64-mb"
	if d.cfg.Module != "" {
		var err error
		if code, err = readBounded(d.cfg.Module, 256<<20); err != nil {
			return fmt.Errorf("read module: %w", err)
		}
		format, memory = wasmvm.FormatAOS, "1-gb"
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
	if err := d.chain.Put(context.Background(), m.Item()); err != nil {
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
	network := Network{ID: "devnet-" + hex.EncodeToString(id[:4]), Gateways: []string{d.file.Gateway}}
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
		cfg.Settle = SettleConfig{MaxAge: Duration(time.Second), Depth: 1, Poll: Duration(500 * time.Millisecond)}
		cfg.Compute.ClaimAge = Duration(time.Second)
		var parts Parts
		if p.role == remote.RoleComputer {
			parts.Machine = d.machine
		}
		n, err := New(p.home, cfg, parts, d.cfg.Log.With("peer", p.name))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		d.nodes = append(d.nodes, n)
	}
	return nil
}

// devnetUnit is a unit that is to be built.
type devnetUnit struct {
	name, role string
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
			out = append(out, devnetUnit{name: name, role: r.role, home: Home(filepath.Join(string(d.home), "peers", name))})
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
			ports = append(ports, d.cfg.PortBase+10+len(ports))
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
	server := &http.Server{
		Handler: d.chain, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, WriteTimeout: 5 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
	}
	failed := make(chan error, 2+len(d.nodes))
	gate := make(chan struct{}, 2)
	go func() {
		if err := d.chain.Run(gateCtx); err != nil && gateCtx.Err() == nil {
			failed <- fmt.Errorf("arweave: %w", err)
		}
		gate <- struct{}{}
	}()
	go func() {
		if err := server.Serve(d.listen); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("gateway: %w", err)
		}
		gate <- struct{}{}
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
	d.nodes = nil
	shut, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(shut) != nil {
		_ = server.Close() // a client that holds on is cut off
	}
	stopGate()
	<-gate
	<-gate
	return errors.Join(err, d.Close())
}

// await writes devnet.json once every peer knows every other.
func (d *Devnet) await(ctx context.Context) error {
	for _, n := range d.nodes {
		select {
		case <-n.Ready():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for slices.ContainsFunc(d.nodes, func(n *Node) bool { return len(n.mesh.Roster.With("")) < len(d.nodes) }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, n := range d.nodes {
		p := n.Peer()
		d.file.Peers = append(d.file.Peers, DevnetPeer{Name: p.Name, Role: p.Roles[0], ID: p.ID, Address: p.Address, Addrs: p.Addrs})
	}
	if err := writeJSON(d.home.devnet(), d.file); err != nil {
		return fmt.Errorf("write devnet.json: %w", err)
	}
	close(d.ready)
	return nil
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

// LoadDevnet reads devnet.json of a running devnet.
func (h Home) LoadDevnet() (DevnetFile, error) {
	var f DevnetFile
	raw, err := readBounded(h.devnet(), 1<<20)
	if err != nil {
		return f, err
	}
	return f, unmarshalFile(h.devnet(), raw, &f)
}
