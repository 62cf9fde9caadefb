package simnet

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// ModuleName is the native module of a city, an actor that does as its messages say: a message whose data is a response
// (ao.ParseResponse) has that result, any other is answered with a count of the messages so far and its data.
const ModuleName = "actor@1"

// modelled is a machine for which every entry takes virtual time.
type modelled struct {
	wasmvm.Machine
	takes time.Duration
}

// Apply implements wasmvm.Machine.
func (m modelled) Apply(ctx context.Context, s wasmvm.State, e ao.Entry) (wasmvm.State, ao.Result, error) {
	if err := m.work(ctx, s); err != nil {
		return nil, ao.Result{}, fmt.Errorf("apply slot %d: %w", e.Assignment.Nonce(), err)
	}
	return m.Machine.Apply(ctx, s, e)
}

// Tick implements wasmvm.Machine.
func (m modelled) Tick(ctx context.Context, s wasmvm.State, c ao.CronMessage) (wasmvm.State, ao.Result, error) {
	if err := m.work(ctx, s); err != nil {
		return nil, ao.Result{}, fmt.Errorf("apply tick at %d: %w", c.Timestamp, err)
	}
	return m.Machine.Tick(ctx, s, c)
}

// work takes the time; if it ends before, the state is closed.
func (m modelled) work(ctx context.Context, s wasmvm.State) error {
	work := time.NewTimer(m.takes)
	defer work.Stop()
	select {
	case <-work.C:
		return nil
	case <-ctx.Done():
		s.Close()
		return context.Cause(ctx)
	}
}

// Close leaves the machine to the city, whose peers share it.
func (modelled) Close() error { return nil }

// actor is ModuleName.
type actor struct{}

func (actor) Begin(_ wasmvm.Genesis, state []byte) (wasmvm.NativeState, error) {
	s := &actorState{}
	switch len(state) {
	case 0:
	case 8 + len(s.hash):
		s.count = binary.BigEndian.Uint64(state)
		copy(s.hash[:], state[8:])
	default:
		return nil, errors.New("not the state of an actor")
	}
	return s, nil
}

// actorState is how many messages came and a hash over them in their order.
type actorState struct {
	count uint64
	hash  [32]byte
}

func (s *actorState) Apply(e ao.Entry) (ao.Result, error) {
	s.count++
	id := e.Message.ID()
	s.hash = sha256.Sum256(append(s.hash[:], id[:]...))
	if r, err := ao.ParseResponse(e.Message.Data()); err == nil {
		return r, nil
	}
	return wasmvm.Response(map[string]any{"Output": fmt.Sprintf("%d %s", s.count, e.Message.Data())})
}

func (s *actorState) Query(ao.Query, ao.AssignmentFields) (ao.Result, error) {
	return wasmvm.Response(map[string]any{"Output": s.count})
}

func (s *actorState) Encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, s.count), s.hash[:]...)
}
