package mu

import (
	"slices"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/unitstest"
)

// entries is a process's log from slot 1 on.
func (w *town) entries(process ao.ID) []ao.Entry {
	w.t.Helper()
	es, err := w.su.Range(w.t.Context(), process, 1, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	return es
}

// TestUserAssigns: the result of the assigned slot is pushed like that of any other, and the message is found where we
// pushed it, long before it is settled.
func TestUserAssigns(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	m := w.message(a, send(draft(a, "from whoever is asked")))
	push(t, u, m)
	before := len(w.log(w.su, a))
	as, err := u.Assign(unitstest.Context(t), b, m.ID(), ao.AssignOptions{Exclude: []string{"Anchor", "Tags"}})
	if err != nil {
		t.Fatal(err)
	}
	if es := w.entries(b); len(es) != 1 || es[0].Assignment.ID() != as.ID() || es[0].Message.ID() != m.ID() || !slices.Equal(as.Fields().Exclude, []string{"Anchor", "Tags"}) {
		t.Errorf("the log of b is %v", es)
	}
	hops := hopsOf(t, u, m.ID())
	var computed []ao.ID
	for _, h := range hops {
		if h.Word == "compute" && h.Message == m.ID() {
			computed = append(computed, h.Process)
		}
	}
	if !slices.Equal(computed, []ao.ID{a, b}) {
		t.Errorf("computed in %v, want %v", computed, []ao.ID{a, b})
	}
	log := w.log(w.su, a)
	if len(log) != before+1 || log[before].From() != b.String() || log[before].Tags().Get("Pushed-For") != m.ID().String() {
		t.Errorf("a has %d messages, the last from %s", len(log), log[len(log)-1].From())
	}
	idle(t, u)
}

// TestUnknownMessageIsLeftToTheScheduler: what the messenger does not find its scheduler may have.
func TestUnknownMessageIsLeftToTheScheduler(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	m := w.message(a, send(draft(a, "result")))
	if _, err := w.su.Schedule(t.Context(), a, m); err != nil {
		t.Fatal(err)
	}
	st := memory(t)
	u := w.unit(st)
	stop := run(t, u)
	w.set(func() { w.fail = refuseAll("compute", ao.NotYet) })
	as, err := u.Assign(unitstest.Context(t), b, m.ID(), ao.AssignOptions{})
	if err != nil || as.Nonce() != 1 {
		t.Fatalf("slot %d, %v", as.Nonce(), err)
	}
	_ = stop() // the task goes on without the message
	w.set(func() { w.fail = nil })
	u = w.unit(st)
	run(t, u)
	hopsOf(t, u, m.ID())
	if log := w.log(w.su, a); len(log) != 2 || log[1].From() != b.String() {
		t.Errorf("a has %d messages", len(log))
	}
	// Of a message that nobody has seen it must be the one that was named.
	w.set(func() { w.assign = func(ao.Assignment) ao.Assignment { return as } })
	c := w.message(a, "another")
	if _, err := w.su.Schedule(t.Context(), a, c); err != nil {
		t.Fatal(err)
	}
	u = w.unit(memory(t))
	x := &task{Process: b, Message: c.ID(), Assign: new(ao.AssignOptions)}
	unitstest.WantRefusal(t, u.checkSlot(t.Context(), x, as), ao.BadLog)
}

// TestOutboxExcludes: what an outbox wants excluded reaches the scheduler; what cannot be meant ends as a hop.
func TestOutboxExcludes(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b")
	u := w.started()
	first, second := w.message(a, "first"), w.message(a, "second")
	push(t, u, first)
	push(t, u, second)
	_, hops := push(t, u, w.message(a, outboxOf(map[string]any{"Assignments": []any{
		map[string]any{"Message": first.ID().String(), "Processes": []string{b.String()}, "Exclude": []string{"Data", "Anchor"}},
		map[string]any{"Message": second.ID().String(), "Processes": []string{b.String()}, "Exclude": []string{"no name"}},
	}})))
	es := w.entries(b)
	if len(es) != 1 || !slices.Equal(es[0].Assignment.Fields().Exclude, []string{"Data", "Anchor"}) {
		t.Errorf("the log of b is %v", es)
	}
	noted(t, hops, "drop")
	idle(t, u)
}

// TestMessageIntoSeveralLogs: an element with a tag Assignments goes to its target and is assigned to the others; the tag
// itself is the messenger's, and is gone.
func TestMessageIntoSeveralLogs(t *testing.T) {
	w := newTown(t)
	a, b, c := w.spawn("a"), w.spawn("b"), w.spawn("c")
	u := w.started()
	with := func(value string) map[string]any {
		d := draft(b, value)
		d["Tags"] = []map[string]string{{"name": "Assignments", "value": value}}
		return d
	}
	list := draft(b, "as a list")
	list["Tags"] = []any{map[string]any{"name": "Assignments", "value": []string{a.String()}}}
	_, hops := push(t, u, w.message(a, send(with(`["`+c.String()+`","nonsense"]`), with("no list"), list)))
	if log := w.log(w.su, b); len(log) != 3 {
		t.Errorf("b has %d messages", len(log))
	}
	log := w.log(w.su, c)
	if len(log) != 1 || log[0].Target() != b {
		t.Fatalf("c has %d messages", len(log))
	}
	if _, ok := log[0].Tags().Lookup("Assignments"); ok {
		t.Error("the tag is still there")
	}
	if own := w.log(w.su, a); len(own) != 2 || own[1].Target() != b {
		t.Errorf("a has %d messages", len(own))
	}
	drops := 0
	for _, h := range hops {
		if h.Word == "drop" {
			drops++
		}
	}
	if drops != 2 {
		t.Errorf("%d drops among %+v", drops, hops)
	}
	idle(t, u)
}

// TestProcessTellsItsTarget: a process whose item has a target starts its own log and is assigned to the target.
func TestProcessTellsItsTarget(t *testing.T) {
	w := newTown(t)
	a := w.spawn("a")
	u := w.started()
	it, err := ans104.Sign(w.user, ans104.Fields{Target: a[:], Tags: ao.Tags{
		{Name: "Data-Protocol", Value: "ao"},
		{Name: "Variant", Value: "ao.TN.1"},
		{Name: "Type", Value: "Process"},
		{Name: "Module", Value: unitstest.ID("module").String()},
		{Name: "Scheduler", Value: w.su.Address()},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := ao.NewMessage(it)
	if err != nil {
		t.Fatal(err)
	}
	as, hops := push(t, u, p)
	if as.Process() != p.ID() || as.Nonce() != 0 {
		t.Errorf("slot %d of %s", as.Nonce(), as.Process())
	}
	if log := w.log(w.su, a); len(log) != 1 || log[0].ID() != p.ID() {
		t.Errorf("the target has %d messages; the hops are %v", len(log), words(hops))
	}
	idle(t, u)
}

// TestOldTasksAreAssignments: a record without an item is of a version that knew only plain assignments.
func TestOldTasksAreAssignments(t *testing.T) {
	old := &task{Root: ao.ID{1}, Process: ao.ID{2}, Message: ao.ID{3}, Stage: stageSchedule}
	var b store.Batch
	if err := old.put(&b); err != nil {
		t.Fatal(err)
	}
	st := memory(t)
	if err := st.Commit(&b); err != nil {
		t.Fatal(err)
	}
	raw, err := st.Get(keyTask + old.key())
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseTask(raw)
	if err != nil || got.Assign == nil || got.Assign.BaseLayer || got.Assign.Exclude != nil || got.message.IsZero() == false {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTransactionsAreAssigned: a user hears at once that a transaction of Arweave is too young, an outbox waits for it; and
// what comes of the slot is pushed.
func TestTransactionsAreAssigned(t *testing.T) {
	w := newTown(t)
	a, b := w.spawn("a"), w.spawn("b", ao.Tag{Name: "Settlement-Depth", Value: "2"})
	u, tx := w.started(), unitstest.Transaction(t)
	how := ao.AssignOptions{BaseLayer: true, Exclude: []string{"Anchor"}}
	w.set(func() {
		w.drafts = func(m ao.Message) (ao.Result, bool) {
			if !m.IsTransaction() {
				return ao.Result{}, false
			}
			r, err := ao.ParseResponse([]byte(send(draft(a, "of "+m.Tags().Get("Title")))))
			return r, err == nil
		}
	})
	w.su.Bury(tx, 1)
	_, err := u.Assign(unitstest.Context(t), b, tx.ID, how)
	unitstest.WantRefusal(t, err, ao.Unconfirmed)
	idle(t, u)
	begun := w.count("schedule")
	w.set(func() {
		w.fail = func(name string, n int) error {
			if name == "schedule" && n == begun+4 { // the message, and three times in vain
				w.su.Bury(tx, 2)
			}
			return nil
		}
	})
	m := w.message(a, outboxOf(map[string]any{"Assignments": []any{
		map[string]any{"Message": tx.ID.String(), "Processes": []string{b.String()}, "BaseLayer": true, "Exclude": how.Exclude},
	}}))
	push(t, u, m)
	es := w.entries(b)
	if len(es) != 1 || es[0].Message.ID() != tx.ID || !slices.Equal(es[0].Assignment.Fields().Exclude, how.Exclude) || w.count("schedule") < begun+4 {
		t.Fatalf("the log of b is %v, after %d questions", es, w.count("schedule")-begun)
	}
	if log := w.log(w.su, a); len(log) != 2 || string(log[1].Data()) != "of A note" || log[1].From() != b.String() {
		t.Errorf("a has %d messages", len(log))
	}
	if again, err := u.Assign(unitstest.Context(t), b, tx.ID, how); err != nil || again.ID() != es[0].Assignment.ID() {
		t.Errorf("assigned again: %v", err)
	}
	// That it stands in a log into which we brought it makes no item of it.
	if _, err := u.Assign(unitstest.Context(t), w.spawn("c", ao.Tag{Name: "Settlement-Depth", Value: "1"}), tx.ID, how); err != nil {
		t.Error(err)
	}
	hopsOf(t, u, tx.ID)
	_, err = u.Assign(unitstest.Context(t), a, tx.ID, ao.AssignOptions{})
	unitstest.WantRefusal(t, err, ao.UnknownMessage)
	idle(t, u)

	// What came of it is pushed again, also by a messenger that has been restarted in between.
	st, before := memory(t), len(w.log(w.su, a))
	u = w.unit(st)
	stop := run(t, u)
	w.set(func() { w.fail = refuseAll("compute", ao.NotYet) })
	root, err := u.Repush(unitstest.Context(t), b, 1)
	if err != nil || root != tx.ID {
		t.Fatalf("pushed again as %s, %v", root, err)
	}
	_ = stop()
	w.set(func() { w.fail = nil })
	u = w.unit(st)
	run(t, u)
	noted(t, hopsOf(t, u, root), "schedule")
	if log := w.log(w.su, a); len(log) != before {
		t.Errorf("a has %d messages, and had %d", len(log), before)
	}
	idle(t, u)
}
