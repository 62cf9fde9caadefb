package su

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestFailedCommit(t *testing.T) {
	for _, c := range []struct {
		name   string
		commit func(*store.Batch, func() error) error
		other  ao.Slot // what another message gets afterwards
		again  ao.Slot // what the message gets when repeated after that
	}{
		{"and not written", notWritten, 1, 2},
		{"but written", butWritten, 2, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &faultyStore{Store: memory(t)}
			u := newUnit(t, s, newFakeArchive(100))
			p := spawn(t, u, "faulty")
			m := message(t, p, "unlucky")
			s.set(c.commit)
			_, err := u.Schedule(t.Context(), p, m)
			unitstest.WantRefusal(t, err, ao.StoreTrouble)
			s.set(nil)

			if a := schedule(t, u, p, message(t, p, "another")); a.Nonce() != c.other {
				t.Errorf("another message got slot %d, want %d", a.Nonce(), c.other)
			}
			if a := schedule(t, u, p, m); a.Nonce() != c.again || a.Message() != m.ID() {
				t.Errorf("repeated it got slot %d, want %d", a.Nonce(), c.again)
			}
			if n := len(whole(t, s, p)); n != 3 {
				t.Errorf("the log has %d slots, want 3", n)
			}
		})
	}
}

func TestFailedSpawn(t *testing.T) {
	for name, commit := range map[string]func(*store.Batch, func() error) error{"not written": notWritten, "but written": butWritten} {
		t.Run(name, func(t *testing.T) {
			s := &faultyStore{Store: memory(t)}
			u := newUnit(t, s, newFakeArchive(100))
			m := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), "faulty")
			s.set(commit)
			_, err := u.Schedule(t.Context(), m.ID(), m)
			unitstest.WantRefusal(t, err, ao.StoreTrouble)
			s.set(nil)
			if a := schedule(t, u, m.ID(), m); a.Nonce() != 0 {
				t.Errorf("repeated it got slot %d", a.Nonce())
			}
			if n := len(whole(t, s, m.ID())); n != 1 {
				t.Errorf("the log has %d slots, want 1", n)
			}
		})
	}
}

// TestEveryWriteFails runs the same script again and again, and each time another durable write fails, in both ways.
// Whoever is refused repeats, as clients do; in the end every message holds one slot and everything is settled.
func TestEveryWriteFails(t *testing.T) {
	points := 0
	for mode, fault := range map[string]func(*store.Batch, func() error) error{"not written": notWritten, "but written": butWritten} {
		for at, reached := 0, true; reached; at++ {
			reached = runWithFault(t, fmt.Sprintf("%s, write %d", mode, at), at, fault)
			if reached {
				points++
			}
		}
	}
	if points < 2*8 {
		t.Errorf("only %d points", points)
	}
	t.Logf("%d points", points)
}

func runWithFault(t *testing.T, name string, at int, fault func(*store.Batch, func() error) error) (reached bool) {
	t.Helper()
	s, a := &faultyStore{Store: store.NewMemory()}, newFakeArchive(100)
	defer func() { _ = s.Close() }()
	u := newUnit(t, s, a)
	n := 0
	s.set(func(b *store.Batch, commit func() error) error {
		if n++; n-1 == at {
			reached = true
			return fault(b, commit)
		}
		return commit()
	})
	process := unitstest.Spawn(t, unitstest.Signer("owner"), u.Address(), "script")
	p := process.ID()
	script := []ao.Message{process}
	for i := range 6 {
		script = append(script, message(t, p, fmt.Sprint(i)))
	}
	for i, m := range script {
		got, err := u.Schedule(t.Context(), p, m)
		if err != nil {
			got, err = u.Schedule(t.Context(), p, m)
		}
		if err != nil || got.Nonce() != ao.Slot(i) {
			t.Fatalf("%s: message %d got slot %v, %v", name, i, got, err)
		}
		if i%3 == 2 {
			settleOnce(t, u, name, &reached)
		}
	}
	settleOnce(t, u, name, &reached)
	settleOnce(t, u, name, &reached)
	log := whole(t, s, p)
	if len(log) != len(script) {
		t.Fatalf("%s: %d slots, want %d", name, len(log), len(script))
	}
	inOrder(t, a, log)
	if mark, err := u.markOf(p); err != nil || int(mark) != len(script) {
		t.Fatalf("%s: %d slots are settled, %v", name, mark, err)
	}
	if n, bytes := u.backlog.size(); n != 0 || bytes != 0 {
		t.Fatalf("%s: %d entries, %d bytes are left", name, n, bytes)
	}
	return reached
}

