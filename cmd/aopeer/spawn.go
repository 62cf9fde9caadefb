package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/arweave"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
)

func spawnCommand() *cli.Command {
	return &cli.Command{
		Name: "spawn", Usage: "start a process", ArgsUsage: " ",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "module", Usage: "ID of the module that computes it (default: the network's)"},
			&cli.StringFlag{Name: "scheduler", Usage: "address of the unit that schedules it (default: the market's choice)"},
			&cli.StringSliceFlag{Name: "authority", Usage: "address of a messenger whose pushes it trusts (default: the market's choice)"},
			&cli.StringFlag{Name: "name", Usage: "the Name tag"},
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "a tag as `NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "data", Usage: "Lua to evaluate when the process starts"},
			&cli.StringFlag{Name: "file", Usage: "the same from a file, - for standard input"},
			&cli.StringFlag{Name: "on-boot", Usage: "`ID` of data on Arweave to evaluate when the process starts"},
			&cli.StringFlag{Name: "cron", Usage: "`INTERVAL` after which the process wakes again and again, such as 10-seconds, 1-hour or 5-blocks; `aopeer monitor` has pushed what it then sends"},
			&cli.StringSliceFlag{Name: "cron-tag", Usage: "a tag of the messages that wake it, as `NAME=VALUE`; may be repeated"},
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
		}, buyFlags("name or address of the scheduler, which --scheduler takes by its address alone")...),
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
	Unit      string  `json:"unit"` // that was chosen to schedule it
	Price     string  `json:"price"`
}

func spawn(ctx context.Context, c *cli.Command) error {
	if err := args(c, 0, 0); err != nil {
		return err
	}
	tags, err := parseTags("tag", c.StringSlice("tag"))
	if err != nil {
		return err
	}
	cron, err := cronTags(c)
	if err != nil {
		return err
	}
	tags = append(tags, cron...)
	data, err := bootData(c)
	if err != nil {
		return err
	}
	if c.String("scheduler") != "" && c.String("unit") != "" {
		return misuse("give --scheduler or --unit, not both: they name the same")
	}
	return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error {
		if err := buyOnly(c, cl, market.Scheduler); err != nil {
			return err
		}
		m, err := newProcess(c, cl, tags, data)
		if err != nil {
			return err
		}
		warnOfModule(ctx, c.Root().ErrWriter, cl.Archive, m.Tags().Get("Module"))
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
			Finality: "acked", Unit: m.Tags().Get("Scheduler"), Price: "0",
		}
		if b := units.BoughtOf(door); b.Price != "" {
			s.Price = b.Price
		}
		return output(c).value(s, func(w io.Writer) { fmt.Fprintln(w, s.Process) })
	})
}

// cronTags are what --cron and --cron-tag ask for.
func cronTags(c *cli.Command) (ao.Tags, error) {
	every := c.String("cron")
	more, err := parseTags("cron-tag", c.StringSlice("cron-tag"))
	switch {
	case err != nil:
		return nil, err
	case every == "" && len(more) > 0:
		return nil, misuse("--cron-tag without --cron: say how often the process wakes")
	case every == "":
		return nil, nil
	}
	tags := ao.Tags{{Name: "Cron-Interval", Value: every}}
	for _, t := range more {
		tags = append(tags, ao.Tag{Name: "Cron-Tag-" + t.Name, Value: t.Value})
	}
	return tags, nil
}

// bootData is what is evaluated when the process starts, if it is given as it is.
func bootData(c *cli.Command) ([]byte, error) {
	given := 0
	for _, flag := range []string{"data", "file", "on-boot"} {
		if c.IsSet(flag) {
			given++
		}
	}
	if given > 1 {
		return nil, misuse("give one of --data, --file and --on-boot")
	}
	if id := c.String("on-boot"); id != "" {
		if _, err := ao.ParseID(id); err != nil {
			return nil, misuse("--on-boot %q is no ID", id)
		}
	}
	if c.IsSet("data") {
		return []byte(c.String("data")), nil
	}
	return dataArg(c, 0)
}

// modulePatience is how long a spawn waits to hear of its module.
const modulePatience = 5 * time.Second

// warnOfModule says so if the module cannot be found. That is no reason to refuse: one that was uploaded a moment ago may
// not be visible yet, and a process whose module comes later computes from then on.
func warnOfModule(ctx context.Context, w io.Writer, archive arweave.Archive, module string) {
	id, err := ao.ParseID(module)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, modulePatience)
	defer cancel()
	if _, err := archive.Confirm(ctx, id); errors.Is(err, arweave.ErrNotFound) {
		fmt.Fprintf(w, "aopeer: module %s is not on Arweave, or not visible there yet: the process starts, and has no results "+
			"until it is. Wait a moment if it was uploaded just now; otherwise spawn again with another --module\n", module)
	}
}

// newProcess signs the process that the flags describe.
func newProcess(c *cli.Command, cl *node.Client, tags ao.Tags, data []byte) (ao.Message, error) {
	var open []market.Role // what nobody named
	if c.String("scheduler") == "" {
		open = append(open, market.Scheduler)
	}
	if len(c.StringSlice("authority")) == 0 {
		open = append(open, market.Messenger)
	}
	def, err := cl.Choose(open...)
	if err != nil {
		return ao.Message{}, err
	}
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
	if id := c.String("on-boot"); id != "" {
		tags = append(tags, ao.Tag{Name: "On-Boot", Value: id})
	} else if len(data) > 0 {
		tags = append(tags, ao.Tag{Name: "On-Boot", Value: "Data"})
	}
	authorities := c.StringSlice("authority")
	if len(authorities) == 0 && def.Authority != "" {
		authorities = []string{def.Authority}
	}
	for _, a := range authorities {
		tags = append(tags, ao.Tag{Name: "Authority", Value: a})
	}
	m, err := ao.SignProcess(cl.Signer, module, scheduler, tags, data, newAnchor())
	if err != nil {
		return m, err
	}
	p, err := m.Process()
	if err == nil {
		_, err = p.Cron()
	}
	if err != nil { // before it is anywhere: it would never wake
		return m, misuse("%v", err)
	}
	return m, nil
}
