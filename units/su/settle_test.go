package su

import (
	"errors"
	"fmt"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestSettleAfterArchiveErrors(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	a.refuse = func([]*ans104.Item) error { return errors.New("gateway is down") }
	u := newUnit(t, s, a)
	run(t, u)
	ps := []ao.ID{spawn(t, u, "one"), spawn(t, u, "two")}
	for i := range 10 {
		schedule(t, u, ps[i%2], message(t, ps[i%2], fmt.Sprint(i)))
	}
	a.until(t, "three attempts", func() bool { return a.calls >= 3 })
	if st := u.Status(); st.Unsettled != 12 {
		t.Errorf("%d unsettled while the archive is down, want 12", st.Unsettled)
	}
	a.change(func() { a.refuse = nil })
	a.until(t, "24 items", func() bool { return len(a.taken) >= 24 })
	for _, p := range ps {
		inOrder(t, a, whole(t, s, p))
	}
}

func TestSettleAfterRestart(t *testing.T) {
	disk := store.NewCrashable()
	u := newUnit(t, disk, newFakeArchive(100)) // does not run: nothing settles
	p := spawn(t, u, "restart")
	for i := range 300 {
		schedule(t, u, p, message(t, p, fmt.Sprint(i)))
	}
	after, err := disk.Crash(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = after.Close() })
	a := newFakeArchive(100)
	u = newUnit(t, after, a)
	stop := run(t, u)
	a.until(t, "all items", func() bool { return len(a.taken) >= 602 })
	inOrder(t, a, whole(t, after, p))
	a.until(t, "an empty queue", func() bool { return u.Status().Unsettled == 0 })
	stop()
	if mark, err := u.markOf(p); err != nil || mark != 301 {
		t.Errorf("%d slots are settled, %v", mark, err)
	}
	if len(a.taken) != 602 {
		t.Errorf("%d items were handed over, want 602", len(a.taken))
	}
}

func TestAnItemTheArchiveWillNotHave(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	bad, good := spawn(t, u, "bad"), spawn(t, u, "good")
	unwanted := message(t, bad, "unwanted")
	a.refuse = func(items []*ans104.Item) error {
		for _, it := range items {
			if it.ID() == unwanted.ID() {
				return fmt.Errorf("put: %w", arweave.ErrTooLarge)
			}
		}
		return nil
	}
	schedule(t, u, bad, unwanted)
	schedule(t, u, bad, message(t, bad, "behind it"))
	schedule(t, u, good, message(t, good, "elsewhere"))
	held := make(map[ao.ID]bool)
	if err := u.drain(t.Context(), held); err != nil || len(held) != 1 || !held[bad] {
		t.Errorf("held %v, %v; want the bad one", held, err)
	}
	if st := u.Status(); st.Unsettled != 2 {
		t.Errorf("%d unsettled, want the unwanted one and the one behind it", st.Unsettled)
	}
	inOrder(t, a, whole(t, s, good))

	a.refuse = nil
	clear(held)
	if err := u.drain(t.Context(), held); err != nil || len(held) != 0 {
		t.Errorf("then held %v, %v", held, err)
	}
	inOrder(t, a, whole(t, s, bad))
}

func TestDamagedRecordHoldsItsProcessBack(t *testing.T) {
	disk := memory(t)
	u := newUnit(t, disk, newFakeArchive(100))
	bad, good := spawn(t, u, "bad"), spawn(t, u, "good")
	schedule(t, u, bad, message(t, bad, "behind it"))
	s := &faultyStore{Store: disk, damage: func(log string, records [][]byte) {
		if log == logName(bad) {
			records[0][40] ^= 1
		}
	}}
	a := newFakeArchive(100)
	u = newUnit(t, s, a)
	held := make(map[ao.ID]bool)
	if err := u.drain(t.Context(), held); err != nil || !held[bad] || len(a.taken) != 2 {
		t.Errorf("held %v, %v, %d items taken; want the bad one and 2", held, err, len(a.taken))
	}
	inOrder(t, a, whole(t, disk, good))
}

func TestLargeEntriesGoInSeveralParcels(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "large")
	for i := range 5 {
		data := make([]byte, 3<<20)
		data[0] = byte(i)
		schedule(t, u, p, message(t, p, string(data)))
	}
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	if a.calls < 3 {
		t.Errorf("%d parcels for 15 MiB", a.calls)
	}
	inOrder(t, a, whole(t, s, p)[:2])
	if u.Status().Unsettled != 0 {
		t.Errorf("%d unsettled", u.Status().Unsettled)
	}
}

func TestHeldProcessIsTriedAgain(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "held")
	times := 0
	a.refuse = func([]*ans104.Item) error {
		if times++; times < 4 {
			return arweave.ErrRejected
		}
		return nil
	}
	run(t, u)
	a.until(t, "both items", func() bool { return len(a.taken) == 2 })
	inOrder(t, a, whole(t, s, p))
}

