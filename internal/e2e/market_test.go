//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// offer, ranked and quoted are the answers of the market's commands, as far as the tests look at them.
type (
	offer struct {
		Role, Unit, Name, Price string
		Prices                  map[string]string
	}
	ranked struct {
		Role, Process, Strategy, MaxPrice string
		Lines                             []struct {
			Place                                    int
			Unit, Name, Price, Cost, Reason, Meaning string
			Remedy                                   string
		}
	}
	quoted struct {
		Unit, Name, Price, Reason string
		Hot                       bool
	}
	ownMarket struct {
		Name   string
		Market struct {
			Trade struct {
				Bought, Sold struct {
					Served uint64
					Owed   string
				}
			}
		}
	}
)

// useMarket looks at a market of two computers that ask 2 and 3, and buys there for a process.
func useMarket(t *testing.T, at func(...string) []string, process string, net devnetFile) {
	t.Helper()
	address := map[string]string{}
	for _, p := range net.Peers {
		address[p.Name] = p.Address
	}
	offers := must[[]offer](t, at("market", "ls")...)
	if len(offers) != len(net.Peers) {
		t.Errorf("market ls: %+v, want an offer of each of %d units", offers, len(net.Peers))
	}
	offers = must[[]offer](t, at("market", "ls", "--role", "cu", "--sort", "price")...)
	if len(offers) != 2 || offers[0].Name != "cu1" || offers[0].Unit != address["cu1"] || offers[0].Prices["base"] != "2" || offers[1].Price != "3" {
		t.Errorf("market ls --role cu: %+v", offers)
	}
	if offers = must[[]offer](t, at("market", "ls", "--role", "cu", "--max-price", "2")...); len(offers) != 1 {
		t.Errorf("market ls --max-price 2: %+v", offers)
	}

	r := must[ranked](t, at("market", "explain", process, "--strategy", "cheapest")...)
	if len(r.Lines) != 2 || r.Process != process || r.Lines[0].Place != 1 || r.Lines[0].Reason != "chosen" || r.Lines[0].Name != "cu1" || r.Lines[1].Meaning == "" {
		t.Errorf("market explain: %+v", r)
	}
	o := try(t, at("market", "explain", "--max-price", "1")...)
	if o.code != 1 || count(o.stdout, "over-the-cap") < 2 || !strings.Contains(o.stderr, "the cheapest offer is 2, of cu1: give --max-price 2 or more") {
		t.Errorf("market explain with a cap too low: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	q := must[[]quoted](t, at("market", "quote", process, "--unit", "cu2")...)
	if len(q) != 1 || q[0].Price != "3" || q[0].Name != "cu2" || q[0].Reason != "" {
		t.Errorf("market quote: %+v", q)
	}
	if o := try(t, at("market", "watch", "--times", "2", "--every", "100ms")...); o.code != 0 || count(o.stdout, "ADDRESS") != 1 || strings.Contains(o.stdout, "\x1b") {
		t.Errorf("market watch without a terminal: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}

	// One unit by name; a cap below all keeps the message back; a name that nobody has is misuse.
	if r := must[reply](t, at("eval", process, "return 1", "--unit", "cu2")...); r.Price != "3" || r.Unit != address["cu2"] {
		t.Errorf("eval --unit cu2: %+v", r)
	}
	slots := len(logOf(t, at()[1], process))
	o = try(t, at("eval", process, "return 1", "--max-price", "1", "--json")...)
	if o.code != 1 || !strings.Contains(o.stdout, `"code":"over-the-cap"`) || !strings.Contains(o.stderr, "asks 2 ("+address["cu1"]+")") ||
		!strings.Contains(o.stderr, "--max-price") || count(o.stderr, "\n") != 1 {
		t.Errorf("eval with a cap too low: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	if got := len(logOf(t, at()[1], process)); got != slots {
		t.Errorf("a message whose result is too dear took a slot: %d slots, before %d", got, slots)
	}
	if o := try(t, at("eval", process, "return 1", "--unit", "nobody")...); o.code != 2 || !strings.Contains(o.stderr, "aopeer market ls --role cu") {
		t.Errorf("eval --unit nobody: exit %d, %s", o.code, o.stderr)
	}

	var own []ownMarket
	decode(t, try(t, at("market", "offer", "--json")...), &own)
	i := slices.IndexFunc(own, func(m ownMarket) bool { return m.Name == "cu2" })
	if len(own) != len(net.Peers) || i < 0 || own[i].Market.Trade.Sold.Served == 0 || own[i].Market.Trade.Sold.Owed == "0" {
		t.Errorf("market offer: %+v", own)
	}
	if o := try(t, at("market", "offer")...); o.code != 0 || count(o.stdout, "owed to you") != len(net.Peers) || !strings.Contains(o.stdout, "base 3") {
		t.Errorf("market offer: exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	var hops reply
	o = try(t, at("send", process, "x", "--hops", "--json")...)
	if err := json.Unmarshal([]byte(o.stdout), &hops); err != nil {
		t.Fatalf("send --hops: %v\n%s%s", err, o.stdout, o.stderr)
	}
	if !slices.ContainsFunc(hops.Hops, func(h hop) bool { return h.Hop == "compute" && (h.Price == "2" || h.Price == "3") && h.Why != "" }) ||
		!strings.Contains(o.stderr, "  price ") {
		t.Errorf("the hops do not say what was paid and why: %s%s", o.stdout, o.stderr)
	}
}
