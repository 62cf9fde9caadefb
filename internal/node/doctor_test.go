package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/internal/store"
)

// examined are the findings of a doctor, each as a line.
func examined(t *testing.T, d Doctor) (all []Finding, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all = d.Examine(ctx)
	for _, f := range all {
		text += fmt.Sprintf("%-4s %-8s %s (%s)\n", f.Level, f.Check, f.Found, f.Do)
		if f.Level != LevelOK && f.Do == "" {
			t.Errorf("%s: %s: it does not say what to do", f.Check, f.Found)
		}
	}
	return all, text
}

// clinic is a devnet, and a scheduler of its own home that has joined it.
type clinic struct {
	devnet Home
	peer   Home
	cfg    Config
	port   int
}

func openClinic(t *testing.T) *clinic {
	t.Helper()
	c := &clinic{devnet: Home(t.TempDir() + "/devnet")}
	d, _ := runDevnet(t, c.devnet, DevnetConfig{native: echo{}})
	network, err := c.devnet.Network()
	if err != nil {
		t.Fatal(err)
	}
	c.peer = peerHome(t, network)
	keepWallet(t, c.peer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	c.cfg = loopback("su")
	c.cfg.Listen = []string{fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", c.port)}
	c.cfg.Bootstrap = d.File().Peers[0].Addrs
	if err := c.peer.SaveConfig(c.cfg); err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs the clinic's peer as `aopeer run` does, and waits until the mesh knows it.
func (c *clinic) start(t *testing.T) (stop func() error) {
	t.Helper()
	n, err := New(c.peer, c.cfg, Parts{}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	end := running(t, n)
	if err := n.WritePeer(c.peer); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the peer is ready and knows the mesh", func() bool {
		return n.notReady() == "" && len(n.mesh.Roster.With("")) == 4
	})
	return func() error { return errors.Join(end(), os.Remove(c.peer.Peer())) }
}

func (c *clinic) doctor() Doctor { return Doctor{Home: c.peer, Config: c.cfg} }

// TestDoctorIsContent with a devnet and with a peer that joined it, running or not.
func TestDoctorIsContent(t *testing.T) {
	c := openClinic(t)
	content := func(what string, d Doctor, checks ...string) {
		t.Helper()
		all, text := examined(t, d)
		for _, f := range all {
			if f.Level != LevelOK {
				t.Errorf("%s: %s is %s:\n%s", what, f.Check, f.Level, text)
			}
		}
		for _, check := range checks {
			if !slices.ContainsFunc(all, func(f Finding) bool { return f.Check == check }) {
				t.Errorf("%s: nothing is said of %s:\n%s", what, check, text)
			}
		}
		t.Logf("%s:\n%s", what, text)
	}
	every := []string{"config", "key", "instance", "disk", "gateway", "runway", "port", "mesh", "reach", "push", "clock"}
	content("a devnet", Doctor{Home: c.devnet, Config: DefaultConfig()}, every...)
	content("a peer that does not run", c.doctor(), every...)
	stop := c.start(t)
	for range 2 { // the second time its process is there
		content("a running peer", c.doctor(), every...)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	content("a peer without a role", func() Doctor { d := c.doctor(); d.Config.Roles = nil; return d }(), "wallet")
}

// TestDoctorNamesTheFault: of each fault the check that is about it fails, alone, and says what and what to do.
func TestDoctorNamesTheFault(t *testing.T) {
	c := openClinic(t)
	fault := func(name, check string, d Doctor, words ...string) {
		t.Helper()
		all, text := examined(t, d)
		var failed []string
		said := ""
		for _, f := range all {
			if f.Level == LevelFail && !slices.Contains(failed, f.Check) {
				failed = append(failed, f.Check)
				said += f.Found + " " + f.Do
			}
		}
		if !slices.Equal(failed, []string{check}) {
			t.Errorf("%s: what fails is %v, want %s:\n%s", name, failed, check, text)
		}
		for _, w := range words {
			if !strings.Contains(said, w) {
				t.Errorf("%s: it says %q and not %q", name, said, w)
			}
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	with := func(change func(*Doctor)) Doctor {
		d := c.doctor()
		change(&d)
		return d
	}

	// The peer does not run.
	key, kept := c.peer.key(), c.peer.key()+".kept"
	must(os.Rename(key, kept))
	fault("key missing", "key", c.doctor(), "unit.key is missing", "aopeer init")
	must(os.WriteFile(key, []byte("rubbish"), 0o600))
	fault("key damaged", "key", c.doctor(), "is damaged", "backup")
	must(os.Rename(kept, key))
	must(os.Chmod(key, 0o644))
	fault("key world-readable", "key", c.doctor(), "others on this machine can read", "0644", "chmod 600")
	must(os.Chmod(key, 0o600))

	empty, err := os.ReadFile("../../arweave/ans104/testdata/rsa4096-test-only.jwk.json")
	must(err)
	wallet := c.peer.Wallet()
	must(os.Rename(wallet, wallet+".kept"))
	fault("wallet missing", "wallet", c.doctor(), "wallet.json is missing")
	must(os.WriteFile(wallet, empty, 0o600))
	fault("wallet empty", "runway", c.doctor(), "is empty", "0 winston", "send AR to")
	must(os.Chmod(wallet, 0o644))
	fault("wallet world-readable", "wallet", c.doctor(), "chmod 600")
	must(os.Rename(wallet+".kept", wallet))

	held, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
	must(err)
	fault("port taken", "port", c.doctor(), fmt.Sprint(c.port), "address already in use", "another --listen")
	must(held.Close())
	held, err = net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fault("admin port taken", "port", with(func(d *Doctor) { d.Config.Admin.Listen = held.Addr().String() }), "another --admin")
	must(held.Close())

	st, err := store.Open(c.peer.store(), store.Options{})
	must(err)
	fault("second instance on the folder", "instance", c.doctor(), fmt.Sprintf("process %d has the store", os.Getpid()), "another --home")
	must(st.Close())

	fault("disk full", "disk", with(func(d *Doctor) { d.Free = func(string) (uint64, error) { return 20 << 20, nil } }), "20 MiB are free", "make room")
	fault("gateway down", "gateway", with(func(d *Doctor) { d.Config.Gateways = []string{"http://" + held.Addr().String()} }),
		"no gateway answers", "connection refused")
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		fault("clock off", "clock", with(func(d *Doctor) { d.Clock = func() time.Time { return time.Now().Add(off) } }),
			map[bool]string{true: "ahead of", false: "behind"}[off > 0], "time service")
	}
	fault("no home", "config", Doctor{Home: Home(t.TempDir()), Config: DefaultConfig()}, "joined no network", "aopeer init")
	fault("nobody there", "mesh", with(func(d *Doctor) {
		d.Home, d.Config.Bootstrap = lonely(t, c), []string{strings.Replace(c.cfg.Bootstrap[0], "/ip4/127.0.0.1/", "/ip4/127.255.255.254/", 1)}
	}), "answers", "--bootstrap")

	// The key is in use elsewhere.
	twin := &clinic{devnet: c.devnet, peer: home(t), cfg: c.cfg, port: c.port}
	for _, name := range []string{"unit.key", "network.item", "wallet.json"} {
		raw, err := os.ReadFile(filepath.Join(string(c.peer), name))
		must(err)
		must(os.WriteFile(filepath.Join(string(twin.peer), name), raw, 0o600))
	}
	twin.cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	stop := twin.start(t)
	fault("second instance elsewhere", "instance", c.doctor(), "another peer runs with this home's key", "stop one of the two")
	must(stop())

	// The peer runs, and what was fine is not any more.
	stop = c.start(t)
	fault("clock off while it runs", "clock", with(func(d *Doctor) { d.Clock = func() time.Time { return time.Now().Add(time.Hour) } }), "ahead of")
	fault("disk full while it runs", "disk", with(func(d *Doctor) { d.Free = func(string) (uint64, error) { return 0, nil } }))
	p, err := c.peer.LoadPeer()
	must(err)
	p.Addrs = []string{"/ip4/127.0.0.1/tcp/" + portOf(held.Addr()) + "/p2p/" + p.ID}
	must(writeJSON(c.peer.Peer(), p))
	all, text := examined(t, c.doctor())
	if !slices.ContainsFunc(all, func(f Finding) bool { return f.Check == "port" && f.Level == LevelFail }) {
		t.Errorf("a peer that does not answer on its port:\n%s", text)
	}
	if !slices.ContainsFunc(all, func(f Finding) bool { return f.Check == "reach" && f.Level == LevelWarn }) {
		t.Errorf("a peer that others cannot dial:\n%s", text)
	}
	must(stop())
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

// lonely is a home of the clinic's network whose file names no peers that answer.
func lonely(t *testing.T, c *clinic) Home {
	t.Helper()
	n := signed(t, func(n *Network) {
		old, err := c.peer.Network()
		if err != nil {
			t.Fatal(err)
		}
		n.Gateways = old.Gateways
	})
	h := peerHome(t, n)
	keepWallet(t, h)
	return h
}
