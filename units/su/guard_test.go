package su

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

// ended waits for a unit that must end by itself.
func ended(t *testing.T, u *Unit) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- u.Run(context.Background()) }()
	select {
	case err := <-done:
		return err
	case <-unitstest.Context(t).Done():
		t.Fatal("the unit goes on")
		return nil
	}
}

// TestAnotherUnitFencesThisOneOff: from the start of another unit on, nothing of the former is written.
func TestAnotherUnitFencesThisOneOff(t *testing.T) {
	s := memory(t)
	u := newUnit(t, s, newFakeArchive(100))
	p := spawn(t, u, "fenced")
	other := newUnit(t, s, newFakeArchive(100))
	if err := other.claim(); err != nil {
		t.Fatal(err)
	}
	_, err := u.Schedule(t.Context(), p, message(t, p, "by the former"))
	unitstest.WantRefusal(t, err, ao.StoreTrouble)
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); !errors.Is(err, ErrFenced) {
		t.Errorf("the former still marks what is settled: %v", err)
	}
	if n := len(whole(t, s, p)); n != 1 {
		t.Errorf("the log has %d slots, want 1", n)
	}
	if a := schedule(t, other, p, message(t, p, "by the new one")); a.Nonce() != 1 {
		t.Errorf("the new one got slot %d", a.Nonce())
	}
	if err := ended(t, u); !errors.Is(err, ErrFenced) {
		t.Errorf("the former ended with %v", err)
	}
	if e := other.Status().Epoch; e != 2 {
		t.Errorf("epoch %d, want 2", e)
	}
}

// TestBrokenStoreEndsTheUnit: what is durable can no longer be told, so only a restart helps.
func TestBrokenStoreEndsTheUnit(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	u := newUnit(t, s, newFakeArchive(100))
	p := spawn(t, u, "broken")
	s.set(func(*store.Batch, func() error) error { return store.ErrBroken })
	_, err := u.Schedule(t.Context(), p, message(t, p, "x"))
	unitstest.WantRefusal(t, err, ao.StoreTrouble)
	s.set(nil)
	if err := ended(t, u); !errors.Is(err, store.ErrBroken) {
		t.Errorf("ended with %v", err)
	}
}

// fullDisk is a full disk's answer; the unit stays, and goes on when there is room.
func TestFullDiskIsRefused(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	u := newUnit(t, s, newFakeArchive(100))
	p := spawn(t, u, "full")
	s.set(func(*store.Batch, func() error) error { return store.ErrFull })
	m := message(t, p, "x")
	_, err := u.Schedule(t.Context(), p, m)
	unitstest.WantRefusal(t, err, ao.StoreTrouble)
	if !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("%v does not say why", err)
	}
	s.set(nil)
	if a := schedule(t, u, p, m); a.Nonce() != 1 {
		t.Errorf("then it got slot %d", a.Nonce())
	}
}

// settledBy schedules on a store of its own and returns an archive that has it all.
func settledBy(t *testing.T, s store.Store, p *ao.ID, n int) *fakeArchive {
	t.Helper()
	a := newFakeArchive(100)
	u := newUnit(t, s, a)
	if p.IsZero() {
		*p = spawn(t, u, "guarded")
	}
	for i := range n {
		schedule(t, u, *p, message(t, *p, time.Duration(i).String()))
	}
	a.items = make(map[ans104.ID]*ans104.Item)
	for _, e := range whole(t, s, *p) {
		it := e.Assignment.Item()
		a.items[it.ID()] = it
		a.listed = append([]arweave.Found{{ID: it.ID(), Owner: u.Address(), Tags: it.Tags()}}, a.listed...)
	}
	return a
}

// TestRestoredBackupDoesNotStart: the archive has a slot of ours that the store lacks, or holds otherwise.
func TestRestoredBackupDoesNotStart(t *testing.T) {
	disk := store.NewCrashable()
	t.Cleanup(func() { _ = disk.Close() })
	var p ao.ID
	settledBy(t, disk, &p, 2)
	backup := copyOf(t, disk, p)
	a := settledBy(t, disk, &p, 3)

	u := newUnit(t, backup, a)
	_, err := u.Schedule(t.Context(), p, message(t, p, "a slot again"))
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	if err := ended(t, u); !errors.Is(err, ErrRolledBack) {
		t.Errorf("ended with %v", err)
	}
	select {
	case <-u.Ready():
		t.Error("it says that it is ready")
	default:
	}

	// The store that signed them starts.
	u = newUnit(t, disk, a)
	<-u.Ready()
	schedule(t, u, p, message(t, p, "goes on"))

	// An empty store with the same key does not.
	if err := ended(t, newUnit(t, memory(t), a)); !errors.Is(err, ErrRolledBack) {
		t.Errorf("an empty store: %v", err)
	}
}

// TestTheLogItselfIsLookedAt: a slot that stands in the log counts, also if nothing finds it by its assignment.
func TestTheLogItselfIsLookedAt(t *testing.T) {
	disk := store.NewCrashable()
	t.Cleanup(func() { _ = disk.Close() })
	var p ao.ID
	a := settledBy(t, disk, &p, 2)
	bare := copyOf(t, disk, p)
	var b store.Batch
	for _, e := range whole(t, disk, p) {
		b.Delete(messageKey(p, e.Assignment.ID()))
	}
	b.Put(settledKey(p), encodeSlot(3))
	if err := bare.Commit(&b); err != nil {
		t.Fatal(err)
	}
	u := newUnit(t, bare, a)
	<-u.Ready()
	schedule(t, u, p, message(t, p, "goes on"))
}

