package wasmvm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
)

// FormatDefault is the Module-Format of the embedded module, and of others of the same shape: WASI reactors.
const FormatDefault = "wasm32-wasip1-aopeer1"

// clockStart is what a module's clock shows first, and clockStep how much later it is at every look: the time
// is a counter, and part of the state.
const (
	clockStart = 1_000_000_000
	clockStep  = 1_000
)

// Faults of a module that gives up by itself.
const (
	faultGuestMemory fault = "out of memory!"
	faultGuestStack  fault = "stack overflow!"
	faultGuestPanic  fault = "module panicked"
	faultGuestExit   fault = "module exited"
	faultGuestBuffer fault = "module has no room for the message"
)

// wasiProgram is a module of format wasm32-wasip1-aopeer1.
type wasiProgram struct {
	engine *wt.Engine
	module *wt.Module
	code   uint64 // bytes of machine code
	shape  *shape
	binds  []wasiBinding
	types  []*wt.FuncType
	image  *Image           // the memory as instantiated, before any code ran
	boot   *Image           // as it stands before the first message, with what is outside the memory
	first  map[uint32]*kept // the pages of boot, for the journals of all instances
}

// wasiProfile names everything besides the module and its input that a result depends on.
func wasiProfile() string {
	return dialectWASI.String() + ";hostcall=" + strconv.Itoa(fuelHostCall) + ",copy=1/" + strconv.Itoa(bytesPerFuel) + ";memory=limit;input=" +
		strconv.Itoa(MaxInput) + ";output=" + strconv.Itoa(MaxOutput) + ";clock=" + strconv.Itoa(clockStart) + "+" + strconv.Itoa(clockStep)
}

// newWASI compiles a module, starts it once and keeps the image that all its processes begin with.
func newWASI(ctx context.Context, e *engine, wasm []byte) (*wasiProgram, error) {
	sh, err := inspect(wasm)
	if err != nil {
		return nil, err
	}
	binds, err := sh.checkWASI()
	if err != nil {
		return nil, err
	}
	// Saving what the module itself chose to export would be to trust it with the completeness of an image.
	wasm, err = sh.exportGlobals()
	if err != nil {
		return nil, err
	}
	sh.sections = nil
	module, code, err := e.compile(ctx, dialectWASI, wasm)
	if err != nil {
		return nil, err
	}
	p := &wasiProgram{engine: e.wt[dialectWASI], module: module, code: code, shape: sh, binds: binds}
	for _, b := range binds {
		p.types = append(p.types, funcType(b.sig))
	}
	if err := p.probe(); err != nil {
		module.Close()
		return nil, err
	}
	return p, nil
}

// checkWASI makes sure of the exports that every message needs and finds what answers the imports.
func (s *shape) checkWASI() ([]wasiBinding, error) {
	if s.memory.export != "memory" || s.memory.wide {
		return nil, fmt.Errorf("%w: export memory missing or not 32-bit", ErrModule)
	}
	for _, want := range [][2]string{{"_initialize", ">"}, {"alloc", "i>i"}, {"handle", "iiii>j"}} {
		if sig, ok := s.funcs[want[0]]; !ok || sig != want[1] {
			return nil, fmt.Errorf("%w: export %s missing or of the wrong type", ErrModule, want[0])
		}
	}
	var binds []wasiBinding
	for _, im := range s.imports {
		b, ok := bindWASI(im)
		if !ok {
			return nil, fmt.Errorf("%w: import %s.%s is not of WASI preview 1", ErrModule, strconv.QuoteToASCII(im.module), strconv.QuoteToASCII(im.name))
		}
		binds = append(binds, b)
	}
	return binds, nil
}

// probe runs the module's own start, once for all instances.
func (p *wasiProgram) probe() error {
	m, err := p.instantiate(1 << 32)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModule, err)
	}
	defer m.close()
	p.image = captureImage(m.memory(), nil)
	m.begin(startFuel)
	if _, err := m.call("_initialize"); err != nil {
		return fmt.Errorf("%w: start: %w", ErrModule, m.classify(err))
	}
	if m.charged > m.fuel {
		return fmt.Errorf("%w: start: %w", ErrModule, faultOutOfGas)
	}
	p.boot = captureImage(m.memory(), m.tail())
	p.first = make(map[uint32]*kept, len(p.boot.index))
	for index, page := range p.boot.Pages {
		p.first[index] = &kept{page: page, shared: true}
	}
	return nil
}

