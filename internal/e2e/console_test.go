//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen is a program on a terminal of its own, and all that it has written there.
type screen struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	done chan struct{}
	from int // what was waited for ends there

	lock sync.Mutex
	text strings.Builder
}

// onScreen starts a command of ours on a terminal.
func onScreen(t *testing.T, args ...string) *screen {
	t.Helper()
	s := &screen{t: t, cmd: exec.Command(program, args...), done: make(chan struct{})}
	var err error
	if s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 50, Cols: 200}); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := s.tty.Read(buf)
			s.lock.Lock()
			s.text.Write(buf[:n])
			s.lock.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may be gone already
		_ = s.tty.Close()
		<-s.done
		if t.Failed() {
			t.Logf("the screen of %v:\n%s", args, s.written())
		}
	})
	return s
}

func (s *screen) written() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.text.String()
}

// sees waits until the screen shows a text behind the last one that was waited for.
func (s *screen) sees(want string) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%q on the screen", want), 2*time.Minute, func() bool {
		at := strings.Index(s.written()[s.from:], want)
		if at >= 0 {
			s.from += at + len(want)
		}
		return at >= 0
	})
}

// types sends keys, and waits for what they bring about.
func (s *screen) types(keys string, want ...string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
	for _, w := range want {
		s.sees(w)
	}
}

// ends waits for the end of the program, which must be a good one.
func (s *screen) ends() {
	s.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			s.t.Errorf("%v ends with %v", s.cmd.Args[1:], err)
		}
	case <-time.After(time.Minute):
		s.t.Fatalf("%v does not end", s.cmd.Args[1:])
	}
}

// TestConsole sits at a terminal: code in one line and in several, errors, messages that arrive, files, history, Ctrl-C.
func TestConsole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home := filepath.Join(dir, "net")
	devnet(t, home)
	spawn := func() string { return must[spawned](t, "spawn", "--home", home, "--name", "alice").Process }
	useConsole(t, home, spawn(), dir) // over HTTP, which a devnet serves
	p := spawn()
	useConsole(t, home, p, dir, "--strategy", "cheapest") // whoever buys does so across the mesh

	// What it was told is found again in the next one, and the prompt is the process's from the beginning.
	s := onScreen(t, "console", p, "--home", home)
	s.sees("alice@aopeer[Inbox:2]> ")
	s.types("\x1b[A\x1b[A\x1b[A", ".exit", ".help", "Loaded .. 'now'")
	s.types("\r", "yesnow", "> ")
	s.types("\x04")
	s.ends()
	if info, err := os.Stat(filepath.Join(home, "console.history")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the history: %v, %v", info, err)
	}
}