// copyOf is a store with the log as it is now.
func copyOf(t *testing.T, s store.Store, p ao.ID) store.Store {
	t.Helper()
	to := memory(t)
	var b store.Batch
	records, err := s.Range(logName(p), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range whole(t, s, p) {
		b.Append(logName(p), uint64(i), records[i])
		b.Put(messageKey(p, e.Assignment.ID()), encodeSlot(ao.Slot(i)))
		b.Put(messageKey(p, e.Message.ID()), encodeSlot(ao.Slot(i)))
	}
	if err := to.Commit(&b); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestLiesOfAnIndexStopNobody: only what our key has really signed counts.
func TestLiesOfAnIndexStopNobody(t *testing.T) {
	var p ao.ID
	a := settledBy(t, memory(t), &p, 1)
	foreign := unitstest.MakeChain(t, "foreign", 2).Entries()[1].Assignment.Item()
	a.items = map[ans104.ID]*ans104.Item{foreign.ID(): foreign} // ours are listed, and not to be had
	a.listed = append(a.listed, arweave.Found{ID: foreign.ID(), Owner: unitstest.ID("x").String(), Tags: foreign.Tags()})
	u := newUnit(t, memory(t), a)
	run(t, u)
	<-u.Ready()
	spawn(t, u, "not stopped")
}

// TestNotReadyBeforeTheArchiveAnswers: with a known height alone nothing is signed.
func TestNotReadyBeforeTheArchiveAnswers(t *testing.T) {
	a := newFakeArchive(100)
	a.mute = arweave.ErrUnavailable
	u := newUnit(t, memory(t), a)
	m := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), "early")
	_, err := u.Schedule(t.Context(), m.ID(), m)
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	run(t, u)
	a.change(func() { a.mute = nil })
	<-u.Ready()
	schedule(t, u, m.ID(), m)
}

// funds is a wallet that can settle so many bytes more, beside what margin and least bundles take.
func funds(bytes int64) func(context.Context) (arweave.Funds, error) {
	return func(context.Context) (arweave.Funds, error) {
		return arweave.Funds{
			Balance: big.NewInt((bytes*125 + 99) / 100), PerByte: big.NewInt(1), Least: new(big.Int), Reserved: new(big.Int),
		}, nil
	}
}

func TestUnfundedIsRefused(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a, func(c *Config) { c.Funds = funds(6000) })
	owner := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), "poor")
	_, err := u.Schedule(t.Context(), owner.ID(), owner)
	unitstest.WantRefusal(t, err, ao.ArchiveDown) // the wallet was not looked into yet
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, u, "poor")
	n := 0
	for ; n < 100; n++ {
		if _, err = u.Schedule(t.Context(), p, message(t, p, strings.Repeat("x", 100+n))); err != nil {
			break
		}
	}
	unitstest.WantRefusal(t, err, ao.Unfunded)
	if n < 2 || n > 6 {
		t.Errorf("%d messages were acknowledged for 6000 bytes", n)
	}
	r := u.Status().Runway
	if r == nil || r.Bytes < 0 || r.Bytes > 1500 || r.Messages > 1 || r.Balance == "" {
		t.Errorf("runway %+v", r)
	}
	// A message that is in the log already is answered, whatever the wallet holds.
	if got, err := u.Schedule(t.Context(), p, message(t, p, strings.Repeat("x", 100))); err != nil || got.Nonce() != 1 {
		t.Errorf("repeated: %v, %v", got.Nonce(), err)
	}

	// A restart forgets nothing of what waits: it is found in the log.
	u = newUnit(t, s, a, func(c *Config) { c.Funds = funds(6000) })
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = u.Schedule(t.Context(), p, message(t, p, strings.Repeat("y", 1500)))
	unitstest.WantRefusal(t, err, ao.Unfunded)

	// What the archive has taken is the bundler's to count, and the wallet was filled.
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	schedule(t, u, p, message(t, p, strings.Repeat("y", 1500)))
}

func TestRunwayInDays(t *testing.T) {
	clock := time.UnixMilli(now)
	u := newUnit(t, memory(t), newFakeArchive(100), func(c *Config) {
		c.Funds, c.Now = funds(1_000_000), func() time.Time { return clock }
	})
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := u.Status().Runway; r.Days != -1 || r.Bytes != 1_000_000 {
		t.Errorf("at first %+v", r)
	}
	p := spawn(t, u, "days")
	for range 9 {
		schedule(t, u, p, message(t, p, clock.String()))
		clock = clock.Add(6 * time.Minute)
	}
	r := u.Status().Runway
	spent := 1_000_000 - r.Bytes
	want := float64(r.Bytes) / float64(spent) * 0.9 / 24 // 54 minutes have passed
	if r.Days < want*0.99 || r.Days > want*1.01 {
		t.Errorf("%v days, want %v", r.Days, want)
	}
}

// TestFreeSettlingIsSilent: where bytes cost nothing there is no runway, and no refusal.
func TestFreeSettlingIsSilent(t *testing.T) {
	u := newUnit(t, memory(t), newFakeArchive(100), func(c *Config) {
		c.Funds = func(context.Context) (arweave.Funds, error) {
			return arweave.Funds{Balance: new(big.Int), PerByte: new(big.Int), Least: new(big.Int), Reserved: new(big.Int)}, nil
		}
	})
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	spawn(t, u, "free")
	if r := u.Status().Runway; r != nil {
		t.Errorf("runway %+v", r)
	}
}
