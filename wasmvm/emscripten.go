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

const (
	// MaxInput bounds a message and its environment together: both go on the module's 40 MiB stack.
	MaxInput = 32 << 20
	// MaxOutput bounds the answer to one message.
	MaxOutput = 64 << 20

	startFuel  = 1_000_000_000
	dateStart  = 10000
	maxDepth   = 256
	asyncStack = 40 << 20

	// What host work costs, so that a module cannot buy time with cheap calls.
	fuelHostCall = 2_000
	fuelInvoke   = 20_000
	bytesPerFuel = 4
)

// emscriptenProgram is a module built by emscripten for JavaScript, with 64-bit or 32-bit pointers; this
// package plays the part of the JavaScript.
type emscriptenProgram struct {
	engine *wt.Engine
	module *wt.Module
	code   uint64 // bytes of machine code
	shape  *shape
	binds  []binding
	types  []*wt.FuncType
	image  *Image   // the memory as instantiated, before any code ran
	rest   []wt.Val // the mutable globals between two messages
	end    uint64   // the low end of the stack
}

// emscriptenProfile names everything besides the module and its input that a result depends on.
func emscriptenProfile() string {
	return dialectEmscripten.String() + ";hostcall=" + strconv.Itoa(fuelHostCall) + ",invoke=" + strconv.Itoa(fuelInvoke) + ",copy=1/" +
		strconv.Itoa(bytesPerFuel) + ";memory=limit;depth=" + strconv.Itoa(maxDepth) + ";input=" + strconv.Itoa(MaxInput) + ";output=" +
		strconv.Itoa(MaxOutput) + ";date=" + strconv.Itoa(dateStart) + "/message;utc;globals=rest;asyncify"
}

// newEmscripten compiles a module of FormatAOS, whose pointers are wide, or of FormatAOS32.
func newEmscripten(ctx context.Context, e *engine, wasm []byte, wide bool) (*emscriptenProgram, error) {
	sh, err := inspect(wasm)
	if err != nil {
		return nil, err
	}
	if sh.memory.wide != wide {
		return nil, fmt.Errorf("%w: its addresses are not those of its Module-Format", ErrModule)
	}
	if err := sh.checkEmscripten(); err != nil {
		return nil, err
	}
	wasm, err = sh.exportGlobals()
	if err != nil {
		return nil, err
	}
	sh.sections = nil
	module, code, err := e.compile(ctx, dialectEmscripten, wasm)
	if err != nil {
		return nil, err
	}
	p := &emscriptenProgram{engine: e.wt[dialectEmscripten], module: module, code: code, shape: sh}
	for _, im := range sh.imports {
		p.binds = append(p.binds, bind(sh, im))
		p.types = append(p.types, funcType(im.sig))
	}
	if err := p.probe(); err != nil {
		module.Close()
		return nil, err
	}
	return p, nil
}

// checkEmscripten makes sure of the exports that every message needs.
func (s *shape) checkEmscripten() error {
	if s.memory.export != "memory" {
		return fmt.Errorf("%w: export memory missing", ErrModule)
	}
	for _, want := range [][2]string{
		{"handle", "pp>p"},
		{"malloc", "p>p"},
		{"free", "p>"},
		{"__wasm_call_ctors", ">"},
		{"emscripten_stack_init", ">"},
		{"emscripten_stack_get_end", ">p"},
		{"emscripten_stack_get_current", ">p"},
		{"_emscripten_stack_alloc", "p>p"},
		{"_emscripten_stack_restore", "p>"},
	} {
		if sig, ok := s.funcs[want[0]]; !ok || sig != s.width(want[1]) {
			return fmt.Errorf("%w: export %s missing or of the wrong type", ErrModule, want[0])
		}
	}
	for _, im := range s.imports {
		if !strings.HasPrefix(im.name, "__asyncjs__") {
			continue
		}
		for _, want := range [][2]string{{"asyncify_start_unwind", "p>"}, {"asyncify_stop_unwind", ">"}, {"asyncify_start_rewind", "p>"}, {"asyncify_stop_rewind", ">"}} {
			if sig, ok := s.funcs[want[0]]; !ok || sig != s.width(want[1]) {
				return fmt.Errorf("%w: export %s missing or of the wrong type", ErrModule, want[0])
			}
		}
	}
	return nil
}

// width spells a signature out for the module's pointer size.
func (s *shape) width(sig string) string {
	if s.memory.wide {
		return strings.ReplaceAll(sig, "p", "j")
	}
	return strings.ReplaceAll(sig, "p", "i")
}

