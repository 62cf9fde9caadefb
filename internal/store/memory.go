package store

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// memoryDir is the folder of a store inside its own memory file system.
const memoryDir = "/store"

// memoryCache is small: what it would cache is in memory already.
const memoryCache = 1 << 20

// errPowerCut is why a crashed store refuses everything.
var errPowerCut = errors.New("power was cut")

// NewMemory returns an empty store in memory, files included, for tests and simulations. It is the same engine on
// a memory file system, so it differs from a store on disk in durability alone.
func NewMemory() Store {
	return mustOpen(vfs.NewMem())
}

// Crashable is a store in memory whose power can be cut.
type Crashable struct {
	Store
	disk *vfs.MemFS
	data *database
}

// NewCrashable returns an empty crashable store.
func NewCrashable() *Crashable {
	return newCrashable(vfs.NewCrashableMem())
}

// Crash cuts the power and returns the store as it is found afterwards: with everything that was acknowledged, and of
// what was written but not yet synced about `unsynced` percent of the blocks (0 to 100), chosen by seed. Calls
// under way on the old store, and all later ones, end with ErrBroken or ErrClosed.
func (c *Crashable) Crash(unsynced int, seed uint64) (*Crashable, error) {
	c.data.breakDown(errPowerCut) // first, so that nothing is acknowledged after the picture is taken
	after := c.disk.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: unsynced,
		RNG:                 rand.New(rand.NewPCG(seed, seed)),
	})
	if err := c.data.Close(); err != nil {
		return nil, fmt.Errorf("crash: %w", err)
	}
	data, err := open(after, memoryDir, Options{CacheBytes: memoryCache})
	if err != nil {
		return nil, fmt.Errorf("reopen after crash: %w", err)
	}
	return &Crashable{Store: data, disk: after, data: data}, nil
}

func newCrashable(disk *vfs.MemFS) *Crashable {
	data := mustOpen(disk)
	return &Crashable{Store: data, disk: disk, data: data}
}

// mustOpen opens a store on an empty memory file system, where nothing can fail but our own code.
func mustOpen(disk vfs.FS) *database {
	d, err := open(disk, memoryDir, Options{CacheBytes: memoryCache})
	if err != nil {
		panic("open store in memory: " + err.Error())
	}
	return d
}
