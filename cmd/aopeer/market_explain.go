package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
)

func marketExplainCommand() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "show the whole ranking for a job, and why each offer has its place", ArgsUsage: "[PROCESS]",
		Description: "With PROCESS it ranks computers for its last slot, otherwise for one plain job of --role. Nothing is bought, and nobody\n" +
			"is asked. COST is what the choice is made by: price and latency through success; the lowest of the four that were\n" +
			"drawn wins.",
		Flags: append(needFlags(), buyFlags("name or address of a unit: consider nobody else")...),
		Action: func(ctx context.Context, c *cli.Command) error {
			role, err := needArgs(c)
			if err != nil {
				return err
			}
			return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error { return explainRanking(ctx, c, cl, role) })
		},
	}
}

// needFlags say for what.
func needFlags() []cli.Flag {
	return []cli.Flag{
		roleFlag("cu", ""),
		&cli.StringFlag{Name: "module", Usage: "`ID` of a module, or a Module-Format, that a computer must run (default: the network's)"},
		&cli.StringFlag{Name: "region", Usage: "only units that say they are there"},
		&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 30 * time.Second},
	}
}

// needArgs checks what needFlags and the argument allow together.
func needArgs(c *cli.Command) (market.Role, error) {
	if err := args(c, 0, 1); err != nil {
		return 0, err
	}
	if c.Args().Present() {
		if _, err := processArg(c, 0); err != nil {
			return 0, err
		}
		if c.IsSet("module") {
			return 0, misuse("give a process or --module, not both: the process names its module")
		}
	}
	roles, err := rolesOf(c)
	if err != nil {
		return 0, err
	}
	if len(roles) != 1 {
		return 0, misuse("--role must be one of su, cu, mu")
	}
	return roles[0], nil
}

// tasteOf is the client's, bound to --unit if that is given.
func tasteOf(c *cli.Command, cl *node.Client, role market.Role) (market.Taste, error) {
	t := cl.Taste
	if name := c.String("unit"); name != "" {
		only, err := unitOf(cl, role, name)
		if err != nil {
			return t, err
		}
		t.Only = []market.Peer{only}
	}
	return t, nil
}

// shownLine is an offer in its place, as JSON.
type shownLine struct {
	Place   int     `json:"place"` // 1 is the first choice, 0 for none
	Unit    string  `json:"unit"`
	Name    string  `json:"name"`
	Price   string  `json:"price"`
	Latency *uint64 `json:"latency"` // µs; null before it was measured
	Flight  uint32  `json:"inFlight"`
	Success float64 `json:"success"` // 0 to 1
	Cost    string  `json:"cost"`    // what decides; "0" for an offer that does not suit
	Reason  string  `json:"reason"`
	Meaning string  `json:"meaning"`
	Remedy  string  `json:"remedy"`
}

// shownRanking is what market explain prints as JSON.
type shownRanking struct {
	Role     string      `json:"role"`
	Process  string      `json:"process,omitempty"`
	Slot     *uint64     `json:"slot,omitempty"`
	Format   string      `json:"format,omitempty"`
	Strategy string      `json:"strategy"`
	MaxPrice string      `json:"maxPrice"`
	Lines    []shownLine `json:"lines"`
}

func explainRanking(ctx context.Context, c *cli.Command, cl *node.Client, role market.Role) error {
	a, err := needOf(ctx, c, cl, role)
	if err != nil {
		return err
	}
	taste, err := tasteOf(c, cl, role)
	if err != nil {
		return err
	}
	lines := cl.Market.Explain(&a.need, &taste, 3)
	rest := lines[slices.IndexFunc(append(slices.Clone(lines), market.Line{}), func(l market.Line) bool { return l.Place == 0 && l.Cost == 0 }):]
	slices.SortStableFunc(rest, func(x, y market.Line) int { return cmp.Compare(x.Price, y.Price) }) // those that do not suit
	out := shownRanking{
		Role: role.String(), Format: a.need.Format, Strategy: taste.Strategy.String(), MaxPrice: strconv.FormatUint(taste.MaxPrice, 10),
		Lines: []shownLine{},
	}
	if !a.need.Process.IsZero() {
		out.Process = a.need.Process.String()
	}
	if role == market.Computer && out.Process != "" {
		slot := uint64(a.need.Slot)
		out.Slot = &slot
	}
	named := names(cl)
	for _, l := range lines {
		out.Lines = append(out.Lines, newShownLine(l, named))
	}
	if err := output(c).value(out, func(w io.Writer) { printRanking(w, a, taste, lines, named) }); err != nil {
		return err
	}
	if len(lines) == 0 || lines[0].Place == 0 {
		if !c.Bool("json") {
			fmt.Fprintf(c.Root().ErrWriter, "aopeer: %s\n", nobody(role, cl.Network.ID, lines, named))
		}
		return errSilent
	}
	return nil
}

func newShownLine(l market.Line, named map[string]string) shownLine {
	s := shownLine{
		Place: l.Place, Unit: l.Peer.String(), Name: named[l.Peer.String()], Price: strconv.FormatUint(l.Price, 10), Flight: l.Flight,
		Success: ratio(l.Success), Cost: strconv.FormatUint(l.Cost, 10), Reason: string(l.Reason), Remedy: market.RemedyOf(l.Reason),
		Meaning: meaningOf(l.Reason),
	}
	if l.Latency != market.Unmeasured {
		s.Latency = &l.Latency
	}
	return s
}

func meaningOf(r market.Reason) string {
	for _, e := range market.Reasons() {
		if e.Reason == r {
			return e.Meaning
		}
	}
	return ""
}

func printRanking(w io.Writer, a asked, taste market.Taste, lines []market.Line, named map[string]string) {
	fmt.Fprintf(w, "%s · %s · at most %d\n\n", a.of, taste.Strategy, taste.MaxPrice)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PLACE\tUNIT\tPRICE\tLATENCY\tIN FLIGHT\tSUCCESS\tCOST\tREASON\tADDRESS")
	var seen []market.Reason
	for _, l := range lines {
		place, cost := "–", "–"
		if l.Place > 0 {
			place = strconv.Itoa(l.Place)
		}
		if l.Cost > 0 {
			cost = strconv.FormatUint(l.Cost, 10)
		}
		address := l.Peer.String()
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", place, nameOr(named[address], address), l.Price, latencyText(l.Latency),
			l.Flight, successText(l.Success), cost, l.Reason, address)
		if !slices.Contains(seen, l.Reason) {
			seen = append(seen, l.Reason)
		}
	}
	_ = t.Flush() // what cannot be printed cannot be reported either
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range seen {
		fmt.Fprintf(t, "%s\t%s %s\n", r, meaningOf(r), market.RemedyOf(r))
	}
	_ = t.Flush()
}

// nobody says why nobody would be chosen, and what to do: of a cap that is too low, how low it may be.
func nobody(role market.Role, network string, lines []market.Line, named map[string]string) string {
	if len(lines) == 0 {
		return fmt.Sprintf("no %s offers anything on network %s yet: see `aopeer peers --role %s`, or try again in a moment", role, network, role)
	}
	var cheapest *market.Line
	for i, l := range lines {
		if l.Reason == market.Dear && (cheapest == nil || l.Price < cheapest.Price) {
			cheapest = &lines[i]
		}
	}
	if cheapest != nil {
		address := cheapest.Peer.String()
		return fmt.Sprintf("nobody sells below your cap: the cheapest offer is %d, of %s: give --max-price %d or more",
			cheapest.Price, nameOr(named[address], address), cheapest.Price)
	}
	return fmt.Sprintf("none of %d offers suits: the reasons are in the table", len(lines))
}
