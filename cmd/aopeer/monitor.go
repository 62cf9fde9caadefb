package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units/remote"
)

func monitorCommand() *cli.Command {
	return &cli.Command{
		Name: "monitor", Usage: "have pushed what a process does by its own clock", ArgsUsage: "PROCESS",
		Description: "The process was spawned with Cron-Interval tags (`aopeer spawn --cron 10-seconds`). Without somebody who monitors it, it wakes\n" +
			"all the same whenever it is evaluated, and what it wants to send then goes nowhere.",
		Flags: monitorFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			return monitor(ctx, c, true)
		},
	}
}

func unmonitorCommand() *cli.Command {
	return &cli.Command{
		Name: "unmonitor", Usage: "end what monitor began", ArgsUsage: "PROCESS",
		Description: "It ends when everybody has asked for it who had asked for its beginning, or when the process's owner does.",
		Flags:       monitorFlags(),
		Action: func(ctx context.Context, c *cli.Command) error {
			return monitor(ctx, c, false)
		},
	}
}

func monitorFlags() []cli.Flag {
	return append([]cli.Flag{
		messengerFlag(), signFlag(),
		&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
	}, buyFlags("name or address of the messenger that does it (default: the market's choice)")...)
}

// monitored is what monitor and unmonitor print as JSON.
type monitored struct {
	Process   string `json:"process"`
	Monitored bool   `json:"monitored"`
	By        string `json:"by"` // who asked
	Price     string `json:"price"`
}

func monitor(ctx context.Context, c *cli.Command, on bool) error {
	if err := args(c, 1, 1); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	out := monitored{Process: process.String(), Monitored: on, Price: "0"}
	err = withMessenger(ctx, c, func(ctx context.Context, w *remote.Web, cl *node.Client) error {
		signer, address, err := home(c).Signer(c.String("wallet"))
		if err != nil {
			return err
		}
		r, err := ao.SignRequest(signer, process)
		if err != nil {
			return err
		}
		out.By = address
		var door interface {
			Monitor(context.Context, ao.Request) error
			Unmonitor(context.Context, ao.Request) error
		} = w
		if w == nil {
			if door, err = cl.Messenger(ctx); err != nil {
				return err
			}
		}
		p := startProgress(c, "waiting for the messenger")
		defer p.end()
		do := door.Unmonitor
		if on {
			do = door.Monitor
		}
		if err := do(ctx, r); err != nil {
			return err
		}
		out.Price = priceOf(door)
		return nil
	})
	if err != nil {
		return err
	}
	return output(c).value(out, func(w io.Writer) {
		if on {
			fmt.Fprintf(w, "what %s does by its own clock is pushed from now on\n", out.Process)
			return
		}
		fmt.Fprintf(w, "what %s does by its own clock is pushed no longer, unless others asked for it too\n", out.Process)
	})
}
