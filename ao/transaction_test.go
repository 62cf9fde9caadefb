package ao

import (
	"bytes"
	"crypto/sha256"
	"os"
	"testing"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// claiming is a transaction, made by arweave-js, whose tags say that it is a process, and pushed. It pays what id(3) names.
func claiming(t testing.TB) *l1.Tx {
	t.Helper()
	raw, err := os.ReadFile("testdata/transaction.json")
	check(t, err)
	tx, err := l1.ParseJSON(raw)
	check(t, err)
	return tx
}

func TestTransaction(t *testing.T) {
	tx := claiming(t)
	m, err := NewTransaction(tx)
	check(t, err)
	want, err := tx.Raw()
	check(t, err)
	wallet := tx.OwnerAddress()
	tx.Data[0], tx.Tags[0].Value, tx.Signature[0] = 'y', "changed", 0 // what is made of it does not follow
	wantTags(t, m.Tags(), "Data-Protocol=ao", "Type=Process", "Module="+id(7).String(), "Scheduler=s", "From-Process="+id(1).String())
	if m.IsZero() || !m.IsTransaction() || m.Item() != nil || m.ID() != tx.ID || string(m.Data()) != "x" || len(m.Anchor()) != 48 ||
		ID(sha256.Sum256(m.Signature())) != m.ID() || m.Owner() != wallet || !bytes.Equal(m.Raw(), want) {
		t.Errorf("%s reads as %s with %q", tx.ID, m.ID(), m.Data())
	}
	// Its tags make no process and no copy of it.
	if m.IsSpawn() || m.HasCopies() || m.From() != id(1).String() || m.Target() != id(3) || !m.IsFor(id(3)) || m.IsFor(m.ID()) {
		t.Errorf("spawn %v, copies %v, from %s, to %s", m.IsSpawn(), m.HasCopies(), m.From(), m.Target())
	}
	_, err = m.Process()
	wantErr(t, err, ErrType)
	if _, err := ParseMessage(m.Raw()); err == nil {
		t.Error("the raw form is an item")
	}
	a := assign(t, AssignmentFields{Process: id(1), Nonce: 1, Message: m.ID(), HashChain: FirstLink(id(1))})
	for _, v := range []*ans104.Verifier{nil, new(ans104.Verifier)} {
		e, err := ParseEntry(v, a.Raw(), m.Raw())
		check(t, err)
		if e.Proof != ProofAssignment || e.Assignment.ID() != a.ID() || e.Message.ID() != m.ID() || !e.Message.IsTransaction() {
			t.Errorf("the entry holds %s", e.Message.ID())
		}
		if e, err = ParseEntry(v, a.Raw(), append(bytes.Clone(m.Raw()), 'x')); err == nil || !e.Message.IsZero() {
			t.Error("a changed transaction is accepted")
		}
		wantErr(t, err, l1.ErrTx)
	}
}

func TestTransactionSize(t *testing.T) {
	tx := claiming(t)
	tx.Data = make([]byte, MaxItem)
	_, err := NewTransaction(tx) // a little over it, in all
	wantErr(t, err, l1.ErrTx)    // it says that it has less
	tx.DataSize = MaxItem
	_, err = NewTransaction(tx)
	wantErr(t, err, ErrTooLarge)
	tx.Data, tx.DataSize = make([]byte, MaxItem+1), MaxItem+1
	_, err = NewTransaction(tx)
	wantErr(t, err, ErrTooLarge)
	_, err = ParseEntry(nil, assign(t, AssignmentFields{Process: id(1), Message: id(1)}).Raw(), append(mustRaw(t, claiming(t)), make([]byte, MaxItem)...))
	wantErr(t, err, ErrTooLarge)
	_, err = NewTransaction(claiming(t).Bare())
	wantErr(t, err, l1.ErrTx)
	changed := claiming(t)
	changed.Tags[0].Value = "another"
	_, err = NewTransaction(changed)
	wantErr(t, err, l1.ErrTx)
}

func mustRaw(t testing.TB, tx *l1.Tx) []byte {
	t.Helper()
	raw, err := tx.Raw()
	check(t, err)
	return raw
}

// TestParseEntry: of items it is what the parsers of both say.
func TestParseEntry(t *testing.T) {
	for _, e := range chain(t, 1) {
		for _, v := range []*ans104.Verifier{nil, new(ans104.Verifier)} {
			got, err := ParseEntry(v, e.Assignment.Raw(), e.Message.Raw())
			check(t, err)
			if got.Proof != ProofAssignment || got.Assignment.ID() != e.Assignment.ID() || got.Message.ID() != e.Message.ID() {
				t.Errorf("slot %d reads as slot %d", e.Assignment.Nonce(), got.Assignment.Nonce())
			}
			_, err = ParseEntry(v, tampered(e.Assignment.Raw()), e.Message.Raw())
			wantErr(t, err, ans104.ErrSignature)
			_, err = ParseEntry(v, e.Assignment.Raw(), tampered(e.Message.Raw()))
			wantErr(t, err, ans104.ErrSignature)
			_, err = ParseEntry(v, e.Message.Raw(), e.Assignment.Raw())
			wantErr(t, err, ErrType)
		}
	}
}

func TestSettlementDepth(t *testing.T) {
	for value, want := range map[string]uint64{"": 20, "3": 3, "0": 1, "1": 1, "100000": 100000, "-1": 20, "x": 20, "1.5": 20} {
		var more Tags
		if value != "" {
			more = tags("Settlement-Depth=" + value)
		}
		p, err := spawn(t, more).Process()
		check(t, err)
		if got := p.SettlementDepth(); got != want {
			t.Errorf("%q asks for %d blocks, want %d", value, got, want)
		}
	}
}
