package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/aopeer/aopeer/ao"
	"github.com/aopeer/aopeer/internal/node"
)

func consoleCommand() *cli.Command {
	return &cli.Command{
		Name: "console", Usage: "talk to a process in Lua, line by line", ArgsUsage: "PROCESS",
		Description: "Each line is evaluated by the process, which must be yours; code that is not finished goes on in the next line. What\n" +
			"others make the process print appears above the line, for the price of their results, if they have one.\n" +
			"`.help` lists what else there is. Lines are kept in the home for the arrow keys.\n" +
			"If standard input is no terminal, its lines are evaluated one after the other up to the first that fails.",
		Flags: append(append(talkFlags(),
			&cli.BoolFlag{Name: "quiet", Usage: "show nothing of what others make the process print"},
			&cli.DurationFlag{Name: "timeout", Usage: "how long to wait for each result", Value: 2 * time.Minute},
		), buyFlags("name or address of the computer that results are bought from (default: the market's choice)")...),
		Action: consoleAction,
	}
}

func consoleAction(ctx context.Context, c *cli.Command) error {
	if err := args(c, 1, 1); err != nil {
		return err
	}
	process, err := processArg(c, 0)
	if err != nil {
		return err
	}
	t, err := openTalk(ctx, c, process, true)
	if err != nil {
		return err
	}
	defer t.close()
	s := &session{c: c, talk: t, process: process, prompt: short(process.String()) + "> "}
	in, isFile := c.Root().Reader.(*os.File)
	out, isFileToo := c.Root().Writer.(*os.File)
	if !isFile || !isFileToo || !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		s.source = newScript(c.Root().Reader)
		return s.run(ctx)
	}
	return s.onTerminal(ctx, in, out)
}

// session is a console that is open.
type session struct {
	c       *cli.Command
	talk    talk
	process ao.ID
	source  source
	person  bool // sits at the other end

	code    strings.Builder // that is not finished
	editing bool            // until .done

	lock   sync.Mutex
	prompt string
	given  bool // the prompt, by the process
	asking bool // with that prompt
}

// onTerminal is run for a person: everything that is printed goes through the line editor.
func (s *session) onTerminal(ctx context.Context, in, out *os.File) error {
	h := home(s.c)
	err := h.Make()
	var past *history
	if err == nil {
		past, err = openHistory(h.History())
	}
	if err != nil {
		return err
	}
	defer past.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t, err := openTerminal(ctx, in, out, past)
	if err != nil {
		return err
	}
	root := s.c.Root()
	plainOut, plainErr := root.Writer, root.ErrWriter
	root.Writer, root.ErrWriter = t, t
	defer func() {
		t.end()
		root.Writer, root.ErrWriter = plainOut, plainErr
	}()
	s.source, s.person = t, true
	cursor, err := s.welcome(ctx)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.hearPrompt(ctx, t)
		if !s.c.Bool("quiet") {
			s.listen(ctx, t, cursor)
		}
	}()
	err = s.run(ctx)
	cancel()
	<-ended
	return err
}

// patience is how long a console waits at its beginning for what is nice to know, such as a process's prompt.
const patience = 2 * time.Second

// welcome says where one is, and returns from which result on there is something to hear.
func (s *session) welcome(ctx context.Context) (cursor string, err error) {
	w := s.c.Root().Writer
	fmt.Fprintf(w, "process %s; .help says what there is, Ctrl-D leaves\n", s.process)
	p := startProgress(s.c, "asking about the process")
	defer p.end()
	err = s.source.during(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, s.c.Duration("timeout"))
		defer cancel()
		var unknown error // which seldom passes: a scheduler knows a process as soon as it is spawned
		err := retry(ctx, p, func() (err error) {
			if cursor, err = s.talk.end(ctx); errors.Is(err, &ao.Refusal{Code: ao.UnknownProcess}) {
				unknown, err = err, nil
			}
			return err
		})
		return errors.Join(err, unknown)
	})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p, err := s.talk.about(ctx); err == nil && p.Owner() != s.talk.address() {
		fmt.Fprintf(w, "It belongs to %s, and you sign as %s: to it you are a stranger, and what you say is no code\n", plain(p.Owner()), s.talk.address())
	}
	if last, err := s.talk.last(ctx, 1); err == nil && len(last) > 0 {
		s.adopt(last[0])
	}
	return cursor, nil
}