func (p *wasiProgram) origin() map[uint32]*kept { return p.first }

// base is the image of an instance in which nothing ran, not even its start: boot is written over it.
func (p *wasiProgram) base() *Image { return p.image }

func (p *wasiProgram) size() uint64 { return p.code + uint64(len(p.image.pages)+2*len(p.boot.pages)) }

func (p *wasiProgram) ceiling() uint64 { return min(p.shape.memory.max, 1<<32) * wasmPage }

func (p *wasiProgram) close() { p.module.Close() }

func (p *wasiProgram) start(limit uint64) (instance, error) {
	if limit < p.boot.length {
		return nil, faultMemoryLimit
	}
	return p.restore(p.boot, limit)
}

func (p *wasiProgram) restore(img *Image, limit uint64) (instance, error) {
	if img.length > limit || img.length < p.image.length || img.length/wasmPage > p.shape.memory.max || len(img.tail) != p.tailLen() {
		return nil, faultImageForeign
	}
	m, err := p.instantiate(limit)
	if err != nil {
		return nil, err
	}
	if more := img.length - p.image.length; more > 0 {
		if _, err := m.mem.Grow(m.store, more/wasmPage); err != nil {
			m.close()
			return nil, errors.New("grow memory of a restored instance")
		}
	}
	writeImage(m.memory(), img, p.image)
	if err := m.setTail(img.tail); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (p *wasiProgram) tailLen() int { return 8 + 8*len(p.shape.saved) }

// wasi is one instance.
type wasi struct {
	program *wasiProgram
	store   *wt.Store
	inst    *wt.Instance
	mem     *wt.Memory
	globals []*wt.Global
	funcs   map[string]*wt.Func
	clock   uint64

	// State of the message being handled.
	fuel    uint64 // its budget
	charged uint64 // host work so far
	failure error  // why the host stopped the module
	stderr  []byte // the beginning of what the module said there
}

func (p *wasiProgram) instantiate(limit uint64) (*wasi, error) {
	if limit < p.shape.memory.min*wasmPage {
		return nil, faultMemoryLimit
	}
	m := &wasi{program: p, funcs: make(map[string]*wt.Func, 4), clock: clockStart}
	m.store = wt.NewStore(p.engine)
	m.store.Limiter(int64(min(limit, math.MaxInt64)), maxTable, 1, -1, 1)
	m.begin(startFuel)
	imports := make([]wt.AsExtern, len(p.binds))
	for i := range p.binds {
		imports[i] = m.bound(&p.binds[i], p.types[i])
	}
	inst, err := wt.NewInstance(m.store, p.module, imports)
	if err != nil {
		err = m.classify(err)
		m.close()
		return nil, err
	}
	m.inst = inst
	m.mem = inst.GetExport(m.store, "memory").Memory()
	for _, name := range p.shape.saved {
		m.globals = append(m.globals, inst.GetExport(m.store, name).Global())
	}
	return m, nil
}

func (m *wasi) memory() []byte { return m.mem.UnsafeData(m.store) }

func (m *wasi) close() { m.store.Close() }

// tail is the clock and every mutable global, in the module's order, 8 bytes little-endian each.
func (m *wasi) tail() []byte {
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, m.program.tailLen()), m.clock)
	for _, g := range m.globals {
		out = binary.LittleEndian.AppendUint64(out, bits(g.Get(m.store)))
	}
	return out
}

func (m *wasi) setTail(tail []byte) error {
	if len(tail) != m.program.tailLen() {
		return faultImageForeign
	}
	m.clock = binary.LittleEndian.Uint64(tail)
	for i, g := range m.globals {
		v := binary.LittleEndian.Uint64(tail[8+8*i:])
		kind := g.Type(m.store).Content().Kind()
		if v > math.MaxUint32 && (kind == wt.KindI32 || kind == wt.KindF32) {
			return faultImageForeign // one state has one image
		}
		if err := g.Set(m.store, value(kind, v)); err != nil {
			return errors.New("set global of a restored instance")
		}
	}
	return nil
}

