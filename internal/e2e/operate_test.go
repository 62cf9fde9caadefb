//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// village is an Arweave, a peer without a role that the others meet through, and units of one process each.
type village struct {
	dir     string
	gate    *daemon
	net     devnetFile
	meet    *daemon
	args    map[string][]string // of `run`, by name
	units   map[string]*daemon
	order   []string
	adminOf map[string]string
}

// peerFile is peer.json.
type peerFile struct {
	ID, Address, Admin string
	Addrs              []string
	PID                int
}

func (f *village) home(name string) string { return filepath.Join(f.dir, name) }

// peer waits for peer.json of a process that was just started.
func (f *village) peer(t *testing.T, name string, d *daemon) (p peerFile) {
	t.Helper()
	until(t, name+" ready", 30*time.Second, func() bool {
		select {
		case <-d.done:
			t.Fatalf("%s ended: %v", name, d.cmd.ProcessState)
		default:
		}
		b, err := os.ReadFile(filepath.Join(f.home(name), "peer.json"))
		return err == nil && json.Unmarshal(b, &p) == nil && p.PID == d.cmd.Process.Pid
	})
	return p
}

// launch starts a unit again as it was.
func (f *village) launch(t *testing.T, name string) peerFile {
	t.Helper()
	d := start(t, name, f.args[name]...)
	f.units[name] = d
	p := f.peer(t, name, d)
	f.adminOf[name] = p.Admin
	return p
}

func startVillage(t *testing.T, flags ...string) *village {
	t.Helper()
	f := &village{dir: t.TempDir(), args: map[string][]string{}, units: map[string]*daemon{}, adminOf: map[string]string{}}
	f.gate, f.net = devnet(t, f.home("arweave"), "--only", "gateway")
	init := func(name string, more ...string) {
		t.Helper()
		args := append([]string{"init", "--home", f.home(name), "--name", name, "--network", f.net.Network, "--wallet", f.net.Wallet}, more...)
		if o := try(t, args...); o.code != 0 {
			t.Fatalf("init %s: %s", name, o.stderr)
		}
		f.args[name] = append([]string{
			"run", "--home", f.home(name), "--admin", "127.0.0.1:0",
			"--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1",
		}, flags...)
	}
	init("meet")
	p := f.launch(t, "meet")
	f.meet = f.units["meet"]
	for _, u := range []struct{ name, role string }{{"su1", "su"}, {"cu1", "cu"}, {"cu2", "cu"}, {"mu1", "mu"}} {
		init(u.name, "--role", u.role, "--bootstrap", p.Addrs[0], "--settle-age", "1s", "--settle-depth", "1")
		f.launch(t, u.name)
		f.order = append(f.order, u.name)
	}
	init("user")
	return f
}

// user joins through a unit that runs now.
func (f *village) user(t *testing.T, via string) {
	t.Helper()
	var p peerFile
	readJSON(t, filepath.Join(f.home(via), "peer.json"), &p)
	args := []string{"init", "--home", f.home("user"), "--network", f.net.Network, "--wallet", f.net.Wallet, "--bootstrap", p.Addrs[0]}
	if o := try(t, args...); o.code != 0 {
		t.Fatalf("init user: %s", o.stderr)
	}
}

// get asks an admin address; code 0 is no answer.
func get(url string) (code int, body string) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body) // half an answer will do for a test
	return resp.StatusCode, string(b)
}

// sees says whether a unit is connected to so many peers and knows every unit.
func (f *village) sees(name string, peers int) bool {
	_, text := get("http://" + f.adminOf[name] + "/metrics")
	connected := -1
	known := 0
	for _, l := range strings.Split(text, "\n") {
		at := strings.LastIndexByte(l, ' ')
		if at < 0 {
			continue
		}
		n, err := strconv.Atoi(l[at+1:])
		switch {
		case err != nil:
		case strings.HasPrefix(l, "aopeer_peers{"):
			connected = n
		case strings.HasPrefix(l, "aopeer_units_known{"):
			known += n
		}
	}
	return connected >= peers && known == len(f.order)
}

