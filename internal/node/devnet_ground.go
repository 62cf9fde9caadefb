package node

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/arweave/devnet"
)

// ground is the Arweave that a devnet stands on: its own, or somebody else's. Run serves it until ctx ends.
type ground interface {
	URL() string
	Put(ctx context.Context, items ...*ans104.Item) error
	Get(ctx context.Context, id ans104.ID) (*ans104.Item, error)
	Run(ctx context.Context) error
	Close() error
}

// The folders of a devnet with what it keeps of its Arweave, or of what is on its way to somebody else's. It has one.
const (
	ownArweave   = "arweave"
	otherArweave = "settle"
)

// openGround opens the wallet that pays for everything, and the Arweave.
func (d *Devnet) openGround() (err error) {
	folder, other := ownArweave, otherArweave
	if d.cfg.Archive != "" {
		folder, other = otherArweave, ownArweave
	}
	if _, err := os.Stat(filepath.Join(string(d.home), other)); err == nil {
		if other == otherArweave {
			return fmt.Errorf("the Arweave of this devnet is elsewhere: give its URL as --archive, or choose another --home than %s", d.home)
		}
		return fmt.Errorf("the devnet in %s has an Arweave of its own: choose another --home", d.home)
	}
	if d.wallet, err = arweave.LoadWallet(d.home.Wallet()); errors.Is(err, os.ErrNotExist) {
		d.cfg.Progress("making an Arweave wallet")
		if d.wallet, err = arweave.NewWallet(); err == nil {
			err = d.wallet.Save(d.home.Wallet())
		}
	}
	if err != nil {
		return err
	}
	if d.cfg.Archive != "" {
		d.ground, err = d.openOther(filepath.Join(string(d.home), folder))
	} else {
		d.ground, err = d.openOwn(filepath.Join(string(d.home), folder))
	}
	if err != nil {
		return err
	}
	d.closes = append(d.closes, d.ground.Close)
	return nil
}

// ownGround is the embedded Arweave behind its gateway.
type ownGround struct {
	*devnet.Devnet
	listen net.Listener
	close  func() error // of the store
}

func (d *Devnet) openOwn(folder string) (_ ground, err error) {
	st, err := openStore(folder, d.cfg.Log)
	if err != nil {
		return nil, err
	}
	g := ownGround{close: st.Close}
	defer func() {
		if err != nil {
			_ = g.Close() // what went wrong first is what counts
		}
	}()
	if g.Devnet, err = devnet.New(devnet.Config{
		Store: st, Wallet: d.wallet, BlockEvery: blockEvery, AllowFaults: d.cfg.Faults, Log: d.cfg.Log,
	}); err != nil {
		return nil, err
	}
	enough, _ := new(big.Int).SetString("1000000000000000000", 10) // a million AR, in winston
	if g.Balance(d.wallet.Address()).Cmp(enough) < 0 {
		if _, err := g.Mint(d.wallet.Address(), enough); err != nil {
			return nil, err
		}
	}
	if g.listen, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(d.cfg.PortBase))); err != nil {
		return nil, fmt.Errorf("gateway: %w: choose another --port-base", err)
	}
	return g, nil
}

func (g ownGround) URL() string { return "http://" + g.listen.Addr().String() }

func (g ownGround) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: g.Devnet, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, WriteTimeout: 5 * time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(g.listen)
		stop() // without a gateway the chain is of no use
	}()
	err := g.Devnet.Run(ctx)
	if ctx.Err() != nil {
		err = nil // it was told to
	}
	shut, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if server.Shutdown(shut) != nil {
		_ = server.Close() // a client that holds on is cut off
	}
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("gateway: %w", serveErr))
	}
	return err
}

func (g ownGround) Close() error {
	var errs []error
	if g.listen != nil {
		_ = g.listen.Close() // the server may have closed it
	}
	if g.Devnet != nil {
		errs = append(errs, g.Devnet.Close())
	}
	return errors.Join(append(errs, g.close())...)
}

// otherGround is an Arweave of somebody else's, and what is on its way there.
type otherGround struct {
	arweave.Archive
	bundler *arweave.Bundler
	url     string
	close   func() error // of the store
}

func (d *Devnet) openOther(folder string) (ground, error) {
	client, err := arweave.NewClient(arweave.ClientConfig{Gateways: []string{d.cfg.Archive}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	balance, err := client.Balance(ctx, d.wallet.Address())
	if err != nil {
		return nil, err
	}
	if balance.Sign() == 0 {
		return nil, fmt.Errorf("the devnet's wallet %s has nothing at %s: send it something, or have a local Arweave mint it, "+
			"as with `curl %s/mint/%[1]s/1000000000000000`", d.wallet.Address(), d.cfg.Archive, d.cfg.Archive)
	}
	st, err := openStore(folder, d.cfg.Log)
	if err != nil {
		return nil, err
	}
	bundler, err := arweave.NewBundler(arweave.BundlerConfig{
		Store: st, Client: client, Wallet: d.wallet, MaxAge: devnetAge, Depth: 1, Poll: devnetPoll, Log: d.cfg.Log,
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return otherGround{Archive: arweave.NewArchive(client, bundler), bundler: bundler, url: d.cfg.Archive, close: st.Close}, nil
}

func (g otherGround) URL() string                   { return g.url }
func (g otherGround) Run(ctx context.Context) error { return g.bundler.Run(ctx) }
func (g otherGround) Close() error                  { return g.close() }

// moduleEvery is how often the Arweave is asked whether it has the default module.
const moduleEvery = 250 * time.Millisecond

// awaitModule returns once the default module can be had, without which nothing can be computed.
func (d *Devnet) awaitModule(ctx context.Context) error {
	id, err := ans104.ParseID(d.file.Module)
	if err != nil {
		return err
	}
	tick := time.NewTicker(moduleEvery)
	defer tick.Stop()
	for told := false; ; told = true {
		_, err := d.ground.Get(ctx, id)
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if !told {
			d.cfg.Progress("waiting for %s to have the default module: a block has to be mined", d.ground.URL())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
