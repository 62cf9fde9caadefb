//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// member is one process of a fleet, which can be started again and again on the same home and ports.
type member struct {
	name, home string
	args       []string
	answers    string // the file that it writes once it answers
	id         peer.ID
	*daemon
}

// fleet is Arweave and every unit, each a process of its own, and a client that knows them all.
type fleet struct {
	t       *testing.T
	dir     string
	net     devnetFile
	members []*member // the first is Arweave
	client  *node.Client
}

// newFleet starts a scheduler, two computers and a messenger around an Arweave; each gets the extra arguments too, for
// which there is a free port.
func newFleet(t *testing.T, extra func(name string, port int) []string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir()}
	base := freePorts(t)
	home := filepath.Join(f.dir, "arweave")
	f.add("arweave", home, filepath.Join(home, "devnet.json"),
		"devnet", "--home", home, "--only", "gateway", "--port-base", strconv.Itoa(base))
	readJSON(t, f.members[0].answers, &f.net)
	user := filepath.Join(f.dir, "user")
	join := []string{"init", "--home", user, "--network", f.net.Network, "--wallet", f.net.Wallet}
	var bootstrap []string
	for i, u := range []struct{ name, role string }{{"su1", "su"}, {"cu1", "cu"}, {"cu2", "cu"}, {"mu1", "mu"}} {
		home, port := filepath.Join(f.dir, u.name), base+10+i
		f.mustTry(append([]string{
			"init", "--home", home, "--name", u.name, "--role", u.role, "--network", f.net.Network, "--wallet", f.net.Wallet,
			"--listen", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", port), "--listen", fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", port),
		}, bootstrap...)...)
		m := f.add(u.name, home, filepath.Join(home, "peer.json"),
			append([]string{"run", "--home", home, "--settle-age", "1s", "--settle-depth", "1"}, extra(u.name, port+5)...)...)
		var p node.PeerFile
		readJSON(t, m.answers, &p)
		var err error
		if m.id, err = peer.Decode(p.ID); err != nil {
			t.Fatal(err)
		}
		bootstrap = append(bootstrap, "--bootstrap", p.Addrs[0])
	}
	f.mustTry(append(join, bootstrap...)...)
	until(t, "mesh of four units", 60*time.Second, func() bool {
		o := try(t, "peers", "--home", user, "--json")
		return o.code == 0 && count(o.stdout, `"address"`) == 4
	})
	var err error
	if f.client, err = node.OpenClient(t.Context(), node.Home(user), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	until(t, "client that knows four units", 60*time.Second, func() bool { return len(f.client.Mesh.Roster.With("")) == 4 })
	return f
}

func (f *fleet) mustTry(args ...string) {
	f.t.Helper()
	if o := try(f.t, args...); o.code != 0 {
		f.t.Fatalf("aopeer %v: exit %d\n%s", args, o.code, o.stderr)
	}
}

func (f *fleet) add(name, home, answers string, args ...string) *member {
	f.t.Helper()
	m := &member{name: name, home: home, answers: answers, args: args}
	f.members = append(f.members, m)
	f.start(m)
	f.await(m)
	return m
}

// start starts a member that is not running. What an earlier life left says nothing of this one.
func (f *fleet) start(m *member) {
	f.t.Helper()
	if err := os.Remove(m.answers); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Fatal(err)
	}
	m.daemon = start(f.t, m.name, m.args...)
}

func (f *fleet) await(m *member) {
	f.t.Helper()
	until(f.t, m.name, 60*time.Second, func() bool {
		select {
		case <-m.done:
			f.t.Fatalf("%s ended: %v", m.name, m.cmd.ProcessState)
		default:
		}
		b, err := os.ReadFile(m.answers)
		return err == nil && json.Valid(b)
	})
}

func (f *fleet) member(name string) *member {
	for _, m := range f.members {
		if m.name == name {
			return m
		}
	}
	f.t.Fatalf("no member %s", name)
	return nil
}

// spawn makes a process that trusts the fleet's messenger, and waits for its slot.
func (f *fleet) spawn(name string) ao.ID {
	f.t.Helper()
	g := f.client.Defaults()
	module, err := ao.ParseID(f.net.Module)
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := ao.SignProcess(f.client.Guest, module, g.Scheduler, ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: g.Authority}}, nil, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, _, err := f.push(m, time.Minute); err != nil {
		f.t.Fatal(err)
	}
	return m.ID()
}

// eval runs Lua in a process and waits for the result.
func (f *fleet) eval(process ao.ID, lua string) {
	f.t.Helper()
	m := f.message(process, "Eval", lua)
	a, _, err := f.push(m, time.Minute)
	if err != nil {
		f.t.Fatal(err)
	}
	until(f.t, "result", time.Minute, func() bool {
		c, err := f.client.Directory.Computer(f.t.Context(), process)
		if err != nil {
			return false
		}
		ans, err := c.Compute(f.t.Context(), process, a.Nonce())
		if err == nil && ans.Result.Error != nil {
			f.t.Fatalf("eval: %s", ans.Result.Error)
		}
		return err == nil
	})
}

func (f *fleet) message(process ao.ID, action, data string) ao.Message {
	f.t.Helper()
	m, err := ao.SignMessage(f.client.Guest, process, ao.Tags{{Name: "Action", Value: action}}, []byte(data), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// push pushes a message until it is acknowledged, and says how often it had to be pushed.
func (f *fleet) push(m ao.Message, patience time.Duration) (a ao.Assignment, tries int, err error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for tries = 1; ; tries++ {
		door, err := f.client.Messenger(ctx)
		if err == nil {
			var short context.CancelFunc
			once := ctx
			once, short = context.WithTimeout(ctx, 10*time.Second)
			a, err = door.Push(once, m)
			short()
		}
		if err == nil {
			return a, tries, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return a, tries, fmt.Errorf("message %s is not acknowledged within %s: %w", m.ID(), patience, err)
		}
	}
}

// each does something with many things, a few at once.
func each[T any](things []T, atOnce int, do func(T)) {
	queue := make(chan T)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for v := range queue {
				do(v)
			}
		})
	}
	for _, v := range things {
		queue <- v
	}
	close(queue)
	all.Wait()
}

// computer is one particular computer.
func (f *fleet) computer(name string) units.Computer {
	return remote.Computer(f.client.P2P, f.client.Network.ID, f.member(name).id)
}

// idle is what a unit says of work that is left, "" if there is none.
func (f *fleet) idle(m *member) string {
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	raw, err := remote.Status(ctx, f.client.P2P, m.id)
	if err != nil {
		return err.Error()
	}
	var s struct {
		Settle struct{ Items, InFlight int }
		SU     struct{ Unsettled int }
		CU     struct{ Unsettled int }
		MU     struct{ Open int }
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		f.t.Fatal(err)
	}
	if s.Settle.Items+s.Settle.InFlight+s.SU.Unsettled+s.CU.Unsettled+s.MU.Open == 0 {
		return ""
	}
	return fmt.Sprintf("%+v", s)
}

// settle waits until nothing is left to push, to compute or to settle.
func (f *fleet) settle(patience time.Duration) {
	f.t.Helper()
	quiet := 0
	until(f.t, "rest", patience, func() bool {
		for _, m := range f.members[1:] {
			if left := f.idle(m); left != "" {
				quiet = 0
				return false
			}
		}
		quiet++ // what one hands to another must not hide between two looks
		return quiet > 20
	})
}