func value(kind wt.ValKind, v uint64) wt.Val {
	switch kind {
	case wt.KindI32:
		return wt.ValI32(int32(uint32(v)))
	case wt.KindF32:
		return wt.ValF32(math.Float32frombits(uint32(v)))
	case wt.KindF64:
		return wt.ValF64(math.Float64frombits(v))
	}
	return wt.ValI64(int64(v))
}

// begin forgets the message before.
func (m *wasi) begin(fuel uint64) {
	m.fuel, m.charged, m.failure, m.stderr = fuel, 0, nil, nil
	_ = m.store.SetFuel(fuel) // fails only in an engine without fuel
}

func (m *wasi) handle(msg, env []byte, fuel uint64) ([]byte, uint64, error) {
	if len(msg)+len(env) > MaxInput {
		return nil, 0, faultInputSize
	}
	m.begin(fuel)
	out, err := m.message(msg, env)
	left, _ := m.store.GetFuel()
	used := fuel - min(left, fuel) + m.charged
	if err != nil {
		err = m.classify(err)
	}
	if used > fuel || err == faultOutOfGas {
		return nil, fuel, faultOutOfGas
	}
	return out, used, err
}

// message puts both texts into buffers of the module and reads the answer where it says.
func (m *wasi) message(msg, env []byte) ([]byte, error) {
	a, err := m.push(msg)
	if err != nil {
		return nil, err
	}
	b, err := m.push(env)
	if err != nil {
		return nil, err
	}
	r, err := m.call("handle", a, uint32(len(msg)), b, uint32(len(env)))
	if err != nil {
		return nil, err
	}
	if uint32(r) > MaxOutput {
		return nil, faultResultSize
	}
	out := m.span(uint32(r>>32), uint32(r))
	if out == nil {
		return nil, faultPointer
	}
	return bytes.Clone(out), nil
}

func (m *wasi) push(s []byte) (uint32, error) {
	if err := m.charge(uint64(len(s)) / bytesPerFuel); err != nil {
		return 0, err
	}
	r, err := m.call("alloc", uint32(len(s)))
	if err != nil {
		return 0, err
	}
	if r == 0 {
		return 0, faultGuestBuffer
	}
	dst := m.span(uint32(r), uint32(len(s)))
	if dst == nil {
		return 0, faultPointer
	}
	copy(dst, s)
	return uint32(r), nil
}

// span is a piece of the memory, nil if it does not lie inside. It holds until the next call into the module.
func (m *wasi) span(p, n uint32) []byte {
	if m.mem == nil {
		return nil
	}
	mem := m.memory()
	if uint64(p)+uint64(n) > uint64(len(mem)) {
		return nil
	}
	return mem[p : uint64(p)+uint64(n) : uint64(p)+uint64(n)]
}

// call runs an export whose type checkWASI has seen.
func (m *wasi) call(name string, args ...uint32) (uint64, error) {
	f := m.funcs[name]
	if f == nil {
		if f = m.inst.GetFunc(m.store, name); f == nil {
			return 0, faultExports
		}
		m.funcs[name] = f
	}
	var buf [4]any
	list := buf[:0]
	for _, a := range args {
		list = append(list, int32(a))
	}
	r, err := f.Call(m.store, list...)
	if err != nil {
		return 0, err
	}
	switch v := r.(type) {
	case int64:
		return uint64(v), nil
	case int32:
		return uint64(uint32(v)), nil
	}
	return 0, nil
}

// charge bills host work against the same budget as wasm instructions.
func (m *wasi) charge(n uint64) error {
	m.charged += min(n, m.fuel+1)
	if m.charged > m.fuel {
		return faultOutOfGas
	}
	return nil
}

// classify turns what stopped the module into a fault. What a Go module says before it gives up tells why.
func (m *wasi) classify(err error) error {
	cause := m.failure
	if cause == nil {
		cause = engineFault(err)
	}
	if cause != faultGuestExit && cause != faultUnreachable {
		return cause
	}
	switch said := string(m.stderr); {
	case strings.Contains(said, "out of memory"):
		return faultGuestMemory
	case strings.Contains(said, "stack overflow"):
		return faultGuestStack
	case strings.Contains(said, "panic:"), strings.Contains(said, "fatal error:"):
		return faultGuestPanic
	}
	return cause
}
