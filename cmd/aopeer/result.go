package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
)

func resultCommand() *cli.Command {
	return &cli.Command{
		Name: "result", Usage: "show the result of a slot or message", ArgsUsage: "PROCESS SLOT|MESSAGE",
		Flags: append(buyFlags("name or address of the computer that the result is bought from (default: the market's choice)"),
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 2, 2); err != nil {
				return err
			}
			process, err := processArg(c, 0)
			if err != nil {
				return err
			}
			return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error {
				if err := buyOnly(c, cl, market.Computer); err != nil {
					return err
				}
				return result(ctx, c, cl, process, c.Args().Get(1))
			})
		},
	}
}

func result(ctx context.Context, c *cli.Command, cl *node.Client, process ao.ID, at string) error {
	log, err := cl.Directory.Log(ctx, process)
	if err != nil {
		return err
	}
	slot, err := slotArg(at)
	if err != nil {
		message, perr := ao.ParseID(at)
		if perr != nil {
			return misuse("%q is neither a slot number nor a message ID", at)
		}
		if slot, err = log.Find(ctx, process, message); err != nil {
			return err
		}
	}
	es, err := log.Range(ctx, process, slot, 1)
	if err != nil {
		return err
	}
	if len(es) == 0 {
		return ao.Refuse("log", ao.NotYet, "slot %d of %s", slot, process)
	}
	a := es[0].Assignment
	r := reply{Message: a.Message().String(), Process: process.String(), Slot: slot, Price: "0"}
	p := startProgress(c, "waiting for the result of slot %d", slot)
	defer p.end()
	if err := fill(ctx, cl, p, &r, process); err != nil {
		return err
	}
	r.Finality = cl.Finality(ctx, a)
	return printReply(c, r)
}

func slotArg(s string) (ao.Slot, error) {
	slot, err := ao.ParseSlot(s)
	if err != nil {
		return 0, misuse("%q is no slot: slots are 0, 1, 2, …", s)
	}
	return slot, nil
}
