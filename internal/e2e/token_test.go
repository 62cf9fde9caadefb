//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// noticesLua keeps what a token tells its holder, and what it answers.
const noticesLua = `Notices = {}
Handlers.prepend("notices", function(msg)
  return msg.From == "%s" and "continue"
end, function(msg)
  local n = { From = msg.From, Data = msg.Data }
  for _, name in ipairs({ "Action", "Quantity", "Sender", "Recipient", "Error", "Balance", "Account", "Ticker", "Name", "Denomination", "Message-Id" }) do
    n[name] = msg.Tags[name]
  end
  n.Memo = msg.Tags["X-Memo"]
  table.insert(Notices, n)
end)
function Heard()
  local out = Notices
  Notices = {}
  return #out == 0 and "[]" or require("json").encode(out)
end
return "listening"`

// notice is a message of the token, as its holder received it.
type notice struct {
	From, Action, Quantity, Sender, Recipient, Error, Balance, Account, Ticker, Name, Denomination, Memo, Data string
	MessageID                                                                                                  string `json:"Message-Id"`
}

// tokenTown is a token and two holders, three processes of a real aos module.
type tokenTown struct {
	t                       *testing.T
	home, token, alice, bob string
}

// TestToken: a token on an unchanged aos module does what the network's tokens do, between three processes.
func TestToken(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "devnet")
	devnet(t, home, "--module", aosModule(t))
	w := &tokenTown{t: t, home: home}
	for name, p := range map[string]*string{"token": &w.token, "alice": &w.alice, "bob": &w.bob} {
		*p = must[spawned](t, "spawn", "--home", home, "--name", name).Process
	}
	must[reply](t, "eval", w.token, "--file", filepath.Join("..", "..", "docs", "examples", "token.lua"), "--home", home)
	for _, p := range []string{w.alice, w.bob} {
		w.eval(p, fmt.Sprintf(noticesLua, w.token))
	}
	w.mint()
	w.transfer()
	w.refuse()
	w.ask()
	for _, p := range []string{w.token, w.alice, w.bob} {
		if r := must[report](t, "verify", p, "--home", home); !r.OK {
			t.Fatalf("%+v", r)
		}
	}
}

func (w *tokenTown) eval(process, code string) string {
	w.t.Helper()
	return must[reply](w.t, "eval", process, code, "--home", w.home).data(w.t)
}

// send has a process send the token a message; what that brings about has happened when it returns.
func (w *tokenTown) send(from, action, tags string) {
	w.t.Helper()
	w.eval(from, fmt.Sprintf(`Send({ Target = "%s", Action = "%s", %s }) return "sent"`, w.token, action, tags))
}

func (w *tokenTown) heard(process string) (out []notice) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.eval(process, "return Heard()")), &out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// balances checks what everybody has, in the token's own words.
func (w *tokenTown) balances(token, alice, bob string) {
	w.t.Helper()
	got := w.eval(w.token, fmt.Sprintf(`return (Balances[ao.id] or "-") .. " " .. (Balances["%s"] or "-") .. " " .. (Balances["%s"] or "-")`, w.alice, w.bob))
	if want := token + " " + alice + " " + bob; got != want {
		w.t.Fatalf("the balances are %s, want %s", got, want)
	}
}

func (w *tokenTown) mint() {
	w.t.Helper()
	w.send(w.token, "Mint", `Quantity = "1000000000000000000000000"`)
	w.balances("1000000000000000000000000", "-", "-")
	w.send(w.alice, "Mint", `Quantity = "1"`)
	if got := w.heard(w.alice); len(got) != 1 || got[0].Action != "Mint-Error" {
		w.t.Fatalf("who mints for herself hears %+v", got)
	}
}

