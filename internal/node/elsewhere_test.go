package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// courier is a machine whose results the messages' data spell out.
type courier struct{}

func (courier) Begin(wasmvm.Genesis, []byte) (wasmvm.NativeState, error) { return courier{}, nil }

func (courier) Apply(e ao.Entry) (ao.Result, error) {
	if r, err := ao.ParseResponse(e.Message.Data()); err == nil {
		return r, nil
	}
	return wasmvm.Response(map[string]any{"Output": string(e.Message.Data())})
}

func (courier) Query(q ao.Query, _ ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": string(q.Data)})
}

func (courier) Encode() []byte { return []byte("courier") }

// away is a scheduler of today's network with an Arweave wallet, a module that runs on it, and the Arweave below both.
type away struct {
	su      *unitstest.Reference
	url     string
	arch    arweave.Archive
	gateway string
	machine wasmvm.Machine
	module  ao.ID
}

func newAway(t *testing.T) away {
	t.Helper()
	arch := chain(t)
	wallet := arch.Wallet().Signer()
	a := away{su: unitstest.NewReference(wallet), arch: arch}
	s := httptest.NewServer(a.su)
	t.Cleanup(s.Close)
	a.url = s.URL
	g := httptest.NewServer(arch)
	t.Cleanup(g.Close)
	a.gateway = g.URL
	host, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"courier@1": courier{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	a.machine = host
	mod, err := ao.SignModule(wallet, "native", "64-mb", "1000", []byte("courier@1"))
	if err != nil {
		t.Fatal(err)
	}
	a.module = mod.ID()
	at, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	where, err := remote.SignLocation(wallet, at, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item(), where); err != nil {
		t.Fatal(err)
	}
	return a
}

// walletFile is a file with an Ethereum key, and the address that belongs to it.
func walletFile(t *testing.T, h Home) (name, address string) {
	t.Helper()
	key := strings.Repeat("17", 32)
	if err := os.WriteFile(filepath.Join(string(h), "abroad.key"), []byte("0x"+key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ans104.NewEthereumSigner(raw)
	if err != nil {
		t.Fatal(err)
	}
	return "abroad.key", unitstest.Address(s)
}

// TestProcessElsewhere: a process whose scheduler is a unit of today's network is computed by our computer, with claims, and
// pushed to by our messenger, both ways and with what it spawns.
func TestProcessElsewhere(t *testing.T) {
	a := newAway(t)
	h := peerHome(t, signed(t, func(n *Network) { n.Bootstrap = nil }))
	cfg := loopback("cu", "mu")
	cfg.Elsewhere.Private = true // the test's scheduler is on this machine
	var authority string
	cfg.Elsewhere.Wallet, authority = walletFile(t, h)
	n, err := New(h, cfg, Parts{Archive: a.arch, Machine: a.machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	user := unitstest.Wallet("user")
	spawn := func(name string) ao.ID {
		p, err := ao.SignProcess(user, a.module, a.su.Address(), ao.Tags{{Name: "Authority", Value: authority}, {Name: "Name", Value: name}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if as, err := n.messenger.Push(ctx, p); err != nil || as.Owner() != a.su.Address() {
			t.Fatalf("spawn %s: %v", name, err)
		}
		return p.ID()
	}
	p, q := spawn("p"), spawn("q")
	data := fmt.Sprintf(`{"ok":true,"response":{"Output":"sent","Messages":[{"Target":%q,"Data":"to q","Tags":[{"name":"Action","value":"Test"}]}],
		"Spawns":[{"Data":"child","Tags":[{"name":"Module","value":%q}]}]}}`, q, a.module)
	m, err := ao.SignMessage(user, p, nil, []byte(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.messenger.Push(ctx, m); err != nil {
		t.Fatal(err)
	}
	var hops []units.Hop
	if err := n.messenger.Hops(ctx, m.ID(), func(h units.Hop) error { hops = append(hops, h); return nil }); err != nil {
		t.Fatalf("hops %+v, %v", hops, err)
	}
	for _, hop := range hops {
		if hop.Word == "drop" || hop.Word == "schedule" && hop.Peer != a.url {
			t.Errorf("hop %+v", hop)
		}
	}
	ans, err := n.computer.Compute(ctx, p, 1)
	if err != nil || string(ans.Result.Output) != `"sent"` || ans.Check(n.network.ID, p, 1) != nil {
		t.Errorf("the result is %s, %v", ans.Result.Output, err)
	}
	got := a.su.Entries(t, q)
	if len(got) != 2 || string(got[1].Message.Data()) != "to q" || got[1].Message.Owner() != authority || got[1].Message.From() != p.String() {
		t.Fatalf("q has %d entries", len(got))
	}
	if _, ok := got[1].Message.Tags().Lookup("From-Slot"); ok {
		t.Error("the message has tags that units there do not know")
	}
	notice := a.su.Entries(t, p)
	if len(notice) != 3 || notice[2].Message.Tags().Get("Action") != "Spawned" || notice[2].Message.Owner() != authority {
		t.Fatalf("p has %d entries", len(notice))
	}
	child, err := ao.ParseID(notice[2].Message.Tags().Get("Process"))
	if err != nil {
		t.Fatal(err)
	}
	if as, err := n.computer.Compute(ctx, child, 0); err != nil || string(as.Result.Output) != `"child"` {
		t.Errorf("the child's result is %s, %v", as.Result.Output, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestComputerByItself: with a gateway and nothing else, not even a home, a computer serves processes of today's network over HTTP.
func TestComputerByItself(t *testing.T) {
	a := newAway(t)
	p, err := ao.SignProcess(unitstest.Wallet("user"), a.module, a.su.Address(), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ao.SignMessage(unitstest.Wallet("user"), p.ID(), nil, []byte("hello"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []ao.Message{p, m} {
		if _, err := a.su.Put(item.Raw()); err != nil {
			t.Fatal(err)
		}
	}
	h := home(t)
	if _, err := h.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Roles, cfg.Gateways, cfg.HTTP.Listen, cfg.Elsewhere.URL = []string{"cu"}, []string{a.gateway}, "127.0.0.1:0", a.url
	if !h.Alone(cfg) {
		t.Fatal("it is not by itself")
	}
	n, err := New(h, cfg, Parts{Machine: a.machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, n)
	at := n.Peer().HTTP["cu"]
	if len(n.Peer().Addrs) != 0 || at == "" {
		t.Errorf("the peer is %+v", n.Peer())
	}
	status, body := get(t, fmt.Sprintf("%s/result/%s?process-id=%s", at, m.ID(), p.ID()))
	if status != 200 || !strings.Contains(body, `"hello"`) {
		t.Errorf("the result is %d %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}

	cfg.Roles = []string{"su"}
	if _, err := New(h, cfg, Parts{Machine: a.machine}, quiet()); err == nil || !strings.Contains(err.Error(), "has joined no network") {
		t.Errorf("a scheduler by itself: %v", err)
	}
}

// TestWalletForAbroad: what the setting may name.
func TestWalletForAbroad(t *testing.T) {
	h := home(t)
	name, address := walletFile(t, h)
	s, err := h.abroad(ElsewhereConfig{Wallet: name})
	if err != nil || unitstest.Address(s) != address {
		t.Fatalf("%v", err)
	}
	if s, err := h.abroad(ElsewhereConfig{}); s != nil || err != nil {
		t.Errorf("without one: %v, %v", s, err)
	}
	raw, err := os.ReadFile("../../arweave/testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte, mode os.FileMode) string {
		path := filepath.Join(string(h), name)
		if err := os.WriteFile(path, b, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if s, err := h.abroad(ElsewhereConfig{Wallet: write("jwk.json", raw, 0o600)}); err != nil || s.Type() != ans104.Arweave {
		t.Errorf("a JWK: %v", err)
	}
	for what, path := range map[string]string{
		"nothing": "missing", "an open file": write("open", []byte(strings.Repeat("17", 32)), 0o644),
		"an open JWK": write("open.json", raw, 0o644), "no key": write("short", []byte("17"), 0o600), "no digits": write("words", []byte("my key"), 0o600),
	} {
		if _, err := h.abroad(ElsewhereConfig{Wallet: path}); err == nil {
			t.Errorf("%s is taken for a wallet", what)
		}
	}
}

// puts is an archive that takes items, or fails.
type puts struct {
	arweave.Archive
	items []*ans104.Item
	err   error
}

func (p *puts) Put(_ context.Context, items ...*ans104.Item) error {
	if p.err == nil {
		p.items = append(p.items, items...)
	}
	return p.err
}

// TestLocationIsSaid: once, again before its time is over, at once when it changes, and after a failure.
func TestLocationIsSaid(t *testing.T) {
	st := store.NewMemory()
	defer st.Close()
	now, arch := time.Unix(1_000_000, 0), &puts{}
	at, err := url.Parse("https://su.example")
	if err != nil {
		t.Fatal(err)
	}
	l := location{at: at, signer: unitstest.Signer("su"), archive: arch, store: st, now: func() time.Time { return now }, log: quiet()}
	say := func(want int) time.Duration {
		t.Helper()
		wait, err := l.say(t.Context())
		if err != nil || len(arch.items) != want {
			t.Errorf("said %d times, want %d: %v", len(arch.items), want, err)
		}
		return wait
	}
	if wait := say(1); wait >= locationLife {
		t.Errorf("it is said again after %v", wait)
	}
	now = now.Add(time.Hour)
	if wait := say(1); wait != locationLife/2-time.Hour {
		t.Errorf("it is said again after %v", wait)
	}
	now = now.Add(locationLife / 2)
	say(2)
	if arch.items[0].ID() == arch.items[1].ID() {
		t.Error("it is the same item, which no index lists anew")
	}
	l.at, _ = url.Parse("https://moved.example")
	say(3)
	if v, _ := arch.items[2].Tag("Url"); v != "https://moved.example" {
		t.Errorf("it is said to be at %s", v)
	}
	now, arch.err = now.Add(locationLife), arweave.ErrUnavailable
	if _, err := l.say(t.Context()); err == nil {
		t.Error("a failure is not told")
	}
	arch.err = nil
	say(4)
}

func TestLocationNeedsAScheduler(t *testing.T) {
	cfg := loopback("su")
	cfg.HTTP.URL = "https://su.example"
	if err := cfg.Validate(); err == nil {
		t.Error("a URL without a door behind it is taken")
	}
	cfg.HTTP.Listen = "127.0.0.1:4002"
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"su.example", "ftp://su.example", "https://", "https://su.example?a=b"} {
		if cfg.HTTP.URL = bad; cfg.Validate() == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// get asks a URL once.
func get(t *testing.T, at string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}
