package remote

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

// slotsOf reads a whole log and checks that it is one.
func slotsOf(t *testing.T, log units.Log, process ao.ID) int {
	t.Helper()
	var all []ao.Entry
	for {
		es, err := log.Range(t.Context(), process, ao.Slot(len(all)), 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 0 {
			unitstest.CheckLog(t, process, "", all)
			return len(all)
		}
		all = append(all, es...)
	}
}

func TestArchiveIsReadAtOnceAndInOrder(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 100)
	a, log := archived(t, c)
	a.hold = make(chan struct{})
	go func() {
		until(t, "as many as may are asked for at once", func() bool {
			a.lock.Lock()
			defer a.lock.Unlock()
			return a.now == archiveAtOnce
		})
		close(a.hold)
	}()
	if n := slotsOf(t, log, c.Process()); n != 100 {
		t.Errorf("%d slots, want 100", n)
	}
	if a.most > archiveAtOnce {
		t.Errorf("%d Gets at once, at most %d wanted", a.most, archiveAtOnce)
	}
}

// TestArchiveHoldsTransactions: a slot may hold a transaction, which no assignment says, and which is as settled as any item.
func TestArchiveHoldsTransactions(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 3)
	tx := unitstest.Transaction(t)
	m, err := ao.NewTransaction(tx)
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t, m)
	a, log := archived(t, c)
	a.txs[tx.ID] = tx
	if n := slotsOf(t, log, c.Process()); n != 4 {
		t.Errorf("%d slots, want 4", n)
	}
	es, err := log.Range(t.Context(), c.Process(), 3, 1)
	if err != nil || len(es) != 1 || !es[0].Message.IsTransaction() || string(es[0].Message.Data()) != string(tx.Data) {
		t.Errorf("%d entries, %v", len(es), err)
	}
	if slot, err := log.Find(t.Context(), c.Process(), tx.ID); err != nil || slot != 3 {
		t.Errorf("found in slot %d: %v", slot, err)
	}
	for _, bad := range []func(){func() { delete(a.txs, tx.ID) }, func() { a.txs[tx.ID] = tx.Bare() }} {
		a.set(bad)
		_, err = log.Range(t.Context(), c.Process(), 3, 1)
		if code := Refusal(verbLog, err).Code; code != ao.Corrupt && code != ao.Malformed {
			t.Errorf("without it: %v", err)
		}
	}
}

func TestArchiveIndexInAnyOrder(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 30)
	a, log := archived(t, c)
	slices.Reverse(a.index)
	if n := slotsOf(t, log, c.Process()); n != 30 {
		t.Errorf("%d slots, want 30", n)
	}
}

func TestArchiveGap(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 12)
	es := c.Entries()
	a, log := archived(t, c)
	late := a.index[7]
	a.index = slices.Delete(a.index, 7, 8)
	if n := slotsOf(t, log, c.Process()); n != 7 {
		t.Errorf("%d slots before the gap, want 7", n)
	}
	_, err := log.Next(t.Context(), c.Process())
	unitstest.WantRefusal(t, err, ao.BadLog)
	if err == nil || !strings.Contains(err.Error(), "slot 7") {
		t.Errorf("the gap is told as %v", err)
	}
	// An index may come upon it later, in a block that has been listed.
	a.set(func() { a.index = append([]arweave.Found{late}, a.index...) })
	n, err := log.Next(t.Context(), c.Process())
	if err != nil || n != ao.Slot(len(es)) {
		t.Errorf("next is %d, %v", n, err)
	}
	if n := slotsOf(t, log, c.Process()); n != 12 {
		t.Errorf("%d slots, want 12", n)
	}
}

func TestArchiveFork(t *testing.T) {
	scheduler, owner := unitstest.Signer("scheduler"), unitstest.Signer("owner")
	spawn := unitstest.Spawn(t, owner, unitstest.Address(scheduler), "forked")
	honest, fork := unitstest.NewChain(t, scheduler, spawn), unitstest.NewChain(t, scheduler, spawn)
	e0 := honest.Entries()[0]
	one := honest.Add(t, unitstest.Message(t, owner, spawn.ID(), "one"))
	other := fork.Add(t, unitstest.Message(t, owner, spawn.ID(), "the other"))
	p, err := spawn.Process()
	if err != nil {
		t.Fatal(err)
	}
	for name, settle := range map[string]func(a *fakeArchive){
		"in order":          func(a *fakeArchive) { a.settle(one, 5); a.settle(other, 9) },
		"out of order":      func(a *fakeArchive) { a.settle(other, 9); a.settle(one, 5) },
		"in one block":      func(a *fakeArchive) { a.settle(one, 5); a.settle(other, 5) },
		"the other pending": func(a *fakeArchive) { a.settle(other, 0); a.settle(one, 5) },
		"a stranger's listed": func(a *fakeArchive) {
			stray := unitstest.NewChain(t, unitstest.Signer("stranger"), spawn)
			a.settle(stray.Add(t, unitstest.Message(t, owner, spawn.ID(), "stray")), 2)
			a.settle(one, 5)
		},
	} {
		a := newFakeArchive()
		a.settle(e0, 1)
		settle(a)
		log := NewArchiveLog(a, hosted{process: p})
		es, err := log.Range(t.Context(), spawn.ID(), 1, 10)
		if err != nil || len(es) != 1 || es[0].Message.ID() != one.Message.ID() {
			t.Errorf("%s: %d entries, %v; want the one of the lower block", name, len(es), err)
		}
	}
	// Even if the index finds the lower one only when the higher one has been read.
	a := newFakeArchive()
	a.settle(e0, 1)
	a.settle(other, 9)
	log := NewArchiveLog(a, hosted{process: p})
	if n := slotsOf(t, log, spawn.ID()); n != 2 {
		t.Fatalf("%d slots", n)
	}
	s := log.(*archiveLog).of(spawn.ID())
	s.floor = 1 // as if something were missing, so that it lists from further back
	a.settle(one, 5)
	if _, err := log.Next(t.Context(), spawn.ID()); err != nil {
		t.Fatal(err)
	}
	es, err := log.Range(t.Context(), spawn.ID(), 1, 1)
	if err != nil || es[0].Message.ID() != one.Message.ID() {
		t.Errorf("the higher block's assignment stayed: %v", err)
	}
}

