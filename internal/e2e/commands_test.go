//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCommandsOnDevnet uses every client command as a newcomer would, against a devnet of its own.
func TestCommandsOnDevnet(t *testing.T) {
	home := filepath.Join(t.TempDir(), "net")
	d, net := devnet(t, home, "--prices", "2,3", "--seed", "7")
	at := func(args ...string) []string { return append(args, "--home", home) }

	// spawn, eval, result by slot and by message.
	p := must[spawned](t, at("spawn", "--name", "mine", "--tag", "Purpose=test")...).Process
	sum := must[reply](t, at("eval", p, "X = 40 return X + 2")...)
	if sum.data(t) != "42" || sum.Slot != 1 || sum.Error != nil && string(sum.Error) != "null" {
		t.Fatalf("eval: %+v", sum)
	}
	for _, which := range []string{strconv.FormatUint(sum.Slot, 10), sum.Message} {
		again := must[reply](t, at("result", p, which)...)
		if again.Digest != sum.Digest || again.Message != sum.Message || again.data(t) != "42" {
			t.Errorf("result %s: %+v, want %+v", which, again, sum)
		}
	}
	wantKeys(t, at("eval", p, "return 1", "--json"), "message", "process", "slot", "output", "error", "finality", "digest", "unit", "price")
	if o := try(t, at("eval", p, "return X")...); o.code != 0 || o.stdout != "40\n" {
		t.Errorf("eval as text: exit %d, %q, %s", o.code, o.stdout, o.stderr)
	}

	useMarket(t, at, p, net)

	// An error of the code is a result: printed, and exit code 1.
	if o := try(t, at("eval", p, "return 1 +")...); o.code != 1 || !strings.HasPrefix(o.stdout, "Error: ") {
		t.Errorf("eval of nonsense: exit %d, %q", o.code, o.stdout)
	}
	if o := try(t, at("eval", p, "while true do end", "--json")...); o.code != 1 || !strings.Contains(o.stdout, `"error":"out of gas!"`) {
		t.Errorf("eval without end: exit %d, %q", o.code, o.stdout)
	}

	// dry-run sees the state and leaves none.
	wantKeys(t, at("dry-run", p, "return X", "--action", "Eval", "--json"), "process", "output", "error", "outbox")
	if o := try(t, at("dry-run", p, "X = 0 return X", "--action", "Eval")...); o.code != 0 || o.stdout != "0\n" {
		t.Errorf("dry-run: exit %d, %q, %s", o.code, o.stdout, o.stderr)
	}
	if r := must[reply](t, at("eval", p, "return X")...); r.data(t) != "40" {
		t.Errorf("after the dry-run X is %s", r.data(t))
	}

	// Data arrives as it was typed; a cast has no result to wait for.
	must[reply](t, at("eval", p, `Handlers.add("keep", "Keep", function(m) Kept = m.Data end)`)...)
	must[reply](t, at("send", p, "-- two  words ", "--action", "Keep")...)
	if r := must[reply](t, at("eval", p, `return "<" .. Kept .. ">"`)...); r.data(t) != "<-- two  words >" {
		t.Errorf("data arrived as %s", r.data(t))
	}
	if o := try(t, at("send", p, "nobody listens", "--cast")...); o.code != 0 || !strings.HasPrefix(o.stdout, "slot ") {
		t.Errorf("cast: exit %d, %q, %s", o.code, o.stdout, o.stderr)
	}

	useOverHTTP(t, home, p, net)
	besideHyperBEAM(t, home, net)

	// log lists every slot once, in order.
	log := logOf(t, home, p)
	for i, l := range log {
		if l.Slot != uint64(i) || (i == 0) != (l.Message == p) {
			t.Fatalf("line %d of the log is slot %d, message %s", i, l.Slot, l.Message)
		}
	}

	// peers and status.
	var peers []struct{ Address, Peer, Name string }
	decode(t, try(t, at("peers", "--json")...), &peers)
	if len(peers) != len(net.Peers) {
		t.Errorf("peers: %+v, want %d", peers, len(net.Peers))
	}
	decode(t, try(t, at("peers", "--role", "cu", "--json")...), &peers)
	if len(peers) != 2 {
		t.Errorf("peers --role cu: %+v", peers)
	}
	o := try(t, at("status")...)
	for _, p := range net.Peers {
		if o.code != 0 || count("\n"+o.stdout, "\n"+p.Name+"  ") != 1 || count(o.stdout, p.ID) != 1 {
			t.Errorf("status does not tell of %s once: exit %d, %s%s", p.Name, o.code, o.stdout, o.stderr)
		}
	}
	var states []struct {
		Slot        uint64
		StateDigest string
	}
	decode(t, try(t, at("status", p, "--json")...), &states)
	if len(states) != 2 || states[0] != states[1] || states[0].Slot != uint64(len(log)-1) {
		t.Errorf("the computers differ, or lag: %+v, the log has %d slots", states, len(log))
	}

	// verify gives the state that the computers have; a slot that is not there yet is refused.
	r := must[report](t, at("verify", p)...)
	if !r.OK || r.Slots != uint64(len(log)) || r.Claimed != r.Slots || len(states) == 0 || r.StateDigest != states[0].StateDigest {
		t.Errorf("verify: %+v, want the state %+v of %d slots", r, states, len(log))
	}
	o = try(t, at("result", p, "9999", "--timeout", "5s", "--json")...)
	if o.code != 1 || count(o.stderr, "\n") != 1 || !strings.Contains(o.stdout, `"refusal":{"hop":"log","code":"not-yet"`) {
		t.Errorf("result of a slot to come: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}

	// The folder and the ports are one devnet's; Ctrl-C ends it and leaves nothing that says that it runs.
	if o := try(t, "devnet", "--home", home, "--port-base", "0"); o.code != 1 || !strings.Contains(o.stderr, "in use") {
		t.Errorf("a second devnet in the folder: exit %d, %s", o.code, o.stderr)
	}
	if code := d.interrupt(t); code != 0 {
		t.Errorf("interrupted, the devnet exits with %d", code)
	}
	if b, err := os.ReadFile(d.log.Name()); err != nil || !strings.HasSuffix(string(b), "stopped; the state is kept in "+home+"\n") {
		t.Errorf("it ended with %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(home, "devnet.json")); !os.IsNotExist(err) {
		t.Errorf("devnet.json is still there: %v", err)
	}
	if o := try(t, at("eval", p, "return X")...); o.code != 1 || count(o.stderr, "\n") != 1 {
		t.Errorf("eval without a devnet: exit %d, %s", o.code, o.stderr)
	}

	// Started again it goes on where it stood.
	devnet(t, home)
	if r := must[reply](t, at("eval", p, "return X")...); r.data(t) != "40" || r.Slot != uint64(len(log)) {
		t.Errorf("after the restart: %+v", r)
	}
}

// TestInterruptedCommand sends Ctrl-C to a client that waits.
func TestInterruptedCommand(t *testing.T) {
	home := filepath.Join(t.TempDir(), "net")
	devnet(t, home)
	p := must[spawned](t, "spawn", "--home", home).Process
	c := start(t, "follow", "log", p, "--follow", "--home", home)
	until(t, "first line of the log", 30*time.Second, func() bool {
		b, err := os.ReadFile(c.log.Name())
		return err == nil && strings.Contains(string(b), "(spawn)")
	})
	if code := c.interrupt(t); code != 0 {
		t.Errorf("log --follow ends with %d", code)
	}
	w := start(t, "wait", "result", p, strings.Repeat("A", 43), "--home", home)
	if code := w.interrupt(t); code != 1 && code != -1 { // -1: the signal came before the program could catch it
		t.Errorf("a waiting command ends with %d", code)
	}
}

// TestPeerByDefaults makes and runs a peer with no more than it needs; others must be able to reach it.
func TestPeerByDefaults(t *testing.T) {
	dir := t.TempDir()
	_, net := devnet(t, filepath.Join(dir, "arweave"), "--only", "gateway")
	home := filepath.Join(dir, "peer")
	if o := try(t, "init", "--home", home, "--role", "su", "--network", net.Network, "--wallet", net.Wallet); o.code != 0 {
		t.Fatalf("init: %s", o.stderr)
	}
	d := start(t, "peer", "run", "--home", home)
	file := filepath.Join(home, "peer.json")
	until(t, file, 30*time.Second, func() bool { _, err := os.Stat(file); return err == nil })
	var p struct{ Addrs []string }
	if readJSON(t, file, &p); len(p.Addrs) == 0 {
		t.Error("it listens nowhere")
	}
	if code := d.interrupt(t); code != 0 {
		t.Errorf("interrupted, it exits with %d", code)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("peer.json is still there: %v", err)
	}
}

// wantKeys runs a command whose JSON must have exactly these keys, in this order.
func wantKeys(t *testing.T, args []string, want ...string) {
	t.Helper()
	o := try(t, args...)
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	if _, err := dec.Token(); err != nil {
		t.Fatalf("%v: %v in %q, %s", args, err, o.stdout, o.stderr)
	}
	var got []string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name.(string))
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v: keys %q, want %q", args, got, want)
	}
}

// decode reads the JSON that a command printed.
func decode(t *testing.T, o outcome, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.stdout), v); err != nil || o.code != 0 {
		t.Fatalf("exit %d, %v in %q, %s", o.code, err, o.stdout, o.stderr)
	}
}
