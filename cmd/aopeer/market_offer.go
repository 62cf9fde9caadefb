package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

func marketOfferCommand() *cli.Command {
	return &cli.Command{
		Name: "offer", Usage: "show what you sell: prices, what you are owed, and the bids that you lost, by reason", ArgsUsage: " ",
		Description: "Asks the running peer of --home or, if that is a devnet, every peer of it. The prices are settings: see [market] in\n" +
			"docs/config.md.",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 30 * time.Second}},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
				all, err := ownMarkets(ctx, c, cl)
				if err != nil {
					return err
				}
				return output(c).value(all, func(w io.Writer) {
					for _, m := range all {
						m.print(w)
					}
				})
			})
		},
	}
}

// ownMarket is what a peer of the home does on the market, as JSON.
type ownMarket struct {
	Name    string              `json:"name"`
	Address string              `json:"address"`
	Roles   []string            `json:"roles"`
	Market  remote.MarketStatus `json:"market"`
}

func ownMarkets(ctx context.Context, c *cli.Command, cl *node.Client) ([]ownMarket, error) {
	raws, err := statuses(ctx, c, cl)
	if err != nil {
		return nil, err
	}
	out := []ownMarket{}
	for _, raw := range raws {
		var s struct {
			Peer   node.PeerFile       `json:"peer"`
			Market remote.MarketStatus `json:"market"`
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("read status: %w", err)
		}
		out = append(out, ownMarket{Name: s.Peer.Name, Address: s.Peer.Address, Roles: s.Peer.Roles, Market: s.Market})
	}
	return out, nil
}

// print tells a person what the peer sells in each role, what it earned, and what it lost.
func (m ownMarket) print(w io.Writer) {
	s := m.Market
	fmt.Fprintf(w, "%s  %s  %s\n", nameOr(m.Name, m.Address), plain(strings.Join(m.Roles, ",")), plain(m.Address))
	for _, o := range s.Own {
		role, err := market.ParseRole(o.Role)
		if err != nil {
			continue // a newer version's
		}
		holds := "not announced yet"
		if o.ID != "" {
			holds = fmt.Sprintf("holds %s", holdsFor(o.Expires.UnixMilli()))
		}
		fmt.Fprintf(w, "  %-3s sells   %s · level %.0f %% · capacity %d · %d wait · %s\n", o.Role, pricesText(role, o.Prices),
			float64(o.Level)/10_000, o.Capacity, s.Trade.Waiting[o.Role], holds)
		sales := s.Trade.Sales[o.Role]
		fmt.Fprintf(w, "      since the start: quoted %d · not taken %d · deals served %d\n", sales.Quoted, sales.Quoted-min(sales.Quoted, sales.Served), sales.Served)
		printLost(w, "      lost", sales.Lost)
	}
	t := s.Trade
	fmt.Fprintf(w, "  owed to you %s for %d deals\n", t.Sold.Owed, t.Sold.Served)
	fmt.Fprintf(w, "  you owe     %s for %d deals", t.Bought.Owed, t.Bought.Served)
	if t.Bought.Signed > 0 {
		fmt.Fprintf(w, "; %s for %d more that have no answer", t.Bought.Unserved, t.Bought.Signed)
	}
	fmt.Fprintln(w)
	if s.Twins > 0 {
		fmt.Fprintf(w, "  somebody else offers with this peer's key: stop the second instance, or buyers shun both\n")
	}
	for _, d := range t.Disputes {
		fmt.Fprintf(w, "  dispute     %s  %s  slot %d of %s  guilty %s\n", d.At.Format(time.RFC3339), plain(d.Kind), d.Slot, short(d.Process.String()), plain(cmp.Or(d.Guilty, "not decided")))
	}
}

// printLost is a line for each reason, the commonest first, with what to do about it.
func printLost(w io.Writer, head string, lost map[market.Reason]uint64) {
	reasons := slices.SortedFunc(maps.Keys(lost), func(a, b market.Reason) int {
		return cmp.Or(cmp.Compare(lost[b], lost[a]), cmp.Compare(a, b))
	})
	for _, r := range reasons {
		advice := market.RemedyOf(r)
		if advice == "" {
			advice = ao.RemedyOf(ao.Code(r))
		}
		fmt.Fprintf(w, "%s %d × %s: %s\n", head, lost[r], plain(string(r)), advice)
	}
}
