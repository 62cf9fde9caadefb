package attest

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// PageTree is the tree under a state root, kept while the state changes: a slot costs the hashes of the pages that it
// wrote and of the paths above them. The zero value holds no page. It is not for concurrent use.
type PageTree struct {
	pages  uint64
	blocks map[uint64]*pageBlock // by index of the first page / blockLeaves; a missing one is all zero pages
	order  []uint64              // the blocks, ascending
	zero   *[33]Hash             // zero[k] is the root of 2^k zero pages
}

// blockLevels makes a block large enough that few are needed and small enough that sparse memory stays sparse.
const (
	blockLevels = 6
	blockLeaves = 1 << blockLevels
)

// pageBlock is the perfect tree over 64 pages: node 1 is its root, the children of i are 2i and 2i+1.
type pageBlock struct {
	node  [2 * blockLeaves]Hash
	dirty uint64 // leaves whose path is stale
}

// Update takes over what has changed and returns the root. s.Pages must yield every page that is not as it was at the
// last Update, all-zero ones too, in any order; s.Len and s.Tail are those of the whole state.
func (t *PageTree) Update(s State) Hash {
	if t.zero == nil {
		z := zeroRoots()
		t.zero, t.blocks = &z, make(map[uint64]*pageBlock)
	}
	n := s.Len() / PageSize
	t.cut(n)
	t.pages = n
	t.take(s)
	for _, b := range t.blocks {
		if b.dirty != 0 {
			b.climb(1, 0, blockLeaves)
			b.dirty = 0
		}
	}
	last := binary.BigEndian.AppendUint64([]byte{'t'}, s.Len())
	return t.spine(0, n+1, LeafHash(append(last, s.Tail()...)))
}

// Remembering is a State that keeps the leaf hashes of its pages.
type Remembering interface {
	State
	// Leaves is Pages with a place beside each page for its LeafHash. It holds the hash, or zero if none was put there for
	// this very content; nil is no place.
	Leaves(yield func(index uint32, page *[PageSize]byte, leaf *Hash) bool)
}

// take notes the leaf of every page that s yields.
func (t *PageTree) take(s State) {
	var zero [PageSize]byte
	note := func(i uint32, page *[PageSize]byte, known *Hash) bool {
		switch {
		case *page == zero:
			t.set(uint64(i), t.zero[0], false)
		case known == nil:
			t.set(uint64(i), LeafHash(page[:]), true)
		default:
			if *known == (Hash{}) {
				*known = LeafHash(page[:])
			}
			t.set(uint64(i), *known, true)
		}
		return true
	}
	if r, ok := s.(Remembering); ok {
		r.Leaves(note)
		return
	}
	s.Pages(func(i uint32, page *[PageSize]byte) bool { return note(i, page, nil) })
}

// set notes a leaf; one of a zero page needs no block of its own.
func (t *PageTree) set(page uint64, h Hash, create bool) {
	at := page / blockLeaves
	b := t.blocks[at]
	if b == nil {
		if !create {
			return
		}
		b = newPageBlock(t.zero)
		t.blocks[at] = b
		i, _ := slices.BinarySearch(t.order, at)
		t.order = slices.Insert(t.order, i, at)
	}
	b.node[blockLeaves+page%blockLeaves] = h
	b.dirty |= 1 << (page % blockLeaves)
}

func newPageBlock(zero *[33]Hash) *pageBlock {
	b := &pageBlock{}
	for i := 1; i < len(b.node); i++ {
		b.node[i] = zero[blockLevels+1-bits.Len(uint(i))]
	}
	return b
}

// cut forgets the pages from n on, if the memory became shorter.
func (t *PageTree) cut(n uint64) {
	if n >= t.pages {
		return
	}
	for _, at := range t.order {
		for i := max(n, at*blockLeaves); i < min(t.pages, (at+1)*blockLeaves); i++ {
			t.set(i, t.zero[0], false)
		}
	}
}

// climb makes the nodes anew that stand over dirty leaves; node covers n leaves from lo on.
func (b *pageBlock) climb(node, lo, n int) {
	if n == 1 || b.dirty>>lo&(1<<n-1) == 0 {
		return
	}
	b.climb(2*node, lo, n/2)
	b.climb(2*node+1, lo+n/2, n/2)
	b.node[node] = nodeHash(b.node[2*node], b.node[2*node+1])
}

// spine is the root of n leaves from lo on, the last of which is the tail. All that stands left of the way down to it are
// perfect trees.
func (t *PageTree) spine(lo, n uint64, tail Hash) Hash {
	if n == 1 {
		return tail
	}
	k := split(n)
	return nodeHash(t.perfect(lo, bits.TrailingZeros64(k)), t.spine(lo+k, n-k, tail))
}

// perfect is the root of 2^level pages from lo on, which is a multiple of that.
func (t *PageTree) perfect(lo uint64, level int) Hash {
	if level > blockLevels {
		i, _ := slices.BinarySearch(t.order, lo/blockLeaves)
		if i == len(t.order) || t.order[i] >= (lo+1<<level)/blockLeaves {
			return t.zero[level]
		}
		return nodeHash(t.perfect(lo, level-1), t.perfect(lo+1<<(level-1), level-1))
	}
	b := t.blocks[lo/blockLeaves]
	if b == nil {
		return t.zero[level]
	}
	return b.node[1<<(blockLevels-level)+lo%blockLeaves>>level]
}

func zeroRoots() (z [33]Hash) {
	z[0] = LeafHash(make([]byte, PageSize))
	for k := 1; k < len(z); k++ {
		z[k] = nodeHash(z[k-1], z[k-1])
	}
	return z
}
