package wasmvm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// ErrImage marks bytes that are no saved image.
var ErrImage = errors.New("damaged image")

const (
	// PageSize is the unit in which state is saved and hashed.
	PageSize = 4096

	imageMagic  = "AOPIMG\x00\x01"
	imageHeader = len(imageMagic) + 8 + 4 + 4 + 8
	maxTail     = 64 << 20 // a native process keeps its whole state there
)

type page = [PageSize]byte

// Image is the whole state of a process between two messages: its linear memory, of which the zero pages
// are left out, and whatever the format keeps outside the memory. An Image is never changed once made.
type Image struct {
	length uint64
	index  []uint32 // ascending
	pages  []byte   // PageSize bytes for each index
	tail   []byte
}

// captureImage copies the non-zero pages of mem.
func captureImage(mem, tail []byte) *Image {
	img := &Image{length: uint64(len(mem)), tail: bytes.Clone(tail)}
	var zero page
	for at := 0; at+PageSize <= len(mem); at += PageSize {
		if p := mem[at : at+PageSize]; !bytes.Equal(p, zero[:]) {
			img.index = append(img.index, uint32(at/PageSize))
			img.pages = append(img.pages, p...)
		}
	}
	return img
}

// Len is the length of the linear memory in bytes, zero pages included.
func (img *Image) Len() uint64 { return img.length }

// Count is the number of pages that are not zero.
func (img *Image) Count() int { return len(img.index) }

// Tail is the state outside the memory; it must not be changed.
func (img *Image) Tail() []byte { return img.tail }

// Pages yields the non-zero pages in ascending order until yield returns false. The pages must not be changed.
func (img *Image) Pages(yield func(index uint32, page *[PageSize]byte) bool) {
	for i, index := range img.index {
		if !yield(index, img.at(i)) {
			return
		}
	}
}

// Memory reads the linear memory from its beginning, zero pages included.
func (img *Image) Memory() io.Reader { return &memoryReader{img: img} }

type memoryReader struct {
	img  *Image
	next int    // of the pages that are not zero, the first that is not read to its end
	at   uint64 // in bytes
}

// Read copies the rest of a page at most.
func (r *memoryReader) Read(p []byte) (int, error) {
	if r.at >= r.img.length {
		return 0, io.EOF
	}
	offset := int(r.at % PageSize)
	p = p[:min(len(p), PageSize-offset)]
	if r.next < len(r.img.index) && uint64(r.img.index[r.next]) == r.at/PageSize {
		copy(p, r.img.at(r.next)[offset:])
		if offset+len(p) == PageSize {
			r.next++
		}
	} else {
		clear(p)
	}
	r.at += uint64(len(p))
	return len(p), nil
}

func (img *Image) at(i int) *page { return (*page)(img.pages[i*PageSize:]) }

// page returns one page, nil when it is zero. A nil image is all zero.
func (img *Image) page(index uint32) *page {
	if img == nil {
		return nil
	}
	if i, ok := slices.BinarySearch(img.index, index); ok {
		return img.at(i)
	}
	return nil
}

// Encode returns the image as a file: header, page list, tail, compressed pages, and the SHA-256 of all that.
func (img *Image) Encode() ([]byte, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("compress image: %w", err)
	}
	defer enc.Close()
	var packed []byte
	if len(img.pages) > 0 { // a native process has none
		packed = enc.EncodeAll(img.pages, nil)
	}
	out := make([]byte, 0, imageHeader+4*len(img.index)+len(img.tail)+len(packed)+sha256.Size)
	out = append(out, imageMagic...)
	out = binary.LittleEndian.AppendUint64(out, img.length)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(img.index)))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(img.tail)))
	out = binary.LittleEndian.AppendUint64(out, uint64(len(packed)))
	for _, index := range img.index {
		out = binary.LittleEndian.AppendUint32(out, index)
	}
	out = append(out, img.tail...)
	out = append(out, packed...)
	sum := sha256.Sum256(out)
	return append(out, sum[:]...), nil
}

// DecodeImage reads what Encode wrote. limit bounds the memory the image may describe; a hostile file costs at
// most that much, and only what its pages really hold.
func DecodeImage(data []byte, limit uint64) (*Image, error) {
	if len(data) < imageHeader+sha256.Size || string(data[:len(imageMagic)]) != imageMagic {
		return nil, fmt.Errorf("%w: header", ErrImage)
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return nil, fmt.Errorf("%w: digest", ErrImage)
	}
	head := body[len(imageMagic):]
	img := &Image{length: binary.LittleEndian.Uint64(head)}
	count := uint64(binary.LittleEndian.Uint32(head[8:]))
	tail := uint64(binary.LittleEndian.Uint32(head[12:]))
	packed := binary.LittleEndian.Uint64(head[16:])
	body = body[imageHeader:]
	if img.length > limit || img.length%wasmPage != 0 || img.length/PageSize > 1<<32 || count > img.length/PageSize || tail > maxTail ||
		packed > uint64(len(body)) || uint64(len(body)) != 4*count+tail+packed {
		return nil, fmt.Errorf("%w: lengths", ErrImage)
	}
	img.index = make([]uint32, count)
	for i := range img.index {
		img.index[i] = binary.LittleEndian.Uint32(body[4*i:])
		if uint64(img.index[i]) >= img.length/PageSize || i > 0 && img.index[i] <= img.index[i-1] {
			return nil, fmt.Errorf("%w: page list", ErrImage)
		}
	}
	body = body[4*count:]
	if tail > 0 {
		img.tail = bytes.Clone(body[:tail])
	}
	if err := img.unpack(body[tail:], int(count)*PageSize); err != nil {
		return nil, err
	}
	return img, nil
}

// unpack fills in the pages; a page of zeros is refused, because one state has one image.
func (img *Image) unpack(packed []byte, size int) error {
	if size == 0 {
		if len(packed) > 0 {
			return fmt.Errorf("%w: pages", ErrImage)
		}
		return nil
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(size)+1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return fmt.Errorf("decompress image: %w", err)
	}
	defer dec.Close()
	img.pages, err = dec.DecodeAll(packed, nil)
	if err != nil || len(img.pages) != size {
		return fmt.Errorf("%w: pages", ErrImage)
	}
	var zero page
	for i := range img.index {
		if *img.at(i) == zero {
			return fmt.Errorf("%w: zero page", ErrImage)
		}
	}
	return nil
}
