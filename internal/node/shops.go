package node

import (
	"math"
	"time"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

// openMarket takes the peer's place on the market: it buys as the config says, and sells what its roles do.
func (n *Node) openMarket(st store.Store, signer ans104.Signer, seed uint64) (err error) {
	cfg := remote.MarketConfig{
		Network: n.network.ID, Node: n.p2p, Signer: signer, Store: st, Shops: map[market.Role]remote.Shop{}, Log: n.log, Seed: seed,
	}
	if cfg.Buyer, err = n.cfg.Market.buyer(); err != nil {
		return err
	}
	for _, r := range soldRoles() {
		if !n.cfg.Does(r.String()) {
			continue
		}
		if cfg.Shops[r], err = n.shop(r); err != nil {
			return err
		}
	}
	if n.market, err = remote.NewMarket(cfg); err != nil {
		return err
	}
	n.runs = append(n.runs, run{"market", n.market.Run})
	return nil
}

// buyer is how the peer buys.
func (m MarketConfig) buyer() (remote.Buyer, error) {
	taste, err := m.taste()
	return remote.Buyer{
		Taste: taste, Ask: m.Ask, Patience: time.Duration(m.Patience), DoubleCheck: uint32(millionths(m.DoubleCheck)),
	}, err
}

// shop is what the peer sells in a role. While it drains it has no capacity, which its offer says.
func (n *Node) shop(r market.Role) (remote.Shop, error) {
	m := n.cfg.Market
	terms, err := m.terms(r)
	if err != nil {
		return remote.Shop{}, err
	}
	terms.Capacity = n.cfg.capacity(r)
	if r == market.Computer && terms.Memory == 0 {
		terms.Memory = uint64(n.cfg.Compute.MaxMemory)
	}
	return remote.Shop{
		Terms: terms, Pricing: m.pricing(r), Limits: m.limits(r),
		Load: func() (backlog, capacity uint64) {
			if n.doors.isClosed() {
				return n.backlog(r), 0
			}
			return n.backlog(r), uint64(terms.Capacity)
		},
		Standing: n.standing(r),
	}, nil
}

// standing is what serving a need would cost this peer; only computers have more to do for one than for another.
func (n *Node) standing(r market.Role) func(market.Need) (market.Standing, error) {
	if r != market.Computer {
		return nil
	}
	return func(need market.Need) (market.Standing, error) {
		at, err := n.computer.Standing(need.Process)
		if err != nil {
			return market.Standing{}, err
		}
		return market.Standing{Behind: at.Behind(need.Slot), Hot: at.Hot}, nil
	}
}

// jobsEach is how many jobs a computer or messenger takes at once for each worker: most wait for something else than that.
const jobsEach = 16

// capacity is how many jobs a role does at once before others wait.
func (c Config) capacity(r market.Role) uint32 {
	fit := 0
	switch r {
	case market.Scheduler:
		fit = c.Schedule.MaxSchedules
	case market.Computer:
		fit = jobsEach * c.Compute.workers()
	case market.Messenger:
		fit = jobsEach * c.Push.Workers
	}
	if c.Market.Capacity > 0 {
		fit = c.Market.Capacity
	}
	return uint32(min(fit, math.MaxUint32))
}

// backlog is how many jobs of a role are at work or wait.
func (n *Node) backlog(r market.Role) uint64 {
	jobs := 0
	switch {
	case r == market.Scheduler && n.scheduler != nil:
		jobs = n.scheduler.Status().Scheduling
	case r == market.Computer && n.computer != nil:
		s := n.computer.Status()
		jobs = s.Working + s.Waiting
	case r == market.Messenger && n.messenger != nil:
		jobs = n.messenger.Status().Open
	}
	return uint64(max(jobs, 0))
}
