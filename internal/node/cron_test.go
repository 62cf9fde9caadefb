package node

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// counter counts its ticks, and sends the number to whom the tick's tag Sink names.
type counter struct{}

type counterState struct{ n uint64 }

func (counter) Begin(_ wasmvm.Genesis, state []byte) (wasmvm.NativeState, error) {
	s := &counterState{}
	if len(state) == 8 {
		s.n = binary.BigEndian.Uint64(state)
	}
	return s, nil
}

func (s *counterState) Apply(ao.Entry) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": s.n})
}

func (s *counterState) Tick(m ao.CronMessage) (ao.Result, error) {
	s.n++
	return wasmvm.Response(map[string]any{"Messages": []any{map[string]any{
		"Target": m.Tags.Get("Sink"), "Data": strconv.FormatUint(s.n, 10), "Anchor": fmt.Sprintf("%032d", s.n),
		"Tags": []map[string]string{{"name": "Action", "value": m.Tags.Get("Action")}},
	}}})
}

func (s *counterState) Query(ao.Query, ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": s.n})
}

func (s *counterState) Encode() []byte { return binary.BigEndian.AppendUint64(nil, s.n) }

// arrived is the numbers that a process was sent, in their order.
func arrived(t *testing.T, n *Node, process ao.ID) (out []int) {
	t.Helper()
	es, err := n.scheduler.Range(t.Context(), process, 1, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		number, err := strconv.Atoi(string(e.Message.Data()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, number)
	}
	slices.Sort(out)
	return out
}

// TestTicksOfAMonitoredProcess: a process that ticks every second counts its ticks and tells another; each number arrives
// once, over a restart too, and the replay from Arweave agrees.
func TestTicksOfAMonitoredProcess(t *testing.T) {
	arch, network := chain(t), signed(t, func(n *Network) { n.Bootstrap = nil })
	machine, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"counter@1": counter{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	mod, err := ao.SignModule(arch.Wallet().Signer(), wasmvm.FormatNative, "64-mb", "1000", []byte("counter@1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item()); err != nil {
		t.Fatal(err)
	}
	h := peerHome(t, network)
	open := func() (*Node, func() error) {
		t.Helper()
		cfg := loopback(remote.RoleScheduler, remote.RoleComputer, remote.RoleMessenger)
		cfg.Push.CronEvery = Duration(50 * time.Millisecond)
		n, err := New(h, cfg, Parts{Archive: arch, Machine: machine}, quiet())
		if err != nil {
			t.Fatal(err)
		}
		return n, running(t, n)
	}
	n, stop := open()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	user := ans104.NewEd25519Signer(n.key)
	spawn := func(name string, tags ...ao.Tag) ao.ID {
		t.Helper()
		p, err := ao.SignProcess(user, mod.ID(), Address(n.key),
			append(ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: Address(n.key)}}, tags...), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.messenger.Push(ctx, p); err != nil {
			t.Fatalf("spawn %s: %v", name, err)
		}
		return p.ID()
	}
	sink := spawn("sink")
	p := spawn("counter", ao.Tag{Name: "Cron-Interval", Value: "1-second"}, ao.Tag{Name: "Cron-Tag-Action", Value: "Tick"},
		ao.Tag{Name: "Cron-Tag-Sink", Value: sink.String()})
	r, err := ao.SignRequest(user, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.messenger.Monitor(ctx, r); err != nil {
		t.Fatalf("monitor: %v", err)
	}
	eventually(t, "ticks arrive", func() bool { return len(arrived(t, n, sink)) >= 3 })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n, stop = open()
	before := len(arrived(t, n, sink))
	eventually(t, "ticks arrive after the restart", func() bool { return len(arrived(t, n, sink)) >= before+2 })

	m, err := ao.SignMessage(user, p, nil, []byte("how many?"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := n.messenger.Push(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	ans, err := n.computer.Compute(ctx, p, a.Nonce())
	if err != nil {
		t.Fatal(err)
	}
	count, err := strconv.Atoi(string(ans.Result.Output))
	if err != nil || count < before+2 {
		t.Errorf("the process has counted %s, %d arrived before the restart", ans.Result.Output, before)
	}
	eventually(t, "what it has counted arrives", func() bool {
		got := arrived(t, n, sink)
		return slices.Contains(got, count+1) && len(got) > got[len(got)-1]-got[0]
	})
	state, err := n.computer.State(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if got := arrived(t, n, sink); len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Fatalf("a number arrived twice: %v", got)
	}
	st := store.NewMemory()
	defer st.Close()
	eventually(t, "the replay from Arweave agrees", func() bool {
		dir := remote.NewDirectory(network.ID, "", nil, nil, arch, st, quiet())
		report, err := cu.Verify(ctx, cu.VerifyConfig{
			Log: remote.NewArchiveLog(arch, dir), Directory: dir, Archive: arch, Machine: machine, Network: network.ID, Process: p,
			Units: []string{Address(n.key)},
		})
		if err != nil || !report.OK || report.Slots < 2 || report.Claimed < 2 {
			return false
		}
		if report.Slots != 2 || report.StateDigest != hex.EncodeToString(state.Root[:]) {
			t.Fatalf("report %+v, the state is %x", report, state.Root)
		}
		return true
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
}
