//go:build wasip1

package main

import (
	"errors"
	"io"
	"runtime/debug"
	"strings"

	"github.com/arnodel/golua/lib/base"
	"github.com/arnodel/golua/lib/coroutine"
	"github.com/arnodel/golua/lib/packagelib"
	"github.com/arnodel/golua/lib/stringlib"
	"github.com/arnodel/golua/lib/tablelib"
	"github.com/arnodel/golua/lib/utf8lib"
	rt "github.com/arnodel/golua/runtime"
)

const (
	// maxGoStack ends runaway recursion in the interpreter long before the native stack is used up. How soon that
	// would be differs between processors; this does not.
	maxGoStack = 512 << 10

	maxSource = 4 << 20
	maxString = 256 << 20
	maxTrace  = 10
)

// open makes the Lua runtime and gives it its libraries: of the base library no file, no bytecode and no collector;
// no io, no os but the message's time, no debug.
func (p *process) open() {
	debug.SetMaxStack(maxGoStack)
	debug.SetTraceback("none")
	p.lua = rt.New(io.Discard)
	p.lua.SetWarner(nil)
	env := p.lua.GlobalEnv()
	packagelib.LibLoader.Load(p.lua) // the other libraries register themselves with it
	for _, l := range []packagelib.Loader{base.LibLoader, coroutine.LibLoader, stringlib.LibLoader, tablelib.LibLoader, utf8lib.LibLoader} {
		l.Run(p.lua)
	}
	for _, name := range []string{"dofile", "loadfile", "warn", "require", "package"} {
		env.Set(rt.StringValue(name), rt.NilValue)
	}
	text := env.Get(rt.StringValue("string")).AsTable()
	text.Set(rt.StringValue("dump"), rt.NilValue)
	rep := text.Get(rt.StringValue("rep"))
	p.function(text, "rep", 3, false, func(t *rt.Thread, c *rt.GoCont) ([]rt.Value, error) { return repeat(t, c, rep) })
	p.lua.SetEnv(env, "_VERSION", rt.StringValue("Lua 5.4"))
	p.lua.SetEnv(env, "math", rt.TableValue(p.mathLibrary()))
	p.function(env, "load", 4, false, p.loadChunk)
	p.function(env, "setmetatable", 2, false, setMetatable)
	p.function(env, "collectgarbage", 1, false, collectGarbage)
}

// host is what the prelude gets from Go beyond the standard libraries.
func (p *process) host() rt.Value {
	host := rt.NewTable()
	p.function(host, "encode", 1, false, func(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		b, err := encode(nil, argument(c, 0))
		return []rt.Value{rt.StringValue(string(b))}, err
	})
	p.function(host, "decode", 1, false, func(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		s, ok := argument(c, 0).TryString()
		if !ok {
			return nil, errors.New("json: string expected")
		}
		v, err := decode([]byte(s))
		return []rt.Value{v}, err
	})
	p.function(host, "seed", 1, false, func(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		s, _ := argument(c, 0).ToString()
		p.random.seedText(s)
		return nil, nil
	})
	p.function(host, "traceback", 1, false, func(t *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		co, ok := argument(c, 0).TryThread()
		if !ok || co.CurrentCont() == nil {
			return one(rt.StringValue(""))
		}
		lines := strings.Split(t.Traceback("", co.CurrentCont()), "\n")
		return one(rt.StringValue(strings.Join(lines[:min(len(lines), maxTrace)], "\n")))
	})
	return rt.TableValue(host)
}

// luaFunc is a function that Lua calls, which itself calls nothing that could yield.
type luaFunc func(*rt.Thread, *rt.GoCont) ([]rt.Value, error)

// function puts a Go function into a table.
func (p *process) function(t *rt.Table, name string, args int, more bool, f luaFunc) {
	p.lua.SetEnvGoFunc(t, name, func(t *rt.Thread, c *rt.GoCont) (rt.Cont, error) {
		values, err := f(t, c)
		if err != nil {
			return nil, err
		}
		return c.PushingNext(t.Runtime, values...), nil
	}, args, more)
}

