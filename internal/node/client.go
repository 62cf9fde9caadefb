package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

// Client is a guest of a network: it asks peers, serves nobody and keeps nothing.
type Client struct {
	Network   Network
	Devnet    *DevnetFile // if the home is a running devnet's
	P2P       *p2p.Node
	Mesh      *remote.Mesh
	Market    *remote.Market
	Taste     market.Taste // by which it buys
	Directory *remote.Directory
	Archive   arweave.Archive
	Store     store.Store // in memory
	Signer    ans104.Signer
	Address   string        // of Signer
	Guest     ans104.Signer // the guest's own key, made for this visit

	log  *slog.Logger
	stop context.CancelFunc
	done sync.WaitGroup
}

// OpenClient joins the network of a home as a guest and waits until it knows units. The messages it sends are signed
// by the home's wallet or, if there is none, by its unit key.
func OpenClient(ctx context.Context, h Home, log *slog.Logger) (*Client, error) {
	return OpenBuyer(ctx, h, nil, log)
}

// OpenBuyer is OpenClient for a guest that buys otherwise than the home's config says: given are settings by key.
func OpenBuyer(ctx context.Context, h Home, given map[string]string, log *slog.Logger) (*Client, error) {
	cfg, err := h.LoadConfig()
	if err != nil {
		return nil, err
	}
	for _, s := range Settings() {
		if text, ok := given[s.Key]; ok {
			if err := s.Set(&cfg, text); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Key, err)
			}
		}
	}
	if err := cfg.Market.Validate(); err != nil {
		return nil, err
	}
	return openClient(ctx, h, cfg, log)
}

func openClient(ctx context.Context, h Home, cfg Config, log *slog.Logger) (_ *Client, err error) {
	c := &Client{log: log}
	if c.Network, err = h.Network(); err != nil {
		return nil, err
	}
	bootstrap, gateways := c.Network.Bootstrap, c.Network.Gateways
	if d, err := h.LoadDevnet(); err == nil {
		c.Devnet = &d
		bootstrap = nil
		for _, p := range d.Peers {
			bootstrap = append(bootstrap, p.Addrs...)
		}
	}
	bootstrap = append(bootstrap, cfg.Bootstrap...)
	if p, err := h.LoadPeer(); err == nil {
		bootstrap = append(bootstrap, p.Addrs...)
	}
	if len(cfg.Gateways) > 0 {
		gateways = cfg.Gateways
	}
	if len(bootstrap) == 0 {
		return nil, fmt.Errorf("no peer of network %s is known: is the devnet or the peer of %s running?", c.Network.ID, h)
	}
	if c.Signer, c.Address, err = h.signer(h.wallet(cfg)); err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make guest key: %w", err)
	}
	if c.P2P, err = p2p.New(p2p.Config{
		Key: key, Listen: []string{}, Bootstrap: bootstrap, Network: c.Network.ID, Log: log,
	}); err != nil {
		return nil, err
	}
	reader, err := arweave.NewClient(arweave.ClientConfig{Gateways: gateways, BlockTime: c.Network.blockTime()})
	if err != nil {
		return nil, err
	}
	c.Archive = arweave.NewArchive(reader, nil)
	c.Store = store.NewMemory()
	c.Guest = ans104.NewEd25519Signer(key)
	if c.Mesh, err = remote.NewMesh(c.P2P, c.Network.ID, c.Guest, "", nil, log); err != nil {
		return nil, err
	}
	buyer, err := cfg.Market.buyer()
	if err != nil {
		return nil, err
	}
	c.Taste = buyer.Taste
	if c.Market, err = remote.NewMarket(remote.MarketConfig{
		Network: c.Network.ID, Node: c.P2P, Signer: c.Guest, Store: c.Store, Buyer: buyer, Log: log,
	}); err != nil {
		return nil, err
	}
	c.Directory = remote.NewDirectory(c.Network.ID, Address(key), c.P2P, c.Mesh, c.Archive, c.Store, log)
	c.Directory.SetMarket(c.Market)
	away, err := remote.NewElsewhere(remote.ElsewhereConfig{
		Archive: c.Archive, URL: cfg.Elsewhere.URL, Private: cfg.Elsewhere.Private || c.Devnet != nil,
	})
	if err != nil {
		return nil, fmt.Errorf("elsewhere.url: %w", err)
	}
	c.Directory.SetElsewhere(away)
	return c, c.start(ctx, bootstrap)
}

