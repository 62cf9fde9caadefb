package wasmvm

import (
	"bytes"
	"errors"
	"fmt"
	mathbits "math/bits"
	"slices"
)

// journal stands between a process and its instance: after every handle the caller either marks what the
// message did as the state, or rolls it back. What it keeps of the marked state are the pages that differ from
// the program's base image. One goroutine uses it at a time.
type journal struct {
	prog  program
	inst  instance
	limit uint64
	scan  *pageScan

	base   *Image // nil: unknown, then delta holds every non-zero page
	delta  map[uint32]*page
	length uint64
	tail   []byte
	dead   bool
	whole  bool // the first mark has to look at every page

	changed []uint64 // a bit for each page that a mark found changed since changes was called last
}

// newJournal takes over inst, whose state becomes the first mark. scan may be nil.
func newJournal(prog program, inst instance, limit uint64, scan *pageScan) *journal {
	j := &journal{prog: prog, inst: inst, limit: limit, scan: scan, delta: map[uint32]*page{}}
	if b, ok := prog.(baser); ok {
		j.base = b.base()
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
	if p, ok := j.delta[index]; ok {
		return p
	}
	return j.base.page(index)
}

// mark makes the present state the one to roll back to. It returns the pages that changed since the last
// mark, ascending. It must not follow a handle that failed.
func (j *journal) mark() (dirty []uint32) {
	mem := j.inst.memory()
	var zero page
	j.touched(mem, func(index uint32) {
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

// keep notes what a page holds now, reusing the copy there is.
func (j *journal) keep(index uint32, now, zero *page) {
	base := j.base.page(index)
	switch {
	case base != nil && *now == *base, base == nil && *now == *zero:
		delete(j.delta, index)
	case *now == *zero:
		j.delta[index] = nil
	default:
		p := j.delta[index]
		if p == nil {
			p = new(page)
			j.delta[index] = p
		}
		*p = *now
	}
}

// touched visits, in ascending order, every page that may differ from the base image, and so every page that
// may differ from the mark.
func (j *journal) touched(mem []byte, visit func(index uint32)) {
	if !j.whole && j.scan.each(mem, visit) {
		return
	}
	for index := range uint32(len(mem) / PageSize) {
		visit(index)
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
	j.touched(mem, func(index uint32) {
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
	for index, p := range j.delta {
		if p != nil {
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
