package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/aopeer/aopeer/ao"
)

// errDropped says that the line, and what it would have continued, was given up with Ctrl-C.
var errDropped = errors.New("dropped")

// source is where the lines of a console come from.
type source interface {
	// read is the next line; io.EOF behind the last one, errDropped after Ctrl-C.
	read(prompt string) (string, error)
	// during runs do with a context that Ctrl-C ends.
	during(ctx context.Context, do func(context.Context) error) error
}

// script is lines from a file or pipe: nobody is prompted, and Ctrl-C ends it all.
type script struct {
	lines *bufio.Reader
	left  int // bytes
}

func newScript(r io.Reader) *script { return &script{lines: bufio.NewReader(r), left: ao.MaxItem} }

func (s *script) read(string) (string, error) {
	var line []byte
	for {
		part, err := s.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > s.left:
			return "", ao.Refuse("push", ao.TooLarge, "the script has more than %d bytes", ao.MaxItem)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
			err = nil
		}
		s.left -= len(line)
		return strings.TrimRight(string(line), "\r\n"), err
	}
}

func (s *script) during(ctx context.Context, do func(context.Context) error) error { return do(ctx) }

// terminal is a person's: lines can be edited and found again, and what is written meanwhile comes above the line.
type terminal struct {
	*term.Terminal
	keys *keys
	out  *os.File
	end  func()
}

// openTerminal takes a terminal over until end is called.
func openTerminal(ctx context.Context, in, out *os.File, h *history) (*terminal, error) {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("take over the terminal: %w", err)
	}
	t := &terminal{keys: newKeys(ctx, out), out: out}
	t.Terminal = term.NewTerminal(t.keys, "")
	t.History = h
	t.SetBracketedPasteMode(true)
	t.end = func() {
		t.SetBracketedPasteMode(false)
		_ = term.Restore(int(in.Fd()), old) // there is no other way to have it back
	}
	go t.keys.pump(in) // it ends with the program: a read of a terminal cannot be called off
	return t, nil
}

func (t *terminal) read(prompt string) (string, error) {
	if width, height, err := term.GetSize(int(t.out.Fd())); err == nil && width > 0 {
		_ = t.SetSize(width, height) // what it could not write it will not write later either
	}
	t.SetPrompt(prompt)
	line, err := t.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	if err == nil && t.keys.wasDropped() {
		err = errDropped
	}
	return line, err
}

func (t *terminal) during(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.keys.during(cancel)
	defer t.keys.during(nil)
	return do(ctx)
}

const (
	ctrlC = 3
	// dropLine is to the end of the line, delete to its beginning, enter.
	dropLine = "\x05\x15\r"
	// maxAhead bounds what is typed or pasted while something is evaluated.
	maxAhead = 1 << 20
)

// keys is what was typed and not read yet, with an eye on Ctrl-C, which must work while nobody reads.
type keys struct {
	ctx context.Context
	io.Writer
	more  chan struct{} // a sign that something has changed, for Read
	space chan struct{} // likewise, for pump

	lock    sync.Mutex
	ahead   []byte
	ended   bool
	cancel  context.CancelFunc // of what is under way
	dropped bool
}

func newKeys(ctx context.Context, out io.Writer) *keys {
	return &keys{ctx: ctx, Writer: out, more: make(chan struct{}, 1), space: make(chan struct{}, 1)}
}

// pump takes in what is typed until there is no more.
func (k *keys) pump(in io.Reader) {
	buf := make([]byte, 1024)
	for {
		n, err := in.Read(buf)
		for !k.take(buf[:n], err != nil) {
			select {
			case <-k.space:
			case <-k.ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// take adds to what was typed, if there is room for it. Ctrl-C gives up what is under way and what was typed ahead, or
// else the line.
func (k *keys) take(b []byte, last bool) bool {
	k.lock.Lock()
	defer k.lock.Unlock()
	if i := bytes.LastIndexByte(b, ctrlC); i >= 0 {
		if k.ahead, k.dropped = nil, k.cancel == nil; k.dropped {
			k.ahead = []byte(dropLine)
		} else {
			k.cancel()
		}
		b = b[i+1:]
	}
	if len(k.ahead) > 0 && len(k.ahead)+len(b) > maxAhead {
		return false
	}
	k.ahead, k.ended = append(k.ahead, b...), last
	wake(k.more)
	return true
}

// Read implements io.Reader for the line editor.
func (k *keys) Read(p []byte) (int, error) {
	for {
		k.lock.Lock()
		n := copy(p, k.ahead)
		k.ahead = k.ahead[n:]
		ended := k.ended
		k.lock.Unlock()
		if n > 0 {
			wake(k.space)
			return n, nil
		}
		if ended {
			return 0, io.EOF
		}
		select {
		case <-k.more:
		case <-k.ctx.Done():
			return 0, io.EOF
		}
	}
}

// during says what Ctrl-C gives up from now on; nil is the line.
func (k *keys) during(cancel context.CancelFunc) {
	k.lock.Lock()
	defer k.lock.Unlock()
	k.cancel = cancel
}

// wasDropped says, once, whether the last line was given up.
func (k *keys) wasDropped() bool {
	k.lock.Lock()
	defer k.lock.Unlock()
	was := k.dropped
	k.dropped = false
	return was
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const (
	keptLines   = 1000
	maxHistory  = 1 << 20
	historyMode = 0o600
)

// history is what was typed in consoles of this home, kept in a file that only its owner reads. It implements
// term.History.
type history struct {
	lines []string // oldest first
	file  *os.File
}

// openHistory reads the file and cuts it down when it has grown long.
func openHistory(path string) (*history, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, historyMode)
	if err == nil {
		err = f.Chmod(historyMode)
	}
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	h := &history{file: f}
	if info, err := f.Stat(); err == nil && info.Size() > maxHistory {
		_, _ = f.Seek(info.Size()-maxHistory, io.SeekStart) // what cannot be read is not remembered
	}
	raw, _ := io.ReadAll(io.LimitReader(f, maxHistory))
	for line := range strings.Lines(string(raw)) {
		h.lines = append(h.lines, strings.TrimRight(line, "\r\n"))
	}
	if len(h.lines) > 2*keptLines || len(raw) == maxHistory {
		h.lines = h.lines[max(0, len(h.lines)-keptLines):]
		if f.Truncate(0) == nil {
			_, _ = io.WriteString(f, strings.Join(h.lines, "\n")+"\n") // likewise
		}
	}
	return h, nil
}

// Add implements term.History. A line that says the same as the one before is not kept twice.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	_, _ = io.WriteString(h.file, line+"\n") // a full disk is no reason not to go on
}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

func (h *history) close() { _ = h.file.Close() } // each line is written already
