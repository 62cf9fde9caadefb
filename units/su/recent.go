package su

import (
	"container/list"
	"sync"
)

// recent remembers what was used last, up to a number of bytes. What is in it can always be had from the store again.
type recent[K comparable, V any] struct {
	most int

	lock  sync.Mutex
	bytes int
	order *list.List // of *remembered, the latest used in front
	byKey map[K]*list.Element
}

type remembered[K comparable, V any] struct {
	key   K
	value V
	cost  int
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, order: list.New(), byKey: make(map[K]*list.Element)}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	el, ok := r.byKey[key]
	if !ok {
		return value, false
	}
	r.order.MoveToFront(el)
	return el.Value.(*remembered[K, V]).value, true
}

// put remembers a value, unless it alone would fill a quarter of the room.
func (r *recent[K, V]) put(key K, value V, cost int) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.drop(key)
	if cost > r.most/4 {
		return
	}
	r.byKey[key] = r.order.PushFront(&remembered[K, V]{key: key, value: value, cost: cost})
	for r.bytes += cost; r.bytes > r.most; {
		r.drop(r.order.Back().Value.(*remembered[K, V]).key)
	}
}

func (r *recent[K, V]) forget(key K) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.drop(key)
}

// drop needs the lock.
func (r *recent[K, V]) drop(key K) {
	if el, ok := r.byKey[key]; ok {
		delete(r.byKey, key)
		r.bytes -= r.order.Remove(el).(*remembered[K, V]).cost
	}
}
