//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	bobLua = `Handlers.add("ping", "Ping", function(msg)
  Pings = (Pings or 0) + 1
  msg.reply({ Action = "Pong", Data = "pong " .. Pings })
end) return "bob is ready"`
	aliceLua = `Handlers.add("start", "Start", function(msg)
  Send({ Target = "%s", Action = "Ping", Data = "hello" })
end)
Handlers.add("answer", "Pong", function(msg) Answer = msg.Data end) return "alice is ready"`
)

// TestThreadOfProcesses runs the demo's conversation with the gateway and every unit in a process of its own.
func TestThreadOfProcesses(t *testing.T) {
	dir := t.TempDir()
	arweave := filepath.Join(dir, "arweave")
	_, net := devnet(t, arweave, "--only", "gateway")
	if len(net.Peers) != 0 {
		t.Fatalf("--only gateway started %v", net.Peers)
	}
	var bootstrap []string
	metrics := fmt.Sprintf("127.0.0.1:%d", freePorts(t)) // of the messenger, which chooses the computers
	for _, u := range []struct{ name, role string }{{"su1", "su"}, {"cu1", "cu"}, {"cu2", "cu"}, {"mu1", "mu"}} {
		home := filepath.Join(dir, u.name)
		args := append([]string{
			"--home", home, "--name", u.name, "--role", u.role, "--network", net.Network, "--wallet", net.Wallet,
			"--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1",
		}, bootstrap...)
		if o := try(t, append([]string{"init"}, args...)...); o.code != 0 {
			t.Fatalf("init %s: %s", u.name, o.stderr)
		}
		run := []string{"run", "--home", home, "--settle-age", "1s", "--settle-depth", "1"}
		if u.role == "mu" {
			run = append(run, "--admin", metrics)
		}
		start(t, u.name, run...)
		peer := filepath.Join(home, "peer.json")
		until(t, peer, 30*time.Second, func() bool { _, err := os.Stat(peer); return err == nil })
		if bootstrap == nil {
			var p struct{ Addrs []string }
			readJSON(t, peer, &p)
			bootstrap = []string{"--bootstrap", p.Addrs[0]}
		}
	}
	user := filepath.Join(dir, "user")
	if o := try(t, append([]string{"init", "--home", user, "--network", net.Network, "--wallet", net.Wallet}, bootstrap...)...); o.code != 0 {
		t.Fatalf("init user: %s", o.stderr)
	}
	until(t, "mesh of four units", 60*time.Second, func() bool {
		o := try(t, "peers", "--home", user, "--json")
		return o.code == 0 && count(o.stdout, `"address"`) == 4
	})
	until(t, "the messenger knows both computers", 60*time.Second, func() bool {
		_, body := get("http://" + metrics + "/metrics")
		return strings.Contains(body, `aopeer_units_known{peer="mu1",role="cu"} 2`)
	})
	peers := converse(t, user)
	if len(peers) < 4 { // two computers that ask the same share the processes
		t.Fatalf("the hops name %d peers, want 4: %v", len(peers), peers)
	}
}

// converse lets two processes talk and verifies both; it returns the peers that the hops name.
func converse(t *testing.T, home string) map[string]bool {
	t.Helper()
	alice := must[spawned](t, "spawn", "--home", home, "--name", "alice").Process
	bob := must[spawned](t, "spawn", "--home", home, "--name", "bob").Process
	peers := map[string]bool{}
	note := func(r reply) {
		for _, h := range r.Hops {
			if h.Hop == "drop" {
				t.Fatalf("dropped: %s", h.Note)
			}
			peers[h.Peer] = true
		}
	}
	note(must[reply](t, "eval", bob, bobLua, "--home", home, "--hops"))
	note(must[reply](t, "eval", alice, fmt.Sprintf(aliceLua, bob), "--home", home, "--hops"))
	note(must[reply](t, "send", alice, "--action", "Start", "--home", home, "--hops"))
	if got := must[reply](t, "eval", alice, "return Answer", "--home", home, "--settled").data(t); got != "pong 1" {
		t.Fatalf("alice heard %q, want pong 1", got)
	}
	for process, slots := range map[string]uint64{alice: 5, bob: 3} {
		r := must[report](t, "verify", process, "--home", home)
		if !r.OK || r.Slots != slots || r.Claimed != slots || len(r.Disputed) != 0 {
			t.Fatalf("verify: %+v, want %d slots, all claimed", r, slots)
		}
	}
	return peers
}

func TestDemo(t *testing.T) {
	o := try(t, "devnet", "--demo")
	if o.code != 0 {
		t.Fatalf("exit %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	for _, want := range []string{"push ", "schedule ", "compute ", "  price ", "named by the process", "settled on Arweave", "ok true"} {
		if count(o.stdout, want) == 0 {
			t.Errorf("the demo does not show %q:\n%s", want, o.stdout)
		}
	}
}
