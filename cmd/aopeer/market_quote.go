package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
)

func marketQuoteCommand() *cli.Command {
	return &cli.Command{
		Name: "quote", Usage: "ask units for binding quotes and show them, best first", ArgsUsage: "[PROCESS]",
		Description: "With PROCESS it asks computers for the result of its last slot, otherwise units of --role for one plain job. A quote binds\n" +
			"its unit for the time shown, and you to nothing: nothing is bought.",
		Flags: append(append(needFlags(), buyFlags("name or address of a unit: ask nobody else")...),
			&cli.IntFlag{Name: "ask", Usage: "how many units to ask", Value: 3}),
		Action: func(ctx context.Context, c *cli.Command) error {
			role, err := needArgs(c)
			if err != nil {
				return err
			}
			if n := c.Int("ask"); n < 1 || n > 16 {
				return misuse("--ask %d: from 1 to 16", n)
			}
			return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error { return askQuotes(ctx, c, cl, role) })
		},
	}
}

// shownQuote is one quote as JSON.
type shownQuote struct {
	ID      string            `json:"id"`
	Unit    string            `json:"unit"`
	Name    string            `json:"name"`
	Price   string            `json:"price"`
	Parts   map[string]string `json:"parts"` // of the price, those that are not free
	Behind  uint64            `json:"behind"`
	Hot     bool              `json:"hot"`
	Backlog uint64            `json:"backlog"`
	Expires int64             `json:"expires"`          // ms
	Reason  string            `json:"reason,omitempty"` // why it is of no use
	Remedy  string            `json:"remedy,omitempty"`
}

func askQuotes(ctx context.Context, c *cli.Command, cl *node.Client, role market.Role) error {
	a, err := needOf(ctx, c, cl, role)
	if err != nil {
		return err
	}
	taste, err := tasteOf(c, cl, role)
	if err != nil {
		return err
	}
	named := names(cl)
	choices := cl.Market.Rank(&a.need, &taste, c.Int("ask"))
	if len(choices) == 0 {
		return ao.Refuse("rank", ao.UnknownUnit, "%s", nobody(role, cl.Network.ID, cl.Market.Explain(&a.need, &taste, 1), named))
	}
	quotes := cl.Market.Quotes(ctx, a.need, &taste, choices)
	if len(quotes) == 0 {
		return ao.Refuse("quote", ao.Unreachable, "none of the %d units asked sends a quote: ask others with --ask, or see `aopeer market explain`", len(choices))
	}
	out := []shownQuote{}
	for _, q := range quotes {
		out = append(out, newShownQuote(role, q, named))
	}
	return output(c).value(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n\n", a.of)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "UNIT\tPRICE\tPARTS\tTO REPLAY\tIN MEMORY\tAHEAD\tBINDS\tREMARK")
		for _, q := range out {
			remark := q.Reason
			if remark == "" {
				remark = "–"
			}
			hot := "no"
			if q.Hot {
				hot = "yes"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\n", nameOr(q.Name, q.Unit), q.Price, partsText(role, q.Parts), q.Behind, hot,
				q.Backlog, holdsFor(q.Expires), remark)
		}
		_ = t.Flush() // what cannot be printed cannot be reported either
	})
}

func newShownQuote(role market.Role, q market.QuoteChoice, named map[string]string) shownQuote {
	b, address := q.Quote.Bid(), q.Quote.Peer().String()
	s := shownQuote{
		ID: q.Quote.ID().String(), Unit: address, Name: named[address], Price: b.Price.String(), Parts: map[string]string{},
		Behind: b.Behind, Hot: b.Hot, Backlog: b.Backlog, Expires: b.Expires,
	}
	for i, name := range market.PartNames(role) {
		if i < len(b.Parts) && !b.Parts[i].IsZero() {
			s.Parts[name] = b.Parts[i].String()
		}
	}
	if q.Reason != nil {
		r := market.ReasonOf(q.Reason)
		s.Reason, s.Remedy = string(r), market.RemedyOf(r)
	}
	return s
}

// partsText are the parts of a price in the order of the role.
func partsText(r market.Role, parts map[string]string) string {
	var out []string
	for _, name := range market.PartNames(r) {
		if v := parts[name]; v != "" {
			out = append(out, name+" "+v)
		}
	}
	if len(out) == 0 {
		return "free"
	}
	return strings.Join(out, ", ")
}
