package remote

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/wasmvm"
)

// mapped says under which code a lower floor's error crosses a wire or reaches a user.
type mapped struct {
	err  error
	code ao.Code
}

// sentinels maps every error that the lower floors export. The first that matches counts: an error that wraps another
// stands before it.
func sentinels() []mapped {
	return []mapped{
		{ao.ErrNotAO, ao.NotAO},
		{ao.ErrType, ao.WrongType},
		{ao.ErrTags, ao.BadTags},
		{ao.ErrTarget, ao.NoTarget},
		{ao.ErrTooLarge, ao.TooLarge},
		{ao.ErrTold, ao.Malformed},
		{ao.ErrResponse, ao.BadResult},
		{ao.ErrDraft, ao.BadDraft},
		{ao.ErrAmount, ao.BadAmount},
		{ao.ErrGap, ao.BadLog},
		{ao.ErrLink, ao.BadLog},
		{ao.ErrOrder, ao.BadLog},
		{ao.ErrOtherLog, ao.BadLog},
		{ao.ErrMismatch, ao.BadLog},
		{ErrUnit, ao.Malformed},
		{ErrPage, ao.Malformed},
		{attest.ErrContradiction, ao.Contradiction},
		{attest.ErrClaim, ao.BadClaim},
		{attest.ErrProof, ao.BadClaim},
		{wasmvm.ErrFormat, ao.BadFormat},
		{wasmvm.ErrModule, ao.BadModule},
		{wasmvm.ErrLimit, ao.TooLarge},
		{wasmvm.ErrBusy, ao.Busy},
		{wasmvm.ErrImage, ao.BadState},
		{arweave.ErrNotFound, ao.UnknownMessage},
		{arweave.ErrCorrupt, ao.Corrupt},
		{arweave.ErrUnavailable, ao.ArchiveDown},
		{arweave.ErrRejected, ao.WalletTrouble},
		{arweave.ErrTooLarge, ao.TooLarge},
		{arweave.ErrWallet, ao.WalletTrouble},
		{l1.ErrFormat, ao.Unsupported},
		{l1.ErrTx, ao.Malformed},
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
		{store.ErrFull, ao.StoreTrouble},
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
		{ans104.ErrTagCount, ao.BadTags},
		{ans104.ErrTagBytes, ao.BadTags},
		{ans104.ErrTagEncoding, ao.BadTags},
		{ans104.ErrTooManyItems, ao.TooLarge},
		{ans104.ErrDepth, ao.TooLarge},
		{ans104.ErrTooShort, ao.Malformed},
		{ans104.ErrSignatureType, ao.Malformed},
		{ans104.ErrPresence, ao.Malformed},
		{ans104.ErrTarget, ao.Malformed},
		{ans104.ErrAnchor, ao.Malformed},
		{ans104.ErrID, ao.Malformed},
		{ans104.ErrBundle, ao.Malformed},
		{ans104.ErrSkipBundle, ao.Internal},
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
	if reason := market.ReasonOf(err); reason != "" {
		return ao.Refuse(hop, codeOf(reason), "%v", err)
	}
	for _, m := range sentinels() {
		if errors.Is(err, m.err) {
			return ao.Refuse(hop, m.code, "%v", err)
		}
	}
	return ao.Refuse(hop, ao.Internal, "%v", err)
}

// codeOf is the code of a market's reason, which the detail names.
func codeOf(r market.Reason) ao.Code {
	switch r {
	case market.Busy, market.PayerBusy, market.Displaced, market.Underpaid:
		return ao.Busy
	case market.Dear:
		return ao.OverCap
	}
	return ao.NoDeal
}

// toWire is the refusal as p2p carries it: "hop/code" and the detail. What is internal stays here.
func toWire(hop string, err error) error {
	r := Refusal(hop, err)
	if r.Code == ao.Internal {
		return p2p.Refuse(r.Hop+"/"+string(r.Code), "see the unit's log")
	}
	return p2p.Refuse(r.Hop+"/"+string(r.Code), r.Detail)
}

// fromWire is a peer's refusal as one of ours: a code that is not in the table says no more than that it refused.
func fromWire(hop string, w *p2p.Refused) *ao.Refusal {
	at, code, ok := strings.Cut(w.Code, "/")
	if !ok {
		at, code = hop, w.Code
	}
	if !isWord(at) {
		at = hop
	}
	if !isCode(ao.Code(code)) {
		return ao.Refuse(at, ao.Internal, "the peer refused for a reason unknown here, %.64q: %s", code, w.Detail)
	}
	return ao.Refuse(at, ao.Code(code), "%s", w.Detail)
}

// isWord says whether a stranger's hop looks like one of ours.
func isWord(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 16
}

func isCode(c ao.Code) bool {
	return slices.ContainsFunc(ao.Reasons(), func(r ao.Reason) bool { return r.Code == c })
}
