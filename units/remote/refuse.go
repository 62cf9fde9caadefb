package remote

import (
	"context"
	"errors"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/wasmvm"
)

// mapped says under which code a lower floor's error crosses a wire or reaches a user.
type mapped struct {
	err  error
	code ao.Code
}

// sentinels maps every error that the lower floors export. The first that matches counts.
func sentinels() []mapped {
	return []mapped{
		{ao.ErrNotAO, ao.NotAO},
		{ao.ErrType, ao.WrongType},
		{ao.ErrTags, ao.BadTags},
		{ao.ErrTarget, ao.NoTarget},
		{ao.ErrTooLarge, ao.TooLarge},
		{ao.ErrResponse, ao.BadResult},
		{ao.ErrDraft, ao.BadDraft},
		{ao.ErrAmount, ao.BadAmount},
		{ao.ErrGap, ao.BadLog},
		{ao.ErrLink, ao.BadLog},
		{ao.ErrOrder, ao.BadLog},
		{ao.ErrOtherLog, ao.BadLog},
		{ao.ErrMismatch, ao.BadLog},
		{attest.ErrContradiction, ao.Contradiction},
		{attest.ErrClaim, ao.BadClaim},
		{attest.ErrProof, ao.BadClaim},
		{wasmvm.ErrFormat, ao.BadFormat},
		{wasmvm.ErrModule, ao.BadModule},
		{wasmvm.ErrLimit, ao.TooLarge},
		{arweave.ErrNotFound, ao.UnknownMessage},
		{arweave.ErrCorrupt, ao.Corrupt},
		{arweave.ErrUnavailable, ao.ArchiveDown},
		{arweave.ErrRejected, ao.WalletTrouble},
		{arweave.ErrTooLarge, ao.TooLarge},
		{arweave.ErrWallet, ao.WalletTrouble},
		{arweave.ErrTx, ao.Malformed},
		{arweave.ErrNoBundler, ao.WalletTrouble},
		{store.ErrNotFound, ao.StoreTrouble},
		{store.ErrNotNext, ao.Conflict},
		{store.ErrKey, ao.StoreTrouble},
		{store.ErrName, ao.StoreTrouble},
		{store.ErrTooLarge, ao.TooLarge},
		{store.ErrLocked, ao.StoreTrouble},
		{store.ErrFormat, ao.StoreTrouble},
		{store.ErrCorrupt, ao.StoreTrouble},
		{store.ErrClosed, ao.StoreTrouble},
		{store.ErrBroken, ao.StoreTrouble},
		{p2p.ErrOtherNetwork, ao.OtherNetwork},
		{p2p.ErrUnsupported, ao.Unsupported},
		{p2p.ErrBusy, ao.Busy},
		{p2p.ErrTooLarge, ao.TooLarge},
		{p2p.ErrDeadline, ao.Deadline},
		{p2p.ErrMalformed, ao.Malformed},
		{p2p.ErrCanceled, ao.Deadline},
		{p2p.ErrFault, ao.Internal},
		{p2p.ErrReset, ao.Unreachable},
		{p2p.ErrUnreachable, ao.Unreachable},
		{p2p.ErrNoPeers, ao.Unreachable},
		{p2p.ErrClosed, ao.Unreachable},
		{p2p.ErrKey, ao.Malformed},
		{p2p.ErrName, ao.Malformed},
		{p2p.ErrAddr, ao.Malformed},
		{p2p.ErrRefused, ao.Internal},
		{ans104.ErrMalleable, ao.BadSignature},
		{ans104.ErrSignature, ao.BadSignature},
		{ans104.ErrKey, ao.BadSignature},
		{context.DeadlineExceeded, ao.Deadline},
		{context.Canceled, ao.Deadline},
	}
}

// Refusal is err as a refusal at that hop: itself if it is one, by the table if it is known, else internal.
func Refusal(hop string, err error) *ao.Refusal {
	var r *ao.Refusal
	if errors.As(err, &r) {
		return r
	}
	var w *p2p.Refused
	if errors.As(err, &w) {
		return fromWire(hop, w)
	}
	for _, m := range sentinels() {
		if errors.Is(err, m.err) {
			return ao.Refuse(hop, m.code, "%v", err)
		}
	}
	return ao.Refuse(hop, ao.Internal, "%v", err)
}

// toWire is the refusal as p2p carries it: "hop/code" and the detail. What is internal stays here.
func toWire(hop string, err error) error {
	r := Refusal(hop, err)
	if r.Code == ao.Internal {
		return p2p.Refuse(r.Hop+"/"+string(r.Code), "see the unit's log")
	}
	return p2p.Refuse(r.Hop+"/"+string(r.Code), r.Detail)
}

func fromWire(hop string, w *p2p.Refused) *ao.Refusal {
	at, code, ok := strings.Cut(w.Code, "/")
	if !ok {
		at, code = hop, w.Code
	}
	return ao.Refuse(oneWord(at), ao.Code(oneWord(code)), "%s", w.Detail)
}

// oneWord keeps a stranger's word to what the table's words look like.
func oneWord(s string) string {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '-' {
			return "unknown"
		}
	}
	return s
}
