package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

func marketCommand() *cli.Command {
	return &cli.Command{
		Name: "market", Usage: "see what the mesh offers and at what prices, who would be chosen and why, and what you sell",
		Description: "Units offer by gossip; quotes are asked for directly and bind. All amounts are in the smallest unit, of which 10^12\n" +
			"make a token. docs/market.md says how it works and how to earn; docs/market-reasons.md is every reason.",
		Commands: []*cli.Command{
			marketLsCommand(), marketQuoteCommand(), marketExplainCommand(), marketWatchCommand(), marketOfferCommand(),
		},
	}
}

// buyFlags are how a command buys. Those named like a setting override it.
func buyFlags(unit string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "max-price", Usage: "the most to pay for each thing bought, in the smallest unit; 0 takes only what is free (default: market.max_price of the home)"},
		&cli.StringFlag{Name: "strategy", Usage: "how to choose: balanced, cheapest, fastest or weighted (default: market.strategy of the home)"},
		&cli.StringFlag{Name: "unit", Usage: unit},
	}
}

// givenToBuy are the settings that those flags override.
func givenToBuy(c *cli.Command) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range node.Settings() {
		if s.Key != "market.max_price" && s.Key != "market.strategy" || !c.IsSet(s.Flag) {
			continue
		}
		text := c.String(s.Flag)
		var scratch node.Config
		if err := s.Set(&scratch, text); err != nil {
			return nil, misuse("--%s: %v", s.Flag, err)
		}
		if len(s.OneOf) > 0 && !slices.Contains(s.OneOf, text) {
			return nil, misuse("--%s %q is none of %s", s.Flag, text, strings.Join(s.OneOf, ", "))
		}
		out[s.Key] = text
	}
	return out, nil
}

// roleFlag says of which role; more is what it adds.
func roleFlag(def, more string) cli.Flag {
	return &cli.StringFlag{Name: "role", Usage: "su, cu or mu" + more, Value: def}
}

// roles are what --role names, or all that are sold.
func rolesOf(c *cli.Command) ([]market.Role, error) {
	all := []market.Role{market.Scheduler, market.Computer, market.Messenger}
	name := c.String("role")
	if name == "" {
		return all, nil
	}
	for _, r := range all {
		if r.String() == name {
			return []market.Role{r}, nil
		}
	}
	return nil, misuse("--role %q is none of su, cu, mu", name)
}

// asked is what a command wants of a role: the process of its argument, or one of the module of its flag.
type asked struct {
	need market.Need
	of   string // for a person
}

// need is what one plain job of the role asks for; a computer is asked for the last slot of the process, if one is given.
func needOf(ctx context.Context, c *cli.Command, cl *node.Client, role market.Role) (asked, error) {
	n := market.Need{Network: cl.Network.ID, Role: role, Buyer: cl.Market.Self(), Region: c.String("region")}
	if _, err := rand.Read(n.Nonce[:]); err != nil {
		return asked{}, err
	}
	n.Counts = remote.PlainCounts(role)
	out := asked{need: n, of: plainJob(role)}
	near, cancel := context.WithTimeout(ctx, measurePatience)
	defer cancel()
	cl.Market.Measure(near, role)
	if c.Args().Present() {
		return out, out.about(ctx, c, cl)
	}
	if role != market.Computer {
		return out, nil
	}
	module := c.String("module")
	if module == "" {
		module = cl.Defaults().Module
	}
	if module == "" {
		return out, nil
	}
	var err error
	out.need.Format, err = formatOf(ctx, cl, module)
	return out, err
}

// measurePatience is how long a look at the market waits to learn how far sellers are.
const measurePatience = time.Second

// plainJob is a job of a role, for a person.
func plainJob(r market.Role) string {
	switch r {
	case market.Scheduler:
		return "a message scheduled (su)"
	case market.Computer:
		return "a result (cu)"
	}
	return "a push (mu)"
}

