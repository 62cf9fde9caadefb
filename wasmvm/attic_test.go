package wasmvm

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

func newAttic(tb testing.TB) *Attic {
	tb.Helper()
	a, err := NewAttic()
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// noise is a state whose pages do not compress; those below alike are the same whatever the seed.
func noise(seed uint64, pages, alike int) *Image {
	mem := make([]byte, (pages+10)*PageSize)
	for i := range pages {
		from := rand.New(rand.NewPCG(seed, uint64(i)))
		if i < alike {
			from = rand.New(rand.NewPCG(0, uint64(i)))
		}
		for at := range PageSize / 8 {
			mem[(i+i/100)*PageSize+8*at] = byte(from.Uint32())
		}
	}
	return captureImage(mem, []byte{byte(seed), 1, 2})
}

func sameImage(tb testing.TB, got, want *Image) {
	tb.Helper()
	x, err := got.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	y, err := want.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		tb.Fatal("another state came out of the attic")
	}
}

// TestAttic: states come out as they went in, common pages are kept once, and nothing is left when all are gone.
func TestAttic(t *testing.T) {
	a := newAttic(t)
	const siblings, pages, alike = 12, 600, 500
	var parcels []*Parcel
	var sizes []uint64
	for seed := range uint64(siblings) {
		p := a.Pack(noise(seed+1, pages, alike))
		parcels, sizes = append(parcels, p), append(sizes, p.Size())
	}
	if first, last := sizes[0], sizes[siblings-1]; last > first/3 {
		t.Errorf("the first of %d siblings takes %d bytes, the last %d", siblings, first, last)
	}
	if n := len(a.common); n != alike {
		t.Errorf("%d pages are common, want %d", n, alike)
	}
	for seed, p := range parcels {
		img, err := p.Image()
		if err != nil {
			t.Fatal(err)
		}
		sameImage(t, img, noise(uint64(seed)+1, pages, alike))
	}
	sum := uint64(alike * commonBytes)
	for _, n := range sizes {
		sum += n
	}
	if a.Size() != sum {
		t.Errorf("the attic holds %d bytes, its parts %d", a.Size(), sum)
	}
	for i, p := range parcels {
		p.Drop()
		if i == siblings-2 { // one that shares is still here
			img, err := parcels[siblings-1].Image()
			if err != nil {
				t.Fatal(err)
			}
			sameImage(t, img, noise(siblings, pages, alike))
		}
	}
	if a.Size() != 0 || len(a.common) != 0 {
		t.Errorf("%d bytes and %d pages are left of nothing", a.Size(), len(a.common))
	}
}

// TestAtticNoticesDamage: a parcel that is not what was packed gives no state.
func TestAtticNoticesDamage(t *testing.T) {
	p := newAttic(t).Pack(noise(1, 300, 0))
	for _, chunk := range p.chunks {
		for _, at := range []int{len(chunk) / 3, len(chunk) - 1} {
			chunk[at] ^= 4
			if _, err := p.Image(); !errors.Is(err, ErrImage) {
				t.Errorf("flipped bit: %v, want ErrImage", err)
			}
			chunk[at] ^= 4
		}
	}
	if _, err := p.Image(); err != nil {
		t.Error(err)
	}
}

// TestAtticOfATracker packs a process from its journal, without an image in between.
func TestAtticOfATracker(t *testing.T) {
	p := mustWat(t, testEngine(t), map[string]string{"handle": `(i64.store (i64.const 90000) (i64.const 77)) i64.const 1000`})
	j := testJournal(t, p, testScan(t))
	if _, _, err := j.handle(nil, nil, MaxFuel); err != nil {
		t.Fatal(err)
	}
	j.mark()
	img, err := newAttic(t).Pack(j.changes(true)).Image()
	if err != nil {
		t.Fatal(err)
	}
	sameImage(t, img, j.image())
}
