// Package gateway is the HTTP door of a peer: the requests by which today's clients of the AO computer reach a
// messenger, a scheduler and a compute unit (§3.3 to §3.5), answered by the doors of package units.
//
// In come signed items by POST, and questions about slots and results by GET; out go the assignments, entries and
// results in the JSON that stock clients read, and refusals as their HTTP status and code.
//
// It never decides anything that a door of units does not decide for peers on the mesh, keeps no state of its own, and
// believes no header about who is asking.
//
// Nothing is built in this room yet. Start with units/units.go, the doors behind it, and with the codes of docs/wire.md.
package gateway
