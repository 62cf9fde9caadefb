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
		Description: "Flags override config.toml: see `aopeer config`. While the peer runs, peer.json in its home has its ID and\n" +
			"addresses. Interrupted, it takes nothing new and finishes what it has acknowledged, at most for --drain;\n" +
			"interrupted again it stops at once. What is left is on disk and goes on at the next start.",
		Flags:  append(peerFlags(), networkFlag()),
		Action: runPeer,
	}
}

func runPeer(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	h := home(c)
	e, err := effective(c)
	if err != nil {
		return err
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
	if h.Alone(e.Config) {
		if err := h.Make(); err != nil {
			return err
		}
		if _, err := h.EnsureKey(); err != nil {
			return err
		}
	}
	n, err := node.New(h, e.Config, node.Parts{}, newLogger(c, e.Config.Log.Level, e.Config.Log.Format))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	beside, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		select {
		case <-n.Ready():
		case <-beside.Done():
			return
		}
		if err := n.WritePeer(h); err != nil {
			fmt.Fprintf(c.Root().ErrWriter, "aopeer: write peer.json: %v\n", err)
		}
		p := n.Peer()
		fmt.Fprintf(c.Root().ErrWriter, "peer %s (%v) listens on %v\n", p.ID, p.Roles, p.Addrs)
		if p.Admin != "" {
			fmt.Fprintf(c.Root().ErrWriter, "metrics on http://%s/metrics\n", p.Admin)
		}
	}()
	err = runUntil(ctx, c, n, "stopped")
	stop()
	<-done
	_ = os.Remove(h.Peer()) // a stale one misleads, a missing one does not
	return err
}

// server is what runs until it is told to stop: a peer or a devnet.
type server interface {
	Run(context.Context) error
	Hurry()
	Left() node.Left
}

// runUntil runs a server until ctx ends, hurries it at the second signal, and says what it leaves.
func runUntil(ctx context.Context, c *cli.Command, s server, farewell string) error {
	w, ended := c.Root().ErrWriter, make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		if hurried(ctx) != nil {
			fmt.Fprintln(w, "stopping: new work is turned away, what is acknowledged is finished (again to stop at once)")
		}
		hurry(ctx, ended, s.Hurry)
	}()
	err := s.Run(ctx)
	close(ended)
	<-told
	if err != nil {
		return err
	}
	if left := s.Left(); left != (node.Left{}) {
		fmt.Fprintf(w, "left for the next start: %s\n", left)
	}
	fmt.Fprintln(w, farewell)
	return nil
}
