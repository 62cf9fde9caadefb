package node

import (
	"fmt"
	"math"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/wasmvm"
)

// MarketConfig is how the peer buys what it needs of others, and at what prices it sells. Amounts are in the smallest
// unit, of which 10^12 make a token.
type MarketConfig struct {
	MaxPrice      uint64   `toml:"max_price" flag:"max-price" zero:"yes" comment:"The most that is paid for one thing bought: a result, a slot or a push. It is hard; 0 takes only what is free. This and all amounts are in the smallest unit, of which 10^12 make a token."`
	Strategy      string   `toml:"strategy" flag:"strategy" one:"balanced,cheapest,fastest,weighted" comment:"How offers are chosen: balanced weighs price, latency and success of four drawn by chance; weighted does so with market.weight_…; cheapest and fastest look at nothing else, and collapse when many do so."`
	MaxLatency    Duration `toml:"max_latency" zero:"yes" comment:"Units farther away are not bought from; 0s is any."`
	Second        uint64   `toml:"second" zero:"yes" comment:"What a second is worth; 0 is five times the average price of the offers compared."`
	WeightPrice   int      `toml:"weight_price" zero:"yes" comment:"For weighted: how much the price counts, in percent of balanced; at most 1000."`
	WeightLatency int      `toml:"weight_latency" zero:"yes" comment:"For weighted: how much the latency counts, in percent of balanced; at most 1000."`
	WeightSuccess int      `toml:"weight_success" zero:"yes" comment:"For weighted: the power of success by which price and latency are divided, 0 to 8; balanced has 4."`
	Explore       float64  `toml:"explore" zero:"yes" comment:"Percent of decisions in which a unit that is little known is tried beside the first choice."`
	Avoid         []string `toml:"avoid" comment:"Addresses of units that are never bought from."`
	Ask           int      `toml:"ask" comment:"Units that are asked for a quote at once."`
	Patience      Duration `toml:"patience" comment:"How long quotes are waited for."`
	DoubleCheck   float64  `toml:"double_check" zero:"yes" comment:"Percent of results that a second computer is asked for as well, to catch a wrong one."`

	Plan   string  `toml:"plan" flag:"plan" one:"fixed,cost-plus,load-following" comment:"How the prices below are used: fixed as they are; cost-plus as costs, with market.margin on top; load-following rises with the backlog and falls when idle."`
	Margin float64 `toml:"margin" zero:"yes" comment:"For cost-plus: percent on top."`
	Floor  float64 `toml:"floor" zero:"yes" comment:"For load-following: the least that prices fall to, in percent."`
	Most   float64 `toml:"most" comment:"For load-following: the most that they rise to, in percent."`
	Aim    float64 `toml:"aim" comment:"For load-following: the percentage of the capacity in use at which prices rest."`
	Step   float64 `toml:"step" comment:"For load-following: percent by which prices move at most each time."`

	SUMessage uint64 `toml:"su_message" zero:"yes" comment:"Price of a message scheduled."`
	SUKiB     uint64 `toml:"su_kib" zero:"yes" comment:"Price of a KiB of it."`
	SUProcess uint64 `toml:"su_process" zero:"yes" comment:"Price of a process hosted, once, at its spawn."`
	SUWatched uint64 `toml:"su_watched" zero:"yes" comment:"Surcharge for a process whose challenges are watched."`
	SUWindow  uint64 `toml:"su_window" zero:"yes" comment:"Surcharge for a short liveness window."`
	CUBase    uint64 `toml:"cu_base" zero:"yes" comment:"Price of a result."`
	CUSlot    uint64 `toml:"cu_slot" zero:"yes" comment:"Price of a slot that must be replayed first."`
	CUCompute uint64 `toml:"cu_compute" zero:"yes" comment:"Price of a unit of compute that the message may use."`
	CUKiB     uint64 `toml:"cu_kib" zero:"yes" comment:"Price of a KiB of the result."`
	MUPush    uint64 `toml:"mu_push" zero:"yes" comment:"Price of a message pushed."`
	MUHop     uint64 `toml:"mu_hop" zero:"yes" comment:"Price of a hop of what follows from it."`
	MUDay     uint64 `toml:"mu_day" zero:"yes" comment:"Price of a day that a process is monitored."`

	Region     string   `toml:"region" flag:"region" comment:"Label of where the peer is, such as eu-west: at most 16 of a-z, 0-9 and the hyphen."`
	Extensions []string `toml:"extensions" comment:"Extensions of modules that the computer offers."`
	Memory     Size     `toml:"memory" zero:"yes" comment:"The most memory of a process that the computer offers; 0B is compute.max_memory."`
	Compute    uint64   `toml:"compute" zero:"yes" comment:"The most units of compute that the computer offers a message; 0 makes no statement."`
	Ledgers    []string `toml:"ledgers" comment:"IDs of the ledgers on which payment is accepted."`
	Capacity   int      `toml:"capacity" zero:"yes" comment:"Jobs that each role does at once before others wait; 0 fits the role: schedule.max_schedules, and 16 for each of compute.workers and push.workers."`
	Queue      int      `toml:"queue" comment:"Jobs that wait for each role; when it is full, a payer with much waiting gives way to one with little."`
	QueueEach  int      `toml:"queue_each" comment:"Of them for one payer."`
	QueueSpeed int      `toml:"queue_speed" comment:"How many times as fast the best paid job may go."`
}

