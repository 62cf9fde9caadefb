package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units/remote"
)

func dryRunCommand() *cli.Command {
	return &cli.Command{
		Name: "dry-run", Usage: "evaluate a message on a copy of the state; nothing is signed or kept", ArgsUsage: "PROCESS [DATA]",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "a tag as `NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "action", Usage: "the Action tag"},
			&cli.StringFlag{Name: "owner", Usage: "address to ask as (default: yours)"},
			&cli.StringFlag{Name: "file", Usage: "take the data from a file, - for standard input"},
			&cli.StringFlag{Name: "cu", Usage: "`URL` of a computer to ask over HTTP (default: one of the mesh)"},
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
		},
		Action: dryRun,
	}
}

// dryRunReply is what dry-run prints as JSON.
type dryRunReply struct {
	Process string          `json:"process"`
	Output  json.RawMessage `json:"output"`
	Error   json.RawMessage `json:"error"`
	Outbox  int             `json:"outbox"`
}

func dryRun(ctx context.Context, c *cli.Command) error {
	if err := args(c, 1, 2); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	tags, err := parseTags("tag", c.StringSlice("tag"))
	if err != nil {
		return err
	}
	data, err := dataArg(c, 1)
	if err != nil {
		return err
	}
	if a := c.String("action"); a != "" {
		tags = append(tags, ao.Tag{Name: "Action", Value: a})
	}
	q := ao.Query{Owner: c.String("owner"), Data: data, Tags: tags}
	if url := c.String("cu"); url != "" {
		return dryRunOverHTTP(ctx, c, url, process, q)
	}
	return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
		if q.Owner == "" {
			q.Owner = cl.Address
		}
		return dryRunBy(ctx, c, process, func() (r ao.Result, err error) {
			door, err := cl.Directory.Computer(ctx, process)
			if err == nil {
				r, err = door.DryRun(ctx, process, q)
			}
			return r, err
		})
	})
}

func dryRunOverHTTP(ctx context.Context, c *cli.Command, url string, process ao.ID, q ao.Query) error {
	w, err := openWeb(c, remote.WebConfig{Computer: url})
	if err != nil {
		return err
	}
	if q.Owner == "" {
		if _, q.Owner, err = home(c).Signer(""); err != nil {
			return fmt.Errorf("%w; or give --owner ADDRESS", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Duration("timeout"))
	defer cancel()
	return dryRunBy(ctx, c, process, func() (ao.Result, error) { return w.DryRun(ctx, process, q) })
}

// dryRunBy asks until there is an answer, and prints it.
func dryRunBy(ctx context.Context, c *cli.Command, process ao.ID, ask func() (ao.Result, error)) error {
	p := startProgress(c, "waiting for the dry-run")
	defer p.end()
	var r ao.Result
	if err := retry(ctx, p, func() (err error) { r, err = ask(); return err }); err != nil {
		return err
	}
	return printReplyTo(c, dryRunReply{Process: process.String(), Output: r.Output, Error: r.Error, Outbox: r.Outbox()})
}

func printReplyTo(c *cli.Command, r dryRunReply) error {
	err := output(c).value(r, func(w io.Writer) {
		if r.Error != nil {
			fmt.Fprintf(w, "Error: %s\n", errorText(r.Error))
			return
		}
		fmt.Fprintln(w, outputText(r.Output))
	})
	if err == nil && r.Error != nil {
		return errSilent
	}
	return err
}
