package su

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/units/unitstest"
)

var baseLayer = ao.AssignOptions{BaseLayer: true}

// transactionOf is the transaction of the tests as a message.
func transactionOf(t testing.TB) ao.Message {
	t.Helper()
	m, err := ao.NewTransaction(unitstest.Transaction(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestTransactionIsSettledByItsAssignment: a transaction is on Arweave already, and is neither handed over nor paid for again.
func TestTransactionIsSettledByItsAssignment(t *testing.T) {
	s, a, tx := memory(t), newFakeArchive(100), unitstest.Transaction(t)
	a.bury(tx, 20)
	u := newUnit(t, s, a, func(c *Config) { c.Funds = funds(100_000) })
	if err := u.askFunds(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := spawn(t, u, "p")
	before := u.purse.spentNow()
	got, err := u.Assign(t.Context(), p, tx.ID, baseLayer)
	if err != nil {
		t.Fatal(err)
	}
	if price := u.purse.spentNow() - before; price != assignmentBytes {
		t.Errorf("the slot costs %d bytes, want %d", price, assignmentBytes)
	}
	es := whole(t, s, p)
	if len(es) != 2 || es[1].Assignment.ID() != got.ID() || !es[1].Message.IsTransaction() || string(es[1].Message.Data()) != string(tx.Data) {
		t.Fatalf("the log has %d slots", len(es))
	}
	_, size := u.backlog.size()
	if want := entryBytes(es[0]) + len(es[1].Assignment.Raw()); size != int64(want) {
		t.Errorf("%d bytes are to be settled, want %d", size, want)
	}

	// After a restart as well.
	again := newUnit(t, s, a)
	if _, now := again.backlog.size(); now != size {
		t.Errorf("after a restart %d bytes are to be settled, want %d", now, size)
	}
	run(t, again)
	a.until(t, "the log is settled", func() bool { return slices.Contains(a.taken, got.ID()) })
	a.change(func() {
		if want := []ans104.ID{p, es[0].Assignment.ID(), got.ID()}; !slices.Equal(a.taken, want) {
			t.Errorf("settled %v, want %v", a.taken, want)
		}
	})
}

// askedArchive answers Tx or Get with an error.
type askedArchive struct {
	*fakeArchive
	err error
}

func (a askedArchive) Tx(context.Context, ans104.ID) (*l1.Tx, error) { return nil, a.err }

func (a askedArchive) Get(context.Context, ans104.ID) (*ans104.Item, error) { return nil, a.err }

func TestWhatIsNotFetchedIsRefused(t *testing.T) {
	tx := unitstest.Transaction(t)
	for _, c := range []struct {
		err  error
		code ao.Code
	}{
		{arweave.ErrNotFound, ao.UnknownMessage},
		{fmt.Errorf("%w: %w", arweave.ErrNotFound, l1.ErrFormat), ao.Unsupported},
		{arweave.ErrTooLarge, ao.TooLarge},
		{arweave.ErrCorrupt, ao.ArchiveDown},
		{arweave.ErrUnavailable, ao.ArchiveDown},
	} {
		a := newFakeArchive(100)
		a.bury(tx, 20)
		u := newUnit(t, memory(t), a)
		u.cfg.Archive = askedArchive{a, c.err}
		p := spawn(t, u, "p")
		for _, how := range []ao.AssignOptions{{}, baseLayer} {
			_, err := u.Assign(t.Context(), p, tx.ID, how)
			unitstest.WantRefusal(t, err, c.code)
		}
	}
}

// TestTransactionComesFromTheArchiveAlone: one that a caller has in hand is not deep enough for that.
func TestTransactionComesFromTheArchiveAlone(t *testing.T) {
	a, m := newFakeArchive(100), transactionOf(t)
	u := newUnit(t, memory(t), a)
	p := spawn(t, u, "p")
	_, err := u.Schedule(t.Context(), p, m)
	unitstest.WantRefusal(t, err, ao.WrongType)
	for _, how := range []ao.AssignOptions{{}, baseLayer} {
		_, err = u.Assign(unitstest.HandedContext(t, m), p, m.ID(), how)
		unitstest.WantRefusal(t, err, ao.UnknownMessage)
	}
	// Nor is another than the one that was asked for.
	tx := unitstest.Transaction(t)
	a.change(func() { a.txs[unitstest.ID("x")], a.depths[unitstest.ID("x")] = tx, 20 })
	_, err = u.Assign(t.Context(), p, unitstest.ID("x"), baseLayer)
	unitstest.WantRefusal(t, err, ao.Corrupt)
	tx.Data = tx.Data[1:]
	a.bury(tx, 20)
	_, err = u.Assign(t.Context(), p, m.ID(), baseLayer)
	unitstest.WantRefusal(t, err, ao.Corrupt)
}

func TestLargeTransactionIsRefused(t *testing.T) {
	a, m := newFakeArchive(100), transactionOf(t)
	a.bury(unitstest.Transaction(t), 20)
	for room, want := range map[int]error{len(m.Raw()): nil, len(m.Raw()) - 1: &ao.Refusal{Code: ao.TooLarge}} {
		u := newUnit(t, memory(t), a, func(c *Config) { c.MaxMessage = room })
		if _, err := u.Assign(t.Context(), spawn(t, u, "p"), m.ID(), baseLayer); !errors.Is(err, want) {
			t.Errorf("with room for %d bytes: %v, want %v", room, err, want)
		}
	}
}
