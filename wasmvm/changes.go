package wasmvm

// Tracker is a State that knows which of its pages have changed, so that a page tree can follow it without looking at the
// others. States in linear memory are Trackers.
type Tracker interface {
	State
	// Changes is what has changed since Changes was called last or, if all is set, everything that is not zero: what a
	// tree begins with. Only what stands counts, not what was rolled back.
	Changes(all bool) *Changes
}

var _ Tracker = (*process)(nil)

// Changes is a part of a state, to be read before the state's next entry. It has the methods of an Image.
type Changes struct {
	journal *journal
	index   []uint32 // ascending
}

// Len is the length of the linear memory in bytes.
func (c *Changes) Len() uint64 { return c.journal.length }

// Count is the number of pages that are yielded.
func (c *Changes) Count() int { return len(c.index) }

// Tail is the state outside the memory; it must not be changed.
func (c *Changes) Tail() []byte { return c.journal.tail }

// Pages yields the pages in ascending order until yield returns false, all-zero ones too. They must not be changed.
func (c *Changes) Pages(yield func(index uint32, page *[PageSize]byte) bool) {
	var zero page
	for _, index := range c.index {
		p := c.journal.marked(index)
		if p == nil {
			p = &zero
		}
		if !yield(index, p) {
			return
		}
	}
}

// Leaves is Pages with a place beside each page for its leaf hash in a page tree: zero as long as nobody has put it there,
// nil if this content has no such place. What is put there stays for as long as the content is kept, so that a page that
// swings back to a content it had is not hashed again.
func (c *Changes) Leaves(yield func(index uint32, page *[PageSize]byte, leaf *[32]byte) bool) {
	var zero page
	for _, index := range c.index {
		p, leaf := c.journal.marked(index), (*[32]byte)(nil)
		if s := c.journal.delta[index]; s != nil && s.now != nil && !s.now.shared {
			leaf = &s.now.leaf
		}
		if p == nil {
			p = &zero
		}
		if !yield(index, p, leaf) {
			return
		}
	}
}

// Changes follows the marks of the journal. See Tracker.
func (p *process) Changes(all bool) *Changes {
	p.mark()
	return p.journal.changes(all)
}