// about makes the need one of the process that the argument names.
func (a *asked) about(ctx context.Context, c *cli.Command, cl *node.Client) error {
	id, err := processArg(c, 0)
	if err != nil {
		return err
	}
	a.of += " of " + short(id.String())
	a.need.Process = id
	if a.need.Role != market.Computer {
		return nil
	}
	p, err := cl.Directory.Process(ctx, id)
	if err != nil {
		return err
	}
	if a.need.Format, err = formatOf(ctx, cl, p.Module().String()); err != nil {
		return err
	}
	log, err := cl.Directory.Log(ctx, id)
	if err != nil {
		return err
	}
	next, err := log.Next(ctx, id)
	if err != nil {
		return err
	}
	if next > 0 {
		a.need.Slot = next - 1
	}
	a.need.Counts[market.CUSlot] = uint64(next)
	a.of += fmt.Sprintf(", slot %d", a.need.Slot)
	return nil
}

// formatOf is the format of a module on Arweave, or the name itself if it is no ID.
func formatOf(ctx context.Context, cl *node.Client, module string) (string, error) {
	id, err := ao.ParseID(module)
	if err != nil {
		return module, nil
	}
	m, err := cl.Directory.Module(ctx, id)
	if err != nil {
		return "", err
	}
	return m.Format(), nil
}

// withBuyer joins the network of the home as a guest that buys as the flags say.
func withBuyer(ctx context.Context, c *cli.Command, do func(context.Context, *node.Client) error) error {
	given, err := givenToBuy(c)
	if err != nil {
		return err
	}
	return join(ctx, c, given, do)
}

// buyOnly makes the client buy from the unit of --unit alone what that role sells.
func buyOnly(c *cli.Command, cl *node.Client, role market.Role) error {
	name := c.String("unit")
	if name == "" {
		return nil
	}
	unit, err := unitOf(cl, role, name)
	if err != nil {
		return err
	}
	cl.Market.BuyOnly(role, unit)
	return nil
}

// names are the names of units by their address.
func names(cl *node.Client) map[string]string {
	out := map[string]string{}
	for _, u := range cl.Mesh.Roster.With("") {
		out[u.Address] = u.Name
	}
	return out
}

// unitOf is the address of the unit that --unit names by its name or address.
func unitOf(cl *node.Client, role market.Role, name string) (market.Peer, error) {
	var found []remote.Unit
	for _, u := range cl.Mesh.Roster.With(role.String()) {
		if u.Address == name || u.Name == name {
			found = append(found, u)
		}
	}
	switch {
	case len(found) == 0:
		return market.Peer{}, misuse("--unit %q: no %s of that name or address is known: see `aopeer market ls --role %s`", name, role, role)
	case len(found) > 1:
		return market.Peer{}, misuse("--unit %q: %d units have that name: give the address", name, len(found))
	}
	return ao.ParseID(found[0].Address)
}

// shownPrices are the components that are not free, by name, for JSON.
func shownPrices(r market.Role, p market.Parts) map[string]string {
	out := map[string]string{}
	for i, name := range market.PartNames(r) {
		if p[i] > 0 {
			out[name] = strconv.FormatUint(p[i], 10)
		}
	}
	return out
}

// pricesText are those for a person, in the order of the role.
func pricesText(r market.Role, p market.Parts) string {
	var out []string
	for i, name := range market.PartNames(r) {
		if p[i] > 0 {
			out = append(out, fmt.Sprintf("%s %d", name, p[i]))
		}
	}
	if len(out) == 0 {
		return "free"
	}
	return strings.Join(out, ", ")
}

// latencyText is a latency in µs, or a dash before it was measured.
func latencyText(us uint64) string {
	if us == market.Unmeasured {
		return "–"
	}
	return fmt.Sprintf("%.1f ms", float64(us)/1000)
}

func successText(of65536 uint64) string { return fmt.Sprintf("%.0f %%", float64(of65536)*100/65536) }

// nameOr is a unit's name or, without one, the beginning of its address.
func nameOr(name, address string) string {
	if name = oneLine(plain(name)); name != "" {
		return name
	}
	return short(address)
}

// holdsFor is how long from now something holds, for a person.
func holdsFor(ms int64) string {
	return max(time.Until(time.UnixMilli(ms)).Round(time.Second), 0).String()
}
