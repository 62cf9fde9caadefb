package devnet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/l1"
	"github.com/aopeer/aopeer/internal/store"
)

// errNoRoot answers a chunk for which no transaction was posted.
var errNoRoot = errors.New("data_root_not_found")

// chunkSet is what has arrived of one data root.
type chunkSet struct {
	sizes map[uint64]uint64 // by position
	have  uint64
}

// acceptChunk keeps a proven chunk, and the whole data once the last one is there.
func (d *Devnet) acceptChunk(c *l1.Chunk) error {
	start, err := c.Verify()
	if err != nil {
		return err
	}
	d.writeLock.Lock()
	defer d.writeLock.Unlock()
	root := string(c.Root)
	waiting := d.waitingFor(root, c.Size)
	if len(waiting) == 0 {
		if d.knowsRoot(root, c.Size) {
			return nil
		}
		return errNoRoot
	}
	if d.chunks[root] == nil {
		d.chunks[root] = &chunkSet{sizes: map[uint64]uint64{}}
	}
	set := d.chunks[root]
	if _, ok := set.sizes[start]; !ok {
		if err := d.store.PutFile(chunkName(root, start), bytes.NewReader(c.Data)); err != nil {
			return fmt.Errorf("keep chunk: %w", err)
		}
		set.sizes[start] = uint64(len(c.Data))
		set.have += uint64(len(c.Data))
	}
	if set.have < c.Size {
		return nil
	}
	return d.assemble(root, waiting)
}

func (d *Devnet) waitingFor(root string, size uint64) []*txState {
	var waiting []*txState
	for _, t := range d.roots[root] {
		if t.tx.DataSize == size {
			waiting = append(waiting, t)
		}
	}
	return waiting
}

func (d *Devnet) knowsRoot(root string, size uint64) bool {
	for _, t := range d.txs {
		if t.tx.DataSize == size && string(t.tx.DataRoot) == root {
			return true
		}
	}
	return false
}

// assemble joins chunks to data and finishes the transactions that wait for it.
func (d *Devnet) assemble(root string, waiting []*txState) error {
	starts := slices.Sorted(maps.Keys(d.chunks[root].sizes))
	for _, t := range waiting {
		if err := d.joinChunks(root, starts, dataFiles+hexID(t.tx.ID)); err != nil {
			return fmt.Errorf("join chunks: %w", err)
		}
		if err := d.complete(t); err != nil {
			return err
		}
	}
	d.lock.Lock()
	delete(d.roots, root)
	delete(d.chunks, root)
	d.lock.Unlock()
	for _, start := range starts {
		if err := d.store.RemoveFile(chunkName(root, start)); err != nil {
			return fmt.Errorf("remove chunk: %w", err)
		}
	}
	return nil
}

// complete marks a transaction whose data file is whole, and indexes what is in it.
func (d *Devnet) complete(t *txState) error {
	var found []entryRecord
	if isBundle(t.tx.Tags) {
		data, err := d.readFile(dataFiles+hexID(t.tx.ID), 0, -1)
		if err != nil {
			return err
		}
		found = unbundle(t.tx.ID, data)
	}
	var batch store.Batch
	if err := d.saveEntries(found, &batch); err != nil {
		return err
	}
	done := *t
	done.complete = true
	if err := d.saveTx(&done, &batch); err != nil {
		return err
	}
	if err := d.store.Commit(&batch); err != nil {
		return fmt.Errorf("complete transaction: %w", err)
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	t.complete = true
	d.applyEntries(found)
	return nil
}

func (d *Devnet) joinChunks(root string, starts []uint64, name string) error {
	files := make([]io.Reader, 0, len(starts))
	for _, start := range starts {
		f, err := d.store.OpenFile(chunkName(root, start))
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	return d.store.PutFile(name, io.MultiReader(files...))
}

func chunkName(root string, start uint64) string {
	return fmt.Sprintf("%s%s/%020d", chunkFiles, hex.EncodeToString([]byte(root)), start)
}

// chunkAt returns the chunk that holds a position of the weave, counted from 1, and its proof.
func (d *Devnet) chunkAt(offset uint64) (*l1.Chunk, error) {
	d.lock.RLock()
	var tx *txState
	for _, t := range d.txs {
		if t.block != nil && t.complete && offset <= t.end && offset > t.end-t.tx.DataSize {
			tx = t
			break
		}
	}
	d.lock.RUnlock()
	if tx == nil {
		return nil, fmt.Errorf("chunk %d: %w", offset, arweave.ErrNotFound)
	}
	data, err := d.readFile(dataFiles+hexID(tx.tx.ID), 0, -1)
	if err != nil {
		return nil, err
	}
	chunks, err := arweave.Chunks(data)
	if err != nil {
		return nil, err
	}
	within := offset - (tx.end - tx.tx.DataSize) - 1
	for i := range chunks {
		if within <= chunks[i].Offset {
			return &chunks[i], nil
		}
	}
	return nil, fmt.Errorf("chunk %d: %w", offset, arweave.ErrNotFound)
}

// loadChunks finds the chunks that an earlier run kept, and joins those that are all there.
func (d *Devnet) loadChunks() error {
	files, err := d.store.ListFiles(chunkFiles)
	if err != nil {
		return fmt.Errorf("list chunks: %w", err)
	}
	for _, f := range files {
		root, start, ok := parseChunkName(f.Name)
		if !ok || len(d.roots[root]) == 0 {
			if err := d.store.RemoveFile(f.Name); err != nil {
				return fmt.Errorf("remove chunk: %w", err)
			}
			continue
		}
		if d.chunks[root] == nil {
			d.chunks[root] = &chunkSet{sizes: map[uint64]uint64{}}
		}
		d.chunks[root].sizes[start] = uint64(f.Size)
		d.chunks[root].have += uint64(f.Size)
	}
	for root, set := range maps.Clone(d.chunks) {
		if waiting := d.waitingFor(root, set.have); len(waiting) > 0 {
			if err := d.assemble(root, waiting); err != nil {
				return err
			}
		}
	}
	return nil
}

func parseChunkName(name string) (root string, start uint64, ok bool) {
	rest := name[len(chunkFiles):]
	if len(rest) != 64+1+20 {
		return "", 0, false
	}
	raw, err := hex.DecodeString(rest[:64])
	if err != nil {
		return "", 0, false
	}
	start, err = strconv.ParseUint(rest[65:], 10, 64)
	return string(raw), start, err == nil
}

// readFile reads a file of the store, or length bytes of it from offset; length -1 is all.
func (d *Devnet) readFile(name string, offset, length int64) ([]byte, error) {
	f, err := d.store.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	if length < 0 {
		length = f.Size() - offset
	}
	raw := make([]byte, length)
	if n, err := f.ReadAt(raw, offset); n < len(raw) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return raw, nil
}

// itemBytes returns the whole bytes of an item.
func (d *Devnet) itemBytes(id ans104.ID) ([]byte, error) {
	d.lock.RLock()
	e := d.byID[id]
	d.lock.RUnlock()
	switch {
	case e == nil || e.isTx():
		return nil, arweave.ErrNotFound
	case e.whole != nil:
		return e.whole.Raw(), nil
	}
	return d.readFile(dataFiles+hexID(e.root.tx.ID), e.offset, e.size)
}
