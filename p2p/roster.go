package p2p

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

const (
	rosterPrefix  = "/p2p/known"
	maxKnownAddrs = 16
)

// sighting is what is remembered of a peer of our network.
type sighting struct {
	Addrs []string `json:"addrs"`
	Seen  int64    `json:"seen"` // Unix milliseconds
}

// roster remembers the peers that were met, so that a restarted node finds the network without its bootstrap
// peers. The newest sightings win when it is full.
type roster struct {
	store datastore.Batching

	lock  sync.Mutex // owns what follows
	limit int
	peers map[peer.ID]sighting
	dirty map[peer.ID]bool // changed since the last save; false means deleted
}

func newRoster(store datastore.Batching) *roster {
	return &roster{store: store, peers: make(map[peer.ID]sighting), dirty: make(map[peer.ID]bool)}
}

func rosterKey(id peer.ID) datastore.Key {
	return datastore.NewKey(rosterPrefix).ChildString(id.String())
}

// load reads what earlier runs saved. Records that do not parse are dropped.
func (r *roster) load(ctx context.Context, limit int) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.limit = limit
	results, err := r.store.Query(ctx, query.Query{Prefix: rosterPrefix})
	if err != nil {
		return fmt.Errorf("load known peers: %w", err)
	}
	defer results.Close()
	for result := range results.Next() {
		if result.Error != nil {
			return fmt.Errorf("load known peers: %w", result.Error)
		}
		id, err := peer.Decode(datastore.RawKey(result.Key).BaseNamespace())
		if err != nil {
			continue
		}
		var s sighting
		if json.Unmarshal(result.Value, &s) != nil || len(s.Addrs) > maxKnownAddrs {
			r.dirty[id] = false
			continue
		}
		r.peers[id] = s
	}
	r.trim()
	return nil
}

// saw notes that a peer was met at some addresses.
func (r *roster) saw(id peer.ID, addrs []multiaddr.Multiaddr, now time.Time) {
	s := sighting{Seen: now.UnixMilli()}
	for _, a := range addrs {
		if text := a.String(); len(s.Addrs) < maxKnownAddrs && !slices.Contains(s.Addrs, text) {
			s.Addrs = append(s.Addrs, text)
		}
	}
	if len(s.Addrs) == 0 {
		return
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.peers[id] = s
	r.dirty[id] = true
	r.trim()
}

// trim drops the oldest sightings beyond the limit, a batch at a time.
func (r *roster) trim() {
	if len(r.peers) <= r.limit {
		return
	}
	oldest := r.bySeen()
	slices.Reverse(oldest)
	for _, id := range oldest[:len(oldest)-r.limit*9/10] {
		delete(r.peers, id)
		r.dirty[id] = false
	}
}

// forget drops a peer.
func (r *roster) forget(id peer.ID) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if _, ok := r.peers[id]; ok {
		delete(r.peers, id)
		r.dirty[id] = false
	}
}

// bySeen lists the peers, latest seen first.
func (r *roster) bySeen() []peer.ID {
	ids := make([]peer.ID, 0, len(r.peers))
	for id := range r.peers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b peer.ID) int {
		return cmp.Or(cmp.Compare(r.peers[b].Seen, r.peers[a].Seen), cmp.Compare(a, b))
	})
	return ids
}

// recent lists what is known, latest seen first.
func (r *roster) recent() []peer.AddrInfo {
	r.lock.Lock()
	defer r.lock.Unlock()
	out := make([]peer.AddrInfo, 0, len(r.peers))
	for _, id := range r.bySeen() {
		out = append(out, r.peers[id].info(id))
	}
	return out
}

func (r *roster) find(id peer.ID) (peer.AddrInfo, bool) {
	r.lock.Lock()
	defer r.lock.Unlock()
	s, ok := r.peers[id]
	return s.info(id), ok
}

func (r *roster) has(id peer.ID) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	_, ok := r.peers[id]
	return ok
}

func (s sighting) info(id peer.ID) peer.AddrInfo {
	info := peer.AddrInfo{ID: id}
	for _, text := range s.Addrs {
		if a, err := multiaddr.NewMultiaddr(text); err == nil {
			info.Addrs = append(info.Addrs, a)
		}
	}
	return info
}

// save writes what changed since the last save.
func (r *roster) save(ctx context.Context) error {
	r.lock.Lock()
	dirty := r.dirty
	r.dirty = make(map[peer.ID]bool)
	changed := make(map[peer.ID]sighting, len(dirty))
	for id, kept := range dirty {
		if kept {
			changed[id] = r.peers[id]
		}
	}
	r.lock.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	err := r.write(ctx, dirty, changed)
	if err == nil {
		return nil
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	for id, kept := range dirty {
		if _, newer := r.dirty[id]; !newer {
			r.dirty[id] = kept
		}
	}
	return fmt.Errorf("save known peers: %w", err)
}

func (r *roster) write(ctx context.Context, dirty map[peer.ID]bool, changed map[peer.ID]sighting) error {
	batch, err := r.store.Batch(ctx)
	if err != nil {
		return err
	}
	for id, kept := range dirty {
		if !kept {
			if err := batch.Delete(ctx, rosterKey(id)); err != nil {
				return err
			}
			continue
		}
		value, err := json.Marshal(changed[id])
		if err != nil {
			return err
		}
		if err := batch.Put(ctx, rosterKey(id), value); err != nil {
			return err
		}
	}
	return batch.Commit(ctx)
}
