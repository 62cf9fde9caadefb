package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/urfave/cli/v3"
)

// logger writes what an operator wants to know to standard error: of a server from the level that its config says, of a
// client only errors, unless a flag or variable says otherwise. --verbose is everything.
func logger(c *cli.Command, server bool) *slog.Logger {
	level := "error"
	if server {
		level = "info"
	}
	return newLogger(c, given(c, "log-level", level), given(c, "log-format", "text"))
}

// given is a root flag, else its environment variable, else the default.
func given(c *cli.Command, flag, otherwise string) string {
	if v := c.String(flag); v != "" {
		return v
	}
	if v := os.Getenv("AOPEER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))); v != "" {
		return v
	}
	return otherwise
}

func newLogger(c *cli.Command, level, format string) *slog.Logger {
	least := slog.LevelInfo
	if err := least.UnmarshalText([]byte(level)); err != nil || c.Bool("verbose") {
		least = slog.LevelDebug
	}
	w := c.Root().ErrWriter
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least}))
	}
	return slog.New(newPlainLog(w, least))
}

// plainLog is a slog.Handler for people: the time of day, the level, what happened, and the particulars as key=value.
// What strangers sent is quoted when it could be mistaken for something else or move the cursor.
type plainLog struct {
	out    io.Writer
	least  slog.Level
	colour bool
	lock   *sync.Mutex
	prefix string // of keys, from groups
	fixed  string // attributes of With, written already
}

func newPlainLog(w io.Writer, least slog.Level) *plainLog {
	colour := false
	if f, ok := w.(*os.File); ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" {
		if info, err := f.Stat(); err == nil {
			colour = info.Mode()&os.ModeCharDevice != 0
		}
	}
	return &plainLog{out: w, least: least, colour: colour, lock: &sync.Mutex{}}
}

// Enabled implements slog.Handler.
func (h *plainLog) Enabled(_ context.Context, l slog.Level) bool { return l >= h.least }

// WithAttrs implements slog.Handler.
func (h *plainLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	out, b := *h, bytes.NewBufferString(h.fixed)
	for _, a := range attrs {
		h.attr(b, h.prefix, a)
	}
	out.fixed = b.String()
	return &out
}

// WithGroup implements slog.Handler.
func (h *plainLog) WithGroup(name string) slog.Handler {
	out := *h
	if name != "" {
		out.prefix += name + "."
	}
	return &out
}

// Handle implements slog.Handler.
func (h *plainLog) Handle(_ context.Context, r slog.Record) error {
	b := &bytes.Buffer{}
	if !r.Time.IsZero() {
		b.WriteString(h.paint("2", r.Time.Format("15:04:05.000")) + " ")
	}
	b.WriteString(h.level(r.Level) + " " + text(r.Message, false))
	b.WriteString(h.fixed)
	r.Attrs(func(a slog.Attr) bool {
		h.attr(b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.lock.Lock()
	defer h.lock.Unlock()
	_, err := h.out.Write(b.Bytes())
	return err
}

// level is five characters wide, and coloured by how much it matters.
func (h *plainLog) level(l slog.Level) string {
	name := fmt.Sprintf("%-5s", l.String())
	switch {
	case l >= slog.LevelError:
		return h.paint("31", name)
	case l >= slog.LevelWarn:
		return h.paint("33", name)
	case l >= slog.LevelInfo:
		return h.paint("32", name)
	}
	return h.paint("36", name)
}

func (h *plainLog) paint(code, s string) string {
	if !h.colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (h *plainLog) attr(b *bytes.Buffer, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			h.attr(b, prefix, inner)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	b.WriteString(" " + h.paint("2", prefix+a.Key+"="))
	switch v.Kind() {
	case slog.KindTime:
		b.WriteString(v.Time().Format(time.RFC3339))
	default:
		b.WriteString(text(v.String(), true))
	}
}

// text is a string as it may stand in a line: quoted if it holds what does not print and, as a value, if it is empty or
// holds a space, a quotation mark or an equals sign.
func text(s string, value bool) string {
	odd := value && s == ""
	for _, r := range s {
		odd = odd || !unicode.IsPrint(r) || value && (r == ' ' || r == '"' || r == '=')
	}
	if odd {
		return strconv.Quote(s)
	}
	return s
}
