//go:build wasip1

package main

import (
	"errors"
	"maps"
	"math"
	"math/bits"
	"slices"

	rt "github.com/arnodel/golua/runtime"
)

var (
	errNumber = errors.New("number expected")
	errRange  = errors.New("interval is empty")
	errZero   = errors.New("bad argument #2 to 'fmod' (zero)")
)

// generator is xoshiro256**, the generator of Lua 5.4, seeded from the process and never from chance.
type generator [4]uint64

func (g *generator) next() uint64 {
	out := bits.RotateLeft64(g[1]*5, 7) * 9
	t := g[1] << 17
	g[2] ^= g[0]
	g[3] ^= g[1]
	g[1] ^= g[2]
	g[0] ^= g[3]
	g[2] ^= t
	g[3] = bits.RotateLeft64(g[3], 45)
	return out
}

func (g *generator) seed(x, y uint64) {
	*g = generator{x, 0xff, y, 0}
	for range 16 {
		g.next()
	}
}

// seedText seeds from the FNV-1a hash of a text.
func (g *generator) seedText(s string) {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	g.seed(h, uint64(len(s)))
}

// below is uniform in [0, n]: numbers over n under the least mask are drawn again.
func (g *generator) below(n uint64) uint64 {
	mask := uint64(1)<<bits.Len64(n) - 1
	for {
		if v := g.next() & mask; v <= n {
			return v
		}
	}
}

func (p *process) mathLibrary() *rt.Table {
	lib := rt.NewTable()
	p.lua.SetEnv(lib, "huge", rt.FloatValue(math.Inf(1)))
	p.lua.SetEnv(lib, "pi", rt.FloatValue(math.Pi))
	p.lua.SetEnv(lib, "maxinteger", rt.IntValue(math.MaxInt64))
	p.lua.SetEnv(lib, "mininteger", rt.IntValue(math.MinInt64))
	simple := map[string]func(float64) float64{
		"acos": math.Acos, "asin": math.Asin, "cos": math.Cos, "exp": math.Exp, "sin": math.Sin, "sqrt": math.Sqrt, "tan": math.Tan,
		"deg": func(x float64) float64 { return x * (180 / math.Pi) },
		"rad": func(x float64) float64 { return x * (math.Pi / 180) },
	}
	for _, name := range slices.Sorted(maps.Keys(simple)) {
		f := simple[name]
		p.function(lib, name, 1, false, func(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
			x, err := number(c, 0)
			return []rt.Value{rt.FloatValue(f(x))}, err
		})
	}
	other := map[string]luaFunc{
		"abs": mathAbs, "ceil": round(math.Ceil), "floor": round(math.Floor), "fmod": mathFmod, "modf": mathModf, "tointeger": mathToInteger,
		"type": mathType, "ult": mathUlt, "log": mathLog, "atan": mathAtan, "random": p.mathRandom, "randomseed": p.mathRandomSeed,
	}
	for _, name := range slices.Sorted(maps.Keys(other)) {
		p.function(lib, name, 2, false, other[name])
	}
	p.function(lib, "max", 1, true, extreme(func(t *rt.Thread, best, v rt.Value) (bool, error) { return rt.Lt(t, best, v) }))
	p.function(lib, "min", 1, true, extreme(func(t *rt.Thread, best, v rt.Value) (bool, error) { return rt.Lt(t, v, best) }))
	return lib
}

func number(c *rt.GoCont, i int) (float64, error) {
	if i < c.NArgs() {
		if f, ok := rt.ToFloat(c.Arg(i)); ok {
			return f, nil
		}
	}
	return 0, errNumber
}

func one(v rt.Value) ([]rt.Value, error) { return []rt.Value{v}, nil }

func floatToInt(f float64) (int64, bool) {
	if f >= -(1<<63) && f < 1<<63 && f == math.Trunc(f) {
		return int64(f), true
	}
	return 0, false
}

func round(f func(float64) float64) luaFunc {
	return func(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		if c.NArgs() > 0 && c.Arg(0).Type() == rt.IntType {
			return one(c.Arg(0))
		}
		x, err := number(c, 0)
		if err != nil {
			return nil, err
		}
		if n, ok := floatToInt(f(x)); ok {
			return one(rt.IntValue(n))
		}
		return one(rt.FloatValue(f(x)))
	}
}

func mathAbs(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if c.NArgs() > 0 && c.Arg(0).Type() == rt.IntType {
		n := c.Arg(0).AsInt()
		return one(rt.IntValue(max(n, -n)))
	}
	x, err := number(c, 0)
	return []rt.Value{rt.FloatValue(math.Abs(x))}, err
}

