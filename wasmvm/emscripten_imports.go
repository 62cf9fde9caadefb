package wasmvm

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"strings"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// Error numbers of musl and of WASI that the in-memory file system of the reference answers.
const (
	errnoNotFound = -44
	errnoBadFile  = -8
	errnoNoSystem = -52
	wasiBadFile   = 8
	wasiNoSeek    = 70

	maxHeap64 = 16 << 30
	maxHeap32 = 4<<30 - wasmPage
)

// hostFunc stands in for a JavaScript function. Values travel as the bits of their wasm type; an error stops
// the module.
type hostFunc func(m *emscripten, a []uint64) (uint64, error)

// binding is an import of a module and what answers it.
type binding struct {
	sig  string
	cost uint64
	call hostFunc
}

// bind finds the function for an import by its name and type. Unknown ones stop the module when it calls
// them, so that a module fails only over what it uses.
func bind(s *shape, im importDecl) binding {
	if strings.HasPrefix(im.name, "invoke_") && im.module == "env" {
		if b, ok := bindInvoke(s, im); ok {
			return b
		}
	}
	for _, known := range hostFuncs() {
		if known.name == im.module+"."+im.name && s.width(known.sig) == im.sig {
			return binding{sig: im.sig, cost: fuelHostCall, call: known.call}
		}
	}
	text := fault("unsupported import " + strconv.QuoteToASCII(im.module+"."+im.name))
	return binding{sig: im.sig, cost: fuelHostCall, call: func(*emscripten, []uint64) (uint64, error) { return 0, text }}
}

func bindInvoke(s *shape, im importDecl) (binding, bool) {
	dyn := "dynCall_" + strings.TrimPrefix(im.name, "invoke_")
	if !strings.HasPrefix(im.sig, s.width("p")) || s.funcs["setThrew"] != s.width("pi>") || s.funcs[dyn] != "i"+im.sig[1:] {
		return binding{}, false
	}
	params := im.sig[1:strings.IndexByte(im.sig, '>')]
	return binding{sig: im.sig, cost: fuelInvoke, call: func(m *emscripten, a []uint64) (uint64, error) {
		return m.invoke(dyn, params, a)
	}}, true
}

func funcType(sig string) *wt.FuncType {
	params, results, _ := strings.Cut(sig, ">")
	return wt.NewFuncType(valTypes(params), valTypes(results))
}

func valTypes(kinds string) []*wt.ValType {
	var out []*wt.ValType
	for _, k := range kinds {
		switch k {
		case 'i':
			out = append(out, wt.NewValType(wt.KindI32))
		case 'j':
			out = append(out, wt.NewValType(wt.KindI64))
		case 'f':
			out = append(out, wt.NewValType(wt.KindF32))
		case 'd':
			out = append(out, wt.NewValType(wt.KindF64))
		}
	}
	return out
}

// bound makes the wasm function for one import of one instance.
func (m *emscripten) bound(b *binding, ft *wt.FuncType) *wt.Func {
	result := b.sig[strings.IndexByte(b.sig, '>')+1:]
	return wt.NewFunc(m.store, ft, func(_ *wt.Caller, vals []wt.Val) ([]wt.Val, *wt.Trap) {
		var buf [8]uint64
		args := buf[:0]
		for _, v := range vals {
			args = append(args, bits(v))
		}
		if err := m.charge(b.cost); err != nil {
			return nil, m.stop(err)
		}
		r, err := b.call(m, args)
		if err != nil {
			return nil, m.stop(err)
		}
		switch result {
		case "":
			return nil, nil
		case "i":
			return []wt.Val{wt.ValI32(int32(uint32(r)))}, nil
		case "j":
			return []wt.Val{wt.ValI64(int64(r))}, nil
		case "f":
			return []wt.Val{wt.ValF32(math.Float32frombits(uint32(r)))}, nil
		case "d":
			return []wt.Val{wt.ValF64(math.Float64frombits(r))}, nil
		}
		return nil, m.stop(faultTrap) // several results: no such function exists
	})
}

func bits(v wt.Val) uint64 {
	switch v.Kind() {
	case wt.KindI32:
		return uint64(uint32(v.I32()))
	case wt.KindI64:
		return uint64(v.I64())
	case wt.KindF32:
		return uint64(math.Float32bits(v.F32()))
	case wt.KindF64:
		return math.Float64bits(v.F64())
	}
	return 0
}

// charge bills host work against the same budget as wasm instructions.
func (m *emscripten) charge(n uint64) error {
	m.charged += min(n, m.fuel+1)
	if m.charged > m.fuel {
		return faultOutOfGas
	}
	return nil
}

// stop ends the module. The first reason counts; a longjmp is none, its invoke will catch it.
func (m *emscripten) stop(err error) *wt.Trap {
	if m.failure == nil && !m.jumping {
		m.failure = engineFault(err)
	}
	return wt.NewTrap("host")
}

