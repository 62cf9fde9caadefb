package crash

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/mu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/units/su"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

const network = "crash-test"

// blockEvery is short enough for a scenario of minutes.
const blockEvery = 20 * time.Second

// world is what outlives every crash and is the same in every scenario: keys, the module, compiled code.
type world struct {
	wallet  *arweave.Wallet
	machine wasmvm.Machine
	module  ao.Module
	su      ans104.Signer
	cu      ans104.Signer
	mu      ans104.Signer
	user    ans104.Signer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	raw, err := os.ReadFile("../../arweave/testdata/wallet.json")
	if err != nil {
		t.Fatal(err)
	}
	wallet, err := arweave.ParseWallet(raw)
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasmvm.NewHost(wasmvm.Config{Natives: map[string]wasmvm.Native{"script@1": script{}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close() })
	w := &world{
		wallet: wallet, machine: host, su: unitstest.Signer("su"), cu: unitstest.Signer("cu"), mu: unitstest.Signer("mu"),
		user: unitstest.Signer("user"),
	}
	if w.module, err = ao.SignModule(w.user, wasmvm.FormatNative, "1-mb", "1000000", []byte("script@1")); err != nil {
		t.Fatal(err)
	}
	return w
}

// town is the four peers, each on a disk of its own, and whoever watches them.
type town struct {
	*world
	t       *testing.T
	arweave *peer
	su      *peer
	cu      *peer
	mu      *peer
	witness *Witness
	end     context.CancelFunc
}

// peerNames are the peers whose writes are failed.
func peerNames() []string { return []string{"arweave", "su", "cu", "mu"} }

func newTown(t *testing.T, w *world, victim string, f fault) *town {
	x := &town{world: w, t: t, witness: NewWitness()}
	at := func(name string) fault {
		if name == victim {
			return f
		}
		return fault{}
	}
	x.arweave = newPeer(t, "arweave", at("arweave"), x.openArweave)
	x.su = newPeer(t, "su", at("su"), x.openScheduler)
	x.cu = newPeer(t, "cu", at("cu"), x.openComputer)
	x.mu = newPeer(t, "mu", at("mu"), x.openMessenger)
	ctx, end := context.WithCancel(context.Background())
	x.end = end
	for _, p := range x.peers() {
		go p.live(ctx)
	}
	return x
}

func (x *town) peers() []*peer { return []*peer{x.arweave, x.su, x.cu, x.mu} }

// stop ends all peers and waits until they are gone.
func (x *town) stop() {
	x.end()
	for _, p := range x.peers() {
		<-p.killed
	}
}

func (x *town) openArweave(d *disk) (parts, error) {
	chain, err := devnet.New(devnet.Config{Store: d, Wallet: x.wallet, BlockEvery: blockEvery})
	if err != nil {
		return parts{}, err
	}
	if _, err := chain.Get(context.Background(), x.module.ID()); errors.Is(err, arweave.ErrNotFound) {
		err = chain.Put(context.Background(), x.module.Item())
		if err != nil {
			return parts{}, err
		}
	}
	return parts{door: chain, runs: []func(context.Context) error{chain.Run}}, nil
}

// archive is a peer's own way to Arweave.
func (x *town) archive(st store.Store) (arweave.Archive, *arweave.Bundler, error) {
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{"http://arweave"}, HTTP: &http.Client{Transport: wire{x.arweave}}})
	if err != nil || st == nil {
		return arweave.NewArchive(client, nil), nil, err
	}
	b, err := arweave.NewBundler(arweave.BundlerConfig{Store: st, Client: client, Wallet: x.wallet, Depth: 2})
	return arweave.NewArchive(client, b), b, err
}

// wire carries requests to the embedded Arweave, without a socket.
type wire struct{ arweave *peer }

// RoundTrip implements http.RoundTripper.
func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := ask(r.Context(), w.arweave, "settle", func(ctx context.Context, h http.Handler) (*http.Response, error) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r.WithContext(ctx))
		return rec.Result(), ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

type schedulerPeer struct {
	*su.Unit
	bundler *arweave.Bundler
}

