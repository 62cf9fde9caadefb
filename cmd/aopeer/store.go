package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/store"
)

func storeCommand() *cli.Command {
	return &cli.Command{
		Name: "store", Usage: "measure, compact and check what a stopped peer keeps on disk",
		Description: "The commands work on the store of --home or, if that is a devnet, on the stores of all its peers.\n" +
			"A peer that runs has its store locked: stop it first.",
		Commands: []*cli.Command{
			{
				Name: "du", Usage: "say what takes how much room", ArgsUsage: " ",
				Action: func(_ context.Context, c *cli.Command) error { return eachStore(c, measure) },
			},
			{
				Name: "gc", Usage: "give back the room of what was deleted or replaced", ArgsUsage: " ",
				Action: func(ctx context.Context, c *cli.Command) error {
					return eachStore(c, func(c *cli.Command, dir string) (any, func(io.Writer), error) { return compact(ctx, c, dir) })
				},
			},
			{
				Name: "check", Usage: "read every block and file and say what is damaged", ArgsUsage: " ",
				Description: "Changes nothing. Exits with 1 if anything is damaged.",
				Action:      checkStores,
			},
		},
	}
}

// storeWork looks at one store; the function it returns prints it for a person.
type storeWork func(c *cli.Command, dir string) (any, func(io.Writer), error)

// eachStore does the same to every store of the home and prints a line of JSON, or a paragraph, for each.
func eachStore(c *cli.Command, work storeWork) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	stores, err := home(c).Stores()
	if err != nil {
		return err
	}
	for _, dir := range stores {
		v, human, err := work(c, dir)
		if err != nil {
			return explainStore(dir, err)
		}
		if err := output(c).value(v, human); err != nil {
			return err
		}
	}
	return nil
}

// explainStore says what to do about a store that cannot be opened.
func explainStore(dir string, err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w: see `aopeer store check`; a damaged store is put back from a copy that is not older than its last use", err)
	}
	return err
}

// storeUsage is what du prints as JSON.
type storeUsage struct {
	Store string `json:"store"`
	store.Usage
}

func measure(_ *cli.Command, dir string) (v any, human func(io.Writer), err error) {
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	u, err := s.Usage()
	if err != nil {
		return nil, nil, err
	}
	return storeUsage{dir, u}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s on disk, of it %s files and %s journal\n", dir, size(u.Disk), size(u.Files), size(u.Journal))
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, p := range u.Parts {
			fmt.Fprintf(t, "  %s\t%s\t%d\t%s\n", p.Kind, plain(p.Name), p.Count, size(p.Bytes))
		}
		_ = t.Flush() // what cannot be printed cannot be reported either
	}, nil
}

// compaction is what gc prints as JSON.
type compaction struct {
	Store  string `json:"store"`
	Before uint64 `json:"before"`
	After  uint64 `json:"after"`
}

func compact(ctx context.Context, c *cli.Command, dir string) (v any, human func(io.Writer), err error) {
	p := startProgress(c, "compacting %s", dir)
	defer p.end()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	before, err := s.Usage()
	if err != nil {
		return nil, nil, err
	}
	if err := s.Compact(ctx); err != nil {
		return nil, nil, err
	}
	after, err := s.Usage()
	if err != nil {
		return nil, nil, err
	}
	return compaction{dir, before.Disk, after.Disk}, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s on disk, was %s\n", dir, size(after.Disk), size(before.Disk))
	}, nil
}

// storeReport is what check prints as JSON.
type storeReport struct {
	Store string `json:"store"`
	store.Report
}

func checkStores(_ context.Context, c *cli.Command) error {
	whole := true
	err := eachStore(c, func(c *cli.Command, dir string) (any, func(io.Writer), error) {
		p := startProgress(c, "checking %s", dir)
		defer p.end()
		r, err := store.Check(dir, store.Options{})
		if err != nil {
			return nil, nil, err
		}
		whole = whole && len(r.Damage) == 0
		if r.Damage == nil {
			r.Damage = []store.Damage{}
		}
		return storeReport{dir, r}, func(w io.Writer) { printCheck(w, dir, r) }, nil
	})
	if err == nil && !whole {
		return errSilent
	}
	return err
}

func printCheck(w io.Writer, dir string, r store.Report) {
	verdict := "whole"
	if len(r.Damage) > 0 {
		verdict = "DAMAGED"
	}
	fmt.Fprintf(w, "%s: %s (%d entries, %d logs, %d tables, %d files)\n", dir, verdict, r.Entries, r.Logs, r.Tables, r.Files)
	for _, d := range r.Damage {
		fmt.Fprintf(w, "  %s: %s\n", plain(d.Where), plain(d.Why))
	}
	if !r.Sealed && len(r.Damage) == 0 {
		fmt.Fprintln(w, "  the peer did not end in order: the very last write before a crash cannot be told from one cut off by it")
	}
}

// size is a number of bytes for a person.
func size(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