// useConsole goes through everything that a console does, in a process called alice with an empty inbox.
func useConsole(t *testing.T, home, process, dir string, args ...string) {
	t.Helper()
	file := filepath.Join(dir, "load.lua")
	if err := os.WriteFile(file, []byte("-- a file\nLoaded = 'yes'\nreturn 'loaded: ' .. Loaded\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := onScreen(t, append([]string{"console", process, "--home", home}, args...)...)
	s.sees("process " + process)
	s.sees("alice@aopeer[Inbox:0]> ")
	s.types("20 + 22\r", "\r\n42\r\n", "> ")
	s.types("error('boom')\r", "Error: ", "boom", "> ")
	s.types("nonsense here\r", "Error: ", "> ")
	s.types("function double(x)\r", ".. ")
	s.types("  return 2 * x\r", ".. ")
	s.types("end\r", "> ")
	s.types("double(double(11))\r", "\r\n44\r\n", "> ")
	s.types("function (\r", ".. ")
	s.types("\x03", "alice@aopeer[Inbox:0]> ")
	s.types("half a li\x03", "alice@aopeer[Inbox:0]> ")

	s.types("_ = Send({ Target = ao.id, Action = 'Greet' })\r", "New Message From", "Greet", "alice@aopeer[Inbox:1]> ")
	must[reply](t, "send", process, "from elsewhere", "--home", home)
	s.sees("Data = from elsewhere")
	s.sees("alice@aopeer[Inbox:2]> ")
	s.types("Inbox[2].Data\r", "\r\nfrom elsewhere\r\n", "> ")

	s.types(".load "+file+"\r", "\r\nloaded: yes\r\n", "> ")
	s.types(".load "+file+"x\r", "no such file", "> ")
	s.types(".editor\r", ".. ")
	s.types("local t = 'by the editor'\r", ".. ")
	s.types("return t\r", ".. ")
	s.types(".done\r", "\r\nby the editor\r\n", "> ")
	s.types(".lod\r", "did you mean .load?", "> ")
	s.types("\x1b[200~function pasted()\r\treturn 'with tabs'\rend\rpasted()\r\x1b[201~", "\r\nwith tabs\r\n", "> ")
	s.types("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A", "return t")
	s.types("\x15Loaded .. 'now'\r", "\r\nyesnow\r\n", "> ")
	s.types(".help\r", ".load FILE", "typed", "> ")
	s.types(".exit\r")
	s.ends()
}

// TestResults lists what became of messages, and goes on with what comes.
func TestResults(t *testing.T) {
	t.Parallel()
	home := filepath.Join(t.TempDir(), "net")
	devnet(t, home)
	p := must[spawned](t, "spawn", "--home", home, "--name", "bob").Process
	script := exec.Command(program, "console", p, "--home", home)
	script.Stdin = strings.NewReader("X = 1\nfunction f()\n  return X + 1\nend\nf()\nerror('enough')\nX = 2\n")
	out, err := script.Output()
	if script.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(out), "2\nError: ") {
		t.Errorf("a script: %v, %q", err, out)
	}
	testResultsOf(t, p, "--home", home)
	testResultsOf(t, p, "--home", home, "--strategy", "cheapest")
}

// testResultsOf looks at the results of the slots that a script of TestResults brings about, and adds one.
func testResultsOf(t *testing.T, process string, args ...string) {
	t.Helper()
	results := func(more ...string) outcome {
		return try(t, append(append([]string{"results", process}, args...), more...)...)
	}
	if o := results(); o.code != 0 || count(o.stdout, "outbox 0") < 5 || !strings.Contains(o.stdout, "Error: eval:1: enough") {
		t.Errorf("results: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	type result struct {
		Cursor        string
		Slot          *uint64
		Output, Error any
	}
	var second, last result
	slots := uint64(len(logOf(t, args[1], process)))
	o := results("--limit", "2", "--json")
	if o.code != 0 || count(o.stdout, "\n") != 2 {
		t.Fatalf("two results: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	lines := strings.SplitAfter(o.stdout, "\n")
	decode(t, outcome{stdout: lines[0]}, &second)
	decode(t, outcome{stdout: lines[1]}, &last)
	if second.Slot == nil || *second.Slot != slots-2 || last.Slot == nil || *last.Slot != slots-1 {
		t.Errorf("the last two of %d are %+v, %+v", slots, second, last)
	}
	o = results("--from", second.Cursor, "--json")
	var only result
	if decode(t, o, &only); only.Slot == nil || *only.Slot != *last.Slot || count(o.stdout, "\n") != 1 {
		t.Errorf("behind the last but one is %s%s", o.stdout, o.stderr)
	}
	if o := results("--from", "nonsense"); o.code == 0 || count(o.stderr, "\n") != 1 {
		t.Errorf("behind a cursor that is none: exit %d, %s%s", o.code, o.stdout, o.stderr)
	}
	f := start(t, "follow", append([]string{"results", process, "--follow", "--limit", "1"}, args...)...)
	sees := func(what string) {
		until(t, what, 2*time.Minute, func() bool {
			b, err := os.ReadFile(f.log.Name())
			return err == nil && strings.Contains(string(b), what)
		})
	}
	sees("outbox 0")
	said := fmt.Sprint("said in slot ", slots)
	must[reply](t, "eval", process, "return '"+said+"'", "--home", args[1])
	sees(said)
	if code := f.interrupt(t); code != 0 {
		t.Errorf("interrupted it ends with %d", code)
	}
}
