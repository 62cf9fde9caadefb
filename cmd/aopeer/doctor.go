package main

import (
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	OK       bool           `json:"ok"`
	Findings []node.Finding `json:"findings"`
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "examine the home, this machine and the peer or devnet that runs in the home", ArgsUsage: " ",
		Description: "Looks at clock, keys, wallet and its runway, disk, gateways, ports, other instances, the mesh, whether others reach\n" +
			"the peer, and a push; says what was found and what to do. Give it the flags that the peer is run with. Exits with 1\n" +
			"if anything fails. The push spawns a process once, kept in doctor.json, and sends it a message each time.",
		Flags: append(peerFlags(), &cli.BoolFlag{Name: "no-push", Usage: "do not push a message"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			e, err := effective(c)
			if err != nil {
				return err
			}
			return diagnose(ctx, c, node.Doctor{Home: home(c), Config: e.Config, Log: logger(c, false), NoPush: c.Bool("no-push")})
		},
	}
}

func diagnose(ctx context.Context, c *cli.Command, d node.Doctor) error {
	p := startProgress(c, "examining")
	out := diagnosis{OK: true, Findings: d.Examine(ctx)}
	p.end()
	for _, f := range out.Findings {
		out.OK = out.OK && f.Level != node.LevelFail
	}
	err := output(c).value(out, func(w io.Writer) {
		for _, f := range out.Findings {
			fmt.Fprintf(w, "%-4s  %-8s  %s\n", f.Level, f.Check, oneLine(plain(f.Found)))
			if f.Do != "" {
				fmt.Fprintf(w, "                %s\n", oneLine(plain(f.Do)))
			}
		}
	})
	if err == nil && !out.OK {
		return errSilent
	}
	return err
}
