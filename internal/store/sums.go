package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A stored file on disk is its content, then one checksum for every sumBlock bytes of it, then a foot:
//
//	content ‖ CRC-32C of each block ‖ length of the content (8) ‖ CRC-32C of name and all checksums and length (4) ‖ footMark
//
// The content comes first so that places in it are places in the file. The name is summed up too: a file that was
// swapped with another is damaged.
const (
	sumBlock = 64 << 10
	sumSize  = 4
	footMark = "aopF"
	footSize = 8 + sumSize + len(footMark)
)

// sizeOnDisk is the length of a stored file of n bytes.
func sizeOnDisk(n int64) int64 { return n + sumSize*blocksOf(n) + int64(footSize) }

func blocksOf(n int64) int64 { return (n + sumBlock - 1) / sumBlock }

// sizeOfContent is the opposite of sizeOnDisk; ok is false for a length that no stored file has.
func sizeOfContent(onDisk int64) (n int64, ok bool) {
	rest := onDisk - int64(footSize)
	if rest < 0 {
		return 0, false
	}
	n = rest - sumSize*((rest+sumBlock+sumSize-1)/(sumBlock+sumSize))
	return max(n, 0), n >= 0 && sizeOnDisk(n) == onDisk
}

// summed passes content through and adds checksums and foot behind it.
type summed struct {
	name   string
	from   io.Reader
	length int64
	filled int // bytes of the block under way
	crc    uint32
	sums   []byte
	tail   []byte // what is left to give once the content has ended
	ended  bool
}

// Read implements io.Reader.
func (s *summed) Read(p []byte) (int, error) {
	if s.ended {
		if len(s.tail) == 0 {
			return 0, io.EOF
		}
		n := copy(p, s.tail)
		s.tail = s.tail[n:]
		return n, nil
	}
	n, err := s.from.Read(p)
	s.add(p[:n])
	if errors.Is(err, io.EOF) {
		s.end()
		err = nil
	}
	return n, err
}

func (s *summed) add(p []byte) {
	s.length += int64(len(p))
	for len(p) > 0 {
		n := min(len(p), sumBlock-s.filled)
		s.crc = crc32.Update(s.crc, castagnoli, p[:n])
		p = p[n:]
		if s.filled += n; s.filled == sumBlock {
			s.flush()
		}
	}
}

func (s *summed) flush() {
	s.sums = binary.BigEndian.AppendUint32(s.sums, s.crc)
	s.crc, s.filled = 0, 0
}

func (s *summed) end() {
	if s.filled > 0 {
		s.flush()
	}
	s.ended = true
	s.tail = binary.BigEndian.AppendUint64(s.sums, uint64(s.length))
	s.tail = binary.BigEndian.AppendUint32(s.tail, footSum(s.name, s.tail))
	s.tail = append(s.tail, footMark...)
}

func footSum(name string, sums []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(name), castagnoli), castagnoli, sums)
}

// openFile is a stored file with the checksums it had when opened; files are replaced, never changed.
type openFile struct {
	file vfs.File
	size int64
	sums []byte

	lock  sync.Mutex
	at    int64  // where Read goes on
	block int64  // which block is in bytes, -1 for none
	bytes []byte // the block that was read last, for those who read a little at a time
}

// openSummed reads the foot of a file and checks it.
func openSummed(f vfs.File, name string) (*openFile, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size, ok := sizeOfContent(info.Size())
	if !ok {
		return nil, fmt.Errorf("%w: %d bytes on disk are no stored file", ErrCorrupt, info.Size())
	}
	tail := make([]byte, info.Size()-size)
	if _, err := f.ReadAt(tail, size); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read checksums: %w", err)
	}
	body, foot := tail[:len(tail)-footSize+8], tail[len(tail)-footSize+8:]
	if string(foot[sumSize:]) != footMark || binary.BigEndian.Uint32(foot) != footSum(name, body) ||
		binary.BigEndian.Uint64(body[len(body)-8:]) != uint64(size) {
		return nil, fmt.Errorf("%w: the file's checksums do not fit", ErrCorrupt)
	}
	return &openFile{file: f, size: size, sums: body[:len(body)-8], block: -1}, nil
}

// Size implements File.
func (f *openFile) Size() int64 { return f.size }

// Close implements io.Closer.
func (f *openFile) Close() error { return f.file.Close() }

// Read implements io.Reader.
func (f *openFile) Read(p []byte) (int, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	n, err := f.readAt(p, f.at)
	f.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt. No byte leaves whose block has not been found whole.
func (f *openFile) ReadAt(p []byte, at int64) (int, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	return f.readAt(p, at)
}

func (f *openFile) readAt(p []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, errors.New("read at a negative place")
	}
	for n < len(p) && at < f.size {
		block, within := at/sumBlock, at%sumBlock
		length := min(sumBlock, f.size-block*sumBlock)
		if within == 0 && int64(len(p)-n) >= length { // a whole block goes straight to the caller
			if err := f.readBlock(p[n:n+int(length)], block); err != nil {
				return n, err
			}
			n, at = n+int(length), at+length
			continue
		}
		if f.block != block {
			if cap(f.bytes) == 0 {
				f.bytes = make([]byte, min(sumBlock, f.size))
			}
			f.block, f.bytes = -1, f.bytes[:length]
			if err := f.readBlock(f.bytes, block); err != nil {
				return n, err
			}
			f.block = block
		}
		k := copy(p[n:], f.bytes[within:])
		n, at = n+k, at+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *openFile) readBlock(p []byte, block int64) error {
	if _, err := f.file.ReadAt(p, block*sumBlock); err != nil && !errors.Is(err, io.EOF) {
		clear(p)
		return fmt.Errorf("read block %d: %w", block, err)
	}
	if crc32.Checksum(p, castagnoli) != binary.BigEndian.Uint32(f.sums[sumSize*block:]) {
		clear(p) // nobody gets damaged bytes, not even beside an error
		return fmt.Errorf("%w: block %d of the file", ErrCorrupt, block)
	}
	return nil
}
