package ao

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDetail bounds a refusal's detail in bytes, before the ellipsis.
const maxDetail = 512

// Code is why something was refused: one word of the table below, the same on the wire, in the log, in the CLI and
// in docs/reasons.md.
type Code string

// The codes. Reasons holds their meaning.
const (
	Malformed      Code = "malformed"
	BadSignature   Code = "bad-signature"
	NotAO          Code = "not-ao"
	WrongType      Code = "wrong-type"
	BadTags        Code = "bad-tags"
	NoTarget       Code = "no-target"
	TooLarge       Code = "too-large"
	BadDraft       Code = "bad-draft"
	BadAmount      Code = "bad-amount"
	BadResult      Code = "bad-result"
	UnknownProcess Code = "unknown-process"
	UnknownMessage Code = "unknown-message"
	UnknownModule  Code = "unknown-module"
	UnknownUnit    Code = "unknown-unit"
	WrongScheduler Code = "wrong-scheduler"
	Conflict       Code = "conflict"
	NotYet         Code = "not-yet"
	Unconfirmed    Code = "unconfirmed"
	Queued         Code = "queued"
	BadLog         Code = "bad-log"
	BadModule      Code = "bad-module"
	BadFormat      Code = "unsupported-format"
	BadState       Code = "bad-state"
	Contradiction  Code = "contradiction"
	BadClaim       Code = "bad-claim"
	OtherNetwork   Code = "other-network"
	Corrupt        Code = "corrupt"
	ArchiveDown    Code = "archive-unavailable"
	WalletTrouble  Code = "wallet"
	Unfunded       Code = "unfunded"
	Unpaid         Code = "unpaid"
	NoDeal         Code = "no-deal"
	NoOffer        Code = "no-offer"
	OverCap        Code = "over-the-cap"
	StoreTrouble   Code = "store"
	Busy           Code = "busy"
	Deadline       Code = "deadline"
	Unreachable    Code = "unreachable"
	Untrusted      Code = "untrusted"
	Rejected       Code = "rejected"
	Unsupported    Code = "unsupported"
	Internal       Code = "internal"
)

// Reason explains a code: what it means and what the one refused can do.
type Reason struct {
	Code    Code
	Meaning string
	Remedy  string
}