type namedFunc struct {
	name, sig string
	call      hostFunc
}

// hostFuncs lists the imports of aos modules. In a signature p is a pointer or a size.
func hostFuncs() []namedFunc {
	return append([]namedFunc{
		{"env._emscripten_memcpy_js", "ppp>", (*emscripten).memcpy},
		{"env._emscripten_throw_longjmp", ">", (*emscripten).longjmp},
		{"env.emscripten_resize_heap", "p>i", (*emscripten).resizeHeap},
		{"env.emscripten_get_heap_max", ">p", func(m *emscripten, _ []uint64) (uint64, error) { return m.maxHeap(), nil }},
		{"env.__asyncjs__weavedrive_open", "pp>i", (*emscripten).driveOpen},
		{"env.__asyncjs__weavedrive_read", "ipp>i", (*emscripten).driveRead},
		{"env.__asyncjs__weavedrive_close", "i>i", (*emscripten).driveClose},
		{"env.exit", "i>", (*emscripten).exit},
		{"env._abort_js", ">", func(*emscripten, []uint64) (uint64, error) { return 0, faultAbort }},
		{"env._emscripten_system", "p>i", (*emscripten).system},
		{"env.metering_gasUsed", ">i", func(m *emscripten, _ []uint64) (uint64, error) { return m.gas, nil }},
		{"metering.usegas", "i>", (*emscripten).useGas},
		{"metering.usegas", "j>", (*emscripten).useGas},
		{"wasi_snapshot_preview1.environ_sizes_get", "pp>i", (*emscripten).environSizes},
		{"wasi_snapshot_preview1.environ_get", "pp>i", answer(0)},
		{"wasi_snapshot_preview1.fd_write", "ippp>i", (*emscripten).fdWrite},
		{"wasi_snapshot_preview1.fd_read", "ippp>i", (*emscripten).fdRead},
		{"wasi_snapshot_preview1.fd_close", "i>i", ifStandard(0)},
		{"wasi_snapshot_preview1.fd_sync", "i>i", answer(wasiBadFile)},
		{"wasi_snapshot_preview1.fd_fdstat_get", "ip>i", answer(wasiBadFile)},
		{"wasi_snapshot_preview1.fd_seek", "ijip>i", (*emscripten).fdSeek},
		{"wasi_snapshot_preview1.fd_seek", "iiiip>i", (*emscripten).fdSeekHalves},
		{"env.__syscall_fcntl64", "iip>i", answer(errnoBadFile)},
		{"env.__syscall_ioctl", "iip>i", answer(errnoBadFile)},
		{"env.__syscall_dup3", "iii>i", answer(errnoBadFile)},
		{"env.__syscall_fstat64", "ip>i", answer(errnoBadFile)},
		{"env.__syscall_fchmod", "ii>i", answer(errnoBadFile)},
		{"env.__syscall_fchown32", "iii>i", answer(errnoBadFile)},
		{"env.__syscall_ftruncate64", "ij>i", answer(errnoBadFile)},
		{"env.__syscall_unlinkat", "ipi>i", answer(errnoNotFound)},
		{"env.__syscall_rmdir", "p>i", answer(errnoNotFound)},
		{"env.__syscall_renameat", "ipip>i", answer(errnoNotFound)},
		{"env.__syscall_openat", "ipip>i", answer(errnoNotFound)},
		{"env.__syscall_readlinkat", "ippp>i", answer(errnoNotFound)},
		{"env.__syscall_faccessat", "ipii>i", answer(errnoNotFound)},
		{"env.__syscall_chmod", "pi>i", answer(errnoNotFound)},
		{"env.__syscall_stat64", "pp>i", answer(errnoNotFound)},
		{"env.__syscall_lstat64", "pp>i", answer(errnoNotFound)},
		{"env.__syscall_newfstatat", "ippi>i", answer(errnoNotFound)},
		{"env.__syscall_mkdirat", "ipi>i", answer(errnoNotFound)},
		{"env.__syscall_utimensat", "ippi>i", answer(errnoNotFound)},
		{"env.__syscall_getcwd", "pp>i", answer(errnoNotFound)},
	}, timeFuncs()...)
}

// answer is a host function that knows one answer.
func answer(v int64) hostFunc {
	return func(*emscripten, []uint64) (uint64, error) { return uint64(v), nil }
}

// ifStandard answers v for the three standard streams; no other file is ever open.
func ifStandard(v uint64) hostFunc {
	return func(_ *emscripten, a []uint64) (uint64, error) {
		if a[0] > 2 {
			return wasiBadFile, nil
		}
		return v, nil
	}
}