func argument(c *rt.GoCont, i int) rt.Value {
	if i < c.NArgs() {
		return c.Arg(i)
	}
	return rt.NilValue
}

// loadChunk is Lua's load for source text. Compiled code is refused: the interpreter does not check it.
func (p *process) loadChunk(t *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	source, err := chunkText(t, argument(c, 0))
	if err != nil {
		return []rt.Value{rt.NilValue, rt.StringValue(err.Error())}, nil
	}
	name, ok := argument(c, 1).TryString()
	if !ok {
		name = "chunk"
	}
	env := rt.TableValue(t.GlobalEnv())
	if c.NArgs() >= 4 {
		env = c.Arg(3)
	}
	chunk, err := t.LoadFromSourceOrCode(strings.TrimLeft(name, "=@"), []byte(source), "t", env, true)
	if err != nil {
		return []rt.Value{rt.NilValue, rt.StringValue(err.Error())}, nil
	}
	return one(rt.FunctionValue(chunk))
}

func chunkText(t *rt.Thread, v rt.Value) (string, error) {
	if s, ok := v.TryString(); ok {
		if len(s) > maxSource {
			return "", errors.New("chunk too long")
		}
		return s, nil
	}
	if _, ok := v.TryCallable(); !ok {
		return "", errors.New("bad argument #1 to 'load' (string or function expected)")
	}
	var b strings.Builder
	for b.Len() <= maxSource {
		part, err := rt.Call1(t, v)
		if err != nil {
			return "", err
		}
		s, ok := part.TryString()
		if !ok && !part.IsNil() {
			return "", errors.New("reader function must return a string")
		}
		if s == "" {
			return b.String(), nil
		}
		b.WriteString(s)
	}
	return "", errors.New("chunk too long")
}

// setMetatable refuses finalizers: when they ran would depend on the collector.
func setMetatable(t *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if err := c.CheckNArgs(2); err != nil {
		return nil, err
	}
	tbl, err := c.TableArg(0)
	if err != nil {
		return nil, err
	}
	if !rt.RawGet(tbl.Metatable(), rt.StringValue("__metatable")).IsNil() {
		return nil, errors.New("cannot change a protected metatable")
	}
	if c.Arg(1).IsNil() {
		tbl.SetMetatable(nil)
		return one(c.Arg(0))
	}
	meta, err := c.TableArg(1)
	if err != nil {
		return nil, err
	}
	if !rt.RawGet(meta, rt.StringValue("__gc")).IsNil() {
		return nil, errors.New("finalizers are not supported")
	}
	tbl.SetMetatable(meta)
	return one(c.Arg(0))
}

// collectGarbage only humours scripts that call it: the amount of memory in use is nothing a process may see.
func collectGarbage(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if s, _ := argument(c, 0).TryString(); s == "isrunning" {
		return one(rt.BoolValue(true))
	}
	return one(rt.IntValue(0))
}

// repeat keeps string.rep from numbers that a 32-bit machine cannot hold.
func repeat(t *rt.Thread, c *rt.GoCont, rep rt.Value) ([]rt.Value, error) {
	s, _ := argument(c, 0).ToString()
	sep, _ := argument(c, 2).TryString()
	n, ok := rt.ToInt(argument(c, 1))
	if !ok {
		return nil, errors.New("bad argument #2 to 'rep' (integer expected)")
	}
	if n <= 0 {
		return one(rt.StringValue(""))
	}
	if size := int64(len(s) + len(sep)); size > 0 && n > maxString/size {
		return nil, errors.New("resulting string too large")
	} else if size == 0 {
		return one(rt.StringValue(""))
	}
	v, err := rt.Call1(t, rep, c.Args()...)
	return []rt.Value{v}, err
}
