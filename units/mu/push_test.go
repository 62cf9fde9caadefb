package mu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/unitstest"
)

func TestUnitIsAMessenger(t *testing.T) {
	unitstest.TestMessenger(t, func(t *testing.T) unitstest.MessengerFixture {
		w := newTown(t)
		p := w.spawn(t.Name())
		return unitstest.MessengerFixture{
			Ticking:   w.spawn("ticking", unitstest.TickingTags()...),
			Messenger: w.started(),
			Log:       w.su,
			Process:   p,
			Message:   func(t *testing.T, name string) ao.Message { return w.message(p, name) },
			Elsewhere: func(t *testing.T, name string) ao.Message {
				m := w.message(w.spawn(t.Name()+" elsewhere"), name)
				w.set(func() { w.held[m.ID()] = m.Item() })
				return m
			},
			Stall: func(*testing.T) func() {
				w.set(func() { w.fail = refuseAll("schedule", ao.Unreachable) })
				return func() { w.set(func() { w.fail = nil }) }
			},
		}
	})
}

// refuseAll refuses every call of that name.
func refuseAll(name string, code ao.Code) func(string, int) error {
	return func(call string, _ int) error {
		if call == name {
			return ao.Refuse(name, code, "as the test wants it")
		}
		return nil
	}
}

func TestThreadOfMessages(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	first := w.message(a, send(draft(b, send(draft(a, "pong")))))
	as, hops := push(t, u, first)
	if as.Nonce() != 1 || as.Message() != first.ID() {
		t.Errorf("the first got slot %d", as.Nonce())
	}
	want := []string{"push", "schedule", "compute", "schedule", "compute", "schedule", "compute", "done"}
	if !slices.Equal(words(hops), want) {
		t.Fatalf("the hops are %v, want %v", words(hops), want)
	}
	ping, pong := w.log(w.su, b)[0], w.log(w.su, a)[1]
	for i, m := range []ao.Message{first, first, first, ping, ping, pong, pong, pong} {
		if hops[i].Message != m.ID() || hops[i].Process != m.Target() {
			t.Errorf("hop %d is about %s in %s", i, hops[i].Message, hops[i].Process)
		}
	}
	if hops[3].Parent != first.ID().String() || hops[5].Parent != ping.ID().String() || hops[0].Parent != "" {
		t.Errorf("the parents are %q, %q, %q", hops[0].Parent, hops[3].Parent, hops[5].Parent)
	}
	if hops[1].Peer != "peer of the scheduler" || hops[2].Peer != "peer of the computer" || hops[2].Outbox != 1 || hops[6].Outbox != 0 {
		t.Errorf("hops %+v", hops)
	}
	for name, v := range map[string]string{
		"From-Process": a.String(), "From-Module": unitstest.ID("module").String(), "Pushed-For": first.ID().String(),
		"From-Slot": "1", "From-Index": "0", "From-Result": hops[2].Digest, "Action": "Test",
	} {
		if got := ping.Tags().Get(name); got != v {
			t.Errorf("tag %s is %q, want %q", name, got, v)
		}
	}
	if pong.Owner() != u.Address() || pong.Tags().Get("Pushed-For") != first.ID().String() {
		t.Errorf("the second hop is signed by %s for %s", pong.Owner(), pong.Tags().Get("Pushed-For"))
	}
	idle(t, u)
}