func mathFmod(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if err := c.CheckNArgs(2); err != nil {
		return nil, err
	}
	a, b := c.Arg(0), c.Arg(1)
	if a.Type() == rt.IntType && b.Type() == rt.IntType {
		switch b.AsInt() {
		case 0:
			return nil, errZero
		case -1:
			return one(rt.IntValue(0))
		}
		return one(rt.IntValue(a.AsInt() % b.AsInt()))
	}
	x, err := number(c, 0)
	if err != nil {
		return nil, err
	}
	y, err := number(c, 1)
	return []rt.Value{rt.FloatValue(math.Mod(x, y))}, err
}

func mathModf(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	x, err := number(c, 0)
	if err != nil {
		return nil, err
	}
	whole, part := math.Trunc(x), 0.0
	if !math.IsInf(x, 0) {
		part = x - whole
	}
	return []rt.Value{rt.FloatValue(whole), rt.FloatValue(part)}, nil
}

func mathToInteger(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if err := c.Check1Arg(); err != nil {
		return nil, err
	}
	switch v := c.Arg(0); v.Type() {
	case rt.IntType:
		return one(v)
	case rt.FloatType:
		if n, ok := floatToInt(v.AsFloat()); ok {
			return one(rt.IntValue(n))
		}
	case rt.StringType:
		if n, ok := rt.ToInt(v); ok {
			return one(rt.IntValue(n))
		}
	}
	return one(rt.NilValue)
}

func mathType(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if err := c.Check1Arg(); err != nil {
		return nil, err
	}
	switch c.Arg(0).Type() {
	case rt.IntType:
		return one(rt.StringValue("integer"))
	case rt.FloatType:
		return one(rt.StringValue("float"))
	}
	return one(rt.NilValue)
}

func mathUlt(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	if err := c.CheckNArgs(2); err != nil {
		return nil, err
	}
	a, err := c.IntArg(0)
	if err != nil {
		return nil, err
	}
	b, err := c.IntArg(1)
	return []rt.Value{rt.BoolValue(uint64(a) < uint64(b))}, err
}

func mathLog(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	x, err := number(c, 0)
	if err != nil || c.NArgs() < 2 || c.Arg(1).IsNil() {
		return []rt.Value{rt.FloatValue(math.Log(x))}, err
	}
	base, err := number(c, 1)
	switch base {
	case 2:
		return one(rt.FloatValue(math.Log2(x)))
	case 10:
		return one(rt.FloatValue(math.Log10(x)))
	}
	return []rt.Value{rt.FloatValue(math.Log(x) / math.Log(base))}, err
}

func mathAtan(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	y, err := number(c, 0)
	if err != nil || c.NArgs() < 2 {
		return []rt.Value{rt.FloatValue(math.Atan(y))}, err
	}
	x, err := number(c, 1)
	return []rt.Value{rt.FloatValue(math.Atan2(y, x))}, err
}

func extreme(better func(t *rt.Thread, best, v rt.Value) (bool, error)) luaFunc {
	return func(t *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
		if _, err := number(c, 0); err != nil {
			return nil, err
		}
		best := c.Arg(0)
		for _, v := range c.Etc() {
			if _, ok := rt.ToFloat(v); !ok {
				return nil, errNumber
			}
			ok, err := better(t, best, v)
			if err != nil {
				return nil, err
			}
			if ok {
				best = v
			}
		}
		return one(best)
	}
}

func (p *process) mathRandom(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	low, high := int64(1), int64(0)
	var err error
	switch c.NArgs() {
	case 0:
		return one(rt.FloatValue(float64(p.random.next()>>11) / (1 << 53)))
	case 1:
		if high, err = c.IntArg(0); err == nil && high == 0 {
			return one(rt.IntValue(int64(p.random.next())))
		}
	default:
		if low, err = c.IntArg(0); err == nil {
			high, err = c.IntArg(1)
		}
	}
	if err != nil {
		return nil, err
	}
	if low > high {
		return nil, errRange
	}
	return one(rt.IntValue(int64(uint64(low) + p.random.below(uint64(high)-uint64(low)))))
}

// mathRandomSeed without a seed does nothing: there is no chance to take one from.
func (p *process) mathRandomSeed(_ *rt.Thread, c *rt.GoCont) ([]rt.Value, error) {
	var seed [2]uint64
	for i := range min(c.NArgs(), 2) {
		if n, ok := rt.ToInt(c.Arg(i)); ok {
			seed[i] = uint64(n)
			continue
		}
		f, err := number(c, i)
		if err != nil {
			return nil, err
		}
		seed[i] = math.Float64bits(f)
	}
	if c.NArgs() > 0 {
		p.random.seed(seed[0], seed[1])
	}
	return nil, nil
}
