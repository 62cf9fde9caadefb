package cu

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/attest"
	"github.com/aopeer/aopeer/wasmvm"
)

// A process that is not worked on is hot (an instance in the machine), packed (a parcel in the attic) or cold (a
// checkpoint on disk at best). The least recently used one makes room for the next: a hot one is packed, a packed one is
// dropped, after what is new in it has been saved.

// tightOfWhole is the part of its memory above which the unit packs idle processes of its own accord.
const tightOfWhole = 2

// errYielded says that a process has lost its state to one that needed the memory, and has to be opened again.
var errYielded = errors.New("the state was packed while the process waited")

// errSlowModule says that a compilation goes on without this process waiting for it.
var errSlowModule = errors.New("the module is still being compiled")

// resting is a process that is packed.
type resting struct {
	parcel  *wasmvm.Parcel
	cursor  ao.Cursor
	times   times
	last    ao.AssignmentFields
	at      *stateAt // nil: the root is not known
	profile string
	saved   ao.Slot
	spent   time.Duration
}

// prepare waits for a module for a while: what takes longer to compile must not hold up those who ask for the process.
func (u *Unit) prepare(ctx context.Context, m ao.Module) error {
	wait, cancel := context.WithTimeout(ctx, u.cfg.CompileWait)
	defer cancel()
	err := u.cfg.Machine.Prepare(wait, m)
	if err != nil && ctx.Err() == nil && wait.Err() != nil {
		return errSlowModule
	}
	return err
}

// most is the most memory that a process takes, 0 if the machine does not tell.
func (u *Unit) most(g wasmvm.Genesis) uint64 {
	if s, ok := u.cfg.Machine.(wasmvm.Sizer); ok {
		return s.Most(g)
	}
	return 0
}

// enter takes a place for a hot process.
func (p *worker) enter(ctx context.Context) error {
	u := p.unit
	return u.makeRoomFor(ctx, false, func(victims bool) bool {
		if u.hot >= u.cfg.MaxHot || victims && u.memory >= u.cfg.MaxMemory {
			return false
		}
		u.hot++
		return true
	})
}

// expect sets aside what a state of so many pages will take. If all hot processes wait for that, one goes on.
func (p *worker) expect(ctx context.Context, pages int) error {
	u := p.unit
	need := 2 * uint64(pages) * wasmvm.PageSize
	u.lock.Lock()
	u.expecting++
	u.lock.Unlock()
	defer func() {
		u.lock.Lock()
		defer u.lock.Unlock()
		u.expecting--
	}()
	return u.makeRoomFor(ctx, false, func(victims bool) bool {
		if u.memory+need > u.cfg.MaxMemory && (victims || u.expecting < u.hot) {
			return false
		}
		u.memory += need
		p.memory += need
		return true
	})
}

// claim sets aside what the process may take of the memory while it is evaluated. One may always go on, however much that
// is, or processes that wait for each other would wait for ever. The caller holds a place for work; measure must follow.
func (p *worker) claim(ctx context.Context) error {
	u := p.unit
	return u.makeRoomFor(ctx, true, func(victims bool) bool {
		more := max(p.most, p.memory) - p.memory
		if u.memory+more > u.cfg.MaxMemory && (victims || u.claims > 0) {
			return false
		}
		u.memory += more
		p.memory += more
		p.claimed = true
		u.claims++
		return true
	})
}

// measure takes down what the process's state takes now, and ends a claim.
func (p *worker) measure() {
	var now uint64
	if p.replay != nil {
		if s, ok := p.replay.state.(wasmvm.Sized); ok {
			now = s.Footprint()
		}
	}
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	u.memory += now - p.memory // may wrap around on the way
	p.memory = now
	if p.claimed {
		p.claimed = false
		u.claims--
	}
	if u.memory > u.cfg.MaxMemory/tightOfWhole {
		select {
		case u.tight <- struct{}{}:
		default:
		}
	}
	u.makeRoom()
}

// makeRoomFor takes processes out of the machine until take, which is called with the lock held, has what it wants. It is
// told whether there are any left; without, it waits for whoever leaves. The caller is working, with a place for work, or not.
func (u *Unit) makeRoomFor(ctx context.Context, working bool, take func(victims bool) bool) error {
	for {
		u.lock.Lock()
		victim := u.victim(working)
		if take(victim != nil) {
			u.lock.Unlock()
			return nil
		}
		if victim == nil {
			room := u.room
			u.lock.Unlock()
			select {
			case <-room:
				continue
			case <-ctx.Done():
				return fmt.Errorf("wait for a place in memory: %w", ctx.Err())
			}
		}
		offered := victim.busy
		u.seize(victim)
		u.count.Evictions++
		u.lock.Unlock()
		u.work(working, func() { u.evict(victim, offered) })
		u.trimPacked(working)
	}
}

