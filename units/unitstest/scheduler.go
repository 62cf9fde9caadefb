package unitstest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/units"
)

// SchedulerFixture is a scheduler that is ready to schedule, with the log of what it scheduled.
type SchedulerFixture struct {
	Scheduler units.Scheduler
	Log       units.Log
	Address   string // the scheduler's: what the Scheduler tag of its processes names

	// Bury has Arweave hold the transaction from now on, confirmed by so many blocks.
	Bury func(tx *l1.Tx, depth uint64)
}

// TestScheduler holds a scheduler to its contract. Every call of newFixture may return the same scheduler: no test
// minds what others left behind.
func TestScheduler(t *testing.T, newFixture func(t *testing.T) SchedulerFixture) {
	for _, c := range []struct {
		name string
		test func(*testing.T, SchedulerFixture)
	}{
		{"a process starts its log", testSpawn},
		{"slots follow each other", testOrder},
		{"another's process is refused", testWrongScheduler},
		{"an unknown process is refused", testUnknownProcess},
		{"repeating finds the first slot", testRepeat},
		{"repeating at once finds one slot", testRepeatTogether},
		{"copies of a pushed message take one slot", testPushedCopies},
		{"a stranger's copy does not stand in", testStranger},
		{"a message is assigned to further processes", testAssign},
		{"an existing message is assigned by its name", testAssignByName},
		{"what cannot be assigned is refused", testAssignRefused},
		{"a transaction of Arweave is assigned once it is deep enough", testAssignTransaction},
		{"many callers leave no gap", testManyCallers},
		{"an ended context is refused", testScheduleEnded},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newFixture(t)) })
	}
}

// start spawns a process named after the test.
func (f SchedulerFixture) start(t *testing.T, tags ...ao.Tag) ao.Message {
	t.Helper()
	spawn := Spawn(t, Signer("owner"), f.Address, t.Name(), tags...)
	f.schedule(t, spawn.ID(), spawn)
	return spawn
}

func (f SchedulerFixture) schedule(t *testing.T, process ao.ID, m ao.Message) ao.Assignment {
	t.Helper()
	a, err := f.Scheduler.Schedule(Context(t), process, m)
	if err != nil {
		t.Fatalf("schedule: %v", err)
	}
	if a.Process() != process {
		t.Fatalf("the assignment is for %s, not for %s", a.Process(), process)
	}
	if a.Owner() != f.Address {
		t.Fatalf("the assignment is signed by %s, not by %s", a.Owner(), f.Address)
	}
	return a
}

// whole is the log from slot 0 to its end, checked.
func (f SchedulerFixture) whole(t *testing.T, process ao.ID) []ao.Entry {
	t.Helper()
	entries := readAll(t, f.Log, process)
	CheckLog(t, process, f.Address, entries)
	return entries
}

func testSpawn(t *testing.T, f SchedulerFixture) {
	spawn := Spawn(t, Signer("owner"), f.Address, t.Name())
	a := f.schedule(t, spawn.ID(), spawn)
	if a.Nonce() != 0 || a.Message() != spawn.ID() {
		t.Errorf("slot %d of message %s, want slot 0 of %s", a.Nonce(), a.Message(), spawn.ID())
	}
	if again := f.schedule(t, spawn.ID(), spawn); again.ID() != a.ID() {
		t.Errorf("spawning again gave %s, first %s", again.ID(), a.ID())
	}
	if log := f.whole(t, spawn.ID()); len(log) != 1 {
		t.Errorf("the log has %d slots, want 1", len(log))
	}
}

func testOrder(t *testing.T, f SchedulerFixture) {
	p := f.start(t).ID()
	var want []ao.ID
	for i := range 20 {
		a := f.schedule(t, p, Message(t, Signer("user"), p, fmt.Sprint("message ", i)))
		if a.Nonce() != ao.Slot(i+1) {
			t.Fatalf("message %d got slot %d", i, a.Nonce())
		}
		want = append(want, a.ID())
	}
	log := f.whole(t, p)
	if len(log) != 21 {
		t.Fatalf("the log has %d slots, want 21", len(log))
	}
	for i, id := range want {
		if log[i+1].Assignment.ID() != id {
			t.Errorf("slot %d holds another assignment than was answered", i+1)
		}
	}
}

func testWrongScheduler(t *testing.T, f SchedulerFixture) {
	spawn := Spawn(t, Signer("owner"), Address(Signer("elsewhere")), t.Name())
	_, err := f.Scheduler.Schedule(Context(t), spawn.ID(), spawn)
	WantRefusal(t, err, ao.WrongScheduler)
	_, err = f.Log.Next(Context(t), spawn.ID())
	WantRefusal(t, err, ao.UnknownProcess)
}