func settleOnce(t *testing.T, u *Unit, name string, excused *bool) {
	t.Helper()
	held := make(map[ao.ID]bool)
	err := u.drain(t.Context(), held)
	if len(held) > 0 || err != nil && !*excused {
		t.Fatalf("%s: settle: held %v, %v", name, held, err)
	}
}

// inOrder fails the test unless the archive took every item of the log, first occurrences in the log's order.
func inOrder(t *testing.T, a *fakeArchive, log []ao.Entry) {
	t.Helper()
	a.lock.Lock()
	defer a.lock.Unlock()
	first := make(map[ao.ID]int)
	for i, id := range a.taken {
		if _, ok := first[id]; !ok {
			first[id] = i
		}
	}
	last := -1
	for _, e := range log {
		for _, id := range []ao.ID{e.Message.ID(), e.Assignment.ID()} {
			at, ok := first[id]
			if !ok || at < last {
				t.Fatalf("slot %d: taken %t at %d after %d", e.Assignment.Nonce(), ok, at, last)
			}
			last = at
		}
	}
}

// TestTakenSlotPanics lets somebody write to the log who is no unit, so that no fence holds him.
func TestTakenSlotPanics(t *testing.T) {
	s := memory(t)
	u := newUnit(t, s, newFakeArchive(100))
	p := spawn(t, u, "two writers")
	entry := whole(t, s, p)[0]
	var b store.Batch
	b.Append(logName(p), 1, encodeRecord(entry))
	if err := s.Commit(&b); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a taken slot did not stop the unit")
		}
		if n, err := s.Len(logName(p)); n != 2 || err != nil {
			t.Errorf("the log has %d slots, %v; want 2", n, err)
		}
		if u.lines.busy() != 0 {
			t.Error("the line is not free again")
		}
	}()
	_, _ = u.Schedule(t.Context(), p, message(t, p, "by this one"))
}

func TestDamagedRecordIsNotServed(t *testing.T) {
	disk := memory(t)
	u := newUnit(t, disk, newFakeArchive(100))
	p := spawn(t, u, "damaged")
	m := message(t, p, "sound")
	schedule(t, u, p, m)
	records, err := disk.Range(logName(p), 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	for at := range len(records[0]) {
		s := &faultyStore{Store: disk, damage: func(_ string, records [][]byte) { records[len(records)-1][at] ^= 1 }}
		u := newUnit(t, s, newFakeArchive(100))
		_, err := u.Range(t.Context(), p, 1, 1)
		unitstest.WantRefusal(t, err, ao.StoreTrouble)
	}
	s := &faultyStore{Store: disk, damage: func(_ string, records [][]byte) { records[len(records)-1][5] ^= 1 }}
	u = newUnit(t, s, newFakeArchive(100))
	_, err = u.Schedule(t.Context(), p, message(t, p, "on a damaged log"))
	unitstest.WantRefusal(t, err, ao.StoreTrouble)
	_, err = u.Schedule(t.Context(), p, m)
	unitstest.WantRefusal(t, err, ao.StoreTrouble)
}

func TestBusyAndGone(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	u := newUnit(t, s, newFakeArchive(100), func(c *Config) { c.MaxWaiting, c.MaxSchedules = 2, 3 })
	p, q := spawn(t, u, "crowded"), spawn(t, u, "quiet")
	inside, open := make(chan struct{}), make(chan struct{})
	s.set(func(_ *store.Batch, commit func() error) error {
		inside <- struct{}{}
		<-open
		return commit()
	})
	answers := make(chan error, 2)
	go func() {
		_, err := u.Schedule(context.Background(), p, message(t, p, "first"))
		answers <- err
	}()
	<-inside // the first holds the line

	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := u.Schedule(ctx, p, message(t, p, "second"))
		answers <- err
	}()
	for u.Status().Scheduling < 2 { // the second joins the line at once
		runtime.Gosched()
	}
	_, err := u.Schedule(t.Context(), p, message(t, p, "third"))
	unitstest.WantRefusal(t, err, ao.Busy)
	cancel()
	unitstest.WantRefusal(t, <-answers, ao.Deadline)

	go func() {
		_, err := u.Schedule(context.Background(), q, message(t, q, "elsewhere"))
		answers <- err
	}()
	<-inside // another process does not wait for the first
	close(open)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if st := u.Status(); st.Scheduling != 0 {
		t.Errorf("%d callers are left in lines", st.Scheduling)
	}
	if len(u.lines.byProcess) != 0 {
		t.Error("a line is left behind")
	}
}

