package wasmvm

import (
	"encoding/json"
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// Native is a deterministic state machine in Go behind the same door as a wasm module (Module-Format: native). Its
// module item's data is its name@version. It must not read a clock, a map's order or anything but its arguments.
type Native interface {
	// Begin is the state before slot 0 or, given what Encode wrote, the state it was taken from.
	Begin(g Genesis, state []byte) (NativeState, error)
}

// NativeState is one process of a Native. One goroutine uses it at a time.
type NativeState interface {
	// Apply evaluates an entry. If it returns an error, the state is as before and the text is the result's Error, so
	// it must be the same everywhere. What a result with Error has changed, or a panic, is taken back. The message is
	// whole; what its assignment excludes it must not look at.
	Apply(e ao.Entry) (ao.Result, error)
	// Query answers without changing the state.
	Query(q ao.Query, last ao.AssignmentFields) (ao.Result, error)
	// Encode is the canonical form of the state.
	Encode() []byte
}

// Ticker is a NativeState that takes messages which its log implies.
type Ticker interface {
	NativeState
	// Tick evaluates one, on the terms of Apply.
	Tick(m ao.CronMessage) (ao.Result, error)
}

// faultNoTicks is what a tick comes to in a state machine that is no Ticker.
const faultNoTicks fault = "native module takes no ticks"

// faultPanic is what a state machine's panic comes to: it must not end the peer, nor leave half of an entry behind.
const faultPanic fault = "native module panicked"

// Bounds on what is applied again when an entry is rolled back.
const (
	maxRedo      = 64
	maxRedoBytes = 1 << 20
)

// native is a State in Go. Rolling back means to begin at the last snapshot and to apply what took effect since.
type native struct {
	machine   Native
	genesis   Genesis
	state     NativeState
	snapshot  []byte // nil: before slot 0
	redo      []event
	redoBytes int
}

// native finds the state machine that a module names.
func (h *Host) native(m ao.Module) (Native, error) {
	n, ok := h.cfg.Natives[string(m.Code())]
	if !ok {
		return nil, fmt.Errorf("%w: no native module %.64q", ErrFormat, m.Code())
	}
	return n, nil
}

func (h *Host) beginNative(g Genesis, img *Image) (State, error) {
	m, err := h.native(g.Module)
	if err != nil {
		return nil, err
	}
	n := &native{machine: m, genesis: g}
	fault := ErrModule
	if img != nil {
		n.snapshot, fault = img.tail, ErrImage
	}
	if err := n.begin(); err != nil {
		return nil, fmt.Errorf("begin %s: %w: %w", g.Process.ID(), fault, err)
	}
	return n, nil
}

func (n *native) begin() error {
	return guarded(func() (err error) {
		n.state, err = n.machine.Begin(n.genesis, n.snapshot)
		return err
	})
}

// guarded turns a panic into faultPanic.
func guarded(call func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = faultPanic
		}
	}()
	return call()
}

// Image holds the whole state in its tail, since there is no linear memory.
func (n *native) Image() (img *Image, err error) {
	err = guarded(func() error {
		img = captureImage(nil, n.state.Encode())
		return nil
	})
	return img, err
}

// Close has nothing to release.
func (n *native) Close() {}

// apply evaluates an entry. An error says that the state could not be put back.
func (n *native) apply(v event) (ao.Result, error) {
	r, err := n.take(v)
	switch {
	case err == faultPanic:
		return ao.Failed(err.Error()), n.rollback()
	case err != nil: // by contract the state is as before
		return ao.Failed(err.Error()), nil
	case r.Error != nil:
		return r, n.rollback()
	}
	n.redo = append(n.redo, v)
	if v.cron == nil {
		n.redoBytes += len(v.entry.Message.Data())
	}
	if len(n.redo) < maxRedo && n.redoBytes < maxRedoBytes {
		return r, nil
	}
	return r, guarded(func() error {
		n.snapshot = append([]byte{}, n.state.Encode()...) // never nil, which is before slot 0
		n.redo, n.redoBytes = nil, 0
		return nil
	})
}

// rollback puts the state back to what it was after the last entry that took effect.
func (n *native) rollback() error {
	if err := n.begin(); err != nil {
		return fmt.Errorf("roll back: %w", err)
	}
	for _, v := range n.redo {
		if _, err := n.take(v); err != nil {
			return fmt.Errorf("roll back: apply what followed the snapshot again: %w", err)
		}
	}
	return nil
}

// take hands an event to the state machine.
func (n *native) take(v event) (r ao.Result, err error) {
	err = guarded(func() (err error) {
		if v.cron == nil {
			r, err = n.state.Apply(v.entry)
			return err
		}
		t, ok := n.state.(Ticker)
		if !ok {
			return faultNoTicks
		}
		r, err = t.Tick(*v.cron)
		return err
	})
	return r, err
}

func (n *native) query(q ao.Query, last ao.AssignmentFields) (r ao.Result, err error) {
	err = guarded(func() (err error) {
		r, err = n.state.Query(q, last)
		return err
	})
	if err == nil {
		return r, nil
	}
	r = ao.Failed(err.Error())
	if err == faultPanic {
		return r, n.rollback()
	}
	return r, nil
}

// Response makes a Native's result out of what a wasm module would have answered, so that both have one shape.
func Response(v any) (ao.Result, error) {
	body, err := json.Marshal(map[string]any{"ok": true, "response": v})
	if err != nil {
		return ao.Result{}, fmt.Errorf("encode response: %w", err)
	}
	return ao.ParseResponse(body)
}