// invoke calls a function pointer and catches a longjmp out of it, as the JavaScript does with exceptions.
func (m *emscripten) invoke(dyn, params string, a []uint64) (uint64, error) {
	if m.depth >= maxDepth {
		return 0, faultDepth
	}
	m.depth++
	defer func() { m.depth-- }()
	sp, err := m.call("emscripten_stack_get_current")
	if err != nil {
		return 0, err
	}
	args := make([]any, 1, 8)
	args[0] = int32(uint32(a[0]))
	for i := range params {
		switch v := a[i+1]; params[i] {
		case 'i':
			args = append(args, int32(uint32(v)))
		case 'j':
			args = append(args, int64(v))
		case 'f':
			args = append(args, math.Float32frombits(uint32(v)))
		case 'd':
			args = append(args, math.Float64frombits(v))
		}
	}
	r, err := m.run(dyn, args)
	if err == nil || !m.jumping || m.failure != nil {
		return r, err
	}
	m.jumping = false
	if _, err := m.call("_emscripten_stack_restore", sp); err != nil {
		return 0, err
	}
	_, err = m.run("setThrew", []any{m.word(1), int32(0)})
	return 0, err
}

func (m *emscripten) longjmp([]uint64) (uint64, error) {
	m.jumping = true
	return 0, faultLongjmp
}

func (m *emscripten) memcpy(a []uint64) (uint64, error) {
	if err := m.charge(a[2] / bytesPerFuel); err != nil {
		return 0, err
	}
	dst, src := m.span(a[0], a[2]), m.span(a[1], a[2])
	if dst == nil || src == nil {
		return 0, faultPointer
	}
	copy(dst, src)
	return 0, nil
}

func (m *emscripten) maxHeap() uint64 {
	if m.wide {
		return maxHeap64
	}
	return maxHeap32
}

// resizeHeap grows the memory to what is asked for, or generously more if that can be had. The sizes follow
// the reference's floating point, because they show in the state.
func (m *emscripten) resizeHeap(a []uint64) (uint64, error) {
	req, old := a[0], uint64(len(m.memory()))
	if req <= old {
		return 0, faultAbort // the reference asserts
	}
	if req > m.maxHeap() {
		return 0, nil
	}
	for cut := 1.0; cut <= 4; cut *= 2 {
		over := min(float64(old)*(1+0.2/cut), float64(req)+100663296)
		size := uint64(math.Ceil(max(float64(req), over)))
		size = min((size+wasmPage-1)/wasmPage*wasmPage, m.maxHeap())
		if _, err := m.mem.Grow(m.store, (size-old)/wasmPage); err == nil {
			return 1, nil
		}
		if size <= min(m.limit, m.program.shape.memory.max*wasmPage) {
			return 0, errors.New("grow memory: this host has none left")
		}
	}
	return 0, nil
}

func (m *emscripten) exit(a []uint64) (uint64, error) {
	return 0, fault("Program terminated with exit(" + strconv.Itoa(int(int32(uint32(a[0])))) + ")")
}

func (m *emscripten) system(a []uint64) (uint64, error) {
	if a[0] == 0 {
		return 0, nil
	}
	return answer(errnoNoSystem)(m, a)
}

func (m *emscripten) useGas(a []uint64) (uint64, error) {
	m.gas += a[0]
	if m.gas > m.fuel || m.gas < a[0] {
		return 0, faultOutOfGas
	}
	return 0, nil
}

// environSizes says that the environment is empty.
func (m *emscripten) environSizes(a []uint64) (uint64, error) {
	for _, p := range a {
		if err := m.putWord(p, 0); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// fdWrite swallows what C stdio prints; aos collects its own output.
func (m *emscripten) fdWrite(a []uint64) (uint64, error) {
	iov, n, size := a[1], a[2], uint64(8)
	if m.wide {
		size = 16
	}
	if n > 1<<20 {
		return 0, faultPointer
	}
	if err := m.charge(n); err != nil {
		return 0, err
	}
	list := m.span(iov, n*size)
	if list == nil {
		return 0, faultPointer
	}
	total := uint64(0)
	for ; len(list) > 0; list = list[size:] {
		if m.wide {
			total += binary.LittleEndian.Uint64(list[8:])
		} else {
			total += uint64(binary.LittleEndian.Uint32(list[4:]))
		}
	}
	return 0, m.putWord(a[3], total)
}

// fdRead says that the input is at its end.
func (m *emscripten) fdRead(a []uint64) (uint64, error) {
	if a[0] != 0 {
		return wasiBadFile, nil
	}
	return 0, m.putWord(a[3], 0)
}

func (m *emscripten) putWord(p, v uint64) error {
	if m.wide {
		return m.put64(p, v)
	}
	return m.put32(p, uint32(v))
}

func (m *emscripten) put64(p, v uint64) error {
	b := m.span(p, 8)
	if b == nil {
		return faultPointer
	}
	binary.LittleEndian.PutUint64(b, v)
	return nil
}

func (m *emscripten) put32(p uint64, v uint32) error {
	b := m.span(p, 4)
	if b == nil {
		return faultPointer
	}
	binary.LittleEndian.PutUint32(b, v)
	return nil
}
