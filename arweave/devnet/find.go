package devnet

import (
	"container/heap"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// tagFilter asks for a tag with one of the values, or, negated, for the lack of it.
type tagFilter struct {
	name   string
	values []string
	not    bool
}

// filter is a query; empty criteria do not restrict.
type filter struct {
	ids        []ans104.ID
	byIDs      bool // ids restricts even when it is empty
	owners     []string
	recipients []string
	bundledIn  []ans104.ID
	tags       []tagFilter
	min, max   uint64 // heights, inclusive; 0 is open
	ascending  bool
	first      int
	after      *place
}

// place is an entry's position in the order of an answer: pending ones are above all blocks.
type place struct {
	height uint64
	seq    int
}

func (e *entry) place() place {
	p := place{height: math.MaxUint64, seq: e.seq}
	if b := e.block(); b != nil {
		p.height = b.Height
	}
	return p
}

func (p place) before(q place) bool {
	if p.height != q.height {
		return p.height < q.height
	}
	return p.seq < q.seq
}

func (p place) cursor() string {
	return l1.Encode64(fmt.Appendf(nil, "%d %d", p.height, p.seq))
}

func (f *filter) setAfter(cursor string) error {
	if cursor == "" {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	var p place
	if err == nil {
		_, err = fmt.Sscanf(string(raw), "%d %d", &p.height, &p.seq)
	}
	if err != nil || p.seq < 0 {
		return errors.New("not a cursor of this gateway")
	}
	f.after = &p
	return nil
}

// node is a copy of what the index knows of one entry.
type node struct {
	id        ans104.ID
	cursor    string
	tags      []ans104.Tag
	owner     []byte
	address   string
	target    []byte
	anchor    []byte
	signature []byte
	fee       *big.Int
	quantity  *big.Int
	dataSize  int64
	block     *block
	parent    *ans104.ID
}

func (e *entry) node() *node {
	n := &node{
		id: e.id, cursor: e.place().cursor(), tags: e.tags(), owner: e.owner(), address: e.address(), target: e.target(),
		dataSize: e.dataSize(), block: e.block(), fee: new(big.Int), quantity: new(big.Int),
	}
	if e.isTx() {
		tx := e.root.tx
		n.anchor, n.signature, n.fee, n.quantity = tx.Anchor, tx.Signature, tx.Reward, tx.Quantity
		return n
	}
	it := e.item()
	n.anchor, n.signature = it.Anchor(), it.Signature()
	if e.root != nil {
		parent := e.parent
		n.parent = &parent
	}
	return n
}

// find answers a query with at most f.first nodes and whether there are more.
func (d *Devnet) find(f filter) ([]*node, bool) {
	d.lock.RLock()
	defer d.lock.RUnlock()
	best := selection{ascending: f.ascending}
	seen := map[*entry]bool{}
	lists := d.candidates(&f)
	for _, list := range lists {
		for _, e := range list {
			if !f.matches(e) {
				continue
			}
			if len(lists) > 1 {
				if seen[e] {
					continue
				}
				seen[e] = true
			}
			best.offer(e, f.first+1)
		}
	}
	found := best.sorted()
	more := len(found) > f.first
	nodes := make([]*node, 0, f.first)
	for _, e := range found[:min(len(found), f.first)] {
		nodes = append(nodes, e.node())
	}
	return nodes, more
}

// candidates returns lists that hold every match: those of the criterion that names the fewest.
func (x *index) candidates(f *filter) [][]*entry {
	if f.byIDs {
		var list []*entry
		for _, id := range f.ids {
			if e := x.byID[id]; e != nil && !slices.Contains(list, e) {
				list = append(list, e)
			}
		}
		return [][]*entry{list}
	}
	best, size := [][]*entry{x.entries}, len(x.entries)
	try := func(keys []string) {
		if len(keys) == 0 {
			return
		}
		var lists [][]*entry
		total := 0
		for _, k := range keys {
			lists = append(lists, x.postings[k])
			total += len(x.postings[k])
		}
		if total < size {
			best, size = lists, total
		}
	}
	try(keysOf(f.owners, ownerKey))
	try(keysOf(f.recipients, recipientKey))
	try(keysOf(f.bundledIn, parentKey))
	for _, t := range f.tags {
		if !t.not {
			try(keysOf(t.values, func(v string) string { return tagKey(t.name, v) }))
		}
	}
	return best
}

func keysOf[T any](values []T, key func(T) string) []string {
	keys := make([]string, len(values))
	for i, v := range values {
		keys[i] = key(v)
	}
	return keys
}

func (f *filter) matches(e *entry) bool {
	if f.after != nil {
		p := e.place()
		if (f.ascending && !f.after.before(p)) || (!f.ascending && !p.before(*f.after)) {
			return false
		}
	}
	if f.min > 0 || f.max > 0 {
		b := e.block()
		if b == nil || b.Height < f.min || (f.max > 0 && b.Height > f.max) {
			return false
		}
	}
	if len(f.owners) > 0 && !slices.Contains(f.owners, e.address()) {
		sum := sha256.Sum256(e.owner())
		if !slices.Contains(f.owners, l1.Encode64(sum[:])) {
			return false
		}
	}
	if len(f.recipients) > 0 && !slices.Contains(f.recipients, l1.Encode64(e.target())) {
		return false
	}
	if len(f.bundledIn) > 0 && (e.isTx() || e.root == nil || !slices.Contains(f.bundledIn, e.parent)) {
		return false
	}
	for _, t := range f.tags {
		carries := slices.ContainsFunc(e.tags(), func(tag ans104.Tag) bool {
			return tag.Name == t.name && slices.Contains(t.values, tag.Value)
		})
		if carries == t.not {
			return false
		}
	}
	return true
}

// selection keeps the first few entries of an order that is never sorted as a whole.
type selection struct {
	ascending bool
	kept      []*entry // a heap whose root is the last in order
}

// Len is for the heap package.
func (s *selection) Len() int { return len(s.kept) }

// Less is for the heap package.
func (s *selection) Less(i, j int) bool { return s.inOrder(s.kept[j], s.kept[i]) }

// Swap is for the heap package.
func (s *selection) Swap(i, j int) { s.kept[i], s.kept[j] = s.kept[j], s.kept[i] }

// Push is for the heap package.
func (s *selection) Push(e any) { s.kept = append(s.kept, e.(*entry)) }

// Pop is for the heap package.
func (s *selection) Pop() any {
	last := s.kept[len(s.kept)-1]
	s.kept = s.kept[:len(s.kept)-1]
	return last
}

func (s *selection) inOrder(a, b *entry) bool {
	if s.ascending {
		return a.place().before(b.place())
	}
	return b.place().before(a.place())
}

func (s *selection) offer(e *entry, most int) {
	if len(s.kept) < most {
		heap.Push(s, e)
	} else if s.inOrder(e, s.kept[0]) {
		s.kept[0] = e
		heap.Fix(s, 0)
	}
}

func (s *selection) sorted() []*entry {
	slices.SortFunc(s.kept, func(a, b *entry) int {
		if s.inOrder(a, b) {
			return -1
		}
		return 1
	})
	return s.kept
}

func pageSize(first int) int {
	if first <= 0 {
		return 100
	}
	return min(first, arweave.MaxPage)
}
