// Package attest is what a computing unit says about a slot and can be held to (§5.2.3, §5.5.2): the digest of a
// result, the root of a state, the signed claim that names both, and batches of claims that one signature covers.
//
// In come results and pages of memory; out go digests, claims and proofs. The encodings are fixed in docs/wire.md
// with golden vectors, because what is signed here may cost a stake.
//
// It never signs before the journal has the claim on disk, and never reads a clock, a socket or a file itself.
//
// Start with claim.go; merkle.go holds the trees and digest.go what goes into them.
package attest
