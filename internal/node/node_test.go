package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// patience ends a test that hangs.
const patience = time.Minute

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// echo is the modelled machine's module: it answers with what it is told.
type echo struct{}

func (echo) Begin(wasmvm.Genesis, []byte) (wasmvm.NativeState, error) { return echo{}, nil }
func (echo) Apply(e ao.Entry) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": string(e.Message.Data())})
}

func (echo) Query(q ao.Query, _ ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": string(q.Data)})
}
func (echo) Encode() []byte { return []byte("echo") }

// chain is an Arweave in memory that makes blocks while the test runs.
func chain(t *testing.T) *devnet.Devnet {
	t.Helper()
	raw, err := os.ReadFile("../../arweave/testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	w, err := arweave.ParseWallet(raw)
	if err != nil {
		t.Fatal(err)
	}
	st := store.NewMemory()
	d, err := devnet.New(devnet.Config{Store: st, Wallet: w, BlockEvery: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := errors.Join(d.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// peerHome is a home with a key that has joined a network whose peers meet at bootstrap.
func peerHome(t *testing.T, n Network) Home {
	t.Helper()
	h := home(t)
	if _, err := h.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	if err := h.Join(n); err != nil {
		t.Fatal(err)
	}
	return h
}

func loopback(roles ...string) Config {
	cfg := DefaultConfig()
	cfg.Name, cfg.Roles, cfg.Listen = "peer", roles, []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.Compute.ClaimAge = Duration(50 * time.Millisecond)
	return cfg
}

// running runs a node until stop is called; stop gives what Run returned.
func running(t *testing.T, n *Node) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	t.Cleanup(func() { _ = stop() })
	select {
	case <-n.Ready():
	case err := <-ended:
		t.Fatalf("run ended with %v", err)
	case <-time.After(patience):
		t.Fatal("the node does not get ready")
	}
	return stop
}

func TestTwoPeersPushOneMessage(t *testing.T) {
	arch := chain(t)
	machine, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"echo@1": echo{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	mod, err := ao.SignModule(arch.Wallet().Signer(), "native", "64-mb", "1000", []byte("echo@1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item()); err != nil {
		t.Fatal(err)
	}
	network := signed(t, func(n *Network) { n.Bootstrap = nil })
	one, two := peerHome(t, network), peerHome(t, network)
	first, err := New(one, loopback("su"), Parts{Archive: arch, Machine: machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stopFirst := running(t, first)
	cfg := loopback("cu", "mu")
	cfg.Bootstrap = first.Peer().Addrs
	second, err := New(two, cfg, Parts{Archive: arch, Machine: machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stopSecond := running(t, second)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(first.mesh.Roster.With("")) < 2 || len(second.mesh.Roster.With("")) < 2 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the peers do not get to know each other")
		}
	}

	user := ans104.NewEd25519Signer(second.key)
	p, err := ao.SignProcess(user, mod.ID(), Address(first.key), ao.Tags{{Name: "Authority", Value: Address(second.key)}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	door := remote.Messenger(first.p2p, second.p2p.ID())
	if _, err := door.Push(ctx, p); err != nil {
		t.Fatalf("spawn: %v", err)
	}
	m, err := ao.SignMessage(user, p.ID(), nil, []byte("hello"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := door.Push(ctx, m)
	if err != nil || a.Nonce() != 1 || a.Owner() != Address(first.key) {
		t.Fatalf("push: %v", err)
	}
	var words []string
	if err := door.Hops(ctx, m.ID(), func(h units.Hop) error {
		words = append(words, h.Word)
		return nil
	}); err != nil || !slices.Contains(words, "compute") {
		t.Fatalf("the hops are %v, %v", words, err)
	}
	ans, err := remote.Computer(first.p2p, network.ID, second.p2p.ID()).Compute(ctx, p.ID(), 1)
	if err != nil || string(ans.Result.Output) != `"hello"` || ans.Claim.Unit() != Address(second.key) {
		t.Errorf("the result is %s, %v", ans.Result.Output, err)
	}
	s, err := second.Status()
	if err != nil || s.MU == nil || s.CU == nil || s.SU != nil || s.Peers != 1 || s.Network != network.ID || s.Height == 0 {
		t.Errorf("the status is %+v, %v", s, err)
	}
	if err := errors.Join(stopSecond(), stopFirst()); err != nil {
		t.Errorf("stopping: %v", err)
	}
	// The stores are closed: the homes can be opened again, and hold what they held.
	first, err = New(one, loopback("su"), Parts{Archive: arch, Machine: machine}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := first.scheduler.Next(t.Context(), p.ID()); err != nil || n != 2 {
		t.Errorf("after the restart the log has %d slots, %v", n, err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecondInstanceIsRefused(t *testing.T) {
	h := peerHome(t, signed(t))
	arch := chain(t)
	n, err := New(h, loopback(), Parts{Archive: arch}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(h, loopback(), Parts{Archive: arch}, quiet())
	if !errors.Is(err, store.ErrLocked) {
		t.Errorf("the second: %v", err)
	}
	says(t, err, "another aopeer runs on "+string(h), "--home")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err = New(h, loopback(), Parts{Archive: arch}, quiet()); err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatANodeNeeds(t *testing.T) {
	h := home(t)
	_, err := New(h, loopback(), Parts{}, quiet())
	says(t, err, "joined no network")
	if err := h.Join(signed(t)); err != nil {
		t.Fatal(err)
	}
	_, err = New(h, loopback(), Parts{}, quiet())
	says(t, err, "no unit key")
	if _, err := h.EnsureKey(); err != nil {
		t.Fatal(err)
	}
	_, err = New(h, loopback("king"), Parts{}, quiet())
	says(t, err, "king")
	cfg := loopback()
	cfg.Listen = []string{"nowhere"}
	_, err = New(h, cfg, Parts{}, quiet())
	says(t, err, "nowhere")
	_, err = New(h, loopback("su"), Parts{}, quiet())
	says(t, err, "wallet")
	// Each failure has let go of the store.
	n, err := New(h, loopback(), Parts{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}

// bare is a node whose parts a test brings itself.
func bare(t *testing.T, runs ...run) *Node {
	t.Helper()
	n, err := New(peerHome(t, signed(t)), loopback(), Parts{Archive: chain(t)}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	n.runs = append(n.runs, runs...)
	return n
}

func TestPartsStopInReverseOrder(t *testing.T) {
	var lock sync.Mutex
	var stopped []string
	part := func(name string) run {
		return run{name, func(ctx context.Context) error {
			<-ctx.Done()
			lock.Lock()
			defer lock.Unlock()
			stopped = append(stopped, name)
			return ctx.Err()
		}}
	}
	n := bare(t, part("first"), part("second"), part("third"))
	closed := false
	n.closes = append(n.closes, func() error {
		closed = len(stopped) == 3
		return nil
	})
	if err := running(t, n)(); err != nil {
		t.Errorf("a clean end gave %v", err)
	}
	if want := []string{"third", "second", "first"}; !slices.Equal(stopped, want) || !closed {
		t.Errorf("stopped %v, then closed %t; want %v", stopped, closed, want)
	}
}

func TestFailingPartStopsTheNode(t *testing.T) {
	trouble := errors.New("trouble")
	for name, c := range map[string]struct {
		do   func(context.Context) error
		want error
	}{
		"with an error": {func(context.Context) error { return trouble }, trouble},
		"without one":   {func(context.Context) error { return nil }, errEnded},
	} {
		others := make(chan struct{})
		n := bare(t, run{"witness", func(ctx context.Context) error {
			<-ctx.Done()
			close(others)
			return nil
		}}, run{"weak", c.do})
		err := n.Run(t.Context())
		if !errors.Is(err, c.want) {
			t.Errorf("%s: run ended with %v", name, err)
		}
		says(t, err, "weak")
		select {
		case <-others:
		default:
			t.Errorf("%s: the other parts go on", name)
		}
	}
}

func TestCloseFailuresAreTold(t *testing.T) {
	trouble := errors.New("trouble")
	n := bare(t)
	n.closes = append(n.closes, func() error { return trouble })
	if err := running(t, n)(); !errors.Is(err, trouble) {
		t.Errorf("run ended with %v", err)
	}
}

func TestPeerFile(t *testing.T) {
	n := bare(t)
	stop := running(t, n)
	h := home(t)
	if err := n.WritePeer(h); err != nil {
		t.Fatal(err)
	}
	p, err := h.LoadPeer()
	if err != nil || p.ID != n.p2p.ID().String() || len(p.Addrs) == 0 || p.PID != os.Getpid() || p.Address != Address(n.key) {
		t.Errorf("peer.json says %+v, %v", p, err)
	}
	_ = stop()
}

func TestDevnetOnFreePorts(t *testing.T) {
	h := Home(filepath.Join(t.TempDir(), "devnet"))
	if err := h.Make(); err != nil {
		t.Fatal(err)
	}
	wallet, err := os.ReadFile("../../arweave/testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Wallet(), wallet, 0o600); err != nil {
		t.Fatal(err)
	}
	var before DevnetFile
	for round := range 2 { // the second finds everything as it was
		d, err := NewDevnet(h, DevnetConfig{Computers: 2})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewDevnet(h, DevnetConfig{}); !errors.Is(err, store.ErrLocked) {
			t.Errorf("a second one: %v", err)
		} else {
			says(t, err, "another aopeer runs on "+string(h))
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		select {
		case <-d.Ready():
		case err := <-ended:
			t.Fatalf("run ended with %v", err)
		case <-time.After(patience):
			t.Fatal("the devnet does not get ready")
		}
		f, err := h.LoadDevnet()
		if err != nil || len(f.Peers) != 4 || f.Gateway == "" || f.Module == "" || f.Scheduler != f.Peers[0].Address ||
			f.Authority != f.Peers[3].Address {
			t.Errorf("devnet.json says %+v, %v", f, err)
		}
		for i, url := range []string{f.MU, f.SU, f.CU} {
			if code, text := fetch(t, "GET", url+"/status", ""); code != 200 || !strings.Contains(text, []string{"mu1", "su1", "cu1"}[i]) {
				t.Errorf("%q: %d %s", url, code, text)
			}
		}
		for i, p := range f.Peers {
			if want := []string{"su1", "cu1", "cu2", "mu1"}[i]; p.Name != want || len(p.Addrs) == 0 {
				t.Errorf("peer %d is %+v, want %s", i, p, want)
			}
			if round > 0 && before.Peers[i].ID != p.ID {
				t.Errorf("%s has another key after the restart", p.Name)
			}
		}
		if round > 0 && (before.Module != f.Module || before.Scheduler != f.Scheduler) {
			t.Error("module or scheduler are others after the restart")
		}
		before = f
		c, err := OpenClient(t.Context(), h, quiet())
		if err != nil {
			t.Fatalf("open client: %v", err)
		}
		if us := c.Mesh.Roster.With(""); len(us) != 4 || c.Defaults().Module != f.Module {
			t.Errorf("the client knows %d units, module %s", len(us), c.Defaults().Module)
		}
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run ended with %v", err)
		}
		if _, err := h.LoadDevnet(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("devnet.json after the end: %v", err)
		}
	}
	_, err = OpenClient(t.Context(), h, quiet())
	says(t, err, "running?")
}
