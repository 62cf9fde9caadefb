package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

// What a push of two hops cannot do without, one after the other. The commits are counted in each run; the rest was
// read off a recording of all that happens between the push and its last result.
const (
	// The messenger queues the first message, and for each hop records its slot and then its result with what comes of it;
	// the scheduler writes an assignment, and the computer an answer, for each hop.
	pushWrites = 1 + 2*2 + 2 + 2
	// Two assignments, two claims and the second message.
	pushSigned = 2 + 2 + 1
	// The messenger checks the message, two assignments and two claims; the scheduler two messages, the computer two
	// assignments and their messages, the client the assignment that it gets.
	pushVerified = 1 + 2 + 2 + 2 + 4 + 1
	// Push, and for each hop schedule and compute: the computer gets the entry along with the question.
	pushTrips = 1 + 2*2
)

// looks is what the bench sees of the units at work.
type looks struct {
	commits map[string]*atomic.Int64 // by role
	compute atomic.Int64             // nanoseconds in the machine
}

// countedStore counts what is committed.
type countedStore struct {
	store.Store
	commits *atomic.Int64
}

func (s countedStore) Commit(b *store.Batch) error {
	if b.Len() > 0 {
		s.commits.Add(1)
	}
	return s.Store.Commit(b)
}

// timedMachine measures evaluation: what comes before the answer, and what is left to do after it, beside the write of the answer.
type timedMachine struct {
	*wasmvm.Host
	spent *atomic.Int64
}

// timedState is one of its states. The machine's own are all of these.
type timedState struct {
	kept
	spent *atomic.Int64
}

type kept interface {
	wasmvm.Tracker
	wasmvm.Sized
	wasmvm.Tidier
}

func (m timedMachine) Begin(ctx context.Context, g wasmvm.Genesis, img *wasmvm.Image) (wasmvm.State, error) {
	s, err := m.Host.Begin(ctx, g, img)
	if err != nil {
		return nil, err
	}
	return timedState{s.(kept), m.spent}, nil
}

func (m timedMachine) Apply(ctx context.Context, s wasmvm.State, e ao.Entry) (wasmvm.State, ao.Result, error) {
	defer measured(m.spent)()
	_, r, err := m.Host.Apply(ctx, s.(timedState).kept, e)
	if err != nil {
		return nil, r, err
	}
	return s, r, nil
}

func (s timedState) Tidy() error {
	defer measured(s.spent)()
	return s.kept.Tidy()
}

// measured adds the time until it is called.
func measured(to *atomic.Int64) func() {
	began := time.Now()
	return func() { to.Add(int64(time.Since(began))) }
}

// parts are those of a devnet's unit, looked into. What they need is closed by the returned function.
func (l *looks) parts(t *testing.T) (give func(string, node.Home) (node.Parts, error), done func()) {
	var closes []func() error
	l.commits = map[string]*atomic.Int64{}
	return func(role string, home node.Home) (node.Parts, error) {
			st, err := store.Open(filepath.Join(string(home), "store"), store.Options{})
			if err != nil {
				return node.Parts{}, err
			}
			closes = append(closes, st.Close)
			l.commits[role] = new(atomic.Int64)
			p := node.Parts{Store: countedStore{st, l.commits[role]}}
			if role == remote.RoleComputer {
				host, err := wasmvm.NewHost(wasmvm.Config{CacheDir: filepath.Join(string(home), "cache")})
				if err != nil {
					return node.Parts{}, err
				}
				closes = append(closes, host.Close)
				p.Machine = timedMachine{host, &l.compute}
			}
			return p, nil
		}, func() {
			for _, c := range closes {
				if err := c(); err != nil {
					t.Error(err)
				}
			}
		}
}

// pushed is a devnet in this process with two processes, a message to the first of which is pushed on to the second.
type pushed struct {
	ctx    context.Context
	client *node.Client
	door   units.Messenger
	alice  ao.ID
	next   int
}