func TestFollowersAreBoundedAndForgotten(t *testing.T) {
	u := newUnit(t, memory(t), newFakeArchive(100), func(c *Config) { c.MaxFollowers = 1 })
	p := spawn(t, u, "followed")
	ctx, cancel := context.WithCancel(context.Background())
	seen, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- u.Follow(ctx, p, 0, func(ao.Entry) error { seen <- struct{}{}; return nil })
	}()
	<-seen
	err := u.Follow(t.Context(), p, 0, func(ao.Entry) error { return nil })
	unitstest.WantRefusal(t, err, ao.Busy)
	cancel()
	<-done
	if st := u.Status(); st.Followers != 0 {
		t.Errorf("%d followers are left", st.Followers)
	}
	if len(u.bells.byProcess) != 0 {
		t.Error("a bell is left behind")
	}
}

func TestForeignRecordsAreNotServed(t *testing.T) {
	c, other := unitstest.MakeChain(t, "chain", 4), unitstest.MakeChain(t, "other", 4)
	log := c.Entries()
	swapped := log[1]
	swapped.Message = log[2].Message
	for name, e := range map[string]ao.Entry{
		"another slot's": log[2],
		"another log's":  other.Entries()[1],
		"a mixed one":    swapped,
	} {
		s := memory(t)
		var b store.Batch
		b.Append(logName(c.Process()), 0, encodeRecord(log[0]))
		b.Append(logName(c.Process()), 1, encodeRecord(e))
		if err := s.Commit(&b); err != nil {
			t.Fatal(err)
		}
		u := newUnit(t, s, newFakeArchive(100))
		if page, err := u.Range(t.Context(), c.Process(), 0, 1); err != nil || len(page) != 1 {
			t.Errorf("%s: slot 0 is %d entries, %v", name, len(page), err)
		}
		if _, err := u.Range(t.Context(), c.Process(), 1, 1); err == nil {
			t.Errorf("%s record is served in slot 1", name)
		}
	}
}

func TestBusyInAll(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	u := newUnit(t, s, newFakeArchive(100), func(c *Config) { c.MaxSchedules = 1 })
	p, q := spawn(t, u, "first"), spawn(t, u, "second")
	inside, open, answer := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.set(func(_ *store.Batch, commit func() error) error {
		inside <- struct{}{}
		<-open
		return commit()
	})
	go func() {
		_, err := u.Schedule(context.Background(), p, message(t, p, "inside"))
		answer <- err
	}()
	<-inside
	_, err := u.Schedule(t.Context(), q, message(t, q, "too many"))
	unitstest.WantRefusal(t, err, ao.Busy)
	close(open)
	if err := <-answer; err != nil {
		t.Error(err)
	}
}
