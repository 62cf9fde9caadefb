package bench

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"syscall"

	wt "github.com/bytecodealliance/wasmtime-go/v44"
	"github.com/cockroachdb/pebble/v2"
	"github.com/klauspost/compress/zstd"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// This file imports nothing of ours: it is the floor that the rows are measured from.

// exponentiate is RSA verification without its padding: s^65537 mod n.
func exponentiate(s, n []byte) {
	new(big.Int).Exp(new(big.Int).SetBytes(s), big.NewInt(65537), new(big.Int).SetBytes(n))
}

// signed is a message with its Ed25519 key and signature.
type signed struct{ key, message, signature []byte }

func voiOptions() *voi.Options { return &voi.Options{Verify: voi.VerifyOptionsDefault} }

func verifyOne(s signed) {
	if !voi.VerifyWithOptions(s.key, s.message, s.signature, voiOptions()) {
		panic("a valid signature is refused")
	}
}

func verifyTogether(list []signed) {
	v := voi.NewBatchVerifierWithCapacity(len(list))
	for _, s := range list {
		v.AddWithOptions(s.key, s.message, s.signature, voiOptions())
	}
	if ok, _ := v.Verify(nil); !ok {
		panic("valid signatures are refused")
	}
}

// voiKey is the key that signOne signs with.
func voiKey(seed byte) voi.PrivateKey {
	s := sha256.Sum256([]byte{seed})
	return voi.NewKeyFromSeed(s[:])
}

func signOne(key voi.PrivateKey, message []byte) []byte { return voi.Sign(key, message) }

// writeSynced appends a record to a file and waits for the disk.
func writeSynced(f *os.File, record []byte) {
	if _, err := f.Write(record); err != nil {
		panic(err)
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		panic(err)
	}
}

// roundTrips is a call to and fro between two libp2p hosts on this machine: a stream of its own, a record each way, the
// end.
func roundTrips(size int) (trip func(record []byte), hangUp func()) {
	hosts := [2]host.Host{}
	for i, listen := range []string{"/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		h, err := libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.DisableMetrics(), libp2p.DisableRelay())
		if err != nil {
			panic(err)
		}
		hosts[i] = h
	}
	hosts[1].SetStreamHandler("/echo", func(s network.Stream) {
		buf := make([]byte, size)
		if _, err := io.ReadFull(s, buf); err != nil {
			_ = s.Reset()
			return
		}
		if _, err := s.Write(buf); err == nil {
			_ = s.Close()
		}
	})
	ctx := context.Background()
	err := hosts[0].Connect(ctx, peer.AddrInfo{ID: hosts[1].ID(), Addrs: hosts[1].Addrs()})
	if err != nil {
		panic(err)
	}
	buf := make([]byte, size)
	return func(record []byte) {
			s, err := hosts[0].NewStream(ctx, hosts[1].ID(), "/echo")
			if err != nil {
				panic(err)
			}
			if _, err := s.Write(record); err != nil {
				panic(err)
			}
			if _, err := io.ReadFull(s, buf); err != nil {
				panic(err)
			}
			_ = s.Close()
		}, func() {
			for _, h := range hosts {
				_ = h.Close()
			}
		}
}

// openEngine is the storage engine by itself.
func openEngine(dir string) *pebble.DB {
	db, err := pebble.Open(dir, &pebble.Options{FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}})
	if err != nil {
		panic(err)
	}
	return db
}

func setSynced(db *pebble.DB, key, value []byte) {
	if err := db.Set(key, value, pebble.Sync); err != nil {
		panic(err)
	}
}