func (x *town) openScheduler(d *disk) (parts, error) {
	archive, bundler, err := x.archive(d)
	if err != nil {
		return parts{}, err
	}
	u, err := su.New(su.Config{Store: d, Signer: x.world.su, Archive: archive})
	if err != nil {
		return parts{}, err
	}
	return parts{door: schedulerPeer{u, bundler}, runs: []func(context.Context) error{bundler.Run, u.Run}}, nil
}

type computerPeer struct {
	*cu.Unit
	bundler *arweave.Bundler
}

func (x *town) openComputer(d *disk) (parts, error) {
	archive, bundler, err := x.archive(d)
	if err != nil {
		return parts{}, err
	}
	u, err := cu.New(cu.Config{
		Store: d, Signer: x.world.cu, Network: network, Machine: x.machine, Archive: archive,
		Directory:       x.directory(archive, d, remote.Doors{}),
		CheckpointEvery: 4, PageSize: 3, KeepCheckpoints: 1, BatchAge: 30 * time.Second,
	})
	if err != nil {
		return parts{}, err
	}
	return parts{door: computerPeer{u, bundler}, runs: []func(context.Context) error{bundler.Run, u.Run}}, nil
}

type messengerPeer struct {
	*mu.Unit
	bundler *arweave.Bundler
}

func (x *town) openMessenger(d *disk) (parts, error) {
	archive, bundler, err := x.archive(d)
	if err != nil {
		return parts{}, err
	}
	u, err := mu.New(mu.Config{
		Store: d, Signer: x.world.mu, Network: network, Peer: "mu", Archive: archive,
		Directory: x.directory(archive, d, remote.Doors{Computer: computer{x}}),
	})
	if err != nil {
		return parts{}, err
	}
	return parts{door: messengerPeer{u, bundler}, runs: []func(context.Context) error{bundler.Run, u.Run}}, nil
}

// directory is the peers' own, with doors to the others in place of the mesh.
func (x *town) directory(archive arweave.Archive, st store.Store, own remote.Doors) units.Directory {
	own.Scheduler, own.Log = scheduler{x}, scheduler{x}
	// The directory gives its own doors to whoever has the scheduler's address.
	d := remote.NewDirectory(network, unitstest.Address(x.world.su), nil, nil, archive, st, slog.New(slog.DiscardHandler))
	d.SetDoors(own)
	return d
}

// scheduler is the way to the scheduler, with the witness beside it.
type scheduler struct{ *town }

var (
	_ units.Scheduler = scheduler{}
	_ units.Log       = scheduler{}
)

func (s scheduler) Schedule(ctx context.Context, process ao.ID, m ao.Message) (ao.Assignment, error) {
	return ask(ctx, s.su, "schedule", func(ctx context.Context, u schedulerPeer) (ao.Assignment, error) {
		a, err := u.Schedule(ctx, process, m)
		if err == nil {
			s.witness.Assignment(a)
		}
		return a, err
	})
}

func (s scheduler) Assign(ctx context.Context, process, message ao.ID, how ao.AssignOptions) (ao.Assignment, error) {
	return ask(ctx, s.su, "schedule", func(ctx context.Context, u schedulerPeer) (ao.Assignment, error) {
		a, err := u.Assign(ctx, process, message, how)
		if err == nil {
			s.witness.Assignment(a)
		}
		return a, err
	})
}

func (s scheduler) Next(ctx context.Context, process ao.ID) (ao.Slot, error) {
	return ask(ctx, s.su, "log", func(ctx context.Context, u schedulerPeer) (ao.Slot, error) { return u.Next(ctx, process) })
}

func (s scheduler) Range(ctx context.Context, process ao.ID, from ao.Slot, limit int) ([]ao.Entry, error) {
	return ask(ctx, s.su, "log", func(ctx context.Context, u schedulerPeer) ([]ao.Entry, error) {
		es, err := u.Range(ctx, process, from, limit)
		for _, e := range es {
			s.witness.Assignment(e.Assignment)
		}
		return es, err
	})
}

func (s scheduler) Find(ctx context.Context, process, message ao.ID) (ao.Slot, error) {
	return ask(ctx, s.su, "log", func(ctx context.Context, u schedulerPeer) (ao.Slot, error) {
		return u.Find(ctx, process, message)
	})
}

