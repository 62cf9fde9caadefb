package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
	"github.com/aopeer/aopeer/market"
	"github.com/aopeer/aopeer/units"
)

// reply is what send, eval and result print as JSON.
type reply struct {
	Message  string          `json:"message"`
	Process  string          `json:"process"`
	Slot     ao.Slot         `json:"slot"`
	Output   json.RawMessage `json:"output"`
	Error    json.RawMessage `json:"error"`
	Finality string          `json:"finality"`
	Digest   string          `json:"digest"`
	Unit     string          `json:"unit"`
	Price    string          `json:"price"`
	Hops     []units.Hop     `json:"hops,omitempty"` // with --hops

	why    string // that unit
	outbox int
}

func messageFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "a tag as `NAME=VALUE`; may be repeated"},
		&cli.BoolFlag{Name: "no-wait", Usage: "print the slot and do not wait for the result"},
		&cli.BoolFlag{Name: "settled", Usage: "wait until message and slot are on Arweave"},
		&cli.BoolFlag{Name: "hops", Usage: "show every hop until nothing is left to push"},
		&cli.DurationFlag{Name: "timeout", Usage: "how long to wait", Value: 2 * time.Minute},
	}, buyFlags("name or address of the computer that the result is bought from (default: the market's choice)")...)
}

