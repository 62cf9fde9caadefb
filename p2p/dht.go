package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/namespace"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
)

const (
	// provideEvery is well below the 48 h that providers are remembered for.
	provideEvery  = 12 * time.Hour
	provideRetry  = 10 * time.Second
	maxProvisions = 4096
)

// openDHT starts the table under a protocol of our own. Its filters stay off: they would drop loopback and private
// addresses, on which devnets and LANs live.
func (n *Node) openDHT(ctx context.Context, undo *closers) error {
	mode := dht.ModeClient
	if n.config.Server {
		mode = dht.ModeServer
	}
	name, err := n.wireName("kad", WireVersion)
	if err != nil {
		return err
	}
	options := []dht.Option{
		dht.ProtocolPrefix(protocol.ID("/ao/" + n.config.Network)),
		dht.V1ProtocolOverride(protocol.ID(name)),
		dht.Mode(mode),
		dht.Datastore(namespace.Wrap(n.store, datastore.NewKey("/p2p/dht"))),
		dht.BootstrapPeersFunc(func() []peer.AddrInfo { return n.bootstrap }),
		// Only providers are stored: no record of ours fits the built-in validators.
		dht.Validator(record.NamespacedValidator{}),
		dht.DisableValues(),
	}
	if n.config.DisableRefresh {
		options = append(options, dht.DisableAutoRefresh())
	}
	table, err := dht.New(ctx, n.host, options...)
	if err != nil {
		return fmt.Errorf("start DHT: %w", err)
	}
	n.dht = table
	undo.add(func() { _ = table.Close() })
	return nil
}

// contentID is where providers of a key are kept: SHA-256 of the network's name, a zero byte and the key.
func (n *Node) contentID(key []byte) (cid.Cid, error) {
	digest := sha256.New()
	digest.Write([]byte(n.config.Network))
	digest.Write([]byte{0})
	digest.Write(key)
	hash, err := multihash.Encode(digest.Sum(nil), multihash.SHA2_256)
	if err != nil {
		return cid.Undef, fmt.Errorf("hash DHT key: %w", err)
	}
	return cid.NewCidV1(cid.Raw, hash), nil
}

// Provide announces in the DHT that this node can be asked about key. From then on the node repeats it by itself,
// so that it outlives the records' expiry; ErrNoPeers means that nobody was there to tell, and that it will be
// repeated as soon as somebody is.
func (n *Node) Provide(ctx context.Context, key []byte) error {
	if err := n.up(); err != nil {
		return err
	}
	if err := n.offers.add(key); err != nil {
		return err
	}
	return n.provide(ctx, string(key))
}

// StopProviding ends the repetition; what others remember expires by itself.
func (n *Node) StopProviding(key []byte) { n.offers.remove(key) }

func (n *Node) provide(ctx context.Context, key string) error {
	id, err := n.contentID([]byte(key))
	if err != nil {
		return err
	}
	if n.dht.RoutingTable().Size() == 0 {
		n.offers.again(key, time.Now())
		return fmt.Errorf("provide key: %w", ErrNoPeers)
	}
	if err = n.dht.Provide(ctx, id, true); err == nil {
		n.offers.again(key, time.Now().Add(provideEvery))
	} else {
		n.offers.again(key, time.Now().Add(provideRetry))
	}
	if errors.Is(err, kbucket.ErrLookupFailure) {
		err = fmt.Errorf("%w: %w", ErrNoPeers, err)
	}
	if err != nil {
		return fmt.Errorf("provide key: %w", err)
	}
	return nil
}

// provideAgain is the keeper's part.
func (n *Node) provideAgain(ctx context.Context) {
	if n.dht.RoutingTable().Size() == 0 {
		return
	}
	for _, key := range n.offers.due(time.Now()) {
		if ctx.Err() != nil {
			return
		}
		bounded, cancel := context.WithTimeout(ctx, time.Minute)
		if err := n.provide(bounded, key); err != nil {
			n.log.Debug("key not provided", "err", err)
		}
		cancel()
	}
}

// FindProviders asks the DHT for peers that provide key: at most max of them (all when zero), without this node
// itself, each with addresses. It ends when enough are found, the search is over, or ctx ends; what was found by
// then is returned with ctx's error.
func (n *Node) FindProviders(ctx context.Context, key []byte, max int) ([]peer.AddrInfo, error) {
	if err := n.up(); err != nil {
		return nil, err
	}
	id, err := n.contentID(key)
	if err != nil {
		return nil, err
	}
	search, cancel := context.WithCancel(ctx)
	defer cancel()
	var found []peer.AddrInfo
	for info := range n.dht.FindProvidersAsync(search, id, 0) {
		if info.ID == n.id {
			continue
		}
		if len(info.Addrs) == 0 {
			info.Addrs = n.host.Peerstore().Addrs(info.ID)
		}
		if len(info.Addrs) == 0 {
			if info, err = n.dht.FindPeer(search, info.ID); err != nil {
				continue
			}
		}
		found = append(found, info)
		if max > 0 && len(found) >= max {
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return found, fmt.Errorf("find providers: %w", err)
	}
	return found, nil
}

// provisions are the keys to be provided again and again.
type provisions struct {
	lock sync.Mutex // owns what follows
	next map[string]time.Time
}

func newProvisions() *provisions { return &provisions{next: make(map[string]time.Time)} }

func (p *provisions) add(key []byte) error {
	p.lock.Lock()
	defer p.lock.Unlock()
	if _, ok := p.next[string(key)]; !ok && len(p.next) >= maxProvisions {
		return fmt.Errorf("provide more than %d keys: %w", maxProvisions, ErrTooLarge)
	}
	// Whoever adds it provides it now; the keeper's turn comes after that.
	p.next[string(key)] = time.Now().Add(provideRetry)
	return nil
}

func (p *provisions) remove(key []byte) {
	p.lock.Lock()
	defer p.lock.Unlock()
	delete(p.next, string(key))
}

// again sets when a key, if it has not been removed, is due next.
func (p *provisions) again(key string, at time.Time) {
	p.lock.Lock()
	defer p.lock.Unlock()
	if _, still := p.next[key]; still {
		p.next[key] = at
	}
}

func (p *provisions) due(now time.Time) []string {
	p.lock.Lock()
	defer p.lock.Unlock()
	var out []string
	for key, at := range p.next {
		if !now.Before(at) {
			out = append(out, key)
		}
	}
	return out
}