func TestArchivePendingIsNotSettled(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 6)
	a, log := archived(t, c)
	a.index[4].Height, a.index[5].Height = 0, 0
	if n, err := log.Next(t.Context(), c.Process()); err != nil || n != 4 {
		t.Errorf("next is %d, %v; want 4", n, err)
	}
	_, err := log.Find(t.Context(), c.Process(), c.Entries()[5].Message.ID())
	unitstest.WantRefusal(t, err, ao.UnknownMessage)
	a.set(func() { a.index[4].Height, a.index[5].Height = 2, 2 })
	if n, err := log.Next(t.Context(), c.Process()); err != nil || n != 6 {
		t.Errorf("next is %d, %v; want 6", n, err)
	}
}

func TestArchiveListedAndNotServed(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 40)
	es := c.Entries()
	for _, slot := range []int{0, 1, 17, 39} {
		for name, missing := range map[string]ao.ID{"assignment": es[slot].Assignment.ID(), "message": es[slot].Message.ID()} {
			a, log := archived(t, c)
			delete(a.items, missing)
			read := 0
			var err error
			for err == nil {
				var page []ao.Entry
				page, err = log.Range(t.Context(), c.Process(), ao.Slot(read), 1000)
				if read += len(page); len(page) == 0 && err == nil {
					break
				}
			}
			unitstest.WantRefusal(t, err, ao.Corrupt)
			if read != slot || err == nil || !strings.Contains(err.Error(), "slot "+ao.Slot(slot).String()+":") {
				t.Errorf("without the %s of slot %d: %d slots, then %v", name, slot, read, err)
			}
		}
	}
}

func TestArchiveServesWrongItems(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 4)
	a, log := archived(t, c)
	a.items[c.Entries()[2].Assignment.ID()] = c.Entries()[2].Message.Item()
	es, err := log.Range(t.Context(), c.Process(), 0, 10)
	if err != nil || len(es) != 2 {
		t.Fatalf("%d entries, %v", len(es), err)
	}
	_, err = log.Range(t.Context(), c.Process(), 2, 10)
	unitstest.WantRefusal(t, err, ao.WrongType)
}

func TestArchiveDownIsPassing(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 4)
	a, log := archived(t, c)
	a.fail = arweave.ErrUnavailable
	_, err := log.Next(t.Context(), c.Process())
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	_, err = log.Range(t.Context(), c.Process(), 0, 10)
	unitstest.WantRefusal(t, err, ao.ArchiveDown)
	a.set(func() { a.fail = nil })
	if n := slotsOf(t, log, c.Process()); n != 4 {
		t.Errorf("%d slots", n)
	}
}

func TestArchivePagesThatDoNotEnd(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 4)
	a, log := archived(t, c)
	a.more = true
	_, err := log.Next(t.Context(), c.Process())
	unitstest.WantRefusal(t, err, ao.Corrupt)
}

func TestArchiveListsOnlyWhatIsNew(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 25)
	a, log := archived(t, c)
	for range 3 {
		if _, err := log.Next(t.Context(), c.Process()); err != nil {
			t.Fatal(err)
		}
	}
	if first, last := a.queries[0].MinHeight, a.queries[2].MinHeight; first != 0 || last != 3 {
		t.Errorf("listed from %d, and again from %d; want 0 and 3", first, last)
	}
	if q := a.queries[0]; len(q.Owners) != 1 || q.Owners[0] != c.Entries()[0].Assignment.Owner() || !q.Ascending {
		t.Errorf("the query is %+v", q)
	}
}

func TestArchiveWaitsWithItsCaller(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 4)
	_, log := archived(t, c)
	l := log.(*archiveLog)
	l.of(c.Process()).turn <- struct{}{} // somebody is listing and does not come to an end
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := log.Next(ctx, c.Process())
	unitstest.WantRefusal(t, err, ao.Deadline)
}

func TestArchiveRemembersBoundedLogs(t *testing.T) {
	l := NewArchiveLog(newFakeArchive(), nil).(*archiveLog)
	for i := range 3 * maxSettled {
		l.of(unitstest.ID(ao.Slot(i).String()))
	}
	if len(l.logs) > maxSettled {
		t.Errorf("%d logs are remembered, at most %d wanted", len(l.logs), maxSettled)
	}
}

func TestArchiveFollowerSeesWhatSettles(t *testing.T) {
	c := unitstest.MakeChain(t, "log", 6)
	a, log := archived(t, c)
	rest := slices.Clone(a.index[3:])
	a.index = a.index[:3]
	enough := errors.New("enough")
	var seen []ao.Slot
	err := log.Follow(t.Context(), c.Process(), 0, func(e ao.Entry) error {
		seen = append(seen, e.Assignment.Nonce())
		switch len(seen) {
		case 3:
			a.set(func() { a.index = append(a.index, rest...) })
		case 6:
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !slices.Equal(seen, []ao.Slot{0, 1, 2, 3, 4, 5}) {
		t.Errorf("seen %v, %v", seen, err)
	}
}