func sendCommand() *cli.Command {
	return &cli.Command{
		Name: "send", Usage: "send a message to a process", ArgsUsage: "PROCESS [DATA]",
		Flags: append(messageFlags(),
			&cli.StringFlag{Name: "action", Usage: "the Action tag"},
			&cli.StringFlag{Name: "file", Usage: "take the data from a file, - for standard input"},
			&cli.BoolFlag{Name: "cast", Usage: "schedule it and let nobody listen for its result"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			var tags ao.Tags
			if a := c.String("action"); a != "" {
				tags = append(tags, ao.Tag{Name: "Action", Value: a})
			}
			if c.Bool("cast") {
				tags = append(tags, ao.Tag{Name: "Push-Mode", Value: "cast"})
			}
			return send(ctx, c, tags)
		},
	}
}

func evalCommand() *cli.Command {
	return &cli.Command{
		Name: "eval", Usage: "evaluate Lua in a process that you own", ArgsUsage: "PROCESS [CODE]",
		Flags: append(messageFlags(),
			&cli.StringFlag{Name: "file", Usage: "take the code from a file, - for standard input"}),
		Action: func(ctx context.Context, c *cli.Command) error {
			if c.Args().Len() < 2 && c.String("file") == "" {
				return misuse("usage: aopeer eval PROCESS CODE, or PROCESS --file FILE: see `aopeer eval --help`")
			}
			return send(ctx, c, ao.Tags{{Name: "Action", Value: "Eval"}})
		},
	}
}

func send(ctx context.Context, c *cli.Command, tags ao.Tags) error {
	if err := args(c, 1, 2); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	user, err := parseTags("tag", c.StringSlice("tag"))
	if err != nil {
		return err
	}
	data, err := dataArg(c, 1)
	if err != nil {
		return err
	}
	return withBuyer(ctx, c, func(ctx context.Context, cl *node.Client) error {
		if err := buyOnly(c, cl, market.Computer); err != nil {
			return err
		}
		m, err := ao.SignMessage(cl.Signer, process, append(tags, user...), data, newAnchor())
		if err != nil {
			return err
		}
		return pushAndReport(ctx, c, cl, m)
	})
}

// withClient joins the home's network for one command, bounded by --timeout.
func withClient(ctx context.Context, c *cli.Command, do func(context.Context, *node.Client) error) error {
	return join(ctx, c, nil, do)
}

// join is withClient with settings by key that hold in place of the home's.
func join(ctx context.Context, c *cli.Command, given map[string]string, do func(context.Context, *node.Client) error) error {
	if d := c.Duration("timeout"); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	cl, err := node.OpenBuyer(ctx, home(c), given, logger(c, false))
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(ctx, cl)
}

// pushAndReport pushes a message and prints what became of it.
func pushAndReport(ctx context.Context, c *cli.Command, cl *node.Client, m ao.Message) error {
	door, err := cl.Messenger(ctx)
	if err != nil {
		return err
	}
	if waits := !c.Bool("no-wait") && !m.IsCast(); waits { // a message that cannot be taken back is not sent for a result that is too dear
		if _, _, err := cl.Market.Pick(market.Computer); errors.Is(err, &ao.Refusal{Code: ao.OverCap}) {
			return err
		}
	}
	p := startProgress(c, "waiting for a slot")
	defer p.end()
	a, err := push(ctx, door, m)
	if err != nil {
		return err
	}
	r := reply{Message: m.ID().String(), Process: a.Process().String(), Slot: a.Nonce(), Finality: "acked", Price: "0"}
	if err := r.owe(units.BoughtOf(door)); err != nil {
		return err
	}
	if c.Bool("hops") {
		if err := door.Hops(ctx, m.ID(), func(h units.Hop) error {
			r.Hops = append(r.Hops, h)
			return printHop(c, h)
		}); err != nil {
			return err
		}
	}
	if c.Bool("no-wait") || m.IsCast() {
		return output(c).value(r, func(w io.Writer) { fmt.Fprintf(w, "slot %d of %s\n", r.Slot, r.Process) })
	}
	p.set("waiting for the result of slot %d", a.Nonce())
	if err := fill(ctx, cl, p, &r, a.Process()); err != nil {
		return err
	}
	if r.Finality = cl.Finality(ctx, a); c.Bool("settled") {
		p.set("waiting for settlement of slot %d", a.Nonce())
		if r.Finality, err = settled(ctx, cl, a); err != nil {
			return err
		}
	}
	return printReply(c, r)
}

// push is the messenger's verb with a deadline that says what becomes of the message.
func push(ctx context.Context, door units.Messenger, m ao.Message) (ao.Assignment, error) {
	a, err := door.Push(ctx, m)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < time.Second && errors.Is(err, &ao.Refusal{Code: ao.Deadline}) {
		err = ao.Refuse("push", ao.Deadline, "message %s has no slot yet; the messenger goes on with it", m.ID())
	}
	return a, err
}

// fill asks for the slot's result.
func fill(ctx context.Context, cl *node.Client, p *progress, r *reply, process ao.ID) error {
	return retry(ctx, p, func() error {
		door, err := cl.Directory.Computer(ctx, process)
		if err != nil {
			return err
		}
		ans, err := door.Compute(ctx, process, r.Slot)
		if err != nil {
			return err
		}
		if err := ans.Check(cl.Network.ID, process, r.Slot); err != nil {
			return err
		}
		r.Output, r.Error, r.outbox = ans.Result.Output, ans.Result.Error, ans.Result.Outbox()
		r.Digest, r.Unit = ao.ID(ans.Claim.Claim().Result).String(), ans.Claim.Unit()
		r.why = units.BoughtOf(door).Why
		return r.owe(units.BoughtOf(door))
	})
}

// owe adds to the price what was bought behind a door.
func (r *reply) owe(b units.Bought) error {
	if b.Price == "" {
		return nil
	}
	sum, err := ao.ParseAmount(r.Price)
	if err != nil {
		return err
	}
	more, err := ao.ParseAmount(b.Price)
	if err != nil {
		return err
	}
	if sum, err = sum.Add(more); err != nil {
		return err
	}
	r.Price = sum.String()
	return nil
}

// settled waits until the slot is on Arweave.
func settled(ctx context.Context, cl *node.Client, a ao.Assignment) (string, error) {
	for {
		if f := cl.Finality(ctx, a); f != "acked" {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return "", ao.Refuse("settle", ao.Deadline, "slot %d is acknowledged and not settled yet", a.Nonce())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func printReply(c *cli.Command, r reply) error {
	err := output(c).value(r, func(w io.Writer) {
		if r.Error != nil {
			fmt.Fprintf(w, "Error: %s\n", errorText(r.Error))
		} else if text := outputText(r.Output); text != "" && text != "null" {
			fmt.Fprintln(w, text)
		}
		line := fmt.Sprintf("slot %d · %s · computed by %s", r.Slot, r.Finality, r.Unit)
		if r.why != "" {
			line += " (" + plain(r.why) + ")"
		}
		fmt.Fprintf(c.Root().ErrWriter, "%s · price %s\n", line, r.Price)
	})
	if err == nil && r.Error != nil {
		return errSilent
	}
	return err
}

func printHop(c *cli.Command, h units.Hop) error {
	line := fmt.Sprintf("%-8s  slot %-4d %s  process %s", h.Word, h.Slot, short(h.Message.String()), short(h.Process.String()))
	if h.Digest != "" {
		line += "  digest " + short(h.Digest)
	}
	if h.Peer != "" {
		line += "  peer …" + h.Peer[max(0, len(h.Peer)-8):]
	}
	if h.Took > 0 {
		line += fmt.Sprintf("  %.1f ms", float64(h.Took.Microseconds())/1000)
	}
	line += boughtText(h)
	if h.Note != "" {
		line += "  (" + oneLine(plain(h.Note)) + ")"
	}
	_, err := fmt.Fprintln(c.Root().ErrWriter, line)
	return err
}

// boughtText is what a hop cost, and why that unit did it.
func boughtText(h units.Hop) (line string) {
	if h.Price != "" {
		line = "  price " + plain(h.Price)
	}
	if h.Why != "" {
		line += "  " + oneLine(plain(h.Why))
	}
	return line
}

func short(id string) string { return id[:min(8, len(id))] }

func newAnchor() []byte {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil { // the system has no randomness: nothing can be signed safely
		panic(err)
	}
	return b
}

func parseTags(flag string, list []string) (ao.Tags, error) {
	var out ao.Tags
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || value == "" {
			return nil, misuse("--%s %q: write NAME=VALUE", flag, s)
		}
		out = append(out, ao.Tag{Name: name, Value: value})
	}
	return out, nil
}

// dataArg is the i-th argument or --file, at most one item's worth.
func dataArg(c *cli.Command, i int) ([]byte, error) {
	path := c.String("file")
	switch {
	case path != "" && c.Args().Len() > i:
		return nil, misuse("give the data as an argument or with --file, not both")
	case path == "":
		return []byte(c.Args().Get(i)), nil
	}
	return readData(path, c.Root().Reader)
}

// readData is what a file holds, or - standard input, at most one item's worth.
func readData(path string, in io.Reader) ([]byte, error) {
	f := in
	if path != "-" || in == nil {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, bare(err))
		}
		defer file.Close()
		f = file
	}
	b, err := io.ReadAll(io.LimitReader(f, ao.MaxItem+1))
	if err == nil && len(b) > ao.MaxItem {
		err = ao.Refuse("push", ao.TooLarge, "%s has more than %d bytes", path, ao.MaxItem)
	}
	return b, err
}