// TestEachPeerRestartedInTurn kills every unit in turn, with the peer that they met through dead, and wants it back among
// all others from nothing but what it remembers. It listens elsewhere each time, so that nobody can find it by chance.
func TestEachPeerRestartedInTurn(t *testing.T) {
	f := startVillage(t)
	whole := func() bool {
		return !slices.ContainsFunc(f.order, func(name string) bool { return !f.sees(name, len(f.order)-1) })
	}
	until(t, "mesh of all units", 60*time.Second, whole)
	f.user(t, "mu1")
	p := must[spawned](t, "spawn", "--home", f.home("user")).Process
	f.meet.kill()
	for round, name := range f.order {
		f.units[name].kill()
		if err := os.Remove(filepath.Join(f.home(name), "peer.json")); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		f.launch(t, name)
		until(t, "mesh with "+name+" again", 60*time.Second, whole)
		t.Logf("%s is back among all others after %v", name, time.Since(begin).Round(time.Millisecond))
		f.user(t, f.order[(round+1)%len(f.order)])
		want := strconv.Itoa(round + 1)
		if got := must[reply](t, "eval", p, "N = (N or 0) + 1 return N", "--home", f.home("user")).data(t); got != want {
			t.Fatalf("after the restart of %s the process says %s, want %s", name, got, want)
		}
	}
}

// TestDrain stops a scheduler whose gateway is gone: it turns away what is new, waits for what it has acknowledged, and
// ends at once at the second signal, saying what is left; that goes on when both are back.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := startVillage(t, "--drain", "5m")
	f.user(t, "mu1")
	until(t, "mesh", 60*time.Second, func() bool { return f.sees("mu1", 4) })
	p := must[spawned](t, "spawn", "--home", f.home("user")).Process
	base := f.net.Gateway[strings.LastIndexByte(f.net.Gateway, ':')+1:]
	if code := f.gate.interrupt(t); code != 0 {
		t.Fatalf("the gateway ends with %d", code)
	}
	var r reply
	until(t, "slot", 60*time.Second, func() bool {
		o := try(t, "send", p, "x", "--no-wait", "--home", f.home("user"), "--json")
		return o.code == 0 && json.Unmarshal([]byte(o.stdout), &r) == nil
	})
	su := f.units["su1"]
	admin := "http://" + f.adminOf["su1"]
	if code, text := get(admin + "/readyz"); code != http.StatusOK {
		t.Errorf("/readyz answers %d: %s", code, text)
	}
	signal := func() {
		t.Helper()
		if err := su.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	until(t, "draining", 30*time.Second, func() bool {
		code, _ := get(admin + "/readyz")
		return code == http.StatusServiceUnavailable
	})
	if code, _ := get(admin + "/healthz"); code != http.StatusOK {
		t.Errorf("/healthz while draining answers %d", code)
	}
	if o := try(t, "send", p, "y", "--no-wait", "--timeout", "2s", "--home", f.home("user"), "--json"); o.code == 0 {
		t.Errorf("a scheduler that stops gave a slot: %s", o.stdout)
	}
	select {
	case <-su.done:
		t.Fatal("it ended with slots that are not settled")
	default:
	}
	signal()
	select {
	case <-su.done:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on after the second signal")
	}
	log, err := os.ReadFile(su.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stopping: new work is turned away", "how=\"told to hurry\"", "left for the next start: ", "items to bundle", "stopped\n"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("it did not say %q", want)
		}
	}
	if code := su.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ends with %d", code)
	}

	// Both are back: what was left is settled, and now the first signal is enough.
	f.gate = start(t, "gateway", "devnet", "--home", f.home("arweave"), "--only", "gateway", "--port-base", base)
	f.launch(t, "su1")
	until(t, "settlement", 60*time.Second, func() bool {
		o := try(t, "log", p, "--home", f.home("user"), "--json")
		return o.code == 0 && strings.Contains(o.stdout, r.Message)
	})
	if v := must[reply](t, "send", p, "z", "--settled", "--home", f.home("user")); !strings.HasPrefix(v.Finality, "settled") {
		t.Errorf("after all it is %s", v.Finality)
	}
	if code := f.units["su1"].interrupt(t); code != 0 {
		t.Errorf("interrupted, it ends with %d", code)
	}
	if rep := must[report](t, "verify", p, "--home", f.home("user")); !rep.OK || rep.Slots < r.Slot+2 {
		t.Errorf("verify: %+v, acknowledged was slot %d", rep, r.Slot)
	}
}

