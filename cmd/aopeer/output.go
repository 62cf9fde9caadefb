package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v3"

	"github.com/aopeer/aopeer/ao"
)

// printer writes an answer: JSON with --json, else lines for a person.
type printer struct {
	out  io.Writer
	json bool
}

func output(c *cli.Command) printer { return printer{out: c.Root().Writer, json: c.Bool("json")} }

// value prints v as one JSON line, or whatever the function writes.
func (p printer) value(v any, human func(w io.Writer)) error {
	if !p.json {
		human(p.out)
		return nil
	}
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// progress tells a person on standard error that long work goes on: nothing for two seconds, then a line every two.
type progress struct {
	stop chan struct{}
	once sync.Once
	done sync.WaitGroup

	lock sync.Mutex
	text string
}

func startProgress(c *cli.Command, format string, args ...any) *progress {
	p := &progress{stop: make(chan struct{}), text: fmt.Sprintf(format, args...)}
	w, start := c.Root().ErrWriter, time.Now()
	p.done.Go(func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.lock.Lock()
				text := p.text
				p.lock.Unlock()
				fmt.Fprintf(w, "… %s (%d s)\n", text, int(time.Since(start).Seconds()))
			}
		}
	})
	return p
}

func (p *progress) set(format string, args ...any) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.text = fmt.Sprintf(format, args...)
}

// end stops it; it may be called twice.
func (p *progress) end() {
	p.once.Do(func() { close(p.stop) })
	p.done.Wait()
}

// plain is text from a stranger, fit for a terminal: without the sequences and the characters that control one.
func plain(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			rest = strings.TrimLeft(rest, "0123456789;")
			if rest != "" && (rest[0]|0x20 >= 'a' && rest[0]|0x20 <= 'z') {
				s = rest[1:]
				continue
			}
		}
		r, size := utf8.DecodeRuneInString(s)
		if !isControl(r) {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// isControl holds for all control characters but tab and line feed.
func isControl(r rune) bool { return r != '\t' && r != '\n' && unicode.IsControl(r) }

// outputText is a result's Output as a person wants it: its data, if it has that shape.
func outputText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return plain(s)
	}
	var o struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(raw, &o) == nil && len(o.Data) > 0 {
		if json.Unmarshal(o.Data, &s) == nil {
			return plain(s)
		}
		var inner struct {
			Output json.RawMessage `json:"output"`
		}
		if json.Unmarshal(o.Data, &inner) == nil && json.Unmarshal(inner.Output, &s) == nil {
			return plain(s)
		}
		return plain(string(o.Data))
	}
	return plain(string(raw))
}

func errorText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return plain(s)
	}
	return plain(string(raw))
}

// retry asks again while the answer is a refusal that passes: the unit has not heard of something yet.
func retry(ctx context.Context, p *progress, ask func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := ask()
		if err == nil || !passes(err) {
			return err
		}
		p.set("waiting: %s", err.(*ao.Refusal).Code) //nolint:errorlint // passes says that it is one
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// passes says whether an error is a refusal that does not last.
func passes(err error) bool {
	r, ok := err.(*ao.Refusal) //nolint:errorlint // doors return refusals bare
	if !ok {
		return false
	}
	switch r.Code {
	case ao.NotYet, ao.Busy, ao.Unreachable, ao.Deadline, ao.UnknownProcess, ao.UnknownModule, ao.ArchiveDown:
		return true
	}
	return false
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
