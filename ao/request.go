package ao

import (
	"fmt"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// MaxRequest bounds a request in bytes.
const MaxRequest = 16 << 10

// Request is a signed item about a process that goes into no log: who wants something of a unit. Its signer and its target
// are all that counts, for stock clients sign it without tags. The zero value is none.
type Request struct {
	item    *ans104.Item
	process ID
}

// ParseRequest parses and verifies raw. Errors: those of ans104, ErrTarget, ErrTooLarge.
func ParseRequest(raw []byte) (Request, error) {
	if len(raw) > MaxRequest {
		return Request{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxRequest)
	}
	it, err := ans104.Parse(raw)
	if err != nil {
		return Request{}, err
	}
	var r Request
	if len(it.Target()) != len(r.process) {
		return Request{}, ErrTarget
	}
	if err := it.Verify(); err != nil {
		return Request{}, err
	}
	r.item = it
	copy(r.process[:], it.Target())
	return r, nil
}

// SignRequest makes a request about a process as stock clients do: without tags.
func SignRequest(s ans104.Signer, process ID) (Request, error) {
	it, err := ans104.Sign(s, ans104.Fields{Target: process[:], Data: []byte(" ")})
	if err != nil {
		return Request{}, fmt.Errorf("sign request: %w", err)
	}
	return Request{item: it, process: process}, nil
}

// IsZero says whether this is the zero value, which is no request.
func (r Request) IsZero() bool { return r.item == nil }

// ID is the item's ID.
func (r Request) ID() ID { return r.item.ID() }

// Process is what the request is about.
func (r Request) Process() ID { return r.process }

// Owner is the address of the signer.
func (r Request) Owner() string { return r.item.OwnerAddress() }

// Raw is the item's bytes; they must not be changed.
func (r Request) Raw() []byte { return r.item.Raw() }
