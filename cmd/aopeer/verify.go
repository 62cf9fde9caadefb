package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/internal/store"
	"github.com/aopeer/aopeer/units/cu"
	"github.com/aopeer/aopeer/units/remote"
	"github.com/aopeer/aopeer/wasmvm"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "replay a process from Arweave alone and compare with settled claims", ArgsUsage: "PROCESS",
		Description: "With --archive nothing but that gateway is asked. Exits with 1 if the log is not sound, or if --unit's\n" +
			"claims disagree with the replay.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "archive", Usage: "URL of an Arweave gateway (default: the home's network's)"},
			&cli.StringSliceFlag{Name: "unit", Usage: "address whose disagreement is a failure; may be repeated"},
			&cli.DurationFlag{Name: "wait", Usage: "how long to wait for what a running network has not settled yet", Value: time.Minute},
		},
		Action: verify,
	}
}

func verify(ctx context.Context, c *cli.Command) error {
	if err := args(c, 1, 1); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	v := cu.VerifyConfig{Process: process, Units: c.StringSlice("unit")}
	gateways := []string{c.String("archive")}
	var head ao.Slot
	if network, err := home(c).Network(); err == nil {
		v.Network = network.ID
		if c.String("archive") == "" {
			gateways = network.Gateways
		}
	} else if c.String("archive") == "" {
		return misuse("%s has joined no network: give --archive URL", home(c))
	}
	if c.String("archive") == "" {
		head, err = liveHead(ctx, c, &v)
		if err != nil {
			fmt.Fprintf(c.Root().ErrWriter, "aopeer: no live head, verifying what is settled: %v\n", err)
		}
	}
	r, err := verifyArchive(ctx, c, c.String("home"), gateways, v, head)
	if err != nil {
		return err
	}
	return printReport(c, r)
}

// liveHead is the first free slot as the process's scheduler knows it; the computers of the home become units whose
// disagreement counts.
func liveHead(ctx context.Context, c *cli.Command, v *cu.VerifyConfig) (head ao.Slot, err error) {
	err = withClient(ctx, c, func(ctx context.Context, cl *node.Client) error {
		if k, err := home(c).Keys(); err == nil && k.Unit != "" {
			v.Units = append(v.Units, k.Unit)
		}
		if cl.Devnet != nil {
			for _, p := range cl.Devnet.Peers {
				if p.Role == remote.RoleComputer {
					v.Units = append(v.Units, p.Address)
				}
			}
		}
		log, err := cl.Directory.Log(ctx, v.Process)
		if err != nil {
			return err
		}
		head, err = log.Next(ctx, v.Process)
		return err
	})
	return head, err
}

// newMachine is a machine for one command. It shares the compiled code of a home, which is named by the digest of the
// module and checked; without a home it compiles anew.
func newMachine(c *cli.Command, home string) (wasmvm.Machine, func(), error) {
	cache, remove := filepath.Join(home, "cache"), func() {}
	if _, err := os.Stat(home); err != nil {
		if cache, err = os.MkdirTemp("", "aopeer-"); err != nil {
			return nil, nil, err
		}
		remove = func() { _ = os.RemoveAll(cache) } // a leftover is the system's to clean
	}
	m, err := wasmvm.NewHost(wasmvm.Config{CacheDir: cache, Log: logger(c, false)})
	if err != nil {
		remove()
		return nil, nil, err
	}
	return m, func() {
		_ = m.Close() // nothing of it is kept
		remove()
	}, nil
}

// verifyArchive replays from nothing: an empty store and one gateway. If head is known it
// waits until so many slots and their claims are settled, or --wait is over. From home comes compiled code, nothing else.
func verifyArchive(
	ctx context.Context, c *cli.Command, home string, gateways []string, v cu.VerifyConfig, head ao.Slot,
) (cu.Report, error) {
	reader, err := arweave.NewClient(arweave.ClientConfig{Gateways: gateways})
	if err != nil {
		return cu.Report{}, misuse("--archive: %v", err)
	}
	machine, done, err := newMachine(c, home)
	if err != nil {
		return cu.Report{}, err
	}
	defer done()
	st := store.NewMemory()
	defer func() { _ = st.Close() }() // likewise
	p := startProgress(c, "reading and replaying the log (a module is compiled at its first use)")
	defer p.end()
	v.Archive, v.Machine = arweave.NewArchive(reader, nil), machine
	v.Progress = func(done, total ao.Slot) { p.set("replayed %d of %d slots", done, total) }
	wait := time.Minute
	if c.Name == "verify" { // the demonstration has no such flag
		wait = c.Duration("wait")
	}
	deadline := time.Now().Add(wait)
	for {
		dir := remote.NewDirectory(v.Network, "", nil, nil, v.Archive, st, logger(c, false))
		v.Directory, v.Log = dir, remote.NewArchiveLog(v.Archive, dir)
		r, err := cu.Verify(ctx, v)
		enough := head == 0 || (r.Slots >= uint64(head) && r.Claimed >= uint64(head)) || len(r.Disputed) > 0
		if (err == nil && enough) || time.Now().After(deadline) || ctx.Err() != nil || (err != nil && head == 0) {
			if err == nil && head > 0 && r.Slots < uint64(head) {
				fmt.Fprintf(c.Root().ErrWriter, "aopeer: only %d of %d slots are settled\n", r.Slots, head)
			}
			return r, err
		}
		p.set("waiting for settlement: %d of %d slots, %d claimed", r.Slots, head, r.Claimed)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func printReport(c *cli.Command, r cu.Report) error {
	err := output(c).value(r, func(w io.Writer) {
		word := "ok"
		if !r.OK {
			word = "NOT OK: " + oneLine(plain(r.Reason))
		}
		fmt.Fprintf(w, "process  %s\nslots    %d\nstate    %s\nclaimed  %d\n", r.Process, r.Slots, r.StateDigest, r.Claimed)
		for _, d := range r.Disputed {
			fmt.Fprintf(w, "disputed slot %d by %s: ours %s, theirs %s\n", d.Slot, d.Unit, short(d.Ours), short(d.Theirs))
		}
		if r.Unread {
			fmt.Fprintln(w, "unread   more batches of claims by strangers than are read: name a --unit to have its own read first")
		}
		fmt.Fprintf(w, "%s\n", word)
	})
	if err == nil && !r.OK {
		return errSilent
	}
	return err
}