// run reads and evaluates until there is no more. A script ends with its first failure.
func (s *session) run(ctx context.Context) error {
	for {
		line, err := s.source.read(s.ask())
		switch {
		case errors.Is(err, errDropped):
			s.drop()
			continue
		case errors.Is(err, io.EOF) && !s.person && s.code.Len() > 0:
			return fmt.Errorf("the script ends within unfinished code: %s", oneLine(s.code.String()))
		case errors.Is(err, io.EOF) && s.person && ctx.Err() == nil:
			fmt.Fprintln(s.c.Root().Writer)
			return nil
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch err := s.line(ctx, line); {
		case errors.Is(err, errLeft):
			return nil
		case err != nil && !s.person:
			return err
		case err != nil && !errors.Is(err, errSilent):
			s.complain(err)
		}
	}
}

// ask is the prompt for the next line. Code that goes on stands below the code that it goes on with.
func (s *session) ask() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.asking = s.code.Len() == 0 && !s.editing; s.asking {
		return s.prompt
	}
	return strings.Repeat(" ", max(0, utf8.RuneCountInString(s.prompt)-3)) + ".. "
}

// errLeft ends a console.
var errLeft = errors.New("left")

func (s *session) drop() {
	s.code.Reset()
	s.editing = false
}

// line takes one line: a word of the console's own, or code.
func (s *session) line(ctx context.Context, line string) error {
	word, rest, isWord := ownWord(line)
	if isWord && (s.code.Len() == 0 && !s.editing || s.editing && word == ".done") {
		return s.own(ctx, word, rest)
	}
	if s.code.Len() == 0 && strings.TrimSpace(line) == "" && !s.editing {
		return nil
	}
	if s.code.Len()+len(line) > ao.MaxItem {
		s.drop()
		return ao.Refuse("push", ao.TooLarge, "the code has more than %d bytes", ao.MaxItem)
	}
	s.code.WriteString(line + "\n")
	if s.editing || unfinished(s.code.String()) {
		return nil
	}
	return s.finish(ctx)
}

// finish evaluates the code that there is.
func (s *session) finish(ctx context.Context) error {
	code := strings.TrimSuffix(s.code.String(), "\n")
	s.drop()
	if strings.TrimSpace(code) == "" {
		return nil
	}
	return s.eval(ctx, code)
}

// ownWord is a word for the console: a dot and letters, which begin no code.
func ownWord(line string) (word, rest string, ok bool) {
	line = strings.TrimSpace(line)
	if len(line) < 2 || line[0] != '.' || line[1]|0x20 < 'a' || line[1]|0x20 > 'z' {
		return "", "", false
	}
	word, rest, _ = strings.Cut(line, " ")
	return word, strings.TrimSpace(rest), true
}

const consoleHelp = `.load FILE   have the code in a file evaluated as a whole
.editor      write several lines, whatever they are, up to .done, which evaluates them
.exit        leave; so does Ctrl-D
.help        this

Code that is not finished goes on in the next line. Ctrl-C gives up a line, or waiting for a result.
Arrow keys, Home, End, Ctrl-A, Ctrl-E, Ctrl-U, Ctrl-K, Ctrl-W and Ctrl-L edit; up and down go through what was typed.
`

func (s *session) own(ctx context.Context, word, rest string) error {
	switch word {
	case ".exit":
		return errLeft
	case ".help":
		_, err := io.WriteString(s.c.Root().Writer, consoleHelp)
		return err
	case ".editor":
		s.editing = true
		return nil
	case ".done":
		if !s.editing {
			return misuse(".done ends what .editor begins")
		}
		return s.finish(ctx)
	case ".load":
		if rest == "" {
			return misuse("write .load FILE")
		}
		code, err := readData(rest, nil)
		if err != nil {
			return err
		}
		return s.eval(ctx, string(code))
	}
	hint := ""
	if meant := node.Nearest(word, []string{".load", ".editor", ".done", ".exit", ".help"}); meant != "" {
		hint = fmt.Sprintf("did you mean %s? ", meant)
	}
	return misuse("no word %s: %s.help lists them", word, hint)
}