func testUnknownProcess(t *testing.T, f SchedulerFixture) {
	p := ID(t.Name())
	_, err := f.Scheduler.Schedule(Context(t), p, Message(t, Signer("user"), p, "to nobody"))
	WantRefusal(t, err, ao.UnknownProcess)

	// A process starts no log but its own.
	_, err = f.Scheduler.Schedule(Context(t), p, Spawn(t, Signer("owner"), f.Address, t.Name()))
	WantRefusal(t, err, ao.UnknownProcess)
}

func testRepeat(t *testing.T, f SchedulerFixture) {
	p := f.start(t).ID()
	first := Message(t, Signer("user"), p, "first")
	a := f.schedule(t, p, first)
	f.schedule(t, p, Message(t, Signer("user"), p, "second"))
	if again := f.schedule(t, p, first); again.ID() != a.ID() {
		t.Errorf("repeated, it got slot %d, first slot %d", again.Nonce(), a.Nonce())
	}
	if log := f.whole(t, p); len(log) != 3 {
		t.Errorf("the log has %d slots, want 3", len(log))
	}
}

func testRepeatTogether(t *testing.T, f SchedulerFixture) {
	p := f.start(t).ID()
	m := Message(t, Signer("user"), p, "the same")
	ids := make([]ao.ID, 8)
	together(t, len(ids), func(ctx context.Context, i int) error {
		a, err := f.Scheduler.Schedule(ctx, p, m)
		if err == nil {
			ids[i] = a.ID()
		}
		return err
	})
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("two assignments for one message: %s and %s", id, ids[0])
		}
	}
	if log := f.whole(t, p); len(log) != 2 {
		t.Errorf("the log has %d slots, want 2", len(log))
	}
}

// trusting starts a process that trusts two messengers.
func (f SchedulerFixture) trusting(t *testing.T) ao.ID {
	t.Helper()
	return f.start(t,
		ao.Tag{Name: "Authority", Value: Address(Signer("messenger"))},
		ao.Tag{Name: "Authority", Value: Address(Signer("second messenger"))}).ID()
}

func testPushedCopies(t *testing.T, f SchedulerFixture) {
	p, from := f.trusting(t), ID("sender")
	a := f.schedule(t, p, Pushed(t, Signer("messenger"), from, p, "pushed"))
	b := f.schedule(t, p, Pushed(t, Signer("second messenger"), from, p, "pushed"))
	if a.ID() != b.ID() {
		t.Errorf("the second messenger's copy took slot %d beside slot %d", b.Nonce(), a.Nonce())
	}
	if c := f.schedule(t, p, Pushed(t, Signer("messenger"), from, p, "pushed too")); c.Nonce() != 2 {
		t.Errorf("another message got slot %d, want 2", c.Nonce())
	}
	if log := f.whole(t, p); len(log) != 3 {
		t.Errorf("the log has %d slots, want 3", len(log))
	}
}

func testStranger(t *testing.T, f SchedulerFixture) {
	p, from := f.trusting(t), ID("sender")
	stranger := f.schedule(t, p, Pushed(t, Signer("stranger"), from, p, "pushed"))
	trusted := Pushed(t, Signer("messenger"), from, p, "pushed")
	a := f.schedule(t, p, trusted)
	if a.ID() == stranger.ID() || a.Message() != trusted.ID() {
		t.Fatalf("the trusted copy was taken for the stranger's")
	}
	if b := f.schedule(t, p, Pushed(t, Signer("second messenger"), from, p, "pushed")); b.ID() != a.ID() {
		t.Errorf("the second trusted copy got slot %d, want %d", b.Nonce(), a.Nonce())
	}
	if b := f.schedule(t, p, Pushed(t, Signer("second stranger"), from, p, "pushed")); b.ID() != stranger.ID() {
		t.Errorf("the second stranger's copy got slot %d, want %d", b.Nonce(), stranger.Nonce())
	}
}

func testAssign(t *testing.T, f SchedulerFixture) {
	p := f.start(t).ID()
	other := Spawn(t, Signer("owner"), f.Address, t.Name()+" other")
	f.schedule(t, other.ID(), other)
	m := Message(t, Signer("user"), p, "to two logs")
	a, b := f.schedule(t, p, m), f.schedule(t, other.ID(), m)
	if a.ID() == b.ID() || a.Nonce() != 1 || b.Nonce() != 1 {
		t.Errorf("slots %d and %d, want slot 1 of each log", a.Nonce(), b.Nonce())
	}
	f.whole(t, p)
	f.whole(t, other.ID())
}

// pair starts two processes, the second of which a message to the first is to be assigned to.
func (f SchedulerFixture) pair(t *testing.T) (home, away ao.ID) {
	t.Helper()
	other := Spawn(t, Signer("owner"), f.Address, t.Name()+" other")
	f.schedule(t, other.ID(), other)
	return f.start(t).ID(), other.ID()
}

