package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/node"
)

// peerFlags are the settings of config.toml that init writes and run overrides.
func peerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", Usage: "name shown to other peers", Sources: cli.EnvVars("AOPEER_NAME")},
		&cli.StringSliceFlag{Name: "role", Usage: "su, cu or mu; may be repeated", Sources: cli.EnvVars("AOPEER_ROLE")},
		&cli.StringSliceFlag{Name: "listen", Usage: "multiaddr to listen on; may be repeated", Sources: cli.EnvVars("AOPEER_LISTEN")},
		&cli.StringSliceFlag{Name: "bootstrap", Usage: "multiaddr with /p2p/ID of a peer to meet the mesh through", Sources: cli.EnvVars("AOPEER_BOOTSTRAP")},
		&cli.StringSliceFlag{Name: "gateway", Usage: "URL of an Arweave gateway (default: the network's)", Sources: cli.EnvVars("AOPEER_GATEWAY")},
		&cli.StringFlag{Name: "wallet", Usage: "Arweave wallet that pays for settlement (default: wallet.json in the home)", Sources: cli.EnvVars("AOPEER_WALLET")},
		&cli.StringFlag{Name: "network", Usage: "signed network `FILE` to join"},
		&cli.DurationFlag{Name: "settle-age", Usage: "how long an item waits for others to share a bundle"},
		&cli.Uint64Flag{Name: "settle-depth", Usage: "confirmations after which a bundle counts as settled"},
	}
}

// override lays the flags that were given over a config.
func override(c *cli.Command, cfg *node.Config) {
	if c.IsSet("name") {
		cfg.Name = c.String("name")
	}
	if c.IsSet("role") {
		cfg.Roles = c.StringSlice("role")
	}
	if c.IsSet("listen") {
		cfg.Listen = c.StringSlice("listen")
	}
	if c.IsSet("bootstrap") {
		cfg.Bootstrap = c.StringSlice("bootstrap")
	}
	if c.IsSet("gateway") {
		cfg.Gateways = c.StringSlice("gateway")
	}
	if c.IsSet("wallet") {
		cfg.Wallet = c.String("wallet")
	}
	if c.IsSet("settle-age") {
		cfg.Settle.MaxAge = node.Duration(c.Duration("settle-age"))
		cfg.Settle.Poll = min(cfg.Settle.Poll, cfg.Settle.MaxAge)
		cfg.Compute.ClaimAge = min(cfg.Compute.ClaimAge, cfg.Settle.MaxAge)
	}
	if c.IsSet("settle-depth") {
		cfg.Settle.Depth = c.Uint64("settle-depth")
	}
}

func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a peer's home: key, wallet, config and network", ArgsUsage: " ",
		Description: "Safe to repeat: keys and wallets that are there stay.",
		Flags:       peerFlags(),
		Action: func(_ context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			if c.String("network") == "" {
				return misuse("--network FILE is needed: a devnet keeps its own as network.item in its home")
			}
			return initHome(c)
		},
	}
}

func initHome(c *cli.Command) error {
	h := home(c)
	network, err := node.LoadNetwork(c.String("network"))
	if err != nil {
		return err
	}
	cfg, err := h.LoadConfig()
	if err != nil {
		return err
	}
	override(c, &cfg)
	if err := cfg.Validate(); err != nil {
		return misuse("%v", err)
	}
	if err := h.Make(); err != nil {
		return err
	}
	if _, err := h.EnsureKey(); err != nil {
		return err
	}
	if err := h.Join(network); err != nil {
		return err
	}
	if _, err := arweave.LoadWallet(h.Wallet()); errors.Is(err, fs.ErrNotExist) && cfg.Wallet == "" {
		p := startProgress(c, "making an Arweave wallet")
		w, err := arweave.NewWallet()
		p.end()
		if err != nil {
			return err
		}
		if err := w.Save(h.Wallet()); err != nil {
			return err
		}
	} else if err != nil && cfg.Wallet == "" {
		return err
	}
	if err := h.SaveConfig(cfg); err != nil {
		return err
	}
	k, err := h.Keys()
	if err != nil {
		return err
	}
	return output(c).value(k, func(w io.Writer) {
		fmt.Fprintf(w, "%s is a peer of %s\nunit    %s\npeer    %s\n", h, network.ID, k.Unit, k.Peer)
		if k.Wallet != "" {
			fmt.Fprintf(w, "wallet  %s\n", k.Wallet)
		}
		fmt.Fprintf(w, "start it with `aopeer run --home %s`\n", h)
	})
}
