package cu

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/wasmvm"
)

// What only this package can find wrong.
var (
	errStore   = errors.New("the store does not work")
	errSigner  = errors.New("the signer is not the process's scheduler")
	errProof   = errors.New("no proof of a known kind")
	errMeaning = errors.New("the assignment is of another epoch, which this version does not evaluate")
	errForked  = errors.New("the log was served with another entry there before")
	errNotYet  = errors.New("the slot is not in the log yet")
	errClosed  = errors.New("the unit is stopping")
	errCrowd   = errors.New("too many callers are waiting")
)

// badSlot is a fault of a log; err names the slot too.
type badSlot struct {
	slot ao.Slot
	err  error
}

func (b *badSlot) Error() string { return b.err.Error() }
func (b *badSlot) Unwrap() error { return b.err }

// storeFault marks an error of the store.
func storeFault(verb string, err error) error { return fmt.Errorf("%s: %w: %w", verb, errStore, err) }

// refusal is what the doors answer for an error from within.
func refusal(err error) *ao.Refusal {
	if r, ok := errors.AsType[*ao.Refusal](err); ok {
		if r.Hop == hop {
			return r
		}
		return ao.Refuse(hop, r.Code, "%s: %s", r.Hop, r.Detail)
	}
	code := ao.Internal
	if _, ok := errors.AsType[*badSlot](err); ok {
		code = ao.BadLog
	} else {
		for _, row := range codes() {
			if errors.Is(err, row.err) {
				code = row.code
				break
			}
		}
	}
	return ao.Refuse(hop, code, "%v", err)
}

type codeOf struct {
	err  error
	code ao.Code
}

func codes() []codeOf {
	return []codeOf{
		{attest.ErrContradiction, ao.Contradiction},
		{errNotYet, ao.NotYet},
		{errClosed, ao.Busy},
		{errCrowd, ao.Busy},
		{errSlowModule, ao.Busy},
		{errStore, ao.StoreTrouble},
		{context.DeadlineExceeded, ao.Deadline},
		{context.Canceled, ao.Deadline},
		{wasmvm.ErrBusy, ao.Busy},
		{wasmvm.ErrFormat, ao.BadFormat},
		{wasmvm.ErrModule, ao.BadModule},
		{ao.ErrTags, ao.BadTags}, // limits that are no numbers, intervals that are neither times nor blocks
		{wasmvm.ErrLimit, ao.TooLarge},
		{wasmvm.ErrImage, ao.BadState},
		{arweave.ErrUnavailable, ao.ArchiveDown},
		{arweave.ErrCorrupt, ao.Corrupt},
	}
}