func (w *tokenTown) transfer() {
	w.t.Helper()
	w.send(w.token, "Transfer", fmt.Sprintf(`Recipient = "%s", Quantity = "100"`, w.alice))
	w.balances("999999999999999999999900", "100", "-")
	if got := w.heard(w.alice); len(got) != 1 || got[0].Action != "Credit-Notice" || got[0].Sender != w.token || got[0].Quantity != "100" {
		w.t.Fatalf("alice hears %+v", got)
	}
	w.send(w.alice, "Transfer", fmt.Sprintf(`Recipient = "%s", Quantity = "30", ["X-Memo"] = "lunch"`, w.bob))
	w.balances("999999999999999999999900", "70", "30")
	if got := w.heard(w.alice); len(got) != 1 || got[0].Action != "Debit-Notice" || got[0].Recipient != w.bob || got[0].Quantity != "30" ||
		got[0].Memo != "lunch" {
		w.t.Fatalf("alice hears %+v", got)
	}
	if got := w.heard(w.bob); len(got) != 1 || got[0].Action != "Credit-Notice" || got[0].Sender != w.alice || got[0].Quantity != "30" ||
		got[0].Memo != "lunch" || got[0].From != w.token {
		w.t.Fatalf("bob hears %+v", got)
	}
	w.send(w.alice, "Transfer", fmt.Sprintf(`Recipient = "%s", Quantity = "5", Cast = "true"`, w.bob))
	w.balances("999999999999999999999900", "65", "35")
	w.send(w.bob, "Transfer", fmt.Sprintf(`Recipient = "%s", Quantity = "35", Cast = "true"`, w.bob))
	w.balances("999999999999999999999900", "65", "35")
	if a, b := w.heard(w.alice), w.heard(w.bob); len(a)+len(b) != 0 {
		w.t.Fatalf("a cast transfer is told of: %+v %+v", a, b)
	}
}

func (w *tokenTown) refuse() {
	w.t.Helper()
	w.send(w.bob, "Transfer", fmt.Sprintf(`Recipient = "%s", Quantity = "36"`, w.alice))
	got := w.heard(w.bob)
	if len(got) != 1 || got[0].Action != "Transfer-Error" || got[0].Error != "Insufficient Balance!" || len(got[0].MessageID) != 43 {
		w.t.Fatalf("bob hears %+v", got)
	}
	for _, tags := range []string{
		`Recipient = "` + w.alice + `", Quantity = "-5"`, `Recipient = "` + w.alice + `", Quantity = "0"`, `Recipient = "` + w.alice + `", Quantity = "1.5"`,
		`Recipient = "` + w.alice + `"`, `Quantity = "1"`,
	} {
		w.send(w.bob, "Transfer", tags)
	}
	if a, b := w.heard(w.alice), w.heard(w.bob); len(a)+len(b) != 0 {
		w.t.Fatalf("a malformed transfer is told of: %+v %+v", a, b)
	}
	w.balances("999999999999999999999900", "65", "35")
	if r := try(w.t, "send", w.token, "--action", "Transfer", "--tag", "Recipient="+w.alice, "--tag", "Quantity=x", "--home", w.home, "--json"); r.code != 1 ||
		!strings.Contains(r.stdout, "Quantity must be a whole number") {
		w.t.Fatalf("a malformed transfer: exit %d, %s", r.code, r.stdout)
	}
}

func (w *tokenTown) ask() {
	w.t.Helper()
	for _, q := range []struct {
		action, tags string
		right        func(n notice) bool
	}{
		{"Info", "", func(n notice) bool { return n.Name == "token" && n.Ticker == "EXA" && n.Denomination == "12" }},
		{"Balance", "", func(n notice) bool {
			return n.Balance == "65" && n.Account == w.alice && n.Data == "65" && n.Ticker == "EXA"
		}},
		{"Balance", `Recipient = "` + w.bob + `"`, func(n notice) bool { return n.Balance == "35" && n.Account == w.bob }},
		{"Balances", "", func(n notice) bool {
			var all map[string]string
			return json.Unmarshal([]byte(n.Data), &all) == nil && len(all) == 3 && all[w.alice] == "65" && all[w.bob] == "35"
		}},
		{"Total-Supply", "", func(n notice) bool {
			return n.Action == "Total-Supply" && n.Data == "1000000000000000000000000" && n.Ticker == "EXA"
		}},
	} {
		w.send(w.alice, q.action, q.tags)
		if got := w.heard(w.alice); len(got) != 1 || !q.right(got[0]) {
			w.t.Errorf("%s %s: alice hears %+v", q.action, q.tags, got)
		}
	}
}