func openPushed(t *testing.T, l *looks) *pushed {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	t.Cleanup(cancel)
	home := node.Home(filepath.Join(t.TempDir(), "devnet"))
	parts, closeParts := l.parts(t)
	t.Cleanup(closeParts)
	d, err := node.NewDevnet(home, node.DevnetConfig{Computers: 1, Parts: parts})
	must(err)
	t.Cleanup(func() { _ = d.Close() })
	life, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(life) }()
	t.Cleanup(func() { stop(); <-done })
	select {
	case <-d.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("the devnet ended: %v", err)
	}
	p := &pushed{ctx: ctx}
	p.client, err = node.OpenClient(ctx, home, discard())
	must(err)
	t.Cleanup(p.client.Close)
	p.door, err = p.client.Messenger(ctx)
	must(err)
	bob := p.spawn("bob", `Handlers.add("ping", "Ping", function(msg) Pings = (Pings or 0) + 1 end)`)
	p.alice = p.spawn("alice", fmt.Sprintf(`Handlers.add("start", "Start", function(msg) Send({ Target = "%s", Action = "Ping" }) end)`, bob))
	return p
}

func (p *pushed) spawn(name, lua string) ao.ID {
	g := p.client.Defaults()
	module, err := ao.ParseID(g.Module)
	must(err)
	m, err := ao.SignProcess(p.client.Guest, module, g.Scheduler, ao.Tags{{Name: "Name", Value: name}, {Name: "Authority", Value: g.Authority}}, nil, nil)
	must(err)
	p.push(m)
	e, err := ao.SignMessage(p.client.Guest, m.ID(), ao.Tags{{Name: "Action", Value: "Eval"}}, []byte(lua), nil)
	must(err)
	p.push(e)
	return m.ID()
}

// message is one to alice that she passes on.
func (p *pushed) message() ao.Message {
	p.next++
	m, err := ao.SignMessage(p.client.Guest, p.alice, ao.Tags{{Name: "Action", Value: "Start"}, {Name: "Number", Value: fmt.Sprint(p.next)}}, nil, nil)
	must(err)
	return m
}

// push pushes to the end and says how many results there were.
func (p *pushed) push(m ao.Message) (hops int) {
	_, err := p.door.Push(p.ctx, m)
	must(err)
	must(p.door.Hops(p.ctx, m.ID(), func(h units.Hop) error {
		if h.Word == "compute" {
			hops++
		}
		if h.Word == "drop" {
			return errors.New("dropped: " + h.Note)
		}
		return nil
	}))
	return hops
}

// pushRows pushes messages of two hops. Evaluation is measured and left out: it is what the push is for.
func pushRows(t *testing.T) []Row {
	const rounds, each = 10, 20
	var l looks
	p := openPushed(t, &l)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(err)
	defer f.Close()
	trip, hangUp := roundTrips(itemSize)
	defer hangUp()
	key, record := voiKey(1), make([]byte, itemSize)
	proof := signed{key: key[32:], message: record, signature: signOne(key, record)}

	var ours, primitive, compute []time.Duration
	before := map[string]int64{}
	for round := range rounds + 1 {
		if round == 1 { // the first warms caches up
			ours, primitive, compute = nil, nil, nil
			for role, n := range l.commits {
				before[role] = n.Load()
			}
		}
		for range each {
			m := p.message()
			spent, began := l.compute.Load(), time.Now()
			if hops := p.push(m); hops != 2 {
				panic(fmt.Sprintf("%d hops", hops))
			}
			took, eval := time.Since(began), time.Duration(l.compute.Load()-spent)
			ours, compute = append(ours, took-eval), append(compute, eval)
		}
		for range each {
			began := time.Now()
			for range pushWrites {
				writeSynced(f, record)
			}
			for range pushSigned {
				signOne(key, record)
			}
			for range pushVerified {
				verifyOne(proof)
			}
			for range pushTrips {
				trip(record)
			}
			primitive = append(primitive, time.Since(began))
		}
	}
	var commits int64
	for role, n := range l.commits {
		c := n.Load() - before[role]
		commits += c
		t.Logf("%s: %.2f commits a push", role, float64(c)/rounds/each)
	}
	t.Logf("compute %v of a push", median(compute))
	for name, d := range map[string][]time.Duration{"ours": ours, "primitive": primitive} {
		slices.Sort(d)
		t.Logf("%s: p10 %v, median %v, p90 %v", name, d[len(d)/10], d[len(d)/2], d[len(d)*9/10])
	}
	if commits < pushWrites*rounds*each {
		t.Errorf("%d commits in %d pushes: the primitive makes %d for each", commits, rounds*each, pushWrites)
	}
	ms := func(d []time.Duration) float64 { return float64(median(d)) / 1e6 }
	return []Row{makeRow("push of two hops over loopback, without its evaluations", ms(ours), ms(primitive), "ms", 2)}
}
