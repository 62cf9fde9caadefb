package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

func devnetCommand() *cli.Command {
	return &cli.Command{
		Name: "devnet", Usage: "run a whole network on this machine: Arweave, scheduler, computers, messenger", ArgsUsage: " ",
		Description: "State is kept in --home and survives a restart. devnet.json there says where everything is, once all answer.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port-base", Usage: "port of the gateway; peers listen from 10 above it, 0 takes free ports", Value: 4000},
			&cli.IntFlag{Name: "su", Usage: "number of schedulers", Value: 1},
			&cli.IntFlag{Name: "cu", Usage: "number of computers", Value: 2},
			&cli.IntFlag{Name: "mu", Usage: "number of messengers", Value: 1},
			&cli.StringFlag{Name: "module", Usage: "wasm `FILE` of an aos module to publish as the default"},
			&cli.StringFlag{Name: "only", Usage: "serve only this: gateway"},
			&cli.BoolFlag{Name: "demo", Usage: "run a demonstration against itself and exit"},
		},
		Action: devnetAction,
	}
}

func devnetAction(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	if only := c.String("only"); only != "" && only != "gateway" {
		return misuse("--only %q: it can only be gateway", only)
	}
	if p := c.Int("port-base"); p < 0 || p > 65000 {
		return misuse("--port-base %d is no port", p)
	}
	for _, role := range []string{"su", "cu", "mu"} {
		if n := c.Int(role); n < 1 || n > 64 {
			return misuse("--%s %d: from 1 to 64", role, n)
		}
	}
	h := home(c)
	cfg := node.DevnetConfig{
		PortBase: c.Int("port-base"), Schedulers: c.Int("su"), Computers: c.Int("cu"), Messengers: c.Int("mu"),
		Module: c.String("module"), OnlyGate: c.String("only") == "gateway", Log: logger(c, false),
		Progress: func(format string, args ...any) { fmt.Fprintf(c.Root().ErrWriter, "… "+format+"\n", args...) },
	}
	if c.Bool("demo") {
		if cfg.OnlyGate {
			return misuse("--demo needs the units: leave --only out")
		}
		if !c.IsSet("home") { // the demonstration leaves nothing behind
			dir, err := os.MkdirTemp("", "aopeer-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			h = node.Home(dir)
		}
		if !c.IsSet("port-base") {
			cfg.PortBase = 0
		}
	}
	if err := freePorts(cfg); err != nil {
		return err
	}
	d, err := node.NewDevnet(h, cfg)
	if err != nil {
		return err
	}
	if !c.Bool("demo") {
		return serveDevnet(ctx, c, h, d)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- d.Run(ctx) }()
	select {
	case err := <-ran:
		return errors.Join(errors.New("the devnet ended before the demonstration"), err)
	case <-d.Ready():
	}
	err = demo(ctx, c, h, d)
	stop()
	return errors.Join(err, <-ran)
}

// freePorts looks whether the peers can listen, because one that cannot would only never meet the others.
func freePorts(cfg node.DevnetConfig) error {
	if cfg.PortBase == 0 || cfg.OnlyGate {
		return nil
	}
	for i := range cfg.Schedulers + cfg.Computers + cfg.Messengers {
		port := cfg.PortBase + 10 + i
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("port %d of a peer is taken: choose another --port-base", port)
		}
		l.Close()
	}
	return nil
}

// serveDevnet runs until interrupted and says where everything is.
func serveDevnet(ctx context.Context, c *cli.Command, h node.Home, d *node.Devnet) error {
	done := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(done)
		p := startProgress(c, "waiting for the units to meet")
		defer p.end()
		select {
		case <-ctx.Done():
			return
		case <-d.Ready():
		}
		p.end()
		f, w := d.File(), c.Root().ErrWriter
		fmt.Fprintf(w, "gateway    %s\nmodule     %s\n", f.Gateway, f.Module)
		for _, p := range f.Peers {
			fmt.Fprintf(w, "%-9s  %s  %s\n", p.Name, p.Address, p.ID)
		}
		fmt.Fprintf(w, "%s\n", readyLine(h, len(f.Peers)))
	}()
	err := d.Run(ctx)
	stop()
	<-done
	if err == nil {
		fmt.Fprintln(c.Root().ErrWriter, "stopped; the state is kept in", h)
	}
	return err
}

// readyLine is what to do next.
func readyLine(h node.Home, peers int) string {
	if peers == 0 {
		return fmt.Sprintf("ready; in another terminal: aopeer init --home PEER --role su --network %s/network.item", h)
	}
	return fmt.Sprintf("ready; in another terminal: aopeer spawn --home %s", h)
}
