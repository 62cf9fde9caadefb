package wasmvm

import (
	"context"
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// Bare is a process of which nothing is kept: no page is looked at, and nothing can be taken back. What a call takes is what
// the module's own code takes on this machine; measurements stand beside it. One goroutine uses it at a time.
type Bare struct {
	host    *Host
	program *load
	inst    instance
	env     []byte
	boot    []byte
	fuel    uint64
}

// Bare begins a process before slot 0. Errors: those of Begin; ErrFormat also for a native module.
func (h *Host) Bare(ctx context.Context, g Genesis) (*Bare, error) {
	memory, fuel, err := h.limits(g)
	if err != nil {
		return nil, err
	}
	l, err := h.acquire(ctx, g.Module)
	if err != nil {
		return nil, err
	}
	inst, err := begin(l.program, nil, memory)
	if err != nil {
		h.release(l)
		return nil, fmt.Errorf("begin %s: %w", g.Process.ID(), blame(err, nil))
	}
	return &Bare{host: h, program: l, inst: inst, env: environment(g), boot: shownBoot(g), fuel: fuel}, nil
}

// Message is an entry as the module takes it.
func (b *Bare) Message(e ao.Entry) []byte { return envelope(e, b.boot) }

// Call has the module handle a message. After an error only Close is left.
func (b *Bare) Call(message []byte) ([]byte, error) {
	out, _, err := b.inst.handle(message, b.env, b.fuel)
	if err != nil {
		return nil, fmt.Errorf("call module: %w", err)
	}
	return out, nil
}

// Close releases the instance.
func (b *Bare) Close() {
	b.inst.close()
	b.host.release(b.program)
}
