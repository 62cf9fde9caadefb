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

// workEach is the processor time of a call, in milliseconds.
func (e effort) workEach() float64 { return ms(e.work) / float64(e.calls) }

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

// messages are those of the log that it has not been called with, below a slot.
func (m *module) messages(upto ao.Slot) (out [][]byte) {
	for _, e := range m.log.span(m.next, int(upto-m.next)) {
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

// goTo calls it with the messages of the log below a slot. A module may get slower as its process grows, so it has to be the same
// log that is replayed.
func (m *module) goTo(upto ao.Slot) (effort, error) {
	messages := m.messages(upto)
	began, work := time.Now(), own()
	err := m.call(messages)
	return effort{len(messages), time.Since(began), own() - work}, err
}

// goBothTo does so with two at once: what the machine gives two of the module.
func goBothTo(upto ao.Slot, pair [2]*module) (effort, error) {
	messages := [2][][]byte{pair[0].messages(upto), pair[1].messages(upto)}
	began, work := time.Now(), own()
	left := make(chan error, 1)
	go func() { left <- pair[0].call(messages[0]) }()
	err := pair[1].call(messages[1])
	err = errors.Join(err, <-left)
	return effort{len(messages[0]) + len(messages[1]), time.Since(began), own() - work}, err
}

// timed calls it with all there is and says how long each call took.
func (m *module) timed() (out []time.Duration, err error) {
	messages := m.messages(m.log.next())
	for i := range messages {
		began := time.Now()
		if err := m.call(messages[i : i+1]); err != nil {
			return out, err
		}
		out = append(out, time.Since(began))
	}
	return out, nil
}