// probe finds what is the same for every instance, under the least memory so that no limit shows in it.
func (p *emscriptenProgram) probe() error {
	m, err := p.instantiate(p.shape.memory.min * wasmPage)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModule, err)
	}
	defer m.close()
	p.image = captureImage(m.memory(), nil)
	if _, err = m.call("emscripten_stack_init"); err == nil {
		p.end, err = m.call("emscripten_stack_get_end")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrModule, m.classify(err))
	}
	for _, g := range m.globals {
		p.rest = append(p.rest, g.Get(m.store))
	}
	if p.end == 0 {
		p.end = 4
	}
	if m.span(p.end, 8) == nil {
		return fmt.Errorf("%w: stack outside the memory", ErrModule)
	}
	return nil
}

func (p *emscriptenProgram) base() *Image { return p.image }

func (p *emscriptenProgram) size() uint64 { return p.code + uint64(len(p.image.pages)) }

func (p *emscriptenProgram) ceiling() uint64 { return min(p.shape.memory.max, 1<<32) * wasmPage }

func (p *emscriptenProgram) close() { p.module.Close() }

// start does what the JavaScript does before the first message: cookies at the stack's end, constructors.
func (p *emscriptenProgram) start(limit uint64) (instance, error) {
	m, err := p.instantiate(limit)
	if err != nil {
		return nil, err
	}
	if _, err = m.call("emscripten_stack_init"); err == nil {
		binary.LittleEndian.PutUint32(m.span(p.end, 8), 0x02135467)
		binary.LittleEndian.PutUint32(m.span(p.end, 8)[4:], 0x89BACDFE)
		binary.LittleEndian.PutUint32(m.span(0, 4), 0x63736D65)
		_, err = m.call("__wasm_call_ctors")
	}
	if err != nil {
		err = m.classify(err)
		m.close()
		return nil, err
	}
	return m, nil
}