// defaultMarket buys at up to a thousandth of a token and sells for nothing.
func defaultMarket() MarketConfig {
	taste, load, limits := market.DefaultTaste(1_000_000_000), market.FollowLoad(market.Parts{}), market.DefaultLimits(0)
	return MarketConfig{
		MaxPrice: taste.MaxPrice, Strategy: taste.Strategy.String(), Explore: percent(int64(taste.Explore)),
		WeightPrice: int(taste.Weights.Price), WeightLatency: int(taste.Weights.Latency), WeightSuccess: int(taste.Weights.Success),
		Ask: 3, Patience: Duration(2 * time.Second), DoubleCheck: 2,
		Plan: market.Fixed.String(), Floor: percent(load.Floor), Most: percent(load.Most), Aim: percent(load.Aim), Step: percent(load.Step),
		Queue: limits.Jobs, QueueEach: limits.PerPayer, QueueSpeed: int(limits.Bounds),
	}
}

// percent and millionths turn one into the other.
func percent(millionths int64) float64 { return float64(millionths) / 10_000 }

// maxPercent is more than any percentage may be, and fits in millionths.
const maxPercent = 1e9

func millionths(percent float64) int64 { return int64(math.Round(min(percent, maxPercent) * 10_000)) }

// Validate says what is wrong, in one line that names the setting.
func (m MarketConfig) Validate() error {
	for _, s := range []struct {
		key         string
		value, most float64
	}{
		{"explore", m.Explore, 100},
		{"double_check", m.DoubleCheck, 100},
		{"weight_price", float64(m.WeightPrice), 1000},
		{"weight_latency", float64(m.WeightLatency), 1000},
		{"weight_success", float64(m.WeightSuccess), 8},
		{"margin", m.Margin, 100_000},
		{"most", m.Most, 100_000},
		{"floor", m.Floor, m.Most},
		{"aim", m.Aim, 100},
		{"step", m.Step, 100},
		{"ask", float64(m.Ask), 16},
		{"capacity", float64(m.Capacity), math.MaxUint32},
		{"queue", float64(m.Queue), 1 << 20},
		{"queue_each", float64(m.QueueEach), float64(m.Queue)},
		{"queue_speed", float64(m.QueueSpeed), 1000},
	} {
		if s.value > s.most {
			return fmt.Errorf("market.%s is %g: at most %g", s.key, s.value, s.most)
		}
	}
	if _, err := m.taste(); err != nil {
		return err
	}
	for _, r := range soldRoles() {
		if err := m.pricing(r).Check(r); err != nil {
			return fmt.Errorf("market: prices of %s: %w", r, err)
		}
	}
	terms, err := m.terms(market.Computer)
	if err == nil {
		terms.Network = "any"
		err = terms.Check()
	}
	if err != nil {
		return fmt.Errorf("market: %w", err)
	}
	return nil
}

