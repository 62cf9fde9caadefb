//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// gateway asks the Arweave of a devnet.
func (f devnetFile) gateway(t *testing.T, path string, body []byte) string {
	t.Helper()
	ask := func() (*http.Response, error) { return http.Get(f.Gateway + path) }
	if body != nil {
		ask = func() (*http.Response, error) {
			return http.Post(f.Gateway+path, "application/json", bytes.NewReader(body))
		}
	}
	r, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s, %v", path, r.StatusCode, b, err)
	}
	return string(b)
}

// post signs a transaction with the devnet's wallet and posts it.
func (f devnetFile) post(t *testing.T, draft arweave.TxDraft) (*l1.Tx, *arweave.Wallet) {
	t.Helper()
	w, err := arweave.LoadWallet(f.Wallet)
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := l1.Decode64(f.gateway(t, "/tx_anchor", nil))
	if err != nil {
		t.Fatal(err)
	}
	reward, err := l1.ParseWinston(f.gateway(t, "/price/1000", nil))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := w.SignTx(draft, anchor, reward)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(tx)
	if err != nil {
		t.Fatal(err)
	}
	f.gateway(t, "/tx", body)
	return tx, w
}

// TestTransactionIsAssigned: the commands of whoever gives a process a transaction of Arweave.
func TestTransactionIsAssigned(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "net")
	_, net := devnet(t, home)
	at := func(args ...string) []string { return append(args, "--home", home) }
	p := must[spawned](t, at("spawn", "--tag", "Settlement-Depth=2")...).Process
	q := must[spawned](t, at("spawn", "--tag", "Settlement-Depth=1000000")...).Process
	must[reply](t, at("eval", p, `ao.addAssignable("notes", { Action = "Note" })
		Handlers.add("notes", "Note", function(msg)
			print(msg.Tags.Title .. ": " .. msg.Data .. " by " .. msg.Owner)
			Send({ Target = ao.id, Action = "Noted" })
		end)
		Handlers.add("noted", "Noted", function(msg) Noted = (Noted or 0) + 1 end)`)...)
	tx, wallet := net.post(t, arweave.TxDraft{
		Tags: []ans104.Tag{{Name: "Action", Value: "Note"}, {Name: "Title", Value: "a title"}}, Data: []byte("some text"),
	})
	id := tx.ID.String()

	o := try(t, at("assign", q, id, "--base-layer", "--json")...)
	if o.code != 1 || !strings.Contains(o.stdout, `"code":"unconfirmed"`) {
		t.Errorf("assigned to a process that asks for more: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	var assigned struct {
		Assignment string
		Slot       uint64
	}
	until(t, "slot of the transaction", time.Minute, func() bool {
		net.gateway(t, "/mine", nil)
		o = try(t, at("assign", p, id, "--base-layer", "--exclude", "Anchor", "--json")...)
		return o.code == 0
	})
	if err := json.Unmarshal([]byte(o.stdout), &assigned); err != nil || assigned.Slot != 2 {
		t.Fatalf("assigned %+v, %v", assigned, err)
	}
	got := must[reply](t, at("result", p, "2")...)
	if want := "a title: some text by " + wallet.Address(); !strings.Contains(got.data(t), want) || got.Message != id {
		t.Errorf("the result of %s is %q, want %q", got.Message, got.data(t), want)
	}
	until(t, "what the process sent itself", time.Minute, func() bool { return len(logOf(t, home, p)) == 4 })
	if log := logOf(t, home, p); log[2].Message != id || log[2].Assignment != assigned.Assignment {
		t.Errorf("slot 2 is %+v", log[2])
	}
	var r report
	until(t, "settled log", time.Minute, func() bool {
		r = report{}
		o := try(t, at("verify", p, "--json")...)
		return json.Unmarshal([]byte(o.stdout), &r) == nil && r.Slots == 4 && r.Claimed == 4
	})
	if !r.OK || len(r.Disputed) != 0 {
		t.Errorf("verify: %+v", r)
	}
	if o := try(t, at("repush", p, "2")...); o.code != 0 {
		t.Errorf("repush: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	if again := must[reply](t, at("eval", p, "return Noted")...); again.data(t) != "1" {
		t.Errorf("what it sent itself came %s times", again.data(t))
	}
}