// Reasons is the whole table, in the order of docs/reasons.md, which is generated from it.
func Reasons() []Reason {
	return []Reason{
		{Malformed, "The bytes are not an ANS-104 item or bundle.", "Build the item again with a current client."},
		{BadSignature, "The signature does not fit the item, or a third party could have altered it.", "Sign the item again with the key it names."},
		{NotAO, "The item lacks the tag Data-Protocol: ao.", "Add the protocol's tags."},
		{WrongType, "The item's Type is not one that this door takes.", "Send messages and processes to a messenger or scheduler, nothing else."},
		{BadTags, "A tag is missing or malformed.", "The detail names the tag."},
		{NoTarget, "A message must name a process as its target.", "Set the item's target."},
		{TooLarge, "Something is larger than this unit allows.", "The detail says what, and the limit."},
		{BadDraft, "An element of an outbox cannot become an item.", "Correct the process's handler; the detail names the field."},
		{BadAmount, "A quantity is not an unsigned decimal integer of 256 bits.", "Write it as decimal digits without a sign."},
		{BadResult, "A result is not of the fixed encoding.", "Ask another unit; keep the answer as evidence."},
		{UnknownProcess, "No scheduler or archive that this unit knows has the process.", "Check the ID; a new process may need some seconds to be found."},
		{UnknownMessage, "The log does not hold that message.", "Check the ID, or wait until it has been scheduled."},
		{UnknownModule, "The module is not on the archive.", "Publish the module and wait until it is settled."},
		{UnknownUnit, "No unit with that address or role is known on this network.", "See `aopeer peers`; check the network file's bootstrap peers."},
		{WrongScheduler, "This unit may not sign for that process: its Scheduler tag names another.", "Send it to the scheduler that the process names."},
		{Conflict, "The slot is already taken by something else.", "Read the log again; the head has moved."},
		{NotYet, "The slot is not in the log yet.", "Ask again later."},
		{Unconfirmed, "The transaction is not as deep in Arweave's chain as the process asks.", "Ask again some blocks later; the process's Settlement-Depth, or 20, says how many."},
		{Queued, "The message is safe with the messenger, which could not reach its scheduler before the deadline.", "Nothing to do: it is retried. Ask for its result by the message ID."},
		{BadLog, "The log is broken: a gap, a broken link, a wrong signer or time running backwards.", "The detail names the first bad slot; its scheduler is at fault."},
		{BadModule, "The module's code cannot be run.", "The detail says what is wrong with the code."},
		{BadFormat, "No machine of this unit runs that Module-Format.", "Choose a module of a format that `aopeer version` lists."},
		{BadState, "A stored state does not match its digest.", "The unit falls back to replay; check the disk if it comes again."},
		{Contradiction, "The unit has signed another claim for that slot and will not sign a second.", "Ask another unit; the operator should look at why the results differ."},
		{BadClaim, "A claim is not of the fixed encoding or its signature does not fit.", "Ask another unit; keep the answer as evidence."},
		{OtherNetwork, "The peer or the file belongs to another network.", "Join the network with `aopeer init --network FILE`."},
		{Corrupt, "What was served is not what was signed.", "Try another gateway; verify names the slot."},
		{ArchiveDown, "No Arweave gateway answered.", "Check the gateways in the config and the network."},
		{WalletTrouble, "The Arweave wallet cannot be used.", "The detail says why, often the file's mode or an empty balance."},
		{Unfunded, "The unit's wallet could not pay for settling this.", "Try another unit; the operator should fund the wallet that `aopeer keys` shows."},
		{Unpaid, "The unit serves for a price, and no deal came with the question.", "Ask it for a quote and accept it; a current client does so by itself."},
		{NoDeal, "An offer, quote or deal is refused; the detail begins with the reason, which docs/market-reasons.md explains.", "Ask for a new quote, or another unit."},
		{NoOffer, "No unit offers what is needed.", "See `aopeer market explain`; the detail counts why the offers do not suit."},
		{OverCap, "Whoever could serve asks more than the buyer's cap, which is hard.", "Raise --max-price to what the detail names, or wait for a lower price."},
		{StoreTrouble, "The peer's store cannot be read or written.", "The detail says why: a full disk, a second instance, a damaged file."},
		{Busy, "The unit has more work than it takes at once.", "Try again after a moment, or another unit."},
		{Deadline, "The answer did not come in time.", "Try again; the work may have gone on."},
		{Unreachable, "The peer cannot be reached.", "See `aopeer peers`; try another unit."},
		{Untrusted, "The target does not trust the signer to speak for another process.", "Let a messenger push it that the process names in Authority."},
		{Rejected, "A scheduler of today's network does not take the message; the detail is in its words.", "See the detail. Most there take no signatures but those of Arweave and Ethereum wallets: docs/interop.md."},
		{Unsupported, "The unit does not do this.", "Ask a unit with that role."},
		{Internal, "Something went wrong inside the unit.", "See the unit's log; please report it."},
	}
}

// Refusal is the one error that crosses a wire: at which hop, why, and the particulars.
type Refusal struct {
	Hop    string `json:"hop"`
	Code   Code   `json:"code"`
	Detail string `json:"detail,omitempty"`
}

// Error is one line: hop, code and detail.
func (r *Refusal) Error() string {
	if r.Detail == "" {
		return fmt.Sprintf("%s: %s", r.Hop, r.Code)
	}
	return fmt.Sprintf("%s: %s: %s", r.Hop, r.Code, r.Detail)
}

// Is lets errors.Is compare by code: a target without hop and detail matches any refusal of its code.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code && (t.Hop == "" || t.Hop == r.Hop)
}

// Refuse makes a refusal; the detail is bounded and kept to one printable line, because it may quote a stranger.
func Refuse(hop string, code Code, format string, args ...any) *Refusal {
	detail := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, fmt.Sprintf(format, args...))
	if len(detail) > maxDetail {
		cut := maxDetail
		for !utf8.RuneStart(detail[cut]) {
			cut--
		}
		detail = detail[:cut] + "…"
	}
	return &Refusal{Hop: hop, Code: code, Detail: detail}
}

// RemedyOf is what the table advises for a code, "" for an unknown one.
func RemedyOf(c Code) string {
	for _, r := range Reasons() {
		if r.Code == c {
			return r.Remedy
		}
	}
	return ""
}
