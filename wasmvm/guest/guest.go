//go:build wasip1

// Command guest is the default module: Lua handlers on WebAssembly (§2.2, §5.4), the program that most processes run.
//
// In come a message and its process as JSON; out goes one JSON object, in the shape that aos modules use. The wire
// form is in docs/wire.md, under wasm32-wasip1-aopeer1.
//
// It never touches a file, a socket or a clock, and it keeps no limits of its own: fuel and memory are bounded by the
// host, out of reach of any pcall, and a failed message is undone by the host putting the memory back.
//
// Start with handle below, then lua/process.lua, which is where a message goes; sandbox.go says what Lua there is.
package main

import "unsafe"

// maxInput bounds one buffer that the host may ask for.
const maxInput = 64 << 20

// module is the one process that this instance is. It is made while the instance starts, so that every process
// begins from the same memory.
var module = newProcess()

func main() {}

// alloc returns the address of a buffer of n bytes for one argument of handle, 0 if there can be none.
//
//go:wasmexport alloc
func alloc(n uint32) uint32 {
	return module.alloc(n)
}

// handle evaluates one message. Its arguments lie in buffers from alloc, which are given back. It returns address and
// length of the answer as address<<32 | length; the answer stands until the next call.
//
//go:wasmexport handle
func handle(msg, msgLen, env, envLen uint32) uint64 {
	m, e := module.take(msg, msgLen), module.take(env, envLen)
	module.buffers = nil
	module.answer = module.respond(m, e)
	return uint64(address(module.answer))<<32 | uint64(len(module.answer))
}

func address(b []byte) uint32 {
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}
