package wasmvm

import (
	"bytes"
	"errors"
	"fmt"
	mathbits "math/bits"
	"slices"
	"sync"
)

// journal stands between a process and its instance: after every handle the caller either marks what the
// message did as the state, or rolls it back. What it keeps of the marked state are the pages that differ from
// the program's base image. One goroutine uses it at a time; shed may be called beside it.
type journal struct {
	prog  program
	inst  instance
	limit uint64
	scan  *pageScan
	drive *drive // what the module may read; nil for nothing

	base   *Image           // nil: unknown, then delta holds every non-zero page
	origin map[uint32]*kept // pages that siblings begin with, kept once for all of them
	delta  map[uint32]*slot
	length uint64
	tail   []byte
	dead   bool
	whole  bool // the first mark has to look at every page

	changed []uint64 // a bit for each page that a mark found changed since changes was called last
	touched int      // pages that the last mark looked at

	// lock guards what shed changes, and so every slot's former content.
	lock    sync.Mutex
	owned   int // pages kept in delta for this process alone
	formers int // of them, those that are a page's former content
}

// kept is a content that a page of the marked state has or had.
type kept struct {
	page   *page    // by itself it takes no more than it holds
	leaf   [32]byte // the page's leaf hash in a page tree, zero while nobody has asked
	shared bool     // with siblings, so nothing is written to it
}

// slot is a page that differs from the base image. A collector that flips a mark in every object makes most pages swing
// between two contents: keeping the former one spares the copy, and the hash, when it comes back.
type slot struct {
	now    *kept // nil: all zero
	former *kept // nil: unknown
}

// maxFormers bounds what is kept of former contents, in pages.
const maxFormers = 4096

// newJournal takes over inst, whose state becomes the first mark. scan may be nil.
func newJournal(prog program, inst instance, limit uint64, scan *pageScan) *journal {
	j := &journal{prog: prog, inst: inst, limit: limit, scan: scan, delta: map[uint32]*slot{}}
	if b, ok := prog.(baser); ok {
		j.base = b.base()
	}
	if o, ok := prog.(originer); ok {
		j.origin = o.origin()
	}
	j.whole = j.base == nil
	j.mark()
	return j
}

// handle runs one message; mark or rollback must follow.
func (j *journal) handle(msg, env []byte, fuel uint64) ([]byte, uint64, error) {
	if j.dead {
		return nil, 0, errors.New("handle a message on a dead instance")
	}
	if m, ok := j.inst.(mounter); ok {
		m.mount(j.drive)
	}
	out, used, err := j.inst.handle(msg, env, fuel)
	j.dead = err != nil
	return out, used, err
}

// memory is the linear memory as it stands, marked or not.
func (j *journal) memory() []byte { return j.inst.memory() }

func (j *journal) close() {
	j.inst.close()
	j.dead = true
}

// marked is a page of the marked state, nil when it is zero.
func (j *journal) marked(index uint32) *page {
	if s, ok := j.delta[index]; ok {
		if s.now == nil {
			return nil
		}
		return s.now.page
	}
	return j.base.page(index)
}

// mark makes the present state the one to roll back to. It returns the pages that changed since the last
// mark, ascending. It must not follow a handle that failed.
func (j *journal) mark() (dirty []uint32) {
	j.lock.Lock()
	defer j.lock.Unlock()
	mem := j.inst.memory()
	var zero page
	j.touched = 0
	j.visit(mem, func(index uint32) {
		j.touched++
		now := (*page)(mem[int(index)*PageSize:])
		old := j.marked(index)
		if old == nil {
			old = &zero
		}
		if *now == *old {
			return
		}
		dirty = append(dirty, index)
		for int(index/64) >= len(j.changed) {
			j.changed = append(j.changed, 0)
		}
		j.changed[index/64] |= 1 << (index % 64)
		j.keep(index, now, &zero)
	})
	j.length = uint64(len(mem))
	j.tail = append(j.tail[:0], j.inst.tail()...)
	j.whole = false
	return dirty
}

// keep notes what a page holds now, which is not what it held at the last mark.
func (j *journal) keep(index uint32, now, zero *page) {
	base, s := j.base.page(index), j.delta[index]
	switch {
	case base != nil && *now == *base, base == nil && *now == *zero:
		if s != nil {
			j.release(s.now)
			j.dropFormer(s)
			delete(j.delta, index)
		}
		return
	case s == nil:
		s = &slot{}
		j.delta[index] = s
	}
	if *now == *zero { // over a base that is not
		j.release(s.now)
		j.dropFormer(s)
		s.now = nil
		return
	}
	j.swing(s, index, now)
}

