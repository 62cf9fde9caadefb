package trial

import (
	"context"
	"errors"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/wasmvm"
)

// effort is calls of the module alone, with nothing around it.
type effort struct {
	calls      int
	took, work time.Duration // wall time and processor time
}

func (e effort) and(f effort) effort {
	return effort{e.calls + f.calls, e.took + f.took, e.work + f.work}
}

func (e effort) perSecond() float64 { return float64(e.calls) / e.took.Seconds() }

// alone calls the module with a whole log: a module may get slower as its process grows, and a replay goes all the way.
func (t *trial) alone(ctx context.Context, h *history) (effort, error) {
	m, err := t.begin(ctx, h)
	if err != nil {
		return effort{}, err
	}
	defer m.close()
	messages := m.messages()
	began, work := time.Now(), own()
	if err := m.call(messages); err != nil {
		return effort{}, err
	}
	return effort{len(messages), time.Since(began), own() - work}, nil
}

// aloneBoth does that with two logs at once: what the machine gives two of the module.
func (t *trial) aloneBoth(ctx context.Context, left, right *history) (effort, error) {
	sides := [2]*history{left, right}
	efforts, errs := [2]effort{}, [2]error{}
	work := own()
	done := make(chan struct{})
	go func() {
		defer close(done)
		efforts[0], errs[0] = t.alone(ctx, sides[0])
	}()
	efforts[1], errs[1] = t.alone(ctx, sides[1])
	<-done
	return effort{efforts[0].calls + efforts[1].calls, max(efforts[0].took, efforts[1].took), own() - work}, errors.Join(errs[:]...)
}

// module is the module alone on its way through a log.
type module struct {
	bare *wasmvm.Bare
	log  *history
	next ao.Slot
}

func (t *trial) begin(ctx context.Context, h *history) (*module, error) {
	bare, err := t.host.Bare(ctx, wasmvm.Genesis{Process: h.process, Module: t.town.module})
	if err != nil {
		return nil, err
	}
	return &module{bare: bare, log: h}, nil
}

func (m *module) close() { m.bare.Close() }

// messages are those of the log that it has not been called with.
func (m *module) messages() (out [][]byte) {
	for _, e := range m.log.span(m.next, int(m.log.next())) {
		out = append(out, m.bare.Message(e))
	}
	return out
}

func (m *module) call(messages [][]byte) error {
	for _, message := range messages {
		if _, err := m.bare.Call(message); err != nil {
			return err
		}
		m.next++
	}
	return nil
}

// catchUp calls it with what there is.
func (m *module) catchUp() error { return m.call(m.messages()) }

// timed does so and says how long each call took.
func (m *module) timed() (out []time.Duration, err error) {
	messages := m.messages()
	for i := range messages {
		began := time.Now()
		if err := m.call(messages[i : i+1]); err != nil {
			return out, err
		}
		out = append(out, time.Since(began))
	}
	return out, nil
}
