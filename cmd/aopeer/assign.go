package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/remote"
)

func assignCommand() *cli.Command {
	return &cli.Command{
		Name: "assign", Usage: "give a process a message that exists already", ArgsUsage: "PROCESS MESSAGE",
		Description: "The message is one of another process, or a transaction of Arweave. Whether the process takes it is for the process to say.",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "base-layer", Usage: "the message is a transaction of Arweave itself, and no item"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "`FIELDS` that the process does not see, with commas between them: Data, Anchor, Signature, Tags; may be repeated"},
			messengerFlag(),
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
		}, buyFlags("name or address of the messenger that does it (default: the market's choice)")...),
		Action: assign,
	}
}

func messengerFlag() cli.Flag {
	return &cli.StringFlag{Name: "mu", Usage: "`URL` of a messenger to ask over HTTP (default: one of the mesh)"}
}

// assigned is what assign prints as JSON.
type assigned struct {
	Assignment string   `json:"assignment"`
	Process    string   `json:"process"`
	Message    string   `json:"message"`
	Slot       *ao.Slot `json:"slot"` // if it is said
	Price      string   `json:"price"`
}

func assign(ctx context.Context, c *cli.Command) error {
	if err := args(c, 2, 2); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	message, err := ao.ParseID(c.Args().Get(1))
	if err != nil {
		return misuse("%q is no message: an ID has 43 letters, digits, - and _", c.Args().Get(1))
	}
	how := ao.AssignOptions{BaseLayer: c.Bool("base-layer"), Exclude: fields(c.StringSlice("exclude"))}
	if err := how.Check(); err != nil {
		return misuse("--exclude: %v", err)
	}
	out := assigned{Process: process.String(), Message: message.String(), Price: "0"}
	err = withMessenger(ctx, c, func(ctx context.Context, w *remote.Web, cl *node.Client) error {
		p := startProgress(c, "waiting for a slot")
		defer p.end()
		if w != nil {
			id, err := w.Assign(ctx, process, message, how)
			out.Assignment = id.String()
			return err
		}
		door, err := cl.Messenger(ctx)
		if err != nil {
			return err
		}
		a, err := door.Assign(ctx, process, message, how)
		if err != nil {
			return err
		}
		slot := a.Nonce()
		out.Assignment, out.Slot = a.ID().String(), &slot
		out.Price = priceOf(door)
		return nil
	})
	if err != nil {
		return err
	}
	return output(c).value(out, func(w io.Writer) {
		if out.Slot != nil {
			fmt.Fprintf(w, "slot %d of %s\n", *out.Slot, out.Process)
			return
		}
		fmt.Fprintf(w, "assignment %s\n", out.Assignment)
	})
}

// fields are the names in a list with commas, without the white space around them.
func fields(lists []string) (out []string) {
	for _, l := range lists {
		for _, f := range strings.Split(l, ",") {
			out = append(out, strings.TrimSpace(f))
		}
	}
	return out
}

// priceOf is what the last answer from behind a door cost, "0" if it was not bought.
func priceOf(door any) string {
	if b := units.BoughtOf(door); b.Price != "" {
		return b.Price
	}
	return "0"
}

// withMessenger asks the messenger of --mu over HTTP, or else joins the mesh to have one chosen there. One of both is nil.
func withMessenger(ctx context.Context, c *cli.Command, do func(context.Context, *remote.Web, *node.Client) error) error {
	url := c.String("mu")
	if url == "" {
		return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error {
			if err := buyOnly(c, cl, market.Messenger); err != nil {
				return err
			}
			return do(ctx, nil, cl)
		})
	}
	w, err := openWeb(c, remote.WebConfig{Messenger: url})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Duration("timeout"))
	defer cancel()
	return do(ctx, w, nil)
}