// compactedSize is what a closed engine's folder holds once nothing in it is superfluous, its write-ahead log left out.
func compactedSize(dir string) (bytes uint64) {
	db := openEngine(dir)
	defer db.Close()
	if err := db.Compact(backgroundContext(), []byte{0}, []byte{255, 255}, true); err != nil {
		panic(err)
	}
	m := db.Metrics()
	for _, l := range m.Levels {
		bytes += uint64(l.TablesSize)
	}
	return bytes + m.BlobFiles.LiveSize
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// hashPages is SHA-256 over so many pages' bytes.
func hashPages(pages []byte) {
	const size = 4096
	for ; len(pages) > 0; pages = pages[size:] {
		sha256.Sum256(pages[:size])
	}
}

// packPages writes a list of pages as a file, compressed as fast as possible.
func packPages(name string, pages []byte) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer enc.Close()
	if err := os.WriteFile(name, enc.EncodeAll(pages, nil), 0o600); err != nil {
		panic(err)
	}
}

// placePages reads the file and puts its pages into fresh memory at the given places.
func placePages(name string, size int, index []uint32) {
	raw, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	defer dec.Close()
	pages, err := dec.DecodeAll(raw, nil)
	if err != nil {
		panic(err)
	}
	mem, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	for i, at := range index {
		copy(mem[int(at)*4096:], pages[i*4096:(i+1)*4096])
	}
	if err := syscall.Munmap(mem); err != nil {
		panic(err)
	}
}

// bareEngine is configured as the peer's machine is for aos modules.
func bareEngine() *wt.Engine {
	c := wt.NewConfig()
	c.SetStrategy(wt.StrategyCranelift)
	c.SetCraneliftOptLevel(wt.OptLevelSpeed)
	c.SetCraneliftNanCanonicalization(true)
	c.SetConsumeFuel(true)
	c.SetEpochInterruption(false)
	c.SetMaxWasmStack(1 << 20)
	c.SetMemoryInitCOWSet(true)
	c.SetNativeUnwindInfo(false)
	c.SetWasmSIMD(true)
	c.SetWasmRelaxedSIMD(false)
	c.SetWasmRelaxedSIMDDeterministic(true)
	c.SetWasmThreads(false)
	c.SetWasmReferenceTypes(false)
	c.SetWasmFunctionReferences(false)
	c.SetWasmGC(false)
	c.SetWasmTailCall(false)
	c.SetWasmMultiMemory(false)
	c.SetWasmMultiValue(true)
	c.SetWasmWideArithmetic(false)
	c.SetWasmMemory64(true)
	c.SetWasmBulkMemory(false)
	return wt.NewEngineWithConfig(c)
}

func compileBare(e *wt.Engine, wasm []byte) *wt.Module {
	m, err := wt.NewModule(e, wasm)
	if err != nil {
		panic(err)
	}
	return m
}

// bare is an aos module with the least host that it runs on: it can answer, and neither roll back nor be saved.
type bare struct {
	store   *wt.Store
	inst    *wt.Instance
	mem     *wt.Memory
	funcs   map[string]*wt.Func
	jumping bool
	date    float64
}

func newBare(e *wt.Engine, module *wt.Module) *bare {
	b := &bare{store: wt.NewStore(e), funcs: make(map[string]*wt.Func), date: 10000}
	b.fuel()
	var imports []wt.AsExtern
	for _, im := range module.Imports() {
		ft := im.Type().FuncType()
		imports = append(imports, wt.NewFunc(b.store, ft, b.answer(*im.Name(), ft)))
	}
	inst, err := wt.NewInstance(b.store, module, imports)
	if err != nil {
		panic(err)
	}
	b.inst, b.mem = inst, inst.GetExport(b.store, "memory").Memory()
	b.must("emscripten_stack_init")
	b.must("__wasm_call_ctors")
	return b
}

func (b *bare) fuel() {
	if err := b.store.SetFuel(10_000_000_000); err != nil {
		panic(err)
	}
}

func (b *bare) call(name string, args ...any) (any, error) {
	f := b.funcs[name]
	if f == nil {
		f = b.inst.GetFunc(b.store, name)
		b.funcs[name] = f
	}
	return f.Call(b.store, args...)
}

func (b *bare) must(name string, args ...any) any {
	r, err := b.call(name, args...)
	if err != nil {
		panic(err)
	}
	return r
}