func (s scheduler) Follow(ctx context.Context, process ao.ID, from ao.Slot, visit func(ao.Entry) error) error {
	_, err := ask(ctx, s.su, "log", func(ctx context.Context, u schedulerPeer) (struct{}, error) {
		return struct{}{}, u.Follow(ctx, process, from, visit)
	})
	return err
}

// computer is the way to the computer, with the witness beside it.
type computer struct{ *town }

func (c computer) Compute(ctx context.Context, process ao.ID, slot ao.Slot) (units.Answer, error) {
	return ask(ctx, c.cu, "compute", func(ctx context.Context, u computerPeer) (units.Answer, error) {
		a, err := u.Compute(ctx, process, slot)
		if err == nil {
			c.witness.Claim(a.Claim.Unit(), a.Claim.Claim())
		}
		return a, err
	})
}

func (c computer) State(ctx context.Context, process ao.ID) (units.StateInfo, error) {
	return ask(ctx, c.cu, "compute", func(ctx context.Context, u computerPeer) (units.StateInfo, error) {
		return u.State(ctx, process)
	})
}

func (c computer) DryRun(ctx context.Context, process ao.ID, q ao.Query) (ao.Result, error) {
	return ask(ctx, c.cu, "compute", func(ctx context.Context, u computerPeer) (ao.Result, error) {
		return u.DryRun(ctx, process, q)
	})
}

func (c computer) Cron(ctx context.Context, process ao.ID, from units.CronCursor, limit int) ([]units.CronResult, error) {
	return ask(ctx, c.cu, "compute", func(ctx context.Context, u computerPeer) ([]units.CronResult, error) {
		return u.Cron(ctx, process, from, limit)
	})
}

// script is the modelled module: a message's data is the response to it, and the state is a hash of what was applied.
type script struct{}

func (script) Begin(_ wasmvm.Genesis, state []byte) (wasmvm.NativeState, error) {
	s := &scriptState{}
	if len(state) == 8+len(s.hash) {
		s.count = binary.BigEndian.Uint64(state)
		copy(s.hash[:], state[8:])
	} else if len(state) > 0 {
		return nil, errors.New("no state of a script")
	}
	return s, nil
}

type scriptState struct {
	count uint64
	hash  [32]byte
}

func (s *scriptState) Apply(e ao.Entry) (ao.Result, error) {
	s.count++
	id := e.Message.ID()
	s.hash = sha256.Sum256(append(s.hash[:], id[:]...))
	if r, err := ao.ParseResponse(e.Message.Data()); err == nil {
		return r, nil
	}
	return wasmvm.Response(map[string]any{"Output": fmt.Sprintf("%d after %s", s.count, e.Message.Data())})
}

func (s *scriptState) Query(ao.Query, ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": s.count})
}

func (s *scriptState) Encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, s.count), s.hash[:]...)
}

// user pushes messages until they are acknowledged, and remembers the answers.
type user struct {
	*town

	lock  sync.Mutex
	acked map[slot]ao.Assignment
}

// slot is what is promised when a message is acknowledged: one, in that log.
type slot struct{ process, message ao.ID }

func (u *user) push(m ao.Message) {
	u.ask(slot{m.Target(), m.ID()}, func(ctx context.Context, mu messengerPeer) (ao.Assignment, error) { return mu.Push(ctx, m) })
}

// assign has a message that exists assigned to one more process.
func (u *user) assign(process, message ao.ID, exclude ...string) {
	u.ask(slot{process, message}, func(ctx context.Context, mu messengerPeer) (ao.Assignment, error) {
		return mu.Assign(ctx, process, message, ao.AssignOptions{Exclude: exclude})
	})
}

// ask asks until there is an assignment, however often a peer goes down meanwhile.
func (u *user) ask(what slot, call func(context.Context, messengerPeer) (ao.Assignment, error)) {
	for range 1000 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		a, err := ask(ctx, u.mu, "push", call)
		cancel()
		if err == nil {
			u.witness.Assignment(a)
			u.lock.Lock()
			u.acked[what] = a
			u.lock.Unlock()
			return
		}
		pause(time.Second)
	}
	u.t.Errorf("message %s is never acknowledged", what.message)
}
