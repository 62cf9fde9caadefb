package wasmvm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pageScan asks the kernel which pages of an instance's memory were ever written. It is safe for concurrent
// use; a nil one knows nothing.
type pageScan struct {
	pagemap *os.File
	ranges  bool // the kernel has the PAGEMAP_SCAN request
	pool    sync.Pool
}

// scratch is what one scan works with.
type scratch struct {
	regions []pageRegion
	raw     []byte
	list    []uint32
}

// pageRegion and scanRequest are struct page_region and struct pm_scan_arg of linux/fs.h.
type pageRegion struct{ start, end, categories uint64 }

type scanRequest struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages, inverted, mask, anyOf, returned uint64
}

const (
	pagemapEntry   = 8
	pagemapPresent = 1 << 63
	pagemapSwapped = 1 << 62
	pagemapFile    = 1 << 61

	pagemapScan   = 0xc0606610
	scanFile      = 1 << 2
	scanPresent   = 1 << 3
	scanSwapped   = 1 << 4
	scanZeroFrame = 1 << 5
)

// newPageScan returns nil and the reason where the kernel does not tell.
func newPageScan() (*pageScan, error) {
	if size := os.Getpagesize(); size != PageSize {
		return nil, fmt.Errorf("pages of %d bytes", size)
	}
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, fmt.Errorf("open page map: %w", err)
	}
	s := &pageScan{pagemap: f, ranges: true}
	s.pool.New = func() any { return new(scratch) }
	if s.check() == nil {
		return s, nil
	}
	s.ranges = false
	if err := s.check(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// check tries the kernel's word on a mapping of our own: some sandboxes answer zeros.
func (s *pageScan) check() error {
	mem, err := unix.Mmap(-1, 0, 4*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map test pages: %w", err)
	}
	defer unix.Munmap(mem)
	mem[2*PageSize] = 1
	list, ok := s.private(mem)
	if !ok {
		return errors.New("page map unreadable")
	}
	defer s.pool.Put(list)
	seen := false
	for _, index := range list.list {
		seen = seen || index == 2
	}
	if !seen || !s.discard(mem[2*PageSize:3*PageSize]) || mem[2*PageSize] != 0 {
		return errors.New("page map does not follow writes")
	}
	return nil
}

// private lists the pages of mem that are no longer the mapping's own: whatever was written is among them. The
// list goes back to the pool.
func (s *pageScan) private(mem []byte) (*scratch, bool) {
	base := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	if len(mem) == 0 || base%PageSize != 0 {
		return nil, false
	}
	w := s.pool.Get().(*scratch)
	w.list = w.list[:0]
	ok := false
	if s.ranges {
		ok = s.scanRanges(w, base, len(mem))
	} else {
		ok = s.readEntries(w, base, len(mem))
	}
	if !ok {
		s.pool.Put(w)
		return nil, false
	}
	return w, true
}

// scanRanges asks for runs of pages; the kernel skips what was never touched.
func (s *pageScan) scanRanges(w *scratch, base uintptr, size int) bool {
	if w.regions == nil {
		w.regions = make([]pageRegion, 512)
	}
	end := uint64(base) + uint64(size)
	req := scanRequest{
		size: uint64(unsafe.Sizeof(scanRequest{})), start: uint64(base), end: end,
		vec: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(w.regions)))), vecLen: uint64(len(w.regions)),
		inverted: scanFile | scanZeroFrame, mask: scanFile | scanZeroFrame, anyOf: scanPresent | scanSwapped, returned: scanPresent,
	}
	for req.start < end {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, s.pagemap.Fd(), pagemapScan, uintptr(unsafe.Pointer(&req)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || int(n) > len(w.regions) {
			return false
		}
		for _, r := range w.regions[:n] {
			for at := r.start; at < r.end; at += PageSize {
				w.list = append(w.list, uint32((at-uint64(base))/PageSize))
			}
		}
		if req.walkEnd <= req.start {
			return false
		}
		req.start = req.walkEnd
	}
	runtime.KeepAlive(w)
	return true
}

// readEntries reads a word for every page.
func (s *pageScan) readEntries(w *scratch, base uintptr, size int) bool {
	n := size / PageSize
	if cap(w.raw) < n*pagemapEntry {
		w.raw = make([]byte, n*pagemapEntry)
	}
	w.raw = w.raw[:n*pagemapEntry]
	if _, err := s.pagemap.ReadAt(w.raw, int64(base/PageSize)*pagemapEntry); err != nil {
		return false
	}
	for i := 0; i < n; i++ {
		e := binary.LittleEndian.Uint64(w.raw[i*pagemapEntry:])
		if e&(pagemapPresent|pagemapSwapped) != 0 && e&pagemapFile == 0 {
			w.list = append(w.list, uint32(i))
		}
	}
	return true
}

// each visits the pages that private lists; false means that the kernel did not tell.
func (s *pageScan) each(mem []byte, visit func(index uint32)) bool {
	if s == nil {
		return false
	}
	w, ok := s.private(mem)
	if !ok {
		return false
	}
	defer s.pool.Put(w)
	for _, index := range w.list {
		visit(index)
	}
	return true
}

func (s *pageScan) close() {
	if s != nil {
		s.pagemap.Close()
	}
}

// discard gives frames back, so that the pages read as their mapping again.
func (s *pageScan) discard(run []byte) bool {
	return s != nil && unix.Madvise(run, unix.MADV_DONTNEED) == nil
}
