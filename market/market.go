// Package market is where users buy the computation and the security of each message, and where prices come from
// (§3.3-3.5, §4.4.3, §6.3.3): units offer, clients choose by price and latency, and nobody sets a price for all.
//
// In come signed offers, what a client needs, and what it saw of a unit before; out go offers in an order of
// preference, the quotes and deals that bind both sides, and for every offer not taken an enumerated reason. Time is an
// argument in milliseconds, chance is a seeded Rand, money is an integer.
//
// It never opens a stream, reads a clock or keeps a file: offers reach it through its caller, and so do the time and
// the latency measured to a peer. Ranking is local taste and enters no state machine. It moves no money and no stake:
// deals say what is owed, what a fault costs is decided in package staking.
//
// Start with offer.go, what a seller says, and rank.go, how a buyer picks; quote.go and deal.go bind the two, book.go
// bounds what strangers can fill, reason.go is the table of everything that can be said against an offer.
package market

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave/ans104"
)

// Peer names a unit: the SHA-256 of its Ed25519 key, which as text is its address.
type Peer = ao.ID

// PeerOf is the peer whose Ed25519 public key this is.
func PeerOf(key []byte) Peer { return sha256.Sum256(key) }

// Role is what a unit is paid for.
type Role uint8

// The roles that can be offered.
const (
	Scheduler Role = iota
	Computer
	Messenger
	Attestor
	roles // how many there are
)

// String is the word that the tag Role carries.
func (r Role) String() string {
	switch r {
	case Scheduler:
		return "su"
	case Computer:
		return "cu"
	case Messenger:
		return "mu"
	case Attestor:
		return "attestor"
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

// ParseRole reads the word. Errors: BadShape.
func ParseRole(s string) (Role, error) {
	for r := range roles {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, refuse(BadShape, "role %.16q", s)
}

// Rand is a seeded source of chance (splitmix64): the same seed gives the same decisions. The seed of a peer is secret,
// or sellers could work out when they are tried. Not safe for concurrent use.
type Rand struct{ state uint64 }

// NewRand is a source with that seed.
func NewRand(seed uint64) *Rand { return &Rand{state: seed} }

// Uint64 is the next number.
func (r *Rand) Uint64() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Below is a number in [0, n); 0 if n is.
func (r *Rand) Below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.Uint64(), n) // the bias is below n/2^64
	return hi
}

// sign makes an item of exactly these tags.
func sign(s ans104.Signer, tags []ans104.Tag, data []byte) (*ans104.Item, error) {
	return ans104.Sign(s, ans104.Fields{Tags: tags, Data: data})
}
