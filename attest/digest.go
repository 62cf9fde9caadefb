package attest

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/aopeer/aopeer/ao"
)

// The domains keep digests of different things apart, whatever their content.
const (
	domainResult = "aopeer/result/1\x00"
	domainClaim  = "aopeer/claim/1\x00"
)

// The numbered optional fields of a result digest. A reader refuses numbers that it does not know.
const fieldDecision = 1 // one byte, ao.Decision; present only if the entry was not accepted

// OutboxLeaves are the leaves of a result's outbox root: the kind byte and the element as the module emitted it, in
// the order messages, spawns, assignments.
func OutboxLeaves(r ao.Result) []Hash {
	leaves := make([]Hash, 0, r.Outbox())
	add := func(kind ao.Kind, raw []byte) {
		leaves = append(leaves, LeafHash(append([]byte{byte(kind)}, raw...)))
	}
	for _, m := range r.Messages {
		add(ao.KindMessage, m.Raw)
	}
	for _, s := range r.Spawns {
		add(ao.KindSpawn, s.Raw)
	}
	for _, a := range r.Assignments {
		add(ao.KindAssignment, a.Raw)
	}
	return leaves
}

// ResultDigest is SHA-256 over the domain, the length-prefixed raw Error and Output, the outbox root and the numbered
// optional fields. Gas is no part of it: fuel counts depend on the engine's version.
func ResultDigest(r ao.Result) Hash {
	h := sha256.New()
	h.Write([]byte(domainResult))
	var n [4]byte
	block := func(b []byte) {
		binary.BigEndian.PutUint32(n[:], uint32(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	block(r.Error)
	block(r.Output)
	root := Root(OutboxLeaves(r))
	h.Write(root[:])
	if r.Decision != ao.Accepted {
		h.Write([]byte{0, fieldDecision})
		block([]byte{byte(r.Decision)})
	}
	return Hash(h.Sum(nil))
}
