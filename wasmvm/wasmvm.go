// Package wasmvm is λ of the paper (§5.4): (state, entry) -> (state, result), in WebAssembly, deterministic and metered.
//
// In come a process, its module's code and the entries of its log; out come results, and images of the state. The
// formats it runs are aos modules (emscripten, of 64 or 32 bits), the embedded default module (Lua on WASI) and native Go state
// machines.
//
// It never reads a clock or a random source, and no wall clock bounds a committed slot: fuel does. What a module can
// observe comes from the entry alone. It never believes a module: pointers, sizes and answers are checked.
//
// Start with Machine below, then apply.go; envelope.go is what a module sees, emscripten*.go and wasip1*.go are the
// two hosts, image.go is a state at rest.
package wasmvm

import (
	"context"
	"errors"

	"github.com/aopeer/aopeer/ao"
)

// MaxFuel is the most fuel that one entry may burn, whatever its Compute-Limit says.
const MaxFuel = 10_000_000_000

// MaxQueryFuel is the most that a dry-run may burn: nobody pays for it.
const MaxQueryFuel = 1_000_000_000

// What a machine can refuse. What a module does wrong is no error but a result.
var (
	ErrFormat = errors.New("no machine runs this Module-Format")
	ErrModule = errors.New("the module cannot be run")
	ErrLimit  = errors.New("the process asks for more than this machine gives")
	ErrBusy   = errors.New("too many modules wait to be compiled")
)

// Genesis is what a process is computed from.
type Genesis struct {
	Process ao.Process
	Module  ao.Module
	Boot    []byte // what On-Boot names, where BootOf says that there is something; not nil then
}

// State is a process at rest between two entries. One goroutine uses it at a time; Close releases it.
type State interface {
	// Image is the state as it stands, independent of what comes after.
	Image() (*Image, error)
	Close()
}

// Machine evaluates entries.
type Machine interface {
	// Prepare compiles a module or finds it in the cache. The end of ctx ends the wait, not the compilation. Errors:
	// ErrFormat, ErrModule, ErrBusy.
	Prepare(ctx context.Context, m ao.Module) error
	// Begin is the state before slot 0 or, given an image, the state it was taken from. Errors: Prepare's, of which
	// ErrModule also says that the module does not start, ErrLimit, ErrImage.
	Begin(ctx context.Context, g Genesis, img *Image) (State, error)
	// Apply consumes s and returns the state after the entry. A failed evaluation is a result with Error set and the
	// state as before. An error is a fault of the machine itself, after which s is closed.
	Apply(ctx context.Context, s State, e ao.Entry) (State, ao.Result, error)
	// Tick is Apply for a message that is implied.
	Tick(ctx context.Context, s State, m ao.CronMessage) (State, ao.Result, error)
	// DryRun evaluates a query at the height and time of last, within MaxQueryFuel, and leaves s as it was.
	DryRun(ctx context.Context, s State, q ao.Query, last ao.AssignmentFields) (ao.Result, error)
	// Profile names how results of g come about: claims compare only within one profile.
	Profile(g Genesis) string
	// Close releases compiled code. Every State must have been closed before.
	Close() error
}

// Sizer is a Machine that knows what a process may take of this machine's memory, and whose States know what they take.
type Sizer interface {
	Machine
	// Most is the most that a process takes, in bytes, after any one entry; 0 is little. It falls once its module is
	// prepared.
	Most(g Genesis) uint64
}

// Sized is a State that knows what it takes of this machine's memory.
type Sized interface {
	State
	// Footprint is that, in bytes, as of the last entry.
	Footprint() uint64
}

// Tidier is a State that leaves for after the answer what it need not do before it: to keep what an entry has changed, or to take
// back what a query has. Whatever is asked of it next does that first.
type Tidier interface {
	State
	// Tidy does it now. After an error the state can only be closed.
	Tidy() error
}
