package wasmvm

import (
	"fmt"
	"hash/maphash"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Memory is a state as it is packed: an Image, or all that a Tracker's Changes yield.
type Memory interface {
	// Len is the length of the linear memory in bytes.
	Len() uint64
	// Pages yields the pages that are not zero in ascending order until yield returns false.
	Pages(yield func(index uint32, page *[PageSize]byte) bool)
	// Tail is the state outside the memory.
	Tail() []byte
}

const (
	// packPages are compressed together: enough for them to help each other, few enough to need no large buffer.
	packPages = 256
	// commonAt is how often a page must be met before it is kept once for all, uncompressed: with fewer who share it,
	// as many compressed copies are smaller.
	commonAt = 4
	// maxSightings bounds what is remembered of pages that are not common; forgetting them costs room, nothing else.
	maxSightings = 1 << 18

	commonBytes = PageSize + 64
	parcelBytes = 512
)

// Attic keeps states at rest in little memory. A page that several of them hold is kept once, whatever process it comes
// from; what is left of a state is compressed. It is safe for concurrent use.
type Attic struct {
	seed maphash.Seed
	enc  *zstd.Encoder
	dec  *zstd.Decoder

	lock      sync.Mutex
	common    map[uint64]*commonPage // by fingerprint; another page with the same one is not common
	sightings map[uint64]uint8
	bytes     uint64
}

// commonPage is kept for as long as a parcel refers to it.
type commonPage struct {
	page  page
	print uint64
	refs  int
}

// NewAttic makes an empty one.
func NewAttic() (*Attic, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("make attic: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(1<<30), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make attic: %w", err)
	}
	return &Attic{
		seed: maphash.MakeSeed(), enc: enc, dec: dec,
		common: make(map[uint64]*commonPage), sightings: make(map[uint64]uint8),
	}, nil
}

// Size is what all parcels take together, in bytes.
func (a *Attic) Size() uint64 {
	a.lock.Lock()
	defer a.lock.Unlock()
	return a.bytes
}

// Parcel is a state at rest in an attic. It does not change; Drop gives its room back.
type Parcel struct {
	attic  *Attic
	length uint64
	index  []uint32
	common map[int]*commonPage // by place in index; the others are in chunks, in order
	chunks [][]byte
	tail   []byte
	own    uint64
}

// Pack puts a state into the attic, to be restored at any time later.
func (a *Attic) Pack(m Memory) *Parcel {
	p := &Parcel{attic: a, length: m.Len(), common: make(map[int]*commonPage)}
	raw := make([]byte, 0, packPages*PageSize)
	flush := func() {
		if len(raw) > 0 {
			p.chunks = append(p.chunks, append([]byte(nil), a.enc.EncodeAll(raw, nil)...)) // trimmed to its length
			raw = raw[:0]
		}
	}
	for index, page := range m.Pages {
		if c := a.share(page); c != nil {
			p.common[len(p.index)] = c
		} else if raw = append(raw, page[:]...); len(raw) == cap(raw) {
			flush()
		}
		p.index = append(p.index, index)
	}
	flush()
	if tail := m.Tail(); len(tail) > 0 {
		p.tail = a.enc.EncodeAll(tail, nil)
	}
	p.index = slices.Clone(p.index)
	p.own = uint64(parcelBytes + 4*len(p.index) + 32*len(p.common) + len(p.tail))
	for _, c := range p.chunks {
		p.own += uint64(len(c))
	}
	a.lock.Lock()
	defer a.lock.Unlock()
	a.bytes += p.own
	return p
}

// share returns the one copy of a page, with a reference more, if the page is common.
func (a *Attic) share(p *page) *commonPage {
	print := maphash.Bytes(a.seed, p[:])
	a.lock.Lock()
	defer a.lock.Unlock()
	if c := a.common[print]; c != nil {
		if c.page != *p {
			return nil
		}
		c.refs++
		return c
	}
	if len(a.sightings) >= maxSightings {
		clear(a.sightings)
	}
	if a.sightings[print]++; a.sightings[print] < commonAt {
		return nil
	}
	delete(a.sightings, print)
	c := &commonPage{page: *p, print: print, refs: 1}
	a.common[print] = c
	a.bytes += commonBytes
	return c
}

// Size is what the parcel takes for itself, in bytes; common pages are not counted.
func (p *Parcel) Size() uint64 { return p.own }

// Image unpacks the state. Errors: ErrImage, which only this machine's memory can be to blame for.
func (p *Parcel) Image() (*Image, error) {
	img := &Image{length: p.length, index: p.index}
	img.pages = make([]byte, len(p.index)*PageSize)
	var raw []byte
	next := 0
	for i := range p.index {
		if c := p.common[i]; c != nil {
			copy(img.pages[i*PageSize:], c.page[:])
			continue
		}
		if len(raw) == 0 {
			if next == len(p.chunks) {
				return nil, fmt.Errorf("%w: parcel too short", ErrImage)
			}
			var err error
			if raw, err = p.attic.dec.DecodeAll(p.chunks[next], nil); err != nil {
				return nil, fmt.Errorf("%w: unpack parcel: %w", ErrImage, err)
			}
			next++
		}
		if len(raw) < PageSize {
			return nil, fmt.Errorf("%w: part of a page", ErrImage)
		}
		raw = raw[copy(img.pages[i*PageSize:][:PageSize], raw):]
	}
	if len(p.tail) > 0 {
		var err error
		if img.tail, err = p.attic.dec.DecodeAll(p.tail, nil); err != nil {
			return nil, fmt.Errorf("%w: unpack parcel: %w", ErrImage, err)
		}
	}
	return img, nil
}

// Drop gives the parcel's room back. It is called once, and the parcel is not used after it.
func (p *Parcel) Drop() {
	a := p.attic
	a.lock.Lock()
	defer a.lock.Unlock()
	a.bytes -= p.own
	for _, c := range p.common {
		if c.refs--; c.refs == 0 {
			delete(a.common, c.print)
			a.bytes -= commonBytes
		}
	}
	p.common, p.chunks, p.index = nil, nil, nil
}