// soldRoles are the roles in which a peer can sell.
func soldRoles() []market.Role {
	return []market.Role{market.Scheduler, market.Computer, market.Messenger}
}

// taste is how the peer buys.
func (m MarketConfig) taste() (market.Taste, error) {
	strategy, err := market.ParseStrategy(m.Strategy)
	if err != nil {
		return market.Taste{}, fmt.Errorf("market.strategy: %w", err)
	}
	t := market.Taste{
		Strategy: strategy, MaxPrice: m.MaxPrice, MaxLatency: uint64(time.Duration(m.MaxLatency).Microseconds()), Second: m.Second,
		Explore: uint32(millionths(m.Explore)),
		Weights: market.Weights{Price: uint32(m.WeightPrice), Latency: uint32(m.WeightLatency), Success: uint32(m.WeightSuccess)},
	}
	if t.Avoid, err = ids(m.Avoid); err != nil {
		return market.Taste{}, fmt.Errorf("market.avoid: %w", err)
	}
	return t, nil
}

func ids(texts []string) (out []ao.ID, err error) {
	for _, s := range texts {
		id, err := ao.ParseID(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no address: it has 43 letters, digits, - and _", s)
		}
		out = append(out, id)
	}
	return out, nil
}

// prices are what the peer asks in a role, by component.
func (m MarketConfig) prices(r market.Role) (p market.Parts) {
	switch r {
	case market.Scheduler:
		p[market.SUMessage], p[market.SUKiB], p[market.SUProcess] = m.SUMessage, m.SUKiB, m.SUProcess
		p[market.SUWatched], p[market.SUWindow] = m.SUWatched, m.SUWindow
	case market.Computer:
		p[market.CUBase], p[market.CUSlot], p[market.CUCompute], p[market.CUKiB] = m.CUBase, m.CUSlot, m.CUCompute, m.CUKiB
	case market.Messenger:
		p[market.MUPush], p[market.MUHop], p[market.MUDay] = m.MUPush, m.MUHop, m.MUDay
	}
	return p
}

// pricing is the plan with the prices of a role.
func (m MarketConfig) pricing(r market.Role) market.Pricing {
	plan, err := market.ParsePlan(m.Plan)
	if err != nil {
		plan = market.Fixed // the table of settings lets no other name pass
	}
	return market.Pricing{
		Plan: plan, Prices: m.prices(r), Margin: millionths(m.Margin),
		Floor: millionths(m.Floor), Most: millionths(m.Most), Aim: millionths(m.Aim), Step: millionths(m.Step),
	}
}

// terms are what the peer offers in a role, as far as the settings of the market say.
func (m MarketConfig) terms(r market.Role) (market.Terms, error) {
	t := market.Terms{Role: r, Region: m.Region}
	var err error
	if t.Ledgers, err = ids(m.Ledgers); err != nil {
		return t, fmt.Errorf("ledgers: %w", err)
	}
	if r == market.Computer {
		t.Formats = wasmvm.Formats()
		t.Extensions, t.Memory, t.Compute = m.Extensions, uint64(m.Memory), m.Compute
	}
	return t, nil
}

// limits are those of the queue of a role.
func (m MarketConfig) limits(r market.Role) market.Limits {
	// The first component is what every job of the role pays.
	return market.Limits{Jobs: m.Queue, PerPayer: m.QueueEach, Price: m.prices(r)[0], Bounds: uint64(m.QueueSpeed)}
}
