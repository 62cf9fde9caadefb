package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
)

func spawnCommand() *cli.Command {
	return &cli.Command{
		Name: "spawn", Usage: "start a process", ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "module", Usage: "ID of the module that computes it (default: the network's)"},
			&cli.StringFlag{Name: "scheduler", Usage: "address of the unit that schedules it (default: the network's)"},
			&cli.StringSliceFlag{Name: "authority", Usage: "address of a messenger whose pushes it trusts (default: the network's)"},
			&cli.StringFlag{Name: "name", Usage: "the Name tag"},
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "a tag as `NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "file", Usage: "Lua to evaluate when the process starts, - for standard input"},
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
		},
		Action: spawn,
	}
}

// spawned is what spawn prints as JSON.
type spawned struct {
	Process   string  `json:"process"`
	Slot      ao.Slot `json:"slot"`
	Module    string  `json:"module"`
	Scheduler string  `json:"scheduler"`
	Finality  string  `json:"finality"`
}

func spawn(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	tags, err := parseTags(c.StringSlice("tag"))
	if err != nil {
		return err
	}
	data, err := dataArg(c, 0)
	if err != nil {
		return err
	}
	return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
		m, err := newProcess(c, cl, tags, data)
		if err != nil {
			return err
		}
		door, err := cl.Messenger(ctx)
		if err != nil {
			return err
		}
		p := startProgress(c, "waiting for the scheduler")
		defer p.end()
		a, err := push(ctx, door, m)
		if err != nil {
			return err
		}
		s := spawned{
			Process: m.ID().String(), Slot: a.Nonce(), Module: m.Tags().Get("Module"), Scheduler: m.Tags().Get("Scheduler"),
			Finality: "acked",
		}
		return output(c).value(s, func(w io.Writer) { fmt.Fprintln(w, s.Process) })
	})
}

// newProcess signs the process that the flags describe.
func newProcess(c *cli.Command, cl *node.Client, tags ao.Tags, data []byte) (ao.Message, error) {
	def := cl.Defaults()
	pick := func(flag, def string) string {
		if v := c.String(flag); v != "" {
			return v
		}
		return def
	}
	name := pick("module", def.Module)
	if name == "" {
		return ao.Message{}, misuse("the network names no default module: give --module ID")
	}
	module, err := ao.ParseID(name)
	if err != nil {
		return ao.Message{}, misuse("--module %q is no ID", name)
	}
	scheduler := pick("scheduler", def.Scheduler)
	if scheduler == "" {
		return ao.Message{}, misuse("no scheduler is known: give --scheduler ADDRESS")
	}
	if v := c.String("name"); v != "" {
		tags = append(tags, ao.Tag{Name: "Name", Value: v})
	}
	if len(data) > 0 {
		tags = append(tags, ao.Tag{Name: "On-Boot", Value: "Data"})
	}
	authorities := c.StringSlice("authority")
	if len(authorities) == 0 && def.Authority != "" {
		authorities = []string{def.Authority}
	}
	for _, a := range authorities {
		tags = append(tags, ao.Tag{Name: "Authority", Value: a})
	}
	return ao.SignProcess(cl.Signer, module, scheduler, tags, data, newAnchor())
}
