package wasmvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/aopeer/aopeer/ao"
)

// process is a State in wasm: an instance, the journal that can undo what a message did to it, and what every
// message is given.
type process struct {
	host    *Host
	program *load // held until Close
	genesis Genesis
	journal *journal
	env     []byte
	boot    []byte // shown as the process's data, if not nil
	fuel    uint64
	since   since
	tried   bool // a query stands in the memory, to be taken back
}

// Image is the state as it stands. See State.
func (p *process) Image() (*Image, error) {
	p.mark()
	return p.journal.image(), nil
}

// Footprint is what the process takes of this machine's memory. See Sized.
func (p *process) Footprint() uint64 {
	p.mark()
	return p.journal.footprint()
}

// Tidy does what the last message has left to do. See Tidier.
func (p *process) Tidy() error {
	p.mark()
	if !p.tried {
		return nil
	}
	if err := p.journal.rollback(); err != nil {
		return fmt.Errorf("take back what was tried on %s: %w", p.genesis.Process.ID(), err)
	}
	p.tried = false
	return nil
}

// Close releases the instance and, after the last one, lets the module's code go.
func (p *process) Close() {
	p.journal.close()
	p.host.swinging.drop(p.journal)
	if p.program != nil {
		p.host.release(p.program)
		p.program = nil
	}
}

// Begin is the state before slot 0, or the one that an image was taken from. See Machine.
func (h *Host) Begin(ctx context.Context, g Genesis, img *Image) (State, error) {
	if g.Module.Format() == FormatNative {
		return h.beginNative(g, img)
	}
	memory, fuel, err := h.limits(g)
	if err != nil {
		return nil, err
	}
	l, err := h.acquire(ctx, g.Module)
	if err != nil {
		return nil, err
	}
	inst, err := begin(l.program, img, memory)
	if err != nil {
		h.release(l)
		return nil, fmt.Errorf("begin %s: %w", g.Process.ID(), blame(err, img))
	}
	j := newJournal(l.program, inst, memory, h.scan)
	j.drive = driveOf(g)
	return &process{host: h, program: l, genesis: g, journal: j, env: environment(g), boot: shownBoot(g), fuel: fuel}, nil
}

func begin(prog program, img *Image, memory uint64) (instance, error) {
	if img == nil {
		return prog.start(memory)
	}
	return prog.restore(img, memory)
}

// blame says whose fault it is that a process cannot begin. What is no fault is this host's own trouble.
func blame(err error, img *Image) error {
	var f fault
	switch {
	case !errors.As(err, &f):
		return err
	case f == faultMemoryLimit:
		return fmt.Errorf("%w: %w", ErrLimit, err)
	case img != nil:
		return fmt.Errorf("%w: %w", ErrImage, err)
	}
	return fmt.Errorf("%w: %w", ErrModule, err)
}

// Apply evaluates one entry in place. See Machine.
func (h *Host) Apply(ctx context.Context, s State, e ao.Entry) (State, ao.Result, error) {
	s, r, err := apply(ctx, s, event{entry: e})
	if err != nil {
		return nil, r, fmt.Errorf("apply slot %d of %s: %w", e.Assignment.Nonce(), e.Assignment.Process(), err)
	}
	return s, r, nil
}

// Tick evaluates a message that is implied. See Machine.
func (h *Host) Tick(ctx context.Context, s State, m ao.CronMessage) (State, ao.Result, error) {
	s, r, err := apply(ctx, s, event{cron: &m})
	if err != nil {
		return nil, r, fmt.Errorf("apply the tick of %s at %d: %w", m.Process, m.Timestamp, err)
	}
	return s, r, nil
}

// event is what a state takes: an entry of its log, or a message that the log implies.
type event struct {
	entry ao.Entry
	cron  *ao.CronMessage
}

// envelope is the JSON that a module takes it as, with what its process boots from.
func (v event) envelope(boot []byte) []byte {
	if v.cron != nil {
		return cronEnvelope(*v.cron)
	}
	return envelope(v.entry, boot)
}

func apply(ctx context.Context, s State, v event) (State, ao.Result, error) {
	if err := ctx.Err(); err != nil {
		s.Close()
		return nil, ao.Result{}, err
	}
	if n, ok := s.(*native); ok {
		r, err := n.apply(v)
		return n, r, err
	}
	p := s.(*process) // Begin makes nothing else
	r, err := p.take(v.envelope(p.boot))
	if err != nil {
		p.Close()
		return nil, ao.Result{}, err
	}
	return p, r, nil
}

// evaluate runs one message and says whether what it did shall stand.
func (p *process) evaluate(msg []byte, fuel uint64) (r ao.Result, ok bool, err error) {
	out, used, err := p.journal.handle(msg, p.env, fuel)
	var f fault
	switch {
	case errors.As(err, &f):
		r = ao.Failed(string(f))
		r.GasUsed = used
		return r, false, nil
	case err != nil:
		return r, false, err
	}
	if r, err = ao.ParseResponse(out); err != nil {
		r = ao.Failed(ao.ErrResponse.Error())
	}
	r.GasUsed = used
	return r, r.Error == nil, nil
}

// DryRun evaluates a query and takes it back. See Machine.
func (h *Host) DryRun(ctx context.Context, s State, q ao.Query, last ao.AssignmentFields) (ao.Result, error) {
	if err := ctx.Err(); err != nil {
		return ao.Result{}, err
	}
	if n, ok := s.(*native); ok {
		return n.query(q, last)
	}
	p := s.(*process)
	if err := p.Tidy(); err != nil {
		return ao.Result{}, err
	}
	r, _, err := p.evaluate(queryEnvelope(p.genesis.Process.ID(), q, last), min(p.fuel, MaxQueryFuel))
	if err != nil {
		return ao.Result{}, fmt.Errorf("dry-run on %s: %w", p.genesis.Process.ID(), err)
	}
	p.tried = true
	return r, nil
}
