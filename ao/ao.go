// Package ao holds the nouns of the AO computer (§3.1, §3.2, §5.2): processes, messages, assignments, entries,
// results and refusals, with the exact tags and the hash chain that today's network uses.
//
// In come ANS-104 items and the JSON that a module emits; out go values that are already parsed and, where they
// carry a signature, verified. A Message or an Assignment cannot exist in any other way.
//
// It never starts a goroutine, reads a clock, opens a socket or a file: time, heights and keys arrive as arguments.
//
// Start with message.go, then assignment.go and result.go; refusal.go is the table of everything that can be refused.
package ao

import (
	"fmt"
	"strconv"

	"github.com/aopeer/aopeer/arweave/ans104"
)

// ID names an item or a transaction: the SHA-256 of its signature, 32 bytes, written as 43 base64url characters.
type ID = ans104.ID

// ParseID reads the 43-character form of an ID.
func ParseID(s string) (ID, error) { return ans104.ParseID(s) }

// Slot is the position of an entry in a process's log, counted from 0, the process itself (§5.3). On the wire it
// is the decimal tag Nonce.
type Slot uint64

// String is the decimal form that the Nonce tag carries.
func (s Slot) String() string { return strconv.FormatUint(uint64(s), 10) }

// ParseSlot reads the canonical decimal form: no sign, no leading zero.
func ParseSlot(s string) (Slot, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%w: slot %.24q is not a decimal number", ErrTags, s)
	}
	return Slot(n), nil
}

// The fixed tag values of the data protocol.
const (
	DataProtocol = "ao"
	Variant      = "ao.TN.1"

	variantMainnet = "ao.N.1" // a spawn may ask for a process of that network

	TypeProcess    = "Process"
	TypeMessage    = "Message"
	TypeAssignment = "Assignment"
	TypeModule     = "Module"
)

// MaxItem bounds the bytes of one message or process: of its item, or of its transaction's raw form.
const MaxItem = 10 << 20
