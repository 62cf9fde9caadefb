package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name: "run", Usage: "run the peer of --home until interrupted", ArgsUsage: " ",
		Description: "Flags override config.toml. While the peer runs, peer.json in its home has its ID and addresses.",
		Flags:       peerFlags(),
		Action:      runPeer,
	}
}

func runPeer(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	h := home(c)
	cfg, err := h.LoadConfig()
	if err != nil {
		return err
	}
	override(c, &cfg)
	if len(cfg.Listen) == 0 { // a list without entries is TOML's way to say nothing, and a host's not to listen
		cfg.Listen = nil
	}
	if err := cfg.Validate(); err != nil {
		return misuse("%v", err)
	}
	if path := c.String("network"); path != "" {
		network, err := node.LoadNetwork(path)
		if err != nil {
			return err
		}
		if err := h.Make(); err != nil {
			return err
		}
		if err := h.Join(network); err != nil {
			return err
		}
		if _, err := h.EnsureKey(); err != nil {
			return err
		}
	}
	n, err := node.New(h, cfg, node.Parts{}, logger(c, true))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-n.Ready():
		case <-ctx.Done():
			return
		}
		if err := n.WritePeer(h); err != nil {
			fmt.Fprintf(c.Root().ErrWriter, "aopeer: write peer.json: %v\n", err)
		}
		p := n.Peer()
		fmt.Fprintf(c.Root().ErrWriter, "peer %s (%v) listens on %v\n", p.ID, p.Roles, p.Addrs)
	}()
	ctx, stop := context.WithCancel(ctx)
	err = n.Run(ctx)
	stop()
	<-done
	_ = os.Remove(h.Peer()) // a stale one misleads, a missing one does not
	if err == nil {
		fmt.Fprintln(c.Root().ErrWriter, "stopped")
	}
	return err
}