type hostCall = func(*wt.Caller, []wt.Val) ([]wt.Val, *wt.Trap)

// answer is what an import does; those that no message of ours reaches answer zero.
func (b *bare) answer(name string, ft *wt.FuncType) hostCall {
	var zero []wt.Val
	for _, r := range ft.Results() {
		switch r.Kind() {
		case wt.KindI64:
			zero = append(zero, wt.ValI64(0))
		case wt.KindF64:
			zero = append(zero, wt.ValF64(0))
		default:
			zero = append(zero, wt.ValI32(0))
		}
	}
	switch {
	case strings.HasPrefix(name, "invoke_"):
		return b.invoke("dynCall_"+strings.TrimPrefix(name, "invoke_"), zero)
	case name == "_emscripten_throw_longjmp":
		return func(*wt.Caller, []wt.Val) ([]wt.Val, *wt.Trap) {
			b.jumping = true
			return nil, wt.NewTrap("longjmp")
		}
	case name == "_emscripten_memcpy_js":
		return func(_ *wt.Caller, v []wt.Val) ([]wt.Val, *wt.Trap) {
			mem := b.mem.UnsafeData(b.store)
			dst, src, n := v[0].I64(), v[1].I64(), v[2].I64()
			copy(mem[dst:dst+n], mem[src:src+n])
			return nil, nil
		}
	case name == "emscripten_resize_heap":
		return func(_ *wt.Caller, v []wt.Val) ([]wt.Val, *wt.Trap) {
			want := (uint64(v[0].I64()) + 65535) / 65536
			if _, err := b.mem.Grow(b.store, want-b.mem.Size(b.store)); err != nil {
				return []wt.Val{wt.ValI32(0)}, nil
			}
			return []wt.Val{wt.ValI32(1)}, nil
		}
	case name == "emscripten_date_now":
		return func(*wt.Caller, []wt.Val) ([]wt.Val, *wt.Trap) {
			b.date++
			return []wt.Val{wt.ValF64(b.date)}, nil
		}
	case name == "environ_sizes_get":
		return func(_ *wt.Caller, v []wt.Val) ([]wt.Val, *wt.Trap) {
			mem := b.mem.UnsafeData(b.store)
			clear(mem[v[0].I64():][:8])
			clear(mem[v[1].I64():][:8])
			return zero, nil
		}
	}
	return func(*wt.Caller, []wt.Val) ([]wt.Val, *wt.Trap) { return zero, nil }
}

// invoke is a protected call of C.
func (b *bare) invoke(dyn string, zero []wt.Val) hostCall {
	return func(_ *wt.Caller, v []wt.Val) ([]wt.Val, *wt.Trap) {
		sp := b.must("emscripten_stack_get_current")
		args := []any{int32(v[0].I64())}
		for _, a := range v[1:] {
			args = append(args, a.Get())
		}
		_, err := b.call(dyn, args...)
		if err == nil {
			return zero, nil
		}
		b.must("_emscripten_stack_restore", sp)
		if !b.jumping {
			return nil, wt.NewTrap("trap in a protected call")
		}
		b.jumping = false
		b.must("setThrew", int64(1), int32(0))
		return zero, nil
	}
}

// handle is one message: the bare call.
func (b *bare) handle(msg, env []byte) []byte {
	b.fuel()
	sp := b.must("emscripten_stack_get_current")
	r := b.must("handle", b.push(msg), b.push(env)).(int64)
	b.must("_emscripten_stack_restore", sp)
	mem := b.mem.UnsafeData(b.store)[r:]
	n := 0
	for mem[n] != 0 {
		n++
	}
	return append([]byte(nil), mem[:n]...)
}

func (b *bare) push(s []byte) any {
	p := b.must("_emscripten_stack_alloc", int64(len(s)+1))
	mem := b.mem.UnsafeData(b.store)[p.(int64):]
	copy(mem, s)
	mem[len(s)] = 0
	return p
}
