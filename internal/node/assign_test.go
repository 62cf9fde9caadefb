package node

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// scripted is the modelled machine's module of a conversation: a message's data is the response to it.
type scripted struct{}

func (scripted) Begin(wasmvm.Genesis, []byte) (wasmvm.NativeState, error) { return scripted{}, nil }

func (scripted) Apply(e ao.Entry) (ao.Result, error) {
	if f := e.Assignment.Fields(); f.Excludes("Data") {
		return wasmvm.Response(map[string]any{"Output": "nothing is to be seen of " + e.Message.ID().String()})
	}
	if r, err := ao.ParseResponse(e.Message.Data()); err == nil {
		return r, nil
	}
	return wasmvm.Response(map[string]any{"Output": string(e.Message.Data())})
}

func (scripted) Query(ao.Query, ao.AssignmentFields) (ao.Result, error) { return ao.Result{}, nil }
func (scripted) Encode() []byte                                         { return []byte("scripted") }

// TestMessagesAreAssigned: a message to one process gets slots of others, by an outbox and by a user over the mesh, without
// a part of it; and Arweave alone tells afterwards what became of it.
func TestMessagesAreAssigned(t *testing.T) {
	arch := chain(t)
	machine, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"scripted@1": scripted{}}})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	mod, err := ao.SignModule(arch.Wallet().Signer(), "native", "64-mb", "1000", []byte("scripted@1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item()); err != nil {
		t.Fatal(err)
	}
	network := signed(t, func(n *Network) { n.Bootstrap = nil })
	ctx, client, server := clientAndServer(t, network, Parts{Archive: arch, Machine: machine})

	user, unit := ans104.NewEd25519Signer(client.key), Address(server.key)
	door := remote.Messenger(client.p2p, server.p2p.ID())
	push := func(m ao.Message, err error) ao.Message {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := door.Push(ctx, m); err != nil {
			t.Fatalf("push: %v", err)
		}
		return m
	}
	process := func(name string) ao.ID {
		t.Helper()
		tags := ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: unit}}
		return push(ao.SignProcess(user, mod.ID(), unit, tags, nil, nil)).ID()
	}
	a, b, c := process("a"), process("b"), process("c")
	secret := push(ao.SignMessage(user, a, nil, []byte("secret"), nil))
	outbox, err := json.Marshal(map[string]any{"ok": true, "response": map[string]any{"Assignments": []any{
		map[string]any{"Message": secret.ID().String(), "Processes": []string{b.String()}, "Exclude": []string{"Data", "Anchor"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	asking := push(ao.SignMessage(user, a, nil, outbox, nil))
	if err := door.Hops(ctx, asking.ID(), func(units.Hop) error { return nil }); err != nil {
		t.Fatalf("hops: %v", err)
	}
	as, err := door.Assign(ctx, c, secret.ID(), ao.AssignOptions{Exclude: []string{"Data"}})
	if err != nil || as.Process() != c || as.Nonce() != 1 || as.Message() != secret.ID() {
		t.Fatalf("assign: %v", err)
	}
	if again, err := door.Assign(ctx, c, secret.ID(), ao.AssignOptions{}); err != nil || again.ID() != as.ID() {
		t.Errorf("assigned again: %v", err)
	}

	for _, p := range []ao.ID{b, c} {
		report := verified(t, ctx, arch, machine, network.ID, unit, p, 2)
		ans, err := remote.Computer(client.p2p, network.ID, server.p2p.ID()).Compute(ctx, p, 1)
		if want := `"nothing is to be seen of ` + secret.ID().String() + `"`; err != nil || string(ans.Result.Output) != want {
			t.Errorf("the result is %s, %v; the report %+v", ans.Result.Output, err, report)
		}
		es, err := remote.Log(client.p2p, server.p2p.ID()).Range(ctx, p, 1, 10)
		if err != nil || len(es) != 1 || !slices.Contains(es[0].Assignment.Fields().Exclude, "Data") {
			t.Errorf("the log has %d messages, %v", len(es), err)
		}
	}
}

// TestTransactionsAreAssigned: a transaction of Arweave, deep enough in the chain, gets slots of processes, by a user over the
// mesh and by an outbox; the embedded module sees its tags and data; and Arweave alone tells afterwards what became of it.
func TestTransactionsAreAssigned(t *testing.T) {
	arch := chain(t)
	machine, err := wasmvm.NewHost(wasmvm.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer machine.Close()
	mod, err := ao.SignModule(arch.Wallet().Signer(), wasmvm.FormatDefault, "64-mb", "9000000000000", wasmvm.DefaultModule())
	if err != nil {
		t.Fatal(err)
	}
	if err := arch.Put(t.Context(), mod.Item()); err != nil {
		t.Fatal(err)
	}
	network := signed(t, func(n *Network) { n.Bootstrap = nil })
	ctx, client, server := clientAndServer(t, network, Parts{Archive: arch, Machine: machine})

	user, unit := ans104.NewEd25519Signer(client.key), Address(server.key)
	door, computer := remote.Messenger(client.p2p, server.p2p.ID()), remote.Computer(client.p2p, network.ID, server.p2p.ID())
	push := func(m ao.Message, err error) ao.Assignment {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		a, err := door.Push(ctx, m)
		if err != nil {
			t.Fatalf("push: %v", err)
		}
		return a
	}
	process := func(depth string) ao.ID {
		t.Helper()
		tags := ao.Tags{{Name: "Settlement-Depth", Value: depth}, {Name: "Authority", Value: unit}}
		return push(ao.SignProcess(user, mod.ID(), unit, tags, nil, nil)).Process()
	}
	eval := func(p ao.ID, code string) ao.Message {
		t.Helper()
		m, err := ao.SignMessage(user, p, ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(code), nil)
		push(m, err)
		return m
	}
	output := func(p ao.ID, slot ao.Slot) string {
		t.Helper()
		ans, err := computer.Compute(ctx, p, slot)
		if err != nil || ans.Result.Error != nil {
			t.Fatalf("slot %d of %s: %s, %v", slot, p, ans.Result.Error, err)
		}
		return string(ans.Result.Output)
	}
	tx, err := arch.PostTx(ctx, arweave.TxDraft{Tags: ao.Tags{{Name: "Action", Value: "Note"}, {Name: "Title", Value: "on the weave"}}, Data: []byte("<data>")})
	if err != nil {
		t.Fatal(err)
	}
	const handler = `ao.addAssignable("notes", { Action = "Note" })
		Handlers.add("notes", Handlers.utils.hasMatchingTag("Action", "Note"), function(msg)
			print(msg.Id .. " " .. msg.Tags.Title .. " " .. tostring(msg.Data) .. " " .. msg.Owner .. " " .. msg.From)
		end)`
	a, b, never := process("3"), process("1"), process("1000000")
	eval(a, handler)
	eval(b, handler)

	how := ao.AssignOptions{BaseLayer: true, Exclude: []string{"Anchor"}}
	_, err = door.Assign(ctx, never, tx, how)
	unitstest.WantRefusal(t, err, ao.Unconfirmed)
	as, err := door.Assign(ctx, a, tx, how)
	for tick := time.NewTicker(50 * time.Millisecond); errors.Is(err, &ao.Refusal{Code: ao.Unconfirmed}); as, err = door.Assign(ctx, a, tx, how) {
		<-tick.C
	}
	if err != nil || as.Process() != a || as.Nonce() != 2 || as.Message() != tx || !as.Fields().Excludes("Anchor") {
		t.Fatalf("assign: %v", err)
	}
	if c, err := arch.Confirm(ctx, tx); err != nil || c.Depth < 3 {
		t.Errorf("assigned at a depth of %d, %v", c.Depth, err)
	}
	if again, err := door.Assign(ctx, a, tx, ao.AssignOptions{BaseLayer: true}); err != nil || again.ID() != as.ID() {
		t.Errorf("assigned again: %v", err)
	}
	asking := eval(a, `Assign({ Processes = { "`+b.String()+`" }, Message = "`+tx.String()+`", BaseLayer = true })`)
	if err := door.Hops(ctx, asking.ID(), func(units.Hop) error { return nil }); err != nil {
		t.Fatalf("hops: %v", err)
	}

	owner := arch.Wallet().Address()
	want := tx.String() + " on the weave <data> " + owner + " " + owner
	for p, slots := range map[ao.ID]uint64{a: 4, b: 3} {
		if got := output(p, 2); !strings.Contains(got, want) {
			t.Errorf("slot 2 of %s says %s, want %s", p, got, want)
		}
		es, err := remote.Log(client.p2p, server.p2p.ID()).Range(ctx, p, 2, 1)
		if err != nil || len(es) != 1 || !es[0].Message.IsTransaction() || es[0].Message.ID() != tx {
			t.Errorf("slot 2 of %s: %v, %v", p, es, err)
		}
		verified(t, ctx, arch, machine, network.ID, unit, p, slots)
	}
}

// verified waits until so many slots of a process and their claims are on Arweave, and replays them from there alone.
func verified(
	t *testing.T, ctx context.Context, arch arweave.Archive, machine wasmvm.Machine, network, unit string, process ao.ID, slots uint64,
) cu.Report {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		st := store.NewMemory()
		dir := remote.NewDirectory(network, "", nil, nil, arch, st, slog.New(slog.DiscardHandler))
		report, err := cu.Verify(ctx, cu.VerifyConfig{
			Log: remote.NewArchiveLog(arch, dir), Directory: dir, Archive: arch, Machine: machine, Network: network, Process: process,
			Units: []string{unit},
		})
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		if err == nil && report.Slots == slots && report.Claimed == slots {
			if !report.OK || len(report.Disputed) > 0 {
				t.Errorf("the report on %s is %+v", process, report)
			}
			return report
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s is not settled: %+v, %v", process, report, err)
		}
	}
}

// clientAndServer runs a peer with all units and one that is connected to it, on the same archive and machine.
func clientAndServer(t *testing.T, network Network, parts Parts) (ctx context.Context, client, server *Node) {
	t.Helper()
	server, err := New(peerHome(t, network), loopback("su", "cu", "mu"), parts, quiet())
	if err != nil {
		t.Fatal(err)
	}
	running(t, server)
	cfg := loopback("su")
	cfg.Bootstrap = server.Peer().Addrs
	if client, err = New(peerHome(t, network), cfg, parts, quiet()); err != nil {
		t.Fatal(err)
	}
	running(t, client)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if err := client.p2p.Connect(ctx, server.Peer().Addrs...); err != nil {
		t.Fatal(err)
	}
	return ctx, client, server
}
