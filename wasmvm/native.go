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
	// it must be the same everywhere.
	Apply(e ao.Entry) (ao.Result, error)
	// Query answers without changing the state.
	Query(q ao.Query, last ao.AssignmentFields) (ao.Result, error)
	// Encode is the canonical form of the state.
	Encode() []byte
}

type native struct {
	state NativeState
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
	n, err := h.native(g.Module)
	if err != nil {
		return nil, err
	}
	var state []byte
	fault := ErrModule
	if img != nil {
		state, fault = img.tail, ErrImage
	}
	s, err := n.Begin(g, state)
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w: %w", g.Process.ID(), fault, err)
	}
	return &native{state: s}, nil
}

// Image holds the whole state in its tail, since there is no linear memory.
func (n *native) Image() (*Image, error) { return captureImage(nil, n.state.Encode()), nil }

// Close has nothing to release.
func (n *native) Close() {}

func (n *native) apply(e ao.Entry) ao.Result {
	r, err := n.state.Apply(e)
	if err != nil {
		return ao.Failed(err.Error())
	}
	return r
}

func (n *native) query(q ao.Query, last ao.AssignmentFields) (ao.Result, error) {
	r, err := n.state.Query(q, last)
	if err != nil {
		return ao.Failed(err.Error()), nil
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
