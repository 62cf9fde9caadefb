// Package trace follows one message through all peers it meets: each hop of the walk (§3.3 to §3.5) becomes a span,
// and spans of one message line up because the trace's ID is the first 16 bytes of the message's.
//
// In come the beginning and end of hops, named by their word, with the message they serve; out go spans for whoever
// collects them, and counters by hop word for a registry that is handed in.
//
// It never adds a header to the wire, never registers anything with a default registry, and a peer without a collector
// pays nothing for it.
//
// Nothing is built in this room yet. Start with docs/flow.md, where the hop words are, and with units/mu/push.go, which
// passes through most of them.
package trace
