package market

import (
	"errors"
	"fmt"
)

// Reason is why an offer, a quote or a deal is not taken, or not first. It is an error, so errors.Is finds it in one that says more.
type Reason string

// Error is the word itself.
func (r Reason) Error() string { return string(r) }

// What can be said against bytes that claim to be an offer, a quote, a deal or a need.
const (
	BadShape     Reason = "bad-shape"
	BadSignature Reason = "bad-signature"
	TooLarge     Reason = "too-large"
	Absurd       Reason = "absurd-price"
	OtherNetwork Reason = "other-network"
	Expired      Reason = "expired"
	FromFuture   Reason = "from-the-future"
	TooLongLived Reason = "too-long-lived"
)

// What a book, or whoever fills it, can say of an offer that is sound.
const (
	Known        Reason = "known"
	RolledBack   Reason = "rolled-back"
	Equivocated  Reason = "equivocated"
	BookFull     Reason = "book-full"
	BlockCrowded Reason = "block-crowded"
	TooSoon      Reason = "too-soon"
)

// Why an offer does not suit a need.
const (
	WrongRole    Reason = "wrong-role"
	NoFormat     Reason = "no-format"
	NoExtension  Reason = "no-extension"
	LittleMemory Reason = "little-memory"
	LittleWork   Reason = "little-compute"
	OtherRegion  Reason = "other-region"
	OtherLedger  Reason = "other-ledger"
	NoCapacity   Reason = "no-capacity"
	Dear         Reason = "over-the-cap"
	Slow         Reason = "too-slow"
	Shunned      Reason = "shunned"
)

// Why a suitable offer is not the first.
const (
	NotDrawn    Reason = "not-drawn"
	Dearer      Reason = "dearer"
	Slower      Reason = "slower"
	LessProven  Reason = "less-proven"
	Outweighed  Reason = "outweighed"
	Chosen      Reason = "chosen"
	Tried       Reason = "tried"
	StandsAside Reason = "next-in-line"
)

// Why a quote or a deal does not bind.
const (
	OtherNeed   Reason = "other-need"
	OtherSeller Reason = "other-seller"
	OtherBuyer  Reason = "other-buyer"
	StaleOffer  Reason = "stale-offer"
	BadSum      Reason = "bad-sum"
	OverOffer   Reason = "over-the-offer"
	FarBehind   Reason = "behind-the-log"
	DealtTwice  Reason = "dealt-twice"
)

// Why a seller puts a job off.
const (
	Busy      Reason = "busy"
	PayerBusy Reason = "payer-busy"
	Displaced Reason = "displaced"
	Underpaid Reason = "underpaid"
)

// IsFault says whether whoever sent it answers for it, so that a peer which passes it on may be turned away: what is wrong
// whenever and by whomever it is looked at. The clock, the order of arrival and what a book holds are nobody's fault.
func (r Reason) IsFault() bool {
	switch r {
	case BadShape, BadSignature, TooLarge, Absurd, OtherNetwork, TooLongLived, BadSum:
		return true
	}
	return false
}

// Explanation is a row of the table of reasons.
type Explanation struct {
	Reason  Reason
	Meaning string
	Remedy  string
}

