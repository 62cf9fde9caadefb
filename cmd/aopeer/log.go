package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
)

func logCommand() *cli.Command {
	return &cli.Command{
		Name: "log", Usage: "list the slots of a process", ArgsUsage: "PROCESS",
		Flags: []cli.Flag{
			&cli.Uint64Flag{Name: "from", Usage: "first slot"},
			&cli.IntFlag{Name: "limit", Usage: "most slots to list", Value: 100},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on as slots are taken"},
		},
		Action: logAction,
	}
}

// logLine is what log prints as JSON, one line for each slot.
type logLine struct {
	Slot       ao.Slot  `json:"slot"`
	Assignment string   `json:"assignment"`
	Message    string   `json:"message"`
	From       string   `json:"from"`
	Owner      string   `json:"owner"`
	Timestamp  int64    `json:"timestamp"`
	Height     uint64   `json:"height"`
	Tags       []ao.Tag `json:"tags"`
	DataLength int      `json:"dataLength"`
}

func logAction(ctx context.Context, c *cli.Command) error {
	if err := args(c, 1, 1); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	if c.Int("limit") < 1 {
		return misuse("--limit must be at least 1")
	}
	return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
		log, err := cl.Directory.Log(ctx, process)
		if err != nil {
			return err
		}
		from := ao.Slot(c.Uint64("from"))
		if c.Bool("follow") {
			err := log.Follow(ctx, process, from, func(e ao.Entry) error { return printEntry(c, e) })
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		for left := c.Int("limit"); left > 0; {
			es, err := log.Range(ctx, process, from, left)
			if err != nil || len(es) == 0 {
				return err
			}
			for _, e := range es {
				if err := printEntry(c, e); err != nil {
					return err
				}
			}
			from, left = from+ao.Slot(len(es)), left-len(es)
		}
		return nil
	})
}

func printEntry(c *cli.Command, e ao.Entry) error {
	f, m := e.Assignment.Fields(), e.Message
	l := logLine{
		Slot: f.Nonce, Assignment: e.Assignment.ID().String(), Message: m.ID().String(), From: m.From(), Owner: m.Owner(),
		Timestamp: f.Timestamp, Height: f.BlockHeight, Tags: m.Tags(), DataLength: len(m.Data()),
	}
	return output(c).value(l, func(w io.Writer) {
		what := m.Tags().Get("Action")
		if m.IsSpawn() {
			what = "(spawn)"
		}
		head, _, _ := strings.Cut(strings.TrimSpace(string(m.Data()[:min(60, len(m.Data()))])), "\n")
		fmt.Fprintf(w, "%5d  %s  %s  from %s  %-12s %s\n", l.Slot, time.UnixMilli(l.Timestamp).UTC().Format(time.RFC3339),
			short(l.Message), short(l.From), plain(what), plain(head))
	})
}
