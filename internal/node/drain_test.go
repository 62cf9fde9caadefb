package node

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/units/remote"
)

// TestDrainFinishesCalls: a peer that is told to stop says so, takes nothing new, and waits for what it has let in.
func TestDrainFinishesCalls(t *testing.T) {
	for name, c := range map[string]struct {
		drain time.Duration
		end   func(n *Node, leave func(error)) // how the waiting ends
		calls int
	}{
		"when the call ends":   {time.Hour, func(_ *Node, leave func(error)) { leave(nil) }, 0},
		"when told to hurry":   {time.Hour, func(n *Node, _ func(error)) { n.Hurry(); n.Hurry() }, 1},
		"when time runs out":   {20 * time.Millisecond, func(*Node, func(error)) {}, 1},
		"without draining":     {0, func(*Node, func(error)) {}, 1},
		"with nothing to wait": {time.Hour, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback("su")
			cfg.Drain, cfg.Admin.Listen = Duration(c.drain), "127.0.0.1:0"
			n, err := New(peerHome(t, signed(t, func(n *Network) { n.Bootstrap = nil })), cfg, Parts{Archive: chain(t)}, quiet())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- n.Run(ctx) }()
			eventually(t, "the peer is ready", func() bool { return n.notReady() == "" && n.admin.Addr() != "" })
			if code, text := ask(t, n.Peer().Admin, "/readyz", ""); code != http.StatusOK {
				t.Errorf("/readyz of a ready peer answers %d: %s", code, text)
			}
			var leave func(error)
			if c.end != nil {
				if leave, err = n.doors.enter(t.Context(), wordSchedule, true); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			if c.drain == time.Hour && c.end != nil {
				eventually(t, "the doors are closed", n.doors.isClosed)
				if code, text := ask(t, n.Peer().Admin, "/readyz", ""); code != http.StatusServiceUnavailable || text != "the peer is about to stop\n" {
					t.Errorf("/readyz while draining answers %d: %s", code, text)
				}
				door := schedulerDoor{n.scheduler, n.doors, true}
				if _, err := door.Schedule(t.Context(), ao.ID{}, ao.Message{}); !errors.Is(err, &ao.Refusal{Code: ao.Busy}) {
					t.Errorf("while draining a call gets %v", err)
				}
				select {
				case err := <-ended:
					t.Fatalf("it ended with a call under way: %v", err)
				default:
				}
			}
			if c.end != nil {
				c.end(n, leave)
			}
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if left := n.Left(); left.Calls != c.calls {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// TestDrainSettles: what is acknowledged goes to Arweave before the peer ends, however long bundles wait for company.
func TestDrainSettles(t *testing.T) {
	gate := Home(t.TempDir() + "/arweave")
	d, _ := runDevnet(t, gate, DevnetConfig{OnlyGate: true})
	network, err := gate.Network()
	if err != nil {
		t.Fatal(err)
	}
	h := peerHome(t, network)
	keepWallet(t, h)
	cfg := loopback("su")
	cfg.Settle.MaxAge = Duration(time.Hour)
	n, err := New(h, cfg, Parts{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, n)
	eventually(t, "a block height is known", func() bool { return n.notReady() == "" })
	user := ans104.NewEd25519Signer(n.key)
	module, err := ao.ParseID(d.File().Module)
	if err != nil {
		t.Fatal(err)
	}
	p, err := ao.SignProcess(user, module, Address(n.key), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := OpenClient(t.Context(), homeWithPeer(t, n, network), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer guest.Close()
	a, err := remote.Scheduler(guest.P2P, n.p2p.ID()).Schedule(t.Context(), p.ID(), p)
	if err != nil {
		t.Fatal(err)
	}
	if left := n.Left(); left.Entries+left.Items+left.Bundles == 0 {
		t.Errorf("an hour before it is due it is settled: %s", left)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if left := n.Left(); left.Entries+left.Items+left.Bundles != 0 {
		t.Errorf("left: %s", left)
	}
	eventually(t, "message and assignment are on Arweave", func() bool {
		one, err1 := guest.Archive.Confirm(t.Context(), a.ID())
		two, err2 := guest.Archive.Confirm(t.Context(), p.ID())
		return err1 == nil && err2 == nil && one.Depth > 0 && two.Depth > 0
	})
}

// homeWithPeer is a user's home that knows a running peer.
func homeWithPeer(t *testing.T, n *Node, network Network) Home {
	t.Helper()
	h, cfg := peerHome(t, network), DefaultConfig()
	cfg.Bootstrap = n.Peer().Addrs
	if err := h.SaveConfig(cfg); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLeftIsTold(t *testing.T) {
	if got := (Left{}).String(); got != "nothing" {
		t.Errorf("nothing left reads %q", got)
	}
	all := Left{Calls: 1, Steps: 2, Pushes: 3, Entries: 4, Claims: 5, Items: 6, Bundles: 7, Posted: 8}
	want := "1 calls under way, 3 pushes to finish, 4 slots to hand over, 5 processes with claims to hand over, 6 items to bundle, 7 bundles to post, 8 bundles to confirm"
	if got := all.String(); got != want {
		t.Errorf("everything left reads %q", got)
	}
	if all.settled() || (Left{Bundles: 1}).settled() || !(Left{Pushes: 1, Posted: 1}).settled() {
		t.Error("what blocks and others owe is waited for, or what is ours is not")
	}
	if sum := all.plus(all); sum.Items != 12 || sum.Bundles != 14 || sum.Posted != 16 || sum.Steps != 4 {
		t.Errorf("twice that is %+v", sum)
	}
}
