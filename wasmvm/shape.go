package wasmvm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Bounds on a module, checked before the engine sees a byte of it.
const (
	// MaxModule bounds the size of a module in bytes.
	MaxModule = 32 << 20

	wasmPage      = 65536
	maxImports    = 512
	maxExports    = 8192
	maxTypes      = 1 << 16
	maxParams     = 64
	maxName       = 256
	maxGlobals    = 1024
	maxTable      = 1 << 18
	globalPrefix  = "aopeer.global."
	sectionType   = 1
	sectionImport = 2
	sectionFunc   = 3
	sectionTable  = 4
	sectionMemory = 5
	sectionGlobal = 6
	sectionExport = 7
	sectionStart  = 8
	sectionCode   = 10
)

// shape is what a host must know about a module before it is compiled. Signatures are strings of one
// letter a value, i j f d for the four number types and x for anything else, with > before the results.
type shape struct {
	imports  []importDecl
	funcs    map[string]string // exported functions and their signatures
	memory   memoryDecl
	globals  []globalDecl // every global of the module, in order
	saved    []string     // export names of the mutable globals, original or added by exportGlobals
	sections []section
}

type importDecl struct{ module, name, sig string }

type memoryDecl struct {
	wide     bool // 64-bit addresses
	min, max uint64
	export   string
}

type globalDecl struct {
	kind    byte
	mutable bool
}

type section struct {
	id   byte
	body []byte
}

// inspect reads the sections of a module that concern a host. It refuses what would let state hide where
// an Image does not look, and what the engine's Go binding cannot express.
func inspect(wasm []byte) (*shape, error) {
	if len(wasm) > MaxModule {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrModule, len(wasm), MaxModule)
	}
	if !bytes.HasPrefix(wasm, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, fmt.Errorf("%w: not a core wasm binary", ErrModule)
	}
	p := &shapeParser{shape: &shape{funcs: map[string]string{}}}
	r := &wasmReader{b: wasm[8:]}
	seen := [256]bool{}
	for len(r.b) > 0 && r.err == nil {
		id := r.byte()
		body := r.bytes(r.u32())
		if r.err != nil {
			break
		}
		if id != 0 && seen[id] {
			r.fail("section %d twice", id)
			break
		}
		seen[id] = true
		p.sections = append(p.sections, section{id, body})
		s := &wasmReader{b: body}
		p.section(id, s)
		if s.err != nil {
			r.err = s.err
		}
	}
	if r.err == nil && !seen[sectionMemory] {
		r.fail("no memory")
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrModule, r.err)
	}
	return p.shape, nil
}

type shapeParser struct {
	*shape
	types []string
	defs  []string // signature of every function, imported ones first
}

func (p *shapeParser) section(id byte, r *wasmReader) {
	switch id {
	case sectionType:
		r.each(maxTypes, func() {
			if form := r.byte(); form != 0x60 {
				r.fail("type form %#x", form)
			}
			params := r.kinds()
			p.types = append(p.types, params+">"+r.kinds())
		})
	case sectionImport:
		r.each(maxImports, func() { p.importEntry(r) })
	case sectionFunc:
		r.each(len(r.b), func() { p.defs = append(p.defs, p.typeAt(r)) })
	case sectionTable:
		r.each(16, func() {
			r.byte()
			if lim := r.limits(); lim.min > maxTable {
				r.fail("table of %d elements", lim.min)
			}
		})
	case sectionMemory:
		r.each(1, func() { p.memory = r.limits() })
	case sectionGlobal:
		r.each(maxGlobals, func() { p.globalEntry(r) })
	case sectionExport:
		r.each(maxExports, func() { p.exportEntry(r) })
	case sectionStart:
		r.fail("start function")
	default:
		return // code, data and the rest are the engine's to validate
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("section %d too long", id)
	}
}

func (p *shapeParser) typeAt(r *wasmReader) string {
	i := r.u32()
	if r.err != nil || uint64(i) >= uint64(len(p.types)) {
		r.fail("type index %d", i)
		return ""
	}
	return p.types[i]
}

func (p *shapeParser) importEntry(r *wasmReader) {
	module, name := r.name(), r.name()
	if kind := r.byte(); r.err == nil && kind != 0 {
		r.fail("import %q is no function", name)
		return
	}
	sig := p.typeAt(r)
	if bytes.ContainsRune([]byte(sig), 'x') {
		r.fail("import %q has a vector or reference in its type", name)
	}
	p.imports = append(p.imports, importDecl{module, name, sig})
	p.defs = append(p.defs, sig)
}

