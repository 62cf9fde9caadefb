package ans104

import (
	"cmp"
	"sync"

	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// ringLen is how many keys a generation of a ring holds if nothing else is said; each takes about 2 KiB.
const ringLen = 256

// ring remembers keys as verification wants them. Two generations bound it: when the young one is full it becomes the old
// one, and what nobody asked for in the meantime is forgotten. It is not for concurrent use.
type ring[K comparable, V any] struct {
	most       int // of a generation; 0 for ringLen
	young, old map[K]*V
}

// get is what is remembered of a key, nil if there is nothing.
func (r *ring[K, V]) get(name K) *V {
	key := r.young[name]
	if key == nil {
		if key = r.old[name]; key != nil {
			r.put(name, key)
		}
	}
	return key
}

func (r *ring[K, V]) put(name K, key *V) {
	if len(r.young) >= cmp.Or(r.most, ringLen) {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[K]*V)
	}
	r.young[name] = key
}

// begunHash is the deep hash of an item up to and with its owner, which is the same in all items of a key.
func begunHash(t SignatureType, owner []byte) [48]byte { return foldBlob(itemPrefix(t), owner) }

// keyRing remembers Ed25519 keys. It is not for concurrent use.
type keyRing struct {
	ring[ed25519Name, ed25519Key]
}

type ed25519Name struct {
	typ SignatureType // Ed25519 or Solana
	key [ed25519KeyLen]byte
}

type ed25519Key struct {
	point *voi.ExpandedPublicKey
	begun [48]byte
}

// key is the owner's, or nil if it is no good or there is no ring: the verification will say so.
func (r *keyRing) key(t SignatureType, owner []byte) *ed25519Key {
	if r == nil || len(owner) != ed25519KeyLen {
		return nil
	}
	name := ed25519Name{typ: t, key: [ed25519KeyLen]byte(owner)}
	if key := r.get(name); key != nil {
		return key
	}
	point, err := voi.NewExpandedPublicKey(owner)
	if err != nil {
		return nil
	}
	key := &ed25519Key{point: point, begun: begunHash(t, owner)}
	r.put(name, key)
	return key
}

// walletRing remembers the RSA keys of valid signatures. It is safe for concurrent use; its zero value is empty.
type walletRing struct {
	lock sync.Mutex
	keys ring[[rsaLen]byte, walletKey]
}

type walletKey struct {
	modulus *modulus
	begun   [48]byte
}

// verify is Item.Verify of an item that an Arweave wallet signed.
func (r *walletRing) verify(it *Item) error {
	name := [rsaLen]byte(it.Owner())
	r.lock.Lock()
	key := r.keys.get(name)
	r.lock.Unlock()
	known := key != nil
	if !known {
		key = &walletKey{modulus: newModulus(name[:]), begun: begunHash(Arweave, name[:])}
	}
	message := it.hashFrom(key.begun)
	if err := it.judged(key.modulus.verify(message[:], it.Signature())); err != nil || known {
		return err
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.keys.put(name, key)
	return nil
}
