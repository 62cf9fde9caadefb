package attest

import (
	"math/rand/v2"
	"testing"
)

// changed is a memory of which only some pages are yielded.
type changed struct {
	memory
	dirty map[uint32]bool
}

func (c changed) Pages(yield func(uint32, *[PageSize]byte) bool) {
	for i := range c.dirty { // in any order
		p := c.pages[i]
		if p == nil {
			p = new([PageSize]byte)
		}
		if !yield(i, p) {
			return
		}
	}
}

// TestPageTree lets memories change, grow, shrink and empty, and compares every root with the definition.
func TestPageTree(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		m := memory{n: random.Uint32N(300), pages: map[uint32]*[PageSize]byte{}}
		var tree PageTree
		for step := range 12 {
			dirty := map[uint32]bool{}
			if random.IntN(3) == 0 {
				m.n = uint32(max(0, int(m.n)+random.IntN(200)-60))
				for i := range m.pages {
					if i >= m.n {
						delete(m.pages, i)
					}
				}
			}
			for range random.IntN(40) {
				if m.n == 0 {
					break
				}
				i := random.Uint32N(m.n)
				dirty[i] = true
				if random.IntN(4) == 0 {
					delete(m.pages, i)
					continue
				}
				p := new([PageSize]byte)
				p[random.IntN(PageSize)] = byte(1 + random.IntN(255))
				m.pages[i] = p
			}
			m.tail = make([]byte, random.IntN(9))
			if got, want := tree.Update(changed{m, dirty}), naive(m.leaves()); got != want {
				t.Fatalf("step %d, %d pages, %d of them not zero: root %x, want %x", step, m.n, len(m.pages), got, want)
			}
		}
	}
}

// The last page of the largest memory has its place.
func TestPageTreeOfTheLargestMemory(t *testing.T) {
	var tree PageTree
	before := tree.Update(huge{})
	if got := tree.Update(huge{last: &[PageSize]byte{1}}); got == before {
		t.Error("the last page does not count")
	}
	if got := tree.Update(huge{last: &[PageSize]byte{}}); got != before {
		t.Error("a page that is zero again still counts")
	}
}

// BenchmarkPageTree is the root after a message that wrote 290 of 500 pages, as one to a real process does.
func BenchmarkPageTree(b *testing.B) {
	c := changed{memory{n: 110 << 20 / PageSize, pages: map[uint32]*[PageSize]byte{}}, map[uint32]bool{}}
	for i := range uint32(500) {
		c.pages[i*7] = &[PageSize]byte{byte(i), 1}
		c.dirty[i*7] = true
	}
	var tree PageTree
	tree.Update(c)
	for i := range c.dirty {
		if len(c.dirty) > 290 {
			delete(c.dirty, i)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		tree.Update(c)
	}
}
