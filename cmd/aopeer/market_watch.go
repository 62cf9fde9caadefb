package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/internal/node"
)

func marketWatchCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.DurationFlag{Name: "every", Usage: "how often to look", Value: time.Second},
		&cli.IntFlag{Name: "times", Usage: "stop after so many looks; 0 goes on until interrupted"},
		&cli.IntFlag{Name: "top", Usage: "show at most so many offers in a terminal", Value: 20},
	}
	for _, f := range listFlags() {
		if f.Names()[0] != "timeout" {
			flags = append(flags, f)
		}
	}
	return &cli.Command{
		Name: "watch", Usage: "watch the offers of the mesh as they change", ArgsUsage: " ",
		Description: "In a terminal it is a table that is drawn again and again; elsewhere the table once and then a line for each change,\n" +
			"and with --json one object a look. Interrupt it to end it.",
		Flags: flags,
		Action: func(ctx context.Context, c *cli.Command) error {
			if err := args(c, 0, 0); err != nil {
				return err
			}
			l, err := readListing(c)
			if err != nil {
				return err
			}
			if d := c.Duration("every"); d < 100*time.Millisecond {
				return misuse("--every %v: at least 100ms", d)
			}
			if c.Int("times") < 0 || c.Int("top") < 1 {
				return misuse("--times and --top are numbers from 1 on")
			}
			return withClient(ctx, c, func(ctx context.Context, cl *node.Client) error { return watch(ctx, c, cl, l) })
		},
	}
}

// look is one look at the market as JSON.
type look struct {
	Time    time.Time    `json:"time"`
	Network string       `json:"network"`
	Offers  []shownOffer `json:"offers"`
}

func watch(ctx context.Context, c *cli.Command, cl *node.Client, l listing) error {
	show, end := watcher(c)
	defer end()
	tick := time.NewTicker(c.Duration("every"))
	defer tick.Stop()
	for n := 1; ; n++ {
		rows, err := l.rows(ctx, c, cl)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(look{Time: time.Now(), Network: cl.Network.ID, Offers: rows}); err != nil {
			return err
		}
		if n == c.Int("times") {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// watcher is how looks are shown: as JSON, as a table that is drawn in place, or as a table and then changes.
func watcher(c *cli.Command) (show func(look) error, end func()) {
	w := c.Root().Writer
	if c.Bool("json") {
		return func(k look) error { return output(c).value(k, nil) }, func() {}
	}
	if isTerminal(w) {
		s := &screen{out: w, top: c.Int("top")}
		return s.draw, s.end
	}
	ch := &changes{out: w}
	return ch.tell, func() {}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// screen draws each look over the one before.
type screen struct {
	out   io.Writer
	top   int
	begun bool
	last  map[string]uint64
}

// The sequences that a terminal is told with: the other screen without cursor and line wrap, and back; home; the rest of
// the line or of the screen cleared.
const (
	seqBegin = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	seqEnd   = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	seqHome  = "\x1b[H"
	seqLine  = "\x1b[K\n"
	seqRest  = "\x1b[J"
)

func (s *screen) draw(k look) error {
	var b bytes.Buffer
	if !s.begun {
		b.WriteString(seqBegin)
		s.begun = true
	}
	rows, more := k.Offers, 0
	if len(rows) > s.top {
		rows, more = rows[:s.top], len(rows)-s.top
	}
	var table bytes.Buffer
	printOffers(&table, rows)
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	fresh := map[string]uint64{}
	fmt.Fprintf(&b, "%snetwork %s · %d offers · %s · Ctrl-C ends%s%s", seqHome, k.Network, len(k.Offers), k.Time.Format("15:04:05"), seqLine, seqLine)
	fmt.Fprintf(&b, "  %s%s", lines[0], seqLine)
	for i, row := range rows {
		key := row.Role + row.Unit
		fresh[key] = row.price
		fmt.Fprintf(&b, "%s %s%s", s.mark(key, row.price), lines[i+1], seqLine)
	}
	if more > 0 {
		fmt.Fprintf(&b, "  and %d more: --top %d shows all%s", more, len(k.Offers), seqLine)
	}
	b.WriteString(seqRest)
	s.last = fresh
	_, err := s.out.Write(b.Bytes())
	return err
}

// mark is how a price moved since the last look.
func (s *screen) mark(key string, price uint64) string {
	before, known := s.last[key]
	switch {
	case s.last == nil || known && before == price:
		return " "
	case !known:
		return "+"
	case before < price:
		return "▲"
	}
	return "▼"
}

func (s *screen) end() {
	if s.begun {
		fmt.Fprint(s.out, seqEnd)
	}
}

// changes tells what is different from the look before, a line each.
type changes struct {
	out  io.Writer
	last map[string]shownOffer
}

func (ch *changes) tell(k look) error {
	var b bytes.Buffer
	fresh := map[string]shownOffer{}
	say := func(o shownOffer, format string, args ...any) {
		fmt.Fprintf(&b, "%s  %s  %s  %s\n", k.Time.Format("15:04:05"), o.Role, nameOr(o.Name, o.Unit), fmt.Sprintf(format, args...))
	}
	for _, o := range k.Offers {
		key := o.Role + o.Unit
		fresh[key] = o
		before, known := ch.last[key]
		switch {
		case ch.last == nil:
		case !known:
			say(o, "offers: %s, capacity %d", pricesText(o.role, o.parts), o.Capacity)
		default:
			if before.parts != o.parts {
				say(o, "price %s, was %s", pricesText(o.role, o.parts), pricesText(o.role, before.parts))
			}
			if before.Capacity != o.Capacity {
				say(o, "capacity %d, was %d", o.Capacity, before.Capacity)
			}
		}
	}
	if ch.last == nil {
		printOffers(&b, k.Offers)
	}
	for key, o := range ch.last {
		if _, still := fresh[key]; !still {
			say(o, "offers no more")
		}
	}
	ch.last = fresh
	_, err := ch.out.Write(b.Bytes())
	return err
}
