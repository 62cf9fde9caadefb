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

func networkFlag() cli.Flag {
	return &cli.StringFlag{Name: "network", Usage: "signed network `FILE` to join"}
}

func initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a peer's home: key, wallet, config and network", ArgsUsage: " ",
		Description: "Safe to repeat: keys and wallets that are there stay.",
		Flags:       append(peerFlags(), networkFlag()),
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
	e, err := effective(c)
	if err != nil {
		return err
	}
	cfg := e.Config
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