func TestSpawnsAreStartedAndNoticed(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	spawn := map[string]any{"Data": "code", "Tags": []map[string]string{
		{"name": "Module", "value": unitstest.ID("module").String()}, {"name": "Ref_", "value": "7"},
	}}
	elsewhere := map[string]any{"Data": "code", "Tags": []map[string]string{
		{"name": "Module", "value": unitstest.ID("module").String()}, {"name": "Scheduler", "value": w.other.Address()},
	}}
	_, hops := push(t, u, w.message(a, outboxOf(map[string]any{"Spawns": []any{spawn, elsewhere}})))
	notices := w.log(w.su, a)[1:]
	if len(notices) != 2 {
		t.Fatalf("%d notices; the hops are %+v", len(notices), hops)
	}
	for _, n := range notices {
		id, err := ao.ParseID(n.Tags().Get("Process"))
		if err != nil || n.Tags().Get("Action") != "Spawned" {
			t.Fatalf("the notice has the tags %v", n.Tags())
		}
		p, err := w.Process(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		want := w.su.Address()
		if n.Tags().Get("Ref_") == "" {
			want = w.other.Address()
		}
		if p.Scheduler() != want {
			t.Errorf("the new process is scheduled by %s, want %s", p.Scheduler(), want)
		}
		if from, _ := p.Message().Pushed(); from != a.String() {
			t.Errorf("the new process comes from %q", from)
		}
	}
	idle(t, u)
}

func TestAssignmentsOfMessages(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	inLog := w.message(a, "in the log")
	push(t, u, inLog)
	settled := w.message(b, "on arweave only")
	w.held[settled.ID()] = settled.Item()
	c := w.spawn("c")
	_, hops := push(t, u, w.message(a, outboxOf(map[string]any{"Assignments": []any{
		map[string]any{"Message": inLog.ID().String(), "Processes": []string{b.String(), c.String(), b.String()}},
		map[string]any{"Message": settled.ID().String(), "Processes": []string{c.String(), "nonsense"}},
		map[string]any{"Message": "nonsense", "Processes": []string{c.String()}},
		map[string]any{"Message": unitstest.ID("nothing").String(), "Processes": []string{c.String()}},
	}})))
	if log := w.log(w.su, b); len(log) != 1 || log[0].ID() != inLog.ID() {
		t.Errorf("b has %d messages", len(log))
	}
	if log := w.log(w.su, c); len(log) != 2 {
		t.Errorf("c has %d messages", len(log))
	}
	drops := 0
	for _, h := range hops {
		if h.Word == "drop" {
			drops++
		}
	}
	if drops != 3 { // two kinds of nonsense, and a message that is nowhere
		t.Errorf("%d drops among %+v", drops, hops)
	}
	idle(t, u)
}

func TestAssignedMessageIsTheOneNamed(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	as, _ := push(t, u, w.message(a, "in the log"))
	// A log finds a message by its assignment's ID too, but that is not the message that was named.
	push(t, u, w.message(a, outboxOf(map[string]any{"Assignments": []any{
		map[string]any{"Message": as.ID().String(), "Processes": []string{b.String()}},
	}})))
	if log := w.log(w.su, b); len(log) != 0 {
		t.Errorf("b was assigned %s", log[0].ID())
	}
}

func TestCastIsScheduledAndNoMore(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	m := w.message(a, send(draft(a, "never")), ao.Tag{Name: "Push-Mode", Value: "cast"})
	as, hops := push(t, u, m)
	if want := []string{"push", "schedule", "done"}; !slices.Equal(words(hops), want) {
		t.Errorf("the hops are %v, want %v", words(hops), want)
	}
	if w.count("compute") != 0 || len(w.log(w.su, a)) != 1 {
		t.Errorf("%d computations, %d slots", w.count("compute"), len(w.log(w.su, a)))
	}
	again, err := u.Push(t.Context(), m)
	if err != nil || again.ID() != as.ID() {
		t.Errorf("pushed again: slot %v, %v", again, err)
	}
	// The token's Cast is another matter.
	_, hops = push(t, u, w.message(a, "x", ao.Tag{Name: "Cast", Value: "true"}))
	noted(t, hops, "compute")
	idle(t, u)
}

func TestBadDraftsEndAlone(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	wide := make([]map[string]string, 200)
	for i := range wide {
		wide[i] = map[string]string{"name": fmt.Sprint("n", i), "value": "v"}
	}
	_, hops := push(t, u, w.message(a, outboxOf(map[string]any{
		"Messages": []any{
			map[string]any{"Target": "nobody\x1b[31m", "Data": "x"},
			"no object",
			map[string]any{"Target": a.String(), "Data": "x", "Tags": wide},
			draft(a, "good"),
		},
		"Spawns": []any{map[string]any{"Data": "no module"}},
	})))
	if log := w.log(w.su, a); len(log) != 2 || string(log[1].Data()) != "good" {
		t.Errorf("the log has %d messages", len(log))
	}
	drops := slices.DeleteFunc(slices.Clone(hops), func(h units.Hop) bool { return h.Word != "drop" })
	if len(drops) != 4 {
		t.Fatalf("%d drops among %+v", len(drops), hops)
	}
	for i, kind := range []string{"outbox 0 (message)", "outbox 1 (message)", "outbox 2 (message)", "outbox 4 (spawn)"} {
		if !strings.Contains(drops[i].Note, kind) || strings.ContainsAny(drops[i].Note, "\x1b\n") {
			t.Errorf("drop %d says %q", i, drops[i].Note)
		}
	}
	idle(t, u)
}

func TestResultBranchesAreBounded(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	m := w.message(a, "in the log")
	push(t, u, m)
	names := make([]string, maxBranches+100)
	for i := range names {
		names[i] = unitstest.ID(fmt.Sprint(i)).String()
	}
	w.set(func() { w.fail = refuseAll("host", ao.BadTags) }) // so that they end at once
	wide := w.message(a, "wide")
	u2 := w.unit(memory(t))
	s := &step{root: wide.ID()}
	top := &task{Root: wide.ID(), Process: a, Message: wide.ID(), message: wide}
	children, err := u2.expand(t.Context(), s, top, ao.Result{
		Assignments: []ao.AssignDraft{{Message: m.ID().String(), Processes: names}},
	}, attest.Hash{})
	if err != nil || len(children) != maxBranches {
		t.Errorf("%d tasks, %v; want %d", len(children), err, maxBranches)
	}
	if len(s.hops) != 1 || !strings.Contains(s.hops[0].Note, "100 more") {
		t.Errorf("the hops are %+v", s.hops)
	}
}

func TestLargeOutboxTakesSeveralBatches(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	const messages = 9
	large := strings.Repeat("x", 2<<20)
	w.set(func() {
		w.drafts = func(m ao.Message) (r ao.Result, ok bool) {
			if string(m.Data()) != "large" {
				return r, false
			}
			for i := range messages {
				r.Messages = append(r.Messages, ao.Draft{Target: b.String(), Anchor: fmt.Sprintf("%032d", i), Data: []byte(large)})
			}
			return r, true
		}
	})
	fault := &store.Faulty{Store: memory(t)}
	most := 0 // changes in one batch
	fault.Before = func(batch *store.Batch) error {
		most = max(most, batch.Len())
		return nil
	}
	u := w.unit(fault, func(c *Config) { c.Workers = 1 })
	run(t, u)
	push(t, u, w.message(a, "large"))
	if n := len(w.log(w.su, b)); n != messages {
		t.Errorf("b has %d messages, want %d", n, messages)
	}
	if most >= messages {
		t.Errorf("a batch of %d changes: the outbox was written at once", most)
	}
	idle(t, u)
}

func TestMailIsSettled(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	wallet := unitstest.ID("a wallet")
	_, hops := push(t, u, w.message(a, send(draft(wallet, "dear owner"))))
	if h := noted(t, hops, "done"); !strings.Contains(h.Note, "mail") {
		t.Errorf("done: %q", h.Note)
	}
	if len(w.held) != 1 {
		t.Fatalf("the archive has %d items", len(w.held))
	}
	for _, it := range w.held {
		m, err := ao.NewMessage(it)
		if err != nil || m.Target() != wallet || string(m.Data()) != "dear owner" {
			t.Errorf("the archive has a message to %s, %v", m.Target(), err)
		}
	}
	idle(t, u)
}

func TestUsersMessageToNobodyIsRefused(t *testing.T) {
	w := newTown(t)
	u := w.started()
	m := w.message(unitstest.ID("nobody"), "hello")
	_, err := u.Push(unitstest.Context(t), m)
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
	if n := w.count("host"); n != maxLookups {
		t.Errorf("looked for %d times, want %d", n, maxLookups)
	}
	noted(t, hopsOf(t, u, m.ID()), "drop")
	if len(w.held) != 0 {
		t.Errorf("a stranger's message was settled at our cost")
	}
	idle(t, u)
}

func TestStrangersKeyIsNoted(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	b := unitstest.Spawn(t, w.user, w.su.Address(), "b", ao.Tag{Name: "Authority", Value: "somebody"})
	if _, err := w.su.Schedule(t.Context(), b.ID(), b); err != nil {
		t.Fatal(err)
	}
	u := w.started()
	_, hops := push(t, u, w.message(a, send(draft(b.ID(), "ignored"))))
	for _, h := range hops {
		if want := h.Word == "schedule" && h.Process == b.ID(); want != strings.Contains(h.Note, "does not trust "+u.Address()) {
			t.Errorf("hop %s in %s says %q", h.Word, h.Process, h.Note)
		}
	}
}

func TestFailedResultPushesNothing(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	_, hops := push(t, u, w.message(a, `{"ok":false,"response":"boom\u001b[31m"}`))
	if h := noted(t, hops, "compute"); !strings.HasPrefix(h.Note, "Error: boom") || strings.Contains(h.Note, "\x1b") {
		t.Errorf("the note is %q", h.Note)
	}
}

func TestForeignAssignmentIsRefused(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	stray := unitstest.NewChain(t, unitstest.Signer("stranger"), unitstest.Spawn(t, w.user, w.su.Address(), "a",
		ao.Tag{Name: "Authority", Value: unitstest.Address(w.mu)}))
	if stray.Process() != a {
		t.Fatal("the chains are of different processes")
	}
	m := w.message(a, "hello")
	forged := stray.Add(t, m).Assignment
	other := stray.Add(t, w.message(a, "another")).Assignment
	for name, c := range map[string]struct {
		answer ao.Assignment
		code   ao.Code
	}{
		"signed by a stranger": {forged, ao.WrongScheduler},
		"of another message":   {other, ao.BadLog},
		"of another process":   {unitstest.MakeChain(t, "x", 2).Entries()[1].Assignment, ao.BadLog},
		"none":                 {ao.Assignment{}, ao.BadLog},
	} {
		w.set(func() { w.assign = func(ao.Assignment) ao.Assignment { return c.answer } })
		u := w.unit(memory(t))
		task := &task{Root: m.ID(), Process: a, Message: m.ID(), Stage: stageSchedule, message: m}
		unitstest.WantRefusal(t, u.schedule(t.Context(), task, u.cfg.Now()), c.code)
		if task.Stage != stageSchedule {
			t.Errorf("%s: the task moved on", name)
		}
	}
	w.set(func() { w.assign = func(ao.Assignment) ao.Assignment { return forged } })
	_, err := u.Push(unitstest.Context(t), m)
	unitstest.WantRefusal(t, err, ao.WrongScheduler)
	noted(t, hopsOf(t, u, m.ID()), "drop")
	w.set(func() {
		w.assign, w.hosts = nil, func(units.SignaturePolicy) units.SignaturePolicy { return units.SignaturePolicy{} }
	})
	nobody := w.unit(memory(t))
	unitstest.WantRefusal(t, nobody.schedule(t.Context(), &task{Process: a, Message: m.ID(), message: m}, nobody.cfg.Now()), ao.UnknownUnit)
}

// anything is the journal of a unit that signs whatever it likes.
type anything struct{}

func (anything) Record(attest.Claim, attest.Hash) error { return nil }

func TestFalseAnswerIsNotBelieved(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	lies := []func(units.Answer) units.Answer{
		func(a units.Answer) units.Answer { a.Slot++; return a },
		func(a units.Answer) units.Answer { a.Result.Output = []byte(`"another"`); return a },
		func(a units.Answer) units.Answer { a.Result.Messages = nil; return a },
		func(units.Answer) units.Answer { return units.Answer{Slot: 1} },
		func(a units.Answer) units.Answer { // sound in itself, and about a fork of the log
			c := a.Claim.Claim()
			c.Head[0]++
			var err error
			if a.Claim, err = attest.Sign(anything{}, w.cu, c); err != nil {
				t.Error(err)
			}
			return a
		},
	}
	w.set(func() {
		w.answer = func(a units.Answer) units.Answer {
			if n := w.calls["compute"] - 1; n < len(lies) {
				return lies[n](a)
			}
			return a
		}
	})
	u := w.started(func(c *Config) { c.Workers = 1 })
	_, hops := push(t, u, w.message(a, send(draft(b, "once"))))
	if n := w.count("compute"); n != len(lies)+2 {
		t.Errorf("%d computations, want %d", n, len(lies)+2)
	}
	if want := []string{"push", "schedule", "compute", "schedule", "compute", "done"}; !slices.Equal(words(hops), want) {
		t.Errorf("the hops are %v, want %v", words(hops), want)
	}
	if len(w.log(w.su, b)) != 1 {
		t.Errorf("b has %d messages", len(w.log(w.su, b)))
	}
}

func TestRepush(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	m := w.message(a, send(draft(b, "lost")))
	as, err := w.su.Schedule(t.Context(), a, m) // scheduled, and then its messenger is gone for good
	if err != nil {
		t.Fatal(err)
	}
	u := w.started()
	for range 3 {
		root, err := u.Repush(t.Context(), a, as.Nonce())
		if err != nil || root != m.ID() {
			t.Fatalf("repush: %s, %v", root, err)
		}
		hopsOf(t, u, root)
	}
	if log := w.log(w.su, b); len(log) != 1 || string(log[0].Data()) != "lost" {
		t.Errorf("b has %d messages", len(log))
	}
	// In the middle of a thread it goes on under the name of the first message.
	root, err := u.Repush(t.Context(), b, 1)
	if err != nil || root != m.ID() {
		t.Errorf("repush of the reply: %s, %v; want the first message", root, err)
	}
	hopsOf(t, u, root)
	_, err = u.Repush(t.Context(), a, 9)
	unitstest.WantRefusal(t, err, ao.NotYet)
	_, err = u.Repush(t.Context(), unitstest.ID("nobody"), 0)
	unitstest.WantRefusal(t, err, ao.UnknownProcess)
	idle(t, u)
}

// TestRepushOfASpawnNeedsTrust: under a stranger's key a spawn would be another process, not a copy.
func TestRepushOfASpawnNeedsTrust(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	spawn := map[string]any{"Data": "code", "Tags": []map[string]string{{"name": "Module", "value": unitstest.ID("module").String()}}}
	as, err := w.su.Schedule(t.Context(), a, w.message(a, outboxOf(map[string]any{"Spawns": []any{spawn}})))
	if err != nil {
		t.Fatal(err)
	}
	u := w.started(func(c *Config) { c.Signer = unitstest.Signer("stranger") })
	root, err := u.Repush(t.Context(), a, as.Nonce())
	if err != nil {
		t.Fatal(err)
	}
	if got := words(hopsOf(t, u, root)); !slices.Contains(got, "drop") || slices.Contains(got, "schedule") {
		t.Errorf("the hops are %v, want a drop and nothing scheduled", got)
	}
	if n := len(w.log(w.su, a)); n != 1 {
		t.Errorf("a has %d messages, want 1: nobody tells it of a process", n)
	}
}

func TestFullMessengerIsBusy(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	w.set(func() { w.fail = refuseAll("schedule", ao.Unreachable) })
	u := w.started(func(c *Config) { c.MaxTasks = 2 })
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	first := w.message(a, "0")
	for i := range 2 {
		_, err := u.Push(soon, w.message(a, fmt.Sprint(i)))
		unitstest.WantRefusal(t, err, ao.Queued)
	}
	_, err := u.Push(soon, w.message(a, "2"))
	unitstest.WantRefusal(t, err, ao.Busy)
	_, err = u.Push(soon, first) // one that is open already is no more work
	unitstest.WantRefusal(t, err, ao.Queued)
	if u.Status().Open != 2 {
		t.Errorf("%d open", u.Status().Open)
	}
	w.set(func() { w.fail = nil })
	push(t, u, first)
	hopsOf(t, u, w.message(a, "1").ID())
	push(t, u, w.message(a, "2"))
	idle(t, u)
}

func TestPushesAtOnceAreOneTask(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	m := w.message(a, send(draft(b, "once")))
	got := make(chan ao.ID, 40)
	for range cap(got) {
		go func() {
			as, err := u.Push(unitstest.Context(t), m)
			if err != nil {
				t.Error(err)
				got <- ao.ID{}
				return
			}
			got <- as.ID()
		}()
	}
	first := <-got
	for range cap(got) - 1 {
		if id := <-got; id != first {
			t.Errorf("two assignments: %s and %s", id, first)
		}
	}
	hops := hopsOf(t, u, m.ID())
	if want := []string{"push", "schedule", "compute", "schedule", "compute", "done"}; !slices.Equal(words(hops), want) {
		t.Errorf("the hops are %v, want %v", words(hops), want)
	}
	idle(t, u)
}
