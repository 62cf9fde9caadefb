package crash

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/store"
)

// restartAfter is how long a peer without power is away.
const restartAfter = 2 * time.Second

// parts are what one life of a peer consists of: what others reach, and what runs.
type parts struct {
	door any
	runs []func(context.Context) error
}

// peer is one machine: a disk, and on it the parts that open makes of what is there, again after every crash.
type peer struct {
	t    *testing.T
	name string
	open func(*disk) (parts, error)
	disk *disk // of the life under way; only live changes it

	lock   sync.Mutex
	door   any             // nil while nobody is there
	life   context.Context // ends with the door
	crash  int
	clean  chan struct{} // asks for a clean restart
	killed chan struct{} // closed when live has returned
}

func newPeer(t *testing.T, name string, f fault, open func(*disk) (parts, error)) *peer {
	return &peer{
		t: t, name: name, open: open, disk: newDisk(store.NewCrashable(), 0, f),
		clean: make(chan struct{}), killed: make(chan struct{}),
	}
}

// live runs the peer until ctx ends, one life after the other.
func (p *peer) live(ctx context.Context) {
	defer close(p.killed)
	for {
		p.oneLife(ctx)
		crashed := p.disk.isDown()
		next, err := p.disk.next()
		if err != nil {
			p.t.Errorf("%s does not come back: %v", p.name, err)
			return
		}
		p.lock.Lock()
		p.disk = next
		p.lock.Unlock()
		if ctx.Err() != nil {
			if err := next.Close(); err != nil {
				p.t.Errorf("%s: close: %v", p.name, err)
			}
			return
		}
		if crashed {
			p.lock.Lock()
			p.crash++
			p.lock.Unlock()
		}
		time.Sleep(restartAfter) // virtual
	}
}

// oneLife runs from the opening of the disk to its end, by a fault, by request or with ctx.
func (p *peer) oneLife(ctx context.Context) {
	d := p.disk
	made, err := p.open(d)
	if err != nil {
		if !d.isDown() {
			p.t.Errorf("%s does not start: %v", p.name, err)
			<-ctx.Done()
		}
		return
	}
	life, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, run := range made.runs {
		all.Go(func() {
			if err := run(life); err != nil && life.Err() == nil && !d.isDown() {
				p.t.Errorf("%s ended by itself: %v", p.name, err)
			}
		})
	}
	p.set(made.door, life)
	select {
	case <-d.down:
	case <-p.clean:
	case <-ctx.Done():
	}
	p.set(nil, nil)
	end()
	all.Wait()
}

func (p *peer) set(door any, life context.Context) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.door, p.life = door, life
}

// crashes is how often the power went.
func (p *peer) crashes() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.crash
}

// spare lets every later write succeed, and says how many there were since the last crash.
func (p *peer) spare() int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.disk.spare()
}

// restart ends the peer as its owner would, and waits until it is there again.
func (p *peer) restart() {
	p.await()
	select {
	case p.clean <- struct{}{}:
	case <-p.killed:
	case <-time.After(time.Minute): // a crash was faster
	}
	synctest.Wait() // it has gone before it is waited for
	p.await()
}

// await waits until the peer is there.
func (p *peer) await() {
	for range 1000 {
		if _, _, ok := p.current(); ok {
			return
		}
		time.Sleep(time.Second) // virtual
	}
	p.t.Fatalf("%s does not come back", p.name)
}

func (p *peer) current() (door any, life context.Context, ok bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.door, p.life, p.door != nil
}

// ask calls a peer's part as over a wire: nobody answers while the peer is down, and what it would have answered after
// its end does not arrive.
func ask[D, V any](ctx context.Context, p *peer, hop string, call func(context.Context, D) (V, error)) (V, error) {
	var none V
	door, life, ok := p.current()
	if !ok {
		return none, ao.Refuse(hop, ao.Unreachable, "%s is down", p.name)
	}
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	v, err := call(both, door.(D))
	if life.Err() != nil {
		return none, ao.Refuse(hop, ao.Unreachable, "%s went down", p.name)
	}
	if err != nil {
		if _, isRefusal := errors.AsType[*ao.Refusal](err); !isRefusal && ctx.Err() == nil {
			return none, ao.Refuse(hop, ao.Internal, "%v", err)
		}
	}
	return v, err
}
