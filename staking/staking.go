// Package staking is the economic law of the network as state machines: AO-Sec Origin, which holds the stake of all units
// and re-hosts processes (§5.6), stake exclusivity (§6.2), SIV committees (§5.7), sub-ledgers and the mint (§7).
//
// One message goes in with the state it finds; the next state and an outbox come out. Each machine is a process like
// any other, its module native to this binary, so that every peer can follow its log and get the same answer.
//
// It never takes stake on somebody's word: what it slashes for verifies offline from signed items alone. It reads no
// clock and draws no chance; heights and seeds arrive in the messages. Amounts are integers, never floats.
//
// Nothing is built in this room yet. Start with attest/claim.go, for the claims that units will answer for here, and
// with ao.Amount.
package staking
