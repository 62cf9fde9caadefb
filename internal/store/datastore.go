package store

import (
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
	return &view{d: d, inner: keytransform.Wrap(d.view, keytransform.PrefixTransform{Prefix: prefix})}
}

// view is a namespace of the database as a go-datastore. It adds to the wrapped one what sharing needs: calls after
// the store is closed are errors instead of panics, and closing the view leaves the database open.
type view struct {
	d     *database
	inner *keytransform.Datastore
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
func (v *view) Put(ctx context.Context, key datastore.Key, value []byte) error {
	if err := v.d.enter(); err != nil {
		return err
	}
	defer v.d.gate.leave()
	return v.inner.Put(ctx, key, value)
}

// Delete implements datastore.Write.
func (v *view) Delete(ctx context.Context, key datastore.Key) error {
	if err := v.d.enter(); err != nil {
		return err
	}
	defer v.d.gate.leave()
	return v.inner.Delete(ctx, key)
}

// Sync implements datastore.Datastore.
func (v *view) Sync(ctx context.Context, prefix datastore.Key) error {
	if err := v.d.enter(); err != nil {
		return err
	}
	defer v.d.gate.leave()
	return v.inner.Sync(ctx, prefix)
}

// Close implements datastore.Datastore and does nothing: the store is closed by whoever opened it.
func (v *view) Close() error { return nil }

// Batch implements datastore.Batching.
func (v *view) Batch(ctx context.Context) (datastore.Batch, error) {
	if err := v.d.enter(); err != nil {
		return nil, err
	}
	defer v.d.gate.leave()
	inner, err := v.inner.Batch(ctx)
	if err != nil {
		return nil, err
	}
	return &viewBatch{d: v.d, inner: inner}, nil
}

// viewBatch guards a batch as view guards the datastore.
type viewBatch struct {
	d     *database
	inner datastore.Batch
}

// Put implements datastore.Write.
func (b *viewBatch) Put(ctx context.Context, key datastore.Key, value []byte) error {
	return b.inner.Put(ctx, key, value)
}

// Delete implements datastore.Write.
func (b *viewBatch) Delete(ctx context.Context, key datastore.Key) error {
	return b.inner.Delete(ctx, key)
}

// Commit implements datastore.Batch.
func (b *viewBatch) Commit(ctx context.Context) error {
	if err := b.d.enter(); err != nil {
		return err
	}
	defer b.d.gate.leave()
	return b.inner.Commit(ctx)
}
