package attest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"
)

// naive is RFC 6962, section 2.1, word for word, over the leaves themselves.
func naive(leaves [][]byte) Hash {
	n := len(leaves)
	if n == 0 {
		return sha256.Sum256(nil)
	}
	if n == 1 {
		return sha256.Sum256(append([]byte{0}, leaves[0]...))
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	left, right := naive(leaves[:k]), naive(leaves[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

func hashes(leaves [][]byte) []Hash {
	out := make([]Hash, len(leaves))
	for i, l := range leaves {
		out[i] = LeafHash(l)
	}
	return out
}

// ctLeaves are the leaves of the test tree that implementations of Certificate Transparency share.
func ctLeaves(t testing.TB) (leaves [][]byte) {
	for _, s := range []string{"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"} {
		b, err := hex.DecodeString(s)
		check(t, err)
		leaves = append(leaves, b)
	}
	return leaves
}

func TestRootKnownAnswers(t *testing.T) {
	leaves := ctLeaves(t)
	for n, want := range map[int]string{
		0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	} {
		root := Root(hashes(leaves[:n]))
		if got := hex.EncodeToString(root[:]); got != want {
			t.Errorf("root of %d leaves is %s, want %s", n, got, want)
		}
		if root != naive(leaves[:n]) {
			t.Errorf("root of %d leaves is not that of the definition", n)
		}
	}
}

func TestPath(t *testing.T) {
	var leaves [][]byte
	for n := 1; n <= 40; n++ {
		leaves = append(leaves, []byte{byte(n)})
		hs := hashes(leaves)
		root := naive(leaves)
		for i := range n {
			path := Path(hs, i)
			check(t, CheckPath(root, hs[i], uint64(i), uint64(n), path))
			refused := func(what string, root, leaf Hash, i, n uint64, path []Hash) {
				if CheckPath(root, leaf, i, n, path) == nil {
					t.Errorf("leaf %d of %d: %s is accepted", i, n, what)
				}
			}
			for j := range uint64(n + 2) {
				if j != uint64(i) {
					refused("another index", root, hs[i], j, uint64(n), path)
				}
			}
			flip := func(h Hash) Hash { h[i%32] ^= 1; return h }
			refused("another root", flip(root), hs[i], uint64(i), uint64(n), path)
			refused("another leaf", root, flip(hs[i]), uint64(i), uint64(n), path)
			refused("no leaves", root, hs[i], uint64(i), 0, path)
			refused("one hash more", root, hs[i], uint64(i), uint64(n), append(path[:len(path):len(path)], root))
			refused("65 hashes", root, hs[i], uint64(i), uint64(n), make([]Hash, 65))
			for k := range path {
				refused("one hash less", root, hs[i], uint64(i), uint64(n), slices.Delete(slices.Clone(path), k, k+1))
				bad := slices.Clone(path)
				bad[k] = flip(bad[k])
				refused("a changed hash", root, hs[i], uint64(i), uint64(n), bad)
				if k > 0 {
					bad = slices.Clone(path)
					bad[k], bad[k-1] = bad[k-1], bad[k]
					refused("swapped hashes", root, hs[i], uint64(i), uint64(n), bad)
				}
			}
		}
	}
	// Sizes that no tree of ours has end quickly and without a panic.
	for _, n := range []uint64{1 << 63, 1<<63 + 1, 1<<64 - 1} {
		wantErr(t, CheckPath(Hash{}, Hash{}, n-1, n, make([]Hash, 64)), ErrProof)
	}
}

// An inner node is no leaf: what RFC 6962's prefixes are for.
func TestNodeIsNoLeaf(t *testing.T) {
	hs := hashes(ctLeaves(t))
	inner := slices.Concat(hs[0][:], hs[1][:])
	if LeafHash(inner) == Root(hs[:2]) {
		t.Error("two leaves pass for one")
	}
}

// memory is a State in the open.
type memory struct {
	pages map[uint32]*[PageSize]byte
	n     uint32
	tail  []byte
	all   bool // yield zero pages too
}

func (m memory) Len() uint64  { return uint64(m.n) * PageSize }
func (m memory) Tail() []byte { return m.tail }

func (m memory) Pages(yield func(uint32, *[PageSize]byte) bool) {
	for i := range m.n {
		p := m.pages[i]
		if p == nil && m.all {
			p = new([PageSize]byte)
		}
		if p != nil && !yield(i, p) {
			return
		}
	}
}

func (m memory) leaves() (out [][]byte) {
	for i := range m.n {
		p := m.pages[i]
		if p == nil {
			p = new([PageSize]byte)
		}
		out = append(out, p[:])
	}
	last := binary.BigEndian.AppendUint64([]byte{'t'}, m.Len())
	return append(out, append(last, m.tail...))
}

func TestStateRoot(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	page := func() *[PageSize]byte {
		p := new([PageSize]byte)
		p[random.IntN(PageSize)] = byte(1 + random.IntN(255))
		return p
	}
	compare := func(m memory) {
		t.Helper()
		want := naive(m.leaves())
		for _, m.all = range []bool{false, true} {
			if got := StateRoot(m); got != want {
				t.Errorf("%d pages, %d of them not zero, tail of %d: root %x, want %x", m.n, len(m.pages), len(m.tail), got, want)
			}
		}
	}
	for n := range uint32(35) {
		compare(memory{n: n})
		compare(memory{n: n, tail: []byte("tail")})
		if n == 0 {
			continue
		}
		for _, at := range []uint32{0, n / 2, n - 1} {
			compare(memory{n: n, pages: map[uint32]*[PageSize]byte{at: page()}})
		}
		full := memory{n: n, pages: map[uint32]*[PageSize]byte{}, tail: []byte{0}}
		for i := range n {
			full.pages[i] = page()
		}
		compare(full)
	}
	for range 60 {
		m := memory{n: uint32(random.IntN(700)), pages: map[uint32]*[PageSize]byte{}, tail: make([]byte, random.IntN(40))}
		if m.n > 0 {
			for range random.IntN(30) {
				m.pages[uint32(random.IntN(int(m.n)))] = page()
			}
		}
		compare(m)
	}
}

func TestStateRootTellsApart(t *testing.T) {
	one := &[PageSize]byte{1}
	last := &[PageSize]byte{PageSize - 1: 1}
	seen := map[Hash]int{}
	for i, m := range []memory{
		{},
		{tail: []byte{0}},
		{tail: []byte{0, 0}},
		{n: 1},
		{n: 2},
		{n: 1, tail: []byte{0}},
		{n: 3},
		{n: 4},
		{n: 1, pages: map[uint32]*[PageSize]byte{0: one}},
		{n: 2, pages: map[uint32]*[PageSize]byte{0: one}},
		{n: 2, pages: map[uint32]*[PageSize]byte{1: one}},
		{n: 2, pages: map[uint32]*[PageSize]byte{0: last}},
		{n: 2, pages: map[uint32]*[PageSize]byte{0: one, 1: one}},
	} {
		root := StateRoot(m)
		if twin, ok := seen[root]; ok {
			t.Errorf("memories %d and %d have one root", twin, i)
		}
		seen[root] = i
	}
}

// A memory of 2^32 pages, the most there can be, costs its non-zero pages only.
func TestStateRootOfTheLargestMemory(t *testing.T) {
	m := huge{}
	want := LeafHash(binary.BigEndian.AppendUint64([]byte{'t'}, m.Len()))
	if got := StateRoot(m); got != nodeHash(zeroRoots()[32], want) {
		t.Errorf("root %x", got)
	}
}

type huge struct{ last *[PageSize]byte }

func (huge) Len() uint64  { return 1 << 44 }
func (huge) Tail() []byte { return nil }

func (h huge) Pages(yield func(uint32, *[PageSize]byte) bool) {
	if h.last != nil {
		yield(1<<32-1, h.last)
	}
}

func BenchmarkStateRoot(b *testing.B) {
	random := rand.New(rand.NewPCG(5, 6))
	m := memory{n: 110 << 20 / PageSize, pages: map[uint32]*[PageSize]byte{}, tail: []byte("tail")}
	for len(m.pages) < 500 {
		p := new([PageSize]byte)
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		m.pages[random.Uint32N(m.n)] = p
	}
	b.Run("sparse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			StateRoot(m)
		}
	})
	b.Run("primitive/500-pages", func(b *testing.B) {
		for b.Loop() {
			for _, p := range m.pages {
				sha256.Sum256(p[:])
			}
		}
	})
}
