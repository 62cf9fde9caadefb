package wasmvm

import (
	"encoding/binary"
	"strings"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// Error numbers of WASI.
const (
	wasiFault   = 21
	wasiInvalid = 28
	wasiNoCall  = 52

	maxStderr  = 4 << 10
	maxVectors = 1024
	maxEvents  = 1024

	subscriptionSize = 48
	eventSize        = 32
)

// wasiFunc answers one WASI call with an error number; an error stops the module.
type wasiFunc func(m *wasi, a []uint64) (uint32, error)

// wasiBinding is an import of a module and what answers it.
type wasiBinding struct {
	sig  string
	call wasiFunc
}

// bindWASI finds the function for an import by its name and type. What WASI has and a process cannot use
// answers with an error number; what WASI does not have is refused.
func bindWASI(im importDecl) (wasiBinding, bool) {
	if im.module != "wasi_snapshot_preview1" {
		return wasiBinding{}, false
	}
	for _, known := range []struct {
		name, sig string
		call      wasiFunc
	}{
		{"args_get", "ii>i", errno(0)},
		{"args_sizes_get", "ii>i", (*wasi).noStrings},
		{"environ_get", "ii>i", errno(0)},
		{"environ_sizes_get", "ii>i", (*wasi).noStrings},
		{"clock_res_get", "ii>i", (*wasi).clockResolution},
		{"clock_time_get", "iji>i", (*wasi).clockTime},
		{"fd_write", "iiii>i", (*wasi).fdWrite},
		{"poll_oneoff", "iiii>i", (*wasi).poll},
		{"proc_exit", "i>", func(*wasi, []uint64) (uint32, error) { return 0, faultGuestExit }},
		{"random_get", "ii>i", (*wasi).random},
		{"sched_yield", ">i", errno(0)},
	} {
		if known.name == im.name {
			return wasiBinding{im.sig, known.call}, known.sig == im.sig
		}
	}
	if !strings.HasSuffix(im.sig, ">i") {
		return wasiBinding{}, false
	}
	switch prefix, _, _ := strings.Cut(im.name, "_"); prefix {
	case "fd":
		return wasiBinding{im.sig, errno(wasiBadFile)}, true
	case "path", "sock", "proc":
		return wasiBinding{im.sig, errno(wasiNoCall)}, true
	}
	return wasiBinding{}, false
}

func errno(n uint32) wasiFunc {
	return func(*wasi, []uint64) (uint32, error) { return n, nil }
}

// bound makes the wasm function for one import of one instance.
func (m *wasi) bound(b *wasiBinding, ft *wt.FuncType) *wt.Func {
	silent := strings.HasSuffix(b.sig, ">")
	return wt.NewFunc(m.store, ft, func(_ *wt.Caller, vals []wt.Val) ([]wt.Val, *wt.Trap) {
		var buf [16]uint64
		args := buf[:0]
		for _, v := range vals {
			args = append(args, bits(v))
		}
		err := m.charge(fuelHostCall)
		var n uint32
		if err == nil {
			n, err = b.call(m, args)
		}
		switch {
		case err != nil:
			if m.failure == nil {
				m.failure = engineFault(err)
			}
			return nil, wt.NewTrap("host")
		case silent:
			return nil, nil
		}
		return []wt.Val{wt.ValI32(int32(n))}, nil
	})
}

func (m *wasi) put32(p uint64, v uint32) bool {
	dst := m.span(uint32(p), 4)
	if dst != nil {
		binary.LittleEndian.PutUint32(dst, v)
	}
	return dst != nil
}

func (m *wasi) put64(p, v uint64) bool {
	dst := m.span(uint32(p), 8)
	if dst != nil {
		binary.LittleEndian.PutUint64(dst, v)
	}
	return dst != nil
}

func done(ok bool) (uint32, error) {
	if !ok {
		return wasiFault, nil
	}
	return 0, nil
}

// noStrings says that there are no arguments and no environment.
func (m *wasi) noStrings(a []uint64) (uint32, error) {
	return done(m.put32(a[0], 0) && m.put32(a[1], 0))
}

func (m *wasi) clockResolution(a []uint64) (uint32, error) { return done(m.put64(a[1], clockStep)) }

// clockTime shows every clock as the same counter.
func (m *wasi) clockTime(a []uint64) (uint32, error) {
	now := m.clock
	m.clock += clockStep
	return done(m.put64(a[2], now))
}

// random is the same bytes at every call and in every process.
func (m *wasi) random(a []uint64) (uint32, error) {
	dst := m.span(uint32(a[0]), uint32(a[1]))
	if dst == nil {
		return wasiFault, nil
	}
	if err := m.charge(uint64(len(dst)) / bytesPerFuel); err != nil {
		return 0, err
	}
	for i := range dst {
		dst[i] = byte(i*167 + 13)
	}
	return 0, nil
}

// fdWrite swallows what is written, but for the beginning of what goes to standard error.
func (m *wasi) fdWrite(a []uint64) (uint32, error) {
	if a[0] != 1 && a[0] != 2 {
		return wasiBadFile, nil
	}
	if a[2] > maxVectors {
		return wasiInvalid, nil
	}
	list := m.span(uint32(a[1]), uint32(a[2])*8)
	if list == nil {
		return wasiFault, nil
	}
	total := uint64(0)
	for ; len(list) > 0; list = list[8:] {
		part := m.span(binary.LittleEndian.Uint32(list), binary.LittleEndian.Uint32(list[4:]))
		if part == nil {
			return wasiFault, nil
		}
		total += uint64(len(part))
		if a[0] == 2 {
			m.stderr = append(m.stderr, part[:min(len(part), maxStderr-len(m.stderr))]...)
		}
	}
	if total > 1<<31 {
		return wasiInvalid, nil
	}
	return done(m.put32(a[3], uint32(total)))
}

// poll lets time pass until the earliest of the clocks that are waited for, without waiting. Nothing else ever
// becomes ready.
func (m *wasi) poll(a []uint64) (uint32, error) {
	n := a[2]
	if n == 0 || n > maxEvents {
		return wasiInvalid, nil
	}
	in, out := m.span(uint32(a[0]), uint32(n)*subscriptionSize), m.span(uint32(a[1]), uint32(n)*eventSize)
	if in == nil || out == nil {
		return wasiFault, nil
	}
	// A subscription is userdata u64, tag u8 at 8, then for clocks at 16 id u32, at 24 timeout u64, at 40 flags
	// u16 (1: the timeout is a time).
	deadline := func(s []byte) uint64 {
		at := binary.LittleEndian.Uint64(s[24:])
		if binary.LittleEndian.Uint16(s[40:])&1 == 0 {
			at += m.clock
			if at < m.clock {
				at = 1<<64 - 1
			}
		}
		return max(at, m.clock)
	}
	first, found := uint64(0), false
	for s := in; len(s) > 0; s = s[subscriptionSize:] {
		if at := deadline(s); s[8] == 0 && (!found || at < first) {
			first, found = at, true
		}
	}
	if !found {
		return wasiNoCall, nil
	}
	events := uint32(0)
	for s := in; len(s) > 0; s = s[subscriptionSize:] {
		if s[8] == 0 && deadline(s) == first {
			e := out[events*eventSize:][:eventSize]
			clear(e)
			copy(e[:8], s[:8])
			events++
		}
	}
	m.clock = first
	return done(m.put32(a[3], events))
}
