package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/p2p"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

func keysCommand() *cli.Command {
	return &cli.Command{
		Name: "keys", Usage: "show the addresses of the home's keys", ArgsUsage: " ",
		Action: func(_ context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			k, err := home(c).Keys()
			if err != nil {
				return err
			}
			return output(c).value(k, func(w io.Writer) {
				if k.Unit != "" {
					fmt.Fprintf(w, "unit    %s\npeer    %s\n", k.Unit, k.Peer)
				}
				if k.Wallet != "" {
					fmt.Fprintf(w, "wallet  %s\n", k.Wallet)
				}
			})
		},
	}
}

func peersCommand() *cli.Command {
	return &cli.Command{
		Name: "peers", Usage: "list the units of the mesh", ArgsUsage: " ",
		Flags: []cli.Flag{&cli.StringFlag{Name: "role", Usage: "su, cu or mu"}},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			switch c.String("role") {
			case "", remote.RoleScheduler, remote.RoleComputer, remote.RoleMessenger:
			default:
				return misuse("--role %q is none of su, cu, mu", c.String("role"))
			}
			return withClient(ctx, c, func(_ context.Context, cl *node.Client) error {
				us := append([]remote.Unit{}, cl.Mesh.Roster.With(c.String("role"))...)
				slices.SortFunc(us, func(a, b remote.Unit) int {
					return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
				})
				return output(c).value(us, func(w io.Writer) {
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "NAME\tROLES\tADDRESS\tPEER")
					for _, u := range us {
						fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", plain(u.Name), plain(strings.Join(u.Roles, ",")), u.Address, u.Peer)
					}
					_ = t.Flush() // what cannot be printed cannot be reported either
				})
			})
		},
	}
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "ask running peers how they are, or computers where a process stands", ArgsUsage: "[PROCESS]",
		Description: "Asks the peer of --home or, if that is a devnet, every peer of it. With PROCESS it asks every computer\n" +
			"of the mesh for its last slot and the digest of the state after it; the computer catches up first.",
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 1); err != nil {
				return err
			}
			if c.Args().Present() {
				return states(ctx, c)
			}
			return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
				all, err := statuses(ctx, c, cl)
				if err != nil {
					return err
				}
				var bad error
				err = output(c).value(all, func(w io.Writer) {
					for _, s := range all {
						bad = errors.Join(bad, printStatus(w, s))
					}
				})
				return errors.Join(err, bad)
			})
		},
	}
}

// statuses asks the home's own peer, or all units that a devnet has.
func statuses(ctx context.Context, c *cli.Command, cl *node.Client) ([]json.RawMessage, error) {
	var ids []string
	if p, err := home(c).LoadPeer(); err == nil {
		ids = append(ids, p.ID)
	}
	if cl.Devnet != nil {
		for _, p := range cl.Devnet.Peers {
			ids = append(ids, p.ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("no peer runs in %s: start it with `aopeer run --home %s`", home(c), home(c))
	}
	var out []json.RawMessage
	for _, s := range ids {
		id, err := peer.Decode(s)
		if err != nil {
			return nil, fmt.Errorf("peer ID %q: %w", s, err)
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		raw, err := remote.Status(ctx, cl.P2P, id)
		cancel()
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// stateOf is what status prints for each computer, as JSON in a list.
type stateOf struct {
	Unit        string  `json:"unit"`
	Name        string  `json:"name"`
	Slot        ao.Slot `json:"slot"`
	StateDigest string  `json:"stateDigest"`
	Memory      uint64  `json:"memory"`
}

// states asks every computer of the mesh where a process stands.
func states(ctx context.Context, c *cli.Command) error {
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
		p := startProgress(c, "waiting for the computers to catch up")
		defer p.end()
		all := []stateOf{}
		for _, u := range cl.Mesh.Roster.With(remote.RoleComputer) {
			s, err := remote.Computer(cl.P2P, cl.Network.ID, u.Peer).State(ctx, process)
			if err != nil {
				return fmt.Errorf("%s: %w", plain(u.Name), err)
			}
			all = append(all, stateOf{
				Unit: u.Address, Name: u.Name, Slot: s.Slot, StateDigest: hex.EncodeToString(s.Root[:]), Memory: s.Memory,
			})
		}
		return output(c).value(all, func(w io.Writer) {
			for _, s := range all {
				fmt.Fprintf(w, "%s  %s  slot %d  state %s\n", plain(s.Name), s.Unit, s.Slot, s.StateDigest)
			}
		})
	})
}

// versions is what version prints as JSON.
type versions struct {
	Version string   `json:"version"`
	Go      string   `json:"go"`
	Engine  string   `json:"engine"`
	Wire    string   `json:"wire"`
	Formats []string `json:"formats"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "show versions and the module formats that this build runs", ArgsUsage: " ",
		Action: func(_ context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			v := versions{
				Version: "devel", Go: runtime.Version(), Engine: "wasmtime " + wasmvm.EngineVersion, Wire: p2p.WireVersion,
				Formats: wasmvm.Formats(),
			}
			if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
				v.Version = b.Main.Version
			}
			return output(c).value(v, func(w io.Writer) {
				fmt.Fprintf(w, "aopeer %s (%s, %s, wire %s)\nruns %s\n", v.Version, v.Go, v.Engine, v.Wire, strings.Join(v.Formats, ", "))
			})
		},
	}
}