// eval has code evaluated and shows the result.
func (s *session) eval(ctx context.Context, code string) error {
	return s.source.during(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, s.c.Duration("timeout"))
		defer cancel()
		p := startProgress(s.c, "waiting for the process")
		defer p.end()
		h, err := s.talk.eval(ctx, p, code)
		if errors.Is(ctx.Err(), context.Canceled) && err != nil && s.person {
			fmt.Fprintln(s.c.Root().Writer, "no longer waited for; the process evaluates it all the same if it has been sent")
			return errSilent
		}
		if err != nil {
			return err
		}
		p.end()
		s.adopt(h)
		if s.show(h); h.Error != nil {
			return errSilent
		}
		return nil
	})
}

// show prints a result.
func (s *session) show(h heard) { _ = output(s.c).value(h, h.print) } // whoever closed the output hears nothing

// adopt takes over the prompt that a process gives along with its output, and says whether a line is asked for with it.
func (s *session) adopt(h heard) (prompt string, asking bool) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if p := promptOf(h.Output); p != "" {
		s.prompt, s.given = p, true
	}
	return s.prompt, s.asking
}

func (s *session) hasPrompt() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.given
}

// complain says why something failed, and does not end the console.
func (s *session) complain(err error) {
	line := oneLine(plain(explain(err)))
	_ = output(s.c).value(newFailure(line, err), func(w io.Writer) { fmt.Fprintf(w, "aopeer: %s\n", line) }) // likewise
}

// maxPrompt is the most characters that a process's prompt may have.
const maxPrompt = 64

// promptOf is the prompt in a result's output as processes of aos give it; "" if there is none that fits a line.
func promptOf(raw json.RawMessage) string {
	var o struct {
		Prompt string
		Data   json.RawMessage
	}
	if json.Unmarshal(raw, &o) != nil {
		return ""
	}
	if o.Prompt == "" && json.Unmarshal(o.Data, &o) != nil {
		return ""
	}
	p := plain(o.Prompt)
	if len(p) > maxPrompt || strings.ContainsAny(p, "\n\t") || strings.TrimSpace(p) == "" {
		return ""
	}
	return strings.TrimRight(p, " ") + " "
}

// isPrinted says whether a process wants a result's output shown to whoever watches: what others caused, not an Eval's.
func isPrinted(raw json.RawMessage) bool {
	var o struct{ Print bool }
	return json.Unmarshal(raw, &o) == nil && o.Print
}

const (
	listenEvery = time.Second
	listenMost  = 30 * time.Second
	listenPage  = 100 // results
)

// hearPrompt waits for the process's prompt, if it could not be had at once: it may take the first evaluation of all.
func (s *session) hearPrompt(ctx context.Context, t *terminal) {
	for !s.hasPrompt() {
		last, err := s.talk.last(ctx, 1)
		if err == nil && len(last) > 0 && !s.hasPrompt() {
			s.reprompt(t, last[0])
			_, _ = t.Write(nil) // the line anew
		}
		if err == nil || !passes(err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenEvery):
		}
	}
}

// listen shows each result behind the cursor that the process wants shown, until ctx ends. While asking fails it is done
// more rarely: whoever types will see why.
func (s *session) listen(ctx context.Context, t *terminal, cursor string) {
	for pause := listenEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		hs, err := s.talk.after(ctx, cursor, listenPage)
		for _, h := range hs {
			if cursor = h.Cursor; isPrinted(h.Output) {
				s.reprompt(t, h)
				s.show(h)
			}
		}
		if pause = min(2*pause, listenMost); err == nil {
			pause = listenEvery
		}
	}
}

// reprompt puts a new prompt before the line that is being typed, from the next time on that something is written.
func (s *session) reprompt(t *terminal, h heard) {
	if prompt, asking := s.adopt(h); asking {
		t.SetPrompt(prompt)
	}
}
