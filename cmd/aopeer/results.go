package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
)

func resultsCommand() *cli.Command {
	return &cli.Command{
		Name: "results", Usage: "list the results of a process, the newest last", ArgsUsage: "PROCESS",
		Description: "The cursor of a result, which --json shows, is a slot across the mesh; over HTTP it is the computer's own word.",
		Flags: append([]cli.Flag{
			computerFlag(),
			&cli.StringFlag{Name: "from", Usage: "`CURSOR` of the result behind which to begin (default: the newest are listed)"},
			&cli.IntFlag{Name: "limit", Usage: "most results to list", Value: 25},
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes"},
		}, buyFlags("name or address of the computer that results are bought from (default: the market's choice)")...),
		Action: results,
	}
}

// maxResults is the most results that are asked for at once.
const maxResults = 1000

func results(ctx context.Context, c *cli.Command) error {
	if err := args(c, 1, 1); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	limit := c.Int("limit")
	if limit < 1 || limit > maxResults {
		return misuse("--limit must be from 1 to %d", maxResults)
	}
	t, err := openTalk(ctx, c, process, false)
	if err != nil {
		return err
	}
	defer t.close()
	cursor := c.String("from")
	var hs []heard
	if cursor == "" {
		hs, err = t.last(ctx, limit)
	} else {
		hs, err = t.after(ctx, cursor, limit)
	}
	for pause := listenEvery; ; {
		for _, h := range hs {
			cursor = h.Cursor
			if err := output(c).value(h, h.list); err != nil {
				return err
			}
		}
		if !c.Bool("follow") || err != nil && !passes(err) {
			return err
		}
		if pause = min(2*pause, listenMost); err == nil {
			pause = listenEvery
		}
		if len(hs) == limit {
			pause = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if hs, err = t.after(ctx, cursor, limit); errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
	}
}

// list writes a result as a line, and what its output has more below it.
func (h heard) list(w io.Writer) {
	slot := "–"
	if h.Slot != nil {
		slot = h.Slot.String()
	}
	var b strings.Builder
	h.print(&b)
	text := strings.ReplaceAll(strings.TrimSuffix(b.String(), "\n"), "\n", "\n       ")
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%5s  %-8s  outbox %d  %s", slot, short(h.Message), h.Outbox, text), " "))
}
