//go:build wasip1

package main

import (
	"bytes"
	"embed"
	"errors"

	rt "github.com/arnodel/golua/runtime"
)

//go:embed lua/*.lua
var prelude embed.FS

// process is a Lua runtime, the function in it that takes messages, and the buffers shared with the host.
type process struct {
	lua     *rt.Runtime
	entry   rt.Value
	random  generator
	buffers [][]byte
	answer  []byte

	// The environment hardly ever changes, so its table is kept.
	envJSON []byte
	env     rt.Value
}

func newProcess() *process {
	p := &process{}
	p.open()
	host := p.host()
	for _, name := range []string{"base", "ao", "handlers", "process"} {
		p.entry = p.load(name, host)
	}
	return p
}

// load runs a chunk of the prelude, which gets the host's table and returns, if it is the last, the entry point.
func (p *process) load(name string, host rt.Value) rt.Value {
	source, err := prelude.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err)
	}
	chunk, err := p.lua.CompileAndLoadLuaChunk(name, source, rt.TableValue(p.lua.GlobalEnv()))
	if err != nil {
		panic(err)
	}
	v, err := rt.Call1(p.lua.MainThread(), rt.FunctionValue(chunk), host)
	if err != nil {
		panic(err)
	}
	return v
}

func (p *process) alloc(n uint32) uint32 {
	if n > maxInput || len(p.buffers) >= 8 {
		return 0
	}
	b := make([]byte, n, max(n, 1))
	p.buffers = append(p.buffers, b)
	return address(b)
}

// take finds a buffer by its address; anything else is an empty one.
func (p *process) take(at, n uint32) []byte {
	for _, b := range p.buffers {
		if address(b) == at && n <= uint32(len(b)) {
			return b[:n]
		}
	}
	return nil
}

// respond evaluates a message and encodes the answer.
func (p *process) respond(msg, env []byte) []byte {
	response, err := p.evaluate(msg, env)
	if err != nil {
		return refuse(err)
	}
	out, err := encode([]byte(`{"ok":true,"response":`), response)
	if err != nil {
		return refuse(err)
	}
	return append(out, '}')
}

// refuse answers a message that could not even be given to Lua.
func refuse(err error) []byte {
	return append(quote([]byte(`{"ok":false,"response":`), err.Error()), '}')
}

func (p *process) evaluate(msg, env []byte) (rt.Value, error) {
	m, err := decode(msg)
	if err != nil {
		return rt.NilValue, errors.New("message: " + err.Error())
	}
	if !bytes.Equal(env, p.envJSON) {
		if p.env, err = decode(env); err != nil {
			return rt.NilValue, errors.New("environment: " + err.Error())
		}
		p.envJSON = env
	}
	// A termination with a parent would hang on to the call before, and so to every call there ever was.
	out := rt.NewTerminationWith(nil, 1, false)
	if err := rt.Call(p.lua.MainThread(), p.entry, []rt.Value{m, p.env}, out); err != nil {
		text, _ := rt.ErrorValue(err).ToString()
		return rt.NilValue, errors.New(text)
	}
	return out.Get(0), nil
}
