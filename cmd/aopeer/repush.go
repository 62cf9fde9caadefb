package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/arweave/ans104"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/units"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/mu"
	"github.com/aopeer/aopeer/units/remote"
)

func repushCommand() *cli.Command {
	return &cli.Command{
		Name: "repush", Usage: "push the outbox of a slot once more, from Arweave alone", ArgsUsage: "PROCESS SLOT",
		Description: "Replays the settled log, signs the outbox with the home's key and pushes it. What has arrived before is\n" +
			"taken for the copy that it is. A target that does not trust the key is named.",
		Flags: []cli.Flag{&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 5 * time.Minute}},
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 2, 2); err != nil {
				return err
			}
			process, err := processArg(c, 0)
			if err != nil {
				return err
			}
			slot, err := slotArg(c.Args().Get(1))
			if err != nil {
				return err
			}
			return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
				return repush(ctx, c, cl, process, slot)
			})
		},
	}
}

// archiveFirst is a directory that reads logs from Arweave and computes by itself.
type archiveFirst struct {
	units.Directory
	log      units.Log
	computer units.Computer
	only     ao.ID // the process that is replayed; targets are asked for as usual
}

func (d *archiveFirst) Log(ctx context.Context, process ao.ID) (units.Log, error) {
	if process == d.only {
		return d.log, nil
	}
	return d.Directory.Log(ctx, process)
}

func (d *archiveFirst) Computer(ctx context.Context, process ao.ID) (units.Computer, error) {
	if process == d.only {
		return d.computer, nil
	}
	return d.Directory.Computer(ctx, process)
}

// readArchive cannot settle: a guest has no queue that outlives the command.
type readArchive struct{ arweave.Archive }

func (readArchive) Put(context.Context, ...*ans104.Item) error {
	return ao.Refuse("settle", ao.Unsupported, "the target is no process, and only a messenger settles mail")
}

// repushed is what repush prints as JSON, after one line for each hop.
type repushed struct {
	Process string      `json:"process"`
	Slot    ao.Slot     `json:"slot"`
	Signer  string      `json:"signer"`
	Hops    []units.Hop `json:"hops"`
}

func repush(ctx context.Context, c *cli.Command, cl *node.Client, process ao.ID, slot ao.Slot) error {
	machine, done, err := newMachine(c, c.String("home"))
	if err != nil {
		return err
	}
	defer done()
	dir := &archiveFirst{Directory: cl.Directory, log: remote.NewArchiveLog(cl.Archive, cl.Directory), only: process}
	computer, err := cu.New(cu.Config{
		Store: cl.Store, Signer: cl.Guest, Network: cl.Network.ID, Machine: machine, Directory: dir, Log: logger(c, false),
	})
	if err != nil {
		return err
	}
	dir.computer = computer
	messenger, err := mu.New(mu.Config{
		Store: cl.Store, Signer: cl.Signer, Network: cl.Network.ID, Peer: cl.P2P.ID().String(), Directory: dir,
		Archive: readArchive{cl.Archive}, Log: logger(c, false),
	})
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(ctx)
	ended := make(chan struct{}, 2)
	go func() { _ = computer.Run(life); ended <- struct{}{} }()
	go func() { _ = messenger.Run(life); ended <- struct{}{} }()
	defer func() { stop(); <-ended; <-ended }()

	p := startProgress(c, "replaying %s from Arweave", short(process.String()))
	defer p.end()
	root, err := messenger.Repush(ctx, process, slot)
	if err != nil {
		return err
	}
	out := repushed{Process: process.String(), Slot: slot, Signer: messenger.Address()}
	if err := messenger.Hops(ctx, root, func(h units.Hop) error {
		out.Hops = append(out.Hops, h)
		return printHop(c, h)
	}); err != nil {
		return err
	}
	return output(c).value(out, func(w io.Writer) {
		fmt.Fprintf(w, "pushed the outbox of slot %d again, signed by %s\n", slot, out.Signer)
	})
}
