package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

const network = "remote-test"

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("remote/" + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// node is a running p2p node on loopback; stop ends it before the test does.
func node(t testing.TB, name string, change ...func(*p2p.Config)) (n *p2p.Node, stop func()) {
	t.Helper()
	cfg := p2p.Config{
		Key: keyOf(name), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Network: network, Server: true, DisableRefresh: true,
		KeepEvery: 50 * time.Millisecond,
	}
	for _, c := range change {
		c(&cfg)
	}
	n, err := p2p.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("node %s: %v", name, err)
			}
		})
	}
	t.Cleanup(stop)
	if err := n.Await(unitstest.Context(t)); err != nil {
		t.Fatal(err)
	}
	return n, stop
}

// pair is a server and a client that is connected to it.
func pair(t testing.TB, change ...func(*p2p.Config)) (server, client *p2p.Node) {
	t.Helper()
	server, _ = node(t, "server")
	client, _ = node(t, "client", change...)
	connect(t, client, server)
	return server, client
}

func connect(t testing.TB, from, to *p2p.Node) {
	t.Helper()
	if err := from.Connect(unitstest.Context(t), to.Addrs()...); err != nil {
		t.Fatal(err)
	}
}

// hasty makes a node's frames time out soon, so that a stalled peer is noticed within a test.
func hasty(c *p2p.Config) { c.Limits.Timeout = 300 * time.Millisecond }

// raw serves a verb by hand: the header frame is read and thrown away.
func raw(n *p2p.Node, verb string, answer func(s *p2p.Stream) error) {
	n.Handle(verb, Version, func(_ context.Context, _ p2p.Peer, s *p2p.Stream) error {
		if _, err := s.Read(0); err != nil {
			return err
		}
		return answer(s)
	})
}

// frames answers with these and ends.
func frames(fs ...[]byte) func(*p2p.Stream) error {
	return func(s *p2p.Stream) error {
		for _, f := range fs {
			if err := s.Write(f); err != nil {
				return err
			}
		}
		return nil
	}
}

// fakeArchive is an Arweave in a map whose index a test writes.
type fakeArchive struct {
	arweave.Archive

	lock    sync.Mutex
	items   map[ao.ID]*ans104.Item
	txs     map[ao.ID]*l1.Tx
	index   []arweave.Found // in the order of the answer
	fail    error           // what everything answers instead
	gets    int
	most    int // most Gets at once
	now     int
	queries []arweave.Query
	hold    chan struct{} // Gets wait for it
	more    bool          // pages never end
}

func newFakeArchive() *fakeArchive {
	return &fakeArchive{items: map[ao.ID]*ans104.Item{}, txs: map[ao.ID]*l1.Tx{}}
}

func (a *fakeArchive) set(change func()) {
	a.lock.Lock()
	defer a.lock.Unlock()
	change()
}

func (a *fakeArchive) Get(ctx context.Context, id ans104.ID) (*ans104.Item, error) {
	a.lock.Lock()
	a.gets++
	a.now++
	a.most = max(a.most, a.now)
	hold := a.hold
	a.lock.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	a.now--
	if a.fail != nil {
		return nil, a.fail
	}
	if it := a.items[id]; it != nil {
		return it, nil
	}
	return nil, arweave.ErrNotFound
}

func (a *fakeArchive) Tx(_ context.Context, id ans104.ID) (*l1.Tx, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if tx := a.txs[id]; tx != nil {
		return tx, nil
	}
	return nil, arweave.ErrNotFound
}

func (a *fakeArchive) Query(_ context.Context, q arweave.Query) (arweave.Page, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.queries = append(a.queries, q)
	if a.fail != nil {
		return arweave.Page{}, a.fail
	}
	var p arweave.Page
	for _, f := range a.index {
		if f.Height >= q.MinHeight || f.Height == 0 {
			p.Found = append(p.Found, f)
		}
	}
	p.HasNext = a.more
	return p, nil
}

// settle puts an entry on the archive, in the block of that height; 0 is pending.
func (a *fakeArchive) settle(e ao.Entry, height uint64) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.items[e.Assignment.ID()] = e.Assignment.Item()
	if it := e.Message.Item(); it != nil { // a transaction is there already, or not
		a.items[e.Message.ID()] = it
	}
	a.index = append(a.index, arweave.Found{
		ID: e.Assignment.ID(), Owner: e.Assignment.Owner(), Tags: e.Assignment.Item().Tags(), Height: height,
		Cursor: e.Assignment.ID().String(),
	})
}

// hosted is a directory of one process.
type hosted struct {
	units.Directory
	process ao.Process
}

func (h hosted) HostAt(_ context.Context, process ao.ID, _ ao.Slot) (units.SignaturePolicy, error) {
	if process != h.process.ID() {
		return units.SignaturePolicy{}, ao.Refuse("schedule", ao.UnknownProcess, "%s", process)
	}
	return units.SignaturePolicy{Keys: []string{h.process.Scheduler()}, Threshold: 1}, nil
}

// archived is the archive's log of a chain whose slots are settled ten to a block.
func archived(t testing.TB, c *unitstest.Chain) (*fakeArchive, units.Log) {
	t.Helper()
	a := newFakeArchive()
	for i, e := range c.Entries() {
		a.settle(e, uint64(1+i/10))
	}
	p, err := c.Entries()[0].Message.Process()
	if err != nil {
		t.Fatal(err)
	}
	return a, NewArchiveLog(a, hosted{process: p})
}

// memory is a store that is closed with the test.
func memory(t testing.TB) store.Store {
	t.Helper()
	st := store.NewMemory()
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// until asks until a condition holds.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx := unitstest.Context(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting in vain: %s", what)
		}
	}
}

// enumerated fails the test unless err is a refusal of the table.
func enumerated(t testing.TB, err error) {
	t.Helper()
	var r *ao.Refusal
	if !errors.As(err, &r) {
		t.Errorf("error %v (%T), want a refusal", err, err)
		return
	}
	if !isCode(r.Code) || !isWord(r.Hop) {
		t.Errorf("refusal %v is not of the table", r)
	}
}
