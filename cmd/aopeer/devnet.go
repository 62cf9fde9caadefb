package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/node"
)

func devnetCommand() *cli.Command {
	return &cli.Command{
		Name: "devnet", Usage: "run a whole network on this machine: Arweave, scheduler, computers, messenger", ArgsUsage: " ",
		Description: "State is kept in --home and survives a restart. devnet.json there says where everything is, once all answer.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port-base", Usage: "port of the gateway; mu, su and cu answer HTTP 2, 3 and 4 above it, peers listen from 10 above it, 0 takes free ports", Value: 4000},
			&cli.IntFlag{Name: "su", Usage: "number of schedulers", Value: 1},
			&cli.IntFlag{Name: "cu", Usage: "number of computers", Value: 2},
			&cli.IntFlag{Name: "mu", Usage: "number of messengers", Value: 1},
			&cli.StringFlag{Name: "prices", Usage: "what each computer asks for a result, cu1 first, such as 1,2,3,5,8; one is for all (default: nothing)"},
			&cli.StringFlag{Name: "latency", Usage: "how much later each computer answers others, cu1 first, such as 5ms,20ms; one is for all. Added at its door, for tests"},
			&cli.Uint64Flag{Name: "seed", Usage: "of every draw on the market, so that choices can be repeated in tests; 0 draws one"},
			&cli.StringFlag{Name: "module", Usage: "wasm `FILE` of a module, of aos for example, to publish as the default"},
			&cli.StringFlag{Name: "archive", Usage: "`URL` of a gateway of another Arweave to settle on, of arlocal for example, in place of the embedded one"},
			&cli.StringFlag{Name: "only", Usage: "serve only this: gateway"},
			&cli.StringFlag{Name: "admin", Usage: "`HOST:PORT` for the metrics, health and profiles of all peers; off by default"},
			&cli.BoolFlag{Name: "admin-public", Usage: "allow --admin to be other than loopback"},
			&cli.BoolFlag{Name: "allow-faults", Usage: "let POST /faults and /reorganise of the gateway spoil it, for tests"},
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
	if c.String("archive") != "" {
		if err := (&arweave.ClientConfig{Gateways: []string{c.String("archive")}}).Validate(); err != nil {
			return misuse("--archive: %v", err)
		}
		if c.IsSet("only") || c.Bool("allow-faults") {
			return misuse("--archive leaves no gateway here to serve or to spoil: leave --only and --allow-faults out")
		}
	}
	if p := c.Int("port-base"); p < 0 || p > 65000 {
		return misuse("--port-base %d is no port", p)
	}
	for _, role := range []string{"su", "cu", "mu"} {
		if n := c.Int(role); n < 1 || n > 64 {
			return misuse("--%s %d: from 1 to 64", role, n)
		}
	}
	prices, err := each(c, "prices", func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 63) }, "a whole number such as 5")
	if err != nil {
		return err
	}
	delays, err := each(c, "latency", time.ParseDuration, "a duration such as 20ms")
	if err != nil {
		return err
	}
	if err := (node.AdminConfig{Listen: c.String("admin"), Public: c.Bool("admin-public")}).Validate(); err != nil {
		return misuse("%v", err)
	}
	h := home(c)
	cfg := node.DevnetConfig{
		PortBase: c.Int("port-base"), Schedulers: c.Int("su"), Computers: c.Int("cu"), Messengers: c.Int("mu"),
		Prices: prices, Delays: delays, Seed: c.Uint64("seed"), Module: c.String("module"), Archive: c.String("archive"), OnlyGate: c.String("only") == "gateway", Log: logger(c, false),
		Admin: c.String("admin"), Public: c.Bool("admin-public"), Faults: c.Bool("allow-faults"),
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
		if !c.IsSet("cu") {
			cfg.Computers = 3
		}
		if !c.IsSet("prices") { // something to choose by, and more than one that are good choices
			for i := range cfg.Computers {
				cfg.Prices = append(cfg.Prices, uint64(i/2+2))
			}
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

// each reads a flag with a value for every computer, or one for all.
func each[T any](c *cli.Command, flag string, read func(string) (T, error), what string) (out []T, err error) {
	text := c.String(flag)
	if text == "" {
		return nil, nil
	}
	for _, s := range strings.Split(text, ",") {
		v, err := read(strings.TrimSpace(s))
		if err != nil || strings.HasPrefix(strings.TrimSpace(s), "-") {
			return nil, misuse("--%s: %q is not %s", flag, s, what)
		}
		out = append(out, v)
	}
	if n := c.Int("cu"); len(out) != 1 && len(out) != n {
		return nil, misuse("--%s has %d values for %d computers: give one for each, or one for all", flag, len(out), n)
	}
	return out, nil
}

// freePorts looks whether units and peers can listen, because one that cannot would only never meet the others.
func freePorts(cfg node.DevnetConfig) error {
	if cfg.PortBase == 0 || cfg.OnlyGate {
		return nil
	}
	ports := []int{cfg.PortBase + node.PortMU, cfg.PortBase + node.PortSU, cfg.PortBase + node.PortCU}
	for i := range cfg.Schedulers + cfg.Computers + cfg.Messengers {
		ports = append(ports, cfg.PortBase+node.PortPeers+i)
	}
	for _, port := range ports {
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
	beside, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(done)
		p := startProgress(c, "waiting for the units to meet")
		defer p.end()
		select {
		case <-beside.Done():
			return
		case <-d.Ready():
		}
		p.end()
		f, w := d.File(), c.Root().ErrWriter
		fmt.Fprintf(w, "gateway    %s\nmodule     %s\n", f.Gateway, f.Module)
		if f.MU != "" {
			fmt.Fprintf(w, "mu         %s\nsu         %s\ncu         %s\n", f.MU, f.SU, f.CU)
		}
		for _, p := range f.Peers {
			fmt.Fprintf(w, "%-9s  %s  %s\n", p.Name, p.Address, p.ID)
		}
		if at := d.Admin(); at != "" {
			fmt.Fprintf(w, "metrics    http://%s/metrics\n", at)
		}
		fmt.Fprintf(w, "%s\n", readyLine(h, len(f.Peers)))
	}()
	err := runUntil(ctx, c, d, fmt.Sprintf("stopped; the state is kept in %s", h))
	stop()
	<-done
	return err
}

// readyLine is what to do next.
func readyLine(h node.Home, peers int) string {
	if peers == 0 {
		return fmt.Sprintf("ready; in another terminal: aopeer init --home PEER --role su --network %s/network.item", h)
	}
	return fmt.Sprintf("ready; in another terminal: aopeer spawn --home %s", h)
}