// victim is the hot process that can be spared most: the one that is idle for longest, one that waits for its log, and for
// who is about to work also the last of those who wait for a place to. The lock is held.
func (u *Unit) victim(working bool) *worker {
	e := u.idle.Front()
	if e == nil {
		e = u.stalled.Front()
	}
	if e == nil && working {
		e = u.queued.Back()
	}
	if e == nil {
		return nil
	}
	return e.Value.(*worker)
}

// evict packs a seized process. One that was not idle goes on by itself and is in no list, so it does not stay in the attic
// if that is full.
func (u *Unit) evict(p *worker, offered bool) {
	p.pack()
	if !offered {
		p.log = nil
		u.giveBack(p)
		return
	}
	if u.attic.Size() > u.cfg.MaxPacked {
		p.save()
		p.forget()
	}
	close(p.taken)
}

// work calls do while it holds a place for work, which the caller has or not.
func (u *Unit) work(has bool, do func()) {
	if !has {
		u.workers <- struct{}{}
		u.quiet.begin()
		defer u.leaveWork()
	}
	do()
}

// offer lets others take the state while the process waits for something; until retake it is not to be touched.
func (p *worker) offer(in *list.List) {
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	p.taken = make(chan struct{})
	p.place = in.PushBack(p)
}

// retake ends the offer. It says whether the process is still hot.
func (p *worker) retake() bool {
	u := p.unit
	u.lock.Lock()
	mine := p.place != nil
	if mine {
		u.stalled.Remove(p.place)
		u.queued.Remove(p.place)
		p.place = nil
	}
	u.lock.Unlock()
	if !mine {
		<-p.taken
	}
	return p.replay != nil
}

// seize makes the caller the one who works on an idle or offered process. The lock is held.
func (u *Unit) seize(p *worker) *worker {
	u.idle.Remove(p.place)
	u.packed.Remove(p.place)
	u.stalled.Remove(p.place)
	u.queued.Remove(p.place) // it is in one of them
	p.place, p.busy = nil, true
	return p
}

// giveBack ends that, or hands the process to those who came meanwhile.
func (u *Unit) giveBack(p *worker) {
	u.lock.Lock()
	defer u.lock.Unlock()
	if len(p.tasks) > 0 {
		u.start(p)
	} else {
		u.park(p)
	}
}

// pack takes the process out of the machine and into the attic. The caller holds a place for work.
func (p *worker) pack() {
	r := p.replay
	if r == nil {
		return
	}
	if r.state == nil || r.cursor.Next == 0 {
		p.leave()
		return
	}
	var at *stateAt
	if p.at != nil && p.at.slot == r.cursor.Next-1 {
		at = p.at
	} else if r.tree != nil && p.findRoot() == nil { // cheap, since the tree has followed
		at = p.at
	}
	var memory wasmvm.Memory
	if t, ok := r.state.(wasmvm.Tracker); ok {
		memory = t.Changes(true)
	} else {
		img, err := r.state.Image()
		if err != nil {
			p.unit.cfg.Log.Warn("state is not kept in memory", "process", p.id, "err", err)
			p.leave()
			return
		}
		memory = img
	}
	p.rest = &resting{
		parcel: p.unit.attic.Pack(memory), cursor: r.cursor, times: r.times, last: r.last, at: at, profile: p.profile,
		saved: p.saved, spent: p.spent,
	}
	p.leave()
}

// wake puts a packed process back into the machine, false if it is not packed or cannot be unpacked.
func (p *worker) wake(ctx context.Context) (bool, error) {
	rest := p.rest
	if rest == nil {
		return false, nil
	}
	img, err := rest.parcel.Image()
	if err == nil && rest.profile != p.profile {
		err = fmt.Errorf("%w: made under another profile", errCheckpoint)
	}
	if err == nil {
		err = p.expect(ctx, img.Count())
	}
	if err == nil {
		p.replay.state, err = p.unit.cfg.Machine.Begin(ctx, p.replay.genesis, img)
	}
	if err != nil {
		p.replay.state = nil
		if ctx.Err() != nil {
			return false, fmt.Errorf("wake process: %w", ctx.Err())
		}
		p.unit.cfg.Log.Warn("packed state is not used", "process", p.id, "reason", string(ao.BadState), "err", err)
		p.forget()
		return false, nil
	}
	p.replay.cursor, p.replay.last, p.replay.times = rest.cursor, rest.last, rest.times
	p.saved, p.spent, p.at = rest.saved, rest.spent, rest.at
	p.forget()
	p.unit.tally(func(c *Counters) { c.Returns++ })
	return true, nil
}

// forget drops what is packed of the process.
func (p *worker) forget() {
	if p.rest != nil {
		p.rest.parcel.Drop()
		p.rest = nil
	}
}

// cool gives up what the unit has of the process in memory. What is not saved is made again from the log.
func (p *worker) cool() {
	p.forget()
	p.leave()
	p.log = nil
}

// leave takes the process out of the machine.
func (p *worker) leave() {
	if p.replay == nil {
		return
	}
	p.replay.close()
	p.replay, p.seen, p.at, p.chunk = nil, nil, nil, chunk{}
	p.saved, p.spent = 0, 0
	p.measure()
	u := p.unit
	u.lock.Lock()
	defer u.lock.Unlock()
	u.hot--
	u.makeRoom()
}

