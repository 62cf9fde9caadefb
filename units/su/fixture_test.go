package su

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

var (
	_ units.Scheduler = (*Unit)(nil)
	_ units.Log       = (*Unit)(nil)
)

// fakeArchive remembers what it was given; the rest of the door is not there.
type fakeArchive struct {
	arweave.Archive

	lock   sync.Mutex
	height uint64
	down   error                            // what Height answers instead
	refuse func(items []*ans104.Item) error // what Put answers instead
	taken  []ans104.ID
	listed []arweave.Found // what Query answers
	items  map[ans104.ID]*ans104.Item
	txs    map[ans104.ID]*l1.Tx
	depths map[ans104.ID]uint64 // of what Confirm knows
	mute   error                // what Query answers instead
	calls  int
	told   chan struct{} // closed and renewed after every call
}

func newFakeArchive(height uint64) *fakeArchive {
	return &fakeArchive{
		height: height, told: make(chan struct{}), txs: make(map[ans104.ID]*l1.Tx), depths: make(map[ans104.ID]uint64),
	}
}

func (a *fakeArchive) change(f func()) {
	a.lock.Lock()
	defer a.lock.Unlock()
	f()
}

func (a *fakeArchive) tell() {
	close(a.told)
	a.told = make(chan struct{})
}

func (a *fakeArchive) Height(context.Context) (uint64, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	defer a.tell()
	return a.height, a.down
}

func (a *fakeArchive) Put(_ context.Context, items ...*ans104.Item) error {
	a.lock.Lock()
	defer a.lock.Unlock()
	defer a.tell()
	a.calls++
	if a.refuse != nil {
		if err := a.refuse(items); err != nil {
			return err
		}
	}
	for _, it := range items {
		a.taken = append(a.taken, it.ID())
	}
	return nil
}

func (a *fakeArchive) Query(context.Context, arweave.Query) (arweave.Page, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	defer a.tell()
	return arweave.Page{Found: a.listed}, a.mute
}

func (a *fakeArchive) Get(_ context.Context, id ans104.ID) (*ans104.Item, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
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

func (a *fakeArchive) Confirm(_ context.Context, id ans104.ID) (arweave.Confirmation, error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	if depth, ok := a.depths[id]; ok {
		return arweave.Confirmation{ID: id, Depth: depth}, nil
	}
	return arweave.Confirmation{}, arweave.ErrNotFound
}

// bury has the archive hold a transaction, confirmed by so many blocks.
func (a *fakeArchive) bury(tx *l1.Tx, depth uint64) {
	a.change(func() { a.txs[tx.ID], a.depths[tx.ID] = tx, depth })
}

// until waits for a condition, asked under the archive's lock after every call.
func (a *fakeArchive) until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx := unitstest.Context(t)
	for {
		a.lock.Lock()
		ok, told := cond(), a.told
		a.lock.Unlock()
		if ok {
			return
		}
		select {
		case <-told:
		case <-ctx.Done():
			t.Fatalf("waiting in vain: %s", what)
		}
	}
}

// faultyStore lets a test come between the unit and its store.
type faultyStore struct {
	store.Store
	lock   sync.Mutex
	commit func(b *store.Batch, commit func() error) error // in the place of Commit
	damage func(log string, records [][]byte)
}

func (s *faultyStore) set(commit func(b *store.Batch, commit func() error) error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.commit = commit
}

func (s *faultyStore) Commit(b *store.Batch) error {
	s.lock.Lock()
	commit := s.commit
	s.lock.Unlock()
	if commit == nil {
		return s.Store.Commit(b)
	}
	return commit(b, func() error { return s.Store.Commit(b) })
}

func (s *faultyStore) Range(log string, from uint64, limit int) ([][]byte, error) {
	records, err := s.Store.Range(log, from, limit)
	if s.damage != nil {
		s.damage(log, records)
	}
	return records, err
}

var errDisk = errors.New("the disk failed")

// notWritten and butWritten are the two ways in which a synced write fails.
func notWritten(*store.Batch, func() error) error { return errDisk }

func butWritten(_ *store.Batch, commit func() error) error {
	return errors.Join(errDisk, commit())
}

var unitKey = unitstest.Signer("unit")

const now = 1_760_000_000_000

// newUnit makes a unit that knows a height and does not run.
func newUnit(t testing.TB, s store.Store, a arweave.Archive, change ...func(*Config)) *Unit {
	t.Helper()
	c := Config{
		Store:       s,
		Signer:      unitKey,
		Archive:     a,
		Now:         func() time.Time { return time.UnixMilli(now) },
		SettleDelay: time.Millisecond,
		SettleRetry: time.Millisecond,
		HeightEvery: time.Millisecond,
	}
	for _, f := range change {
		f(&c)
	}
	u, err := New(c)
	if err != nil {
		t.Fatalf("make the unit: %v", err)
	}
	if _, known, _ := u.height.get(); !known {
		if err := u.askHeight(t.Context()); err != nil && a.(*fakeArchive).down == nil {
			t.Fatal(err)
		}
	}
	if err := u.proveOnce(t.Context()); err == nil {
		u.proven.Store(true)
		u.maybeReady()
	}
	return u
}

func memory(t testing.TB) store.Store {
	s := store.NewMemory()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs the unit until stop is called, or the test ends.
func run(t testing.TB, u *Unit) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- u.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func spawn(t testing.TB, u *Unit, name string, tags ...ao.Tag) ao.ID {
	t.Helper()
	m := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), name, tags...)
	schedule(t, u, m.ID(), m)
	return m.ID()
}

func message(t testing.TB, p ao.ID, data string) ao.Message {
	t.Helper()
	return unitstest.Message(t, unitstest.Signer("user"), p, data)
}

func schedule(t testing.TB, u *Unit, p ao.ID, m ao.Message) ao.Assignment {
	t.Helper()
	a, err := u.Schedule(t.Context(), p, m)
	if err != nil {
		t.Fatalf("schedule: %v", err)
	}
	return a
}

// whole is the log as a fresh reader of the store finds it, checked.
func whole(t testing.TB, s store.Store, p ao.ID) []ao.Entry {
	t.Helper()
	u := newUnit(t, s, newFakeArchive(1))
	entries, err := u.Range(t.Context(), p, 0, maxPage)
	if err != nil {
		t.Fatalf("read the log: %v", err)
	}
	unitstest.CheckLog(t, p, u.Address(), entries)
	return entries
}
