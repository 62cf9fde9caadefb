package cu

import (
	"context"
	"io"
	"sync"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/units"
)

// maxDumps bounds the copies of states that are being read at once: each is as large as what a process has written to.
const maxDumps = 2

var _ units.States = (*Unit)(nil)

// Memory implements units.States: it evaluates to the log's head and copies the state there.
func (u *Unit) Memory(ctx context.Context, process ao.ID) (units.Dump, error) {
	return u.dump(func() (snapshot, error) { return u.snapshot(ctx, process, true) })
}

// MemoryAt implements units.States.
func (u *Unit) MemoryAt(ctx context.Context, process ao.ID, slot ao.Slot) (units.Dump, error) {
	return u.dump(func() (s snapshot, err error) {
		err = u.lookBack(ctx, process, slot, func(_ context.Context, r *replayer) (err error) {
			s.last = r.last
			s.image, err = r.state.Image()
			return err
		})
		return s, err
	})
}

// dump takes a copy, if a place for it is free.
func (u *Unit) dump(take func() (snapshot, error)) (units.Dump, error) {
	select {
	case u.dumps <- struct{}{}:
	default:
		return units.Dump{}, ao.Refuse(hop, ao.Busy, "%d states are being read", maxDumps)
	}
	leave := sync.OnceFunc(func() { <-u.dumps })
	s, err := take()
	if err != nil {
		leave()
		return units.Dump{}, refusal(err)
	}
	return units.Dump{Last: s.last, Size: s.image.Len(), Bytes: dump{s.image.Memory(), leave}}, nil
}

// dump is a copy that is being read.
type dump struct {
	io.Reader
	leave func()
}

// Close gives the copy's place away.
func (d dump) Close() error {
	d.leave()
	return nil
}
