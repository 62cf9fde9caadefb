package attest

import (
	"crypto/sha256"
	"errors"
	"math/bits"
)

// ErrProof says that a Merkle path does not lead to the root.
var ErrProof = errors.New("the proof does not lead to the root")

// Hash is a SHA-256 digest.
type Hash = [32]byte

// LeafHash is RFC 6962's hash of one leaf: SHA-256(0x00 ‖ leaf).
func LeafHash(leaf []byte) Hash {
	if len(leaf) == PageSize {
		var b [1 + PageSize]byte // on the stack, and one call
		copy(b[1:], leaf)
		return sha256.Sum256(b[:])
	}
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return Hash(h.Sum(nil))
}

func nodeHash(left, right Hash) Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Root is RFC 6962's Merkle tree hash of the leaves' hashes; that of none is SHA-256 of nothing.
func Root(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := split(uint64(len(leaves)))
	return nodeHash(Root(leaves[:k]), Root(leaves[k:]))
}

// split is the largest power of two below n, for n of at least 2.
func split(n uint64) uint64 { return 1 << (bits.Len64(n-1) - 1) }

// Path is the audit path of leaf i: the siblings from the leaf up.
func Path(leaves []Hash, i int) []Hash {
	if len(leaves) <= 1 {
		return nil
	}
	k := int(split(uint64(len(leaves))))
	if i < k {
		return append(Path(leaves[:k], i), Root(leaves[k:]))
	}
	return append(Path(leaves[k:], i-k), Root(leaves[:k]))
}

// CheckPath verifies that leaf stands at index i of n under root. Errors: ErrProof.
func CheckPath(root, leaf Hash, i, n uint64, path []Hash) error {
	if n == 0 || i >= n || len(path) > 64 {
		return ErrProof
	}
	got, rest, ok := climb(leaf, i, n, path)
	if !ok || len(rest) != 0 || got != root {
		return ErrProof
	}
	return nil
}

func climb(leaf Hash, i, n uint64, path []Hash) (Hash, []Hash, bool) {
	if n == 1 {
		return leaf, path, true
	}
	k := split(n)
	var h Hash
	var ok bool
	if i < k {
		h, path, ok = climb(leaf, i, k, path)
	} else {
		h, path, ok = climb(leaf, i-k, n-k, path)
	}
	if !ok || len(path) == 0 {
		return Hash{}, nil, false
	}
	if i < k {
		return nodeHash(h, path[0]), path[1:], true
	}
	return nodeHash(path[0], h), path[1:], true
}

// PageSize is the unit of the state root, in bytes.
const PageSize = 4096

// State is what a state root covers: a memory and what stands beside it. It must not change while it is read.
type State interface {
	// Len is the memory's length in bytes, a multiple of PageSize and at most 2^32 pages.
	Len() uint64
	// Pages yields at least the pages that are not all zero, each once and in ascending order, until yield returns false.
	Pages(yield func(index uint32, page *[PageSize]byte) bool)
	// Tail is the state outside the memory, in its one encoding.
	Tail() []byte
}

// StateRoot is RFC 6962 over the memory's pages and one last leaf, 't' ‖ big-endian length of the memory ‖ tail.
// All-zero pages cost nothing: the root of 2^k of them is a constant. Whoever needs the root again after the state has
// changed a little keeps a PageTree.
func StateRoot(s State) Hash { return new(PageTree).Update(s) }
