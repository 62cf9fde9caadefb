package wasmvm

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/aopeer/aopeer/ao"
)

// drive is the one file that a process may read, what its On-Boot tag names: the rest of Arweave would have to be the same
// to everybody who replays a log. It is open for the length of a message.
type drive struct {
	path []byte
	data []byte
}

// driveFile is the number of the file while it is open: the first behind the standard streams.
const driveFile = 3

// The places that a seek counts from.
const (
	seekSet     = 0
	seekCurrent = 1
	seekEnd     = 2
)

// BootOf is what a process's On-Boot tag names on Arweave, if it names something that a module of that format reads. Of
// several tags the last counts, as modules have it.
func BootOf(p ao.Process, m ao.Module) (id ao.ID, ok bool) {
	if f := m.Format(); f != FormatAOS && f != FormatAOS32 && f != FormatDefault {
		return id, false
	}
	all := p.Tags().All("On-Boot")
	if len(all) == 0 {
		return id, false
	}
	id, err := ao.ParseID(all[len(all)-1])
	return id, err == nil
}

// driveOf is the drive of a process, nil if it has none.
func driveOf(g Genesis) *drive {
	id, ok := BootOf(g.Process, g.Module)
	if !ok || g.Boot == nil || g.Module.Format() == FormatDefault {
		return nil
	}
	return &drive{path: []byte("/data/" + id.String()), data: g.Boot}
}

// shownBoot is what stands in the process's envelope for its own data, where the module has no files to read it from. It
// is nil where nothing does.
func shownBoot(g Genesis) []byte {
	if _, ok := BootOf(g.Process, g.Module); !ok || g.Module.Format() != FormatDefault {
		return nil
	}
	return g.Boot
}

// mounter is an instance whose module can read a drive.
type mounter interface{ mount(d *drive) }

func (m *emscripten) mount(d *drive) { m.drive = d }

// driveOpen answers the file's number, or 0 for any other path: no such file.
func (m *emscripten) driveOpen(a []uint64) (uint64, error) {
	return m.asleep(func() (uint64, error) {
		if m.drive == nil {
			return 0, nil
		}
		name := m.span(a[0], uint64(len(m.drive.path)+1))
		if name == nil || name[len(m.drive.path)] != 0 || !bytes.Equal(name[:len(m.drive.path)], m.drive.path) {
			return 0, nil
		}
		if !m.isOpen { // opened twice it is one stream, as in the reference
			m.isOpen, m.at, m.told = true, 0, 0
		}
		return driveFile, nil
	})
}

// driveRead copies what follows into the module's memory and answers how much that is.
func (m *emscripten) driveRead(a []uint64) (uint64, error) {
	return m.asleep(func() (uint64, error) {
		if !m.isOpen || uint32(a[0]) != driveFile {
			return 0, nil
		}
		n := min(a[2], uint64(len(m.drive.data))-m.at)
		if n == 0 {
			return 0, nil
		}
		if err := m.charge(n / bytesPerFuel); err != nil {
			return 0, err
		}
		dst := m.span(a[1], n)
		if dst == nil {
			return 0, faultPointer
		}
		copy(dst, m.drive.data[m.at:])
		m.at += n
		m.told = m.at
		return n, nil
	})
}

func (m *emscripten) driveClose(a []uint64) (uint64, error) {
	return m.asleep(func() (uint64, error) {
		if uint32(a[0]) == driveFile {
			m.isOpen = false
		}
		return 0, nil
	})
}

// driveSeek moves in the file, whose position it writes where the module says. Going to the end tells the length and does
// not move what is read next: modules ask for the length so, and then read all of it, which the reference lets them.
func (m *emscripten) driveSeek(offset int64, whence, into uint64) (uint64, error) {
	size := int64(len(m.drive.data))
	to := offset
	switch whence {
	case seekSet:
	case seekCurrent:
		to += int64(m.told)
	case seekEnd:
		to += size
	default:
		return wasiInvalid, nil
	}
	if to < 0 || to > size {
		return wasiInvalid, nil
	}
	if m.told = uint64(to); whence != seekEnd && (whence != seekCurrent || offset != 0) {
		m.at = m.told
	}
	dst := m.span(into, 8)
	if dst == nil {
		return 0, faultPointer
	}
	binary.LittleEndian.PutUint64(dst, m.told)
	return 0, nil
}

// fdSeek knows the drive's file and the standard streams, in which nobody moves.
func (m *emscripten) fdSeek(a []uint64) (uint64, error) {
	if m.isOpen && uint32(a[0]) == driveFile {
		return m.driveSeek(int64(a[1]), a[2], a[3])
	}
	return ifStandard(wasiNoSeek)(m, a)
}

// fdSeekHalves is the same with the offset in two halves, the lower one first.
func (m *emscripten) fdSeekHalves(a []uint64) (uint64, error) {
	return m.fdSeek([]uint64{a[0], a[1]&math.MaxUint32 | a[2]<<32, a[3], a[4]})
}
