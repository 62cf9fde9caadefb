package node

import (
	"context"
	"math/big"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/mu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/su"
)

// snapshot is what a peer's parts say of themselves at one moment.
type snapshot struct {
	at       time.Time
	version  string
	network  string
	roles    []string
	ready    bool
	draining bool
	known    map[string]int // units by role

	p2p       p2p.Status
	store     *store.Status
	free      uint64 // bytes beside the store
	scheduler *su.Status
	computer  *cu.Status
	messenger *mu.Status
	market    remote.MarketStatus
	backlog   *arweave.Backlog
	settled   arweave.Settlements
	purse     *Purse
	gateways  []arweave.GatewayStatus
}

func unitRoles() []string {
	return []string{remote.RoleScheduler, remote.RoleComputer, remote.RoleMessenger}
}

// snapshot asks every part; none of the questions leaves this machine.
func (n *Node) snapshot() *snapshot {
	s := &snapshot{
		at: time.Now(), version: Version(), network: n.network.ID, roles: n.cfg.Roles, draining: n.doors.isClosed(),
		known: map[string]int{}, p2p: n.p2p.Status(), purse: n.purse.last.Load(),
		market: n.market.Status(),
	}
	s.ready = n.notReady() == ""
	for _, r := range unitRoles() {
		s.known[r] = len(n.mesh.Roster.With(r))
	}
	var err error
	if st, ok := n.store.(interface{ Status() store.Status }); ok {
		v := st.Status()
		s.store = &v
		if s.free, err = diskFree(string(n.home)); err != nil {
			n.log.Debug("metrics", "err", err)
		}
	}
	if n.scheduler != nil {
		v := n.scheduler.Status()
		s.scheduler = &v
	}
	if n.computer != nil {
		v := n.computer.Status()
		s.computer = &v
	}
	if n.messenger != nil {
		v := n.messenger.Status()
		s.messenger = &v
	}
	if n.bundler != nil {
		s.settled = n.bundler.Settlements()
		if v, err := n.bundler.Backlog(); err == nil { // a store that fails is told of by its own metrics and the log
			s.backlog = &v
		}
	}
	if n.client != nil {
		s.gateways = n.client.Gateways()
	}
	return s
}

func (s *snapshot) ofScheduler(f func() []sample) []sample { return given(s.scheduler, f) }
func (s *snapshot) ofComputer(f func() []sample) []sample  { return given(s.computer, f) }
func (s *snapshot) ofMessenger(f func() []sample) []sample { return given(s.messenger, f) }
func (s *snapshot) ofBundler(f func() []sample) []sample   { return given(s.backlog, f) }

// given is what f says if the peer has that part.
func given[T any](part *T, f func() []sample) []sample {
	if part == nil {
		return nil
	}
	return f()
}

// Version is the version of this build, "devel" for one without.
func Version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "devel"
}

// notReady is why /readyz refuses, or "".
func (n *Node) notReady() string {
	select {
	case <-n.ready:
	default:
		return "the peer does not listen yet"
	}
	if n.doors.isClosed() {
		return "the peer is about to stop"
	}
	if n.scheduler != nil {
		select {
		case <-n.scheduler.Ready():
		default:
			return "the scheduler knows no block height yet: is a gateway reachable?"
		}
	}
	return ""
}

// Purse is what the wallet of a peer holds, and what that pays for.
type Purse struct {
	Address string   `json:"address"`
	Winston *big.Int `json:"winston"`
	PerMiB  *big.Int `json:"perMiB"` // the gateway's price
	Bytes   float64  `json:"bytes"`  // that the balance pays for
}

func (p *Purse) balance() float64 {
	f, _ := new(big.Float).SetInt(p.Winston).Float64()
	return f
}

// purseEvery is how often the balance is asked for.
const purseEvery = time.Minute

// purse asks for the wallet's balance now and then, so that whoever reads metrics waits for no gateway.
type purse struct {
	client  *arweave.Client
	address string
	last    atomic.Pointer[Purse]
}

// Run asks until ctx ends.
func (p *purse) Run(ctx context.Context) error {
	if p.client == nil || p.address == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(purseEvery)
	defer tick.Stop()
	for {
		if now, err := askPurse(ctx, p.client, p.address); err == nil {
			p.last.Store(&now)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// askPurse asks the gateways what a wallet holds and what a mebibyte costs.
func askPurse(ctx context.Context, client *arweave.Client, address string) (Purse, error) {
	out := Purse{Address: address}
	var err error
	if out.Winston, err = client.Balance(ctx, address); err != nil {
		return out, err
	}
	if out.PerMiB, err = client.Price(ctx, 1<<20); err != nil {
		return out, err
	}
	have, cost := new(big.Float).SetInt(out.Winston), new(big.Float).SetInt(out.PerMiB)
	if out.PerMiB.Sign() <= 0 {
		cost.SetInt64(1)
	}
	out.Bytes, _ = new(big.Float).Mul(new(big.Float).Quo(have, cost), big.NewFloat(1<<20)).Float64()
	return out, nil
}
