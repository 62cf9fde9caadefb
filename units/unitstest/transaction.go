package unitstest

import (
	_ "embed"
	"testing"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/l1"
)

//go:embed transaction.json
var transaction []byte

// Transaction is a transaction of Arweave to nobody, as arweave-js made it: it has tags (Action: Note) and some text as data.
func Transaction(t testing.TB) *l1.Tx {
	t.Helper()
	tx, err := l1.ParseJSON(transaction)
	if err == nil {
		err = tx.Verify()
	}
	if err != nil {
		t.Fatalf("make transaction: %v", err)
	}
	return tx
}

func testAssignTransaction(t *testing.T, f SchedulerFixture) {
	p := f.start(t, ao.Tag{Name: "Settlement-Depth", Value: "3"}).ID()
	other := Spawn(t, Signer("owner"), f.Address, t.Name()+" other") // which says nothing of a depth
	f.schedule(t, other.ID(), other)
	tx, how := Transaction(t), ao.AssignOptions{BaseLayer: true, Exclude: []string{"Data"}}
	refused := func(process ao.ID, how ao.AssignOptions, code ao.Code) {
		t.Helper()
		_, err := f.Scheduler.Assign(Context(t), process, tx.ID, how)
		WantRefusal(t, err, code)
	}
	refused(p, how, ao.UnknownMessage)
	f.Bury(tx, 2)
	refused(p, how, ao.Unconfirmed)
	f.Bury(tx, 3)
	a, err := f.Scheduler.Assign(Context(t), p, tx.ID, how)
	if err != nil {
		t.Fatalf("assign: %v", err)
	}
	if got := a.Fields(); got.Process != p || got.Nonce != 1 || got.Message != tx.ID || !got.Excludes("Data") {
		t.Errorf("the assignment says %+v", got)
	}
	refused(other.ID(), how, ao.Unconfirmed)
	refused(other.ID(), ao.AssignOptions{}, ao.UnknownMessage) // it is no item
	f.Bury(tx, 19)
	refused(other.ID(), how, ao.Unconfirmed)
	f.Bury(tx, 0) // what holds a slot is looked up nowhere
	for _, how := range []ao.AssignOptions{how, {BaseLayer: true}, {}} {
		if again, err := f.Scheduler.Assign(Context(t), p, tx.ID, how); err != nil || again.ID() != a.ID() {
			t.Errorf("assigned again with %+v: %v", how, err)
		}
	}
	f.Bury(tx, 20)
	if b, err := f.Scheduler.Assign(Context(t), other.ID(), tx.ID, ao.AssignOptions{BaseLayer: true}); err != nil || b.Nonce() != 1 {
		t.Errorf("assigned to another: %v", err)
	}
	for _, process := range []ao.ID{p, other.ID()} {
		log := f.whole(t, process)
		if len(log) != 2 {
			t.Fatalf("the log has %d slots, want 2", len(log))
		}
		m := log[1].Message
		if !m.IsTransaction() || m.ID() != tx.ID || string(m.Data()) != string(tx.Data) || m.Tags().Get("Action") != "Note" {
			t.Errorf("the log holds %s with %q", m.ID(), m.Data())
		}
		if slot, err := f.Log.Find(Context(t), process, tx.ID); err != nil || slot != 1 {
			t.Errorf("it is found in slot %d: %v", slot, err)
		}
	}
}
