package node

import (
	"maps"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units/remote"
)

func marketMetrics() []metric {
	return []metric{
		{name: "aopeer_market_offers", kind: "gauge", labels: []string{"role"}, help: "Offers of others that hold now.", read: func(s *snapshot) []sample {
			return counts(s.market.Offers)
		}},
		{name: "aopeer_market_offers_refused_total", kind: "counter", labels: []string{"reason"}, help: "Offers heard or pulled and not taken, by reason (docs/market-reasons.md).", read: func(s *snapshot) []sample {
			return counts(s.market.Refused)
		}},
		{name: "aopeer_market_equivocations", kind: "gauge", help: "Units seen to sign two offers with one sequence number, this peer's own key included.", read: func(s *snapshot) []sample {
			return one(len(s.market.Evidence) + s.market.Twins)
		}},
		{name: "aopeer_market_scores", kind: "gauge", help: "Units of which it is known how they served.", read: func(s *snapshot) []sample {
			return one(s.market.Scores)
		}},
		{name: "aopeer_market_price", kind: "gauge", labels: []string{"role", "component"}, help: "What this peer asks now, in the smallest unit.", read: func(s *snapshot) []sample {
			var out []sample
			for _, o := range s.market.Own {
				role, err := market.ParseRole(o.Role)
				if err != nil {
					continue
				}
				for i, name := range market.PartNames(role) {
					out = append(out, sample{float64(o.Prices[i]), []string{o.Role, name}})
				}
			}
			return out
		}},
		{name: "aopeer_market_price_level", kind: "gauge", labels: []string{"role"}, help: "The same as a share of the prices that are set: 1 is those themselves.", read: func(s *snapshot) []sample {
			var out []sample
			for _, o := range s.market.Own {
				out = append(out, sample{float64(o.Level) / 1_000_000, []string{o.Role}})
			}
			return out
		}},
		{name: "aopeer_market_capacity", kind: "gauge", labels: []string{"role"}, help: "Jobs at once that this peer offers; 0 while it takes none.", read: func(s *snapshot) []sample {
			var out []sample
			for _, o := range s.market.Own {
				out = append(out, sample{float64(o.Capacity), []string{o.Role}})
			}
			return out
		}},
	}
}

// tradeMetrics are what is bought and sold.
func tradeMetrics() []metric {
	return []metric{
		{name: "aopeer_market_deals", kind: "gauge", labels: []string{"side", "state"}, help: "Deals bought or sold, all that are remembered: served ones are owed; signed ones have no answer yet, or never had.", read: func(s *snapshot) []sample {
			t := s.market.Trade
			return []sample{
				{float64(t.Bought.Served), []string{"bought", "served"}},
				{float64(t.Bought.Signed), []string{"bought", "signed"}},
				{float64(t.Sold.Served), []string{"sold", "served"}},
			}
		}},
		{name: "aopeer_market_owed", kind: "gauge", labels: []string{"side"}, help: "What the served deals add up to, in the smallest unit: what this peer owes (bought) and is owed (sold). Divide by their number for the price paid.", read: func(s *snapshot) []sample {
			t := s.market.Trade
			return []sample{{amount(t.Bought.Owed), []string{"bought"}}, {amount(t.Sold.Owed), []string{"sold"}}}
		}},
		{name: "aopeer_market_quotes_total", kind: "counter", labels: []string{"role"}, help: "Quotes given; those without a deal were not taken.", read: func(s *snapshot) []sample {
			return ofSales(s, func(x remote.Sales) uint64 { return x.Quoted })
		}},
		{name: "aopeer_market_sales_total", kind: "counter", labels: []string{"role"}, help: "Deals served since the start.", read: func(s *snapshot) []sample {
			return ofSales(s, func(x remote.Sales) uint64 { return x.Served })
		}},
		{name: "aopeer_market_bids_lost_total", kind: "counter", labels: []string{"role", "reason"}, help: "Quotes, deals and work that this peer refused, by reason (docs/market-reasons.md, docs/reasons.md).", read: func(s *snapshot) []sample {
			var out []sample
			for _, role := range slices.Sorted(maps.Keys(s.market.Trade.Sales)) {
				for _, v := range counts(s.market.Trade.Sales[role].Lost) {
					out = append(out, sample{v.value, append([]string{role}, v.labels...)})
				}
			}
			return out
		}},
		{name: "aopeer_market_waiting", kind: "gauge", labels: []string{"role"}, help: "Jobs that wait for their turn.", read: func(s *snapshot) []sample {
			return counts(s.market.Trade.Waiting)
		}},
		{name: "aopeer_market_asked_total", kind: "counter", labels: []string{"outcome"}, help: "Quotes that this peer asked others for (asked), and got (answered).", read: func(s *snapshot) []sample {
			p := s.market.Trade.Purchases
			return []sample{{float64(p.Asked), []string{"asked"}}, {float64(p.Answered), []string{"answered"}}}
		}},
		{name: "aopeer_market_turned_down_total", kind: "counter", labels: []string{"reason"}, help: "Quotes of others that this peer did not take, by reason (docs/market-reasons.md).", read: func(s *snapshot) []sample {
			return counts(s.market.Trade.Purchases.Lost)
		}},
		{name: "aopeer_market_quote_age_seconds", kind: "gauge", help: "How old the quote last used was when it was used.", read: func(s *snapshot) []sample {
			return one(s.market.Trade.Purchases.Age.Seconds())
		}},
		{name: "aopeer_market_checks_total", kind: "counter", labels: []string{"outcome"}, help: "Results that a second computer gave as well (asked), those that were the same (agreed) or not (differed), and of these those that a third decided (decided). A difference is worth an alarm.", read: func(s *snapshot) []sample {
			p := s.market.Trade.Purchases
			return []sample{
				{float64(p.Checked), []string{"asked"}},
				{float64(p.Agreed), []string{"agreed"}},
				{float64(p.Differed), []string{"differed"}},
				{float64(p.Decided), []string{"decided"}},
			}
		}},
		{name: "aopeer_market_disputes", kind: "gauge", help: "Kept records of units that signed what does not go together, at most those that a status shows.", read: func(s *snapshot) []sample {
			return one(len(s.market.Trade.Disputes))
		}},
	}
}

// ofSales is a count of each role that is sold.
func ofSales(s *snapshot, count func(remote.Sales) uint64) []sample {
	var out []sample
	for _, role := range slices.Sorted(maps.Keys(s.market.Trade.Sales)) {
		out = append(out, sample{float64(count(s.market.Trade.Sales[role])), []string{role}})
	}
	return out
}

// amount is a number for a graph, rounded as those are.
func amount(a ao.Amount) float64 {
	f, err := strconv.ParseFloat(a.String(), 64)
	if err != nil { // an amount is decimal digits
		return 0
	}
	return f
}

// counts are samples labelled by the keys, in their order.
func counts[K ~string, N int | uint64](of map[K]N) []sample {
	var out []sample
	for _, k := range slices.Sorted(maps.Keys(of)) {
		out = append(out, sample{float64(of[k]), []string{string(k)}})
	}
	return out
}
