package ao

import (
	"fmt"

	"github.com/aopeer/aopeer/arweave/l1"
)

// transaction is a transaction of Arweave in its raw form, and the same parsed, which are views of it.
type transaction struct {
	raw    []byte
	parsed *l1.Tx
}

func (t *transaction) ID() ID               { return t.parsed.ID }
func (t *transaction) OwnerAddress() string { return t.parsed.OwnerAddress() }
func (t *transaction) Target() []byte       { return t.parsed.Target }
func (t *transaction) Anchor() []byte       { return t.parsed.Anchor }
func (t *transaction) Tags() []Tag          { return t.parsed.Tags }
func (t *transaction) Data() []byte         { return t.parsed.Data }
func (t *transaction) Signature() []byte    { return t.parsed.Signature }
func (t *transaction) Raw() []byte          { return t.raw }

func (t *transaction) Tag(name string) (string, bool) { return Tags(t.parsed.Tags).Lookup(name) }

// NewTransaction verifies a transaction of Arweave that has its data with it, and takes it as a message that can be assigned.
// Any may be one, whatever its tags say; it starts no log, and whom it pays is its target. What becomes of tx later does not
// matter. Errors: ErrTooLarge, l1.ErrTx.
func NewTransaction(tx *l1.Tx) (Message, error) {
	if len(tx.Data) > MaxItem {
		return Message{}, fmt.Errorf("%w: %d bytes of data, at most %d in all", ErrTooLarge, len(tx.Data), MaxItem)
	}
	raw, err := tx.Raw()
	if err != nil {
		return Message{}, err
	}
	return parseTransaction(raw)
}

func parseTransaction(raw []byte) (Message, error) {
	if len(raw) > MaxItem {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxItem)
	}
	tx, err := l1.ParseRaw(raw)
	if err != nil {
		return Message{}, err
	}
	m := Message{is: &transaction{raw: raw, parsed: tx}}
	copy(m.process[:], tx.Target)
	return m, nil
}
