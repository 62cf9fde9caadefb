package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
)

func marketLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the offers of the mesh", ArgsUsage: " ",
		Description: "PRICE is that of one plain job: a result, a message scheduled, or a push with one hop. A quote may be lower.",
		Flags:       listFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			f, err := readListing(c)
			if err != nil {
				return err
			}
			return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
				rows, err := f.rows(ctx, c, cl)
				if err != nil {
					return err
				}
				err = output(c).value(rows, func(w io.Writer) { printOffers(w, rows) })
				if len(rows) == 0 && !c.Bool("json") {
					fmt.Fprintf(c.Root().ErrWriter, "aopeer: none of %d offers known on network %s fits: leave flags out, or see `aopeer peers`\n",
						f.known(cl), cl.Network.ID)
				}
				return err
			})
		},
	}
}

// sorts are the orders of a listing.
func sorts() []string { return []string{"role", "price", "latency", "success", "capacity", "name"} }

func listFlags() []cli.Flag {
	return []cli.Flag{
		roleFlag("", " (default: all)"),
		&cli.StringFlag{Name: "module", Usage: "`ID` of a module, or a Module-Format: only computers that run it"},
		&cli.StringFlag{Name: "max-price", Usage: "only offers whose price is at most this"},
		&cli.StringFlag{Name: "sort", Usage: "by " + strings.Join(sorts(), ", "), Value: "role"},
		&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 30 * time.Second},
	}
}

// listing is what of the market is shown, and in which order.
type listing struct {
	roles []market.Role
	most  uint64
	sort  string
}

func readListing(c *cli.Command) (l listing, err error) {
	if l.roles, err = rolesOf(c); err != nil {
		return l, err
	}
	if l.sort = c.String("sort"); !slices.Contains(sorts(), l.sort) {
		return l, misuse("--sort %q is none of %s", l.sort, strings.Join(sorts(), ", "))
	}
	l.most = market.NoCap
	if text := c.String("max-price"); text != "" {
		if l.most, err = strconv.ParseUint(text, 10, 63); err != nil {
			return l, misuse("--max-price: %q is not a whole number such as 64", text)
		}
	}
	if c.String("module") != "" { // only computers run modules
		if c.String("role") != "" && l.roles[0] != market.Computer {
			return l, misuse("--module is for computers: leave --role %s out", c.String("role"))
		}
		l.roles = []market.Role{market.Computer}
	}
	return l, nil
}

// shownOffer is one line of `market ls --json`.
type shownOffer struct {
	Role       string            `json:"role"`
	Unit       string            `json:"unit"`
	Name       string            `json:"name"`
	Price      string            `json:"price"`   // of one plain job
	Prices     map[string]string `json:"prices"`  // components that are not free
	Latency    *uint64           `json:"latency"` // µs; null before it was measured
	Success    float64           `json:"success"` // 0 to 1, as this peer has seen it
	Capacity   uint32            `json:"capacity"`
	Formats    []string          `json:"formats"`
	Extensions []string          `json:"extensions"`
	Memory     uint64            `json:"memory"`
	Compute    uint64            `json:"compute"`
	Region     string            `json:"region"`
	Ledgers    []ao.ID           `json:"ledgers"`
	Addrs      []string          `json:"addrs"`
	Sequence   int64             `json:"sequence"`
	Expires    int64             `json:"expires"` // ms

	role    market.Role
	parts   market.Parts
	price   uint64
	latency uint64
}

// known is how many offers of those roles there are, wanted or not.
func (l listing) known(cl *node.Client) (n int) {
	for _, r := range l.roles {
		n += len(cl.Market.Offers(r))
	}
	return n
}

// rows are the offers that are wanted, in order.
func (l listing) rows(ctx context.Context, c *cli.Command, cl *node.Client) ([]shownOffer, error) {
	named, out := names(cl), []shownOffer{}
	for _, r := range l.roles {
		a, err := needOf(ctx, c, cl, r)
		if err != nil {
			return nil, err
		}
		if c.String("module") == "" {
			a.need.Format = ""
		}
		taste := cl.Taste
		taste.MaxPrice = market.NoCap
		lines := map[market.Peer]market.Line{}
		for _, line := range cl.Market.Explain(&a.need, &taste, 1) {
			lines[line.Peer] = line
		}
		for _, o := range cl.Market.Offers(r) {
			line := lines[o.Peer()]
			if line.Price > l.most || a.need.Format != "" && line.Reason == market.NoFormat {
				continue
			}
			out = append(out, newShownOffer(o, line, named[o.Peer().String()]))
		}
	}
	slices.SortStableFunc(out, func(a, b shownOffer) int {
		return cmp.Or(l.compare(a, b), cmp.Compare(a.role, b.role), cmp.Compare(a.price, b.price), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit, b.Unit))
	})
	return out, nil
}

func (l listing) compare(a, b shownOffer) int {
	switch l.sort {
	case "price":
		return cmp.Compare(a.price, b.price)
	case "latency":
		return cmp.Compare(a.latency, b.latency)
	case "success":
		return cmp.Compare(b.Success, a.Success)
	case "capacity":
		return cmp.Compare(b.Capacity, a.Capacity)
	case "name":
		return cmp.Compare(a.Name, b.Name)
	}
	return 0
}

func newShownOffer(o market.Offer, line market.Line, name string) shownOffer {
	t := o.Terms()
	s := shownOffer{
		Role: t.Role.String(), Unit: o.Peer().String(), Name: name, Price: strconv.FormatUint(line.Price, 10),
		Prices: shownPrices(t.Role, t.Prices), Success: ratio(line.Success), Capacity: t.Capacity, Formats: nonNil(t.Formats),
		Extensions: nonNil(t.Extensions), Memory: t.Memory, Compute: t.Compute, Region: t.Region, Ledgers: nonNil(t.Ledgers),
		Addrs: nonNil(t.Addrs), Sequence: t.Sequence, Expires: t.Expires, role: t.Role, parts: t.Prices, price: line.Price, latency: line.Latency,
	}
	if line.Latency != market.Unmeasured {
		s.Latency = &line.Latency
	}
	return s
}

// ratio is a number of 65536ths, to four places.
func ratio(of65536 uint64) float64 { return float64(of65536*10_000/65536) / 10_000 }

func nonNil[T any](list []T) []T { return append([]T{}, list...) }

func printOffers(w io.Writer, rows []shownOffer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tUNIT\tPRICE\tPRICES\tLATENCY\tSUCCESS\tCAPACITY\tREGION\tHOLDS\tADDRESS")
	for _, s := range rows {
		region := "–"
		if s.Region != "" {
			region = plain(s.Region)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.0f %%\t%d\t%s\t%s\t%s\n", s.Role, nameOr(s.Name, s.Unit), s.Price, pricesText(s.role, s.parts),
			latencyText(s.latency), s.Success*100, s.Capacity, region, holdsFor(s.Expires), s.Unit)
	}
	_ = t.Flush() // what cannot be printed cannot be reported either
}
