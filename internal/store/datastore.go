package store

import (
	"bytes"
	"context"
	"encoding/hex"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/keytransform"
	"github.com/ipfs/go-datastore/query"
)

// Datastore implements Store.
func (d *database) Datastore(namespace string) datastore.Batching {
	// Hex keeps any namespace to one path element, so that none can reach into another.
	prefix := datastore.NewKey("n" + hex.EncodeToString([]byte(namespace)))
	return &view{d: d, prefix: prefix, inner: keytransform.Wrap(d.view, keytransform.PrefixTransform{Prefix: prefix})}
}

// view is a namespace of the database as a go-datastore. It reads through the wrapped one and writes through Commit, so that
// a disk that fails or is full meets all writers alike. Calls after the store is closed are errors instead of
// panics, and closing the view leaves the database open.
type view struct {
	d      *database
	prefix datastore.Key
	inner  *keytransform.Datastore
}

var _ datastore.Batching = (*view)(nil)

// Get implements datastore.Read.
func (v *view) Get(ctx context.Context, key datastore.Key) ([]byte, error) {
	if err := v.d.enter(); err != nil {
		return nil, err
	}
	defer v.d.gate.leave()
	return v.inner.Get(ctx, key)
}

// Has implements datastore.Read.
func (v *view) Has(ctx context.Context, key datastore.Key) (bool, error) {
	if err := v.d.enter(); err != nil {
		return false, err
	}
	defer v.d.gate.leave()
	return v.inner.Has(ctx, key)
}

// GetSize implements datastore.Read.
func (v *view) GetSize(ctx context.Context, key datastore.Key) (int, error) {
	if err := v.d.enter(); err != nil {
		return -1, err
	}
	defer v.d.gate.leave()
	return v.inner.GetSize(ctx, key)
}

// Query implements datastore.Read. Results still unread when the store closes end with an error.
func (v *view) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if err := v.d.enter(); err != nil {
		return nil, err
	}
	defer v.d.gate.leave()
	return v.inner.Query(ctx, q)
}

// Put implements datastore.Write.
func (v *view) Put(_ context.Context, key datastore.Key, value []byte) error {
	var b Batch
	b.add(change{verb: verbPutView, name: v.name(key), value: value})
	return v.d.Commit(&b)
}

// Delete implements datastore.Write.
func (v *view) Delete(_ context.Context, key datastore.Key) error {
	var b Batch
	b.add(change{verb: verbDeleteView, name: v.name(key)})
	return v.d.Commit(&b)
}

// name is the whole key of the engine, as the wrapped datastore reads it.
func (v *view) name(key datastore.Key) string { return v.prefix.Child(key).String() }

// Sync implements datastore.Datastore: what was written is durable already.
func (v *view) Sync(context.Context, datastore.Key) error {
	if err := v.d.enter(); err != nil {
		return err
	}
	v.d.gate.leave()
	return nil
}

// Close implements datastore.Datastore and does nothing: the store is closed by whoever opened it.
func (v *view) Close() error { return nil }

// Batch implements datastore.Batching.
func (v *view) Batch(context.Context) (datastore.Batch, error) {
	if err := v.d.enter(); err != nil {
		return nil, err
	}
	v.d.gate.leave()
	return &viewBatch{view: v}, nil
}

// viewBatch collects writes of a view; the last of a key wins.
type viewBatch struct {
	view  *view
	batch Batch
}

// Put implements datastore.Write.
func (b *viewBatch) Put(_ context.Context, key datastore.Key, value []byte) error {
	b.batch.add(change{verb: verbPutView, name: b.view.name(key), value: bytes.Clone(value)})
	return nil
}

// Delete implements datastore.Write.
func (b *viewBatch) Delete(_ context.Context, key datastore.Key) error {
	b.batch.add(change{verb: verbDeleteView, name: b.view.name(key)})
	return nil
}

// Commit implements datastore.Batch.
func (b *viewBatch) Commit(ctx context.Context) error {
	if err := b.view.Sync(ctx, datastore.Key{}); err != nil { // a closed store refuses nothing, too
		return err
	}
	return b.view.d.Commit(&b.batch)
}