// swing makes now the content of a slot and what it was before the former one.
func (j *journal) swing(s *slot, index uint32, now *page) {
	if s.former != nil && *s.former.page == *now {
		s.now, s.former = s.former, s.now
		return
	}
	if o := j.origin[index]; s.now == nil && o != nil && *o.page == *now {
		s.now = o
		return
	}
	next := s.former
	if next == nil || next.shared {
		if next = s.now; next == nil || next.shared || j.formers < maxFormers {
			next = &kept{page: new(page)}
			j.owned++
		}
	}
	if next != s.now && s.now != nil {
		if s.former == nil {
			j.formers++
		}
		s.former = s.now
	}
	*next.page, next.leaf = *now, [32]byte{}
	s.now = next
}

func (j *journal) dropFormer(s *slot) {
	if s.former != nil {
		j.formers--
		j.release(s.former)
		s.former = nil
	}
}

// release counts a content that is no longer kept.
func (j *journal) release(k *kept) {
	if k != nil && !k.shared {
		j.owned--
	}
}

// shed gives up the former contents, without which the next mark takes longer. It is safe beside everything else.
func (j *journal) shed() {
	j.lock.Lock()
	defer j.lock.Unlock()
	for _, s := range j.delta {
		j.dropFormer(s)
	}
}

// footprint is what the process takes of this machine's memory, in bytes.
func (j *journal) footprint() uint64 {
	j.lock.Lock()
	defer j.lock.Unlock()
	return instanceBytes + uint64(j.touched+j.owned)*PageSize
}

// visit visits, in ascending order, every page that may differ from the base image, and so every page that
// may differ from the mark.
func (j *journal) visit(mem []byte, look func(index uint32)) {
	if !j.whole && j.scan.each(mem, look) {
		return
	}
	for index := range uint32(len(mem) / PageSize) {
		look(index)
	}
}

// rollback puts the state back to the last mark. The instance that did so is healthy whatever happened to the
// one before; an error means that this host could not make one.
func (j *journal) rollback() error {
	mem := []byte(nil)
	if !j.dead {
		mem = j.inst.memory()
	}
	if j.dead || uint64(len(mem)) != j.length || !j.rewindTail() {
		return j.rebuild()
	}
	var zero page
	var drop []uint32
	j.visit(mem, func(index uint32) {
		now := (*page)(mem[int(index)*PageSize:])
		want := j.marked(index)
		switch {
		case want != nil:
			if *now != *want {
				*now = *want
			}
		case *now == zero:
		case j.base == nil || j.base.page(index) != nil:
			*now = zero
		default:
			drop = append(drop, index)
		}
	})
	j.wipe(mem, drop)
	return nil
}

// rewindTail puts back the state outside the memory and says whether it could.
func (j *journal) rewindTail() bool {
	if bytes.Equal(j.inst.tail(), j.tail) {
		return true
	}
	t, ok := j.inst.(tailSetter)
	return ok && t.setTail(j.tail) == nil
}

// wipe zeroes pages that lie on a mapping of zeros. Their frames go back to the system where that is possible,
// so that a message that failed after touching much memory leaves none of it resident.
func (j *journal) wipe(mem []byte, pages []uint32) {
	for len(pages) > 0 {
		n := 1
		for n < len(pages) && pages[n] == pages[0]+uint32(n) {
			n++
		}
		run := mem[int(pages[0])*PageSize:][:n*PageSize]
		if !j.scan.discard(run) {
			clear(run)
		}
		pages = pages[n:]
	}
}

func (j *journal) rebuild() error {
	j.inst.close()
	j.dead = true
	inst, err := j.prog.restore(j.image(), j.limit)
	if err != nil {
		return fmt.Errorf("rebuild instance: %w", err)
	}
	j.inst, j.dead = inst, false
	return nil
}

// pages are the pages of the marked state that are not zero, ascending.
func (j *journal) pages() (out []uint32) {
	if j.base != nil {
		for _, index := range j.base.index {
			if _, ok := j.delta[index]; !ok {
				out = append(out, index)
			}
		}
	}
	for index, s := range j.delta {
		if s.now != nil {
			out = append(out, index)
		}
	}
	slices.Sort(out)
	return out
}

// image is the marked state, independent of the journal.
func (j *journal) image() *Image {
	img := &Image{length: j.length, tail: bytes.Clone(j.tail), index: j.pages()}
	img.pages = make([]byte, 0, len(img.index)*PageSize)
	for _, index := range img.index {
		img.pages = append(img.pages, j.marked(index)[:]...)
	}
	return img
}

// changes is what the marks since the last call have changed, or all that is not zero. It holds until the next handle.
func (j *journal) changes(all bool) *Changes {
	c := &Changes{journal: j}
	if all {
		c.index = j.pages()
	} else {
		for at, word := range j.changed {
			for ; word != 0; word &= word - 1 {
				c.index = append(c.index, uint32(64*at+mathbits.TrailingZeros64(word)))
			}
		}
	}
	clear(j.changed)
	return c
}