// restore needs no constructors: the image holds all they did.
func (p *emscriptenProgram) restore(img *Image, limit uint64) (instance, error) {
	if img.length > limit || img.length < p.image.length || img.length > p.shape.memory.max*wasmPage || len(img.tail) > 0 {
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
	return m, nil
}

// writeImage makes mem, which stands at base, stand at img. Pages that agree are not written, so that they
// stay shared with other instances.
func writeImage(mem []byte, img, base *Image) {
	for index := range base.Pages {
		if img.page(index) == nil {
			clear(mem[int(index)*PageSize:][:PageSize])
		}
	}
	for index, want := range img.Pages {
		if old := base.page(index); old == nil || *old != *want {
			copy(mem[int(index)*PageSize:], want[:])
		}
	}
}

// emscripten is one instance. Between messages everything that lasts is in its memory: the globals are put
// back to rest before every message, and the date counter restarts.
type emscripten struct {
	program *emscriptenProgram
	store   *wt.Store
	inst    *wt.Instance
	mem     *wt.Memory
	globals []*wt.Global
	funcs   map[string]*wt.Func
	wide    bool
	limit   uint64
	drive   *drive // nil: no file exists

	// State of the message being handled.
	fuel    uint64 // its budget
	charged uint64 // host work so far
	gas     uint64 // what a metered module says it used
	date    uint64
	depth   int
	jumping bool // a longjmp is on its way to the nearest invoke
	sleep   sleepState
	sleeper uint64 // the asyncify buffer
	dreamt  uint64 // what the import that sleeps will answer
	isOpen  bool   // the file of the drive
	at      uint64 // where in it the next read begins
	told    uint64 // where in it the module was told to stand
	failure error  // why the host stopped the module
}

func (p *emscriptenProgram) instantiate(limit uint64) (*emscripten, error) {
	if limit < p.shape.memory.min*wasmPage {
		return nil, faultMemoryLimit
	}
	m := &emscripten{program: p, funcs: make(map[string]*wt.Func, 16), wide: p.shape.memory.wide, limit: limit}
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
	for i, name := range p.shape.saved {
		g := inst.GetExport(m.store, name).Global()
		m.globals = append(m.globals, g)
		if p.rest != nil {
			if err := g.Set(m.store, p.rest[i]); err != nil {
				m.close()
				return nil, errors.New("set global of a new instance")
			}
		}
	}
	return m, nil
}

func (m *emscripten) memory() []byte { return m.mem.UnsafeData(m.store) }

func (m *emscripten) tail() []byte { return nil }

func (m *emscripten) close() { m.store.Close() }

// begin forgets the message before.
func (m *emscripten) begin(fuel uint64) {
	m.fuel, m.charged, m.gas = fuel, 0, 0
	m.date, m.depth, m.jumping, m.failure = dateStart, 0, false, nil
	m.sleep, m.sleeper, m.isOpen = awake, 0, false
	_ = m.store.SetFuel(fuel) // fails only in an engine without fuel
	for i, g := range m.globals {
		_ = g.Set(m.store, m.program.rest[i]) // fails only for a value of another type
	}
}

func (m *emscripten) handle(msg, env []byte, fuel uint64) ([]byte, uint64, error) {
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

// message is the reference's call: both strings on the module's stack, the answer read where it lies.
func (m *emscripten) message(msg, env []byte) ([]byte, error) {
	sp, err := m.call("emscripten_stack_get_current")
	if err != nil {
		return nil, err
	}
	a, err := m.push(msg)
	if err != nil {
		return nil, err
	}
	b, err := m.push(env)
	if err != nil {
		return nil, err
	}
	r, err := m.call("handle", a, b)
	for err == nil && m.sleep == unwinding {
		if err = m.rewind(); err == nil {
			r, err = m.call("handle", a, b)
		}
	}
	if err != nil {
		return nil, err
	}
	if m.sleep == rewinding {
		return nil, faultAsyncify
	}
	if _, err = m.call("_emscripten_stack_restore", sp); err != nil {
		return nil, err
	}
	return m.text(r)
}

// push puts a string on the module's stack.
func (m *emscripten) push(s []byte) (uint64, error) {
	p, err := m.call("_emscripten_stack_alloc", uint64(len(s)+1))
	if err != nil {
		return 0, err
	}
	dst := m.span(p, uint64(len(s)+1))
	if dst == nil {
		return 0, faultPointer
	}
	copy(dst, s)
	dst[len(s)] = 0
	return p, nil
}

// text copies the C string at p.
func (m *emscripten) text(p uint64) ([]byte, error) {
	mem := m.memory()
	if p >= uint64(len(mem)) {
		return nil, faultResult
	}
	rest := mem[p:]
	if len(rest) > MaxOutput+1 {
		rest = rest[:MaxOutput+1]
	}
	n := bytes.IndexByte(rest, 0)
	switch {
	case n >= 0:
		return bytes.Clone(rest[:n]), nil
	case len(rest) > MaxOutput:
		return nil, faultResultSize
	}
	return nil, faultResult
}

// span is a piece of the memory, nil if it does not lie inside. It holds until the next call into the module.
func (m *emscripten) span(p, n uint64) []byte {
	if m.mem == nil {
		return nil
	}
	mem := m.memory()
	if p > uint64(len(mem)) || n > uint64(len(mem))-p {
		return nil
	}
	return mem[p : p+n : p+n]
}

// word converts a number to the module's pointer type.
func (m *emscripten) word(v uint64) any {
	if m.wide {
		return int64(v)
	}
	return int32(uint32(v))
}

// call runs an export that takes pointers only; checkEmscripten has seen its type.
func (m *emscripten) call(name string, args ...uint64) (uint64, error) {
	var buf [4]any
	list := buf[:0]
	for _, a := range args {
		list = append(list, m.word(a))
	}
	return m.run(name, list)
}

func (m *emscripten) run(name string, args []any) (uint64, error) {
	f := m.funcs[name]
	if f == nil {
		if f = m.inst.GetFunc(m.store, name); f == nil {
			return 0, faultExports
		}
		m.funcs[name] = f
	}
	r, err := f.Call(m.store, args...)
	if err != nil {
		return 0, err
	}
	switch v := r.(type) {
	case int64:
		return uint64(v), nil
	case int32:
		return uint64(uint32(v)), nil
	case float64:
		return math.Float64bits(v), nil
	case float32:
		return uint64(math.Float32bits(v)), nil
	}
	return 0, nil
}

// classify turns what stopped the module into a fault or, when the host itself failed, into a plain error.
func (m *emscripten) classify(err error) error {
	if m.failure != nil {
		return m.failure
	}
	if m.jumping {
		return faultLongjmp
	}
	return engineFault(err)
}

// engineFault translates an error of the engine. It serves every format.
func engineFault(err error) error {
	var f fault
	if errors.As(err, &f) {
		return f
	}
	var t *wt.Trap
	if !errors.As(err, &t) {
		return errors.New("wasm engine failed")
	}
	code := t.Code()
	if code == nil {
		return faultTrap
	}
	switch *code {
	case wt.OutOfFuel:
		return faultOutOfGas
	case wt.StackOverflow:
		return faultStack
	case wt.MemoryOutOfBounds:
		return faultMemory
	case wt.HeapMisaligned:
		return faultMisaligned
	case wt.TableOutOfBounds:
		return faultTable
	case wt.IndirectCallToNull:
		return faultNullCall
	case wt.BadSignature:
		return faultSignature
	case wt.IntegerOverflow:
		return faultOverflow
	case wt.IntegerDivisionByZero:
		return faultDivide
	case wt.BadConversionToInteger:
		return faultConvert
	case wt.UnreachableCodeReached:
		return faultUnreachable
	}
	return faultTrap
}