// start connects to the first peer that answers and takes over what units it knows.
func (c *Client) start(ctx context.Context, bootstrap []string) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.done.Go(func() { _ = c.P2P.Run(life) }) // a guest that lost its host sees it in the next call
	if err := c.P2P.Await(ctx); err != nil {
		c.Close()
		return fmt.Errorf("start guest: %w", err)
	}
	c.done.Go(func() { _ = c.Mesh.Run(life) })
	c.done.Go(func() { _ = c.Market.Run(life) })
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.meet(ctx, bootstrap); err != nil {
		c.Close()
		return err
	}
	return nil
}

// meet dials all at once and is content with the first peer that knows units.
func (c *Client) meet(ctx context.Context, bootstrap []string) error {
	ctx, cancel := context.WithCancel(ctx)
	dialled := make(chan error, 1)
	go func() { dialled <- c.P2P.Connect(ctx, bootstrap...) }()
	over := false
	defer func() {
		cancel()
		if !over {
			<-dialled
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	asked := map[peer.ID]bool{}
	for {
		for _, p := range c.P2P.Peers() {
			if asked[p.ID] {
				continue
			}
			asked[p.ID] = true
			if c.Mesh.Pull(ctx, p.ID) == nil && len(c.Mesh.Roster.With("")) > 0 && c.Market.Pull(ctx, p.ID) == nil {
				return nil
			}
		}
		switch {
		case over && len(asked) == 0:
			return fmt.Errorf("none of the %d known addresses of network %s answers: is it running?", len(bootstrap), c.Network.ID)
		case over:
			return fmt.Errorf("the peers of network %s know no unit yet: try again in a moment", c.Network.ID)
		}
		select {
		case err := <-dialled:
			over = true
			c.log.Debug("dial peers", "err", err)
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("no peer of network %s answers in time: is it running?", c.Network.ID)
		}
	}
}

// Close leaves the network.
func (c *Client) Close() {
	c.stop()
	c.done.Wait()
	_ = c.Store.Close() // it was in memory
}

// Messenger is a messenger of the mesh. In a network that is just starting it waits a little for one to be heard of.
func (c *Client) Messenger(ctx context.Context) (units.Messenger, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		door, _, err := c.Directory.Messenger()
		if err == nil {
			return door, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Defaults are the module, scheduler and authority of new processes, from the devnet, the network file or the mesh.
func (c *Client) Defaults() Genesis {
	g := c.Network.Genesis
	if d := c.Devnet; d != nil {
		g = Genesis{Module: d.Module, Scheduler: d.Scheduler, Authority: d.Authority}
	}
	if us := c.Mesh.Roster.With(remote.RoleScheduler); g.Scheduler == "" && len(us) > 0 {
		g.Scheduler = us[0].Address
	}
	if us := c.Mesh.Roster.With(remote.RoleMessenger); g.Authority == "" && len(us) > 0 {
		g.Authority = us[0].Address
	}
	return g
}

// Choose is Defaults with what the market would choose now for these roles: the scheduler, the messenger to trust. Where
// nobody offers, the defaults stay. Errors: over-the-cap, no-offer.
func (c *Client) Choose(roles ...market.Role) (Genesis, error) {
	g := c.Defaults()
	for _, role := range roles {
		if len(c.Market.Offers(role)) == 0 {
			continue
		}
		unit, _, err := c.Market.Pick(role)
		if err != nil {
			return g, err
		}
		switch role {
		case market.Scheduler:
			g.Scheduler = unit.String()
		case market.Messenger:
			g.Authority = unit.String()
		}
	}
	return g, nil
}

// Finality is how final a slot is (§5.3): acked by its scheduler, or settled(k) on Arweave, both the assignment and
// the message, the shallower one counting.
func (c *Client) Finality(ctx context.Context, a ao.Assignment) string {
	depth := uint64(0)
	for i, id := range []ao.ID{a.ID(), a.Message()} {
		conf, err := c.Archive.Confirm(ctx, id)
		if err != nil || conf.Depth == 0 {
			return "acked"
		}
		if i == 0 || conf.Depth < depth {
			depth = conf.Depth
		}
	}
	return fmt.Sprintf("settled(%d)", depth)
}

// LoadPeer reads peer.json of a running peer.
func (h Home) LoadPeer() (PeerFile, error) {
	var p PeerFile
	raw, err := os.ReadFile(h.Peer())
	if err != nil {
		return p, err
	}
	return p, unmarshalFile(h.Peer(), raw, &p)
}
