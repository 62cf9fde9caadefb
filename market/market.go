// Package market is where users buy the computation and the security of each message, and where prices come from
// (§6.1, §6.3.3): units offer, clients choose, and nobody sets a price for all.
//
// In come signed offers, the needs of a message and what was seen of a unit before; out go offers in an order of
// preference with the reason for each place, the quotes that bind both sides, deals and vouchers.
//
// It never opens a stream, reads a clock or keeps a file: offers reach it through its caller, and so do the time and
// the latency measured to a peer. It moves no stake; what a fault costs is decided in package staking.
//
// Nothing is built in this room yet. Start with the words rank and reserve of docs/flow.md; units/units.go has the doors
// that will ask it whom to call.
package market