// diagnosis is what doctor prints.
type diagnosis struct {
	OK       bool
	Findings []struct{ Check, Level, Found, Do string }
}

// examine runs doctor and wants exactly these checks to fail.
func examine(t *testing.T, what string, args []string, fails ...string) diagnosis {
	t.Helper()
	o := try(t, append([]string{"doctor", "--json"}, args...)...)
	var d diagnosis
	if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
		t.Fatalf("%s: doctor: %v in %q, %s", what, err, o.stdout, o.stderr)
	}
	var failed []string
	for _, f := range d.Findings {
		if f.Level == "fail" && !slices.Contains(failed, f.Check) {
			failed = append(failed, f.Check)
		}
	}
	if !slices.Equal(failed, fails) || d.OK != (len(fails) == 0) || o.code != min(len(fails), 1) {
		t.Errorf("%s: exit %d, failed %v, want %v:\n%s", what, o.code, failed, fails, o.stdout)
	}
	return d
}

// TestDoctor is green on a healthy devnet and on a healthy peer, and names what is wrong, each fault made for real. (The
// clock and a full disk are those of internal/node's test.)
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	home, peer := filepath.Join(dir, "net"), filepath.Join(dir, "peer")
	d, known := devnet(t, home)
	for _, f := range examine(t, "a healthy devnet", []string{"--home", home}).Findings {
		if f.Level != "ok" {
			t.Errorf("a healthy devnet: %+v", f)
		}
	}
	port := strconv.Itoa(freePorts(t))
	listen := "/ip4/127.0.0.1/tcp/" + port
	args := []string{"--home", peer, "--name", "peer", "--role", "su", "--network", known.Network, "--wallet", known.Wallet, "--listen", listen}
	if o := try(t, append([]string{"init"}, args...)...); o.code != 0 {
		t.Fatalf("init: %s", o.stderr)
	}
	at := []string{"--home", peer}
	run := start(t, "peer", "run", "--home", peer)
	f := &village{dir: dir}
	f.peer(t, "peer", run)
	until(t, "peer in the mesh", 30*time.Second, func() bool {
		return count(try(t, "peers", "--home", home, "--json").stdout, `"address"`) == 5
	})
	for _, f := range examine(t, "a healthy peer", at).Findings {
		if f.Level != "ok" {
			t.Errorf("a healthy peer: %+v", f)
		}
	}

	// A second instance is refused and named; a copy of the home is found by what it announces.
	if o := try(t, "run", "--home", peer); o.code != 1 || !strings.Contains(o.stderr, "another aopeer runs on "+peer) ||
		!strings.Contains(o.stderr, fmt.Sprintf("process %d", run.cmd.Process.Pid)) {
		t.Errorf("a second instance: exit %d, %s", o.code, o.stderr)
	}
	if code := run.interrupt(t); code != 0 {
		t.Errorf("the peer ends with %d", code)
	}
	copied := filepath.Join(dir, "copy")
	if err := os.CopyFS(copied, os.DirFS(peer)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(copied, "unit.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	twin := start(t, "twin", "run", "--home", copied, "--listen", "/ip4/127.0.0.1/tcp/0")
	f.peer(t, "copy", twin)
	until(t, "twin found", 30*time.Second, func() bool {
		return strings.Contains(try(t, "doctor", "--home", peer, "--no-push").stdout, "another peer runs with this home's key")
	})
	examine(t, "a copy of the home runs", at, "instance")
	twin.interrupt(t)

	// What is wrong with files and ports.
	key := filepath.Join(peer, "unit.key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	examine(t, "key world-readable", at, "key")
	if err := os.Rename(key, key+".kept"); err != nil {
		t.Fatal(err)
	}
	examine(t, "key missing", at, "key")
	if err := os.Rename(key+".kept", key); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	examine(t, "port taken", at, "port")
	l.Close()
	examine(t, "wallet empty", append([]string{"--wallet", unfunded(t)}, at...), "runway")

	// Without its devnet there is neither gateway nor mesh.
	if code := d.interrupt(t); code != 0 {
		t.Errorf("the devnet ends with %d", code)
	}
	examine(t, "gateway down", at, "gateway", "mesh")
}

// unfunded is a wallet that nobody has paid into.
func unfunded(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../../arweave/ans104/testdata/rsa4096-test-only.jwk.json")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "empty.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
