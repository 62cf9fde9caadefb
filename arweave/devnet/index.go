package devnet

import (
	"crypto/sha256"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
)

// index finds transactions and items; guarded by Devnet.lock.
type index struct {
	entries  []*entry // in order of arrival
	byID     map[ans104.ID]*entry
	postings map[string][]*entry // by owner, recipient, parent and tag: see the keys below
}

// entry is a transaction or an item in the index. What is known of it only grows: a waiting item becomes one in a bundle.
type entry struct {
	id  ans104.ID
	seq int

	root *txState // the transaction, or the one whose data holds the item; nil while the item waits to be bundled

	// Of items only.
	whole        *ans104.Item // while it waits to be bundled
	head         *ans104.Item // afterwards: without data
	parent       ans104.ID
	offset, size int64 // in the root's data
}

func (e *entry) isTx() bool { return e.root != nil && e.root.tx.ID == e.id }

// item is the item with or without its data.
func (e *entry) item() *ans104.Item {
	if e.whole != nil {
		return e.whole
	}
	return e.head
}

// block is where the entry is mined; nil while it is pending.
func (e *entry) block() *block {
	if e.root == nil {
		return nil
	}
	return e.root.block
}

func (e *entry) tags() []ans104.Tag {
	if e.isTx() {
		return e.root.tx.Tags
	}
	return e.item().Tags()
}

func (e *entry) owner() []byte {
	if e.isTx() {
		return e.root.tx.Owner
	}
	return e.item().Owner()
}

func (e *entry) address() string {
	if e.isTx() {
		return e.root.tx.OwnerAddress()
	}
	return e.item().OwnerAddress()
}

func (e *entry) target() []byte {
	if e.isTx() {
		return e.root.tx.Target
	}
	return e.item().Target()
}

func (e *entry) dataSize() int64 {
	switch {
	case e.isTx():
		return int64(e.root.tx.DataSize)
	case e.whole != nil:
		return int64(len(e.whole.Data()))
	}
	return e.size - int64(len(e.head.Raw()))
}

func ownerKey(address string) string     { return "o" + address }
func recipientKey(address string) string { return "r" + address }
func parentKey(id ans104.ID) string      { return "p" + string(id[:]) }
func tagKey(name, value string) string   { return "t" + strconv.Itoa(len(name)) + ":" + name + value }

// hasItem says whether an item is known; a transaction's ID is not an item's.
func (x *index) hasItem(id ans104.ID) bool { return x.byID[id] != nil }

// keys are the lists that an entry belongs to from the start.
func (e *entry) keys() map[string]bool {
	keys := map[string]bool{ownerKey(e.address()): true}
	// Gateways know every key by its hash as well, whatever the signature type says its address is.
	sum := sha256.Sum256(e.owner())
	keys[ownerKey(l1.Encode64(sum[:]))] = true
	if t := e.target(); len(t) > 0 {
		keys[recipientKey(l1.Encode64(t))] = true
	}
	for _, t := range e.tags() {
		keys[tagKey(t.Name, t.Value)] = true
	}
	return keys
}

// add indexes an entry unless its ID is known.
func (x *index) add(e *entry) {
	if x.byID[e.id] != nil {
		return
	}
	e.seq = len(x.entries)
	x.entries = append(x.entries, e)
	x.byID[e.id] = e
	for k := range e.keys() {
		x.postings[k] = append(x.postings[k], e)
	}
	if !e.isTx() && e.root != nil {
		x.postings[parentKey(e.parent)] = append(x.postings[parentKey(e.parent)], e)
	}
}

// applyEntries indexes committed items. An item that waited gets its place; one that is in another bundle keeps it.
func (d *Devnet) applyEntries(found []entryRecord) {
	for i := range found {
		r := &found[i]
		root := d.txs[r.root]
		if root == nil {
			continue
		}
		e := d.byID[r.head.ID()]
		if e == nil {
			d.add(&entry{id: r.head.ID(), root: root, head: r.head, parent: r.parent, offset: r.offset, size: r.size})
			continue
		}
		if e.root == nil {
			// A new value: a reader may hold the old one.
			placed := &entry{id: e.id, seq: e.seq, root: root, head: r.head, parent: r.parent, offset: r.offset, size: r.size}
			d.replace(e, placed)
		}
	}
}

// replace puts one entry in another's place, wherever it is listed.
func (x *index) replace(old, placed *entry) {
	x.byID[old.id] = placed
	x.entries[old.seq] = placed
	for k := range old.keys() {
		list := x.postings[k]
		// Lists are in order of arrival.
		if i, ok := slices.BinarySearchFunc(list, old.seq, func(e *entry, seq int) int { return e.seq - seq }); ok {
			list[i] = placed
		}
	}
	list := append(x.postings[parentKey(placed.parent)], placed)
	x.postings[parentKey(placed.parent)] = list
}