// TestSettledMarkOutlivesARestart: what was taken is not handed over again, and what was not is.
func TestSettledMarkOutlivesARestart(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "mark")
	schedule(t, u, p, message(t, p, "before"))
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	later := schedule(t, u, p, message(t, p, "after"))
	a, b := newFakeArchive(100), a
	u = newUnit(t, s, a)
	if n, bytes := u.backlog.size(); n != 1 || bytes != int64(entryBytes(whole(t, s, p)[2])) {
		t.Errorf("%d entries of %d bytes are unsettled after the restart, want the last", n, bytes)
	}
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	if len(b.taken) != 4 || len(a.taken) != 2 || a.taken[1] != later.ID() {
		t.Errorf("%d items before the restart and %d after it", len(b.taken), len(a.taken))
	}
}

// TestSlotIsFoundByItsAssignment: before it is settled and after, and after a restart of either.
func TestSlotIsFoundByItsAssignment(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "found")
	var list []ao.Assignment
	for i := range 4 {
		list = append(list, schedule(t, u, p, message(t, p, fmt.Sprint(i))))
	}
	look := func(when string) {
		t.Helper()
		for i, a := range list {
			if slot, err := u.Find(t.Context(), p, a.ID()); err != nil || slot != ao.Slot(i+1) {
				t.Errorf("%s: the assignment of slot %d is at %v, %v", when, i+1, slot, err)
			}
			if slot, err := u.Find(t.Context(), p, a.Message()); err != nil || slot != ao.Slot(i+1) {
				t.Errorf("%s: the message of slot %d is at %v, %v", when, i+1, slot, err)
			}
		}
		_, err := u.Find(t.Context(), p, unitstest.ID("nowhere"))
		unitstest.WantRefusal(t, err, ao.UnknownMessage)
	}
	look("unsettled")
	u = newUnit(t, s, a)
	look("unsettled, after a restart")
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	look("settled")
	list = append(list, schedule(t, u, p, message(t, p, "later")))
	look("settled but for one")
	u = newUnit(t, s, a)
	look("settled but for one, after a restart")
	if n := len(u.backlog.tails[p].assignments); n != 1 {
		t.Errorf("%d assignments are kept for one that is not settled", n)
	}
}

// TestLongTail: of a long unsettled log only the beginning is found through memory, and the rest all the same.
func TestLongTail(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	const most = 3
	u.backlog.most = most
	p := spawn(t, u, "long")
	var list []ao.Assignment
	more := func() {
		for range 2 * most {
			list = append(list, schedule(t, u, p, message(t, p, fmt.Sprint(len(list)))))
		}
	}
	look := func(when string, kept int) {
		t.Helper()
		for i, a := range list {
			if slot, err := u.Find(t.Context(), p, a.ID()); err != nil || slot != ao.Slot(i+1) {
				t.Errorf("%s: the assignment of slot %d is at %v, %v", when, i+1, slot, err)
			}
		}
		have := 0
		if tail := u.backlog.tails[p]; tail != nil {
			have = len(tail.assignments)
		}
		if have != kept {
			t.Errorf("%s: %d assignments are in memory, want %d", when, have, kept)
		}
	}
	more()
	look("unsettled", most)
	if err := u.markSettled(map[ao.ID]ao.Slot{p: 2}, 0); err != nil {
		t.Fatal(err)
	}
	look("settled in part", most-2)
	more()
	look("with more", most-2)
	u.backlog.doubt(p)
	if err := u.resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("after a doubt", most-2)
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	look("settled", 0)
	more()
	look("and more", most)
	u = newUnit(t, s, a)
	look("after a restart", 2*most)
}

// TestSlotsWrittenByOthers: a slot that does not follow the tail's end puts the log in doubt, until all is read from the store.
func TestSlotsWrittenByOthers(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	p := spawn(t, u, "shared")
	var list []ao.Assignment
	for i := range 3 {
		list = append(list, schedule(t, u, p, message(t, p, fmt.Sprint(i))))
	}
	b := newBacklog()
	b.add(place{p, 0}, unsettled{ao.ID{}, 1})
	b.add(place{p, 3}, unsettled{list[2].ID(), 1})
	if end, _ := b.endOf(p); end != 1 || len(b.doubtful()) != 1 || !b.short(p) {
		t.Errorf("the tail ends at %d, %d logs are in doubt", end, len(b.doubtful()))
	}
	u.backlog = b
	if err := u.resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, a := range list {
		if slot, err := u.Find(t.Context(), p, a.ID()); err != nil || slot != ao.Slot(i+1) {
			t.Errorf("the assignment of slot %d is at %v, %v", i+1, slot, err)
		}
	}
}

// TestBacklogIsFair: a process with much to settle lets the others go between.
func TestBacklogIsFair(t *testing.T) {
	a, s := newFakeArchive(100), memory(t)
	u := newUnit(t, s, a)
	long, short := spawn(t, u, "long"), spawn(t, u, "short")
	for i := range 3 * settleTurn {
		schedule(t, u, long, message(t, long, fmt.Sprint(i)))
	}
	last := schedule(t, u, short, message(t, short, "waits"))
	if err := u.drain(t.Context(), make(map[ao.ID]bool)); err != nil {
		t.Fatal(err)
	}
	for i, id := range a.taken {
		if id == last.ID() && i > 2*(settleTurn+2) {
			t.Errorf("the short log's slot was item %d", i)
		}
	}
	inOrder(t, a, whole(t, s, long))
	inOrder(t, a, whole(t, s, short))
}
