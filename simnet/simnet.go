// Package simnet builds cities of peers in virtual time and shows that the machine keeps its promises when peers lie,
// crash and part: the sentences of the security model (§5.2 to §5.7) as tests.
//
// In come scripts of hop words and faults, with a seed; out come transcripts, and verdicts on properties such as
// gapless logs, conserved balances and messages that take effect once.
//
// It never has a second implementation of a peer: what runs here is the composition of internal/node with its
// network, archive and machine replaced. It never sleeps in real time and touches no network but its own.
//
// Nothing is built in this room yet. Start with internal/node, whose parts it replaces, and with NewCrashable and Faulty
// of internal/store, which are its crashes.
package simnet