func (p *shapeParser) globalEntry(r *wasmReader) {
	g := globalDecl{kind: r.kind(), mutable: r.byte() == 1}
	r.constExpr()
	if g.mutable && g.kind == 'x' {
		r.fail("mutable vector or reference global")
	}
	p.globals = append(p.globals, g)
}

func (p *shapeParser) exportEntry(r *wasmReader) {
	name, kind, index := r.name(), r.byte(), r.u32()
	switch kind {
	case 0:
		if uint64(index) >= uint64(len(p.defs)) {
			r.fail("function index %d", index)
			return
		}
		p.funcs[name] = p.defs[index]
	case 2:
		p.memory.export = name
	}
}

// exportGlobals returns the module with an export added for each of its mutable globals, so that the host
// can put back state that lives outside the memory.
func (s *shape) exportGlobals() ([]byte, error) {
	var extra []byte
	count := 0
	s.saved = s.saved[:0]
	for i, g := range s.globals {
		if !g.mutable {
			continue
		}
		name := globalPrefix + strconv.Itoa(i)
		s.saved = append(s.saved, name)
		extra = binary.AppendUvarint(extra, uint64(len(name)))
		extra = append(extra, name...)
		extra = append(extra, 3)
		extra = binary.AppendUvarint(extra, uint64(i))
		count++
	}
	out := []byte("\x00asm\x01\x00\x00\x00")
	found := false
	for _, sec := range s.sections {
		body := sec.body
		if sec.id == sectionExport {
			found = true
			r := &wasmReader{b: body}
			n := r.u32()
			body = binary.AppendUvarint(nil, uint64(n)+uint64(count))
			body = append(append(body, r.b...), extra...)
		}
		out = append(out, sec.id)
		out = binary.AppendUvarint(out, uint64(len(body)))
		out = append(out, body...)
	}
	if !found {
		return nil, fmt.Errorf("%w: no exports", ErrModule)
	}
	return out, nil
}

// wasmReader reads the binary format; the first error sticks and every later read returns zero.
type wasmReader struct {
	b   []byte
	err error
}

func (r *wasmReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *wasmReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("truncated")
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *wasmReader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)) {
		r.fail("truncated")
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// leb skips or reads a LEB128 number of at most max bytes; signed ones are only ever skipped.
func (r *wasmReader) leb(max int) uint64 {
	var v uint64
	for i := range max {
		c := r.byte()
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v
		}
	}
	r.fail("number too long")
	return 0
}

func (r *wasmReader) u32() uint32 {
	v := r.leb(5)
	if v > 1<<32-1 {
		r.fail("number too large")
		return 0
	}
	return uint32(v)
}

func (r *wasmReader) each(max int, f func()) {
	n := r.u32()
	if uint64(n) > uint64(max) {
		r.fail("%d entries, at most %d", n, max)
	}
	for i := uint32(0); i < n && r.err == nil; i++ {
		f()
	}
}

func (r *wasmReader) name() string {
	b := r.bytes(r.u32())
	if len(b) > maxName || !utf8.Valid(b) {
		r.fail("name of %d bytes", len(b))
		return ""
	}
	return string(b)
}

func (r *wasmReader) kind() byte {
	switch c := r.byte(); c {
	case 0x7f:
		return 'i'
	case 0x7e:
		return 'j'
	case 0x7d:
		return 'f'
	case 0x7c:
		return 'd'
	case 0x7b, 0x70, 0x6f:
		return 'x'
	default:
		r.fail("value type %#x", c)
		return 0
	}
}

func (r *wasmReader) kinds() string {
	n := r.u32()
	if n > maxParams {
		r.fail("%d values in a type", n)
		return ""
	}
	out := make([]byte, 0, n)
	for range n {
		out = append(out, r.kind())
	}
	return string(out)
}

func (r *wasmReader) limits() memoryDecl {
	flags := r.byte()
	if flags&^5 != 0 {
		r.fail("limits flags %#x", flags)
	}
	m := memoryDecl{wide: flags&4 != 0, max: 1 << 48}
	m.min = r.leb(10)
	if flags&1 != 0 {
		m.max = r.leb(10)
	}
	if m.min > 1<<48 || m.max > 1<<48 {
		r.fail("limits too large")
	}
	return m
}

func (r *wasmReader) constExpr() {
	for r.err == nil {
		switch op := r.byte(); op {
		case 0x0b:
			return
		case 0x41, 0x23, 0xd2:
			r.leb(5)
		case 0x42:
			r.leb(10)
		case 0x43:
			r.bytes(4)
		case 0x44:
			r.bytes(8)
		case 0xd0:
			r.byte()
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e:
		case 0xfd:
			if r.u32() != 12 {
				r.fail("vector instruction in a constant")
			}
			r.bytes(16)
		default:
			r.fail("instruction %#x in a constant", op)
		}
	}
}
