package wasmvm

// instance is one wasm instance of one process, the raw machine below Apply. One goroutine uses it at a
// time.
type instance interface {
	// handle runs one message and returns the bytes the module answered and the fuel it took. After an
	// error the instance is dead and can only be closed. A fault is an outcome every host agrees on, and
	// its text is fit for a Result; any other error is trouble of this host, and nothing may be committed.
	handle(msg, env []byte, fuel uint64) (out []byte, used uint64, err error)
	// memory is the linear memory as it stands; it must be taken anew after every handle.
	memory() []byte
	// tail is the canonical form of the state outside the memory: saved globals and counters. Empty when
	// the memory is everything.
	tail() []byte
	close()
}

// tailSetter is an instance whose state outside the memory can be put back without building a new one.
type tailSetter interface {
	setTail(tail []byte) error
}

// program is one compiled module, shared by all its instances. It is safe for concurrent use.
type program interface {
	// start makes a fresh instance, as it stands before its first message. limit bounds its memory in bytes.
	start(limit uint64) (instance, error)
	// restore makes a new instance that stands where img was taken.
	restore(img *Image, limit uint64) (instance, error)
	// size is what the program takes of this machine's memory, ceiling the most linear memory that an instance has by
	// the module's own word; both in bytes.
	size() uint64
	ceiling() uint64
	close()
}

// baser is a program that knows the image every fresh instance starts from. A journal over such a program
// need not look at pages that nobody has touched.
type baser interface {
	base() *Image
}

// originer is a program whose instances all begin with the same pages beyond its base. They are never changed.
type originer interface {
	origin() map[uint32]*kept
}

// instanceBytes is what an instance takes besides its pages, roughly.
const instanceBytes = 512 << 10

// fault is why an evaluation failed. Its text goes into results that are signed, so it comes from this
// package alone: never from the engine, whose wording changes between versions.
type fault string

// Error returns the fixed text.
func (f fault) Error() string { return string(f) }

// The faults an evaluation can end in. Those that carry a detail (an exit code, the name of an import) are
// built where they occur.
const (
	faultOutOfGas     fault = "out of gas!"
	faultStack        fault = "wasm trap: call stack exhausted"
	faultMemory       fault = "wasm trap: out of bounds memory access"
	faultMisaligned   fault = "wasm trap: unaligned atomic"
	faultTable        fault = "wasm trap: undefined element"
	faultNullCall     fault = "wasm trap: uninitialized element"
	faultSignature    fault = "wasm trap: indirect call type mismatch"
	faultOverflow     fault = "wasm trap: integer overflow"
	faultDivide       fault = "wasm trap: integer divide by zero"
	faultConvert      fault = "wasm trap: invalid conversion to integer"
	faultUnreachable  fault = "wasm trap: unreachable"
	faultTrap         fault = "wasm trap"
	faultAbort        fault = "module aborted"
	faultLongjmp      fault = "module jumped out of its entry point"
	faultPointer      fault = "module passed a pointer outside its memory"
	faultResult       fault = "module returned an unreadable result"
	faultResultSize   fault = "module returned a result over the size limit"
	faultInputSize    fault = "message over the size limit"
	faultDepth        fault = "module nested host calls too deep"
	faultExports      fault = "module lacks a required export"
	faultAsyncify     fault = "module broke the asyncify protocol"
	faultMemoryLimit  fault = "memory limit below what the module needs"
	faultInstantiate  fault = "module cannot be instantiated"
	faultImageForeign fault = "image does not fit the module"
)
