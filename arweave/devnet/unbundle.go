package devnet

import (
	"encoding/binary"
	"fmt"

	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
)

const (
	// maxNesting and maxFound bound what one transaction makes the index do.
	maxNesting   = 8
	maxFound     = 200_000
	verifyBatch  = 256
	maxOwnBundle = 32 << 20
	// entryBatch is how many bytes of records go into one commit.
	entryBatch = 16 << 20
	recordHead = 32 + 32 + 8 + 8
)

// entryRecord is an item found in a bundle, as it is kept: where it is, and its bytes up to the data.
type entryRecord struct {
	root, parent ans104.ID
	offset, size int64 // of the whole item in the root's data
	head         *ans104.Item
}

// unbundle finds the items in a bundle and in the bundles inside it. What does not verify is left out, as if it were not
// there.
func unbundle(root ans104.ID, data []byte) []entryRecord {
	u := unbundler{root: root}
	u.walk(root, 0, data, 0)
	return u.found
}

type unbundler struct {
	root  ans104.ID
	found []entryRecord
}

func (u *unbundler) walk(parent ans104.ID, base int64, data []byte, depth int) {
	entries, err := ans104.ParseBundle(data)
	if err != nil || depth >= maxNesting {
		return
	}
	offset := base + int64(len(data))
	for _, e := range entries {
		offset -= int64(len(e.Raw))
	}
	for len(entries) > 0 && len(u.found) < maxFound {
		n := min(len(entries), verifyBatch)
		offset = u.walkSome(parent, offset, entries[:n], depth)
		entries = entries[n:]
	}
}

// walkSome verifies and records consecutive entries, the first of which starts at offset; it returns where the last ends.
func (u *unbundler) walkSome(parent ans104.ID, offset int64, entries []ans104.Entry, depth int) int64 {
	items := make([]*ans104.Item, 0, len(entries))
	offsets := make([]int64, 0, len(entries))
	for _, e := range entries {
		if it, err := ans104.Parse(e.Raw); err == nil && it.ID() == e.ID {
			items, offsets = append(items, it), append(offsets, offset)
		}
		offset += int64(len(e.Raw))
	}
	for i, err := range ans104.VerifyBatch(items) {
		if err != nil || len(u.found) >= maxFound {
			continue
		}
		it := items[i]
		head, err := headOf(it)
		if err != nil {
			continue
		}
		u.found = append(u.found, entryRecord{
			root: u.root, parent: parent, offset: offsets[i], size: int64(len(it.Raw())), head: head,
		})
		if it.IsBundle() {
			u.walk(it.ID(), offsets[i]+int64(len(head.Raw())), it.Data(), depth+1)
		}
	}
	return offset
}

// headOf copies an item without its data, so that the index does not hold the data in memory. A head keeps ID, owner and
// tags, and does not verify.
func headOf(it *ans104.Item) (*ans104.Item, error) {
	raw := it.Raw()
	return ans104.Parse(append([]byte(nil), raw[:len(raw)-len(it.Data())]...))
}

// saveEntries puts records into batch; so many that they do not fit into one commit are written ahead in several, which is
// harmless: they count only once their transaction is complete.
func (d *Devnet) saveEntries(found []entryRecord, batch *store.Batch) error {
	next, err := d.store.Len(entryLog)
	if err != nil {
		return fmt.Errorf("read entries: %w", err)
	}
	var total int
	for i := range found {
		total += recordHead + len(found[i].head.Raw())
	}
	var ahead store.Batch
	pending := 0
	for i := range found {
		raw := encodeEntry(&found[i])
		if total <= entryBatch {
			batch.Append(entryLog, next, raw)
		} else {
			ahead.Append(entryLog, next, raw)
			if pending += len(raw); pending > entryBatch || i == len(found)-1 {
				if err := d.store.Commit(&ahead); err != nil {
					return fmt.Errorf("keep entries: %w", err)
				}
				ahead, pending = store.Batch{}, 0
			}
		}
		next++
	}
	return nil
}

func encodeEntry(r *entryRecord) []byte {
	raw := make([]byte, 0, recordHead+len(r.head.Raw()))
	raw = append(append(raw, r.root[:]...), r.parent[:]...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(r.offset))
	raw = binary.BigEndian.AppendUint64(raw, uint64(r.size))
	return append(raw, r.head.Raw()...)
}

func decodeEntry(raw []byte) (entryRecord, error) {
	if len(raw) < recordHead {
		return entryRecord{}, store.ErrCorrupt
	}
	head, err := ans104.Parse(raw[recordHead:])
	if err != nil {
		return entryRecord{}, fmt.Errorf("decode entry: %w", err)
	}
	return entryRecord{
		root: ans104.ID(raw[:32]), parent: ans104.ID(raw[32:64]), offset: int64(binary.BigEndian.Uint64(raw[64:])),
		size: int64(binary.BigEndian.Uint64(raw[72:])), head: head,
	}, nil
}
