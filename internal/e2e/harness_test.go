//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var program string // set once by TestMain

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "aopeer-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "aopeer")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "../../cmd/aopeer")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// outcome is what one command printed and how it ended.
type outcome struct {
	stdout, stderr string
	code           int
	state          *os.ProcessState
}

// try runs one command to its end.
func try(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("aopeer %v: %v", args, err)
	}
	return outcome{stdout: out.String(), stderr: errs.String(), code: cmd.ProcessState.ExitCode(), state: cmd.ProcessState}
}

// must runs one command that has to succeed and decodes its last line of JSON.
func must[T any](t *testing.T, args ...string) T {
	t.Helper()
	o := try(t, append(args, "--json")...)
	if o.code != 0 {
		t.Fatalf("aopeer %s: exit %d\n%s%s", strings.Join(args, " "), o.code, o.stdout, o.stderr)
	}
	var v T
	if err := json.Unmarshal([]byte(o.stdout), &v); err != nil {
		t.Fatalf("aopeer %s: %v in %q", strings.Join(args, " "), err, o.stdout)
	}
	return v
}

// daemon is a process that runs until it is stopped.
type daemon struct {
	cmd  *exec.Cmd
	name string
	log  *os.File
	done chan struct{}
}

// start runs a command of ours in the background; it is killed with the test at the latest.
func start(t *testing.T, name string, args ...string) *daemon {
	t.Helper()
	return startCommand(t, name, exec.Command(program, args...))
}

// startCommand is start for any program.
func startCommand(t *testing.T, name string, cmd *exec.Cmd) *daemon {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{cmd: cmd, name: name, log: log, done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // how it ended is seen in ProcessState
		close(d.done)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s printed:\n%s", name, b[max(0, len(b)-8000):])
		}
		log.Close()
	})
	return d
}

// kill ends it as a power cut would.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may be gone already
	<-d.done
}

// interrupt ends it as Ctrl-C would, and returns its exit code.
func (d *daemon) interrupt(t *testing.T) int {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(30 * time.Second):
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to the log
		t.Fatalf("%s does not end", d.name)
	}
	return d.cmd.ProcessState.ExitCode()
}

// until polls for a condition of another process.
func until(t *testing.T, what string, patience time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// devnetFile is devnet.json.
type devnetFile struct {
	Gateway, MU, SU, CU, Wallet, Module, Scheduler, Authority, Network string
	Peers                                                              []struct {
		Name, Role, ID, Address string
		Addrs                   []string
	}
}

// devnet starts a devnet in home and waits until everything answers.
func devnet(t *testing.T, home string, args ...string) (*daemon, devnetFile) {
	t.Helper()
	d := start(t, "devnet", append([]string{"devnet", "--home", home, "--port-base", strconv.Itoa(freePorts(t))}, args...)...)
	return d, awaitDevnet(t, d, home)
}

func awaitDevnet(t *testing.T, d *daemon, home string) devnetFile {
	t.Helper()
	var f devnetFile
	until(t, "devnet.json", 90*time.Second, func() bool {
		select {
		case <-d.done:
			t.Fatalf("the devnet ended: %v", d.cmd.ProcessState)
		default:
		}
		b, err := os.ReadFile(filepath.Join(home, "devnet.json"))
		return err == nil && json.Unmarshal(b, &f) == nil
	})
	return f
}

// bases are the first ports of the ranges that freePorts gave, because some tests run side by side.
var bases sync.Map

// freePorts is the first of twenty free ports. They lie below the range from which a system takes the ports of outgoing
// connections (32768 on Linux): one of a devnet that was killed could else be somebody's before the devnet is back.
func freePorts(t *testing.T) int {
	t.Helper()
	for range 200 {
		base := 10_000 + 20*rand.IntN(1000)
		if _, given := bases.LoadOrStore(base, true); given {
			continue
		}
		free := true
		for p := base; p < base+20; p++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return base
		}
	}
	t.Fatal("no twenty free ports in a row")
	return 0
}

// The answers of the commands, as far as the tests look at them.
type (
	spawned struct{ Process string }
	reply   struct {
		Message, Process, Finality, Digest, Unit, Price string
		Slot                                            uint64
		Output                                          json.RawMessage
		Error                                           json.RawMessage
		Hops                                            []hop
	}
	hop struct {
		Hop, Peer, Process, Message, Digest, Note, Price, Why string
		Slot                                                  uint64
	}
	report struct {
		Process, StateDigest, Reason string
		Slots, Claimed               uint64
		Disputed                     []json.RawMessage
		OK                           bool
		FirstBad                     *uint64
	}
	logLine struct {
		Slot                     uint64
		Assignment, Message      string
		Timestamp, Height, Nonce int64
	}
)

// data is the text in a result's output.
func (r reply) data(t *testing.T) string {
	t.Helper()
	var o struct{ Data json.RawMessage }
	if err := json.Unmarshal(r.Output, &o); err != nil {
		t.Fatalf("output %s: %v", r.Output, err)
	}
	var s string
	if json.Unmarshal(o.Data, &s) == nil {
		return s
	}
	var inner struct{ Output string }
	if err := json.Unmarshal(o.Data, &inner); err != nil {
		t.Fatalf("output %s: %v", r.Output, err)
	}
	return inner.Output
}

// logOf lists all slots of a process.
func logOf(t *testing.T, home, process string) []logLine {
	t.Helper()
	o := try(t, "log", process, "--home", home, "--limit", "100000", "--json")
	if o.code != 0 {
		t.Fatalf("log: %s%s", o.stdout, o.stderr)
	}
	var out []logLine
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	for dec.More() {
		var l logLine
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func count(s, part string) int { return strings.Count(s, part) }