func testAssignByName(t *testing.T, f SchedulerFixture) {
	p, other := f.pair(t)
	m := Message(t, Signer("user"), p, "to another log")
	how := ao.AssignOptions{Exclude: []string{"Data", "Anchor", "Whatever"}}
	handed := HandedContext(t, m)
	a, err := f.Scheduler.Assign(handed, other, m.ID(), how)
	if err != nil {
		t.Fatalf("assign: %v", err)
	}
	if got := a.Fields(); got.Process != other || got.Nonce != 1 || got.Message != m.ID() || !slices.Equal(got.Exclude, how.Exclude) {
		t.Errorf("the assignment says %+v", got)
	}
	again, err := f.Scheduler.Assign(Context(t), other, m.ID(), ao.AssignOptions{}) // it holds a slot: nothing is fetched
	if err != nil || again.ID() != a.ID() {
		t.Errorf("assigned again: %v, %v", again.IsZero(), err)
	}
	if b := f.schedule(t, other, m); b.ID() != a.ID() {
		t.Errorf("scheduled it got slot %d, assigned slot %d", b.Nonce(), a.Nonce())
	}
	if log := f.whole(t, other); len(log) != 2 || log[1].Message.ID() != m.ID() {
		t.Errorf("the log has %d slots, want 2", len(log))
	}
	// Where it is at home it has its own slot still, and there nothing is missing.
	home := f.schedule(t, p, m)
	if b, err := f.Scheduler.Assign(handed, p, m.ID(), how); err != nil || b.ID() != home.ID() {
		t.Errorf("assigned where it is at home: %v", err)
	}
}

// HandedContext is a context for one test that hands a message to a scheduler.
func HandedContext(t testing.TB, m ao.Message) context.Context {
	t.Helper()
	return units.HandMessage(Context(t), m)
}

func testAssignRefused(t *testing.T, f SchedulerFixture) {
	p, other := f.pair(t)
	m := Message(t, Signer("user"), p, "not to be assigned")
	handed := HandedContext(t, m)
	for _, c := range []struct {
		what             string
		process, message ao.ID
		exclude          []string
		code             ao.Code
	}{
		{"to no process", ID("nobody"), m.ID(), nil, ao.UnknownProcess},
		{"a message that is nowhere", other, ID("nothing"), nil, ao.UnknownMessage},
		{"without a part of it at home", p, m.ID(), []string{"Data"}, ao.BadTags},
		{"without a nameless part", other, m.ID(), []string{""}, ao.BadTags},
		{"without a part twice", other, m.ID(), []string{"Data", "Data"}, ao.BadTags},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := f.Scheduler.Assign(handed, c.process, c.message, ao.AssignOptions{Exclude: c.exclude})
			WantRefusal(t, err, c.code)
		})
	}
	for _, process := range []ao.ID{p, other} {
		if log := f.whole(t, process); len(log) != 1 {
			t.Errorf("the log has %d slots, want 1", len(log))
		}
	}
}

func testManyCallers(t *testing.T, f SchedulerFixture) {
	const callers, each, processes = 8, 12, 3
	var ps []ao.ID
	for i := range processes {
		spawn := Spawn(t, Signer("owner"), f.Address, fmt.Sprint(t.Name(), i))
		f.schedule(t, spawn.ID(), spawn)
		ps = append(ps, spawn.ID())
	}
	var lock sync.Mutex
	answered := make(map[ao.ID]ao.Assignment)
	together(t, callers, func(ctx context.Context, i int) error {
		for k := range each {
			p := ps[(i+k)%processes]
			m := Message(t, Signer("user"), p, fmt.Sprint(i, "/", k))
			a, err := f.Scheduler.Schedule(ctx, p, m)
			if err != nil {
				return err
			}
			lock.Lock()
			answered[m.ID()] = a
			lock.Unlock()
		}
		return nil
	})
	total := 0
	for _, p := range ps {
		log := f.whole(t, p)
		total += len(log) - 1
		for _, e := range log[1:] {
			if a, ok := answered[e.Message.ID()]; !ok || a.ID() != e.Assignment.ID() {
				t.Errorf("slot %d of %s is not what was answered", e.Assignment.Nonce(), p)
			}
		}
	}
	if total != callers*each || len(answered) != total {
		t.Errorf("%d slots for %d answers, want %d", total, len(answered), callers*each)
	}
}

func testScheduleEnded(t *testing.T, f SchedulerFixture) {
	p := f.start(t).ID()
	m := Message(t, Signer("user"), p, "too late")
	_, err := f.Scheduler.Schedule(cancelled(t), p, m)
	ended(t, err)
	if a := f.schedule(t, p, m); a.Nonce() != 1 {
		t.Errorf("afterwards it got slot %d, want 1", a.Nonce())
	}
}

// together runs n callers at once and fails the test with the first of their errors.
func together(t *testing.T, n int, call func(ctx context.Context, i int) error) {
	t.Helper()
	ctx := Context(t)
	errs := make([]error, n)
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() { errs[i] = call(ctx, i) })
	}
	callers.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatalf("caller %d: %v", i, err)
		}
	}
}