// unsaved says whether a checkpoint would hold something new.
func (p *worker) unsaved() bool {
	switch {
	case p.replay != nil:
		return p.replay.state != nil && p.replay.cursor.Next > p.saved
	case p.rest != nil:
		return p.rest.cursor.Next > p.rest.saved
	}
	return false
}

// save writes a checkpoint of the process if there is something new in it, hot or packed.
func (p *worker) save() {
	switch {
	case !p.unsaved():
	case p.replay != nil:
		p.checkpoint()
	default:
		p.checkpointPacked()
	}
}

// checkpointPacked saves a packed process as it is. The caller holds a place for work.
func (p *worker) checkpointPacked() {
	rest := p.rest
	img, err := rest.parcel.Image()
	if err == nil {
		at := rest.rootOf(img)
		err = p.unit.saveCheckpoint(checkpoint{
			cursor: rest.cursor, times: rest.times, last: rest.last, root: at.root, profile: rest.profile, image: img,
		}, at)
	}
	rest.saved, rest.spent = rest.cursor.Next, 0
	if err != nil {
		p.unit.cfg.Log.Warn("checkpoint is not written", "process", p.id, "slot", uint64(rest.cursor.Next-1), "err", err)
	}
}

// rootOf is the root of the packed state, which img is.
func (r *resting) rootOf(img *wasmvm.Image) *stateAt {
	if r.at == nil {
		r.at = &stateAt{slot: r.cursor.Next - 1, root: attest.StateRoot(img), memory: img.Len()}
	}
	return r.at
}

// packedRoot is the root of the process as it is packed.
func (p *worker) packedRoot(ctx context.Context) (*stateAt, error) {
	if p.rest.at != nil {
		return p.rest.at, nil
	}
	if err := p.unit.enterWork(ctx); err != nil {
		return nil, err
	}
	defer p.unit.leaveWork()
	img, err := p.rest.parcel.Image()
	if err != nil {
		return nil, err
	}
	return p.rest.rootOf(img), nil
}

// trimPacked drops the least recently used packed processes while they take more than they may.
func (u *Unit) trimPacked(working bool) {
	for u.attic.Size() > u.cfg.MaxPacked {
		u.lock.Lock()
		front := u.packed.Front()
		if front == nil {
			u.lock.Unlock()
			return
		}
		p := u.seize(front.Value.(*worker))
		u.lock.Unlock()
		u.work(working, p.save)
		p.forget()
		u.giveBack(p)
	}
}

// saveIdle writes checkpoints of idle processes off everybody's path, one at a time, so that little is lost in a crash and
// little is left to do at the end.
func (u *Unit) saveIdle(ctx context.Context) {
	tick := time.NewTicker(u.cfg.SaveIdle)
	defer tick.Stop()
	for round := uint64(1); ; round++ {
		select {
		case <-ctx.Done():
			return
		case <-u.tight:
			u.relieve(ctx)
			round--
			continue
		case <-tick.C:
		}
		for {
			p := u.nextUnsaved(round)
			if p == nil {
				break
			}
			if u.enterWork(ctx) == nil {
				p.save()
				u.leaveWork()
			}
			u.giveBack(p)
		}
	}
}

// relieve packs idle processes before somebody has to wait for it: packing a large one takes long.
func (u *Unit) relieve(ctx context.Context) {
	for {
		select {
		case u.heavy <- struct{}{}:
		case <-ctx.Done():
			return
		}
		u.lock.Lock()
		var victim *worker
		if front := u.idle.Front(); front != nil && u.memory > u.cfg.MaxMemory/tightOfWhole {
			victim = u.seize(front.Value.(*worker))
			u.count.Evictions++
		}
		u.lock.Unlock()
		if victim != nil {
			u.work(false, victim.pack)
			u.giveBack(victim)
			u.trimPacked(false)
		}
		<-u.heavy
		if victim == nil {
			return
		}
	}
}

// nextUnsaved seizes an idle process that a checkpoint is due for: it was idle in the round before as well.
func (u *Unit) nextUnsaved(round uint64) *worker {
	u.lock.Lock()
	defer u.lock.Unlock()
	if u.life.Err() != nil {
		return nil
	}
	for _, l := range []*list.List{u.packed, u.idle} {
		for at := l.Front(); at != nil; at = at.Next() {
			p := at.Value.(*worker)
			if !p.unsaved() {
				continue
			}
			if p.idleSince == 0 {
				p.idleSince = round
			}
			if p.idleSince < round {
				return u.seize(p)
			}
		}
	}
	return nil
}

// rewind goes back to before the slot: the state is given up and the checkpoints after the slot are removed.
func (p *worker) rewind(slot ao.Slot) error {
	p.cool()
	if err := p.unit.shelf.drop(p.id, slot); err != nil {
		return storeFault("remove checkpoints", err)
	}
	return nil
}