// Reasons is the whole table, in the order of docs/market-reasons.md, which is generated from it.
func Reasons() []Explanation {
	return []Explanation{
		{BadShape, "The bytes are no offer, quote, deal or need of the fixed form.", "Build it again with a current client; the detail names the field."},
		{BadSignature, "The signature does not fit, or is not of a unit's Ed25519 key.", "Sign it again with the unit's key."},
		{TooLarge, "The bytes, or a list among them, are longer than allowed.", "Offer fewer formats, extensions, ledgers or addresses."},
		{Absurd, "A price component is above 2^63 − 1, or a sum leaves 256 bits.", "Lower the price; check its decimals."},
		{OtherNetwork, "It is for another network.", "Join that network, or ignore it."},
		{Expired, "Its time is over.", "A seller renews its offer; a buyer asks for a new quote."},
		{FromFuture, "Its sequence number lies more than two minutes ahead.", "Set the clock of the machine that signed it."},
		{TooLongLived, "It would hold longer than offers or quotes may.", "Sign it for a shorter time and renew it."},
		{Known, "The very same offer is in the book already.", "Nothing to do."},
		{RolledBack, "A newer offer of the unit is in the book.", "If it is yours: two machines run with one key, or the clock went back."},
		{Equivocated, "The unit signed two different offers with one sequence number. Both are kept, and it ranks far down.", "If it is yours: two machines run with one key. The mark fades within a day."},
		{BookFull, "The part of the book for newcomers is full, and the draw fell on others.", "Keep offering: the draw is repeated, and who has served a buyer is no newcomer to it."},
		{BlockCrowded, "Too many newcomers share its block of addresses (/24 or /48).", "Offer from fewer units, or from several places."},
		{TooSoon, "It follows the unit's last offer within a second.", "Change prices less often."},
		{WrongRole, "It is for another role.", "Nothing to do."},
		{NoFormat, "The unit does not run the module's format.", "Choose another unit; a seller may add the format."},
		{NoExtension, "The unit lacks an extension that the module asks for.", "Choose another unit; a seller may add the extension."},
		{LittleMemory, "The process needs more memory than the unit gives.", "Choose another unit; a seller may raise its limit."},
		{LittleWork, "The process may compute longer than the unit allows.", "Choose another unit; a seller may raise its limit."},
		{OtherRegion, "It is not in the region asked for.", "Ask for no region, or another."},
		{OtherLedger, "It does not accept payment on the ledger asked for.", "Pay on another ledger."},
		{NoCapacity, "The unit says that it takes no more work.", "Ask again later."},
		{Dear, "The price is above the buyer's cap, which is hard.", "Raise the cap, or wait for a lower price; a seller may lower its own."},
		{Slow, "The latency measured to the unit is above the buyer's limit.", "Raise the limit."},
		{Shunned, "The buyer excludes it: by name, or because of wrong results or broken quotes.", "A seller honours its quotes; old faults fade."},
		{NotDrawn, "It suits, and was not among the four that the draw compared.", "Nothing to do: the draw spreads the load."},
		{Dearer, "It lost because of its price.", "A seller may lower its price."},
		{Slower, "It lost because of its latency, or of work in flight to it.", "A seller may sell nearer to buyers."},
		{LessProven, "It lost because less of what it was asked went well, or because too little was asked yet.", "Serve; newcomers are tried now and then."},
		{Outweighed, "It lost by no single cause.", "Nothing to do."},
		{Chosen, "It is the buyer's first choice.", "Nothing to do."},
		{Tried, "It is tried beside a trusted unit, to get to know it.", "Nothing to do."},
		{StandsAside, "It takes over if those before it do not answer.", "Nothing to do."},
		{OtherNeed, "The quote is for another need.", "Ask for a quote for this one."},
		{OtherSeller, "The quote is not signed by the unit that was asked.", "Ask another unit."},
		{OtherBuyer, "The deal is not signed by the buyer of the need.", "Sign it with the key that the need names."},
		{StaleOffer, "The quote rests on another offer than the one known.", "Fetch the unit's newest offer, then ask again."},
		{BadSum, "The parts of the price do not add up to it.", "Ask another unit."},
		{OverOffer, "The quote asks more than the unit's own offer allows.", "Ask another unit; keep the quote, its score falls."},
		{FarBehind, "The quote charges for more slots than the log has.", "Ask another unit; keep the quote, its score falls."},
		{DealtTwice, "There is a deal on that quote already.", "Nothing more is owed; ask for a new quote."},
		{Busy, "The seller has as much work waiting as it holds.", "Try later, pay the price that the answer names, or ask another unit."},
		{PayerBusy, "This payer has as much work waiting as one payer may.", "Wait for some of it."},
		{Displaced, "The work was waiting, and gave its place to a payer with less waiting.", "Try again, or ask another unit."},
		{Underpaid, "The deal pays less than the quote.", "Accept the quote as it is."},
	}
}

// RemedyOf is what the table advises, "" for an unknown reason.
func RemedyOf(r Reason) string {
	for _, e := range Reasons() {
		if e.Reason == r {
			return e.Remedy
		}
	}
	return ""
}

// ReasonOf is the reason in an error, "" if there is none.
func ReasonOf(err error) Reason {
	var r Reason
	errors.As(err, &r)
	return r
}

// refuse is an error of that reason with its particulars.
func refuse(r Reason, format string, args ...any) error {
	return fmt.Errorf("%w: %s", r, fmt.Sprintf(format, args...))
}
